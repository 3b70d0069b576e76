"""New tokens for a tokenizer that stays: old ids, old merges first, and no token that is never made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from align.errors import InputError, OutputError, UsageError
from align.short_repr import short_repr
from vocab.modes.continued_merges import continue_merges
from vocab.modes.extended_pieces import more_pieces
from vocab.tokenizer.pipeline import (
    Algorithm,
    algorithm_of,
    bare,
    build,
    byte_tokens,
    editable_spec,
    unknown_token,
)
from vocab.tokenizer.report import TokenizerReport, changed_share, report, unreachable_tokens
from vocab.tokenizer.training import MAX_AUTO_SIZE
from vocab.tokenizer.training_words import count_chunks, count_words, training_pipeline
from vocab.tokens import Vocabulary, backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MIN_COUNT = 2  # a token seen once has a single context to be learnt from
_MULTIPLE = 64
_MAX_PIECE = 16  # characters, SentencePiece's limit
_BATCH = 1 << 16


@dataclass(frozen=True, eq=False)
class ExtendedTokenizer:
    """A tokenizer with more tokens, and how they came about.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerFast
    algorithm : str
        ``byte-bpe``, ``bpe``, ``wordpiece`` or ``unigram``.
    n_old : int
        Ids of the old tokenizer, the largest and all below; the new tokens follow.
    new_tokens : tuple of str
        By id.
    why : str
        One line on how their number was chosen.
    changed : float or None
        Share of the tokens of the source language's text that are cut otherwise now; None without such text.
    report : TokenizerReport
        Quality on an even sample of the text, at most 5,000 lines.
    sample : list of str
        That sample.
    """

    tokenizer: PreTrainedTokenizerFast
    algorithm: Algorithm
    n_old: int
    new_tokens: tuple[str, ...]
    why: str
    changed: float | None
    report: TokenizerReport
    sample: list[str]

    __repr__ = short_repr


def extend_tokenizer(
    src_tokenizer: PreTrainedTokenizerFast,
    texts: Iterable[str],
    *,
    n_new: int | Literal["auto"] = "auto",
    src_texts: Sequence[str] = (),
    max_auto: int = MAX_AUTO_SIZE,
) -> ExtendedTokenizer:
    """Give a tokenizer tokens for another language; every old token keeps its id.

    New ids begin after the last id that is in use, added tokens included. Characters of the text that the
    vocabulary lacks come first. Then, by algorithm:

    - BPE: training goes on from the present merges (:mod:`vocab.modes.continued_merges`). The new merges come
      after the old ones, so only neighbours that the old tokenizer leaves apart are joined.
    - WordPiece: the same merges give the candidates; those that greedy matching never takes in the text's
      words are left out.
    - Unigram: pieces and scores of a model of the text; see :func:`vocab.modes.extended_pieces.more_pieces`.

    Parameters
    ----------
    src_tokenizer : PreTrainedTokenizerFast
    texts : iterable of str
        Lines of the new language; read once.
    n_new : int or "auto"
        Number of new tokens. ``"auto"`` takes as many as were seen at least twice when they were made, so
        that the total is a multiple of 64, and at most `max_auto`.
    src_texts : sequence of str
        Lines of the old language, to count how many of its tokens change.
    max_auto : int
        Most tokens that ``"auto"`` adds.

    Returns
    -------
    ExtendedTokenizer

    Raises
    ------
    InputError
        If the text is empty, has nothing to add, or does not support `n_new` tokens.
    UsageError
        For an `n_new` that is no number.
    OutputError
        If a new token could never be produced: the tokenizer's own steps break it.

    Notes
    -----
    Time that of :func:`vocab.tokenizer.training.train_tokenizer`, and a pass of the old model over the
    different words.
    """
    if n_new != "auto" and (not isinstance(n_new, int) or n_new < 1):
        raise UsageError("the number of new tokens is none", got=n_new, wanted='a number or "auto"')
    asked = None if n_new == "auto" else n_new
    spec, algorithm = editable_spec(src_tokenizer)
    chunks = count_chunks(texts)
    words = count_words(training_pipeline(spec, src_tokenizer.get_vocab()), chunks)
    if not words:
        raise InputError("the text to learn new tokens from is empty", got=f"{chunks.n_lines} lines")
    ids = backend(src_tokenizer).get_vocab(with_added_tokens=True)
    n_old = max(ids.values()) + 1
    limit, min_count = (max_auto, _MIN_COUNT) if asked is None else (asked, 1)
    grow = {"unigram": _more_unigram, "wordpiece": _more_wordpiece}.get(algorithm, _more_bpe)
    tokens, model = grow(_Wish(spec, ids, words, limit, min_count, asked is None))
    text = f"{chunks.n_lines:,} lines with {len(words):,} different words"
    if not tokens:
        raise InputError("the text has no new tokens to offer", got=text)
    if asked is not None and len(tokens) < asked:
        raise InputError(
            "the text does not support so many new tokens",
            got=asked,
            wanted=f"at most {len(tokens)}",
            hint='add text, ask for fewer tokens, or let "auto" choose',
        )
    wanted = ids | {token: n_old + i for i, token in enumerate(tokens)}
    tokenizer = build(src_tokenizer, spec, model, wanted)
    if backend(tokenizer).get_vocab(with_added_tokens=True) != wanted:
        raise OutputError("the extended tokenizer has other ids than were given to it")
    vocabulary = Vocabulary.of(tokenizer)
    check_reachable(vocabulary, range(n_old, len(vocabulary)), words)
    why = f", as asked, from {text}"
    if asked is None:
        is_limit = len(tokens) > max_auto - _MULTIPLE
        why = f", the limit, from {text}" if is_limit else f": merges seen at least twice in {text}"
    return ExtendedTokenizer(
        tokenizer,
        algorithm,
        n_old,
        tuple(tokens),
        f"{len(tokens):,} new tokens after {n_old:,}{why}",
        changed_share(Vocabulary.of(src_tokenizer), vocabulary, src_texts) if src_texts else None,
        report(vocabulary, chunks.sample, find_unreachable=False),
        chunks.sample,
    )


def check_reachable(vocabulary: Vocabulary, new_ids: Collection[int], words: Mapping[str, int]) -> None:
    """Refuse a tokenizer with new tokens that neither their own spelling nor a word of the text produces.

    Raises
    ------
    OutputError
    """
    lost = unreachable_tokens(vocabulary, among=new_ids)
    if not lost:
        return
    spec = json.loads(vocabulary.tokenizer.to_str())
    made = {i for word in segments(bare(spec, spec["model"]), list(words)) for i in word}
    lost = tuple(token for token in lost if vocabulary.ids[token] not in made)
    if lost:
        raise OutputError(
            f"{len(lost)} new tokens can never be produced",
            got=", ".join(map(repr, lost[:5])),
            hint="please report this with the source model's name",
        )


def segments(tokenizer: Any, words: Sequence[str]) -> list[list[int]]:
    """Ids of each word under a bare model."""
    found: list[list[int]] = []
    for start in range(0, len(words), _BATCH):
        batch = tokenizer.encode_batch_fast(words[start : start + _BATCH], add_special_tokens=False)
        found += [encoding.ids for encoding in batch]
    return found


def _new_characters(words: Mapping[str, int], known: Collection[str], min_count: int, mark: str) -> list[str]:
    """Characters that the vocabulary lacks, the most frequent first; inside a word with the `mark`."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for i, character in enumerate(word):
            counts[mark + character if i else character] += count
    fresh = [token for token, count in counts.items() if count >= min_count and token not in known]
    return sorted(fresh, key=lambda token: (-counts[token], token))


@dataclass(frozen=True)
class _Wish:
    """What is to be extended, by what, and how far; `words` with their counts."""

    spec: Mapping[str, Any]
    ids: Mapping[str, int]
    words: Mapping[str, int]
    limit: int
    min_count: int
    is_auto: bool

    @property
    def n_old(self) -> int:
        return max(self.ids.values()) + 1

    def kept_size(self, n_supported: int) -> int:
        """How many of the supported tokens are taken."""
        n_taken = min(self.limit, n_supported)
        if not self.is_auto:
            return n_taken
        return max(n_taken - (self.n_old + n_taken) % _MULTIPLE, min(n_taken, 1))

    def filled(self, new: Sequence[str]) -> dict[str, int]:
        """The model's vocabulary with the `new` tokens after the last id.

        Added tokens that stand outside the model go into it: it counts its ids, and would give theirs away.
        """
        vocab = dict(self.spec["model"]["vocab"])
        vocab |= dict(sorted(self.ids.items(), key=lambda item: item[1]))
        return vocab | {token: self.n_old + i for i, token in enumerate(new)}

    def merged(self, fresh: Sequence[str], limit: int) -> list[tuple[str, str]]:
        """Pairs to join, on top of the old vocabulary and the `fresh` characters."""
        algorithm = algorithm_of(self.spec)
        vocab = self.filled(fresh)
        model = bare(self.spec, self.spec["model"] | {"vocab": vocab})
        tokens = [""] * (self.n_old + len(fresh))
        for token, i in vocab.items():
            tokens[i] = token
        boundary = np.zeros(len(tokens), bool)
        apart = {entry["content"] for entry in self.spec["added_tokens"]} | {unknown_token(self.spec)}
        if self.spec["model"].get("byte_fallback"):
            apart |= set(byte_tokens())
        boundary[[vocab[token] for token in apart if token in vocab]] = True
        return continue_merges(
            segments(model, list(self.words)),
            list(self.words.values()),
            tokens,
            boundary=boundary,
            max_merges=limit,
            min_count=self.min_count,
            prefix="##" if algorithm == "wordpiece" else "",
            max_length=_MAX_PIECE if algorithm == "bpe" else 0,
        ).pairs


def _more_bpe(wish: _Wish) -> tuple[list[str], dict[str, Any]]:
    fresh: list[str] = []
    if algorithm_of(wish.spec) == "bpe":  # a byte-level alphabet is complete
        fresh = _new_characters(wish.words, wish.ids, _MIN_COUNT, "")[: wish.limit]
    pairs = wish.merged(fresh, wish.limit - len(fresh))
    candidates = [*fresh, *(left + right for left, right in pairs)]
    tokens = candidates[: wish.kept_size(len(candidates))]
    pairs = pairs[: max(len(tokens) - len(fresh), 0)]
    merges = [*wish.spec["model"]["merges"], *map(list, pairs)]
    return tokens, dict(wish.spec["model"]) | {"vocab": wish.filled(tokens), "merges": merges}


def _more_wordpiece(wish: _Wish) -> tuple[list[str], dict[str, Any]]:
    spec, limit, n_old = wish.spec, wish.limit, wish.n_old
    prefix = spec["model"]["continuing_subword_prefix"]
    fresh = _new_characters(wish.words, wish.ids, _MIN_COUNT, prefix)[:limit]
    # merges that only lead to others are never matched, so that more are needed than asked for
    pairs = wish.merged(fresh, 8 * limit)
    candidates = [*fresh, *(left + right[len(prefix) :] for left, right in pairs)]
    spelled = list(wish.words)

    def settled(tokens: list[str], others: Sequence[str], size: int) -> list[str]:
        """`size` tokens that the words' segmentation takes, refilled from the others."""
        waiting = iter(others)
        while True:
            model = bare(spec, spec["model"] | {"vocab": wish.filled(tokens)})
            made = {i for word in segments(model, spelled) for i in word}
            used = [t for i, t in enumerate(tokens) if i < len(fresh) or n_old + i in made]
            refilled = used + list(islice(waiting, size - len(used)))
            if refilled == tokens:
                return tokens
            tokens = refilled

    tokens = settled(candidates[:limit], candidates[limit:], limit)
    n_taken = wish.kept_size(len(tokens))
    if n_taken < len(tokens):
        tokens = settled(tokens[:n_taken], tokens[n_taken:], n_taken)
    return tokens, dict(spec["model"]) | {"vocab": wish.filled(tokens)}


def _more_unigram(wish: _Wish) -> tuple[list[str], dict[str, Any]]:
    vocab = [list(entry) for entry in wish.spec["model"]["vocab"]]
    lowest = min(score for _, score in vocab)
    outside = sorted((i, token) for token, i in wish.ids.items() if i >= len(vocab))
    added = {entry["content"] for entry in wish.spec["added_tokens"]}
    known = {piece: score for piece, score in vocab if piece not in added}
    found = more_pieces(
        wish.words,
        known,
        taken=set(wish.ids),
        limit=wish.limit,
        min_count=wish.min_count,
        unknown=lowest - 10.0,  # what the tokenizers library charges for an unknown character
        is_auto=wish.is_auto,
    )
    pieces = found[: wish.kept_size(len(found))]
    vocab += [[token, lowest] for _, token in outside] + [list(entry) for entry in pieces]
    return [piece for piece, _ in pieces], dict(wish.spec["model"]) | {"vocab": vocab}
