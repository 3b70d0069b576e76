"""Initialisation methods: each a pure function from two tokenizers (and material) to a TransferPlan.

:data:`METHODS` says of each what it needs and what fills the rows it leaves empty; its functions are the
attributes of this package (``vocab.methods.wechsel``).
"""

from __future__ import annotations

import difflib
from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from align.errors import UsageError
from vocab.methods.clp import clp
from vocab.methods.constituents import constituents
from vocab.methods.copying import copy, special
from vocab.methods.corpus_align import corpus_align
from vocab.methods.cw2v import cw2v
from vocab.methods.focus import focus
from vocab.methods.interpolation import common_interpolation
from vocab.methods.ofa import ofa
from vocab.methods.omp import omp
from vocab.methods.overlap_factorized import overlap_factorized
from vocab.methods.ramen import ramen, ramen_parallel
from vocab.methods.recycle import recycle
from vocab.methods.sampled import hf, mean, multivariate, normal, random, script
from vocab.methods.tokalign import tokalign
from vocab.methods.trans_tokenization import trans_tokenization
from vocab.methods.vipi import vipi
from vocab.methods.wechsel import wechsel
from vocab.methods.zip_tie import zip_tie

Need = Literal["parallel", "vectors", "lexicon", "text", "donor", "donor-src"]

__all__ = [
    "METHODS",
    "Method",
    "choose_method",
    "clp",
    "common_interpolation",
    "constituents",
    "copy",
    "corpus_align",
    "cw2v",
    "find_method",
    "focus",
    "hf",
    "mean",
    "multivariate",
    "normal",
    "ofa",
    "omp",
    "overlap_factorized",
    "ramen",
    "ramen_parallel",
    "random",
    "recycle",
    "script",
    "special",
    "tokalign",
    "trans_tokenization",
    "vipi",
    "wechsel",
    "zip_tie",
]


@dataclass(frozen=True)
class Method:
    """A row of the table of methods."""

    name: str
    summary: str
    needs: tuple[Need, ...]
    fallbacks: tuple[str, ...]
    paper: str = ""
    aliases: tuple[str, ...] = ()


_INFORMED = ("copy", "constituents", "mean")

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "trans-tokenization",
            "the old tokens that translate it, by aligning parallel text",
            ("parallel",),
            _INFORMED,
            "Remy et al. 2024, arXiv:2408.04303",
        ),
        Method(
            "wechsel",
            "the old tokens nearest in aligned word-vector spaces",
            ("vectors", "lexicon"),
            _INFORMED,
            "Minixhofer et al. 2022, arXiv:2112.06598",
        ),
        Method(
            "ramen",
            "all old tokens, by sparsemax over the mean vectors of their words",
            ("vectors", "lexicon"),
            _INFORMED,
            "Tran 2020, arXiv:2002.07306",
        ),
        Method(
            "ramen-parallel",
            "the old tokens linked to it in parallel text, as often as they are",
            ("parallel",),
            _INFORMED,
            "Tran 2020, arXiv:2002.07306",
        ),
        Method(
            "focus",
            "the shared tokens most like it in fastText vectors of the target's tokens, by sparsemax",
            ("text",),
            ("constituents", "mean"),
            "Dobler and de Melo 2023, arXiv:2305.14481",
        ),
        Method(
            "corpus-align",
            "the old tokens found at its places in text",
            ("text",),
            ("constituents", "mean"),
            "Yamaguchi et al. 2024, arXiv:2406.11477",
        ),
        Method(
            "tokalign",
            "the one old token most like it in the company it keeps in text, by GloVe",
            ("text",),
            ("constituents", "mean"),
            "Li et al. 2025, arXiv:2506.03523",
        ),
        Method(
            "cw2v",
            "a convex mixture of shared tokens that predicts its neighbours in text, by skip-gram",
            ("text",),
            ("constituents", "mean"),
            "Mundra et al. 2024, arXiv:2407.05841",
        ),
        Method(
            "ofa",
            "the old tokens nearest in a space of words, after a wide copy",
            ("vectors", "lexicon"),
            ("constituents", "mean"),
            "Liu et al. 2024, arXiv:2311.08849",
        ),
        Method(
            "omp",
            "a sparse code of its donor row over the shared tokens",
            ("donor",),
            ("constituents", "mean"),
            "Goddard and Fernandes Neto 2025, arXiv:2506.06607",
        ),
        Method(
            "common-interpolation",
            "the shared tokens nearest to its donor row, by distance",
            ("donor",),
            ("constituents", "mean"),
        ),
        Method(
            "clp",
            "all shared tokens, by likeness in a donor's embeddings",
            ("donor",),
            ("constituents", "mean"),
            "Ostendorff and Rehm 2023, arXiv:2301.09626",
        ),
        Method(
            "clp-plus",
            "the shared tokens most like it in a donor's embeddings, by sparsemax",
            ("donor",),
            ("constituents", "mean"),
            "Yamaguchi et al. 2024, arXiv:2402.10712",
        ),
        Method(
            "recycle",
            "its row in a small donor, mapped from the donor's source to the larger model",
            ("donor", "donor-src"),
            _INFORMED,
            "de Vries and Nissim 2021",
        ),
        Method(
            "constituents",
            "the mean of its pieces under the old tokenizer",
            (),
            ("mean",),
            "Gee et al. 2022, arXiv:2402.09977",
            aliases=("fvt",),
        ),
        Method(
            "vipi",
            "the shortest ways to spell it with old tokens, averaged",
            (),
            ("mean",),
            "Mosin et al. 2021, arXiv:2112.14569",
        ),
        Method(
            "zip-tie",
            "the mean of its characters and bytes under the old vocabulary",
            (),
            ("mean",),
            "Chen and Li 2024, arXiv:2404.00862",
        ),
        Method(
            "overlap-factorized",
            "drawn along the leading axes of the old rows, after a copy",
            (),
            ("mean",),
            "Pfeiffer et al. 2021, arXiv:2012.15562",
        ),
        Method("copy", "the old token of the same bytes", (), ("mean",)),
        Method(
            "script",
            "drawn around the old tokens of its script, after a copy",
            (),
            ("mean",),
            "Downey et al. 2023, arXiv:2309.04679",
        ),
        Method("mean", "the mean of all old tokens", (), ()),
        Method("hf", "drawn as transformers does when it resizes: the mean with almost no spread", (), ()),
        Method("random", "drawn from N(0, 0.02)", (), ()),
        Method("normal", "drawn from N(mean, std), dimension by dimension", (), ()),
        Method("multivariate", "drawn from N(mean, covariance)", (), (), "Hewitt 2021"),
    )
}


def find_method(name: str) -> Method:
    """Look a method up by name.

    Raises
    ------
    UsageError
        For an unknown name; the message lists those that exist.
    """
    for method in METHODS.values():
        if name == method.name or name in method.aliases:
            return method
    near = difflib.get_close_matches(name, METHODS, n=1)
    raise UsageError(
        f"unknown method {name!r}",
        wanted=", ".join(["auto", *METHODS]),
        hint=f"did you mean {near[0]}?" if near else None,
    )


def choose_method(given: Set[Need]) -> tuple[str, str]:
    """What ``auto`` means for the material that was given, as an expression, and why.

    Notes
    -----
    Chosen on a development set, by the mean reciprocal rank with which 1,791 sentences find their
    translations before any training (all-MiniLM-L6-v2 to Swahili, 16,000 tokens, lafand). Vectors are
    fastText's, trained on 0.56 M words of each language; A is the bundled lexicon, B that of WECHSEL:

    ============================  =====  =====
    without parallel text         A      B
    ============================  =====  =====
    trans-tokenization > ofa      0.703  0.573
    trans-tokenization            0.651  0.420
    ofa                           0.444  0.431
    ramen                         0.282  0.273
    constituents (no lexicon)     0.191
    wechsel                       0.107  0.102
    ============================  =====  =====

    The first row stays first with vectors of 4.0 M English and 1.1 M Swahili words (0.720 and 0.568)
    and with 3,000 lines of text (0.483 and 0.328). With sentence pairs, by their number (the bundled lexicon
    joined to the two smallest):

    ============================  =====  =====  =====  ======
    with parallel text            500    2,000  8,000  30,782
    ============================  =====  =====  =====  ======
    trans-tokenization(smooth)    0.802  0.871  0.918  0.946
    trans-tokenization            0.775  0.851  0.915  0.945
    trans-tokenization > ofa             0.859         0.945
    ============================  =====  =====  =====  ======

    Smoothing gains where many tokens lack evidence. On the test set, with pairs alone and a vocabulary that
    fits them, it made no difference; from a lexicon alone it gave 0.641 with A and 0.431 with B. A donor,
    which was not measured here, goes before a lexicon.
    """
    if "parallel" in given:
        return "trans-tokenization(smooth)", "there is parallel text"
    if {"vectors", "lexicon"} <= given:
        why = "there is a lexicon, and word vectors for the words that it lacks"
        return "trans-tokenization > ofa", why
    if "donor" in given:
        return "omp", "there is a model that speaks the target tokenizer"
    if "lexicon" in given:
        return "trans-tokenization", "there is a lexicon, whose entries are aligned as parallel text"
    return "constituents", "there is neither parallel text nor a lexicon"
