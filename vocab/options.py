"""Options of a transfer: the one place of their defaults.

The command line's flags and ``--help``, the library's keywords and the provenance file all derive from
:class:`TransferOptions`. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from align.errors import UsageError
from align.short_repr import short_repr
from vocab.resources.requests import parse

Mode = Literal["replace", "extend", "trim", "swap"]
Device = Literal["auto", "cpu", "cuda"]
DType = Literal["keep", "float32", "float16", "bfloat16"]
HeadNorm = Literal["none", "sources", "source-mean", "script-median"]
Norm = Literal["auto", "none", "sources", "source-mean", "script-median"]
Lines = str | Path | Sequence[str]  # a file, or the lines themselves


def _option(default: Any, text: str, *, group: str = "Transfer") -> Any:
    return field(default=default, metadata={"help": text, "group": group})


@dataclass(frozen=True)
class TransferOptions:
    """Everything that decides a transfer; see each field's ``metadata["help"]``."""

    src: str = _option(
        "demo", "Source model: demo, an alias (roberta), org/name on the hub, or a local directory."
    )
    tgt: str = _option("sw", "Target language: an ISO 639 code (sw, swa, sw_KE) or a name (swahili).")
    mode: Mode = _option(
        "replace",
        "What becomes of the vocabulary: replace it; extend it by tokens of the target language; trim it to "
        "what --corpus uses or a script needs; swap it for --tokenizer's, for the same language.",
    )
    method: str = _option(
        "auto",
        "Initialisation: auto, a name, a chain `a > b`, or a mixture `0.7*a + 0.3*b`; "
        "options of a method stand in brackets: `constituents(last)`, `wechsel(neighbors=5)`. "
        "`vocab-transfer methods` names all.",
    )
    head_method: str | None = _option(
        None, "The same for the rows of an output head that is not tied; by default they follow --method."
    )
    vocab_size: int | None = _option(None, "Size of the new vocabulary; by default chosen from the text.")
    add_tokens: int | None = _option(None, "Number of new tokens (extend); by default chosen from the text.")
    min_count: int = _option(1, "Keep tokens that --corpus uses at least so often (trim).")
    scripts: tuple[str, ...] = _option(
        (),
        "Keep tokens of this script, Latin or Latn (trim); repeatable. By default, without --corpus, the one "
        "of --tgt.",
    )
    tokenizer: str | None = _option(
        None, "Use this tokenizer (directory, tokenizer.json or org/name) instead of training one."
    )
    norm: Norm = _option(
        "auto",
        "Rescale mixed input rows: to the norm of their sources, to the mean of all old rows (source-mean), "
        "or to the median of the old rows of their script (script-median); auto is sources for "
        "trans-tokenization, else none.",
    )
    head_norm: HeadNorm = _option(
        "none",
        "The same for the mixed rows of an untied head (others, as those of `constituents(last)`, keep their "
        "length); longer head rows were seen to make models over-confident.",
    )
    seed: int = _option(0, "Seed of everything that is drawn.")

    parallel: tuple[Lines, Lines] | None = _option(
        None, "Two line-aligned files: the source model's language, then the target's.", group="Material"
    )
    parallel_tsv: tuple[Path, ...] = _option(
        (), "Sentence pairs as source<TAB>target lines; repeatable.", group="Material"
    )
    alignment: Path | None = _option(
        None, "Links between the words of --parallel, as fast_align and eflomal write them.", group="Material"
    )
    corpus: tuple[Lines, ...] = _option((), "Text in the target language; repeatable.", group="Material")
    src_corpus: tuple[Lines, ...] = _option(
        (), "Text in the source language, to train word vectors on; repeatable.", group="Material"
    )
    lexicon: Path | None = _option(
        None,
        "Bilingual lexicon, source<TAB>target; by default the bundled one, where there is one.",
        group="Material",
    )
    src_vectors: Path | None = _option(
        None,
        "Word vectors of the source language (.vec .txt .bin .npz .npy .safetensors).",
        group="Material",
    )
    tgt_vectors: Path | None = _option(None, "Word vectors of the target language.", group="Material")
    donor: str | None = _option(
        None,
        "Model that speaks the target tokenizer already (omp, common-interpolation, clp, clp-plus, recycle).",
        group="Material",
    )
    donor_src: str | None = _option(
        None,
        "Model of the donor's size that speaks the source's tokenizer: the donor's own source (recycle).",
        group="Material",
    )
    src_lang: str = _option("en", "Language of the source side of the material.", group="Material")

    fetch: tuple[str, ...] = _option(
        (),
        "What to fetch: opus:auto, opus:NAME or NAME@VERSION, text:NAME, vectors:cc (gigabytes) or "
        "vectors:cc.vec, hf:ORG/NAME/PATH or PATH@REVISION, none; repeatable. By default opus:auto where no "
        "text is given.",
        group="Resources",
    )
    resources: Path | None = _option(
        None,
        "Directory of resources that `vocab-transfer fetch --to` wrote, or one filled by hand.",
        group="Resources",
    )
    fetch_pairs: int = _option(300_000, "Sentence pairs that opus:auto wants.", group="Resources")
    prefer: tuple[str, ...] = _option(
        (), "Corpora that opus:auto takes first, such as QED or ELRC*; repeatable.", group="Resources"
    )
    exclude: tuple[str, ...] = _option(
        (), "Corpora that opus:auto does not take; repeatable.", group="Resources"
    )
    max_mb: int = _option(500, "Megabytes that are fetched without a question.", group="Resources")
    offline: bool = _option(False, "Use what is on this machine; ask no server.", group="Resources")

    revision: str | None = _option(None, "Branch, tag or commit of the source model.", group="Hub")
    cache_dir: Path | None = _option(None, "Hub cache; by default HF_HOME decides.", group="Hub")
    trust_remote_code: bool = _option(False, "Run code that comes with the source model.", group="Hub")

    device: Device = _option("auto", "Where the new model is tried out: auto, cpu or cuda.", group="Output")
    dtype: DType = _option("keep", "Precision of the written weights.", group="Output")
    rank: int | None = _option(
        None,
        "Give the input embeddings this rank, as OFA does; folded back to full size (replace, extend).",
        group="Output",
    )
    keep_factorized: bool = _option(
        False,
        "Keep the two factors of --rank, which vocab.load_factorized opens and AutoModel refuses.",
        group="Output",
    )
    pad_to_multiple_of: int | None = _option(
        None, "Pad the vocabulary's rows to a multiple of this.", group="Output"
    )
    threads: int | None = _option(None, "Threads; by default all cores.", group="Output")

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if self.vocab_size is not None and self.vocab_size < 1:
            raise UsageError("--vocab-size", got=self.vocab_size, wanted="a positive number")
        if self.pad_to_multiple_of is not None and self.pad_to_multiple_of < 1:
            raise UsageError("--pad-to-multiple-of", got=self.pad_to_multiple_of, wanted="a positive number")
        if self.rank is not None and self.rank < 1:
            raise UsageError("--rank", got=self.rank, wanted="a positive number")
        if self.keep_factorized and self.rank is None:
            raise UsageError("--keep-factorized keeps the factors of --rank", wanted="--rank too")
        if self.threads is not None and self.threads < 1:
            raise UsageError("--threads", got=self.threads, wanted="a positive number")
        if self.seed < 0:
            raise UsageError("--seed", got=self.seed, wanted="a number >= 0")
        self._check_mode()
        if self.named_tokenizer is not None and self.vocab_size is not None:
            flag = "--tokenizer" if self.tokenizer is not None else "--donor"
            raise UsageError(f"{flag} and --vocab-size exclude each other", hint="drop one of the two")
        if (self.src_vectors is None) != (self.tgt_vectors is None):
            raise UsageError(
                "vectors are needed for both languages or for none",
                got="--src-vectors" if self.src_vectors else "--tgt-vectors",
                wanted="--src-vectors and --tgt-vectors",
            )
        if self.donor_src is not None and self.donor is None:
            raise UsageError("--donor-src is the source of a donor", wanted="--donor too")
        if self.alignment is not None and self.parallel is None and not self.parallel_tsv:
            raise UsageError("--alignment is of sentence pairs", wanted="--parallel or --parallel-tsv too")
        brings_pairs = [item for item in self.fetch if parse(item).source in ("opus", "hf")]
        if self.alignment is not None and (brings_pairs or self.resources is not None):
            raise UsageError("--alignment is of --parallel alone, without fetched pairs")
        for flag, value in (("--fetch-pairs", self.fetch_pairs), ("--max-mb", self.max_mb)):
            if value < 1:
                raise UsageError(flag, got=value, wanted="a positive number")

    def _check_mode(self) -> None:
        default = {item.name: item.default for item in fields(self)}
        if set(self.fetch) == {"none"}:  # what every mode can do
            default["fetch"] = self.fetch
        for modes, names, why in _MODES:
            given = [name for name in names if getattr(self, name) != default[name]]
            if given and self.mode not in modes:
                raise UsageError(f"--{given[0].replace('_', '-')} does not go with --mode {self.mode}: {why}")
        if self.mode == "swap" and self.named_tokenizer is None:
            raise UsageError("--mode swap needs a tokenizer", wanted="--tokenizer or --donor")
        if self.corpus and self.scripts:
            raise UsageError("--corpus and --scripts exclude each other", hint="drop one of the two")
        if self.add_tokens is not None and self.vocab_size is not None:
            raise UsageError("--add-tokens and --vocab-size exclude each other", hint="drop one of the two")
        for flag, value in (("--add-tokens", self.add_tokens), ("--min-count", self.min_count)):
            if value is not None and value < 1:
                raise UsageError(flag, got=value, wanted="a positive number")

    @property
    def named_tokenizer(self) -> str | None:
        """The tokenizer to use instead of training one: the one named, or the donor model's."""
        return self.tokenizer or self.donor

    def as_json(self) -> dict[str, Any]:
        """The options as they are written down: files by name, lines by their number."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


# The modes that options go with, and why the others refuse them.
_MODES: tuple[tuple[tuple[Mode, ...], tuple[str, ...], str], ...] = (
    (("extend",), ("add_tokens",), "only extend adds tokens"),
    (("trim",), ("min_count", "scripts"), "only trim leaves tokens out"),
    (("replace", "extend"), ("rank", "keep_factorized"), "its rows are the old ones"),
    (("replace", "swap"), ("tokenizer", "donor", "donor_src"), "it makes its own tokenizer"),
    (
        ("replace", "extend", "swap"),
        ("method", "head_method", "norm", "head_norm"),
        "every row of it is a copy",
    ),
    (
        ("replace", "extend", "swap"),
        (
            *("parallel", "parallel_tsv", "alignment", "src_corpus", "lexicon", "src_vectors", "tgt_vectors"),
            *("fetch", "resources"),
        ),
        "it reads --corpus alone",
    ),
)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} lines"
    return value
