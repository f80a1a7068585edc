"""How a rail over the template's provider is set up."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from rails.settings import HttpSettings


class TemplateSettings(HttpSettings):
    """Settings of one account."""

    provider: ClassVar[str] = "template"
    title: ClassVar[str] = "Template"
    exists_by: ClassVar[str] = "api_key"
    needs: ClassVar[tuple[str, ...]] = ("webhook_key",)
    webhooks_by: ClassVar[str] = "webhook_key"

    base_url: str = Field(
        "https://api.example.com/v1", description="Template's payouts API, or a sandbox of it"
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="API key; without it there is no rail `template`"
    )
    webhook_key: SecretStr = Field(
        SecretStr(""), description="key that webhooks are signed with, 16 characters or more"
    )
