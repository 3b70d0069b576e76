"""The wheel: what is in it, and that it works where the repository is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from align import __version__

ROOT = Path(__file__).parents[1]
OURS = {"align", "vocab", "cli"}

pytestmark = pytest.mark.slow


def _run(command: list[str | Path], folder: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=folder, env=env)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files: a build folder may not be left in the repository."""
    folder = tmp_path_factory.mktemp("build")
    sources = folder / "sources"
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_bytes((ROOT / name).read_bytes())
    for top in ("align", "vocab", "cli", "benchmarks", "tests", "data"):
        for path in (ROOT / top).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                copy = sources / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, sources], folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone; the packages it needs are lent by the one that runs the tests."""
    folder = tmp_path_factory.mktemp("env") / "venv"
    _run([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python"]
    _run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], folder.parent)
    # appended to sys.path, so behind the wheel; .pth files of that folder (an editable install) are not read
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {*OURS, f"vocab_transfer-{__version__}.dist-info"}
    for needed in (
        "align/py.typed",
        "vocab/py.typed",
        "cli/py.typed",
        "align/lexicons/__init__.py",
        "align/lexicons/README.md",
        "align/lexicons/en-sw.tsv",
        "align/lexicons/en-sw.sentences.tsv",
        "vocab/demo/config.json",
        "vocab/demo/model.safetensors",
        "vocab/demo/tokenizer.json",
    ):
        assert needed in names
    modules = {path.relative_to(ROOT).as_posix() for top in OURS for path in (ROOT / top).rglob("*.py")}
    assert modules <= set(names)
    assert f"vocab_transfer-{__version__}.dist-info/licenses/LICENSE" in names


def test_it_runs_elsewhere(installed: Path, tmp_path: Path) -> None:
    assert _run([installed / "vocab-transfer", "--version"], tmp_path) == f"vocab-transfer {__version__}\n"
    code = (
        "import align.lexicon, json, vocab.demo\n"
        "lexicon = align.lexicon.bundled_lexicon('en', 'sw')\n"
        "print(json.dumps([align.lexicon.__file__, vocab.demo.__file__, len(lexicon)]))"
    )
    *files, n_entries = json.loads(_run([installed / "python", "-c", code], tmp_path))
    assert all(Path(file).is_relative_to(installed.parent) for file in files)
    assert n_entries >= 2000


def test_the_bundled_material_makes_a_model_elsewhere(installed: Path, tmp_path: Path) -> None:
    told = json.loads(
        _run([installed / "vocab-transfer", "--src", "demo", "--tgt", "sw", "--json", "-q"], tmp_path)
    )
    assert told["source"]["name"] == "demo"
    assert {entry["kind"] for entry in told["inputs"]} == {"bundled parallel", "bundled lexicon"}
    assert (tmp_path / "demo-sw" / "model.safetensors").is_file()


def test_nobody_else_owns_the_import_names(installed: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    owners = json.loads(_run([installed / "python", "-c", code], tmp_path))
    assert {name: set(owners[name]) for name in OURS} == {name: {"vocab-transfer"} for name in OURS}
