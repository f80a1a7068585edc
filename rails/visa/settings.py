"""How a rail over Visa Direct is set up."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, model_validator

from rails.settings import HttpSettings

_FORMS = {
    "acquiring_bin": (re.compile(r"[0-9]{6,11}|"), "is 6 to 11 digits"),
    "acquirer_country": (re.compile(r"[0-9]{3}"), "is a country of ISO 3166-1 in 3 digits"),
    "merchant_category": (re.compile(r"[0-9]{4}"), "is a category of ISO 18245 in 4 digits"),
    "business_application": (re.compile(r"[A-Z]{2}"), "is two capitals"),
    "company_country": (re.compile(r"[A-Z]{3}"), "is a country of ISO 3166-1 in 3 capitals"),
}


class VisaSettings(HttpSettings):
    """Settings of one originator."""

    provider: ClassVar[str] = "visa"
    title: ClassVar[str] = "Visa Direct"
    exists_by: ClassVar[str] = "password"
    needs: ClassVar[tuple[str, ...]] = (
        "user_id",
        "certificate",
        "key",
        "acquiring_bin",
        "acceptor_id",
        "company_name",
    )

    base_url: str = Field(
        "https://sandbox.api.visa.com", description="Visa's API, or a sandbox of it"
    )
    timeout_s: float = Field(
        45,
        ge=0.1,
        le=300,
        description="longest wait for an answer of {title}, in s; it answers within 30",
    )
    user_id: str = Field("", description="user of every call")
    password: SecretStr = Field(
        SecretStr(""), description="the user's password; without it there is no rail `visa`"
    )
    certificate: Path | None = Field(None, description="PEM file of our client certificate")
    key: Path | None = Field(None, description="PEM file of the certificate's private key")
    authority: Path | None = Field(
        None, description="PEM file of who signs Visa's certificate; the system's if unset"
    )
    acquiring_bin: str = Field("", description="BIN that Visa Direct is registered under")
    acquirer_country: str = Field("840", description="country of the BIN, in 3 digits")
    merchant_category: str = Field("6012", description="merchant category code, 4 digits")
    business_application: str = Field(
        "FD", description="Visa's kind of the payments; FD is a disbursement, such as commissions"
    )
    acceptor_id: str = Field("", max_length=15, description="id of the card acceptor")
    terminal_id: str = Field("PAYOUTS1", max_length=8, description="id of the acceptor's terminal")
    company_name: str = Field("", max_length=25, description="company that pays")
    company_address: str = Field("", max_length=35, description="the company's street")
    company_city: str = Field("", max_length=25, description="the company's city")
    company_state: str = Field(
        "", max_length=2, description="the company's state, in the US and Canada"
    )
    company_zip: str = Field("", max_length=9, description="the company's postal code")
    company_country: str = Field("USA", description="the company's country, in 3 capitals")

    @model_validator(mode="after")
    def _usable(self) -> VisaSettings:
        for name, (form, what) in _FORMS.items():
            if not form.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} {what}")
        self.tls()
        return self

    def tls(self) -> ssl.SSLContext | None:
        """How we prove ourselves, and whom we trust; None if neither is said.

        Raises ValueError for files that cannot be used.
        """
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are needed together")
        if self.certificate is None and self.authority is None:
            return None
        context = _trusting(self.authority)
        if self.certificate is None or self.key is None:
            return context
        try:
            # A password, so that nobody is asked for one at a terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        except OSError as error:
            why = _why(error, "they are no pair in PEM without a passphrase")
            raise ValueError(f"certificate and key cannot be used: {why}") from None
        return context


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ValueError(f"authority cannot be used: {_why(error, 'it is no PEM')}") from None


def _why(error: OSError, unread: str) -> str:
    """What is wrong with files: that they are not there, or ``unread``."""
    if isinstance(error, ssl.SSLError):
        return unread
    return (error.strerror or type(error).__name__).lower()
