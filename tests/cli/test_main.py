from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vocab.pipeline
from align import __version__
from align.errors import ConvergenceError, InputError, OutputError, UnavailableError, UsageError
from cli.exit_codes import EXIT_CODES, exit_code, one_line
from tests.cli.conftest import Material, Run, save_source
from vocab.methods import METHODS

Command = Callable[..., Run]


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_transfer_says_what_it_did_on_stderr_only(cli: Command, material: Material) -> None:
    run = cli(*material.args, "--out", "tiny-sw")
    assert run.code == 0, run.err
    assert run.out == ""
    for said in (
        "method: trans-tokenization(smooth) (there is parallel text)",
        "tokenizer: byte-bpe (420 tokens as asked",
        "share of the text",
        "tokens per word",
        "new token",
        "written and verified",
        "next:",
    ):
        assert said in run.err
    assert sum(line.count(" mixed ") for line in run.err.splitlines()) == 1
    assert _listing(Path()) == [
        "tiny-sw",
        *(
            f"tiny-sw/{name}"
            for name in (
                "README.md",
                "config.json",
                "model.safetensors",
                "plan",
                "plan/plan.json",
                "plan/plan.safetensors",
                "tokenizer.json",
                "tokenizer_config.json",
                "transfer.json",
            )
        ),
    ]


def test_the_result_opens_without_another_step(finished: Path) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished, local_files_only=True)
    model = AutoModelForMaskedLM.from_pretrained(finished, local_files_only=True)
    batch = tokenizer("Habari za asubuhi", return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits
    assert logits.shape == (1, batch.input_ids.shape[1], len(tokenizer))
    assert torch.isfinite(logits).all()
    assert tokenizer.decode(batch.input_ids[0], skip_special_tokens=True).strip() == "Habari za asubuhi"


def test_json_is_all_there_is_on_stdout(cli: Command, material: Material) -> None:
    run = cli(*material.args, "--out", "tiny-sw", "--json")
    assert run.code == 0
    told = json.loads(run.out)
    assert told["out"] == str(Path("tiny-sw").resolve())
    assert told["rows"] == 420
    assert told["method"].startswith("special")
    assert "trans-tokenization" in told["method"]
    assert "written and verified" in run.err


def test_quiet_is_quiet(cli: Command, material: Material) -> None:
    assert cli(*material.args, "--out", "tiny-sw", "-q") == Run(0, "", "")


def test_verbose_tells_the_stages_and_their_time(cli: Command, material: Material) -> None:
    run = cli(*material.args, "--out", "tiny-sw", "-v")
    assert "… align the parallel text" in run.err
    assert re.search(r"write and verify the model +\d+\.\d", run.err)


def test_dry_run_writes_nothing(cli: Command, material: Material) -> None:
    before = _listing(material.source.parent)
    run = cli(*material.args, "--out", "deep/tiny-sw", "--dry-run")
    assert run.code == 0
    assert run.out == ""
    told = " ".join(run.err.split())  # the chain is longer than a line
    for said in ("trans-tokenization(smooth) > copy > constituents > mean", "size on disk", "nothing was"):
        assert said in told
    assert _listing(Path()) == []
    assert _listing(material.source.parent) == before


def test_dry_run_as_json(cli: Command, material: Material) -> None:
    figures = json.loads(cli(*material.args, "--dry-run", "--json", "-q").out)
    assert (figures["mode"], figures["method"]) == ("replace", "trans-tokenization(smooth)")
    assert figures["head_method"] is None
    assert figures["sentence_pairs"] == 200
    assert figures["vocabulary"] == 420
    assert figures["about_seconds"] > 0
    assert figures["about_memory_mb"] > 0


def test_without_out_the_name_says_source_and_language(cli: Command, material: Material) -> None:
    run = cli(*material.args, "--method", "mean")
    assert run.code == 0
    assert "output: tiny-sw (--out was not given)" in run.err
    assert (Path("tiny-sw") / "config.json").is_file()


def test_an_existing_output_stays_without_overwrite(cli: Command, material: Material) -> None:
    args = [*material.args, "--method", "mean", "--out", "tiny-sw"]
    assert cli(*args, "-q").code == 0
    first = (Path("tiny-sw") / "transfer.json").read_bytes()
    again = cli(*args)
    assert again.code == EXIT_CODES[OutputError] == 3
    assert "already exists" in again.err
    assert "--overwrite" in again.err
    assert (Path("tiny-sw") / "transfer.json").read_bytes() == first
    assert cli(*args, "--overwrite", "--seed", "1", "-q").code == 0
    assert (Path("tiny-sw") / "transfer.json").read_bytes() != first
    assert _listing(Path())[0] == "tiny-sw"  # nothing set aside is left over


def test_precision_and_padding(cli: Command, material: Material) -> None:
    from safetensors import safe_open

    flags = ["--dtype", "bfloat16", "--pad-to-multiple-of", "64"]
    run = cli(*material.args, *flags, "--method", "mean", "--out", "tiny-sw", "--threads", "1")
    assert run.code == 0
    assert "28 padding rows after the 420 tokens" in run.err
    with safe_open("tiny-sw/model.safetensors", framework="pt") as weights:
        rows = weights.get_tensor("roberta.embeddings.word_embeddings.weight")
    assert rows.shape[0] == 448
    assert str(rows.dtype) == "torch.bfloat16"


def test_version(cli: Command) -> None:
    assert cli("--version") == Run(0, f"vocab-transfer {__version__}\n", "")


def test_help_names_every_flag_and_command(cli: Command) -> None:
    run = cli("--help")
    assert run.code == 0
    assert run.err == ""
    for named in ("--src", "--tgt", "--parallel", "--dry-run", "--device", "explain", "env", "Examples"):
        assert named in run.out
    assert "--no-" not in run.out
    assert cli("explain", "-h").code == 0


def test_without_arguments_it_shows_help(cli: Command) -> None:
    run = cli()
    assert run.code == 2
    assert "Usage: vocab-transfer" in run.out


def test_explain(cli: Command, finished: Path) -> None:
    run = cli("explain", finished, "maji")
    assert run.code == 0
    assert run.err == ""
    assert re.match(r"\S*maji \(\w+\) = [\d.]+ \S+", run.out)
    assert len(run.out.splitlines()) == 1


def test_explain_as_json_by_id(cli: Command, finished: Path) -> None:
    by_name = json.loads(cli("explain", finished, "na", "--json").out)
    by_id = json.loads(cli("explain", finished, by_name["id"], "--json", "--top", 2).out)
    assert by_id["token"] == by_name["token"]
    assert by_id["terms"] == by_name["terms"][:2]
    assert by_name["origin"] in ("mixed", "copied", "composed")
    assert sum(term["weight"] for term in by_name["terms"]) <= 1.001


@pytest.mark.parametrize(
    ("token", "said"), [("xyzzyx", "no token 'xyzzyx'"), ("99999", "no such token id (got 99999")]
)
def test_explain_an_unknown_token(cli: Command, finished: Path, token: str, said: str) -> None:
    run = cli("explain", finished, token)
    assert run.code == 3
    assert run.out == ""
    assert said in run.err
    assert len(run.err.splitlines()) == 1


def test_explain_something_else(cli: Command) -> None:
    run = cli("explain", ".", "maji")
    assert run.code == 3
    assert len(run.err.splitlines()) == 1


def test_env(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = json.loads(cli("env", "--json").out)
    assert told["vocab-transfer"] == __version__
    assert told["HF_HUB_OFFLINE"] == "1"
    text = cli("env").out
    assert f"python: {told['python']}" in text.splitlines()
    assert "HF_TOKEN" not in text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (InputError("x"), 3),
        (OutputError("x"), 3),
        (ConvergenceError("x"), 4),
        (UnavailableError("x"), 5),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "big"), 3),
        (MemoryError(), 1),
        (RuntimeError("first\nsecond"), 1),
    ],
)
def test_every_error_is_one_line_and_a_code(
    cli: Command, material: Material, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(vocab.pipeline, "execute", fail)
    run = cli(*material.args, "-q")
    assert run.code == code == exit_code(error)
    lines = [line for line in run.err.splitlines() if line]
    assert lines == [f"error: {one_line(error)}"]
    assert _listing(Path()) == []


def test_debug_shows_where(cli: Command, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(vocab.pipeline, "execute", fail)
    assert "Traceback" not in cli(*material.args).err
    run = cli(*material.args, "--debug")
    assert run.code == 1
    assert "Traceback" in run.err
    assert 'RuntimeError("broken")' in run.err
    assert "error: unexpected RuntimeError: broken" in run.err


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_asked_for(cli: Command, material: Material, method: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    args = [*material.args, "--method", method, "--src-corpus", material.english, "--out", "model"]
    if "donor" in METHODS[method].needs:
        save_source(Path("donor"), "bert")
        at = args.index("--vocab-size")
        args[at : at + 2] = ["--donor", Path("donor").resolve()]
    if "donor-src" in METHODS[method].needs:
        args += ["--donor-src", material.source]
    run = cli(*args)
    assert run.code == 0, run.err
    told = json.loads((Path("model") / "transfer.json").read_text(encoding="utf-8"))
    assert method in told["method"]
    model = AutoModel.from_pretrained("model", local_files_only=True)
    rows = model.get_input_embeddings().weight.shape[0]
    assert rows == told["tokenizer"]["size"] == len(AutoTokenizer.from_pretrained("model"))
    assert str(Path.cwd()) not in json.dumps(told)


def test_the_installed_command(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("vocab-transfer"), "--version"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"vocab-transfer {__version__}\n", "")
