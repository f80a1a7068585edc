"""Proof of PayPal's webhooks: each part of it, missing or wrong, is refused by its own name."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from rails import certificates
from rails.paypal import webhooks
from rails.paypal.settings import PayPalSettings
from rails.paypal.webhooks import PayPalVerifier, paypal_verifier
from rails.sandbox.scribes import Signer
from rails.webhooks import BODY_BYTES_MAX, WebhookRefused

WEBHOOK_ID = "WH-1"
BODY = json.dumps(
    {
        "id": "WH-58D329510W468432D-8HN650336L201105X",
        "event_type": "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
        "create_time": "2026-11-23T10:00:00Z",
        "resource": {"payout_batch_id": "B1", "payout_item": {"sender_item_id": "p-1"}},
    }
).encode()
NO_ID = BODY.replace(b'"id"', b'"no"')
SIGNER = Signer()
OTHER_SIGNER = Signer()


class CertHost:
    """Serves certificates, and counts."""

    def __init__(self) -> None:
        self.prefix = ""
        self.fetches = 0
        self.files: dict[str, bytes] = {"good": SIGNER.pem(), "other": OTHER_SIGNER.pem()}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.fetches += 1
        name = request.match_info["name"]
        if name == "moved":
            return web.Response(status=302, headers={"Location": "good"})
        if name == "broken":
            return web.Response(status=500)
        if name not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[name])


@pytest.fixture
async def host() -> AsyncIterator[CertHost]:
    made = CertHost()
    app = web.Application()
    app.router.add_get("/certs/{name}", made.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.prefix = f"http://127.0.0.1:{runner.addresses[0][1]}/certs/"
    yield made
    await runner.cleanup()


@pytest.fixture
def verifier(host: CertHost) -> PayPalVerifier:
    return PayPalVerifier(WEBHOOK_ID, cert_prefixes=(host.prefix,))


def _headers(
    host: CertHost,
    *,
    body: bytes = BODY,
    cert: str = "good",
    late_s: int = 0,
    webhook_id: str = WEBHOOK_ID,
) -> dict[str, str]:
    moment = datetime.fromtimestamp(time.time() - late_s, UTC)
    return SIGNER.headers(host.prefix + cert, webhook_id, body, moment)


async def _refusal(
    verifier: PayPalVerifier, headers: dict[str, str], body: bytes = BODY
) -> WebhookRefused:
    with pytest.raises(WebhookRefused) as caught:
        await verifier.verify(headers, body)
    return caught.value


def _cert(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, from_days: int, until_days: int
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=from_days))
        .not_valid_after(now + timedelta(days=until_days))
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )


async def test_an_honest_call_is_proven(verifier: PayPalVerifier, host: CertHost) -> None:
    headers = _headers(host)
    call = await verifier.verify(headers, BODY)
    assert call.transmission_id == headers["PAYPAL-TRANSMISSION-ID"]
    assert [report["payout_id"] for report in call.reports] == ["p-1"]


async def test_the_certificate_is_fetched_once(verifier: PayPalVerifier, host: CertHost) -> None:
    for _ in range(5):
        await verifier.verify(_headers(host), BODY)
    assert host.fetches == 1


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("PAYPAL-TRANSMISSION-ID", None, "no_transmission_id"),
        ("PAYPAL-TRANSMISSION-ID", "a|b", "no_transmission_id"),
        ("PAYPAL-TRANSMISSION-ID", "00000000-0000-0000-0000-000000000000", "signature_refused"),
        ("PAYPAL-TRANSMISSION-TIME", None, "time_unreadable"),
        ("PAYPAL-TRANSMISSION-TIME", "yesterday", "time_unreadable"),
        ("PAYPAL-TRANSMISSION-TIME", "2026-11-23T10:00:00", "time_unreadable"),
        ("PAYPAL-AUTH-ALGO", None, "algorithm_refused"),
        ("PAYPAL-AUTH-ALGO", "NONE", "algorithm_refused"),
        ("PAYPAL-AUTH-ALGO", "SHA1withRSA", "algorithm_refused"),
        ("PAYPAL-TRANSMISSION-SIG", None, "signature_refused"),
        ("PAYPAL-TRANSMISSION-SIG", "!", "signature_unreadable"),
        ("PAYPAL-TRANSMISSION-SIG", "AAAA", "signature_refused"),
        ("PAYPAL-CERT-URL", None, "certificate_host_refused"),
    ],
)
async def test_each_header_matters(
    verifier: PayPalVerifier, host: CertHost, header: str, value: str | None, reason: str
) -> None:
    headers = _headers(host)
    if value is None:
        del headers[header]
    else:
        headers[header] = value
    assert (await _refusal(verifier, headers)).reason == reason


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/certs/good",
        "{prefix}../good",
        "{prefix}sub/good",
        "{prefix}good?x=1",
        "{prefix}good#x",
        "{prefix}%2e%2e/good",
        "{prefix}",
        "{prefix}good\n",
        "{host}.evil.example/certs/good",
        "{host}@evil.example/certs/good",
        " {prefix}good",
    ],
)
async def test_the_certificates_address_is_pinned(
    verifier: PayPalVerifier, host: CertHost, url: str
) -> None:
    headers = _headers(host)
    base = host.prefix.removesuffix("/certs/")
    headers["PAYPAL-CERT-URL"] = url.format(prefix=host.prefix, host=base)
    assert (await _refusal(verifier, headers)).reason == "certificate_host_refused"
    assert host.fetches == 0


async def test_by_default_only_paypals_hosts() -> None:
    for prefix in webhooks.CERT_PREFIXES:
        assert prefix.startswith("https://")
        assert prefix.split("/")[2].endswith(".paypal.com")


async def test_a_changed_body(verifier: PayPalVerifier, host: CertHost) -> None:
    changed = BODY.replace(b"SUCCEEDED", b"UNCLAIMED")
    assert (await _refusal(verifier, _headers(host), changed)).reason == "signature_refused"


async def test_another_webhooks_signature(verifier: PayPalVerifier, host: CertHost) -> None:
    refusal = await _refusal(verifier, _headers(host, webhook_id="WH-2"))
    assert refusal.reason == "signature_refused"


async def test_another_certificate(verifier: PayPalVerifier, host: CertHost) -> None:
    assert (await _refusal(verifier, _headers(host, cert="other"))).reason == "signature_refused"


@pytest.mark.parametrize(
    ("late_s", "fine"), [(0, True), (298, True), (-298, True), (303, False), (-303, False)]
)
async def test_time_tolerance(
    verifier: PayPalVerifier, host: CertHost, late_s: int, fine: bool
) -> None:
    headers = _headers(host, late_s=late_s)
    if fine:
        await verifier.verify(headers, BODY)
    else:
        assert (await _refusal(verifier, headers)).reason == "time_refused"
        # The cheap test comes first: an old call costs no fetch.
        assert host.fetches == 0


@pytest.mark.parametrize(
    ("name", "reason", "retry"),
    [
        ("absent", "certificate_not_found", False),
        ("moved", "certificate_not_found", False),
        ("broken", "certificate_not_found", True),
        ("junk", "certificate_unreadable", False),
        ("large", "certificate_too_large", False),
        ("expired", "certificate_expired", False),
        ("early", "certificate_expired", False),
        ("curve", "certificate_key_refused", False),
        ("weak", "certificate_key_refused", False),
    ],
)
async def test_certificates_that_prove_nothing(
    verifier: PayPalVerifier, host: CertHost, name: str, reason: str, retry: bool
) -> None:
    strong = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    host.files |= {
        "junk": b"-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n",
        "large": SIGNER.pem() + b" " * certificates.CERT_BYTES_MAX,
        "expired": _cert(strong, from_days=-10, until_days=-1),
        "early": _cert(strong, from_days=1, until_days=10),
        "curve": _cert(ec.generate_private_key(ec.SECP256R1()), from_days=-1, until_days=1),
        "weak": _cert(
            rsa.generate_private_key(public_exponent=65537, key_size=1024),
            from_days=-1,
            until_days=1,
        ),
    }
    refusal = await _refusal(verifier, _headers(host, cert=name))
    assert (refusal.reason, refusal.retry) == (reason, retry)


async def test_a_chain_begins_with_the_signers_certificate(
    verifier: PayPalVerifier, host: CertHost
) -> None:
    host.files["chain"] = SIGNER.pem() + OTHER_SIGNER.pem()
    await verifier.verify(_headers(host, cert="chain"), BODY)


async def test_an_unreachable_host_asks_for_another_try() -> None:
    verifier = PayPalVerifier(WEBHOOK_ID, cert_prefixes=("http://127.0.0.1:1/certs/",))
    headers = SIGNER.headers("http://127.0.0.1:1/certs/x", WEBHOOK_ID, BODY, datetime.now(UTC))
    assert (await _refusal(verifier, headers)).retry


async def test_invented_names_cannot_make_us_hammer_the_host(
    verifier: PayPalVerifier, host: CertHost
) -> None:
    limit = certificates.CERT_FETCHES_PER_MINUTE_MAX
    for number in range(limit):
        await _refusal(verifier, _headers(host, cert=f"absent{number}"))
    refusal = await _refusal(verifier, _headers(host, cert="absent"))
    assert (refusal.reason, refusal.retry) == ("certificate_fetches_exhausted", True)
    assert host.fetches == limit


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", NO_ID])
async def test_a_signed_but_unreadable_body(
    verifier: PayPalVerifier, host: CertHost, body: bytes
) -> None:
    assert (await _refusal(verifier, _headers(host, body=body), body)).reason == "unreadable"


async def test_a_body_too_large(verifier: PayPalVerifier, host: CertHost) -> None:
    body = b"x" * (BODY_BYTES_MAX + 1)
    assert (await _refusal(verifier, _headers(host, body=body), body)).reason == "too_large"


async def test_an_event_about_something_else(verifier: PayPalVerifier, host: CertHost) -> None:
    body = b'{"event_type":"PAYMENT.PAYOUTSBATCH.SUCCESS"}'
    assert (await verifier.verify(_headers(host, body=body), body)).reports == []


def test_settings_it_cannot_work_with() -> None:
    with pytest.raises(ValueError, match="webhook id"):
        paypal_verifier(PayPalSettings())
    with pytest.raises(ValueError, match="slash"):
        PayPalVerifier("x", cert_prefixes=("https://api.paypal.com",))


async def test_certificates_kept_are_bounded(
    host: CertHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "CERTS_MAX", 2)
    verifier = PayPalVerifier(WEBHOOK_ID, cert_prefixes=(host.prefix,))
    host.files |= {name: SIGNER.pem() for name in ("a", "b", "c")}
    for name in ("a", "b", "c", "a"):
        await verifier.verify(_headers(host, cert=name), BODY)
    assert host.fetches == 4
