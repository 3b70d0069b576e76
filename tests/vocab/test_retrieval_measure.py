from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError
from vocab.evaluation import retrieval, sentence_vectors


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), noise=st.sampled_from([0.1, 1.0, 3.0]))
def test_figures_are_those_of_sorting(seed: int, n: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    src = rng.standard_normal((n, 6))
    tgt = src + noise * rng.standard_normal((n, 6))
    cosine = (tgt @ src.T) / np.linalg.norm(tgt, axis=1)[:, None] / np.linalg.norm(src, axis=1)
    to_src = np.array([np.argsort(-row).tolist().index(i) + 1 for i, row in enumerate(cosine)])
    to_tgt = np.array([np.argsort(-row).tolist().index(i) + 1 for i, row in enumerate(cosine.T)])
    result = retrieval(src * rng.uniform(0.1, 9, (n, 1)), tgt)  # lengths do not matter
    assert result.n_pairs == n
    np.testing.assert_allclose(
        [result.tgt_to_src, result.src_to_tgt, result.mrr],
        [(to_src == 1).mean(), (to_tgt == 1).mean(), ((1 / to_src).mean() + (1 / to_tgt).mean()) / 2],
        rtol=1e-12,
    )


def test_planted_pairs() -> None:
    """One of two wrong pairs is found from one side only."""
    src = np.eye(4)
    tgt = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.0, 0, 0.9, 0.1]])
    result = retrieval(src, tgt)
    assert (result.tgt_to_src, result.src_to_tgt) == (0.75, 1.0)
    np.testing.assert_allclose(result.mrr, (3 + 1 / 2 + 4) / 8)
    turned = retrieval(tgt, src)
    assert (turned.tgt_to_src, turned.src_to_tgt) == (1.0, 0.75)


@pytest.mark.parametrize("n", [2, 7, 33, 100])
@pytest.mark.parametrize("dim", [3, 16, 33])
def test_ties_count_against_the_translation(n: int, dim: int) -> None:
    """A model that says the same of every sentence finds nothing."""
    rng = np.random.default_rng(n * dim)
    src = np.tile(rng.standard_normal(dim).astype(np.float32), (n, 1))
    tgt = np.tile(rng.standard_normal(dim).astype(np.float32), (n, 1))
    for pair in ((src, tgt), (src, src), (np.zeros_like(src), tgt)):
        result = retrieval(*pair)
        assert (result.tgt_to_src, result.src_to_tgt) == (0, 0)
        np.testing.assert_allclose(result.mrr, 1 / n)


def test_bad_vectors() -> None:
    good = np.ones((3, 2))
    for src, tgt in ((good, good[:2]), (good[:0], good[:0])):
        with pytest.raises(InputError, match="one vector a sentence"):
            retrieval(src, tgt)
    with pytest.raises(InputError, match="not finite"):
        retrieval(good, np.array([[1, 2], [np.nan, 0], [1, 1]]))


def test_sentence_vectors_do_not_depend_on_the_batch(
    make_model: Callable[..., Any], tokenizers: Mapping[str, Any]
) -> None:
    import torch

    tokenizer = tokenizers["bert"]
    model = make_model("bert-base", tokenizer)
    sentences = ["habari", "the old man walked to the river", "the moon", "watoto wanacheza mpira uwanjani"]
    vectors = sentence_vectors(model, tokenizer, sentences)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        sentence_vectors(model, tokenizer, sentences, batch_size=1), vectors, atol=1e-5
    )
    with torch.inference_mode():
        hidden = model(**tokenizer(sentences[1], return_tensors="pt")).last_hidden_state[0].numpy()
    mean = hidden.mean(axis=0)
    np.testing.assert_allclose(vectors[1], mean / np.linalg.norm(mean), atol=1e-5)
    cut = sentence_vectors(model, tokenizer, sentences, max_length=4)
    assert np.abs(cut[1] - vectors[1]).max() > 1e-3
    with pytest.raises(InputError, match="no sentences"):
        sentence_vectors(model, tokenizer, [])
