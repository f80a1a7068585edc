"""How a rail to a bank by files is set up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from rails.accounts import iban_invalid
from rails.iso20022.messages import NAME_CHARS_MAX, Debtor, Form, writable
from rails.settings import RailSettings

_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_DISK_MS = 2_000
"""What reading and writing may take, beside the wait for the bank."""


class Iso20022Settings(RailSettings):
    """Settings of one account at one bank."""

    provider: ClassVar[str] = "iso20022"
    title: ClassVar[str] = "ISO 20022 bank link"
    exists_by: ClassVar[str] = "outbox"

    message: Form = Field(
        "pacs.008",
        description="what a payment is sent as: pacs.008 between banks, pain.001 from a customer",
    )
    outbox: Path | None = Field(
        None,
        description="directory that the bank takes files from; without it there is no rail "
        "`iso20022`",
    )
    inbox: Path | None = Field(None, description="directory that the bank puts files into")
    archive: Path | None = Field(
        None,
        description="directory where what was sent and received is kept; one for all workers, and "
        "never emptied: it is the guard against paying twice",
    )
    debtor_name: str = Field("", max_length=140, description="name of the account that pays")
    debtor_iban: str = Field("", description="IBAN of the account that pays")
    debtor_bic: str = Field("", description="BIC of the bank; left to the bank if unset")
    timeout_s: float = Field(
        7, ge=0.1, le=300, description="longest wait for an answer of the bank, in s"
    )
    ask_after_s: float = Field(
        10, ge=0, le=86_400, description="how soon after a payment the bank is asked about it, in s"
    )

    @model_validator(mode="after")
    def _whole(self) -> Iso20022Settings:
        """A link that is set up at all is set up whole: half of one would lose files."""
        if self.outbox is None:
            return self
        unset = [
            name
            for name in ("inbox", "archive", "debtor_name", "debtor_iban")
            if not getattr(self, name)
        ]
        if unset:
            raise ValueError(f"outbox needs {', '.join(unset)}")
        iban = self.debtor_iban.replace(" ", "")
        if (problem := iban_invalid(iban)) is not None:
            raise ValueError(f"debtor_iban is no IBAN: {problem}")
        if self.debtor_bic and not _BIC.fullmatch(self.debtor_bic):
            raise ValueError("debtor_bic is no BIC: 8 or 11 letters and digits")
        if not writable(self.debtor_name, NAME_CHARS_MAX):
            raise ValueError("debtor_name has no Latin letter")
        folders = [path.resolve() for path in self.folders]
        if len(set(folders)) < 3 or any(a in b.parents for a in folders for b in folders):
            raise ValueError("outbox, inbox and archive are to be side by side, none in another")
        return self

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """Outbox, inbox, archive. Raises ValueError if there is no link."""
        if self.outbox is None or self.inbox is None or self.archive is None:
            raise ValueError("no bank link is set up")
        return self.outbox, self.inbox, self.archive

    @property
    def debtor(self) -> Debtor:
        """Who pays."""
        return Debtor(self.debtor_name, self.debtor_iban.replace(" ", ""), self.debtor_bic)

    @property
    def address(self) -> str:
        """Where files for the bank go."""
        return str(self.outbox)

    @property
    def timeout_ms(self) -> int:
        """The longest that one call takes, in milliseconds."""
        return round(self.timeout_s * 1000) + _DISK_MS
