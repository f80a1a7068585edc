"""Write the dashboards: ``python -m grafana``."""

from __future__ import annotations

from pathlib import Path

from grafana.board import files
from grafana.boards import BOARDS

FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write each to its file, and remove what is there beside them."""
    made = files(BOARDS)
    for old in FOLDER.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
