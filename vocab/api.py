"""The library's two entries over one core: names, or loaded objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocab.options import Device, DType, HeadNorm, Lines, Mode, Norm, TransferOptions
from vocab.pipeline import TransferResult, execute, prepare
from vocab.progress import Progress
from vocab.source_model import loaded_source

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_DEFAULT = TransferOptions()


def transfer(
    src: str | Path,
    tgt: str = _DEFAULT.tgt,
    *,
    mode: Mode = _DEFAULT.mode,
    method: str = _DEFAULT.method,
    head_method: str | None = _DEFAULT.head_method,
    vocab_size: int | None = _DEFAULT.vocab_size,
    add_tokens: int | None = _DEFAULT.add_tokens,
    min_count: int = _DEFAULT.min_count,
    scripts: Sequence[str] = _DEFAULT.scripts,
    tokenizer: str | None = _DEFAULT.tokenizer,
    parallel: tuple[Lines, Lines] | None = _DEFAULT.parallel,
    parallel_tsv: Sequence[str | Path] = _DEFAULT.parallel_tsv,
    alignment: str | Path | None = _DEFAULT.alignment,
    corpus: str | Path | Sequence[Lines] = _DEFAULT.corpus,
    src_corpus: str | Path | Sequence[Lines] = _DEFAULT.src_corpus,
    lexicon: str | Path | None = _DEFAULT.lexicon,
    src_vectors: str | Path | None = _DEFAULT.src_vectors,
    tgt_vectors: str | Path | None = _DEFAULT.tgt_vectors,
    fetch: Sequence[str] = _DEFAULT.fetch,
    resources: str | Path | None = _DEFAULT.resources,
    fetch_pairs: int = _DEFAULT.fetch_pairs,
    prefer: Sequence[str] = _DEFAULT.prefer,
    exclude: Sequence[str] = _DEFAULT.exclude,
    max_mb: int = _DEFAULT.max_mb,
    offline: bool = _DEFAULT.offline,
    donor: str | None = _DEFAULT.donor,
    donor_src: str | None = _DEFAULT.donor_src,
    src_lang: str = _DEFAULT.src_lang,
    norm: Norm = _DEFAULT.norm,
    head_norm: HeadNorm = _DEFAULT.head_norm,
    seed: int = _DEFAULT.seed,
    revision: str | None = _DEFAULT.revision,
    cache_dir: str | Path | None = _DEFAULT.cache_dir,
    trust_remote_code: bool = _DEFAULT.trust_remote_code,
    device: Device = _DEFAULT.device,
    dtype: DType = _DEFAULT.dtype,
    rank: int | None = _DEFAULT.rank,
    keep_factorized: bool = _DEFAULT.keep_factorized,
    pad_to_multiple_of: int | None = _DEFAULT.pad_to_multiple_of,
    threads: int | None = _DEFAULT.threads,
    progress: Progress | None = None,
) -> TransferResult:
    """Move a model to a new language.

    Parameters
    ----------
    src : str or path
        ``demo``, an alias such as ``roberta``, ``org/name`` on the hub, or a local directory.
    tgt : str
        Target language: ISO 639 code or English name.
    mode : {"replace", "extend", "trim", "swap"}
        Replace the vocabulary; add tokens to it (`add_tokens`, or `vocab_size` in all); leave out what
        `corpus` uses less than `min_count` times or what is not of the `scripts`; or take `tokenizer` for the
        same language.
    method : str
        A name of :data:`vocab.methods.METHODS`, or several (see :mod:`vocab.methods.expression`); ``auto``
        picks from the material given.
    head_method : str, optional
        The same for the rows of an output head that is not tied to the input embeddings; by default they
        follow `method`.
    vocab_size : int, optional
        Size of the new vocabulary; chosen from the text by default.
    tokenizer : str, optional
        Use this tokenizer (directory, tokenizer.json or ``org/name``) instead of training one.
    parallel : (source, target), optional
        Sentence pairs: two line-aligned files, or two sequences of sentences.
    parallel_tsv : sequence of paths
        Files with source, tab, target on each line.
    alignment : path, optional
        Links between the words of these pairs, one line (``0-0 1-2``) a pair, for ``trans-tokenization``;
        words are what stands between white space, or what ``vocab-transfer words`` makes of the text.
    corpus, src_corpus : path, or sequence of paths and sequences of lines
        Text of the target and of the source language.
    lexicon, src_vectors, tgt_vectors : path, optional
        Bilingual lexicon (TSV) and word vectors (.bin, .vec) of the two languages.
    fetch, resources, fetch_pairs, prefer, exclude, max_mb, offline
        What may be fetched; see :class:`vocab.options.TransferOptions`. Where no text is given and `src` is
        not the demo, ``opus:auto`` is fetched, if it has `max_mb` megabytes at most.
    src_lang, norm, head_norm, seed, revision, cache_dir, trust_remote_code
        See :class:`vocab.options.TransferOptions`.
    device, dtype, rank, keep_factorized, pad_to_multiple_of, threads
        See :class:`vocab.options.TransferOptions`.
    progress : Progress, optional
        Hears of the stages.

    Returns
    -------
    TransferResult
        ``.plan`` and ``.tokenizer``; ``.save(folder)`` writes the finished model directory.

    Raises
    ------
    ToolkitError
        See :func:`vocab.pipeline.prepare` and :mod:`vocab.tokenizer.training`.

    Notes
    -----
    The model's weights are not loaded; saving rewrites only the tensors with the vocabulary's dimension.
    """
    options = TransferOptions(
        src=str(src),
        tgt=tgt,
        mode=mode,
        method=method,
        head_method=head_method,
        vocab_size=vocab_size,
        add_tokens=add_tokens,
        min_count=min_count,
        scripts=tuple(scripts),
        tokenizer=tokenizer,
        parallel=None if parallel is None else (_lines(parallel[0]), _lines(parallel[1])),
        parallel_tsv=tuple(Path(path) for path in parallel_tsv),
        alignment=_path(alignment),
        corpus=_several(corpus),
        src_corpus=_several(src_corpus),
        lexicon=_path(lexicon),
        src_vectors=_path(src_vectors),
        tgt_vectors=_path(tgt_vectors),
        fetch=tuple(fetch),
        resources=_path(resources),
        fetch_pairs=fetch_pairs,
        prefer=tuple(prefer),
        exclude=tuple(exclude),
        max_mb=max_mb,
        offline=offline,
        donor=donor,
        donor_src=donor_src,
        src_lang=src_lang,
        norm=norm,
        head_norm=head_norm,
        seed=seed,
        revision=revision,
        cache_dir=_path(cache_dir),
        trust_remote_code=trust_remote_code,
        device=device,
        dtype=dtype,
        rank=rank,
        keep_factorized=keep_factorized,
        pad_to_multiple_of=pad_to_multiple_of,
        threads=threads,
    )
    return execute(prepare(options, progress=progress))


def _several(sources: str | Path | Sequence[Lines]) -> tuple[Lines, ...]:
    several = (sources,) if isinstance(sources, str | Path) else sources
    return tuple(_lines(source) for source in several)


def _lines(source: Lines) -> Lines:
    return Path(source) if isinstance(source, str) else source


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def transfer_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    options: TransferOptions,
    *,
    progress: Progress | None = None,
) -> TransferResult:
    """The same from a model and a tokenizer in memory; ``options.src`` is not read.

    The model is saved once to a temporary directory, which is removed with the result.
    """
    return execute(prepare(options, source=loaded_source(model, tokenizer), progress=progress))
