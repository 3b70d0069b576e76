from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from align.evaluation import bli
from align.induction.presets import best
from align.induction.ranked import RankedInducer
from align.induction.text import TextLexicon, lexicon_from_links
from align.induction.text_evidence import TextEvidence
from align.lexicon import Lexicon
from align.vectors import WordVectors

N, DIM, N_TRAIN = 500, 20, 150


@pytest.fixture(scope="module")
def spaces() -> tuple[WordVectors, WordVectors]:
    """Word ``s7`` is ``t7``, but so much noise is in the vectors that most neighbours are wrong."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, DIM))
    rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    Y = X @ rotation + 1.2 * rng.normal(size=X.shape)
    src, tgt = ([f"{side}{n}" for n in range(N)] for side in "st")
    return WordVectors(tuple(src), X.astype(np.float32)), WordVectors(tuple(tgt), Y.astype(np.float32))


@pytest.fixture(scope="module")
def text() -> TextLexicon:
    """Links of two words in three to their translation, and as many again to other words."""
    rng = np.random.default_rng(1)
    table = sp.lil_array((N + 2, N + 2))
    for n in range(N):
        if rng.random() < 2 / 3:
            table[n, n] = 3 + rng.poisson(4)
        table[n, rng.integers(N)] += 2 + rng.poisson(1)
    table[N, N + 1] = 9  # words without vectors
    words = [[f"{side}{n}" for n in range(N)] + ["extra", "more"] for side in "st"]
    totals = [np.asarray(table.sum(axis=axis)).ravel().astype(np.int64) + 1 for axis in (1, 0)]
    return lexicon_from_links(
        sp.csr_array(table), *words, src_frequency=totals[0], tgt_frequency=totals[1], letters_only=False
    )


def _lexicon(rows: range) -> Lexicon:
    return Lexicon(tuple((f"s{n}", f"t{n}") for n in rows))


def test_text_counts_beside_vectors(
    spaces: tuple[WordVectors, WordVectors], text: TextLexicon, tmp_path: Path
) -> None:
    train, test = _lexicon(range(N_TRAIN)), _lexicon(range(N_TRAIN, N))
    fit = partial(best, *spaces, train, strings=False)
    with_text, without = fit(text=text), fit()
    p_text = bli(text, test, protocol="muse").p_at[1]
    p_both, p_vectors = (bli(inducer, test, protocol="muse").p_at[1] for inducer in (with_text, without))
    assert p_both > max(p_text, p_vectors) + 0.05
    assert any(name.startswith("text: ") for name in with_text.ranker.names)

    with_text.save(tmp_path / "inducer")
    loaded = RankedInducer.load(tmp_path / "inducer", *spaces)
    queries = [f"s{n}" for n in range(N_TRAIN, N)]
    for again, first in zip(
        (loaded.translate(queries).indices, loaded.translate(queries).scores),
        (with_text.translate(queries).indices, with_text.translate(queries).scores),
        strict=True,
    ):
        np.testing.assert_array_equal(again, first)


def test_evidence_is_what_the_text_says(spaces: tuple[WordVectors, WordVectors], text: TextLexicon) -> None:
    evidence = TextEvidence.of(text, *spaces)
    first = next(n for n, (s, t) in enumerate(text.lexicon()) if s[1:].isdigit() and t[1:].isdigit())
    row, column = (int(word[1:]) for word in text.lexicon().pairs[first])
    values = evidence.values(np.array([row, row]), np.array([column, (column + 1) % N]))
    np.testing.assert_allclose(values["text: links"][0], np.log1p(text.counts[first]), rtol=1e-6)
    np.testing.assert_allclose(values["text: share of the source word"][0], text.src_to_tgt[first], rtol=1e-6)
    np.testing.assert_array_equal(values["text: linked"], [True, False])
    nearest = evidence.nearest(np.array([row]), 3)[0]
    links = evidence.counts.toarray()[row]
    assert links[nearest[0]] == links.max()
    assert nearest[2] == -1 or links[nearest[2]] <= links[nearest[1]]


def test_a_text_of_other_words_is_told(spaces: tuple[WordVectors, WordVectors], text: TextLexicon) -> None:
    other = WordVectors(tuple(word.upper() for word in spaces[0].words), spaces[0].matrix)
    with pytest.warns(UserWarning, match="have no vectors"):
        TextEvidence.of(text, other, spaces[1])
