"""`vocab-transfer --src roberta --tgt sw` and the commands around it, against a server on 127.0.0.1."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from tests.cli.conftest import Material, Run
from tests.vocab.fake_hub import FakeHub, serving
from tests.vocab.fake_opus import API, FakeOpus, bundled_pairs
from vocab import demo

Command = Callable[..., Run]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serving(monkeypatch, tmp_path / "cache") as server:
        yield server
    close_session()


@pytest.fixture
def corpora(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeOpus:
    """Five corpora of 40 to 120 of the bundled pairs."""
    served, pairs = FakeOpus(hub, monkeypatch), bundled_pairs()
    served.add("GlobalVoices", [*pairs[:120], ("same", "same"), pairs[0]], version="v2018q4")
    served.add("Tatoeba", pairs[120:200], codes=("en", "swh"))
    served.add("Tanzil", pairs[200:280])
    served.add("WikiMatrix", pairs[280:320])
    served.add("CCMatrix", pairs[320:360], n_pairs=5_756_664)
    served.entries[-1]["size"] = 900_000
    return served


def test_one_command(
    cli: Command, corpora: FakeOpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No flag but the two; then nobody is asked again; then the network may be gone."""
    files = [path for path in demo.path().iterdir() if path.suffix in (".json", ".safetensors")]
    corpora.hub.add("FacebookAI/roberta-base", {path.name: path.read_bytes() for path in files})
    command = [Path(sys.executable).with_name("vocab-transfer"), "--src", "roberta", "--tgt", "sw"]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    for said in (
        "\nFacebookAI/roberta-base  model ",
        "\nGlobalVoices v2018q4     parallel  en-sw ",
        "in this order: translated, other, subtitles",
        "to fetch: 4 files",
        "opus:auto: 4 of 5 corpora",
        "GlobalVoices v2018q4: 120 of 122 sentence pairs; left out: 1 of identical sides, 1 that came before",
        "written and verified",
    ):
        assert said in run.stderr
    assert "[y/N]" not in run.stderr
    told = json.loads(Path("roberta-sw/transfer.json").read_text(encoding="utf-8"))
    voices = told["inputs"][0]
    assert len(voices["sha256"]) == 64
    assert voices["url"].endswith("/v2018q4/moses/en-sw.txt.zip")
    assert (voices["licence"], voices["version"]) == ("CC BY 4.0, as its makers say", "v2018q4")
    assert voices["pairs"] == {"read": 122, "drawn": 122, "kept": 120}
    assert voices["dropped"] == {"of identical sides": 1, "that came before": 1}
    assert [entry["name"] for entry in told["opus_auto"]["taken"]] == [
        "GlobalVoices v2018q4",
        "Tatoeba v1",
        "WikiMatrix v1",
        "Tanzil v1",
    ]
    assert told["opus_auto"]["left"] == [
        {"name": "CCMatrix v1", "languages": "en-sw", "why": "its 900 MB would exceed 500 MB"}
    ]
    card = Path("roberta-sw/README.md").read_text(encoding="utf-8")
    assert f"[GlobalVoices v2018q4]({voices['url']}) | CC BY 4.0, as its makers say | 120 of 122" in card

    n_asked = len(corpora.hub.requests)
    quick = ["--method", "mean", "--vocab-size", "400", "--overwrite"]
    again = cli("--src", "roberta", "--tgt", "sw", *quick)
    assert again.code == 0, again.err
    assert "to fetch: nothing" in again.err
    assert len(corpora.hub.requests) == n_asked
    corpora.hub.stop()
    try:
        offline = cli("--src", "roberta", "--tgt", "sw", *quick, "--offline")
    finally:
        corpora.hub.start(corpora.hub.port)
    assert offline.code == 0, offline.err
    assert "warning" not in offline.err
    assert len(corpora.hub.requests) == n_asked
    later = json.loads(Path("roberta-sw/transfer.json").read_text(encoding="utf-8"))
    assert later["inputs"] == told["inputs"]


def _small(material: Material) -> list[object]:
    """A transfer of a second, but for its text."""
    flags = ["--vocab-size", "420", "--method", "mean", "--out", "tiny-sw"]
    return ["--src", material.source, "--tgt", "sw", *flags]


def test_dry_run_shows_the_table_and_fetches_nothing(
    cli: Command, corpora: FakeOpus, material: Material, tmp_path: Path
) -> None:
    run = cli(*_small(material), "--dry-run", "--json")
    assert run.code == 0, run.err
    assert "Tatoeba v1" in run.err
    assert "nothing was fetched" in run.err
    told = json.loads(run.out)
    assert [r["name"] for r in told["resources"]] == ["GlobalVoices", "Tatoeba", "WikiMatrix", "Tanzil"]
    assert {request.path for request in corpora.hub.requests} == {API}
    assert not list((tmp_path / "cache").rglob("*.zip"))
    assert not Path("tiny-sw").exists()


def test_named_corpora_join_what_is_given(cli: Command, corpora: FakeOpus, material: Material) -> None:
    asked = ["--fetch", "opus:Tatoeba", "--fetch", "opus:auto", "--exclude", "wiki*", "--exclude", "Tanzil"]
    run = cli(*_small(material), "--parallel", material.english, material.swahili, *asked)
    assert run.code == 0, run.err
    told = json.loads(Path("tiny-sw/transfer.json").read_text(encoding="utf-8"))
    kinds = [(entry["kind"], entry["name"]) for entry in told["inputs"]]
    assert kinds[:4] == [
        ("parallel", "train.en"),
        ("parallel", "train.sw"),
        ("fetched parallel", "Tatoeba"),
        ("fetched parallel", "GlobalVoices"),
    ]
    # the given pairs are left as they are; of the fetched ones those among them count as pairs of their own
    assert "Tatoeba v1: 80 of 80 sentence pairs (named)" in run.err


def test_the_demo_asks_nobody(cli: Command, corpora: FakeOpus) -> None:
    run = cli("--src", "demo", "--tgt", "sw", "--dry-run")
    assert run.code == 0
    assert "bundled sentence pairs" in run.err
    assert "warning" not in run.err
    assert corpora.hub.requests == []


def test_more_than_the_limit_is_refused_without_a_terminal(
    cli: Command, corpora: FakeOpus, material: Material
) -> None:
    run = cli(*_small(material), "--fetch", "opus:CCMatrix")
    assert run.code == 2
    assert (
        "error: 900 MB would be fetched (wanted at most --max-mb 500). Pass --yes or --max-mb 900" in run.err
    )
    assert corpora.hub.gets(".zip") == []
    for flags in (["--yes"], ["--max-mb", "900"]):
        run = cli(*_small(material), "--fetch", "opus:CCMatrix", *flags, "--overwrite")
        assert run.code == 0, run.err


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 130), ("", 130)])
def test_more_than_the_limit_is_asked_for_on_a_terminal(
    cli: Command,
    corpora: FakeOpus,
    material: Material,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which rich takes stderr for a terminal
    run = cli(*_small(material), "--fetch", "opus:CCMatrix")
    assert run.code == code, run.err
    assert "Fetch 900 MB? [y/N]" in run.err
    assert len(corpora.hub.gets(".zip")) == (code == 0)


def test_without_a_network_the_bundled_pairs_do(
    cli: Command, hub: FakeHub, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOCAB_TRANSFER_OPUS_URL", "http://127.0.0.1:9/")
    run = cli(*_small(material))
    assert run.code == 0, run.err
    warned = [line for line in run.err.splitlines() if line.startswith("warning")]
    assert len(warned) == 1
    for said in ("1,718 sentence pairs", "very little", "`vocab-transfer fetch sw opus:auto --to kit`"):
        assert said in warned[0]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([], "OPUS's corpora of en-tt could not be looked up"),
        (
            ["--offline"],
            "offline mode is on, and OPUS's corpora of en-tt were never looked up here (http://127.0.0.1:9/?",
        ),
    ],
)
def test_without_a_network_and_a_bundled_text(
    cli: Command, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, flags: list[str], reason: str
) -> None:
    monkeypatch.setenv("VOCAB_TRANSFER_OPUS_URL", "http://127.0.0.1:9/")
    run = cli("--src", "roberta", "--tgt", "tt", "-q", *flags)
    assert run.code == 5
    assert len(run.err.splitlines()) == 1
    for said in (
        "there is no text in Tatar",
        reason,
        "`hf download FacebookAI/roberta-base --local-dir roberta-base` and ",
        "`vocab-transfer fetch tt opus:auto --to kit`",
        "`vocab-transfer --src ./roberta-base --tgt tt --resources kit`",
    ):
        assert said in run.err


def test_corpora_asked_for_by_name_without_a_network(
    cli: Command, monkeypatch: pytest.MonkeyPatch, material: Material
) -> None:
    monkeypatch.setenv("VOCAB_TRANSFER_OPUS_URL", "http://127.0.0.1:9/")
    run = cli(
        "--src", material.source, "--tgt", "tt", "--src-lang", "ru", "--fetch", "opus:auto", "--offline"
    )
    assert run.code == 5
    assert "run `vocab-transfer fetch tt opus:auto --src-lang ru --to kit`, copy what is written" in run.err
    assert "here give `--resources kit` instead of --fetch." in run.err


def test_a_language_that_opus_does_not_have(cli: Command, corpora: FakeOpus, material: Material) -> None:
    run = cli("--src", material.source, "--tgt", "tt", "-q")
    assert run.code == 5
    assert "OPUS has no corpora of English-Tatar" in run.err
    assert len(run.err.splitlines()) == 1


def test_a_corpus_that_fails_is_left_out(cli: Command, corpora: FakeOpus, material: Material) -> None:
    broken = corpora.hub.gets  # the server has it, and it is no archive
    path = "/files/OPUS-Tatoeba/v1/moses/en-swh.txt.zip"
    corpora.hub.files[path] = b"PK no archive"
    run = cli(*_small(material))
    assert run.code == 0, run.err
    assert "warning: Tatoeba v1 is left out" in run.err
    named = cli(*_small(material), "--fetch", "opus:Tatoeba", "--overwrite", "-q")
    assert named.code == 5
    assert len(named.err.splitlines()) == 1
    assert broken(".zip")


def test_when_every_corpus_fails_the_bundled_pairs_do(
    cli: Command, corpora: FakeOpus, material: Material
) -> None:
    for path in list(corpora.hub.files):
        corpora.hub.files[path] = b"PK no archive"
    run = cli(*_small(material))
    assert run.code == 0, run.err
    assert "none of the 4 corpora that were chosen can be used" in run.err
    assert "1,718 sentence pairs" in run.err
    run = cli(*_small(material), "--fetch", "opus:auto", "--overwrite", "-q")
    assert run.code == 5


def test_what_there_is_for_a_language(cli: Command, corpora: FakeOpus) -> None:
    run = cli("resources", "swahili")
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert lines[0].split() == ["name", "kind", "languages", "pairs", "MB", "licence", "from"]
    names = [line.split()[0] for line in lines[1:]]
    assert names[:5] == ["GlobalVoices", "Tatoeba", "WikiMatrix", "CCMatrix", "Tanzil"]
    assert {"en-sw.sentences.tsv", "en-sw.tsv"} <= set(names)
    told = json.loads(cli("resources", "sw", "--json").out)
    assert told[0]["name"] == "GlobalVoices"
    assert told[0]["cached"] is False
    assert cli("resources", "klingonish").code == 2


def test_a_kit_for_a_machine_without_a_network(
    cli: Command, corpora: FakeOpus, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cli("fetch", "sw", "opus:Tatoeba", "opus:auto", "hf:org/data/more.tsv", "--to", "kit", "--json")
    assert made.code == 3  # there is no such data set
    assert "no such data set on the hub" in made.err
    corpora.hub.add("org/data", {"more.tsv": b"good morning my friend\thabari za asubuhi rafiki\n"})
    made = cli("fetch", "sw", "opus:Tatoeba", "opus:auto", "hf:org/data/more.tsv", "--to", "kit", "--json")
    assert made.code == 0, made.err
    assert "kit/resources.json" not in json.loads(made.out)["files"]
    assert sorted(path.suffix for path in Path("kit").rglob("*") if path.is_file()) == [
        ".json",
        ".tsv",
        *[".zip"] * 4,
    ]
    n_asked = len(corpora.hub.requests)
    monkeypatch.setenv("VOCAB_TRANSFER_CACHE", str(Path("another").resolve()))
    run = cli(*_small(material), "--resources", "kit")
    assert run.code == 0, run.err
    assert len(corpora.hub.requests) == n_asked
    told = json.loads(Path("tiny-sw/transfer.json").read_text(encoding="utf-8"))
    assert {entry["name"] for entry in told["inputs"] if "licence" in entry} >= {
        "Tatoeba",
        "org/data/more.tsv",
    }

    damaged = next(Path("kit").rglob("Tatoeba.v1.en-swh.zip"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    run = cli(*_small(material), "--resources", "kit", "--overwrite", "-q")
    assert run.code == 3
    assert "not what was written" in run.err
    assert "resources of other languages" in cli("--src", "x/y", "--tgt", "fr", "--resources", "kit").err


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_keeps_the_part(corpora: FakeOpus, tmp_path: Path, terminal: bool) -> None:
    path = "/files/OPUS-GlobalVoices/v2018q4/moses/en-sw.txt.zip"
    n_sent = len(corpora.hub.files[path]) // 2
    corpora.hub.stalls[path] = [n_sent]
    part = tmp_path / "cache" / "opus" / "GlobalVoices.v2018q4.en-sw.zip.part"
    command = [
        Path(sys.executable).with_name("vocab-transfer"),
        "fetch",
        "sw",
        "opus:GlobalVoices",
        "--to",
        "kit",
    ]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    place = {"cwd": tmp_path, "env": {**os.environ, "TERM": "xterm", "COLUMNS": "100"}}
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, **place) as process:
        os.close(theirs)
        said = threading.Thread(target=lambda: written.extend(_read_all(ours)))
        written: list[bytes] = []
        said.start()
        deadline = time.monotonic() + 60
        while not part.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # in which it hears of no more bytes
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        said.join()
    os.close(ours)
    err = b"".join(written).decode()
    assert ("\x1b[?25l" in err) == terminal  # the cursor is hidden while there is a bar
    assert err.rfind("\x1b[?25h") >= err.rfind("\x1b[?25l")
    last = re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", err.splitlines()[-1])
    kept = f"{n_sent:,} bytes of GlobalVoices v2018q4 are kept, the same command continues there"
    assert last.strip() == f"error: interrupted; {kept}"
    assert not (tmp_path / "kit").exists()
    corpora.hub.go_on.set()
    again = subprocess.run(command, capture_output=True, text=True, **place)
    assert again.returncode == 0, again.stderr
    assert corpora.hub.gets(".zip")[-1].range == f"bytes={n_sent}-"


def _read_all(end: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # a terminal that nobody has open any more
        while data := os.read(end, 1 << 16):
            yield data


def test_a_kit_of_what_is_in_the_cache(cli: Command, corpora: FakeOpus) -> None:
    nothing = cli("fetch", "sw", "opus:Tatoeba", "--to", "kit", "--offline")
    assert nothing.code == 5
    assert "offline mode is on, and OPUS's corpora of en-sw were never looked up here (http" in nothing.err
    assert "Where there is a network run the same command, and copy the directory" in nothing.err
    assert corpora.hub.requests == []
    assert cli("resources", "sw").code == 0  # by which the list is kept
    n_asked = len(corpora.hub.requests)
    for name in ("Tatoeba", "CCMatrix"):  # of the other more would be fetched than without a question
        missing = cli("fetch", "sw", f"opus:{name}", "--to", "kit", "--offline")
        assert missing.code == 5
        line = missing.err.splitlines()[-1]
        assert f"{name} v1 is not at " in line
        assert "and offline mode is on. Where there is a network, fetch http" in line
    assert not Path("kit").exists()
    assert len(corpora.hub.requests) == n_asked
    assert cli("fetch", "sw", "opus:Tatoeba", "--to", "online").code == 0
    n_asked = len(corpora.hub.requests)
    made = cli("fetch", "sw", "opus:Tatoeba", "--to", "kit", "--offline", "--json")
    assert made.code == 0, made.err
    assert len(json.loads(made.out)["files"]) == 1
    assert len(corpora.hub.requests) == n_asked


def test_a_directory_that_a_person_filled(
    cli: Command, hub: FakeHub, material: Material, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "talks.en").write_bytes(material.english.read_bytes())
    (folder / "talks.sw").write_bytes(material.swahili.read_bytes())
    (folder / "more.en-sw.tsv").write_text(
        "good morning my friend\thabari za asubuhi rafiki\n", encoding="utf-8"
    )
    (folder / "news.sw.txt").write_text("watoto wanacheza mpira uwanjani\n", encoding="utf-8")
    (folder / "lexicon.tsv").write_bytes(material.lexicon.read_bytes())
    (folder / "notes.md").write_text("nothing", encoding="utf-8")
    run = cli(*_small(material), "--resources", folder)
    assert run.code == 0, run.err
    assert "talks.sw: 200 of 200 sentence pairs (in the directory)" in run.err
    assert "more.en-sw.tsv: 1 of 1 sentence pairs" in run.err
    told = json.loads(Path("tiny-sw/transfer.json").read_text(encoding="utf-8"))
    assert sorted(entry["name"] for entry in told["inputs"]) == sorted(
        ["talks.en", "talks.sw", "more.en-sw.tsv", "news.sw.txt", "lexicon.tsv"]
    )
    assert hub.requests == []
    (folder / "empty").mkdir()
    run = cli(*_small(material), "--resources", folder / "empty", "--overwrite")
    assert run.code == 5
    assert "NAME.en and NAME.sw" in run.err
    assert cli(*_small(material), "--resources", folder / "none", "--overwrite").code == 3


def test_files_of_a_data_set_on_the_hub(cli: Command, corpora: FakeOpus, material: Material) -> None:
    english, swahili = material.english.read_bytes(), material.swahili.read_bytes()
    corpora.hub.add("org/data", {"dev/t.en": english, "dev/t.sw": swahili}, revision="v2")
    files = ["--fetch", "hf:org/data/dev/t.en@v2", "--fetch", "hf:org/data/dev/t.sw@v2"]
    run = cli(*_small(material), *files)
    assert run.code == 0, run.err
    assert "200 of 200 sentence pairs (named)" in run.err
    told = json.loads(Path("tiny-sw/transfer.json").read_text(encoding="utf-8"))
    commit = corpora.hub.repos["org/data"].revisions["v2"]
    assert told["inputs"][0]["url"].endswith(f"/datasets/org/data/resolve/{commit}/dev/t.en")
    n_asked = len(corpora.hub.requests)
    assert cli(*_small(material), *files, "--overwrite", "--offline").code == 0
    assert len(corpora.hub.requests) == n_asked
    for wrong, code, said in (
        ("hf:org/data/t.json", 2, "does not say what is in the file"),
        ("hf:org/data/none.tsv", 3, "no such"),
        ("hf:org/none/t.tsv", 3, "no such data set"),
    ):
        run = cli(*_small(material), "--fetch", wrong, "--overwrite", "-q")
        assert (run.code, len(run.err.splitlines())) == (code, 1), run.err
        assert said in run.err
