"""What is wrong with the source model is said before a server is asked for material."""

from __future__ import annotations

from pathlib import Path

import pytest

from align.errors import InputError, ToolkitError, UnavailableError
from vocab import TransferOptions, pipeline
from vocab.pipeline import prepare


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whether material was looked up; there is none."""
    heard: list[str] = []

    def survey(options: TransferOptions, *_: object, **__: object) -> None:
        heard.append(options.src)
        raise UnavailableError("no network")

    monkeypatch.setattr(pipeline, "survey", survey)
    return heard


@pytest.mark.parametrize(
    ("src", "said"), [("./nothere", "no such file or directory"), ("empty", "config.json")]
)
def test_a_directory_that_is_no_model(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, src: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(InputError, match=said):
        prepare(TransferOptions(src=src, tgt="sw"))
    assert asked == []


def test_a_model_that_is_not_here_is_not_fetched_before_material_is_agreed_to(
    asked: list[str], tmp_path: Path
) -> None:
    options = TransferOptions(src="org/none", tgt="sw", cache_dir=tmp_path, offline=True)
    with pytest.raises(ToolkitError, match="no network"):
        prepare(options)
    assert asked == ["org/none"]
