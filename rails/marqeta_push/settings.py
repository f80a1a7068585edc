"""How a rail that pushes to cards over Marqeta is set up."""

from __future__ import annotations

from typing import ClassVar

from rails.marqeta.settings import CoreSettings


class PushSettings(CoreSettings):
    """Settings of one program that may push to cards.

    Apart from those of loads: a company may have either, or both in two programs.
    """

    provider: ClassVar[str] = "marqeta_push"
    title: ClassVar[str] = "Marqeta's push to card"
    exists_by: ClassVar[str] = "access_token"
    needs: ClassVar[tuple[str, ...]] = ("application_token",)
