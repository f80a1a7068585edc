"""The Lua files: they load, say what they answer, and compute as Python does."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
import redis

from models.ids import NAMESPACE, derived
from models.money import MINOR_MAX, ratio
from models.payouts import PAID, TERMINAL, TRANSITIONS, PayoutState
from models.refusals import Reason
from streams.wallets import library as module
from streams.wallets.library import PARTS, library

FOLDER = Path(module.__file__).parent / "functions"
FILES = sorted(FOLDER.glob("*.lua"))

PROBE = """
local function probe(keys, args)
  if enter then enter() end
  local verb = args[1]
  if verb == 'ratio' then
    return int(ratio(tonumber(args[2]), tonumber(args[3]), tonumber(args[4])))
  elseif verb == 'part' then
    return int(part(tonumber(args[2]), tonumber(args[3])))
  elseif verb == 'uuid5' then
    return uuid5(args[2])
  elseif verb == 'int' then
    return int(tonumber(args[2]))
  elseif verb == 'follows' then
    return TRANSITIONS[args[2]][args[3]] and 1 or 0
  end
  return {TERMINAL[args[2]] and 1 or 0, PAID[args[2]] and 1 or 0}
end
redis.register_function{function_name = 'probe', callback = probe}
"""


@pytest.fixture
def probe(client: redis.Redis) -> Any:
    """Calls a local function of the library, by way of one that only the tests load."""
    client.function_flush()
    client.function_load(library().source + PROBE)

    def call(*arguments: Any) -> Any:
        answer: Any = client.fcall("probe", 0, *map(str, arguments))
        return answer.decode() if isinstance(answer, bytes) else answer

    return call


class TestFiles:
    def test_each_is_a_part(self) -> None:
        assert sorted(PARTS) == [file.stem for file in FILES]

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_begins_with_what_it_is(self, file: Path) -> None:
        text = file.read_text()
        assert text.startswith("-- ")
        if "register_function" in text:
            head = re.match(r"(-- .*\n)+", text)
            assert head is not None
            assert "KEYS[1]" in head[0]
            assert "Returns" in head[0] or "return" not in text

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_every_word_of_refusal_is_a_reason_and_said_in_the_header(self, file: Path) -> None:
        text = file.read_text()
        words = set(re.findall(r"'refused:(\w+)'", text))
        assert words <= set(Reason)
        comments = " ".join(re.findall(r"--(.*)", text))
        assert not [word for word in words if word not in comments]

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_each_operation_says_its_outcomes(self, file: Path) -> None:
        text = file.read_text()
        for found in re.finditer(r"((?:--.*\n)*)function operations\.(\w+)", text):
            assert "utcomes" in found[1], found[2]

    def test_outcomes_are_the_words_that_callers_know(self) -> None:
        known = {"booked", "parked", "repeat", "stale", "retry", "ignored", "refused", "error"}
        known |= {"given", "short", "back"}  # slices of a budget; for the janitor alone
        for file in FILES:
            bodies = re.findall(r"function operations\.\w+.*?\nend\n", file.read_text(), re.DOTALL)
            words = {w for body in bodies for w in re.findall(r"return '(\w+)", body)}
            assert words <= known, file.stem

    def test_the_name_changes_with_the_source(self, client: redis.Redis) -> None:
        made = library()
        assert made.digest in made.name
        [loaded] = client.function_list()  # type: ignore[misc]
        assert made.name.encode() in loaded


class TestSums:
    def test_ratio_is_pythons(self, probe: Any) -> None:
        seed = random.randrange(2**32)
        dice = random.Random(seed)
        for _ in range(400):
            size = 10 ** dice.randint(1, 12)
            a = dice.randint(0, min(size, MINOR_MAX))
            d = dice.randint(1, min(size, MINOR_MAX))
            n = dice.randint(0, d)
            assert probe("ratio", a, n, d) == str(ratio(a, n, d)), (seed, a, n, d)
        for a, n, d in [(1, 1, 2), (3, 1, 2), (5, 1, 2), (MINOR_MAX, MINOR_MAX, MINOR_MAX),
                        (MINOR_MAX - 1, MINOR_MAX - 1, MINOR_MAX), (0, 0, 1)]:  # fmt: skip
            assert probe("ratio", a, n, d) == str(ratio(a, n, d))
        assert probe("ratio", 5, 0, 0) == "0"

    def test_part_rounds_down_exactly(self, probe: Any) -> None:
        dice = random.Random(7)
        for _ in range(200):
            amount, bp = dice.randint(0, MINOR_MAX), dice.randint(0, 10_000)
            assert probe("part", amount, bp) == str(amount * bp // 10_000)

    def test_uuid5_is_pythons(self, probe: Any) -> None:
        dice = random.Random(3)
        for length in range(120):
            name = "".join(dice.choices("abcXYZ0189._:-/é", k=length))
            assert probe("uuid5", name) == derived(name)
        assert NAMESPACE.version != 5  # a name of its own, never derived by this rule

    @pytest.mark.parametrize("number", [0, 1, 10**14, 10**15 + 1, 2**53 - 1, -(2**53) + 1])
    def test_large_integers_keep_every_digit(self, probe: Any, number: int) -> None:
        assert probe("int", number) == str(number)


class TestStates:
    def test_transitions_are_pythons(self, probe: Any) -> None:
        for state in PayoutState:
            for after in PayoutState:
                assert bool(probe("follows", state, after)) == (after in TRANSITIONS[state])

    def test_what_is_terminal_and_paid(self, probe: Any) -> None:
        for state in PayoutState:
            assert probe("sets", state) == [int(state in TERMINAL), int(state in PAID)]
