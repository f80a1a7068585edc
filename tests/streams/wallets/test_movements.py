"""What entries on their way to the ledger say of money."""

from __future__ import annotations

from streams.engine import Outgoing
from streams.wallets.movements import SpotCheck, imbalance, moved


def entry(*postings: str) -> bytes:
    """As Redis writes it, as far as it is looked at."""
    return (
        b'{"v":1,"shard":3,"seq":1,"epoch":2,"kind":"payout.settled","id":"x","seller":"anna","at":1,'
        b'"postings":[' + ",".join(postings).encode() + b'],"writes":[["SET","a","[1,2]"]]}'
    )


PAID = ('["anna/in_flight","EUR",-1050,0]', '["/clearing:marqeta_push","EUR",1000,77000]',
        '["/fees","EUR",50,50]')  # fmt: skip
BACK = ('["anna/available","EUR",1000,1000]', '["/clearing:marqeta_push","EUR",-1000,76000]')
USDC = ('["/clearing:circle","USD",25,25]', '["bob/in_flight","USD",-25,0]')


def test_money_over_rails_both_ways() -> None:
    sale = entry(*PAID).replace(b"payout.settled", b"sale.completed")
    values = [entry(*PAID), entry(*PAID), entry(*BACK), entry(*USDC), sale, None]
    found = moved([Outgoing("ledger", b"k", value) for value in values])
    assert found.over_rails == {
        ("marqeta_push", "EUR", "paid"): 2_000,
        ("marqeta_push", "EUR", "came_back"): 1_000,
        ("circle", "USD", "paid"): 25,
    }
    assert not found.booked
    assert not found.settled


def test_what_labels_found_by_currency() -> None:
    told = (("earning.forfeited", "s:1", "confirmed", 700, 300),
            ("earning.forfeited", "c:1", "confirmed", 50, 0),
            ("fraud.labelled", "s:2", "chargeback", 0, 900),
            ("earning.cleared", "s:3", "cleared", 0, 0),
            ("commission.labelled", "c:2", "chargeback", 0, 40),
            ("sale.completed", "s:4", "cleared", 1, 1))  # fmt: skip
    values = [
        entry(*PAID).replace(b"payout.settled", kind.encode())[:-1]
        + f',"label":["{record}","EUR","{verdict}","Eva","x",{forfeited},{gone}]}}'.encode()
        for kind, record, verdict, forfeited, gone in told
    ]
    found = moved([Outgoing("ledger", b"k", value) for value in values])
    assert +found.verdicts == {"confirmed": 1, "chargeback": 1, "cleared": 1}
    assert +found.of_labels == {("EUR", "forfeited"): 750, ("EUR", "gone"): 1_240}


def test_an_imbalance_is_told_by_currency() -> None:
    assert imbalance(entry(*PAID, *USDC)) == {}
    assert imbalance(entry(*PAID[:2])) == {"EUR": -50}
    assert imbalance(entry(PAID[0], USDC[0])) == {"EUR": -1050, "USD": 25}
    assert imbalance(entry()) == {}
    assert imbalance(b"no entry") == {}


def test_so_many_entries_a_second_are_added_up() -> None:
    now = 10.0
    check = SpotCheck(lambda: now, per_s=3)
    good, bad = Outgoing("ledger", b"k", entry(*PAID)), Outgoing("ledger", b"k", entry(PAID[0]))
    assert check.look([good, bad]) == (2, {"EUR": 1050})
    assert check.look([bad, bad]) == (1, {"EUR": 1050})
    assert check.look([bad]) == (0, {})
    now = 11.0
    assert check.look([]) == (0, {})
    assert check.look([good] * 5) == (3, {})
