"""From links of words to counts over the tokens of two tokenizers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign import Links
from vocab.tokens.spans import Spans, token_spans, word_spans
from vocab.tokens.vocabulary import AnyTokenizer, Vocabulary

SPREADS = ("position", "all", "head")

_LINES = 4096  # a block; the tokenizers library holds kilobytes for a line


def token_counts(
    links: Links,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    spread: str = "position",
    tokenize: str = "words",
) -> sp.csr_array:
    """How often each pair of tokens is linked, when words are.

    A token belongs to the words that it shares a character with. What a link weighs goes to each target
    token of its target word, and there to source tokens of its source word.

    Parameters
    ----------
    links : Links
        Between words, one pair of lines after another.
    src_lines, tgt_lines : sequence of str
        The text as the tokenizers shall read it; it must fall into words as the text of the links did.
    src_tokenizer, tgt_tokenizer : tokenizers or Vocabulary
    spread : {"position", "all", "head"}
        ``position``: to the source tokens that take up the same share of their word's length, by how much
        they do. ``all``: to all alike. ``head``: the first token of one word to the first of the other,
        and the rest of the tokens have nothing.
    tokenize : {"words", "whitespace"}
        How the text of the links was divided, see :func:`align.wordalign.reading.splitter`.

    Returns
    -------
    csr_array of float32, shape (n_src, n_tgt)
        For :func:`vocab.methods.trans_tokenization`. Deterministic.

    Raises
    ------
    UsageError
        For an unknown `spread` or `tokenize`.
    InputError
        If the two texts and the links do not have the same lines, or a link is to a word that is not there.

    Warns
    -----
    UserWarning
        One message for all links of words of which a tokenizer keeps nothing.

    Notes
    -----
    Time: the tokenizers', then O(cells), the products of the numbers of tokens of linked words. Memory: the
    cells of 4,096 lines, and the counts.
    """
    if spread not in SPREADS:
        raise UsageError("unknown way of spreading links", got=spread, wanted=", ".join(SPREADS))
    if len(src_lines) != len(tgt_lines):
        raise InputError(
            "parallel text of unequal length", got=f"{len(src_lines)} and {len(tgt_lines)} lines"
        )
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    counts = sp.csr_array((len(src), len(tgt)), dtype=np.float64)
    n_lost = 0
    if links.n_pairs != len(src_lines):
        raise InputError("links of another text", got=f"{links.n_pairs} lines", wanted=len(src_lines))
    for start in range(0, len(src_lines), _LINES):
        block = slice(start, start + _LINES)
        part = links.rows(np.arange(start, min(start + _LINES, len(src_lines))))
        words = [word_spans(lines[block], tokenize=tokenize) for lines in (src_lines, tgt_lines)]
        part.check(words[0].counts, words[1].counts)
        tokens, ids = zip(
            *(token_spans(side, lines[block]) for side, lines in ((src, src_lines), (tgt, tgt_lines))),
            strict=True,
        )
        link, s, t, share = _cells(part, words, tokens, spread)
        n_lost += len(part.weights) - len(np.unique(link))
        counts = (
            counts
            + sp.coo_array((part.weights[link] * share, (ids[0][s], ids[1][t])), shape=counts.shape).tocsr()
        )
    if n_lost:
        warnings.warn(f"{n_lost:,} of {len(links.weights):,} links are to words without tokens", stacklevel=2)
    return sp.csr_array(counts.astype(np.float32))


def divided_like(links: Links, src_lines: Sequence[str], tgt_lines: Sequence[str], *, where: object) -> str:
    """How the text of the links was divided into words: ``whitespace``, if all links fit it, or ``words``.

    Links of the finer division do not fit the coarser one for long; the reverse they do.

    Raises
    ------
    InputError
        If they fit neither.
    """
    for tokenize in ("whitespace", "words"):
        n_src, n_tgt = (word_spans(lines, tokenize=tokenize).counts for lines in (src_lines, tgt_lines))
        try:
            links.check(n_src, n_tgt, where=where)
        except InputError:
            if tokenize == "words":
                raise
        else:
            break
    return tokenize


def _cells(
    links: Links, words: Sequence[Spans], tokens: Sequence[Spans], spread: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Token pairs of linked words: number of the link, rows of the tokens, share of the link's weight."""
    line = np.repeat(np.arange(links.n_pairs), np.diff(links.offsets))
    src_word, tgt_word = words[0].offsets[line] + links.src, words[1].offsets[line] + links.tgt
    (src_first, src_stop), (tgt_first, tgt_stop) = (words[i].within(tokens[i]) for i in (0, 1))
    src_first, tgt_first = src_first[src_word], tgt_first[tgt_word]
    n_src, n_tgt = src_stop[src_word] - src_first, tgt_stop[tgt_word] - tgt_first
    if spread == "head":
        n_src, n_tgt = np.minimum(n_src, 1), np.minimum(n_tgt, 1)
    link = np.repeat(np.arange(len(line)), n_src * n_tgt)
    rank = _ranks(n_src * n_tgt)
    s, t = src_first[link] + rank % n_src[link], tgt_first[link] + rank // n_src[link]
    if spread != "position":
        return link, s, t, 1 / n_src[link]
    src_low, src_high = _extent(words[0], tokens[0], src_word[link], s)
    tgt_low, tgt_high = _extent(words[1], tokens[1], tgt_word[link], t)
    common = np.maximum(np.minimum(src_high, tgt_high) - np.maximum(src_low, tgt_low), 0.0)
    common[common < 1e-12] = 0  # intervals that only touch
    target = np.cumsum(rank % n_src[link] == 0) - 1  # the cells of one target token follow each other
    total = np.bincount(target, weights=common, minlength=1)[target]
    # nothing opposite, where a tokenizer passes over characters: all alike
    share = np.where(total > 0, common / np.where(total > 0, total, 1), 1 / n_src[link])
    kept = share > 0
    return link[kept], s[kept], t[kept], share[kept]


def _ranks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 to n - 1 for each n."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _extent(
    words: Spans, tokens: Spans, word: NDArray[np.int64], token: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From where to where in a word, as fractions of its length, a token goes."""
    start, length = words.starts[word], words.stops[word] - words.starts[word]
    low = np.maximum(tokens.starts[token] - start, 0) / length
    high = np.minimum(tokens.stops[token] - start, length) / length
    return low, high
