"""What is ordered befalls the next payout of a provider that is able to it."""

from rails.sandbox.befalls import Befalls
from rails.sandbox.books import Entry
from rails.sandbox.marqeta import STATE_OTHERWISE, MarqetaSandbox
from rails.sandbox.notices import Notice
from rails.sandbox.server import serve


def test_what_one_provider_is_not_able_to_waits_for_another() -> None:
    befalls = Befalls(1)
    befalls.add({"duplicate": 1, "slow": 1})
    assert [befalls.draw(lambda name: name != "duplicate") for _ in range(3)] == ["slow", "", ""]
    assert befalls.waiting() == 1
    assert [befalls.draw() for _ in range(2)] == ["duplicate", ""]
    assert befalls.waiting() == 0


def test_all_that_wait_are_mixed() -> None:
    def drawn(seed: int) -> list[str]:
        befalls = Befalls(seed)
        befalls.add({"closed": 100, "slow": 300})
        return [befalls.draw() for _ in range(401)]

    first = drawn(1)
    assert (first.count("closed"), first.count("slow"), first[-1]) == (100, 300, "")
    assert 10 < first[:100].count("closed") < 45
    assert first == drawn(1) != drawn(2)


async def test_only_paypal_has_what_is_claimed_and_called_a_duplicate() -> None:
    async with await serve(webhook_urls={"adyen": "http://127.0.0.1:9/"}) as sandbox:
        able = {name: one.able for name, one in sandbox.providers.items()}
        for name in ("duplicate", "unclaimed", "claimed"):
            assert [rail for rail, is_able in able.items() if is_able(name)] == ["paypal"]
        # Of webhooks only those can misbehave that are sent.
        assert [rail for rail, is_able in able.items() if is_able("webhook-lost")] == ["adyen"]
        assert not any(is_able("webhook-reordered") for is_able in able.values())
        assert all(is_able("timeout-after") for is_able in able.values())


async def test_marqeta_tells_what_it_has_no_word_for() -> None:
    async with await serve() as sandbox:
        marqeta = sandbox.providers["marqeta"]
        assert isinstance(marqeta, MarqetaSandbox)
        plan = ((0, 0, "PENDING"), (0, 0, "UNCLAIMED"))
        entry = Entry("marqeta", "R", "a1", "a1", "EUR", 500, "anna", plan, "claimed", 0, 0)
        body = marqeta.scribe().body(entry, Notice(0, 0, "UNCLAIMED"), "1", 0)
        assert f'"state": "{STATE_OTHERWISE}"'.replace(" ", "") in body.decode().replace(" ", "")
