"""Serving: the models in use, and the change to another one while sales go on.

Files are read every few seconds, in a thread beside the event loop, and told apart by their
content: a link of a ConfigMap that leads elsewhere is noticed like a file that was replaced, and a
file that is half written now is looked at again. A new model is used once it is read, its digest
holds and it agrees with scikit-learn; else the one in use stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

from models.scorer import ARTEFACT_BYTES_MAX, ModelUnreadable, Scorer
from streams.metrics import Metrics

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
"""How often files are read."""

ModelRole = Literal["champion", "challenger"]

Use = Callable[[Scorer | None, Scorer | None], None]
"""Takes the models from now on: the one that decides, and the one in its shadow."""


class ModelFile:
    """A model's file, and the last model in it that could be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = b""
        self.scorer: Scorer | None = None
        self.problem: str | None = None
        """Why the file as it is cannot be used; None if it is."""

    def look(self) -> bool:
        """Read the file; whether anything is otherwise than at the last look. Blocking."""
        try:
            with self._path.open("rb") as file:
                content = file.read(ARTEFACT_BYTES_MAX + 1)
        except OSError as error:
            return self._refuse(b"", f"cannot be read: {error.strerror}")
        seen = sha256(content).digest()
        if seen == self._seen:
            return False
        try:
            found = Scorer.load(content.decode("utf-8"))
        except (ModelUnreadable, UnicodeDecodeError) as error:
            return self._refuse(seen, str(error))
        self._seen, self.problem = seen, None
        # The same model in another layout, or after a bad file, need not be taken anew.
        if self.scorer is None or found.digest != self.scorer.digest:
            self.scorer = found
        return True

    def _refuse(self, seen: bytes, problem: str) -> bool:
        changed = (seen, problem) != (self._seen, self.problem)
        self._seen, self.problem = seen, problem
        return changed


class Serving:
    """Keeps a worker on the models that lie in its files."""

    def __init__(self, champion: Path, challenger: Path | None, use: Use, metrics: Metrics) -> None:
        self._use = use
        self._metrics = metrics
        self._files: dict[ModelRole, ModelFile] = {"champion": ModelFile(champion)}
        if challenger is not None:
            self._files["challenger"] = ModelFile(challenger)
        self._in_use: dict[ModelRole, Scorer | None] = {}
        self._told: dict[ModelRole, str | None] = {}

    def begin(self) -> None:
        """Look for the first time, and have what there is used. Blocking."""
        for file in self._files.values():
            file.look()
        self._take()

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look again and again, as long as the task lives."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Look once; what is new is used from the next batch on."""
        found = [await asyncio.to_thread(file.look) for file in self._files.values()]
        if any(found):
            self._take()

    def _take(self) -> None:
        now = {role: file.scorer for role, file in self._files.items()}
        for role, file in self._files.items():
            scorer, before = file.scorer, self._in_use.get(role)
            if file.problem is not None and file.problem != self._told.get(role):
                logger.error(
                    "%s: a model that cannot be used, so %s: %s",
                    role,
                    "the one before stays" if scorer else _WITHOUT[role],
                    file.problem,
                )
            elif scorer is not before and scorer is not None:
                logger.info("%s: model %s is used now", role, scorer.digest[:12])
                self._metrics.model_taken(role, swapped=before is not None)
            self._told[role] = file.problem
        if now != self._in_use:
            self._use(now["champion"], now.get("challenger"))
            self._in_use = now
        self._metrics.models(
            {(role, s.digest[:12]): 1 for role, s in now.items() if s is not None},
            {role: file.problem is not None for role, file in self._files.items()},
        )


_WITHOUT: dict[ModelRole, str] = {
    "champion": "only small amounts are paid at once",
    "challenger": "nothing is scored in the shadow",
}
