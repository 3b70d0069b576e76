"""Initialisation methods: each a pure function from two tokenizers (and material) to a TransferPlan.

The functions are attributes of this package (``vocab.methods.wechsel``); :data:`METHODS` says of each what it
needs and what fills the rows it leaves empty.
"""

from __future__ import annotations

import difflib
from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from align.errors import UsageError

# Not on first use: loading the module `wechsel` later would put it in the place of the function `wechsel`.
from vocab.methods.constituents import constituents
from vocab.methods.copying import copy, special
from vocab.methods.sampled import mean, multivariate, normal
from vocab.methods.trans_tokenization import trans_tokenization
from vocab.methods.wechsel import wechsel

Need = Literal["parallel", "vectors", "lexicon"]

__all__ = [
    "METHODS",
    "Method",
    "choose_method",
    "constituents",
    "copy",
    "find_method",
    "mean",
    "multivariate",
    "normal",
    "special",
    "trans_tokenization",
    "wechsel",
]


@dataclass(frozen=True)
class Method:
    """A row of the table of methods."""

    name: str
    summary: str
    needs: tuple[Need, ...]
    fallbacks: tuple[str, ...]
    paper: str = ""


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
            "constituents",
            "the mean of its pieces under the old tokenizer",
            (),
            ("mean",),
            "Gee et al. 2022, arXiv:2402.09977",
        ),
        Method("copy", "the old token of the same bytes", (), ("mean",)),
        Method("mean", "the mean of all old tokens", (), ()),
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
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, n=1)
    raise UsageError(
        f"unknown method {name!r}",
        wanted=", ".join(["auto", *METHODS]),
        hint=f"did you mean {near[0]}?" if near else None,
    )


def choose_method(given: Set[Need]) -> tuple[Method, str]:
    """What ``auto`` means for the material that was given, and why."""
    if "parallel" in given:
        return METHODS["trans-tokenization"], "there is parallel text"
    if {"vectors", "lexicon"} <= given:
        return METHODS["wechsel"], "there are word vectors and a lexicon, but no parallel text"
    return METHODS["constituents"], "there is neither parallel text nor word vectors with a lexicon"
