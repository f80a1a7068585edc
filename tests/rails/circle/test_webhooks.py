"""A notification of Circle's is believed for SNS's signature and topic, and says what it says."""

import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from rails.circle.settings import CircleSettings
from rails.circle.sns import AGE_S_MAX, SnsMessage, SnsVerifier, signed_text
from rails.circle.webhooks import CircleVerifier, circle_verifier
from rails.sandbox.circle import SNS_PATH, TOPIC_ARN, CircleSandbox
from rails.sandbox.scribes import Signer
from rails.sandbox.server import serve
from rails.webhooks import AHEAD_S_MAX, BODY_BYTES_MAX, WebhookRefused, webhook_app
from tests.rails import specs
from tests.rails.company import Company

NOW_S = int(time.time())
SENT_AT = datetime.fromtimestamp(NOW_S, UTC).strftime("%Y-%m-%dT%H:%M:%S.500Z")
SIGNER = Signer()
OTHER_SIGNER = Signer()
PAYOUT_ID = "b8627ae8-732b-4d25-b947-1df8f4007a29"


class Host:
    """Serves certificates and confirmations, and counts."""

    def __init__(self) -> None:
        self.prefix = ""
        self.asked: list[str] = []
        self.status = 200

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        name = request.match_info["name"]
        signer = {SIGNER.sns_name: SIGNER, OTHER_SIGNER.sns_name: OTHER_SIGNER}.get(name)
        return web.Response(body=signer.pem() if signer else b"", status=self.status)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    made = Host()
    app = web.Application()
    app.router.add_get("/sns/{name:.*}", made.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.prefix = f"http://127.0.0.1:{runner.addresses[0][1]}/sns/"
    yield made
    await runner.cleanup()


@pytest.fixture
def verifier(host: Host) -> CircleVerifier:
    return CircleVerifier(TOPIC_ARN, prefixes=(host.prefix,), now_s=lambda: NOW_S)


def payout(**fields: object) -> dict[str, Any]:
    return {
        "id": PAYOUT_ID,
        "sourceWalletId": "53535335",
        "destination": {"type": "address_book", "id": PAYOUT_ID},
        "amount": {"amount": "10.50", "currency": "USD"},
        "status": "complete",
        "createDate": "2026-09-21T14:10:00.000Z",
        "updateDate": "2026-09-21T14:13:00.000Z",
        **fields,
    }


def notification(**fields: object) -> str:
    told = {"clientId": PAYOUT_ID, "notificationType": "payouts", "version": 1, "payout": payout()}
    return json.dumps({**told, **fields})


def message(host: Host, *, signer: Signer = SIGNER, version: str = "1", **fields: str) -> bytes:
    """A signed message; ``fields`` stand under the signature as well."""
    signed = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC_ARN,
        "Message": notification(),
        "Timestamp": SENT_AT,
        **fields,
    }
    hash_ = SHA256() if version == "2" else SHA1()
    return json.dumps(
        {
            **signed,
            "SignatureVersion": version,
            "Signature": signer.signature(signed_text(signed), hash_),
            "SigningCertURL": host.prefix + signer.sns_name,
            "UnsubscribeURL": "https://example.com/unsigned",
        }
    ).encode()


def subscription(host: Host, **fields: str) -> bytes:
    url = f"{host.prefix}?Action=ConfirmSubscription&TopicArn={TOPIC_ARN}&Token=23ab"
    plain = {"Type": "SubscriptionConfirmation", "Token": "23ab", "SubscribeURL": url}
    return message(host, **{**plain, "Message": "You have chosen to subscribe", **fields})


async def refusal(verifier: CircleVerifier, body: bytes) -> WebhookRefused:
    with pytest.raises(WebhookRefused) as caught:
        await verifier.verify({}, body)
    return caught.value


def test_the_signed_text_is_the_one_that_aws_shows() -> None:
    notification_fields = {
        "Type": "Notification",
        "Message": "My Test Message",
        "MessageId": "4d4dc071-ddbf-465d-bba8-08f81c89da64",
        "Subject": "My subject",
        "Timestamp": "2019-01-31T04:37:04.321Z",
        "TopicArn": "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P",
    }
    assert signed_text(notification_fields).decode().splitlines() == [
        *("Message", "My Test Message", "MessageId", "4d4dc071-ddbf-465d-bba8-08f81c89da64"),
        *("Subject", "My subject", "Timestamp", "2019-01-31T04:37:04.321Z", "TopicArn"),
        *("arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P", "Type"),
        "Notification",
    ]
    del notification_fields["Subject"]
    assert b"Subject" not in signed_text(notification_fields)
    confirmation = {**notification_fields, "Type": "SubscriptionConfirmation", "Token": "233"}
    names = signed_text({**confirmation, "SubscribeURL": "https://x"}).decode().splitlines()[::2]
    assert names == [
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    ]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "A payout"}])
async def test_what_is_signed_is_read(
    verifier: CircleVerifier, host: Host, version: str, subject: dict[str, str]
) -> None:
    call = await verifier.verify({}, message(host, version=version, **subject))
    assert call.transmission_id == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert call.reports == [
        {
            "id": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "type": "payout.reported",
            "version": 1,
            "occurred_at": "2026-09-21T14:13:00.000Z",
            "rail": "circle",
            "state": "settled",
            "reason": "complete",
            "provider_ref": PAYOUT_ID,
        }
    ]


@specs.needs(specs.CIRCLE)
def test_the_payout_fits_circles_document() -> None:
    schema = specs.document(specs.CIRCLE)["components"]["schemas"]["CryptoPayout"]
    assert specs.problems(specs.CIRCLE, schema, payout()) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "pending"}, ("accepted", None, "pending")),
        # Circle's own example: it counts for failed ones alone.
        (
            {"status": "pending", "errorCode": "transaction_denied"},
            ("accepted", None, "pending"),
        ),
        ({"status": "failed"}, ("failed", "recipient", "failed")),
        (
            {"status": "failed", "errorCode": "insufficient_funds"},
            ("failed", "treasury", "insufficient_funds"),
        ),
        (
            {"status": "failed", "errorCode": "transaction_failed"},
            ("failed", "retryable", "transaction_failed"),
        ),
        (
            {"status": "failed", "errorCode": "transaction_returned"},
            ("returned", None, "transaction_returned"),
        ),
        (
            {
                "status": "failed",
                "errorCode": "transaction_denied",
                "riskEvaluation": {"decision": "denied", "reason": "3220"},
            },
            ("failed", "recipient", "transaction_denied_3220"),
        ),
    ],
)
async def test_a_status_is_a_state(
    verifier: CircleVerifier, host: Host, fields: dict[str, object], told: tuple[str | None, ...]
) -> None:
    text = notification(payout=payout(**fields))
    [report] = (await verifier.verify({}, message(host, Message=text))).reports
    assert (report["state"], report.get("category"), report["reason"]) == told


@pytest.mark.parametrize(
    "text",
    [
        notification(notificationType="transfers"),
        notification(notificationType="addressBookRecipients"),
        notification(payout=payout(status="quarantined")),
        "[]",
        "null",
    ],
)
async def test_what_is_about_no_payout_is_acknowledged(
    verifier: CircleVerifier, host: Host, text: str
) -> None:
    assert (await verifier.verify({}, message(host, Message=text))).reports == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "\u0000", "[" * 5_000),
        *(
            notification(payout=body)
            for body in (None, payout(id="anna"), payout(updateDate=5), payout(updateDate="x" * 41))
        ),
    ],
)
async def test_what_is_signed_and_unreadable_is_refused(
    verifier: CircleVerifier, host: Host, text: str
) -> None:
    assert (await refusal(verifier, message(host, Message=text))).reason == "unreadable"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Message": notification(payout=payout(status="failed"))}, "signature_refused"),
        ({"MessageId": "another"}, "signature_refused"),
        ({"Subject": "added"}, "signature_refused"),
        ({"Timestamp": SENT_AT.replace("500Z", "501Z")}, "signature_refused"),
        ({"Signature": base64.b64encode(b"x" * 256).decode()}, "signature_refused"),
        ({"Signature": ""}, "signature_refused"),
        ({"Signature": "é"}, "signature_unreadable"),
        ({"SignatureVersion": "2"}, "signature_refused"),
        ({"SignatureVersion": "3"}, "algorithm_refused"),
        ({"TopicArn": TOPIC_ARN + "-mine"}, "topic_refused"),
        ({"TopicArn": TOPIC_ARN.upper()}, "topic_refused"),
        ({"Timestamp": "yesterday"}, "time_unreadable"),
        ({"MessageId": "a\nb"}, "unreadable"),
        ({"MessageId": None}, "unreadable"),
        ({"Message": {}}, "unreadable"),
        ({"Message": "\ud800"}, "unreadable"),
        ({"Type": "Else"}, "unreadable"),
        ({"Type": " Notification"}, "unreadable"),
        ({"Type": ["Notification"]}, "unreadable"),
        ({"Type": "SubscriptionConfirmation"}, "unreadable"),
        ({"SigningCertURL": None}, "unreadable"),
    ],
)
async def test_what_is_changed_after_signing_is_refused(
    verifier: CircleVerifier, host: Host, changes: dict[str, object], reason: str
) -> None:
    body = json.dumps({**json.loads(message(host)), **changes}).encode()
    assert (await refusal(verifier, body)).reason == reason


async def test_another_key_of_another_name_proves_itself_only(
    verifier: CircleVerifier, host: Host
) -> None:
    body = json.loads(message(host, signer=OTHER_SIGNER))
    body["SigningCertURL"] = host.prefix + SIGNER.sns_name
    assert (await refusal(verifier, json.dumps(body).encode())).reason == "signature_refused"


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.us-west-2.amazonaws.com.example.com/{name}",
        "https://sns.us-west-2.amazonaws.com@example.com/{name}",
        "https://example.com/sns.us-west-2.amazonaws.com/{name}",
        "https://sns.us-west-2.amazonaws.com/other/{name}",
        "https://sns.us-west-2.amazonaws.com/{name}?x",
        "https://sns.us-west-2.amazonaws.com/../{name}",
        "https://sns.us-west-2.amazonaws.com:8443/{name}",
        "https://s3.us-west-2.amazonaws.com/{name}",
        "https://sns.a.b.amazonaws.com/{name}",
        "https://sns.us-west-2.amazonaws.com.cn/{name}",
        "http://sns.us-west-2.amazonaws.com/{name}",
        "HTTPS://sns.us-west-2.amazonaws.com/{name}",
        "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-x.pem",
        "https://sns.us-west-2.amazonaws.com/anything.pem",
        "",
    ],
)
async def test_certificates_come_from_amazons_hosts_alone(host: Host, url: str) -> None:
    verifier = CircleVerifier(TOPIC_ARN, now_s=lambda: NOW_S)
    body = json.loads(message(host))
    body["SigningCertURL"] = url.format(name=SIGNER.sns_name)
    found = await refusal(verifier, json.dumps(body).encode())
    assert found.reason == "certificate_host_refused"
    # Nor is the sandbox's host believed where it was not asked for.
    assert (await refusal(verifier, message(host))).reason == "certificate_host_refused"
    assert host.asked == []


async def test_a_certificate_is_fetched_once(verifier: CircleVerifier, host: Host) -> None:
    for _ in range(3):
        await verifier.verify({}, message(host))
    assert host.asked == [f"/sns/{SIGNER.sns_name}"]


@pytest.mark.parametrize(
    ("after_s", "fine"),
    [(AGE_S_MAX, True), (AGE_S_MAX + 1, False), (-AHEAD_S_MAX, True), (-AHEAD_S_MAX - 1, False)],
)
async def test_what_is_too_old_or_of_the_future_is_refused(
    host: Host, after_s: int, fine: bool
) -> None:
    verifier = CircleVerifier(TOPIC_ARN, prefixes=(host.prefix,), now_s=lambda: NOW_S)
    moment = datetime.fromtimestamp(NOW_S - after_s, UTC).isoformat()
    body = message(host, Timestamp=moment)
    if fine:
        assert (await verifier.verify({}, body)).reports
    else:
        assert (await refusal(verifier, body)).reason == "time_refused"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b"[" * 5_000, b"{}"])
async def test_what_is_no_message(verifier: CircleVerifier, body: bytes) -> None:
    assert (await refusal(verifier, body)).reason == "unreadable"


async def test_a_body_that_is_too_large_is_refused_unread(verifier: CircleVerifier) -> None:
    assert (await refusal(verifier, b" " * (BODY_BYTES_MAX + 1))).reason == "too_large"


async def test_a_subscription_is_confirmed(verifier: CircleVerifier, host: Host) -> None:
    call = await verifier.verify({}, subscription(host))
    assert call.reports == []
    assert host.asked[-1] == f"/sns/?Action=ConfirmSubscription&TopicArn={TOPIC_ARN}&Token=23ab"


async def test_leaving_is_confirmed_by_doing_nothing(verifier: CircleVerifier, host: Host) -> None:
    call = await verifier.verify({}, subscription(host, Type="UnsubscribeConfirmation"))
    assert call.reports == []
    assert host.asked == [f"/sns/{SIGNER.sns_name}"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.com/?Action=ConfirmSubscription", "subscription_host_refused"),
        ("{host}x?Action=ConfirmSubscription", "subscription_host_refused"),
        ("{host}", "subscription_host_refused"),
        ("{host}?Action=Unsubscribe&TopicArn={topic}", "subscription_refused"),
        ("{host}?Action=ConfirmSubscription&TopicArn={topic}2", "subscription_refused"),
        ("{host}?Action=ConfirmSubscription", "subscription_refused"),
        (
            "{host}?Action=ConfirmSubscription&Action=Publish&TopicArn={topic}",
            "subscription_refused",
        ),
    ],
)
async def test_a_confirmation_goes_to_sns_and_for_our_topic_alone(
    verifier: CircleVerifier, host: Host, url: str, reason: str
) -> None:
    body = subscription(host, SubscribeURL=url.format(host=host.prefix, topic=TOPIC_ARN))
    assert (await refusal(verifier, body)).reason == reason
    assert host.asked == [f"/sns/{SIGNER.sns_name}"]


@pytest.mark.parametrize(
    "host",
    [
        "http://sns.us-west-2.amazonaws.com/",
        "https://sns.us-west-2.amazonaws.com.example.com/",
        "https://sns.us-west-2.amazonaws.com@example.com/",
        "https://sns.us-west-2.amazonaws.com:8443/",
        "https://sns.us-west-2.amazonaws.com/x",
        "https://sqs.us-west-2.amazonaws.com/",
        "https://127.0.0.1/",
    ],
)
async def test_a_proven_message_leads_to_amazons_hosts_alone(host: str) -> None:
    fields = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "1",
        "Message": "",
        "SubscribeURL": f"{host}?Action=ConfirmSubscription&TopicArn={TOPIC_ARN}&Token=1",
    }
    with pytest.raises(WebhookRefused, match="subscription_host_refused"):
        await SnsVerifier(TOPIC_ARN).confirm(SnsMessage(fields))


async def test_a_confirmation_that_fails_is_to_come_again(
    verifier: CircleVerifier, host: Host
) -> None:
    await verifier.verify({}, message(host))
    host.status = 500
    found = await refusal(verifier, subscription(host))
    assert (found.reason, found.retry) == ("subscription_not_found", True)


async def test_a_subscription_to_the_sandbox_end_to_end() -> None:
    async with (
        Company("circle") as company,
        await serve(webhook_urls={"circle": company.url}) as sandbox,
    ):
        company.trust(sandbox)
        circle = sandbox.providers["circle"]
        assert isinstance(circle, CircleSandbox)
        async with aiohttp.ClientSession() as session:
            async with session.head(company.url) as warm:
                assert warm.status == 200
            assert not circle.subscribed
            now_ms = sandbox.clock.now_ms()
            async with session.post(company.url, data=circle.confirmation(now_ms)) as answer:
                assert answer.status == 200
        assert circle.subscribed
        assert company.results == ["ignored"]


async def test_a_report_finds_its_payout_by_the_providers_reference(
    verifier: CircleVerifier, host: Host
) -> None:
    published: list[dict[str, Any]] = []
    known = {("circle", PAYOUT_ID): "01-payout"}

    async def publish(*, topic: str, key: bytes, value: bytes) -> None:
        published.append(json.loads(value))

    async def seller_of(payout_id: str) -> str | None:
        return {"01-payout": "S-1"}.get(payout_id)

    async def payout_of(rail: str, reference: str) -> str | None:
        return known.get((rail, reference))

    results: list[str] = []
    app = webhook_app(
        {"circle": verifier},
        publish,
        seller_of,
        attempt_of_reference=payout_of,
        count=lambda _rail, result: results.append(result),
    )
    other = notification(payout=payout(id=PAYOUT_ID.replace("a", "b")))
    async with TestClient(TestServer(app)) as client:
        for body in (message(host), message(host, Message=other, MessageId="other")):
            async with client.post("/webhooks/circle", data=body) as answer:
                assert answer.status == 200
    assert results == ["published", "no_payout"]
    [event] = published
    assert (event["payout_id"], event["seller_id"]) == ("01-payout", "S-1")
    assert event["provider_ref"] == PAYOUT_ID


@pytest.mark.parametrize(
    "topic", ["", "arn:aws:sqs:us-west-2:000000000000:x", "arn:aws:sns:us-west-2:1:x", "x\n"]
)
def test_a_topic_that_is_none_is_refused_at_start(topic: str) -> None:
    with pytest.raises(ValueError, match="topic is arn"):
        CircleVerifier(topic)
    if topic:
        with pytest.raises(ValueError, match="topic_arn is arn"):
            CircleSettings.model_validate({"topic_arn": topic})


def test_the_settings_of_a_verifier() -> None:
    settings = CircleSettings.model_validate(
        {"topic_arn": TOPIC_ARN, "webhook_cert_prefixes": f"http://sandbox:8700{SNS_PATH}"}
    )
    assert isinstance(circle_verifier(settings), CircleVerifier)
