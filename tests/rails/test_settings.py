"""Settings of a rail: secrets masked, credentials only over TLS."""

import pytest
from pydantic import ValidationError

from rails.paypal.settings import PayPalSettings


def test_the_secret_is_masked() -> None:
    settings = PayPalSettings(client_id="me", client_secret="s3cret")
    assert "s3cret" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("base_url", "fine"),
    [
        ("https://api-m.paypal.com", True),
        ("https://api-m.paypal.com/", True),
        ("http://127.0.0.1:8700", True),
        ("http://localhost:8700", True),
        ("http://[::1]:8700", True),
        ("http://api-m.paypal.com", False),
        ("http://127.0.0.1.example.com", False),
        ("https://user:pass@api-m.paypal.com", False),
        ("https://api-m.paypal.com/?x=1", False),
        ("ftp://api-m.paypal.com", False),
        ("", False),
    ],
)
def test_where_credentials_may_go(base_url: str, fine: bool) -> None:
    if fine:
        assert not PayPalSettings(base_url=base_url).root.endswith("/")
    else:
        with pytest.raises(ValidationError):
            PayPalSettings(base_url=base_url)


def test_a_sandbox_in_another_container_is_asked_for() -> None:
    settings = PayPalSettings(base_url="http://sandbox:8700", plain_http_allowed=True)
    assert settings.root == "http://sandbox:8700"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_s", 0.01),
        ("timeout_s", 301),
        ("concurrency", 0),
        ("concurrency", 1_001),
        ("nonsense", 1),
    ],
)
def test_bounds(field: str, value: int) -> None:
    with pytest.raises(ValidationError):
        PayPalSettings.model_validate({field: value})


def test_an_error_does_not_quote_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        PayPalSettings.model_validate({"client_secret": ["s3cret"]})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "texts"),
    [("", ()), ("a", ("a",)), (" a , b,", ("a", "b")), (("a", "b"), ("a", "b"))],
)
def test_a_list_is_written_with_commas(text: object, texts: tuple[str, ...]) -> None:
    settings = PayPalSettings.model_validate({"webhook_cert_prefixes": text})
    assert settings.webhook_cert_prefixes == texts
