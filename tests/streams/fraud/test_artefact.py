"""Files of models: replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.fraud.artefact import replace, replacing


def test_who_reads_while_it_is_replaced_reads_the_old_text(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    replace(file, "old text")
    with file.open() as reading:
        assert reading.read(3) == "old"
        replace(file, "new")
        assert reading.read() == " text"
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_what_breaks_off_leaves_the_old_text(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    replace(file, "old")
    with pytest.raises(OSError, match="full"), replacing(file) as writing:
        writing.write("ne")
        raise OSError("full")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_link_stays_and_so_do_permissions(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "real.json").chmod(0o640)
    (tmp_path / "model.json").symlink_to("real.json")
    replace(tmp_path / "model.json", "new")
    assert (tmp_path / "model.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"
    assert (tmp_path / "real.json").stat().st_mode & 0o777 == 0o640
