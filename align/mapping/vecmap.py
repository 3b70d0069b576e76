"""VecMap's presets: what each normalises, starts from and fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from align.mapping.bilingual import BilingualMap
from align.mapping.procrustes import procrustes
from align.mapping.self_learning import self_learning
from align.mapping.unsupervised import unsupervised
from align.mapping.whitened import whitened
from align.normalize import UNIT_CENTRE_UNIT


@dataclass(frozen=True)
class VecMapPreset:
    """One way to run VecMap.

    Parameters
    ----------
    seeds : {"dictionary", "identical", "numerals", "none"}
        Where the pairs come from: given, equal words, equal numbers, or there are none.
    steps : tuple of str
        Normalisation, as in :func:`align.normalize.normalize`.
    fit : callable
        ``fit(X, Y, pairs)`` of normalised rows; further settings of the method by keyword.
    """

    seeds: Literal["dictionary", "identical", "numerals", "none"]
    steps: tuple[str, ...]
    fit: Callable[..., BilingualMap]


def _orthogonal(X: NDArray[np.floating], Y: NDArray[np.floating], pairs: NDArray[np.integer]) -> BilingualMap:
    return procrustes(X, Y, pairs=pairs).bilingual()


def _without_pairs(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer] | None = None,
    *,
    cutoff: int = 20_000,
    interval: int = 50,
    runs: int = 2,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> BilingualMap:
    return unsupervised(X, Y, cutoff=cutoff, interval=interval, runs=runs, seed=seed, progress=progress)


_UNIT_CENTRE = ("unit", "centre")
# Artetxe et al. (2017), "Learning bilingual word embeddings with (almost) no bilingual data", ACL:
# nearest neighbours of the source words, nothing dropped, an orthogonal map
_PLAIN_LOOP = partial(self_learning, k=0, keep=1.0, interval=0, direction="forward", final="orthogonal")

VECMAP: Mapping[str, VecMapPreset] = MappingProxyType(
    {
        "supervised": VecMapPreset("dictionary", UNIT_CENTRE_UNIT, whitened),
        "semi-supervised": VecMapPreset("dictionary", UNIT_CENTRE_UNIT, self_learning),
        "identical": VecMapPreset("identical", UNIT_CENTRE_UNIT, self_learning),
        "unsupervised": VecMapPreset("none", UNIT_CENTRE_UNIT, _without_pairs),
        "acl2018": VecMapPreset("none", UNIT_CENTRE_UNIT, _without_pairs),
        # Artetxe et al. (2018), "Generalizing and improving bilingual word embedding mappings", AAAI
        "aaai2018": VecMapPreset(
            "dictionary", _UNIT_CENTRE, partial(whitened, src_exponent=0.0, tgt_exponent=1.0)
        ),
        "acl2017": VecMapPreset("numerals", _UNIT_CENTRE, _PLAIN_LOOP),
        "acl2017-seed": VecMapPreset("dictionary", _UNIT_CENTRE, _PLAIN_LOOP),
        # Artetxe et al. (2016), "Learning principled bilingual mappings of word embeddings", EMNLP
        "emnlp2016": VecMapPreset("dictionary", _UNIT_CENTRE, _orthogonal),
    }
)
