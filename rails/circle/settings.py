"""How a rail over Circle Mint is set up."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from rails.circle.sns import TOPIC_ARN
from rails.settings import HttpSettings, TextList

_SENDER = ("name", "street", "city", "district", "postal_code", "country")


class CircleSettings(HttpSettings):
    """Settings of one wallet at Circle. The sender is the company, as the travel rule wants it."""

    provider: ClassVar[str] = "circle"
    title: ClassVar[str] = "Circle"
    exists_by: ClassVar[str] = "api_key"
    needs: ClassVar[tuple[str, ...]] = ("wallet_id", "topic_arn", "sender_name")
    webhooks_by: ClassVar[str] = "topic_arn"

    base_url: str = Field(
        "https://api-sandbox.circle.com", description="Circle Mint's API, or a sandbox of it"
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="API key; without it there is no rail `circle`"
    )
    wallet_id: str = Field("", max_length=64, description="id of the wallet that pays")
    booked_in: Literal["EU", "US"] = Field(
        "EU",
        description="where the Circle company is that books the payouts; its travel rule applies",
    )
    sender_name: str = Field(
        "", max_length=1_024, description="the company's name, for the travel rule"
    )
    sender_street: str = Field("", max_length=1_024, description="the company's street and number")
    sender_city: str = Field("", max_length=1_024, description="the company's city")
    sender_district: str = Field(
        "",
        max_length=16,
        description="the company's state, province or region; two letters in the US",
    )
    sender_postal_code: str = Field("", max_length=16, description="the company's postal code")
    sender_country: str = Field("", max_length=2, description="the company's country, two letters")
    topic_arn: str = Field("", description="ARN of the SNS topic that notifications come from")
    webhook_cert_prefixes: TextList = Field(
        (),
        description="where certificates and confirmations of notifications may be, as url,url;"
        " Amazon SNS's own hosts if unset",
    )

    @model_validator(mode="after")
    def _complete_and_formed(self) -> CircleSettings:
        given = [name for name in _SENDER if getattr(self, f"sender_{name}")]
        if given and len(given) != len(_SENDER):
            missing = next(name for name in _SENDER if name not in given)
            raise ValueError(f"sender_{missing} is missing: the sender is set as a whole or not")
        if given and not re.fullmatch(r"[A-Z]{2}", self.sender_country):
            raise ValueError("sender_country is two capital letters")
        if self.topic_arn and not TOPIC_ARN.fullmatch(self.topic_arn):
            raise ValueError("topic_arn is arn:aws:sns:<region>:<account>:<name>")
        if any(not prefix.endswith("/") for prefix in self.webhook_cert_prefixes):
            raise ValueError("webhook_cert_prefixes end with a slash each")
        return self

    @property
    def timeout_ms(self) -> int:
        """The longest that a submission takes: the address book and the payout have one each."""
        return 2 * super().timeout_ms

    @property
    def identity(self) -> dict[str, object] | None:
        """The sender in Circle's words; None where it is not set."""
        if not self.sender_name:
            return None
        return {
            "type": "business",
            "name": self.sender_name,
            "addresses": [
                {
                    "line1": self.sender_street,
                    "city": self.sender_city,
                    "district": self.sender_district,
                    "postalCode": self.sender_postal_code,
                    "country": self.sender_country,
                }
            ],
        }
