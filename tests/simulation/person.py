"""Somebody who asks the bank about payouts that are unknown, and says what became of them.

In some histories only, with dice of its own: the others stay as they are. In these the bank is
silent about some attempts for longer than anywhere else, so that there is something to ask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from models.payouts import PayoutState
from rails.rail import attempt_id_for
from streams.demo.messages import Message
from tests.simulation.dice import Dice

if TYPE_CHECKING:
    from tests.simulation.world import World

SHARE = 0.07
"""In which share of the histories somebody asks."""

LOOKS_MAX = 8
"""How often somebody looks, at most."""

SLOW_S_MAX = 2.0
"""How long an enquiry that is not answered is on its way, at most."""

LATE_S_MAX = 5.0
"""How long after it was heard something is said, at most."""

QUIET_MS = 3_000
"""Stands for :data:`models.resolutions.QUIET_MS`: longer than an enquiry takes here, and more than
half of the wait before the first one, which begins as well when a submission is given up."""


class Person:
    """Asks the bank. ``said``: every event, in the order in which they were sent."""

    def __init__(self, world: World, seed: int) -> None:
        self.said: list[dict[str, Any]] = []
        self._world = world
        self._dice = Dice(f"{seed}:person")
        self._asks = self._dice.chance(SHARE)
        self._looks = 0
        self._silences: dict[str, int] = {}

    def plan(self, span_s: float) -> None:
        """Look now and then while everything is sent."""
        if self._asks:
            for _ in range(self._dice.randint(1, 3)):
                self._world.loop.call_at(self._dice.random() * (span_s + 1.0), self.look)

    # What the bank is silent about

    def is_mute(self, attempt_id: str) -> bool:
        """Whether the bank tells less of an attempt than of others: it reports nothing."""
        return self._asks and self._silence(attempt_id) > 0

    def hushes(self, attempt_id: str) -> bool:
        """Whether an enquiry about an attempt is one of the first few, that are not answered."""
        if not self.is_mute(attempt_id):
            return False
        self._silences[attempt_id] -= 1
        return True

    def fate(self, fate: str) -> str:
        """What becomes of a submission: there is more silence where somebody asks about it."""
        if not self._asks or fate != "fine" or not self._dice.chance(0.5):
            return fate
        return self._dice.choice(("lost", "silent", "not sent"))

    def slow_s(self) -> float:
        """How long an enquiry that is not answered is on its way, in seconds."""
        return self._dice.random() * SLOW_S_MAX

    def is_lost(self) -> bool:
        """Whether an enquiry that is not answered has not even come to the bank."""
        return self._dice.chance(0.5)

    def _silence(self, attempt_id: str) -> int:
        if attempt_id not in self._silences:
            mute = self._dice.chance(0.8)
            self._silences[attempt_id] = self._dice.randint(1, 4) if mute else 0
        return self._silences[attempt_id]

    # What is said

    def looks_ms(self, due_ms: int) -> int | None:
        """When somebody looks before the next timer is due, or when it is; None for not at all."""
        if not self._asks or self._looks >= LOOKS_MAX or not any(self._unknown()):
            return None
        now_ms, dice = self._world.now_ms(), self._dice
        if dice.chance(0.2):
            return None
        left_ms = max(0, due_ms - now_ms)
        early_ms = dice.choice((0, 0, min(left_ms, 2_000), left_ms)) * dice.random()
        return now_ms + left_ms - int(early_ms)

    def look(self) -> None:
        """Ask the bank about a payout that is unknown, and say it: at once, or a moment late."""
        world, dice = self._world, self._dice
        self._looks += 1
        unknown = list(self._unknown())
        if not unknown:
            return
        payout = dice.choice(unknown)
        # It may be an attempt before the one that is under way.
        attempt = dice.randint(0, payout["attempt"])
        state = world.bank.told(attempt_id_for(payout["payout_id"], attempt))
        world.note("somebody asks about %s: %s", payout["payout_id"], state)
        if state is None:
            return
        word = {
            "version": 1, "occurred_at": world.text(world.now_ms()), "type": "payout.resolved",
            "seller_id": payout["seller_id"], "payout_id": payout["payout_id"],
            "attempt": attempt, "outcome": state.value, "currency": payout["currency"],
            "amount_minor": payout["amount_minor"], "reason": "asked the bank",
            "by": payout["seller_id"] if dice.chance(0.15) else "Eva Klein",
        }  # fmt: skip
        self._say(word)
        if dice.chance(0.2):
            self._say(word | {"by": dice.choice(("Eva Klein", "Ben"))})

    def _say(self, word: dict[str, Any]) -> None:
        event = {"id": f"word-{len(self.said)}", **word}
        self.said.append(event)
        late_s = self._dice.choice((0.0, *3 * (LATE_S_MAX,))) * self._dice.random()
        body, key = json.dumps(event).encode(), event["seller_id"].encode()
        message = Message("commissions", key, body, self._world.now_ms(), None, event["id"])
        self._world.send_later(late_s, message)

    def _unknown(self) -> Iterator[dict[str, Any]]:
        """The payouts that are unknown, as Redis holds them."""
        redis = self._world.redis
        for key in redis.all_keys():
            if b"}:y:" in key:
                payout = json.loads(redis.command("GET", key) or b"{}")
                if payout.get("state") == PayoutState.UNKNOWN:
                    yield payout
