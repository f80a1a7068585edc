"""Every exchange of the rails' clients, kept, to be held against a provider's own document."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pytest

from rails.http import Answer, HttpClient
from tests.rails import specs


class Exchange(NamedTuple):
    """A request as it left, and its answer; None if there was none."""

    method: str
    path: str
    data: bytes | None
    answer: Answer | None

    @property
    def sent(self) -> dict[str, Any]:
        """The object that was sent; empty if there was none."""
        found: dict[str, Any] = json.loads(self.data) if self.data else {}
        return found

    @property
    def status(self) -> int:
        """The answer's status; 0 if there was none."""
        return 0 if self.answer is None else self.answer.status

    @property
    def body(self) -> object:
        """The answer's body; None if there was none that could be read."""
        return None if self.answer is None else self.answer.body


def keep_exchanges(monkeypatch: pytest.MonkeyPatch) -> list[Exchange]:
    """The exchanges from now on, in the order of their requests."""
    kept: list[Exchange] = []
    exchange = HttpClient.exchange

    async def keep(
        client: HttpClient,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes | None = None,
    ) -> Answer:
        number = len(kept)
        kept.append(Exchange(method, path, data, None))
        answer = await exchange(client, method, path, headers, data)
        if number < len(kept):  # the test may have cleared the list meanwhile
            kept[number] = kept[number]._replace(answer=answer)
        return answer

    monkeypatch.setattr(HttpClient, "exchange", keep)
    return kept


def undocumented(
    document: str, exchanges: Iterable[Exchange], answered: Callable[[Exchange], bool]
) -> list[str]:
    """What does not fit a provider's document, if that is here.

    ``answered``: whether the document has an answer like the one there was.
    """
    if not specs.available(document):
        return []
    found: list[str] = []
    for one in exchanges:
        path = one.path.partition("?")[0]
        problems = specs.request_problems(document, one.method, path, one.sent) if one.data else []
        if one.body is not None and answered(one):
            problems += specs.answer_problems(document, one.method, path, one.status, one.body)
        found += [f"{one.method} {path} {one.status}: {problem}" for problem in problems]
    return found
