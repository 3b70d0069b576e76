"""FOCUS: new tokens as sparse mixtures of the tokens that both vocabularies share.

Dobler and de Melo (2023), "FOCUS: Effective embedding initialization for monolingual specialization of
multilingual models", arXiv:2305.14481, section 2.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import numpy as np

from align.errors import InputError, UsageError
from align.fasttext_training import TOO_LITTLE, train_fasttext
from align.fasttext_vectors import FastTextVectors
from align.normalize import unit
from align.vectors import Vectors
from vocab.methods.overlap import Overlap, anchored_plan, overlap
from vocab.methods.similarity import TokenVectors, vectors_of_texts
from vocab.methods.sparsemax import sparsemax_mix
from vocab.plan import TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary

_BATCH = 1000  # lines tokenised at once
_SEPARATORS = re.compile(r"[\0\t\n\v\f\r ]")  # what fastText cuts its input at


def focus(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    vectors: Vectors | None = None,
    texts: Iterable[str] | None = None,
    mode: Literal["token", "word"] = "token",
    fuzzy: bool = False,
    temperature: float = 1.0,
) -> TransferPlan:
    """Copy the tokens that both have; mix each other one from those that auxiliary vectors find like it.

    A new row is ``sparsemax(cosines to all anchors)`` times the anchors' old rows. Anchors are the
    copied tokens that have an auxiliary vector; special tokens are matched by role and are none.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    vectors : Vectors, optional
        Vectors of the target tokens' strings (``mode="token"``) or of words of the target language.
    texts : iterable of str, optional
        Lines in the target language to train token vectors on, instead of `vectors`; see
        :func:`train_token_vectors` for other settings than the published ones.
    mode : {"token", "word"}
        ``"word"`` looks up a token's text without surrounding white space.
    fuzzy : bool
        Also copy where tokens differ only in case or in surrounding white space.
    temperature : float
        Of the sparsemax; smaller is sparser.

    Returns
    -------
    TransferPlan
        ``COPIED`` (``MAPPED`` where fuzzy), ``SPECIAL`` and ``MIXED`` rows; tokens without a vector are left
        ``EMPTY`` for a fallback.

    Raises
    ------
    UsageError
        For both or neither of `vectors` and `texts`, texts in word mode, or a temperature that is not
        positive.

    Warns
    -----
    UserWarning
        Once, if there is no anchor: then nothing is mixed.

    Notes
    -----
    Time ``2 n_new n_anchors dim`` operations and about half more; memory at most 0.3 GiB, and 40 bytes for
    each entry of the plan, of which vectors that are much alike make many more: a thousand a row, not ten.
    The same bits for any number of threads.
    """
    if (vectors is None) == (texts is None):
        raise UsageError(
            "focus needs either vectors or texts", hint="Give target text, or vectors of its tokens"
        )
    if mode not in ("token", "word"):
        raise UsageError("unknown mode", got=mode, wanted="token or word")
    if not temperature > 0:
        raise UsageError("the temperature must be positive", got=temperature)
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    if texts is not None:
        if mode == "word":
            raise UsageError("word mode takes vectors, not texts", hint="Train them with train_fasttext")
        vectors = train_token_vectors(tgt, texts)
    taken = overlap(src, tgt, fuzzy="text" if fuzzy else None)
    if vectors is None:
        of_tokens = TokenVectors(np.empty((0, 1), np.float32), np.full(len(tgt), -1))
    elif mode == "word":
        of_tokens = vectors_of_texts(tgt, vectors)
    else:
        known = vectors.indices_of(tgt.tokens) >= 0
        known &= ~tgt.special & np.array([bool(token) for token in tgt.tokens], bool)
        of = np.where(known, np.cumsum(known) - 1, -1)
        rows = vectors.vectors_of([tgt.tokens[i] for i in np.flatnonzero(known)])
        of_tokens = TokenVectors.nonzero(rows, of)
    if not (taken.ordinary & (of_tokens.of >= 0)).any():
        warnings.warn("focus found no shared token with a vector: no new token can be mixed", stacklevel=2)
    return _focus(src, tgt, taken, of_tokens, mode, temperature)


def _focus(
    src: Vocabulary, tgt: Vocabulary, taken: Overlap, vectors: TokenVectors, mode: str, temperature: float
) -> TransferPlan:
    anchors = np.flatnonzero(taken.ordinary & (vectors.of >= 0))
    new = vectors.only(taken.new)
    mixtures = sparsemax_mix(unit(new.rows), unit(vectors.rows[vectors.of[anchors]]), temperature=temperature)
    return anchored_plan(
        src,
        tgt,
        taken,
        mixtures,
        mixture_of=new.of,
        anchors=anchors,
        method="focus",
        options={
            "mode": mode,
            "temperature": temperature,
            "dim": vectors.rows.shape[1],
            "anchors": len(anchors),
        },
    )


def train_token_vectors(
    tokenizer: AnyTokenizer | Vocabulary,
    texts: Iterable[str],
    *,
    dim: int = 100,
    epochs: int = 3,
    min_count: int = 10,
    threads: int = 1,
) -> FastTextVectors | None:
    """FastText vectors of tokens, from text cut by their tokenizer; defaults as published for FOCUS.

    Continuous bag of words with 10 negatives and n-grams of 3 to 6 characters of the tokens' spellings.

    Parameters
    ----------
    texts : iterable of str
        Read once, a thousand lines at a time.
    threads : int
        One gives the same vectors every time; several race.

    Returns
    -------
    FastTextVectors or None
        None, with a warning, if no token occurs `min_count` times.

    Notes
    -----
    Memory about ``4 dim (n_tokens + 500,000)`` bytes while training: buckets are a quarter of fastText's
    default, enough for the n-grams of a vocabulary.
    """
    vocabulary = Vocabulary.of(tokenizer)
    try:
        return train_fasttext(
            token_lines(vocabulary, texts),
            dim=dim,
            epochs=epochs,
            architecture="cbow",
            min_count=min_count,
            n_negatives=10,
            threads=threads,
            split_punctuation=False,
        )
    except InputError as error:
        if error.what != TOO_LITTLE:
            raise
        warnings.warn(f"no token occurs {min_count} times in the text: no token vectors", stacklevel=2)
        return None


def token_lines(vocabulary: Vocabulary, texts: Iterable[str]) -> Iterator[str]:
    """Each line's tokens between spaces, as fastText reads them."""
    # a token with a blank inside would be trained as two words that are no tokens
    spelled = ["" if _SEPARATORS.search(token) else token for token in vocabulary.tokens]
    lines = iter(texts)
    while batch := list(islice(lines, _BATCH)):
        for ids in vocabulary.encode(batch):
            yield " ".join(spelled[i] for i in ids if spelled[i])
