"""Returns of single lines: never more of a line than was sold, in any order, before and after."""

import json
from typing import Any

import pytest
import redis

from models.events import decode
from models.ledger import LINES, Entry
from models.refusals import Reason, Refused
from tests.streams.wallets.harness import NOW_MS, Followed

LINES_SOLD = {"a": (300, 0), "b": (100, 0)}


class Shop(Followed):
    """Anna sells for 400 in two lines, and keeps a quarter."""

    def __init__(self, client: redis.Redis, **fields: Any) -> None:
        super().__init__(client)
        self.sale = self.shard.sale(100, lines=LINES_SOLD, **fields)

    def give_back(self, base: int, line: str | None = None) -> str:
        named = {} if line is None else {"line": line}
        return self.do(self.shard.return_of(self.sale, base, **named))

    def left(self) -> dict[str, int]:
        """What of the lines has not come back, as journal and record have it."""
        stored: Any = self.shard.client.get(self.shard.key("r:" + self.sale["record"]))
        record = json.loads(stored)["lines"]
        left = {line: sold - returned for line, (sold, returned) in record.items()}
        assert left == {line: minor for (_, line), minor in self.fold.sold.items()}
        return left


@pytest.fixture
def shop(client: redis.Redis) -> Shop:
    return Shop(client)


class TestLines:
    def test_come_back_in_parts_up_to_what_they_were(self, shop: Shop) -> None:
        assert shop.do(shop.sale) == "booked"
        assert shop.give_back(100, "a") == "booked"
        assert shop.give_back(200, "a") == "booked"
        assert shop.give_back(1, "a") == "refused:return_exceeds_line"
        assert shop.give_back(101, "b") == "refused:return_exceeds_sale"
        assert shop.left() == {"a": 0, "b": 100}
        assert shop.shard.balances()[0] == 25

    def test_ahead_of_the_sale_those_that_fit_count(self, shop: Shop) -> None:
        for base, line in ((200, "a"), (150, "a"), (100, "a"), (10, "none")):
            assert shop.give_back(base, line) == "parked"
        assert shop.do({**shop.sale, "offset": 99}) == "booked"
        assert shop.left() == {"a": 0, "b": 100}
        letters = [f.split(b"\t")[2] for f in shop.shard.fields if f.startswith(b"dead-letters")]
        assert [json.loads(headers)["reason"] for headers in letters] == [
            Reason.RETURN_EXCEEDS_LINE, Reason.UNKNOWN_LINE,
        ]  # fmt: skip
        late = shop.shard.return_of(shop.sale, 1, line="a", offset=100)
        assert shop.do(late) == "refused:return_exceeds_line"

    def test_a_return_of_no_line_takes_of_the_whole(self, shop: Shop) -> None:
        shop.do(shop.sale)
        assert shop.give_back(250) == "booked"
        assert shop.give_back(151, "a") == "refused:return_exceeds_sale"
        assert shop.give_back(150, "a") == "booked"
        assert shop.left() == {"a": 150, "b": 100}

    def test_while_the_profile_is_awaited(self, client: redis.Redis) -> None:
        shop = Shop(client, waiting=True, sale="x", origin="anna", level=0, held=False,
                    occurred_at="x")  # fmt: skip
        shop.do(shop.sale)
        assert shop.give_back(300, "a") == "booked"
        assert shop.give_back(1, "a") == "refused:return_exceeds_line"
        released = [{"counts": []}, {}]
        shop.do(shop.shard.event("profile", "seller.updated", profile="{}", rev=0,
                                 release=released))  # fmt: skip
        assert shop.left() == {"a": 0, "b": 100}

    def test_too_much_of_a_line_in_the_journal_is_found(self, shop: Shop) -> None:
        shop.do(shop.sale)
        assert shop.shard.one(shop.shard.return_of(shop.sale, 100, line="a")) == "booked"
        entry = json.loads(shop.shard.raw[0])
        entry["lines"][0][3] = 301
        shop.fold.apply(Entry.parse(json.dumps(entry).encode()))
        assert [each.invariant for each in shop.fold.violations] == [LINES]


class TestEvents:
    def sale(self, lines: Any) -> bytes:
        return json.dumps({
            "type": "sale.completed", "version": 1, "id": "e", "seller_id": "anna",
            "occurred_at": "2026-11-23T10:00:00Z", "sale_id": "s", "currency": "EUR",
            "amount_minor": 400, "lines": lines,
        }).encode()  # fmt: skip

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            ([("a", 300), ("b", 101)], Reason.LINES_CONFLICT),
            ([("a", 1), ("a", 1)], Reason.LINES_CONFLICT),
            ([("a", -1)], Reason.AMOUNT_NEGATIVE),
            ([("a b", 1)], Reason.INVALID_FIELD),
        ],
    )
    def test_lines_that_are_none_are_refused(self, lines: Any, reason: Reason) -> None:
        listed = [{"line_id": line, "amount_minor": minor} for line, minor in lines]
        with pytest.raises(Refused) as refused:
            decode("sales", self.sale(listed), now_ms=NOW_MS, retention_ms=NOW_MS)
        assert refused.value.reason is reason
        assert refused.value.detail.startswith("lines")

    @pytest.mark.parametrize("lines", [3, None, [], [{"line_id": "a", "amount_minor": 400}]])
    def test_a_count_or_each(self, lines: Any) -> None:
        event = decode("sales", self.sale(lines), now_ms=NOW_MS, retention_ms=NOW_MS)
        kept = event.model_dump(exclude_none=True).get("lines")
        assert (list(kept) if isinstance(kept, tuple) else kept) == lines
