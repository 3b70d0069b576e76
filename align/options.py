"""Options of the commands on spaces and parallel text: the one place of their defaults.

The flags and ``--help`` of the command line derive from these classes. Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal

from align.errors import UsageError

Retrieval = Literal["auto", "csls", "nn", "isf", "invnn"]
Protocol = Literal["muse", "vecmap", "xling", "fasttext"]
VectorFormat = Literal["npz", "vec", "bin", "safetensors", "none"]
Seeds = Literal["identical", "numerals", "cognates"]
AlignModel = Literal["hmm", "hmm-independent", "diagonal", "ibm1"]
Tokenize = Literal["words", "whitespace"]
Symmetrize = Literal[
    "soft",
    "soft-product",
    "soft-min",
    "intersect",
    "union",
    "grow-diag",
    "grow-diag-final",
    "grow-diag-final-and",
]


def option(default: Any, text: str, *, group: str = "Options") -> Any:
    """A field of an options class: its default (``MISSING``: it must be given), help text and group."""
    return field(default=default, metadata={"help": text, "group": group})


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """What decides a map between two spaces of word vectors."""

    src_vectors: Path = option(
        MISSING,
        "Word vectors of the source language (.vec .txt .bin .npz .npy .safetensors).",
        group="Material",
    )
    tgt_vectors: Path = option(MISSING, "Word vectors of the target language.", group="Material")
    lexicon: Path | None = option(None, "Training lexicon, source<TAB>target.", group="Material")
    src_limit: int = option(200_000, "Source words that are read, from the top.", group="Material")
    tgt_limit: int = option(200_000, "Target words that are read, from the top.", group="Material")
    lower: bool = option(
        False, "Lower-case the words of the vectors; the first of several spellings counts.", group="Material"
    )

    method: str = option(
        "auto", "How the spaces are aligned; `vocab-transfer methods` names all.", group="Method"
    )
    normalize: str = option(
        "auto", "Steps before the fit, such as unit,centre,unit; iterative; none.", group="Method"
    )
    seeds: Seeds | None = option(None, "Make the lexicon from strings.", group="Method")
    set: tuple[str, ...] = option((), "A setting of the method, NAME=VALUE; repeatable.", group="Method")
    seed: int = option(0, "Seed of everything that is drawn.", group="Method")
    threads: int | None = option(None, "Threads; by default all cores.", group="Method")

    vectors: VectorFormat = option(
        "npz", "Format of the mapped vectors that are written beside the map.", group="Output"
    )

    def __post_init__(self) -> None:
        _positive(self, "src_limit", "tgt_limit", "threads")
        _settings(self.set)


@dataclass(frozen=True, kw_only=True)
class InduceOptions:
    """What decides an induced lexicon: material, method and how the translations of a word are chosen."""

    src_vectors: Path | None = option(
        None, "Word vectors of the source language (.vec .txt .bin .npz .npy .safetensors).", group="Material"
    )
    tgt_vectors: Path | None = option(None, "Word vectors of the target language.", group="Material")
    lexicon: Path | None = option(None, "Training lexicon, source<TAB>target.", group="Material")
    parallel: tuple[Path, Path] | None = option(
        None, "Two line-aligned files; alone or as further evidence.", group="Material"
    )
    map: Path | None = option(None, "A map that `align` wrote, instead of --method.", group="Material")
    src_limit: int = option(200_000, "Source words that are read, from the top.", group="Material")
    tgt_limit: int = option(200_000, "Target words that are read, from the top.", group="Material")
    lower: bool = option(
        False, "Lower-case the words of the vectors; the first of several spellings counts.", group="Material"
    )

    method: str = option(
        "auto",
        "best, best-vectors, best-unsupervised, or a mapping method of `align`; auto is best with a lexicon, "
        "best-unsupervised without.",
        group="Method",
    )
    retrieval: Retrieval = option(
        "auto", "How a map's neighbours are ranked; auto is csls, or what --protocol takes.", group="Method"
    )
    normalize: str = option("auto", "Steps before the fit, such as unit,centre,unit.", group="Method")
    seeds: Seeds | None = option(None, "Make the training lexicon from strings.", group="Method")
    set: tuple[str, ...] = option((), "A setting of the method, NAME=VALUE; repeatable.", group="Method")
    seed: int = option(0, "Seed of everything that is drawn.", group="Method")
    threads: int | None = option(None, "Threads; by default all cores.", group="Method")

    words: Path | None = option(None, "Translate these words, one a line; all by default.", group="Result")
    top: int = option(1, "Translations of a word.", group="Result")
    script: str = option(
        "auto", "Candidates of one script: auto (the commonest), none, or a name (LATIN).", group="Result"
    )
    mutual: bool = option(False, "Keep pairs that are each other's best.", group="Result")
    min_score: float | None = option(None, "Keep translations with this score or better.", group="Result")
    min_count: float = option(2.0, "With --parallel: least expected number of links.", group="Result")

    test: Path | None = option(None, "Test lexicon: measure instead of translating.", group="Measurement")
    protocol: Protocol = option("muse", "Whose rules of counting.", group="Measurement")

    def __post_init__(self) -> None:
        _positive(self, "src_limit", "tgt_limit", "threads", "top")
        if (self.src_vectors is None) != (self.tgt_vectors is None):
            raise UsageError(
                "vectors are needed for both languages or for none",
                got="--src-vectors" if self.src_vectors else "--tgt-vectors",
                wanted="--src-vectors and --tgt-vectors",
            )
        if self.src_vectors is None and self.parallel is None:
            raise UsageError(
                "nothing to induce from", wanted="--src-vectors and --tgt-vectors, or --parallel SRC TGT"
            )
        if self.map is not None and (self.method != "auto" or self.seeds or self.set):
            raise UsageError("--map and --method exclude each other", hint="drop one of the two")
        _settings(self.set)


@dataclass(frozen=True, kw_only=True)
class WordsOptions:
    """What decides an alignment of parallel text word by word."""

    parallel: tuple[Path, Path] | None = option(
        None, "Two line-aligned files, source first (also .gz, .zst).", group="Material"
    )
    bitext: Path | None = option(
        None, "One file of both: source<TAB>target, source ||| target, TMX, .po or .mo.", group="Material"
    )
    columns: tuple[int, int] = option((1, 2), "Columns of a TSV --bitext, from 1.", group="Material")
    languages: tuple[str, str] | None = option(None, "Languages of a TMX --bitext.", group="Material")
    prior: Path | None = option(
        None,
        "What is known before: a lexicon, a probability table, links of this text, a saved model.",
        group="Material",
    )
    prior_weight: float = option(
        1.0, "Links in the text that a pair of --prior weighs as much as.", group="Material"
    )
    load: Path | None = option(
        None, "Align by a saved model, without learning from this text.", group="Material"
    )

    tokenize: Tokenize = option(
        "words",
        "Words: runs of letters and digits, and other marks one by one; or what white space divides.",
        group="Text",
    )
    keep_case: bool = option(False, "Do not lower-case.", group="Text")
    min_count: int = option(1, "Rarer words become one, <unk>.", group="Text")
    max_len: int = option(256, "Leave out pairs with a longer side, in words.", group="Text")
    max_ratio: float | None = option(
        None, "Leave out pairs with a side so many times as long as the other.", group="Text"
    )
    drop_identical: bool = option(False, "Leave out pairs of equal sides.", group="Text")
    drop_duplicates: bool = option(False, "Leave out pairs that came before.", group="Text")

    model: AlignModel = option(
        "hmm",
        "The HMM trained by agreement; or each direction alone, fast_align's model, Model 1.",
        group="Model",
    )
    n_iter: int = option(5, "Iterations.", group="Model")
    null_prob: float | None = option(
        None,
        "Prior probability of no link; 0.02, or 0.2 where a rule joins the links of independent directions.",
        group="Model",
    )
    symmetrize: Symmetrize = option(
        "soft", "From two directions to one: a rule on links, or the mean posterior (soft).", group="Model"
    )
    threshold: float = option(0.5, "What a soft link must exceed.", group="Model")
    executor: str = option(
        "serial", "serial, processes:N, or tcp://host:port of a Dask scheduler.", group="Model"
    )
    threads: int | None = option(None, "Threads; by default all cores.", group="Model")

    posteriors: bool = option(False, "Write links as i-j:0.93, with their probability.", group="Output")
    table: Path | None = option(
        None, "Lexical table: source, target, p(t|s), p(s|t), expected links, best first.", group="Output"
    )
    scores: Path | None = option(
        None, "Log-probability a word of every pair, both directions.", group="Output"
    )
    tokens: Path | None = option(None, "The words that links refer to, source ||| target.", group="Output")
    save: Path | None = option(
        None, "The trained model, for --load or --prior (.safetensors).", group="Output"
    )

    def __post_init__(self) -> None:
        if (self.parallel is None) == (self.bitext is None):
            raise UsageError(
                "nothing to align" if self.parallel is None else "--parallel and --bitext exclude each other",
                wanted="--parallel SRC TGT, or --bitext FILE",
            )
        for name in ("prior", "save"):
            if self.load is not None and getattr(self, name) is not None:
                raise UsageError(
                    f"--load and --{name} exclude each other",
                    hint="--prior MODEL learns from this text too"
                    if name == "prior"
                    else "drop one of the two",
                )
        for name in ("min_count", "max_len", "max_ratio", "n_iter", "threads"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UsageError(f"--{name.replace('_', '-')}", got=value, wanted="1 or more")
        if min(self.columns) < 1:
            raise UsageError("--columns", got=self.columns, wanted="numbers from 1")
        if self.null_prob is not None and not 0 < self.null_prob < 1:
            raise UsageError("--null-prob", got=self.null_prob, wanted="between 0 and 1")
        if not 0 <= self.threshold < 1:
            raise UsageError("--threshold", got=self.threshold, wanted="from 0 to below 1")
        if not (self.prior_weight >= 0 and self.prior_weight < float("inf")):
            raise UsageError("--prior-weight", got=self.prior_weight, wanted="0 or more")


def _positive(options: Any, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')}", got=value, wanted="a positive number")
    if options.seed < 0:
        raise UsageError("--seed", got=options.seed, wanted="a number >= 0")


def _settings(items: tuple[str, ...]) -> None:
    for item in items:
        if not item.partition("=")[1]:
            raise UsageError("--set", got=repr(item), wanted="NAME=VALUE")
