"""How a rail over Marqeta is set up."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr, model_validator

from rails.settings import HttpSettings

SHARED_CHARS = range(20, 51)
"""Characters that Marqeta allows a webhook's password and its secret."""


class CoreSettings(HttpSettings):
    """Who calls Marqeta's Core API, and where it is."""

    base_url: str = Field(
        "https://sandbox-api.marqeta.com/v3", description="Marqeta's Core API, or a sandbox of it"
    )
    application_token: str = Field("", description="application token, the user of every call")
    access_token: SecretStr = Field(
        SecretStr(""), description="admin access token; without it there is no such rail"
    )


class MarqetaSettings(CoreSettings):
    """Settings of one card program."""

    provider: ClassVar[str] = "marqeta"
    title: ClassVar[str] = "Marqeta"
    exists_by: ClassVar[str] = "access_token"
    needs: ClassVar[tuple[str, ...]] = ("application_token", "funding_source", "webhook_password")
    webhooks_by: ClassVar[str] = "webhook_password"

    funding_source: str = Field(
        "", max_length=36, description="token of the program funding source that pays"
    )
    webhook_username: str = Field(
        "payouts", description="user that Marqeta's webhooks come with; no colon in it"
    )
    webhook_password: SecretStr = Field(
        SecretStr(""), description="password that they come with, 20 to 50 characters"
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="secret that they are signed with as well; unsigned if unset"
    )

    @model_validator(mode="after")
    def _webhooks_can_be_proven(self) -> MarqetaSettings:
        for name in ("webhook_password", "webhook_secret"):
            chars = len(getattr(self, name).get_secret_value())
            if chars and chars not in SHARED_CHARS:
                raise ValueError(f"{name} has 20 to 50 characters")
        if self.is_set("webhook_secret") and not self.is_set("webhook_password"):
            raise ValueError("webhook_password is needed beside a secret")
        if not self.webhook_username or ":" in self.webhook_username:
            raise ValueError("webhook_username is a name without a colon")
        return self
