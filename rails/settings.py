"""How a rail is set up: fields that each provider declares in its own words.

A provider's class is a subclass, in its folder. Each of its fields is a setting of an installation,
read as ``<PREFIX>_<PROVIDER>_<FIELD>``: a secret is a ``SecretStr``, a file a ``Path``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(word for word in map(str.strip, value.split(",")) if word)


TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""Texts, written as ``one,two`` in the environment."""


class RailSettings(BaseModel):
    """Settings of one rail.

    A rule that a validator of the class breaks is told by a ValueError that names the field as it
    stands here; the loader puts the variable's name in its place. ``{title}`` in a description is
    the provider's name for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    provider: ClassVar[str]
    """The provider's name in the registry, in variables and events."""

    title: ClassVar[str]
    """The provider's name for people."""

    exists_by: ClassVar[str] = ""
    """The field without which an installation has no such rail; empty: there always is one."""

    needs: ClassVar[tuple[str, ...]] = ()
    """The fields without which the rail is not complete."""

    webhooks_by: ClassVar[str] = ""
    """The field without which the provider's webhooks cannot be verified."""

    def is_set(self, field: str) -> bool:
        """Whether a field has a value that is not empty."""
        value = getattr(self, field)
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

    @property
    def address(self) -> str:
        """Whom the rail talks to, to show to people."""
        return self.title

    @property
    def timeout_ms(self) -> int:
        """The longest that one call takes, in milliseconds."""
        return 30_000

    @property
    def concurrency_max(self) -> int:
        """How many payouts are submitted at the same time, per worker."""
        return 64

    @property
    def requests_per_minute_max(self) -> int | None:
        """How many payouts all workers submit in a minute; None for what the rail takes."""
        return None

    @property
    def breaker_open_ms(self) -> int:
        """How long the breaker stays open the first time, in milliseconds."""
        return 30_000


class HttpSettings(RailSettings):
    """Settings of a rail over HTTP. A provider's class gives ``base_url`` its default."""

    base_url: str = Field(description="{title}'s API, or a sandbox of it")
    plain_http_allowed: bool = Field(
        False, description="whether that may be http to another host; for a sandbox only"
    )
    timeout_s: float = Field(
        30, ge=0.1, le=300, description="longest wait for an answer of {title}, in s"
    )
    concurrency: int = Field(
        64, ge=1, le=1_000, description="calls to {title} open at a time, per worker"
    )

    requests_per_minute: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="payouts submitted to {title} in a minute, by all workers; 0 for what it takes",
    )

    breaker_open_s: float = Field(
        30,
        ge=0.1,
        le=600,
        description="how long no payouts go to {title} once too many failed, in s; it doubles, to"
        " 16 times",
    )

    @model_validator(mode="after")
    def _https_unless_local(self) -> HttpSettings:
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

    @property
    def address(self) -> str:
        """The base address."""
        return self.base_url

    @property
    def timeout_ms(self) -> int:
        """The longest wait for an answer, in milliseconds."""
        return round(self.timeout_s * 1000)

    @property
    def concurrency_max(self) -> int:
        """How many payouts are submitted at the same time, per worker."""
        return self.concurrency

    @property
    def requests_per_minute_max(self) -> int | None:
        """How many payouts all workers submit in a minute; None for what the rail takes."""
        return self.requests_per_minute or None

    @property
    def breaker_open_ms(self) -> int:
        """How long the breaker stays open the first time, in milliseconds."""
        return round(self.breaker_open_s * 1000)
