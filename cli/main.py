"""``vocab-transfer``: the transfer itself, and small commands around it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align import __version__
from align.errors import InputError, ToolkitError
from align.options import InduceOptions, MapOptions, WordsOptions
from cli.cache import cache_commands
from cli.compare import WITHOUT, compare_methods
from cli.compass import compass_commands
from cli.exit_codes import INTERRUPTED, exit_code, one_line, usage_error, with_flags_named
from cli.flags import Debug, DryRun, Json, Overwrite, Quiet, Verbose, Yes, with_flags
from cli.heads import heads_commands
from cli.resources import (
    FETCH,
    LIST,
    ask_first,
    fetch_resources,
    list_resources,
    own_files,
    selection_json,
    show,
)
from cli.screen import Screen, print_json
from cli.spaces import align_spaces, induce_lexicon
from cli.words import align_words
from vocab.options import TransferOptions

if TYPE_CHECKING:
    from vocab.resources.selection import Selection

app = typer.Typer(
    name="vocab-transfer",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DEBUG = "--debug"
_screen = Screen(0)


def _version(value: bool) -> None:
    if value:
        print(f"vocab-transfer {__version__}")
        raise typer.Exit


def transfer(
    context: typer.Context,
    options: TransferOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the finished model; by default SRC-TGT, SRC-trimmed or SRC-TOKENIZER."
        ),
    ] = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json_: Json = False,
    yes: Yes = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Move a language model to a new language: a new tokenizer, initialised embeddings, a finished model.

    [bold]Examples[/bold]

    vocab-transfer --src demo --tgt sw

    vocab-transfer --src roberta --tgt sw --dry-run

    vocab-transfer --src roberta --tgt sw

    vocab-transfer --src roberta --tgt sw --parallel train.en train.sw --out roberta-sw

    vocab-transfer --src roberta --tgt sw --fetch opus:GlobalVoices --fetch opus:auto --parallel my.en my.sw

    vocab-transfer --src ./my-model --tgt sw --corpus sw.txt --src-vectors en.bin --tgt-vectors sw.bin

    vocab-transfer --src ./my-model --tgt sw --mode extend --corpus sw.txt --out my-model-plus-sw

    vocab-transfer --src ./my-model --mode trim --corpus what-it-reads.txt

    vocab-transfer --src ./small-model --mode swap --donor ./large-model --out draft-model
    """
    if context.invoked_subcommand is not None:
        return
    if len(sys.argv) == 1:
        print(context.get_help())
        raise typer.Exit(2)
    _screen_at(-1 if quiet else verbose)
    from align.place import require_space
    from vocab.estimate import estimate, least_bytes
    from vocab.materials.survey import source_to_fetch
    from vocab.model_files.output import check_output
    from vocab.pipeline import execute, prepare

    folder = out or Path(f"{Path(options.src).name}-{_made_of(options)}")
    if out is None:
        _screen.decisions().add("output", str(folder), "--out was not given")
    if not dry_run:
        check_output(folder, overwrite=overwrite)

    def agree(selection: Selection) -> None:
        model = source_to_fetch(options)
        if not dry_run:
            ask_first(_screen, selection, yes=yes, model=model, own=own_files(options))
            return
        show(_screen, selection, model=model, own=own_files(options))
        if selection.to_fetch or model is not None:  # an estimate would need what is not here
            _screen.note("nothing was fetched, nothing was written")
            if json_:
                print_json({"out": str(folder), **selection_json(selection)})
            raise typer.Exit(0)

    prepared = prepare(options, agree=agree, decisions=_screen.decisions(), progress=_screen.progress())
    if dry_run:
        figures = estimate(prepared)
        _screen.prepared(prepared, figures)
        if json_:
            head_method = None if prepared.head_method is None else str(prepared.head_method)
            methods = {"method": str(prepared.method), "head_method": head_method}
            if options.mode == "trim":  # every row of it is a copy
                methods = {}
            print_json({"mode": options.mode, **methods, "out": str(folder), **figures})
        return
    require_space(folder.expanduser().resolve(), n_bytes=least_bytes(prepared))
    result = execute(prepared)
    written = result.save(folder, overwrite=overwrite)
    _screen.result(result, written)
    if json_:
        from vocab.model_files.card import provenance

        print_json({"out": str(written.path), "rows": written.n_rows, **provenance(result)})


def _screen_at(level: int) -> Screen:
    """The screen, when it and the libraries below have been told how much they may say."""
    _screen.level = level
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if level < 1:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when it is imported
    if level < 0:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        logging.getLogger("vocab").setLevel(logging.ERROR)
    return _screen


def _made_of(options: TransferOptions) -> str:
    """What sets the new model apart from the source, for its name."""
    if options.mode == "trim":
        return "trimmed"
    return Path(str(options.named_tokenizer)).name if options.mode == "swap" else options.tgt


_ON_TRANSFERS, _ON_MATERIAL, _ON_WORDS, _ON_ITSELF = (
    f"Commands: {what}"
    for what in ("transfers", "material", "word vectors and parallel text", "this installation")
)
app.callback(
    invoke_without_command=True,
    epilog="Exit codes: 0 done, 2 wrong flags, 3 input or output that cannot be used, 4 not converged, "
    "5 something is missing or cannot be fetched, 130 interrupted, 1 a bug.",
)(with_flags(TransferOptions, transfer))
app.command(rich_help_panel=_ON_TRANSFERS)(
    with_flags(TransferOptions, compare_methods(_screen_at), without=WITHOUT)
)
app.command(rich_help_panel=_ON_MATERIAL)(with_flags(TransferOptions, list_resources(_screen_at), only=LIST))
app.command(rich_help_panel=_ON_MATERIAL)(
    with_flags(TransferOptions, fetch_resources(_screen_at), only=FETCH)
)
app.command(rich_help_panel=_ON_WORDS)(with_flags(MapOptions, align_spaces(_screen_at)))
app.command(rich_help_panel=_ON_WORDS)(with_flags(InduceOptions, induce_lexicon(_screen_at)))
app.command(rich_help_panel=_ON_WORDS)(with_flags(WordsOptions, align_words(_screen_at)))
app.add_typer(compass_commands(_screen_at), name="compass", rich_help_panel=_ON_WORDS)
app.add_typer(cache_commands(_screen_at), name="cache", rich_help_panel=_ON_MATERIAL)
app.add_typer(heads_commands(_screen_at), name="heads", rich_help_panel=_ON_TRANSFERS)


@app.command(rich_help_panel=_ON_TRANSFERS)
def explain(
    model: Annotated[Path, typer.Argument(help="Directory that vocab-transfer wrote.")],
    token: Annotated[str, typer.Argument(help="A new token, with or without its word-start mark, or an id.")],
    top: Annotated[int, typer.Option(help="Old tokens shown.")] = 10,
    head: Annotated[
        bool, typer.Option("--head", help="The row of the output head, if it has its own.")
    ] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Say which old rows a new row is made of: habari = 0.71 news + 0.18 information.

    [bold]Examples[/bold]

    vocab-transfer explain roberta-sw habari
    """
    from vocab.plan import TransferPlan

    plan = TransferPlan.load(model, head=head)
    row: str | int = int(token) if token.isdigit() and token not in plan.tgt_tokens else token
    try:
        explanation = plan.explain(row, top=top)
    except InputError as error:
        if isinstance(row, int):
            raise
        raise InputError(error.what, hint=_split(model, row)) from error
    if head:
        _tell_head(model)
    if json_:
        print_json(
            {
                "token": explanation.token,
                "id": explanation.token_id,
                "origin": explanation.origin,
                "terms": [{"token": old, "weight": weight} for old, weight in explanation.terms],
            }
        )
    else:
        print(explanation)


@app.command(rich_help_panel=_ON_TRANSFERS)
def methods(
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Name the methods of transfers, of align and of induce."""
    from align.induction.inducers import PRESETS
    from align.mapping.methods import METHODS as MAPPINGS
    from vocab.methods import METHODS

    tables = {
        "transfer": {name: entry.summary for name, entry in METHODS.items()},
        "induce": PRESETS,
        "align, induce": {name: entry.summary for name, entry in MAPPINGS.items()},
    }
    if json_:
        print_json(tables)
        return
    for command, table in tables.items():
        print(f"{command}:")
        print("\n".join(f"  {name:<22} {summary}" for name, summary in table.items()))


@app.command(rich_help_panel=_ON_ITSELF)
def env(
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Print versions, processors, memory and hub settings, for a bug report."""
    from cli.environment import environment

    found = environment()
    if json_:
        print_json(found)
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))


def _tell_head(model: Path) -> None:
    """Say whose row it is where the head has no plan of its own."""
    from vocab.model_files.surgery import head_of
    from vocab.plan.files import HEAD_FOLDER

    if (model / HEAD_FOLDER).is_dir() or not (model / "config.json").is_file():
        return
    try:
        head: str = head_of(model)
    except ToolkitError:  # factors, or code of the model's own
        head = "unknown"
    _screen.note(_WHOSE_ROW[head])


_WHOSE_ROW = {
    "own": "the head has no plan of its own: its rows are made as the input's",
    "tied": "input and head are one matrix: this is its row",
    "none": "the model has no output head: this is the input's row",
    "unknown": "the head has no plan of its own: this is the input's row",
}


def _split(model: Path, text: str) -> str | None:
    """What the tokenizer makes of a text, as a next step."""
    from vocab.tokenizer.loading import load_tokenizer

    try:
        tokens = load_tokenizer(model).tokenize(text)
    except ToolkitError:
        return None
    return f"it is split into {' '.join(tokens)}; give one of them, or an id"


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _screen.warning(with_flags_named(str(message)))


def main() -> None:
    """Run the command and turn every error into one line and an exit code."""
    warnings.showwarning = _show_warning
    try:
        command = typer.main.get_command(app)
        code = command.main(args=sys.argv[1:], prog_name="vocab-transfer", standalone_mode=False)
        if code == INTERRUPTED:  # the parser has caught the interrupt and turned it into this
            raise KeyboardInterrupt
        sys.exit(code or 0)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        sys.exit(_report(error))


def _report(error: BaseException) -> int:
    _screen.stop()
    if _DEBUG in sys.argv[1:]:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        error = error.__cause__ or KeyboardInterrupt()
    explain_usage = getattr(error, "format_message", None)  # of the parser's own errors
    if explain_usage is not None:
        error = usage_error(error, explain_usage())
    tell = _screen.interrupted if isinstance(error, KeyboardInterrupt) else _screen.error
    tell(one_line(error))
    return exit_code(error)
