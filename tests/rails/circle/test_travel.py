"""The travel rule: each bound from both sides, each missing fact by its name."""

from dataclasses import replace

import pytest

from rails.addresses import CryptoAddress
from rails.circle.travel import EUR_1000_USD_MINOR, RULES, takes_identity, travel_refusal

US, EU = RULES["US"], RULES["EU"]
WALLET = CryptoAddress("ETH", "0x" + "1" * 40, "Anna", "DE")
HOSTED = replace(WALLET, hosted=True)
OWN = replace(WALLET, hosted=False)
PROVEN = replace(OWN, control_proven=True)


@pytest.mark.parametrize("wallet", [WALLET, HOSTED, OWN, PROVEN])
def test_the_united_states_ask_for_the_sender_from_3000_dollars(wallet: CryptoAddress) -> None:
    assert travel_refusal(US, 299_999, wallet, identified=False) is None
    assert travel_refusal(US, 300_000, wallet, identified=False) == "travel_rule_identity_missing"
    assert travel_refusal(US, 10**9, wallet, identified=True) is None
    assert [takes_identity(US, amount) for amount in (1, 299_999, 300_000)] == [False, False, True]


@pytest.mark.parametrize("wallet", [WALLET, HOSTED, OWN, PROVEN])
def test_the_union_asks_for_the_sender_whatever_the_amount(wallet: CryptoAddress) -> None:
    assert travel_refusal(EU, 1, wallet, identified=False) == "travel_rule_identity_missing"
    assert travel_refusal(EU, 1, wallet, identified=True) is None
    assert takes_identity(EU, 1)


@pytest.mark.parametrize(
    ("wallet", "reason"),
    [
        (HOSTED, None),
        (PROVEN, None),
        (OWN, "wallet_control_unproven"),
        (WALLET, "wallet_hosting_unknown"),
        (replace(WALLET, control_proven=True), "wallet_hosting_unknown"),
    ],
)
def test_the_union_asks_whose_wallet_it_is_above_1000_euros(
    wallet: CryptoAddress, reason: str | None
) -> None:
    assert travel_refusal(EU, EUR_1000_USD_MINOR, wallet, identified=True) is None
    assert travel_refusal(EU, EUR_1000_USD_MINOR + 1, wallet, identified=True) == reason


def test_every_rule_has_bounds_that_can_be_met() -> None:
    for rule in RULES.values():
        assert rule.identity_from_minor > 0
        assert rule.control_above_minor is None or rule.control_above_minor > 0
