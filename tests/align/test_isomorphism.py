from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from align.errors import InputError, UsageError
from align.evaluation import eigenvector_similarity, hubness, relational_similarity
from align.evaluation.isomorphism import neighbor_graph
from align.mapping import procrustes
from align.neighbors import top_k
from align.normalize import normalize, unit


def rotated(n=120, dim=10, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim))
    W = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return X, (X + noise * rng.standard_normal(X.shape)) @ W


def test_relational_similarity_is_the_correlation_of_the_cosines():
    X, Y = rotated(n=30, noise=0.5)
    A, B = unit(X) @ unit(X).T, unit(Y) @ unit(Y).T
    pairs = [(i, j) for i in range(30) for j in range(i)]
    expected = stats.pearsonr([A[p] for p in pairs], [B[p] for p in pairs]).statistic
    assert relational_similarity(X, Y) == pytest.approx(expected)
    assert 0.3 < expected < 0.95


def test_relational_similarity_falls_with_noise_and_needs_the_pairing():
    values = [relational_similarity(*rotated(noise=noise)) for noise in (0.0, 0.3, 1.0, 3.0)]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True)
    X, Y = rotated()
    assert abs(relational_similarity(X, Y[::-1])) < 0.2
    assert relational_similarity(X, np.hstack([Y, np.zeros((120, 4))])) == pytest.approx(1.0)


def naive_spectrum(rows, n_neighbors):
    S = unit(rows) @ unit(rows).T
    np.fill_diagonal(S, -2)
    A = np.zeros_like(S)
    for i, row in enumerate(S):
        for j in np.argsort(-row, kind="stable")[:n_neighbors]:
            A[i, j] = A[j, i] = 1
    return A, np.sort(np.linalg.eigvalsh(np.diag(A.sum(axis=1)) - A))[::-1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(5, 40), st.integers(1, 3), st.sampled_from([0.5, 0.9, 1.0]))
def test_spectra_are_those_of_the_dense_laplacian(seed, n, n_neighbors, energy):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, 5)), rng.standard_normal((n + 3, 4))
    found = eigenvector_similarity(X, Y, n_neighbors=n_neighbors, energy=energy)
    (A, src), (_, tgt) = naive_spectrum(X, n_neighbors), naive_spectrum(Y, n_neighbors)
    np.testing.assert_array_equal(neighbor_graph(X, n_neighbors).toarray(), A)
    np.testing.assert_allclose(found.src_eigenvalues, src, atol=1e-9)
    np.testing.assert_allclose(found.tgt_eigenvalues, tgt, atol=1e-9)
    # the first k that reach the energy, by adding one eigenvalue after the other
    ks = [
        next(k for k in range(1, len(s) + 1) if s[:k].sum() >= energy * s.sum() * (1 - 1e-9))
        for s in (src, tgt)
    ]
    assert found.n_eigenvalues == min(ks)
    assert found.distance == pytest.approx(((src - tgt[:n])[: min(ks)] ** 2).sum(), abs=1e-9)


def test_spectral_distance_of_isomorphic_spaces_is_zero():
    X, Y = rotated()
    order = np.random.default_rng(1).permutation(len(X))
    assert eigenvector_similarity(X, Y[order]).distance < 1e-20
    assert eigenvector_similarity(X, rotated(seed=5)[0]).distance > 0.1


def test_copies_of_a_row_are_neighbours_of_each_other_not_of_themselves():
    graph = neighbor_graph(np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]]), 1).toarray()
    np.testing.assert_array_equal(np.diag(graph), 0)
    assert (graph.sum(axis=1) >= 1).all()


def test_hubness_counts_occurrences():
    indices = np.array([[0, 1], [0, 2], [0, -1], [2, 0]])
    found = hubness(indices, 5)
    np.testing.assert_array_equal(found.counts, [4, 1, 2, 0, 0])
    assert (found.top_hub, found.top_count, found.anti_hubs) == (0, 4, 0.4)
    assert found.skewness == pytest.approx(stats.skew([4, 1, 2, 0, 0]))
    assert hubness(np.array([[0], [1]]), 2).skewness == 0.0


def test_a_common_mean_makes_hubs():
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((400, 50)) + 0.7, rng.standard_normal((500, 50)) + 0.7
    plain = hubness(top_k(X, Y, 10).indices, 500)
    centred = hubness(top_k(X - X.mean(axis=0), Y - Y.mean(axis=0), 10).indices, 500)
    assert plain.skewness > 2 * centred.skewness
    assert plain.anti_hubs > centred.anti_hubs
    assert plain.top_count > centred.top_count


def test_bad_input():
    X, Y = rotated(n=10)
    with pytest.raises(InputError, match="do not pair up"):
        relational_similarity(X, Y[:9])
    with pytest.raises(InputError, match="are equal"):
        relational_similarity(np.ones((4, 2)), X[:4])
    with pytest.raises(UsageError, match="out of range"):
        eigenvector_similarity(X, Y, energy=0)
    with pytest.raises(InputError, match="a graph needs two rows"):
        eigenvector_similarity(X[:1], Y)
    with pytest.raises(InputError, match="do not fit the candidates"):
        hubness(np.array([[3]]), 3)


@pytest.mark.data
def test_related_languages_are_closer_than_unrelated_words(shared_data):
    from align.lexicon import read_lexicon
    from align.vectors import read_vectors

    src, tgt = (
        read_vectors(shared_data / "vectors" / "novels" / f"{c}.npz", limit=8000) for c in ("en", "fr")
    )
    test = read_lexicon(shared_data / "lexicons" / "xling-eval" / "yacle.train.freq.5k.en-fr.tsv")
    rows = np.stack([src.indices_of([s for s, _ in test]), tgt.indices_of([t for _, t in test])], axis=1)
    rows = rows[(rows >= 0).all(axis=1)][:1000]
    X, Y = normalize(src.matrix)[0][rows[:, 0]], normalize(tgt.matrix)[0][rows[:, 1]]
    related = relational_similarity(X, Y)
    assert related > 0.2
    assert abs(relational_similarity(X, Y[::-1])) < 0.05
    assert procrustes(X, Y).residual < 1
