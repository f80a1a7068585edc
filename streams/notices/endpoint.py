"""The company's endpoint: where notices go, and what they are signed with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with, not one
SECRET_BYTES_MIN = 24
SECRET_BYTES_MAX = 64
"""Sizes of a secret, by the specification."""

_LOCAL = {"127.0.0.1", "::1", "localhost"}


class EndpointInvalid(ValueError):
    """An address or a secret that cannot be used; one sentence, without the value."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where notices go. ``secrets``: each signs."""

    url: str
    secrets: Sequence[SecretStr]
    timeout_s: int
    concurrency_max: int

    @property
    def origin(self) -> str:
        """Scheme and host, to show to people: a path may hold a token."""
        return origin_of(self.url)

    def __repr__(self) -> str:
        """Without the path, which may hold a token."""
        return f"Endpoint({self.origin})"


def origin_of(url: str) -> str:
    """Scheme and host of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


def check_url(url: str, *, plain_http_allowed: bool) -> str:
    """The address, if notices may go there. Raises EndpointInvalid."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise EndpointInvalid("no address; write https://host/path") from None
    if parts.username or parts.password or parts.fragment or not parts.hostname or port == 0:
        raise EndpointInvalid("write https://host/path, without user, password and fragment")
    local = plain_http_allowed or parts.hostname in _LOCAL
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise EndpointInvalid("must be https; http only to this host or where it is allowed")
    return url


def key_of(secret: SecretStr) -> bytes:
    """The key that a secret stands for. Raises EndpointInvalid."""
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not (text.startswith(SECRET_PREFIX) and SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX):
        raise EndpointInvalid(
            f"must be {SECRET_PREFIX} and the base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} "
            "random bytes"
        )
    return key
