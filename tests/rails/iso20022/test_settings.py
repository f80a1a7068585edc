"""A bank link is set up whole or not at all."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rails.iso20022.rail import Iso20022Rail
from rails.iso20022.settings import Iso20022Settings
from rails.registry import open_feeds, open_rails, open_verifiers
from rails.sandbox.bank import link_fields
from streams.settings import SettingsError, load_settings

ROOT = Path("/srv/bank")


def settings(**changes: object) -> Iso20022Settings:
    fields: dict[str, Any] = {**link_fields(ROOT), **changes}
    return Iso20022Settings(**fields)


def test_whole() -> None:
    one = settings(debtor_iban="DE75 5121 0800 1245 1261 99", message="pain.001", timeout_s=0.5)
    assert one.debtor.iban == "DE75512108001245126199"
    assert one.folders == (ROOT / "outbox", ROOT / "inbox", ROOT / "archive")
    assert one.address == "/srv/bank/outbox"
    # The wait for the bank, and what disks may take.
    assert one.timeout_ms == 2_500


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inbox": None, "debtor_name": ""}, "outbox needs inbox, debtor_name"),
        ({"archive": None}, "outbox needs archive"),
        ({"debtor_iban": "DE00512108001245126199"}, "debtor_iban is no IBAN: iban_check_digits"),
        ({"debtor_bic": "SAND"}, "debtor_bic is no BIC"),
        ({"debtor_name": "李"}, "debtor_name has no Latin letter"),
        ({"inbox": ROOT / "outbox"}, "side by side"),
        ({"archive": ROOT / "inbox" / "archive"}, "side by side"),
        ({"message": "pain.008"}, "pacs.008"),
    ],
)
def test_half(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(**changes)


def test_without_an_outbox_there_is_none() -> None:
    assert "iso20022" not in load_settings().rails()
    with pytest.raises(ValueError, match="no bank link"):
        _ = Iso20022Settings().folders


def test_what_is_wrong_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_ISO20022_OUTBOX", "/srv/bank/outbox")
    with pytest.raises(SettingsError, match=r"^PAYOUTS_ISO20022_OUTBOX needs PAYOUTS_ISO20022_IN"):
        load_settings().rails()


def test_a_rail_and_a_feed_by_the_registry() -> None:
    link = {"bank_1": settings()}
    (rail,) = open_rails(link).values()
    assert isinstance(rail, Iso20022Rail)
    assert rail.name == "bank_1"
    assert len(open_feeds(link)) == 1
    assert open_verifiers(link) == {}
    assert open_feeds({"paypal": load_settings().rail("paypal")}) == []
