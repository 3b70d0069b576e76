"""``compass`` and the commands under it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest

from align.compass import Compass, CompassOptions
from align.compass.alternatives import METHODS
from align.compass.change import CONTROLS
from align.compass.measures import MEASURES
from align.compass_options import Control, Measure, Method, VectorOptions
from cli.compass import repeat_flags
from tests.align.test_compass import clustered
from tests.cli.conftest import Run, run_command

Command = Callable[..., Run]
TINY = ["--dim", "16", "--epochs", "20", "--n-negatives", "5", "--learning-rate", "0.05"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slices")
    paths = [folder / "then.txt", folder / "now.txt"]
    for k, path in enumerate(paths):
        path.write_text("\n".join(clustered(1200, moved=k == 1, seed=k)) + "\n", encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def made(files: list[Path]) -> Path:
    folder = files[0].parent / "compass"
    assert run_command("compass", "--slices", *files, "--out", folder, "-q", *TINY) == 0
    return folder


def test_train_shift_trace_correspond(cli: Command, files: list[Path], made: Path) -> None:
    run = cli("compass", "--slices", *files, "--names", "a", "b", "--out", "c", "--json", *TINY)
    assert run.code == 0, run.err
    told = json.loads(run.out)
    assert list(told["slices"]) == ["a", "b"]
    assert told["converged"] is True
    assert Compass.load("c").names == ("a", "b")

    run = cli("compass", "shift", made, "--from", "then", "--to", "now", "--top", "3", "--json")
    moved = json.loads(run.out)["moved"]
    assert [len(moved), moved[0]["word"]] == [3, "shifter"]
    assert ({w[0] for w in moved[0]["then"]}, {w[0] for w in moved[0]["now"]}) == ({"a"}, {"b"})
    table = cli("compass", "shift", made, "--top", "3", "--measure", "lncs2", "--neighbors", "9")
    assert [line.split()[0] for line in table.out.splitlines()][:2] == ["word", "shifter"]
    assert "nothing is said of" in table.err

    run = cli("compass", "trace", made, "shifter", "--plot", "out.svg")
    assert [line.split()[0] for line in run.out.splitlines()] == ["slice", "then", "now"]
    assert ET.parse("out.svg").getroot().tag.endswith("svg")
    assert cli("compass", "trace", made, "shifter", "--plot", "out.svg").code == 3
    assert cli("compass", "trace", made, "shifter", "--plot", "out.svg", "--overwrite").code == 0

    run = cli("compass", "correspond", made, "shifter", "--from", "then", "--to", "now", "--json")
    assert {n["word"][0] for n in json.loads(run.out)["words"]} <= {"a", "n"}


def test_permutations_and_intervals(cli: Command, files: list[Path], made: Path) -> None:
    again = ["--slices", *files, "--permutations", "3", "--bootstrap", "3", "--top", "2"]
    run = cli("compass", "shift", made, *again, "--json")
    assert run.code == 0, run.err
    first = json.loads(run.out)["moved"][0]
    assert (first["word"], first["p"]) == ("shifter", 0.25)
    assert first["interval"][0] <= first["interval"][1]
    assert " p " in cli("compass", "shift", made, *again).out.splitlines()[0]
    run = cli(
        "compass", "shift", made, "--permutations", "3", "--slices", *files[::-1], "--names", "then", "now"
    )
    assert run.code == 3
    assert "not the text" in run.err


def test_table_of_years_and_another_method(cli: Command) -> None:
    lines = [f"{1900 + k % 40}\t{line}" for k, line in enumerate(clustered(1200, moved=False, seed=0))]
    Path("years.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = cli("compass", "--slices", "years.tsv", "--bin", "20", "--method", "histwords", "--out", "c", *TINY)
    assert run.code == 0, run.err
    assert (Compass.load("c").names, Compass.load("c").method) == (("1900", "1920"), "histwords")
    lines[2] = "MCM\tx"
    Path("years.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = cli("compass", "--slices", "years.tsv", "--bin", "20", "--out", "d")
    assert run.code == 3
    assert "years.tsv:3" in run.err


def test_two_languages(cli: Command) -> None:
    for name, letter, seed in (("de", "d", 0), ("en", "e", 1)):
        text = "\n".join(clustered(400, moved=False, seed=seed))
        Path(f"{name}.txt").write_text(text.replace("a", f"{letter}a").replace("b", f"{letter}b"))
    Path("lexicon.tsv").write_text("".join(f"d{t}{i}\te{t}{i}\n" for t in "ab" for i in range(20)))
    run = cli("compass", "--slices", "de.txt", "en.txt", "--lexicon", "lexicon.tsv", "--out", "c", *TINY)
    assert run.code == 0, run.err
    assert Compass.load("c").method == "pooled"


def test_identity(cli: Command, files: list[Path]) -> None:
    run = cli("compass", "identity", files[0], "--first", "10", "--json", *TINY)
    assert run.code == 0, run.err
    told = json.loads(run.out)
    assert 0 <= told["nearest_to_itself"] <= 1
    assert "of_the_first_10" in told


def test_what_is_wrong_is_said(cli: Command, files: list[Path], made: Path) -> None:
    def refused(code: int, said: str, *args: object) -> None:
        run = cli("compass", *args)
        assert (run.code, run.out) == (code, ""), run.err
        assert run.err.startswith("error: ")
        assert run.err.count("\n") == 1
        assert said in run.err

    refused(2, "--out", "--slices", *files)
    refused(2, "--slices", "--out", "c")
    refused(2, "requires an argument", "--out", "c", "--slices")
    refused(2, "two or more", "--slices", files[0], "--out", "c")
    refused(2, "two slices of one name", "--slices", files[0], files[0], "--out", "c")
    refused(2, "differ in number", "--slices", *files, "--names", "a", "--out", "c")
    refused(3, "nonesuch", "--slices", files[0], "nonesuch.txt", "--out", "c")
    refused(3, "already exists", "--slices", *files, "--out", made)
    refused(2, "--method", "--slices", *files, "--out", "c", "--method", "magic")
    refused(2, "--method cade", "--slices", *files, "--out", "c", "--method", "histwords", "--lexicon", "x")
    refused(2, "dim", "--slices", *files, "--out", "c", "--dim", "0")
    refused(2, "No such option", "--slices", *files, "--out", "c", "--colour")
    refused(2, "No such command", "draw", made)
    refused(2, "behind shift", "--dim", "3", "shift", made)
    refused(3, "no compass in this folder", "shift", files[0].parent)
    refused(2, "no slice of this name", "shift", made, "--from", "never")
    refused(2, "--slices", "shift", made, "--permutations", "3")
    refused(2, "--slices is for", "shift", made, "--slices", *files)
    refused(2, "--top", "shift", made, "--top", "0")
    refused(2, "--measure", "shift", made, "--measure", "euclid")
    refused(3, "no word to compare", "shift", made, "--min-occurrences", "999999")
    refused(3, "no slice has this word", "trace", made, "nonesuch")
    refused(3, "does not have this word", "correspond", made, "nonesuch")
    refused(2, "unknown retrieval", "correspond", made, "shifter", "--retrieval", "magic")
    refused(3, "nonesuch", "identity", "nonesuch.txt")
    empty = Path("empty.txt")
    empty.write_text("\n")
    refused(3, "without words", "--slices", files[0], empty, "--out", "c")
    assert [path.name for path in Path().iterdir()] == ["empty.txt"]


@pytest.mark.parametrize("command", ["", "shift", "trace", "correspond", "identity"])
def test_help(cli: Command, command: str) -> None:
    run = cli("compass", *command.split(), "--help")
    assert run.code == 0
    assert "Examples" in run.out
    if not command:
        bare = cli("compass")
        assert bare.code == 2
        assert "shift" in bare.out


def test_ctrl_c_leaves_nothing(files: list[Path], tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("vocab-transfer"), "compass", "--slices", *files, "--out", "c"]
    ready = "import sys, signal\nfrom unittest import mock\nimport align.compass.alternatives as a\n"
    ready += "real = a.train_by\n"
    ready += "def train_by(*x, **k):\n print('training', flush=True)\n return real(*x, **k)\n"
    ready += "a.train_by = train_by\nfrom cli.main import main\n"
    ready += f"sys.argv = {['vocab-transfer', *map(str, command[1:]), '--epochs', '5000']!r}\nmain()"
    with subprocess.Popen(
        [sys.executable, "-c", ready],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines() == ["error: interrupted; nothing was left half-written"]
    assert list(tmp_path.iterdir()) == []


def test_many_values_of_a_flag() -> None:
    flags = ("--slices",)
    assert repeat_flags(["--slices", "a", "b", "--out", "c"], flags) == [
        *("--slices", "a", "--slices", "b", "--out", "c")
    ]
    assert repeat_flags(["--slices"], flags) == ["--slices"]
    assert repeat_flags(["--slices", "--out", "c"], flags) == ["--slices", "--out", "c"]
    assert repeat_flags(["shift", "d", "--slices", "a", "-q"], flags) == ["shift", "d", "--slices", "a", "-q"]
    assert repeat_flags(["--slices=a", "b"], flags) == ["--slices=a", "b"]


def test_flags_have_the_defaults_of_the_library() -> None:
    of_library = {item.name: item.default for item in fields(CompassOptions)}
    for item in fields(VectorOptions):
        assert item.default is not MISSING
        assert item.default == of_library[item.name], item.name
    assert of_library.keys() - {item.name for item in fields(VectorOptions)} == {
        "min_learning_rate",
        "ns_exponent",
        "n_buckets",
    }
    assert tuple(map(get_args, (Method, Measure, Control))) == (METHODS, MEASURES, CONTROLS)
