from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from align.errors import ConvergenceError, InputError
from align.induction.self_training import best_unsupervised, self_trained
from align.normalize import normalize
from align.vectors import WordVectors


def languages(seed: int, *, related: bool = True, shared: int = 150, n: int = 600, dim: int = 20):
    """Two vocabularies in almost one order, some words alike, some nearly so; spaces turned and blurred."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghiklmnoprstuv"))
    src = list(dict.fromkeys("".join(rng.choice(letters, size=7)) for _ in range(2 * n)))[:n]
    tgt = ["".join(rng.choice(letters, size=7)).upper() for _ in range(n)]
    for number, row in enumerate(rng.permutation(n)[: 2 * shared]):
        tgt[row] = src[row] if number < shared else src[row][:-2] + "os"
    X = rng.normal(size=(n, dim)) * np.linspace(1.5, 0.5, dim)
    Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    Y = X @ Q + 0.4 * rng.normal(size=(n, dim)) if related else rng.normal(size=(n, dim))
    order = np.argsort(np.arange(n) + rng.normal(size=n) * 30)
    X, Y = (normalize(rows.astype(np.float32))[0] for rows in (X, Y[order]))
    return X, Y, src, [tgt[row] for row in order], np.argsort(order)


def test_words_spelled_alike_lead_to_the_others() -> None:
    X, Y, src, tgt, gold = languages(0)
    calls = []
    found = self_trained(X, Y, src, tgt, progress=lambda *call: calls.append(call))
    assert found.mapping.converged
    assert (gold[found.pairs[:, 0]] == found.pairs[:, 1]).mean() > 0.9
    assert len(found.pairs) > 400
    assert found.mapping.options["start"] == "identical strings"
    assert float(str(found.mapping.options["seeds_found"])) > 0.7
    assert calls == list(enumerate(found.mapping.history, start=1))
    assert (found.weights > 0).all()


def test_false_friends_leave_the_dictionary() -> None:
    X, Y, src, tgt, gold = languages(1)
    alike = [row for row, word in enumerate(src) if word in tgt]
    a, b = gold[alike[0]], gold[alike[1]]
    tgt[a], tgt[b] = tgt[b], tgt[a]
    found = dict(self_trained(X, Y, src, tgt, spelling_weight=0.2).pairs)
    assert found.get(alike[0]) != b
    assert found.get(alike[1]) != a


def test_words_without_likeness_of_meaning_are_no_start() -> None:
    X, Y, src, tgt, _ = languages(2, related=False)
    with pytest.warns(UserWarning, match="failed: vectors find .* of the words spelled alike"):
        found = self_trained(X, Y, src, tgt)
    assert not found.mapping.converged
    vectors = [WordVectors(words, rows) for words, rows in ((src, X), (tgt, Y))]
    with pytest.raises(ConvergenceError, match="no translations were found without a dictionary"):
        best_unsupervised(*vectors)


def test_an_interrupt_leaves_the_last_map() -> None:
    X, Y, src, tgt, _ = languages(3)

    def stop(number: int, share: float) -> None:
        raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = self_trained(X, Y, src, tgt, progress=stop)
    assert (found.mapping.converged, found.mapping.n_iter) == (False, 1)
    assert found.mapping.options["failure"] == "interrupted"


def test_words_and_rows_must_agree() -> None:
    X, Y, src, tgt, _ = languages(4)
    with pytest.raises(InputError, match="words do not fit the rows"):
        self_trained(X, Y, src[:-1], tgt)


@pytest.mark.data
@pytest.mark.slow
def test_german_is_found_where_vectors_alone_fail(shared_data: Path) -> None:
    words, rows = {}, {}
    for code in ("en", "de"):
        file = np.load(shared_data / f"vectors/novels/{code}.npz", allow_pickle=False)
        words[code] = [str(word) for word in file["words"]]
        rows[code] = normalize(file["matrix"].astype(np.float32))[0]
    found = self_trained(rows["en"], rows["de"], words["en"], words["de"])
    assert found.mapping.converged
    gold: dict[str, set[str]] = {}
    table = shared_data / "lexicons/xling-eval/yacle.train.freq.5k.en-de.tsv"
    for line in table.read_text(encoding="utf-8").lower().splitlines():
        src, tgt = line.split()
        gold.setdefault(src, set()).add(tgt)
    named = [(words["en"][i], words["de"][j]) for i, j in found.pairs]
    judged = [tgt in gold[src] for src, tgt in named if src in gold]
    assert len(judged) > 1000
    assert np.mean(judged) > 0.15  # measured: 0.213; 0.0 for VecMap without a dictionary
    rng = np.random.default_rng(0)
    shuffled = rows["de"][rng.permutation(len(rows["de"]))]
    with pytest.warns(UserWarning, match="failed"):
        assert not self_trained(rows["en"], shuffled, words["en"], words["de"]).mapping.converged
