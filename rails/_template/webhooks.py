"""Proof that a webhook comes from the template's provider: an HMAC with a shared key."""

from __future__ import annotations

from rails._template.mapping import webhook_report
from rails._template.settings import TemplateSettings
from rails.webhooks import HmacVerifier

HEADER = "Template-Signature"
AGE_S_MAX = 86_400
"""The provider goes on trying for a day."""


def template_verifier(settings: TemplateSettings) -> HmacVerifier:
    """The verifier of one account's webhook. Raises ValueError without a key."""
    key = settings.webhook_key.get_secret_value().encode()
    return HmacVerifier(key, HEADER, webhook_report, age_s_max=AGE_S_MAX)
