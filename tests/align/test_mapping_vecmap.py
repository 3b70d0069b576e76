from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.mapping.vecmap import VECMAP
from align.normalize import normalize, unit


@pytest.mark.data
@pytest.mark.parametrize(
    ("preset", "recorded"),
    [("supervised", "supervised"), ("aaai2018", "aaai2018"), ("emnlp2016", "orthogonal")],
)
def test_presets_with_a_dictionary_equal_the_recorded_program(
    shared_golden: Path, preset: str, recorded: str
) -> None:
    folder = shared_golden / "bli/small"
    chosen = VECMAP[preset]
    X, Y = (
        normalize(np.load(folder / f"{name}.npy", allow_pickle=False), chosen.steps)[0]
        for name in ("en", "es")
    )
    pairs = np.load(folder / "train_ids.npy", allow_pickle=False)
    fitted = chosen.fit(X, Y, pairs)
    wanted = [
        unit(np.load(folder / f"vecmap_{recorded}.{side}.npy", allow_pickle=False)) for side in ("src", "tgt")
    ]
    # the common space may be turned: what must agree are the cosines
    cosines = unit(fitted.map_src(X)) @ unit(fitted.map_tgt(Y)).T
    np.testing.assert_allclose(cosines, wanted[0] @ wanted[1].T, atol=1e-4)


@pytest.mark.parametrize("preset", [name for name, chosen in VECMAP.items() if chosen.seeds != "none"])
def test_presets_find_planted_translations(preset: str) -> None:
    rng = np.random.default_rng(0)
    n, dim = 300, 12
    X = rng.normal(size=(n, dim)) * np.linspace(1.5, 0.5, dim)
    Y = X @ np.linalg.qr(rng.normal(size=(dim, dim)))[0] + 0.1 * rng.normal(size=(n, dim))
    chosen = VECMAP[preset]
    X, Y = (normalize(rows.astype(np.float32), chosen.steps)[0] for rows in (X, Y))
    pairs = np.repeat(np.arange(60)[:, None], 2, axis=1)
    short = {"interval": 1} if preset in ("semi-supervised", "identical") else {}
    fitted = chosen.fit(X, Y, pairs, **short)
    cosines = unit(fitted.map_src(X)) @ unit(fitted.map_tgt(Y)).T
    assert (cosines.argmax(axis=1) == np.arange(n)).mean() > 0.97
