"""The other readers: whatever is handed to them, a value or their own clear error."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1

from models.campaigns import Campaigns
from models.config import ConfigError, Section, load
from models.events import decode
from models.ledger import Entry
from models.payouts import PayoutState
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.refusals import Refused
from models.scorer import ModelUnreadable, Scorer
from rails.accounts import DestinationInvalid
from rails.addresses import CHAINS, read_address
from rails.certificates import parsed
from rails.circle.mapping import STATES as CIRCLE_STATES
from rails.circle.webhooks import CircleVerifier
from rails.destination import Seal, SealError
from rails.iso20022.reports import MessageRefused, read_reports
from rails.paypal.mapping import (
    WEBHOOK_STATES,
    batch_read,
    cancelled,
    item_read,
    submitted,
)
from rails.paypal.webhooks import CERT_PREFIXES, PayPalVerifier
from rails.rail import Instruction
from rails.sandbox.circle import TOPIC_ARN
from rails.sandbox.scribes import Signer
from rails.statement import StatementUnusable
from rails.webhooks import WebhookRefused
from streams import deadletters
from streams.reconcile.formats import FORMATS, HEAD_BYTES, format_of
from streams.settings import DEFAULTS
from streams.wallets.journal import JournalUnreadable, head
from tests.fuzz.grammar import Fields, encoded, text
from tests.fuzz.line import Broken
from tests.fuzz.mutations import (
    MOMENTS,
    NUMBERS,
    RAW,
    TEXTS,
    garbage,
    mutate_bytes,
    mutate_fields,
)
from tests.rails.iso20022.test_reports import SAMPLES as REPORTS
from tests.rails.statements import HERE as STATEMENTS

PAYOUT = Instruction(
    payout_id="01-5e",
    amount_minor=1234,
    currency="EUR",
    destination="anna@example.com",
    seller_ref="S-1",
)
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

WEBHOOK_ID = "WH-1"
SNS = "http://127.0.0.1:1/sns/"
"""Where nobody is: a drawn address must not be followed out into the world."""

HELD = b"Ida Moser"
"""Key and value of every dead letter that is read here: not to be shown."""
SEAL = Seal.parse("test:" + "A" * 43 + "=")
CONFIGS: tuple[tuple[str, type[Section]], ...] = (
    ("plan.yaml", CommissionPlan),
    ("policy.yaml", PayoutPolicy),
    ("campaigns.yaml", Campaigns),
)
_YAML = (
    *("&a", "*a", "!!int", "!!float", "!!bool", "!!python/object:os.system", "!!binary", "!!set"),
    *(
        "? ",
        "- ",
        ": ",
        "<<: ",
        "--- ",
        "...",
        "|",
        ">-",
        "#",
        "%YAML 1.1",
        "\t",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        ".inf",
        "-.inf",
        ".nan",
        "1e3",
        "0o17",
        "0x1f",
        "1_0",
        "~",
        "yes",
        "NO",
        "2026-01-01",
        "1:30",
    ),
    *(
        "'",
        '"',
        "\u2028",
        "\ufeff",
        "\x00",
        "\x85",
        "99999999999999999999",
        "0.00000000000000000001",
    ),
)


@dataclass(frozen=True)
class Message:
    """What a consumer hands over, as the reader of dead letters asks for it."""

    kept: tuple[tuple[str, Any], ...]

    def topic(self) -> str:
        """The topic."""
        return deadletters.TOPIC

    def partition(self) -> int:
        """The partition."""
        return 0

    def offset(self) -> int:
        """The offset."""
        return 7

    def key(self) -> bytes | None:
        """The key."""
        return HELD

    def value(self) -> bytes | None:
        """The value."""
        return HELD

    def headers(self) -> list[tuple[str, Any]]:
        """The headers, in their order."""
        return list(self.kept)


class Readers:
    """Draws an input for one of the readers and holds the reader to its word."""

    def __init__(self, seed: int, now_ms: int) -> None:
        self.random = Random(seed)
        self.counts: Counter[tuple[str, str]] = Counter()
        self._now_ms = now_ms
        self._texts = [((DEFAULTS / name).read_text(encoding="utf-8"), m) for name, m in CONFIGS]
        self._model = (DEFAULTS / "model.json").read_text(encoding="utf-8")
        self._statements = [
            (STATEMENTS / name).read_bytes()
            for name in ("camt.xml", "paypal-settlement.csv", "adyen-accounting.csv")
        ]
        self._signer = signer()
        self._url = CERT_PREFIXES[0] + self._signer.cert_name
        self._verifier = PayPalVerifier(WEBHOOK_ID, now_s=lambda: now_ms // 1000)
        # As if it had been fetched: what is drawn must not go out into the world.
        self._verifier._certs.keep(self._url, parsed(self._signer.pem()))
        self._circle = CircleVerifier(TOPIC_ARN, prefixes=(SNS,), now_s=lambda: now_ms // 1000)
        self._circle.sns.certificates.keep(SNS + self._signer.sns_name, parsed(self._signer.pem()))
        self._loop = asyncio.new_event_loop()
        self.input: object = None
        """What was handed over last, for the record of a failure."""
        self._readers: dict[str, tuple[float, Callable[[], str]]] = {
            "entry": (8, self._entry),
            "letter": (8, self._letter),
            "place": (4, self._place),
            "sealed": (4, self._sealed),
            "webhook": (6, self._webhook),
            "notification": (6, self._notification),
            "address": (4, self._address),
            "answer": (6, self._answer),
            "statement": (4, self._statement),
            "report": (4, self._report),
            "config": (0.1, self._config),
            "model": (0.1, self._scorer),
        }

    def close(self) -> None:
        """Let go of the loop."""
        self._loop.close()

    def one(self) -> None:
        """One input. Raises Broken, or whatever a reader should have turned into its error."""
        names = list(self._readers)
        weights = [weight for weight, _ in self._readers.values()]
        name = self.random.choices(names, weights)[0]
        self.counts[name, self._readers[name][1]()] += 1

    def _word(self) -> str:
        pool: tuple[str, ...] = self.random.choice((TEXTS, NUMBERS, MOMENTS, RAW))
        return self.random.choice(pool)

    def _entry(self) -> str:
        fields: Fields = [
            ("v", "1"),
            ("shard", text(self.random.choice((0, 63, 64, 10**30)))),
            ("seq", text(self.random.choice((0, 1, 2**53)))),
            ("more", text(self.random.choice((0, 1, 500)))),
            ("epoch", text(self.random.choice((0, 1, 2**53)))),
            ("kind", text("sale.completed")),
            ("id", text("e-1")),
            ("seller", text("S-1")),
            ("at", text(self._now_ms)),
            ("hash", text("0" * 16)),
            ("source", text(["sales", 0, 1])),
            ("postings", text([["S-1/available", "EUR", 5, 5], ["/commissions", "EUR", -5, -5]])),
            ("writes", "[]"),
            ("emits", text(["c-1"])),
            ("payout", text(["p", "reserved", "paypal", 5, 1])),
            ("credits", text([["granted", "l", "c", "p", "EUR", "1", 5]])),
            ("volume", text(["EUR", 5])),
        ]
        value = self._spoiled(fields)
        with suppress(JournalUnreadable):
            head(value)
        try:
            entry = Entry.parse(value)
        except ValueError:
            return "refused"
        hash(entry.postings)
        return "taken"

    def _spoiled(self, fields: Fields) -> bytes:
        way = self.random.random()
        if way < 0.1:
            value = garbage(self.random) or b""
        else:
            if way < 0.8:
                mutate_fields(self.random, fields)
            value = encoded(fields).encode("utf-8", "surrogatepass")
            if way > 0.6:
                value = mutate_bytes(self.random, value, value)
        self.input = value
        return value

    def _letter(self) -> str:
        names = ("reason", "detail", "topic", "partition", "offset", "at", "replayed", "")
        values: list[tuple[str, Any]] = []
        for name in self.random.choices(names, k=self.random.randrange(12)):
            raw = self._word().encode("utf-8", "surrogatepass")
            values.append((name, self.random.choice((raw, raw, raw[:-1] + b"\xff", None, "text"))))
        self.input = values
        message: Any = Message(tuple(values))
        letter = deadletters.letter_of(message)
        since = datetime(2026, 1, 1, tzinfo=UTC)
        wanted = deadletters.Filter(since=since)
        wanted.takes(letter)
        plain = deadletters.Filter()
        other = deadletters.letter_of(Message((("at", b"2026-01-01T00:00:00Z"),)))  # type: ignore[arg-type]
        deadletters.newest(iter([letter, other]), plain, 2)
        if HELD.decode() in repr(letter):
            raise Broken("a dead letter shows what it holds")
        return "read"

    def _place(self) -> str:
        numbers = ("0", "7", "-1", "\u0667", "9" * 19, "9" * 5_000, self._word())
        parts = (self.random.choice(("sales", self._word())), *self.random.choices(numbers, k=2))
        self.input = ":".join(parts)
        try:
            place = deadletters.Place.parse(self.input)
        except deadletters.PlaceInvalid:
            return "refused"
        if deadletters.Place.parse(str(place)) != place:
            raise Broken(f"{place} is another place when it is read again")
        return "taken"

    def _sealed(self) -> str:
        sealed = SEAL.seal("S-1", "anna@example.com")
        raw = mutate_bytes(self.random, sealed.encode(), b"v1.test.AAAA")
        changed = (
            raw.decode("utf-8", "surrogateescape") if self.random.random() < 0.7 else self._word()
        )
        self.input = changed
        try:
            opened = SEAL.open("S-1", changed)
        except SealError as error:
            if "anna" in str(error):
                raise Broken("the error of a seal holds what was sealed") from None
            return "refused"
        if opened != "anna@example.com":
            raise Broken("a changed seal opened")
        return "taken"

    def _webhook(self) -> str:
        kind = self.random.choice((*WEBHOOK_STATES, "PAYMENT.PAYOUTSBATCH.SUCCESS"))
        fields: Fields = [
            ("id", text("WH-5")),
            ("event_type", text(kind)),
            ("create_time", text("2026-11-23T10:00:00Z")),
            (
                "resource",
                [
                    ("payout_batch_id", text("B1")),
                    ("payout_item", [("sender_item_id", text("01-5e"))]),
                    ("errors", [("name", text("RECEIVER_UNREGISTERED"))]),
                ],
            ),
        ]
        body = self._spoiled(fields)
        moment = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        headers = self._signer.headers(self._url, WEBHOOK_ID, body, moment)
        if self.random.random() < 0.6:
            name = self.random.choice(list(headers))
            values = (
                self._word(),
                headers[name] + self._word(),
                headers[name][:10] + "\udce9" + headers[name][11:],
            )
            headers[name] = self.random.choice(values)
            if headers["PAYPAL-CERT-URL"] != self._url:
                headers["PAYPAL-CERT-URL"] = "https://example.com/" + headers["PAYPAL-CERT-URL"]
        self.input = (headers, body)
        try:
            call = self._loop.run_until_complete(self._verifier.verify(headers, body))
        except WebhookRefused as refused:
            return f"refused: {refused.reason}"
        return self._reported(call.reports)

    def _notification(self) -> str:
        """A message of SNS about a payout at Circle, signed as it is, or as it was."""
        payout: Fields = [
            ("id", text("b8627ae8-732b-4d25-b947-1df8f4007a29")),
            ("status", text(self.random.choice(list(CIRCLE_STATES)))),
            ("errorCode", text(self.random.choice(("transaction_denied", "insufficient_funds")))),
            ("riskEvaluation", [("reason", text("3220"))]),
            ("updateDate", text("2026-11-23T10:00:00Z")),
        ]
        told = self._spoiled([("notificationType", text("payouts")), ("payout", payout)])
        kind = self.random.choice(("Notification", "Notification", "SubscriptionConfirmation"))
        moment = datetime.fromtimestamp(self._now_ms / 1000, UTC).isoformat(timespec="microseconds")
        query = f"?Action=ConfirmSubscription&TopicArn={TOPIC_ARN}"
        fields = {
            "Message": told.decode("utf-8", "replace"),
            "MessageId": "5",
            "Timestamp": moment,
            "TopicArn": TOPIC_ARN,
            "Type": kind,
        }
        if kind != "Notification":
            fields |= {"SubscribeURL": SNS + query, "Token": "5a"}
        spoiled = self.random.random()
        if spoiled < 0.3:
            fields[self.random.choice(list(fields))] = (
                self._word().encode("utf-8", "replace").decode()
            )
        signed = "".join(f"{name}\n{value}\n" for name, value in sorted(fields.items()))
        message: dict[str, object] = {
            **fields,
            "SignatureVersion": "1",
            "Signature": self._signer.signature(signed.encode(), SHA1()),
            "SigningCertURL": SNS + self._signer.sns_name,
        }
        if spoiled > 0.7:
            message[self.random.choice(list(message))] = self.random.choice(
                (self._word(), None, 5, [], {}, True)
            )
        body = json.dumps(message).encode()
        if 0.3 < spoiled < 0.4:
            body = mutate_bytes(self.random, body, body)
        self.input = body
        try:
            call = self._loop.run_until_complete(self._circle.verify({}, body))
        except WebhookRefused as refused:
            return f"refused: {refused.reason}"
        return self._reported(call.reports)

    def _address(self) -> str:
        """A blockchain's address as a destination."""
        address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
        fields: Fields = [
            ("kind", text("crypto")),
            ("chain", text(self.random.choice(list(CHAINS)))),
            ("address", text(address)),
            ("holder", text("Ida Moser")),
            ("country", text("DE")),
            ("hosted", "true"),
        ]
        raw = self._spoiled(fields).decode("utf-8", "replace")
        self.input = raw
        try:
            read = read_address(raw)
        except DestinationInvalid as error:
            if not _CODE.fullmatch(str(error)):
                raise Broken(f"the reason of a refusal: {error}") from None
            return "refused"
        if read.address in repr(read) or (len(read.holder) > 3 and read.holder in repr(read)):
            raise Broken("an address shows where it leads")
        return "taken"

    def _reported(self, reports: list[dict[str, object]]) -> str:
        for report in reports:
            known = {"payout_id": "01-5e", **report, "rail": "paypal", "seller_id": "S-1"}
            value = json.dumps(known).encode()
            try:
                decode("rail.updates", value, now_ms=self._now_ms, retention_ms=90 * 86_400_000)
            except Refused:
                return "reported, to be refused"
        return "reported" if reports else "nothing of ours"

    def _answer(self) -> str:
        """What a rail answers: an outcome, and good news only of what was asked about."""
        words = ("SUCCESS", "FAILED", "DENIED", "RETURNED", "PENDING", "CANCELED")
        amount: Fields = [("currency", text("EUR")), ("value", text("12.34"))]
        sent: Fields = [("sender_item_id", text(PAYOUT.attempt_id)), ("amount", amount)]
        item: Fields = [
            ("transaction_status", text(self.random.choice(words))),
            ("payout_item", sent),
            ("errors", [("name", text("INSUFFICIENT_FUNDS"))]),
        ]
        batch: Fields = [
            ("sender_batch_header", [("sender_batch_id", text(PAYOUT.attempt_id))]),
            ("payout_batch_id", text("B1")),
            ("batch_status", text(self.random.choice(words))),
        ]
        mutate_fields(self.random, self.random.choice((item, batch)))
        parts: Fields = [("batch_header", batch), ("items", f"[{encoded(item)}]")]
        raw = self._spoiled([*item, *parts, ("name", text("INVALID_REQUEST"))])
        try:
            body: object = json.loads(raw, parse_float=str)
        except (ValueError, RecursionError):
            return "unreadable"
        status = self.random.choice((200, 201, 400, 401, 404, 422, 429, 500))
        found = [
            batch_read(PAYOUT, "B1", status, body).outcome,
            item_read(PAYOUT, "B1", body),
            submitted(PAYOUT, status, body, repeat=self.random.random() < 0.5),
            cancelled(PAYOUT, "B1", status, body),
        ]
        for outcome in filter(None, found):
            if outcome.reason is not None and not _CODE.fullmatch(outcome.reason):
                raise Broken(f"the reason of an outcome: {outcome.reason!r}")
            if outcome.state is PayoutState.SETTLED and str(body).count("12.34") == 0:
                raise Broken("another payout was taken for this one")
        return "read"

    def _report(self) -> str:
        """A bank's message: reports that name payments of ours, or a code that says why not."""
        raw = mutate_bytes(self.random, self.random.choice(REPORTS), self.random.choice(REPORTS))
        if self.random.random() < 0.5:
            texts = re.split(rb"([<>])", self.random.choice(REPORTS))
            texts[self.random.randrange(0, len(texts), 2)] = self._word().encode(
                "utf-8", "surrogatepass"
            )
            raw = b"".join(texts)
        self.input = raw
        try:
            reports = read_reports(raw)
        except MessageRefused as refused:
            if not _CODE.fullmatch(str(refused)):
                raise Broken(f"a refusal that is no code: {refused}") from None
            return "refused"
        if not all(report.ids and _CODE.fullmatch(report.word) for report in reports):
            raise Broken(f"not of a payment of ours: {reports}")
        return "read"

    def _statement(self) -> str:
        """A provider's statement: read whole, or one line that names nobody."""
        whole = self.random.choice(self._statements)
        if self.random.random() < 0.5:
            raw = mutate_bytes(self.random, whole, whole)
        else:
            # One cell or one element's text becomes another.
            cells = re.split(rb"([,\t\n<>])", whole)
            word = self.random.choice((HELD.decode(), self._word()))
            at = self.random.randrange(0, len(cells), 2)
            cells[at] = word.encode("utf-8", "surrogatepass")
            raw = b"".join(cells)
        self.input = raw
        name = self.random.choice((None, None, None, *FORMATS))
        try:
            found = FORMATS[name or format_of(raw[:HEAD_BYTES])](io.BytesIO(raw))
        except StatementUnusable as error:
            if "\n" in str(error) or HELD.decode() in str(error):
                raise Broken("the error of a statement is no line, or names somebody") from None
            return "refused"
        if HELD.decode() in repr(found):
            raise Broken("what is read of a statement names somebody")
        for line in found.lines:
            if type(line.amount_minor) is not int or line.at_ms != int(line.at_ms):
                raise Broken("an amount or time that is no integer")
        return "taken"

    def _config(self) -> str:
        content, model = self.random.choice(self._texts)
        lines = content.splitlines(keepends=True)
        for _ in range(self.random.choice((1, 1, 2, 4))):
            i = self.random.randrange(len(lines))
            way = self.random.randrange(6)
            if way == 0:
                del lines[i]
                lines = lines or [""]
            elif way == 1:
                lines.insert(i, self.random.choice(lines))
            elif way == 2:
                lines[i] = self.random.choice((" ", "  ", "\t")) + lines[i]
            else:
                at = self.random.randrange(len(lines[i]) + 1)
                cut = at + self.random.choice((0, 0, 1, 4))
                new = self.random.choice(_YAML) if self.random.random() < 0.7 else self._word()
                lines[i] = lines[i][:at] + new + lines[i][cut:]
        spoiled = "".join(lines)
        self.input = (model.__name__, spoiled)
        try:
            load(spoiled, model, "file")
        except ConfigError as error:
            if not error.problems or any(p.line < 1 or not p.message for p in error.problems):
                raise Broken("a mistake without line or words") from error
            if any("\n" in p.message for p in error.problems):
                raise Broken("a mistake of several lines") from error
            return "refused"
        return "taken"

    def _scorer(self) -> str:
        raw = mutate_bytes(self.random, self._model.encode(), self._model.encode())
        self.input = raw
        try:
            Scorer.load(raw.decode("utf-8", "replace"))
        except ModelUnreadable:
            return "refused"
        return "taken"


_SIGNERS: list[Signer] = []


def signer() -> Signer:
    """One signer for all rounds: its key takes some tenths of a second."""
    if not _SIGNERS:
        _SIGNERS.append(Signer())
    return _SIGNERS[0]
