"""The report of a run, for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from models.ledger import Fold
from models.money import text
from streams.demo.run import Outcome
from streams.demo.tally import Tally, by_currency

SELLERS_SHOWN = 5
"""Wallets that the report shows."""

SELLER_CHARS_SHOWN = 14

_TIER_WORDS = {
    "instant": "paid at once",
    "partial": "a share paid at once, the rest held for review",
    "hold": "held for review",
    "reject": "nothing earned: a rule of the company",
}
_STATE_WORDS = {
    "settled": "the money left",
    "delivered": "the money arrived",
    "failed": "proven not executed; money back in the wallet",
    "returned": "came back from the rail; money back in the wallet",
    "unclaimed": "waits for the recipient at the rail",
    "unknown": "the rail is silent; asked again until it answers",
    "accepted": "the rail has it",
    "reserved": "about to go out",
    "submitted": "being handed over",
    "cancelled": "stopped in time",
}

_RAIL_WORDS = {
    "paypal": "to a wallet",
    "adyen": "to a bank account",
    "marqeta": "onto a prepaid card",
    "circle": "in USDC",
}


_USE_WORDS = {
    "purchase.authorised": ("purchases", "authorised", "a till asked, the wallet promised"),
    "purchase.captured": ("purchases", "captured", "and paid, whole or a part"),
    "purchase.voided": ("purchases", "voided", "not needed any more"),
    "purchase.expired": ("purchases", "expired", "the till never came back"),
    "purchase.refunded": ("purchases", "refunded", "to where it came from"),
    "reinvested.standing": ("reinvested", "by preference", "a share of the earning became credit"),
    "reinvested.once": ("reinvested", "once", "a seller asked for it"),
}


def show(console: Console, outcome: Outcome, totals: Mapping[str, Any] | None = None) -> None:
    """Print the report of a run; ``totals`` compares a file's own figures with the pipeline's."""
    console.print(_head(outcome))
    parts = {
        "What happened": _counts(outcome),
        "Wallets": _wallets(outcome.fold),
        **({"Credit": _credit(outcome.tally)} if outcome.tally.credit else {}),
        **({"Purchases and releases": _uses(outcome)} if outcome.tally.counts else {}),
        **({"Debt": _debts(outcome.tally)} if outcome.tally.debt else {}),
        "Speed": _speed(outcome),
        **({"Against the file": _totals(totals)} if totals else {}),
        "Proof": _proof(outcome),
    }
    for title, part in parts.items():
        console.print()
        console.print(Text(title, style="bold"))
        console.print(part)
    console.print()
    console.print(_verdict(outcome))


def _head(outcome: Outcome) -> RenderableType:
    crashes = f", worker killed {outcome.crashes} times" if outcome.crashes else ""
    return Text(
        f"{outcome.events_in:,} events of {outcome.sellers:,} sellers, seed {outcome.seed}{crashes}"
    )


def _counts(outcome: Outcome) -> RenderableType:
    table = _table()
    for tier, count in outcome.decisions.items():
        table.add_row("decisions", tier, f"{count:,}", _TIER_WORDS.get(tier, ""))
    for state, count in sorted(outcome.payouts.items(), key=lambda item: -item[1]):
        table.add_row("payouts", state, f"{count:,}", _STATE_WORDS.get(state, ""))
    for rail, states in sorted(outcome.by_rail.items(), key=lambda item: -sum(item[1].values())):
        table.add_row("rails", rail, f"{sum(states.values()):,}", _RAIL_WORDS.get(rail, ""))
    for rails, count in sorted(outcome.failed_over.items(), key=lambda item: -item[1]):
        word = "after a proven failure, under the same id"
        table.add_row("failover", rails.replace(" ", " → "), f"{count:,}", word)
    table.add_row("spendback", "granted", f"{outcome.granted:,}", "a threshold was crossed")
    table.add_row("spendback", "unfired", f"{outcome.unfired:,}", "a return undid it")
    for use, (noun, word, meaning) in _USE_WORDS.items():
        if count := outcome.tally.counts[use]:
            table.add_row(noun, word, f"{count:,}", meaning)
    for (source, target), made in sorted(outcome.tally.gains.made.items()):
        sold = text(outcome.tally.gains.sold[source, target], source)
        bought = text(outcome.tally.gains.bought[source, target], target)
        table.add_row("conversions", f"{source} → {target}", f"{made:,}", f"{sold} became {bought}")
    if unused := outcome.tally.counts["quote.expired"]:
        table.add_row("conversions", "not used", f"{unused:,}", "the quote's time was over")
    if held_back := outcome.fold.releases.held_back:
        released = outcome.fold.kinds["pending.released"]
        word = "a share of an earning waits, goods may come back"
        table.add_row("releases", "held back", f"{held_back:,}", word)
        table.add_row("releases", "released", f"{released:,}", "the time for returns was over")
    if debtors := len(outcome.tally.debtors):
        out = debtors - outcome.tally.owing()
        table.add_row(
            "debt", "taken on", f"{debtors:,}", "wallets of which more came back than was there"
        )
        table.add_row("debt", "worked off", f"{out:,}", "of them owe nothing any more")
    for reason, count in outcome.dead_letters.items():
        table.add_row("dead letters", reason, f"{count:,}", "")
    return table


def _table() -> Table:
    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column(style="dim")
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    return table


def _wallets(fold: Fold) -> RenderableType:
    """The best-earning wallet in each currency, and the sum of all wallets in it."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("seller", no_wrap=True, max_width=SELLER_CHARS_SHOWN)
    for name in ("", "earned", "paid out", "available", "held", "credit", "debt"):
        table.add_column(name, justify="right", no_wrap=True)
    best: dict[str, tuple[int, str]] = {}
    for (seller, currency), minor in fold.earned.items():
        if minor > best.get(currency, (0, ""))[0]:
            best[currency] = (minor, seller)
    for currency, (_, seller) in sorted(best.items())[:SELLERS_SHOWN]:
        table.add_row(seller, *_amounts(fold, [seller], currency))
    table.add_section()
    for currency in sorted({currency for _, currency in fold.earned}):
        sellers = {seller for seller, of in fold.earned if of == currency}
        table.add_row(f"all {len(sellers)}", *_amounts(fold, sorted(sellers), currency))
    return table


def _amounts(fold: Fold, sellers: list[str], currency: str) -> list[str]:
    def account(name: str) -> int:
        return sum(fold.balances.get((f"{seller}/{name}", currency), 0) for seller in sellers)

    earned = sum(fold.earned.get((seller, currency), 0) for seller in sellers)
    paid = sum(fold.paid_out.get((seller, currency), 0) for seller in sellers)
    # What is on its way to a rail counts as available here; a run ends with little of it.
    available = account("available") + account("in_flight")
    figures = (earned, paid, available, account("held"), account("credit"), account("debt"))
    return [currency, *(text(minor, currency).removesuffix(" " + currency) for minor in figures)]


def _credit(tally: Tally) -> RenderableType:
    """What was granted and reinvested in each currency, and what became of it."""
    words = ("granted", "reinvested", "spent", "expired", "undone", "left")
    return _by_currency(words, by_currency(tally.credit))


def _uses(outcome: Outcome) -> RenderableType:
    """What purchases came to in each currency, and what was held back for returns."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for purchase in outcome.fold.purchases.values():
        sums[purchase.currency]["bought"] += purchase.captured - purchase.refunded
        sums[purchase.currency]["refunded"] += purchase.refunded
    for (_, currency), minor in outcome.fold.purchased.items():
        sums[currency]["by earnings"] += minor
    words = {"held": "held back", "taken": "taken back", "released": "released"}
    for (what, currency), minor in outcome.fold.releases.moved.items():
        sums[currency][words[what]] += minor
    return _by_currency(("bought", "by earnings", "refunded", *words.values()), sums)


def _debts(tally: Tally) -> RenderableType:
    """What sellers came to owe in each currency, and what became of it."""
    words = {"taken": "taken on", "worked": "worked off", "repaid": "paid back", "owed": "owed"}
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for (word, currency), minor in tally.debt.items():
        sums[currency][words.get(word, word)] += minor
    return _by_currency(tuple(words.values()), sums)


def _by_currency(words: Sequence[str], sums: Mapping[str, Mapping[str, int]]) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("")
    for word in words:
        table.add_column(word, justify="right", no_wrap=True)
    for currency, found in sorted(sums.items()):
        table.add_row(currency, *(_amount(found.get(word, 0), currency) for word in words))
    return table


def _amount(minor: int, currency: str) -> str:
    """Without its currency; nothing for zero."""
    return text(minor, currency).removesuffix(f" {currency}") if minor else ""


def _speed(outcome: Outcome) -> RenderableType:
    table = _table()
    rate = outcome.events_in / outcome.seconds
    table.add_row("throughput", "", f"{rate:,.0f}/s", "events in, until the last payout's answer")
    names = {"p50": "p50", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "largest"}
    for key, name in names.items():
        if key in outcome.latency_ms:
            table.add_row(
                "latency", name, f"{outcome.latency_ms[key]:,.1f} ms", "from sale to payout command"
            )
    return table


def _totals(totals: Mapping[str, Any]) -> RenderableType:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("", "file", "pipeline", ""):
        table.add_column(name, justify="right" if name else "left")
    for name, (wanted, found) in totals.items():
        same = wanted == found
        verdict = Text("equal", style="green") if same else Text("differs", style="bold red")
        table.add_row(name, str(wanted), str(found), verdict)
    return table


def _proof(outcome: Outcome) -> RenderableType:
    lines = []
    for check in outcome.checks:
        mark = Text("✓ ", style="green") if check.ok else Text("✗ ", style="bold red")
        lines.append(mark + Text(check.name) + Text(f"  {check.detail}", style="dim"))
    lines.append(Text(f"  earned {outcome.earned_sha256}", style="dim"))
    return Group(*lines)


def _verdict(outcome: Outcome) -> RenderableType:
    if outcome.ok:
        return Text("The ledger balances: nothing lost, nothing twice.", style="bold green")
    broken = ", ".join(check.name for check in outcome.checks if not check.ok)
    return Text(f"The proof does not hold: {broken}.", style="bold red")
