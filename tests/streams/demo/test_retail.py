"""The reader of Online Retail: on a small file of our own, and on the real one where it is."""

import gzip
import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.events import decode
from streams.demo.messages import Kind, Message
from streams.demo.retail import (
    COLUMNS,
    RetailFileError,
    SellersBy,
    Totals,
    invoices,
    messages,
    totals,
)

REAL = Path(__file__).parents[4] / "shared" / "data" / "online_retail.csv.gz"

HEADER = ",".join(COLUMNS)
ROWS = (
    '536365,85123A,"LANTERN, WHITE",6,2010-12-01T08:26:00,2.55,17850,United Kingdom',
    "536365,71053,HANGER,2,2010-12-01T08:26:00,3.39,17850,United Kingdom",
    "536366,71053,HOLDER,1,2011-07-01T09:00:00,10.005,,France",
    "536367,71053,SAMPLE,4,2011-07-01T09:05:00,0,,Unspecified",
    "536365,22752,BELATED,1,2010-12-01T08:27:00,1.00,17850,United Kingdom",
    "C536379,D,DISCOUNT,-1,2011-07-01T09:41:00,27.50,14527,EIRE",
    "A563186,B,BAD DEBT,1,2011-08-12T14:51:00,-11.06,,United Kingdom",
)


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "retail.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def events(made: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message.value) for message in made if message.kind is Kind.EVENT]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, *ROWS)


class TestInvoices:
    def test_an_invoice_is_all_its_lines(self, path: Path) -> None:
        first = invoices(path)[0]
        assert (first.number, first.lines, first.total) == ("536365", 3, Decimal("23.08"))

    def test_rounding_is_half_to_even_an_invoice(self, path: Path) -> None:
        # 10.005 is 1000.5 pence: to the even 1000.
        assert [invoice.minor for invoice in invoices(path)] == [2308, 1000, 0, -2750, -1106]

    def test_a_limit_counts_invoices_and_keeps_them_whole(self, path: Path) -> None:
        assert [(i.number, i.lines) for i in invoices(path, 2)] == [("536365", 3), ("536366", 1)]

    def test_gzip_is_told_by_its_bytes(self, path: Path, tmp_path: Path) -> None:
        zipped = tmp_path / "retail.data"
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        assert invoices(zipped) == invoices(path)

    def test_month_first_dates_byte_order_mark_and_latin_1(
        self, path: Path, tmp_path: Path
    ) -> None:
        text = path.read_text().replace("2010-12-01T08:26:00", "12/1/2010 8:26")
        other = tmp_path / "other.csv"
        text = text.replace("HANGER", "CAF\N{LATIN CAPITAL LETTER E WITH ACUTE}")
        other.write_bytes(b"\xef\xbb\xbf" + text.encode("latin-1"))
        assert invoices(other) == invoices(path)

    def test_customers_as_decimals(self, path: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.csv"
        other.write_text(path.read_text().replace("17850", "17850.0"))
        assert invoices(other) == invoices(path)


class TestTotals:
    def test_agree_with_sums_by_hand(self, path: Path) -> None:
        assert totals(path) == Totals(
            lines=7, invoices=5, cancellations=1, sales=3, returns=2, gross_minor=3308,
            returned_minor=3856, cancelled_minor=2750, net_minor=-548,
            exact_net=Decimal("-5.475"),
        )  # fmt: skip

    def test_of_a_limit(self, path: Path) -> None:
        some = totals(path, 1)
        assert (some.lines, some.invoices, some.gross_minor) == (3, 1, 2308)


class TestMessages:
    def test_sales_and_returns(self, path: Path) -> None:
        made = events(list(messages(path)))
        assert [(e["type"], e["amount_minor"]) for e in made] == [
            ("sale.completed", 2308),
            ("sale.completed", 1000),
            ("sale.completed", 0),
            ("sale.returned", 2750),
            ("sale.returned", 1106),
        ]
        assert [e.get("sale_id") for e in made] == ["536365", "536366", "536367", None, None]
        assert [e.get("country") for e in made] == ["GB", "FR", None, None, None]

    def test_london_time_with_its_summer(self, path: Path) -> None:
        made = events(list(messages(path)))
        assert made[0]["occurred_at"] == "2010-12-01T08:26:00+00:00"
        assert made[1]["occurred_at"] == "2011-07-01T09:00:00+01:00"

    def test_moved_by_whole_weeks_to_end_before(self, path: Path) -> None:
        ends_ms = 1_795_000_000_000
        made = list(messages(path, ends_ms=ends_ms))
        assert 0 <= ends_ms - made[-1].at_ms < 7 * 86_400_000
        # A Wednesday morning stays one.
        assert events(made)[0]["occurred_at"].endswith("T08:26:00+00:00")
        for message in made:
            decode(message.topic, message.value, now_ms=ends_ms, retention_ms=400 * 86_400_000)

    def test_publishing_times_never_go_back(self, tmp_path: Path) -> None:
        path = write(tmp_path, ROWS[6], ROWS[0])
        made = list(messages(path))
        assert all(a.at_ms <= b.at_ms for a, b in pairwise(made))

    def test_every_seller_has_a_profile_first_and_a_known_sponsor(self, path: Path) -> None:
        made = list(messages(path, sellers=7, seal=lambda seller, mail: f"v1.{seller}.{len(mail)}"))
        profiles = {m.key.decode(): json.loads(m.value) for m in made if m.kind is Kind.PROFILE}
        assert {m.key.decode() for m in made} == set(profiles)
        assert len(profiles) == 7 + 3
        sponsors = {profile.get("sponsor_id") for profile in profiles.values()}
        assert sponsors - {None} <= set(profiles)
        assert len(sponsors) > 2
        assert all(p["payout"]["destination"].startswith("v1.") for p in profiles.values())

    def test_by_customer_is_the_default(self, path: Path) -> None:
        keys = [m.key.decode() for m in messages(path) if m.kind is Kind.EVENT]
        assert keys[0].startswith("retail-")
        assert keys[3].startswith("retail-")
        assert [keys[1], keys[2], keys[4]] == [
            "country-france", "country-unspecified", "country-united-kingdom",
        ]  # fmt: skip

    def test_by_country(self, path: Path) -> None:
        made = messages(path, sellers_by=SellersBy.COUNTRY)
        keys = [m.key.decode() for m in made if m.kind is Kind.EVENT]
        assert (keys[0], keys[3]) == ("country-united-kingdom", "country-eire")

    def test_by_hash(self, path: Path) -> None:
        made = messages(path, sellers_by=SellersBy.HASH, sellers=3)
        assert all(m.key.startswith(b"retail-000") for m in made)

    def test_a_file_of_a_header_alone_makes_nothing(self, tmp_path: Path) -> None:
        assert list(messages(write(tmp_path))) == []

    def test_no_sellers_are_refused(self, path: Path) -> None:
        with pytest.raises(ValueError, match="at least one seller"):
            list(messages(path, sellers=0))


class TestRefusals:
    @pytest.mark.parametrize(
        ("column", "old", "new"),
        [
            ("InvoiceNo", "536366,", "536 366,"),
            ("Quantity", "HOLDER,1,", "HOLDER,1.5,"),
            ("InvoiceDate", "2011-07-01T09:00:00", "01.07.2011 09:00"),
            ("InvoiceDate", "2011-07-01T09:00:00", "13/25/2011 9:00"),
            ("UnitPrice", "10.005", "NaN"),
            ("UnitPrice", "10.005", "1e3"),
            ("CustomerID", ",,France", ",J. Doe,France"),
            ("Country", ",,France", ",,"),
        ],
    )
    def test_file_line_and_column_are_named(
        self, path: Path, column: str, old: str, new: str
    ) -> None:
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(RetailFileError) as refused:
            invoices(path)
        assert str(refused.value).startswith(f"{path}, line 4, column {column}: ")

    @pytest.mark.parametrize(
        ("header", "column"),
        [
            (HEADER.replace("UnitPrice", "Price"), "UnitPrice"),
            (HEADER.removesuffix(",Country"), "Country"),
            (HEADER + ",Extra", "Extra"),
            ("", "InvoiceNo"),
        ],
    )
    def test_a_wrong_header(self, tmp_path: Path, header: str, column: str) -> None:
        path = write(tmp_path, *ROWS, header=header)
        with pytest.raises(RetailFileError, match=f"line 1, column {column}: "):
            invoices(path)

    def test_a_short_line(self, path: Path) -> None:
        path.write_text(path.read_text().replace(",,France", ""))
        with pytest.raises(RetailFileError, match=r"line 4, column CustomerID: .* 6 columns"):
            invoices(path)

    def test_a_cut_off_archive(self, path: Path, tmp_path: Path) -> None:
        cut = tmp_path / "cut.csv.gz"
        cut.write_bytes(gzip.compress(path.read_bytes())[:-12])
        with pytest.raises(RetailFileError, match=r"cut\.csv\.gz"):
            invoices(cut)

    def test_an_invoice_beyond_the_bound(self, tmp_path: Path) -> None:
        row = "1,A,B,999999999,2010-12-01T08:26:00,999999999,1,France"
        with pytest.raises(RetailFileError, match=r"line 2, column UnitPrice: .*too large"):
            invoices(write(tmp_path, row))


@pytest.mark.skipif(not REAL.exists(), reason=f"the Online Retail file is not at {REAL}")
class TestTheRealFile:
    def test_the_published_figures(self) -> None:
        real = totals(REAL)
        assert (real.lines, real.invoices, real.cancellations) == (541_909, 25_900, 3_836)
        assert real.cancelled_minor == 89_681_249
        assert real.exact_net == Decimal("9747747.934")
        assert real.net_minor == 974_774_793

    def test_events_come_to_the_file_s_totals(self) -> None:
        real = totals(REAL)
        made = events(list(messages(REAL)))
        sums: Counter[str] = Counter()
        for event in made:
            sums[event["type"]] += event["amount_minor"]
        assert sums["sale.completed"] == real.gross_minor
        assert sums["sale.returned"] == real.returned_minor
        assert len(made) == len({event["id"] for event in made}) == real.invoices
