"""How change and substitutions are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from align.compass import CompassOptions, number_slices
from align.compass.alternatives import train_by
from benchmarks.compass_shift import _auc, _merged, _spearman, forms
from benchmarks.shared import read_columns


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("attack", {"attack", "attacks", "attacked", "attacking"}),
        ("pin", {"pin", "pins", "pinned", "pinning"}),
        ("stroke", {"stroke", "strokes", "stroked", "stroking"}),
        ("lass", {"lass", "lasses", "lassed", "lassing"}),
        ("quarry", {"quarry", "quarries", "quarried", "quarrying"}),
        ("head", {"head", "heads", "headed", "heading"}),
        ("play", {"play", "plays", "played", "playing"}),
    ],
)
def test_forms_by_spelling(word: str, expected: set[str]) -> None:
    assert forms(word) == expected


def test_forms_are_put_under_their_word() -> None:
    text = number_slices({"a": ["pins pinned a pin in it"], "b": ["pinning pins in a pine"]}, min_count=1)
    merged = _merged(text, ["pin", "absent"])
    column = merged.words.index("pin")
    assert merged.counts[:, column].tolist() == [3, 2]
    assert [len(stream) for stream in merged.streams] == [len(stream) for stream in text.streams]
    assert merged.counts[:, merged.words.index("pine")].tolist() == [0, 1]
    np.testing.assert_array_equal(merged.counts.sum(axis=1), text.counts.sum(axis=1))


def test_spearman_and_auc_are_what_others_compute() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, size=(2, 4, 30)).astype(float)
    np.testing.assert_allclose(
        _spearman(x, y), [spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)], atol=1e-12
    )
    assert _auc(np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, False, False, True])) == 0.875


@pytest.mark.data
@pytest.mark.slow
def test_asses_became_donkeys(shared_data: Path) -> None:
    def verses(name: str) -> list[str]:
        return [row[1] for row in read_columns(f"{shared_data}/bible/{name}.tsv.gz")]

    text = number_slices({"kjv": verses("eng_KJV"), "bsb": verses("eng_BSB")})
    for method in ("cade", "procrustes"):
        made = train_by(text, method=method, options=CompassOptions(epochs=5))
        assert "donkeys" in [n.word for n in made.correspond("asses", "kjv", "bsb", top=3)]
        assert "sulfur" in [n.word for n in made.correspond("brimstone", "kjv", "bsb", top=10)]
