"""How a rail over PayPal is set up."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from rails.settings import HttpSettings, TextList


class PayPalSettings(HttpSettings):
    """Settings of one PayPal account."""

    provider: ClassVar[str] = "paypal"
    title: ClassVar[str] = "PayPal"
    needs: ClassVar[tuple[str, ...]] = ("client_id", "client_secret", "webhook_id")
    webhooks_by: ClassVar[str] = "webhook_id"

    base_url: str = Field(
        "https://api-m.sandbox.paypal.com", description="PayPal's API, or a sandbox of it"
    )
    client_id: str = Field("", description="PayPal REST app's client id")
    client_secret: SecretStr = Field(SecretStr(""), description="PayPal REST app's client secret")
    webhook_id: str = Field("", description="id of the webhook whose signatures are checked")
    webhook_cert_prefixes: TextList = Field(
        (),
        description="where webhook certificates may come from, as url,url; PayPal's own if unset",
    )
    email_subject: str = Field(
        "You have a payout", max_length=255, description="subject of PayPal's mail to the seller"
    )
