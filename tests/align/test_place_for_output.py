"""A place for output is checked before any work, and says what is in the way."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from align import place
from align.errors import OutputError
from align.place import check_file, require_space

_Usage = namedtuple("_Usage", "total used free")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.en").write_text("x")
    with pytest.raises(OutputError, match=r"train\.en is a file; give another --out\.$"):
        check_file(tmp_path / "train.en" / "model" / "a", overwrite=False)


def test_room_is_wanted_for_the_bytes_and_some_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 100_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(free, 0, free))
    require_space(tmp_path / "out", n_bytes=free - place._SLACK)
    with pytest.raises(OutputError, match=r"got 100 MB free, wanted 100 MB\)\. Free some space"):
        require_space(tmp_path / "out", n_bytes=free - place._SLACK + 1)
