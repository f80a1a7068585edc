"""A webhook of Marqeta's is believed for its password and its signature."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from rails.marqeta.settings import MarqetaSettings
from rails.marqeta.webhooks import MarqetaVerifier, marqeta_verifier
from rails.webhooks import BODY_BYTES_MAX, WebhookRefused
from tests.rails import specs

USER, PASSWORD, SECRET = "hooks", "Password-of-20-chars", "Secret-of-20-or-more-chars"
NOW_S = 1_790_000_000
AT = "2026-09-21T13:46:40Z"
PAYOUT = "2a0f6f3e-8d0c-5e1b-9c55-0123456789ab"


def transaction(order: dict[str, object] | None = None, **changes: object) -> dict[str, Any]:
    times = {"created_time": AT, "last_modified_time": AT}
    source = {"token": "f", "type": "program", "active": True, "is_default_account": False}
    whole = {
        "token": PAYOUT,
        "tags": PAYOUT,
        "amount": 10.5,
        "currency_code": "EUR",
        "user_token": "anna",
        "funding_source_token": "f",
        "funding": {"source": {**source, **times}},
        "transaction_token": "t-1",
        "state": "COMPLETION",
        "response": {"code": "0000", "memo": "Approved"},
        **times,
        **(order or {}),
    }
    return {
        "token": "b4c1b8a2-0f5e-4d5c-8f3c-1a2b3c4d5e6f",
        "type": "gpa.credit",
        "state": "COMPLETION",
        "acting_user_token": "anna",
        "amount": 10.5,
        "created_time": AT,
        "gpa_order": whole,
        **changes,
    }


def body_of(*transactions: object) -> bytes:
    return json.dumps({"transactions": transactions}).encode()


def login(user: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def headers(body: bytes, algorithm: str = "sha256", secret: str = SECRET) -> dict[str, str]:
    made = hmac.new(secret.encode(), body, algorithm).hexdigest()
    return {"Authorization": login(), "X-Marqeta-Signature": made}


def verifier(secret: str = SECRET) -> MarqetaVerifier:
    return MarqetaVerifier(USER, PASSWORD, secret, now_s=lambda: NOW_S)


async def reports(*transactions: object) -> list[dict[str, object]]:
    body = body_of(*transactions)
    return (await verifier().verify(headers(body), body)).reports


async def refusal(sent: dict[str, str], body: bytes, secret: str = SECRET) -> str:
    with pytest.raises(WebhookRefused) as caught:
        await verifier(secret).verify(sent, body)
    return caught.value.reason


async def test_what_is_signed_is_read() -> None:
    body = body_of(transaction())
    call = await verifier().verify(headers(body), body)
    assert call.transmission_id == hashlib.sha256(body).hexdigest()
    assert call.reports == [
        {
            "id": "b4c1b8a2-0f5e-4d5c-8f3c-1a2b3c4d5e6f-settled",
            "type": "payout.reported",
            "version": 1,
            "occurred_at": AT,
            "payout_id": PAYOUT,
            "attempt": 0,
            "rail": "marqeta",
            "state": "settled",
            "reason": "completion",
            "provider_ref": PAYOUT,
        }
    ]


@specs.needs(specs.MARQETA)
def test_the_transaction_fits_marqetas_document() -> None:
    schema = specs.schemas(specs.MARQETA)["transaction_model"]
    assert specs.problems(specs.MARQETA, schema, transaction()) == []


@pytest.mark.parametrize(
    ("order", "changes", "state", "category"),
    [
        ({"state": "PENDING"}, {}, "accepted", None),
        ({"state": "CLEARED"}, {}, "settled", None),
        ({"state": "REVERSED"}, {}, "returned", None),
        ({}, {"type": "gpa.credit.reversal"}, "returned", None),
        ({"state": "PENDING"}, {"type": "gpa.credit.pending.reversal"}, "returned", None),
        ({"state": "DECLINED", "response": {"code": "1016"}}, {}, "failed", "treasury"),
        ({"state": "DECLINED", "response": {"code": "1813"}}, {}, "failed", "method"),
        ({"state": "DECLINED", "response": {"code": "9999"}}, {}, "failed", "recipient"),
        ({"state": "DECLINED", "response": None}, {}, "failed", "recipient"),
        ({"tags": f"{PAYOUT}.2", "token": PAYOUT.replace("-", "") + ".2"}, {}, "settled", None),
    ],
)
async def test_a_state_is_a_state(
    order: dict[str, object], changes: dict[str, object], state: str, category: str | None
) -> None:
    [report] = await reports(transaction(order, **changes))
    assert (report["state"], report.get("category")) == (state, category)
    assert report["payout_id"] == PAYOUT


async def test_one_call_tells_of_many() -> None:
    other = "2b" + PAYOUT[2:]
    found = await reports(
        transaction(), {"type": "authorization"}, transaction({"token": other, "tags": other})
    )
    assert [report["payout_id"] for report in found] == [PAYOUT, other]


@pytest.mark.parametrize(
    "order",
    [
        {"tags": "your tags"},
        {"tags": None},
        {"token": "another order's"},
        {"state": "ERROR"},
        {"state": "ESCHEATED"},
    ],
)
async def test_what_is_about_no_payout_of_ours_is_acknowledged(order: dict[str, object]) -> None:
    assert await reports(transaction(order)) == []


@pytest.mark.parametrize(
    "event",
    [
        {"pings": [{"token": "marqeta", "payload": "healthcheck"}]},
        {"cardtransitions": [{}]},
        {"transactions": "none"},
        [],
    ],
)
async def test_another_event_is_acknowledged(event: object) -> None:
    body = json.dumps(event).encode()
    assert (await verifier().verify(headers(body), body)).reports == []


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_the_algorithm_is_the_webhooks(algorithm: str) -> None:
    body = body_of(transaction())
    assert len((await verifier().verify(headers(body, algorithm), body)).reports) == 1
    shouted = headers(body, algorithm)
    shouted["X-Marqeta-Signature"] = shouted["X-Marqeta-Signature"].upper()
    assert len((await verifier().verify(shouted, body)).reports) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Authorization": ""}, "login_refused"),
        ({"Authorization": login(password="wrong")}, "login_refused"),
        ({"Authorization": login(user="another")}, "login_refused"),
        ({"Authorization": login().replace("Basic", "Bearer")}, "login_refused"),
        ({"Authorization": "Basic é\udcff"}, "login_refused"),
        ({"X-Marqeta-Signature": ""}, "signature_unreadable"),
        ({"X-Marqeta-Signature": "ab"}, "signature_unreadable"),
        ({"X-Marqeta-Signature": "é" * 64}, "signature_refused"),
        ({"X-Marqeta-Signature": "0" * 40}, "signature_refused"),
        (headers(body_of(transaction({"state": "DECLINED"}))), "signature_refused"),
        (headers(body_of(transaction()), secret="another"), "signature_refused"),
    ],
)
async def test_what_is_not_proven_is_refused(changes: dict[str, str], reason: str) -> None:
    body = body_of(transaction())
    assert await refusal({**headers(body), **changes}, body) == reason


async def test_without_a_secret_the_password_is_enough() -> None:
    body = body_of(transaction())
    call = await verifier("").verify({"Authorization": login()}, body)
    assert len(call.reports) == 1
    assert await refusal({}, body, secret="") == "login_refused"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[" * 100_000,
        body_of(transaction(token=None)),
        body_of(transaction(token="no token!")),
        body_of(transaction(created_time=None)),
    ],
)
async def test_what_is_proven_and_unreadable_is_refused(body: bytes) -> None:
    assert await refusal(headers(body), body) == "unreadable"


@pytest.mark.parametrize("moment", ["2026-08-01T00:00:00Z", "2026-10-01T00:00:00Z"])
async def test_what_is_too_old_or_of_the_future_is_refused(moment: str) -> None:
    body = body_of(transaction(), transaction(created_time=moment))
    assert await refusal(headers(body), body) == "time_refused"


@pytest.mark.parametrize("moment", ["yesterday", "2026-09-21T13:46:40"])
async def test_a_time_that_is_none_is_refused(moment: str) -> None:
    body = body_of(transaction(created_time=moment))
    assert await refusal(headers(body), body) == "time_unreadable"


async def test_a_body_that_is_too_large_is_refused_unread() -> None:
    body = b" " * (BODY_BYTES_MAX + 1)
    assert await refusal(headers(body), body) == "too_large"


def test_what_cannot_prove_anything_is_refused_at_start() -> None:
    with pytest.raises(ValueError):
        marqeta_verifier(MarqetaSettings())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"webhook_password": "short"}, "webhook_password has 20 to 50"),
        ({"webhook_password": "x" * 51}, "webhook_password has 20 to 50"),
        ({"webhook_password": PASSWORD, "webhook_secret": "x"}, "webhook_secret has 20 to 50"),
        ({"webhook_secret": SECRET}, "webhook_password is needed beside a secret"),
        ({"webhook_username": "a:b"}, "webhook_username is a name without a colon"),
        ({"webhook_username": ""}, "webhook_username is a name without a colon"),
    ],
)
def test_settings_that_marqeta_does_not_take(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarqetaSettings.model_validate(fields)
    assert MarqetaSettings.model_validate({"webhook_password": PASSWORD}).is_set("webhook_password")
