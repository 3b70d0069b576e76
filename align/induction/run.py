"""From the options of ``induce`` to a lexicon or its measurement."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from align.errors import UsageError
from align.evaluation import PROTOCOLS, bli
from align.induction.inducers import MappedInducer, make_inducer
from align.induction.ranked import RankedInducer
from align.induction.text import TextLexicon, lexicon_from_text
from align.induction.translations import Translations
from align.lexicon import Lexicon, in_case_of, read_lexicon
from align.mapping.bilingual import BilingualMap
from align.mapping.methods import parse_settings, parse_steps
from align.neighbors.criteria import Method
from align.options import InduceOptions
from align.place import check_file, new_file
from align.textfiles import read_lines
from align.vectors import read_vectors
from align.wordalign.reading import read_bitext


def run_induction(
    options: InduceOptions,
    out: Path | None = None,
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Induce a lexicon and write it, or measure one against a test lexicon, or both.

    Parameters
    ----------
    out : Path, optional
        Lexicon to write; with neither this nor ``options.test`` nothing could be seen, which is refused.
    tell : callable
        Called with the name of every stage.
    progress : callable, optional
        Called with iteration and objective by methods that iterate.

    Returns
    -------
    dict
        ``method``, ``seconds``; with a test lexicon ``p_at_1``, ``p_at_5``, ``p_at_10``, ``mrr``,
        ``coverage``, ``n_queries``, ``n_candidates``, ``retrieval``, ``protocol``; with `out` ``out`` and
        ``n_pairs``.

    Raises
    ------
    UsageError, InputError, OutputError
        For options, files or places that cannot be used.
    """
    if out is None and options.test is None:
        raise UsageError("nothing to do with the lexicon", wanted="--out FILE, --test FILE, or both")
    if out is not None:
        check_file(out, overwrite=overwrite)
    started = time.perf_counter()
    rules = PROTOCOLS[options.protocol]
    default: Method = rules.retrieval if options.test is not None else "csls"
    retrieval = default if options.retrieval == "auto" else options.retrieval
    inducer = _inducer(options, retrieval, tell, progress)
    found: dict[str, Any] = {"method": inducer.method}
    if isinstance(inducer, MappedInducer) and inducer.mapping is not None and not inducer.mapping.converged:
        warnings.warn(f"{inducer.method} did not converge; its translations may be wrong", stacklevel=2)
    if options.test is not None:
        tell("measuring")
        found |= bli(inducer, read_lexicon(options.test), protocol=options.protocol).as_dict()
    if out is not None:
        tell("translating")
        words = None if options.words is None else [line.strip() for line in read_lines(options.words)]
        with new_file(out, overwrite=overwrite) as partial:
            if isinstance(inducer, TextLexicon):
                lexicon = inducer if words is None else inducer.only(words)
                lexicon.save(partial)
                n_pairs = len(lexicon.src)
            else:
                translations = _translate(inducer, words, options)
                translations.save(partial)
                n_pairs = len(translations.lexicon())
        found |= {"out": str(out), "n_pairs": n_pairs}
    return {**found, "seconds": round(time.perf_counter() - started, 2)}


def _inducer(
    options: InduceOptions,
    retrieval: Method,
    tell: Callable[[str], None],
    progress: Callable[[int, float], None] | None,
) -> RankedInducer | MappedInducer | TextLexicon:
    text = None
    if options.parallel is not None:
        tell("aligning the parallel text")
        read = read_bitext(*options.parallel)
        text = lexicon_from_text(read.bitext, read.src_words, read.tgt_words, min_count=options.min_count)
    if options.src_vectors is None or options.tgt_vectors is None:
        if text is None:
            raise UsageError("vectors are needed", wanted="--src-vectors and --tgt-vectors")
        return text
    tell("reading the vectors")
    src = read_vectors(options.src_vectors, limit=options.src_limit, lower=options.lower)
    tgt = read_vectors(options.tgt_vectors, limit=options.tgt_limit, lower=options.lower)
    lexicon: Lexicon | None = None
    if options.lexicon is not None:
        lexicon = in_case_of(read_lexicon(options.lexicon), src, tgt)
    tell("learning to translate")
    return make_inducer(
        src,
        tgt,
        lexicon,
        method=options.method,
        mapping=None if options.map is None else BilingualMap.load(options.map),
        retrieval=retrieval,
        script=None if options.script == "none" else options.script,
        normalize=parse_steps(options.normalize),
        seeds=options.seeds,
        text=text,
        settings=parse_settings(options.set),
        seed=options.seed,
        progress=progress,
    )


def _translate(
    inducer: RankedInducer | MappedInducer, words: Sequence[str] | None, options: InduceOptions
) -> Translations:
    if isinstance(inducer, RankedInducer):
        if options.mutual or options.min_score is not None:
            raise UsageError("--mutual and --min-score go with a map's neighbours, not with a preset")
        return inducer.translate(words, top=options.top)
    return inducer.translate(words, top=options.top, mutual=options.mutual, min_score=options.min_score)
