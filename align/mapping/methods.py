"""All mapping methods by name: what each needs, how rows are normalised for it, and where it is from."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.lexicon import Lexicon, known_pairs
from align.mapping.bilingual import BilingualMap
from align.mapping.contrastive import FEW_PAIRS
from align.normalize import ITERATIVE, UNIT_CENTRE_UNIT
from align.normalize import normalize as normalize_rows
from align.vectors import Vectors

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Method:
    """A mapping method.

    Attributes
    ----------
    function : str
        ``module:name`` of a function of (X, Y, pairs) and settings, imported when it is used.
    summary : str
    paper : str
    pairs : bool
        Whether it starts from a dictionary.
    seeds : str, optional
        Where its pairs come from when there is no dictionary; see :data:`SEEDS`.
    normalize : tuple of str
        Steps that are applied to both spaces unless others are asked for.
    settings : mapping
        Those of the function that differ from its defaults.
    """

    function: str
    summary: str
    paper: str
    pairs: bool = True
    seeds: str | None = None
    normalize: tuple[str, ...] = UNIT_CENTRE_UNIT
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        module, _, name = self.function.partition(":")
        loaded: Callable[..., Any] = getattr(import_module(f"align.mapping.{module}"), name)
        return loaded

    def parameters(self) -> dict[str, Any]:
        """Settings that can be given, with their defaults."""
        return {
            name: self.settings.get(name, parameter.default)
            for name, parameter in inspect.signature(self.load()).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
            and name not in ("weights", "progress", "seed")
        }


_UNIT, _UNIT_CENTRE = ("unit",), ("unit", "centre")
_SELF_LEARNING = "Artetxe et al. 2018, ACL"

METHODS: dict[str, Method] = {
    "procrustes": Method(
        "procrustes:procrustes",
        "the rotation that brings the pairs closest",
        "Schönemann 1966; Xing et al. 2015",
    ),
    "least-squares": Method(
        "least_squares:least_squares", "the linear map with the least squared error", "Mikolov et al. 2013"
    ),
    "ridge": Method(
        "least_squares:least_squares",
        "least squares, held small by as much as leaving pairs out shows best",
        "Dinu et al. 2015",
        settings={"ridge": "auto"},
    ),
    "cca": Method("cca:cca", "both spaces where the pairs correlate most", "Faruqui and Dyer 2014"),
    "vecmap": Method(
        "whitened:whitened",
        "whiten, rotate, re-weight by correlation, de-whiten",
        "Artetxe et al. 2018, AAAI (VecMap's supervised preset)",
    ),
    "vecmap-aaai2018": Method(
        "whitened:whitened",
        "the same as published: the target side alone is re-weighted",
        "Artetxe et al. 2018, AAAI",
        normalize=_UNIT_CENTRE,
        settings={"src_exponent": 0.0, "tgt_exponent": 1.0},
    ),
    "vecmap-emnlp2016": Method(
        "procrustes:procrustes",
        "a rotation of unit, centred rows",
        "Artetxe et al. 2016",
        normalize=_UNIT_CENTRE,
    ),
    "vecmap-acl2017": Method(
        "self_learning:self_learning",
        "self-learning in one direction, from a few pairs or from numerals",
        "Artetxe et al. 2017",
        seeds="numerals",
        normalize=_UNIT_CENTRE,
        settings={"keep": 1.0, "interval": 0, "k": 0, "direction": "forward", "final": "orthogonal"},
    ),
    "vecmap-semi": Method("self_learning:self_learning", "self-learning from a few pairs", _SELF_LEARNING),
    "vecmap-identical": Method(
        "self_learning:self_learning",
        "self-learning from words spelled alike",
        _SELF_LEARNING,
        seeds="identical",
    ),
    "vecmap-unsupervised": Method(
        "unsupervised:unsupervised",
        "self-learning from the distributions of similarities, without any pair",
        _SELF_LEARNING,
        pairs=False,
    ),
    "proc-b": Method(
        "refinement:bootstrapped_procrustes",
        "rotation, then once more with mutual neighbours",
        "Glavaš et al. 2019",
        normalize=(),
    ),
    "muse": Method(
        "refinement:muse_refinement",
        "rotation, refined on mutual neighbours alone",
        "Conneau et al. 2018 (supervised)",
        normalize=(),
    ),
    "rcsls": Method(
        "rcsls:rcsls",
        "descent on the relaxed CSLS loss, singular values held in 0 to 1",
        "Joulin et al. 2018",
        normalize=_UNIT,
    ),
    "rcsls-free": Method(
        "rcsls:rcsls",
        "the same without a constraint",
        "Joulin et al. 2018",
        normalize=_UNIT,
        settings={"constraint": "none", "lr": 25.0},
    ),
    "contrastive": Method(
        "contrastive:contrastive",
        "translations above their hardest rivals, from 5,000 pairs or so",
        "Li et al. 2022 (C1)",
        normalize=_UNIT,
    ),
    "contrastive-1k": Method(
        "contrastive:contrastive",
        "the same from 1,000 pairs or so",
        "Li et al. 2022 (C1)",
        normalize=_UNIT,
        settings=FEW_PAIRS,
    ),
    "geomm": Method("geomm:geomm", "rotations of both spaces and a metric between", "Jawanpuria et al. 2019"),
    "muse-adversarial": Method(
        "adversarial:adversarial",
        "two networks against each other, then refinement; hours on a processor",
        "Conneau et al. 2018 (unsupervised)",
        pairs=False,
        normalize=(),
    ),
    "wasserstein": Method(
        "wasserstein:wasserstein_procrustes",
        "a rotation and a matching of words in turn, without any pair",
        "Grave et al. 2019",
        pairs=False,
    ),
    "gromov-wasserstein": Method(
        "wasserstein:gromov_wasserstein",
        "matching the distances within each space, without any pair (extra: ot)",
        "Alvarez-Melis and Jaakkola 2018",
        pairs=False,
        normalize=_UNIT_CENTRE,
    ),
    "mutual": Method(
        "refinement:mutual_refinement",
        "vecmap with a mild re-weighting; mutual neighbours join the dictionary",
        "this project",
    ),
}

SEEDS = ("identical", "numerals", "cognates")


def fit(
    src: Vectors,
    tgt: Vectors,
    lexicon: Lexicon | None = None,
    *,
    method: str = "auto",
    normalize: Sequence[str] | None = None,
    seeds: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> BilingualMap:
    """Align two spaces by a method of the table, with the normalisation that goes with it.

    Parameters
    ----------
    src, tgt : Vectors
        Words by falling frequency.
    lexicon : Lexicon, optional
        Pairs with a word outside the vocabularies are not used.
    method : str
        A name of :data:`METHODS`; ``"auto"`` is ``"vecmap"`` with a lexicon, else ``"vecmap-identical"``.
    normalize : sequence of str, optional
        Steps as in :func:`align.normalize.normalize`, for both sides, instead of the method's own.
    seeds : {"identical", "numerals", "cognates"}, optional
        Make the dictionary from strings (:mod:`align.induction.seeds`).
    settings : mapping, optional
        Arguments of the method's function.
    seed : int
        For methods that draw.
    progress : callable, optional
        Called with iteration and objective by methods that iterate.

    Returns
    -------
    BilingualMap
        With normalisers, so that it takes rows as they are in the files.

    Raises
    ------
    UsageError
        For an unknown method, setting or kind of seeds.
    InputError
        If the method needs a dictionary and there is none, or none of it is in the vocabularies.
    """
    if method == "auto":
        method = "vecmap" if lexicon is not None else "vecmap-identical"
    entry = METHODS.get(method)
    if entry is None:
        raise UsageError("unknown mapping method", got=method, wanted=", ".join(METHODS))
    known, function = entry.parameters(), entry.load()
    unknown = set(settings or {}) - set(known)
    if unknown:
        raise UsageError(
            f"{method} has no such setting", got=", ".join(sorted(unknown)), wanted=", ".join(known) or "none"
        )
    arguments: dict[str, Any] = {**entry.settings, **(settings or {})}
    accepted = inspect.signature(function).parameters
    if "seed" in accepted:
        arguments["seed"] = seed
    if "progress" in accepted:
        arguments["progress"] = progress

    if not entry.pairs:
        rows = None
    elif seeds is not None or (lexicon is None and entry.seeds is not None):
        rows = seed_pairs(src, tgt, seeds or entry.seeds or "")
    elif lexicon is not None:
        rows = known_pairs(lexicon, src, tgt)
    else:
        raise InputError(
            f"{method} needs a lexicon",
            hint="Pass --lexicon FILE, or --seeds identical for related languages",
        )
    if rows is not None and len(rows) == 0:
        raise InputError("no pair has both words in the vocabularies", hint="Check languages and casing")
    steps = entry.normalize if normalize is None else tuple(normalize)
    X, src_normalizer = normalize_rows(src.table().matrix, steps)
    Y, tgt_normalizer = normalize_rows(tgt.table().matrix, steps)
    made = function(X, Y, **arguments) if rows is None else function(X, Y, rows, **arguments)
    mapping: BilingualMap = made if isinstance(made, BilingualMap) else made.bilingual()
    plain = {k: v for k, v in arguments.items() if isinstance(v, (str, int, float, bool))}
    return replace(
        mapping.normalized_by(src_normalizer, tgt_normalizer),
        method=method,
        options={**plain, **mapping.options},
    )


def seed_pairs(src: Vectors, tgt: Vectors, kind: str) -> NDArray[np.int64]:
    """Rows of pairs made from strings, shape (n, 2).

    Raises
    ------
    UsageError
        For a kind that is not in :data:`SEEDS`.
    InputError
        If there are none.
    """
    from align.induction.seeds import cognates, identical_words, numerals

    makers = {"identical": identical_words, "numerals": numerals, "cognates": cognates}
    if kind not in makers:
        raise UsageError("unknown kind of seeds", got=kind, wanted=", ".join(SEEDS))
    found = makers[kind](src.words, tgt.words)
    if not found:
        raise InputError(
            f"the vocabularies give no seeds of kind {kind}",
            hint="Give a lexicon, or use vecmap-unsupervised, which needs none",
        )
    return known_pairs(found, src, tgt)


def parse_settings(items: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as arguments; a value is JSON where it can be, else text."""
    found = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found[name.strip().replace("-", "_")] = value
    return found


def parse_steps(text: str) -> tuple[str, ...] | None:
    """``auto`` (None: the method's own), ``none``, ``iterative``, or steps between commas."""
    if text == "auto":
        return None
    named = {"none": (), "iterative": ITERATIVE}
    return named[text] if text in named else tuple(step.strip() for step in text.split(","))
