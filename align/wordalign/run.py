"""From the options of ``words`` to files of links, tables and models."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from align.errors import UsageError
from align.options import WordsOptions
from align.parallel import executor
from align.place import check_file, new_file
from align.wordalign.aligner import Aligner, align, train
from align.wordalign.alignment import Alignment
from align.wordalign.filters import PairFilter
from align.wordalign.links import Links
from align.wordalign.options import AlignOptions
from align.wordalign.prior_files import read_prior
from align.wordalign.reading import NumberedText, read_bitext
from align.wordalign.symmetrize import soft_links, symmetrize

_ROWS = 1 << 16


def run_words(
    options: WordsOptions,
    out: Path | IO[str],
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Align a text and write what the options ask for.

    Parameters
    ----------
    out : path or text stream
        For one line of links for every pair that was read; empty for a pair that was left out. Files whose
        names end in ``.gz`` are compressed.
    tell : callable
        Called with the name of every stage.

    Returns
    -------
    dict
        ``model``, ``symmetrize``, ``n_pairs`` (read), ``n_aligned``, ``n_links``, ``src_coverage`` and
        ``tgt_coverage`` (share of the words with a link), ``n_iter``, ``converged``, ``seconds``, ``out``.

    Raises
    ------
    UsageError, InputError, OutputError
        For options, files or places that cannot be used; before anything is written.
    """
    stream = None if isinstance(out, Path) else out
    places = _places(options, out if isinstance(out, Path) else None, overwrite)
    started = time.perf_counter()
    tell("reading the text")
    text = _text(options)
    aligner, alignment, links = _aligned(options, text, tell)
    tell("writing")
    every = links.spread(text.lines, text.n_lines)
    lines = every.iter_pharaoh(probabilities=options.posteriors)
    contents = {
        "tokens": text.tokens,
        "scores": lambda: _scores(aligner, text),
        "table": lambda: iter(()) if alignment is None else _table(alignment, text),
        "out": lambda: lines,
    }
    with ExitStack() as unfinished:  # all are renamed in the end, or none
        for name, path in places.items():
            partial = unfinished.enter_context(new_file(path, overwrite=overwrite))
            if name == "save":
                aligner.save(partial)
            else:
                _write(partial, contents[name](), zipped=path.suffix == ".gz")
    if stream is not None:
        stream.writelines(f"{line}\n" for line in lines)
    return {
        "model": aligner.model,
        "symmetrize": options.symmetrize,
        "n_pairs": text.n_lines,
        "n_aligned": text.bitext.n_pairs,
        "n_links": len(links.src),
        "src_coverage": _coverage(links.offsets, links.src, text.bitext.src_offsets),
        "tgt_coverage": _coverage(links.offsets, links.tgt, text.bitext.tgt_offsets),
        "n_iter": aligner.n_iter,
        "converged": aligner.converged,
        "seconds": round(time.perf_counter() - started, 2),
        "out": "-" if stream is not None else str(out),
    }


def _places(options: WordsOptions, out: Path | None, overwrite: bool) -> dict[str, Path]:
    named = {
        "tokens": options.tokens, "scores": options.scores, "table": options.table, "save": options.save,
        "out": out,
    }  # fmt: skip
    places = {name: check_file(path, overwrite=overwrite) for name, path in named.items() if path is not None}
    sources = [*(options.parallel or ()), options.bitext, options.prior, options.load]
    taken = {path.resolve(): "an input" for path in sources if path is not None}
    for name, path in places.items():
        if path in taken:
            raise UsageError("one file for two things", where=path, got=f"--{name} and {taken[path]}")
        taken[path] = f"--{name}"
    return places


def _text(options: WordsOptions) -> NumberedText:
    first, second = options.columns
    return read_bitext(
        *(options.parallel or [path for path in (options.bitext,) if path is not None]),
        columns=(first - 1, second - 1),
        languages=options.languages,
        tokenize=options.tokenize,
        lower=not options.keep_case,
        min_count=options.min_count,
        filters=PairFilter(
            max_len=options.max_len,
            max_ratio=options.max_ratio,
            identical=options.drop_identical,
            duplicates=options.drop_duplicates,
        ),
    )


def _null_prob(options: WordsOptions) -> float:
    """As asked, or what measured best on development sets: each word's best link wants a stronger NULL."""
    if options.null_prob is not None:
        return options.null_prob
    by_rule = options.model != "hmm" and not options.symmetrize.startswith("soft")
    return 0.2 if by_rule else AlignOptions.null_prob


def _aligned(
    options: WordsOptions, text: NumberedText, tell: Callable[[str], None]
) -> tuple[Aligner, Alignment | None, Links]:
    bitext = text.bitext
    alignment = None
    # links of the two directions need no mean of them
    with_mean = options.symmetrize == "soft" or options.table is not None
    with executor(options.executor) as pool:
        workers = None if options.executor == "serial" else pool  # without one, threads of this process
        if options.load is not None:
            aligner = Aligner.load(options.load)
            if with_mean:
                tell("aligning")
                alignment = aligner.align(
                    bitext,
                    src_words=text.src_words,
                    tgt_words=text.tgt_words,
                    threshold=options.threshold,
                    executor=workers,
                )
        else:
            prior = None
            if options.prior is not None:
                tell("reading the prior")
                prior = read_prior(
                    options.prior, text, weight=options.prior_weight, lower=not options.keep_case
                )
            tell("training")
            result = (align if with_mean else train)(
                bitext,
                model=options.model,
                options=AlignOptions(
                    n_iter=options.n_iter,
                    null_prob=_null_prob(options),
                    threshold=options.threshold,
                    max_len=options.max_len,
                ),
                prior=prior,
                src_words=text.src_words,
                tgt_words=text.tgt_words,
                executor=workers,
            )
            if isinstance(result, Alignment):
                alignment, aligner = result, result.aligner
            else:
                aligner = result
    if alignment is not None and options.symmetrize == "soft":
        return aligner, alignment, alignment.links
    if options.symmetrize.startswith("soft-"):
        posteriors = aligner.posteriors(bitext, src_words=text.src_words, tgt_words=text.tgt_words)
        combination = options.symmetrize.removeprefix("soft-")
        return (
            aligner,
            alignment,
            soft_links(posteriors, combination=combination, threshold=options.threshold),
        )
    both = aligner.directional_links(bitext, src_words=text.src_words, tgt_words=text.tgt_words)
    return aligner, alignment, symmetrize(*both, method=options.symmetrize)


def _write(partial: Path, lines: Iterable[str], *, zipped: bool) -> None:
    ended = (f"{line}\n" for line in lines)
    if zipped:
        with gzip.open(partial, "wt", encoding="utf-8", newline="\n", compresslevel=6) as out:
            out.writelines(ended)
    else:
        with partial.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(ended)


def _table(alignment: Alignment, text: NumberedText) -> Iterator[str]:
    counts = alignment.counts
    src = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    order = np.lexsort((counts.indices, src, -counts.data))
    for start in range(0, len(order), _ROWS):
        part = order[start : start + _ROWS]
        for s, t, forward, backward, count in zip(
            src[part].tolist(),
            counts.indices[part].tolist(),
            alignment.src_to_tgt.data[part].tolist(),
            alignment.tgt_to_src.data[part].tolist(),
            counts.data[part].tolist(),
            strict=True,
        ):
            words = f"{text.src_words[s]}\t{text.tgt_words[t]}"
            yield f"{words}\t{forward:.6g}\t{backward:.6g}\t{count:.6g}"


def _scores(aligner: Aligner, text: NumberedText) -> Iterator[str]:
    scores = np.full((text.n_lines, 2), np.nan)
    scores[text.lines] = aligner.scores(text.bitext, src_words=text.src_words, tgt_words=text.tgt_words)
    for forward, backward in scores.tolist():
        yield f"{forward:.5f}\t{backward:.5f}"


def _coverage(offsets: np.ndarray, positions: np.ndarray, words: np.ndarray) -> float:
    linked = np.zeros(int(words[-1]), dtype=bool)
    linked[np.repeat(words[:-1], np.diff(offsets)) + positions] = True
    return round(float(linked.mean()), 4)
