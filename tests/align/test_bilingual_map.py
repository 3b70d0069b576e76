from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.errors import InputError, OutputError, UsageError
from align.mapping import BilingualMap, procrustes
from align.normalize import ITERATIVE, UNIT_CENTRE_UNIT, normalize


@pytest.fixture
def space() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(200, 12)) * np.linspace(2, 0.5, 12) + 0.3).astype(np.float32)


def _map(space: np.ndarray) -> BilingualMap:
    rng = np.random.default_rng(1)
    _, src = normalize(space, UNIT_CENTRE_UNIT)
    _, tgt = normalize(space[:, :9], ("whiten", "remove:2"))
    return BilingualMap(
        rng.normal(size=(12, 7)),
        rng.normal(size=(9, 7)),
        "planted",
        5,
        src,
        tgt,
        converged=False,
        n_iter=3,
        history=(0.5, 0.25),
        options={"seed": 1, "name": "ü"},
    )


def test_a_saved_map_comes_back_bit_for_bit(space: np.ndarray, tmp_path: Path) -> None:
    made = _map(space)
    made.save(tmp_path / "map")
    loaded = BilingualMap.load(tmp_path / "map")
    np.testing.assert_array_equal(loaded.map_src(space), made.map_src(space))
    np.testing.assert_array_equal(loaded.map_tgt(space[:, :9]), made.map_tgt(space[:, :9]))
    assert (loaded.converged, loaded.n_iter, loaded.history) == (False, 3, (0.5, 0.25))
    assert dict(loaded.options) == {"seed": 1, "name": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_nothing_is_overwritten_unasked(space: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists"):
        _map(space).save(tmp_path / "map")
    with pytest.raises(OutputError, match="only a map directory"):
        _map(space).save(tmp_path / "map", overwrite=True)
    assert (tmp_path / "map" / "mine.txt").read_text() == "keep"
    (tmp_path / "map" / "mine.txt").unlink()
    _map(space).save(tmp_path / "map", overwrite=True)
    procrustes(space, space).bilingual().save(tmp_path / "map", overwrite=True)
    assert BilingualMap.load(tmp_path / "map").method == "procrustes"


def test_damaged_maps_are_refused(space: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no map here"):
        BilingualMap.load(tmp_path)
    _map(space).save(tmp_path / "map")
    whole = (tmp_path / "map" / "map.safetensors").read_bytes()
    (tmp_path / "map" / "map.safetensors").write_bytes(whole[:-8])
    with pytest.raises(InputError, match="damaged"):
        BilingualMap.load(tmp_path / "map")


def test_wrong_widths_are_refused(space: np.ndarray) -> None:
    for call in (_map(space).map_src, _map(space).map_tgt):
        with pytest.raises(InputError, match="do not fit"):
            call(space[:, :5])
    with pytest.raises(InputError, match="do not fit"):
        procrustes(space, space).bilingual().map_tgt(space[:, :5])


def test_a_linear_map_leaves_the_target_alone(space: np.ndarray) -> None:
    fitted = procrustes(space, space[:, ::-1])
    pair = fitted.bilingual()
    np.testing.assert_array_equal(pair.map_src(space), fitted(space))
    np.testing.assert_array_equal(pair.map_tgt(space), space)


@pytest.mark.parametrize("steps", [UNIT_CENTRE_UNIT, ITERATIVE, ("whiten",), ("centre", "remove:3", "unit")])
def test_a_normalizer_repeats_what_it_did(space: np.ndarray, steps: tuple[str, ...]) -> None:
    normalized, normalizer = normalize(space, steps)
    assert normalized.dtype == space.dtype
    np.testing.assert_array_equal(normalizer(space), normalized)
    np.testing.assert_allclose(normalizer(space[:5]), normalized[:5], atol=1e-5)


def test_steps_do_what_they_say(space: np.ndarray) -> None:
    wide = space.astype(np.float64)
    removed, normalizer = normalize(wide, ("remove:2",))
    values = np.linalg.svd(wide, compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(removed, compute_uv=False)[:10], values[2:], rtol=1e-9)
    assert normalizer.arrays[0] is not None
    np.testing.assert_allclose(removed @ normalizer.arrays[0].T, 0, atol=1e-9)
    iterated, _ = normalize(wide, ITERATIVE)
    np.testing.assert_allclose(np.linalg.norm(iterated, axis=1), 1)
    once, _ = normalize(wide, UNIT_CENTRE_UNIT)
    assert np.linalg.norm(iterated.mean(axis=0)) < 0.2 * np.linalg.norm(once.mean(axis=0))


@pytest.mark.parametrize("step", ["center", "remove:0", "remove:99", "remove", ""])
def test_unknown_steps_are_refused(space: np.ndarray, step: str) -> None:
    with pytest.raises(UsageError, match="unknown step"):
        normalize(space, (step,))
