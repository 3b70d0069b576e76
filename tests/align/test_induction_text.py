from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import power_divergence

from align.errors import InputError, UsageError
from align.induction.text import TextLexicon, lexicon_from_links, lexicon_from_text
from align.wordalign import Bitext

N_TYPES, N_PAIRS = 40, 400


def _planted() -> tuple[Bitext, tuple[str, ...], tuple[str, ...]]:
    """Sentences of words ``s<n>`` and their translations ``t<n>`` in another order, a tenth of them wrong."""
    rng = np.random.default_rng(0)
    src, tgt = [], []
    for _ in range(N_PAIRS):
        ids = rng.integers(0, N_TYPES, rng.integers(4, 10))
        noisy = np.where(rng.random(len(ids)) < 0.1, rng.integers(0, N_TYPES, len(ids)), ids)
        src.append([f"s{n}" for n in ids] + ["."])
        tgt.append([f"t{n}" for n in noisy[rng.permutation(len(ids))]] + ["."])
    return Bitext.from_words(src, tgt)


@pytest.fixture(scope="module")
def lexicon() -> TextLexicon:
    return lexicon_from_text(*_planted())


def test_planted_translations_are_found_in_spite_of_noise(lexicon: TextLexicon) -> None:
    found = lexicon.translate([f"s{n}" for n in range(N_TYPES)], top=1)
    hits = [found.of(f"s{n}")[0][0] == f"t{n}" for n in range(N_TYPES)]
    assert np.mean(hits) > 0.95
    assert not any("." in pair for pair in lexicon.lexicon())


def test_shares_and_order_are_what_they_say(lexicon: TextLexicon) -> None:
    assert (np.diff(lexicon.scores) <= 1e-12).all()
    assert (lexicon.counts >= 2).all()
    for share, words in ((lexicon.src_to_tgt, lexicon.src), (lexicon.tgt_to_src, lexicon.tgt)):
        sums = np.bincount(words, weights=share)
        assert ((share > 0) & (share <= 1 + 1e-6)).all()
        assert (sums <= 1 + 1e-5).all()


def test_significance_is_the_log_likelihood_ratio() -> None:
    links = sp.csr_array(np.array([[30.0, 2.0], [3.0, 50.0]]))
    found = lexicon_from_links(
        links, ["a", "b"], ["x", "y"], src_frequency=np.array([40, 60]), tgt_frequency=np.array([45, 55])
    )
    first = int(np.flatnonzero((found.src == 0) & (found.tgt == 0))[0])
    wanted = power_divergence([30, 10, 15, 45], [18, 22, 27, 33], lambda_="log-likelihood").statistic
    np.testing.assert_allclose(found.significance[first], wanted)
    rare = int(np.flatnonzero((found.src == 0) & (found.tgt == 1))[0])
    assert found.significance[rare] == 0  # rarer than chance


def test_unknown_words_and_bad_numbers(lexicon: TextLexicon) -> None:
    found = lexicon.translate(["s1", "unheard-of"], top=3)
    assert found.known.tolist() == [True, False]
    assert found.of("unheard-of") == []
    with pytest.raises(UsageError, match="top"):
        lexicon.translate(top=0)
    with pytest.raises(InputError, match="no pair of words"):
        lexicon_from_text(*_planted(), min_count=1e6)


def test_the_table_is_written_with_a_header(lexicon: TextLexicon, tmp_path: Path) -> None:
    lexicon.save(tmp_path / "lexicon.tsv")
    lines = [line.split("\t") for line in (tmp_path / "lexicon.tsv").read_text().splitlines()]
    assert lines[0] == ["source", "target", "count", "p(target|source)", "p(source|target)", "significance"]
    assert len(lines) == len(lexicon.src) + 1
    assert tuple(lines[1][:2]) == lexicon.lexicon().pairs[0]
    np.testing.assert_allclose(float(lines[1][2]), lexicon.counts[0], atol=0.01)
