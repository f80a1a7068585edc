"""How one rail is set up. Secrets come from the environment or a file and are masked."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class RailSettings(BaseModel):
    """Settings of one rail. Times are in milliseconds unless the name says otherwise.

    ``webhook_cert_prefixes`` pins where a webhook's certificate may come from; empty means the
    provider's own hosts. Only a sandbox needs another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    provider: str = "paypal"
    base_url: str = "https://api-m.sandbox.paypal.com"
    client_id: str = ""
    secret: SecretStr = SecretStr("")
    webhook_id: str = ""
    webhook_cert_prefixes: tuple[str, ...] = ()
    webhook_tolerance_s: int = Field(default=300, ge=1, le=3600)
    timeout_ms: int = Field(default=30_000, ge=10, le=300_000)
    connect_timeout_ms: int = Field(default=5_000, ge=10, le=60_000)
    concurrency_max: int = Field(default=64, ge=1, le=1_000)
    email_subject: str = Field(default="You have a payout", max_length=255)

    plain_http_allowed: bool = False

    @model_validator(mode="after")
    def _https_unless_local(self) -> RailSettings:
        """Credentials travel to this address, so TLS unless it is this host or said otherwise."""
        url = urlsplit(self.base_url)
        if url.username or url.password or url.query or url.fragment or not url.hostname:
            raise ValueError("base_url must be scheme, host and path only")
        local = url.hostname in {"127.0.0.1", "::1", "localhost"} or self.plain_http_allowed
        if url.scheme != "https" and not (url.scheme == "http" and local):
            raise ValueError("base_url must be https, except for a sandbox (plain_http_allowed)")
        return self

    @property
    def root(self) -> str:
        """The base address without a slash at its end."""
        return self.base_url.rstrip("/")
