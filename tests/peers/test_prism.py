"""Each connector against its provider's own document, served by Prism: no request breaks the
document, and every answer that the document allows is read."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import rails.circle.mapping
import rails.paypal.mapping
from rails.addresses import read_address
from rails.answers import at, entries
from rails.circle.settings import CircleSettings
from rails.rail import Instruction, Outcome, Rail, wall_clock_ms
from rails.registry import open_rails, provider
from tests.peers.prism import Front, missing, prism
from tests.rails import specs

PAYOUT = Instruction(
    payout_id="2a" + "0" * 32,
    amount_minor=1050,
    currency="EUR",
    destination="",
    seller_ref="seller-1",
    note="March: shop & party",
    first_submitted_ms=0,
)


UUID = "b3d9d2d5-4c12-4946-a09d-953e82fae2b0"
CIRCLE_SETTINGS: dict[str, object] = {
    "api_key": "key",
    "wallet_id": UUID,
    "sender_name": "Muster GmbH",
    "sender_street": "Hauptstr. 1",
    "sender_city": "Berlin",
    "sender_district": "BE",
    "sender_postal_code": "10115",
    "sender_country": "DE",
}


@dataclass(frozen=True)
class Peer:
    """A provider's row: its document, the settings of a rail to it, what is asked of the rail."""

    provider: str
    document: str
    settings: dict[str, object]
    payouts: list[Instruction]
    """One of each kind of destination."""
    reaches: set[tuple[str, str]]
    """The operations that the connector uses."""
    reference: str = "REF1"
    tokens: dict[str, object] = field(default_factory=dict)
    """What is in no document: the fetching of a token, by path."""
    further: Callable[[Any], Awaitable[None]] | None = None
    """Calls of the client that its rail makes only after an answer that Prism does not give."""
    shown: Callable[[object], dict[str, object]] = lambda _body: {}
    """Which payout an answer is about, as changes of the instruction; empty if of none."""
    random: bool = True
    """Whether Prism can fill answers at random; of some documents it never ends."""
    strict: bool = True
    """Whether Prism's own answers keep the document; one that contains itself has none that do."""


def account(**fields: str) -> str:
    return json.dumps({"holder": "Anna Muster", **fields})


def adyen_shown(body: object) -> dict[str, object]:
    found = [body, *entries(at(body, "data"))]
    for one in found:
        if isinstance(at(one, "reference"), str) and isinstance(at(one, "amount", "value"), int):
            return {
                "payout_id": at(one, "reference"),
                "currency": at(one, "amount", "currency"),
                "amount_minor": at(one, "amount", "value"),
            }
    return {}


def paypal_shown(body: object) -> dict[str, object]:
    name = at(body, "batch_header", "sender_batch_header", "sender_batch_id")
    return {"payout_id": name} if isinstance(name, str) else {}


async def paypal_further(client: Any) -> None:
    await client.show_item("ITEM1")
    answer = await client.cancel_item("ITEM1")
    rails.paypal.mapping.cancelled(PAYOUT, "REF1", answer.status, answer.body)


def marqeta_shown(body: object) -> dict[str, object]:
    if not isinstance(at(body, "token"), str):
        return {}
    return {"payout_id": at(body, "token"), "destination": at(body, "user_token")}


def instrument(token: object) -> str:
    return json.dumps({"kind": "marqeta_card", "token": token, "expires": "03/2099"})


def push_shown(body: object) -> dict[str, object]:
    if not isinstance(at(body, "token"), str):
        return {}
    card = instrument(at(body, "payment_instrument_token"))
    return {"payout_id": at(body, "token"), "destination": card}


CRYPTO = json.dumps(
    {
        "kind": "crypto",
        "chain": "ETH",
        "address": "0x" + "12" * 20,
        "holder": "Anna Muster",
        "country": "DE",
    }
)


async def circle_further(client: Any) -> None:
    """The address book, and a payout to an entry of it."""
    mapping = rails.circle.mapping
    address = read_address(CRYPTO)
    payout = replace(PAYOUT, currency="USD", destination=CRYPTO)
    found = await client.find_recipients(address.chain, address.address)
    mapping.found_recipient(address, found.body)
    for answer in (
        await client.create_recipient(mapping.recipient_body(payout, address)),
        await client.show_recipient(UUID),
    ):
        mapping.recipient_read(address, answer.body)
        mapping.recipient_refused(answer.status, answer.body)
    identity = CircleSettings.model_validate(CIRCLE_SETTINGS).identity
    for told in (identity, None):
        body = json.dumps(mapping.payout_body(payout, UUID, UUID, told)).encode()
        answer = await client.create(body)
        for repeat in (False, True):
            mapping.submitted(payout, answer.status, answer.body, repeat=repeat)


PEERS = [
    Peer(
        "adyen",
        specs.ADYEN,
        {"api_key": "key", "balance_account": "BA1"},
        [
            replace(PAYOUT, destination=account(kind="iban", iban="DE89370400440532013000")),
            replace(
                PAYOUT,
                currency="USD",
                destination=account(kind="us", routing="011000138", account="123456789"),
            ),
            replace(
                PAYOUT,
                currency="GBP",
                destination=account(kind="uk", sort_code="123456", account="12345678"),
            ),
            replace(
                PAYOUT,
                currency="CAD",
                destination=account(
                    kind="ca", institution="001", transit="12345", account="1234567"
                ),
            ),
            replace(
                PAYOUT,
                destination=account(kind="card", number="4111111111111111", expires="03/2099"),
            ),
        ],
        {("POST", "/transfers"), ("GET", "/transfers"), ("GET", "/transfers/{id}")},
        shown=adyen_shown,
    ),
    Peer(
        "paypal",
        specs.PAYPAL,
        {"client_id": "me", "client_secret": "secret"},
        [
            replace(PAYOUT, destination="anna@example.com"),
            replace(PAYOUT, destination="+4915112345678", currency="USD"),
            replace(PAYOUT, destination="ABCDEFGHJKLM2", currency="JPY", amount_minor=10_000),
        ],
        {
            ("POST", "/v1/payments/payouts"),
            ("GET", "/v1/payments/payouts/{id}"),
            ("GET", "/v1/payments/payouts-item/{payout_item_id}"),
            ("POST", "/v1/payments/payouts-item/{payout_item_id}/cancel"),
        },
        tokens={"/v1/oauth2/token": {"access_token": "t", "expires_in": 3600}},
        further=paypal_further,
        shown=paypal_shown,
        random=False,
    ),
    Peer(
        "marqeta",
        specs.MARQETA,
        {"application_token": "me", "access_token": "secret", "funding_source": "program"},
        [replace(PAYOUT, destination="user-1", currency="USD")],
        {("POST", "/gpaorders"), ("GET", "/gpaorders/{token}")},
        shown=marqeta_shown,
        random=False,
        strict=False,
    ),
    Peer(
        "marqeta_push",
        specs.MARQETA,
        {"application_token": "me", "access_token": "secret"},
        [replace(PAYOUT, destination=instrument("card-1"), currency="USD")],
        {("POST", "/pushtocards/disburse"), ("GET", "/pushtocards/disburse/{token}")},
        shown=push_shown,
        random=False,
        strict=False,
    ),
    Peer(
        "circle",
        specs.CIRCLE,
        CIRCLE_SETTINGS,
        [replace(PAYOUT, destination=CRYPTO, currency="USD")],
        {
            ("POST", "/v1/payouts"),
            ("GET", "/v1/payouts/{id}"),
            ("POST", "/v1/addressBook/recipients"),
            ("GET", "/v1/addressBook/recipients"),
            ("GET", "/v1/addressBook/recipients/{id}"),
        },
        reference=UUID,
        further=circle_further,
    ),
]


CREATES = {
    ("POST", path)
    for path in (
        *("/transfers", "/v1/payments/payouts", "/gpaorders", "/pushtocards/disburse"),
        "/v1/payouts",
    )
}


@pytest.fixture(params=PEERS, ids=lambda peer: peer.provider)
def peer(request: pytest.FixtureRequest) -> Peer:
    reason = missing(request.param.document)
    if reason is not None:
        pytest.skip(reason)
    found: Peer = request.param
    return found


@pytest.fixture
def served(peer: Peer, tmp_path: Path) -> Iterator[str]:
    with prism(peer.document, tmp_path, strict=peer.strict) as url:
        yield url


async def ask(peer: Peer, rail: Rail, front: Front) -> list[Outcome]:
    """Everything that can be asked of a rail, about each payout and about the one it was shown."""
    outcomes = []
    for payout in peer.payouts:
        outcomes.append(await rail.submit(payout))
        now = replace(payout, first_submitted_ms=wall_clock_ms())
        outcomes.append(await rail.enquire(now))
        known = replace(now, provider_ref=peer.reference)
        outcomes.append(await rail.enquire(known))
        outcomes.append(await rail.cancel(known))
        shown = peer.shown(front.exchanges[-1].body)
        if shown:
            outcomes.append(await rail.enquire(replace(known, **shown)))
    return outcomes


@contextmanager
def _noted(front: Front, number: int) -> Iterator[None]:
    """A round, by the answers that it asks for."""
    front.round = number
    try:
        yield
    except Exception as error:
        last = front.exchanges[-1] if front.exchanges else None
        raise AssertionError(f"round {number}, after {last}") from error


@pytest.mark.timeout(300)
async def test_the_document_is_kept_and_every_answer_is_read(peer: Peer, served: str) -> None:
    async with Front(peer.document, served, peer.tokens, random=peer.random) as front:
        front.use(peer.reaches)
        kind = provider(peer.provider).settings
        settings = kind.model_validate({**peer.settings, "base_url": front.url})
        rail = open_rails({peer.provider: settings})[peer.provider]
        outcomes = []
        for number in range(front.rounds):
            with _noted(front, number):
                outcomes += await ask(peer, rail, front)
                if peer.further is not None:
                    await peer.further(rail._client)
        await rail.close()
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    assert [(one.operation, one.violations) for one in front.exchanges if one.violations] == []
    assert {one.operation for one in front.exchanges} == peer.reaches
    for operation in peer.reaches:
        answered = {one.prefer for one in front.exchanges if one.operation == operation}
        assert answered == set(front.wanted(operation))
        statuses = {str(one.status) for one in front.exchanges if one.operation == operation}
        assert statuses == {prefer.partition("=")[2][:3] for prefer in answered}


async def test_prism_sees_what_breaks_a_document(peer: Peer, served: str) -> None:
    [path] = [path for method, path in peer.reaches if (method, path) in CREATES]
    async with Front(peer.document, served, peer.tokens, random=False) as front:
        async with (
            aiohttp.ClientSession() as session,
            session.post(front.url + path, json={}) as answer,
        ):
            await answer.read()
        [exchange] = front.exchanges
    assert "required" in exchange.violations
