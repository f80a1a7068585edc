"""How a rail over Adyen is set up."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, SecretStr, model_validator

from rails.settings import HttpSettings

_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}){16,}|")


class AdyenSettings(HttpSettings):
    """Settings of one balance account."""

    provider: ClassVar[str] = "adyen"
    title: ClassVar[str] = "Adyen"
    exists_by: ClassVar[str] = "api_key"
    needs: ClassVar[tuple[str, ...]] = ("balance_account", "webhook_key")
    webhooks_by: ClassVar[str] = "webhook_key"

    base_url: str = Field(
        "https://balanceplatform-api-test.adyen.com/btl/v4",
        description="Adyen's Transfers API, or a sandbox of it",
    )
    balance_account: str = Field("", description="balance account that pays")
    api_key: SecretStr = Field(
        SecretStr(""), description="API key; without it there is no rail `adyen`"
    )
    webhook_key: SecretStr = Field(
        SecretStr(""), description="hexadecimal HMAC key that webhooks are signed with"
    )

    @model_validator(mode="after")
    def _key_is_one(self) -> AdyenSettings:
        if not _KEY.fullmatch(self.webhook_key.get_secret_value()):
            raise ValueError("webhook_key is 32 or more hexadecimal digits")
        return self
