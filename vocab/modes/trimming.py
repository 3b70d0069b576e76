"""A tokenizer with fewer tokens: those that a text uses or a script needs, and all that these are made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, OutputError, UsageError
from align.short_repr import short_repr
from vocab.modes.merge_parts import merge_parts
from vocab.modes.script_tokens import tokens_of_scripts
from vocab.tokenizer.pipeline import (
    Algorithm,
    bare,
    build,
    editable_spec,
    scratch,
    source_spec,
    unknown_token,
)
from vocab.tokenizer.report import unreachable_tokens
from vocab.tokenizer.training_words import count_chunks, count_words
from vocab.tokens import BYTE_TO_CHAR, Vocabulary, backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_BATCH = 4096
_ASCII = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, eq=False)
class TrimmedTokenizer:
    """A tokenizer with fewer tokens, and what that did to the text.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerFast
        Its ids have no gaps; tokens stand in the old order.
    algorithm : str
        ``byte-bpe``, ``bpe``, ``wordpiece`` or ``unigram``.
    kept : (n_new,) int64
        The old id of each new one.
    why : str
        One line on what was kept.
    n_words : int
        Words of the text; 0 without one.
    n_recut : int
        Those of them that had a token which is gone.
    n_changed : int
        Those whose tokens are all there, and which are cut otherwise all the same. None for the three
        algorithms as they are trained; merges that never made their own token could be the cause.
    """

    tokenizer: PreTrainedTokenizerFast
    algorithm: Algorithm
    kept: NDArray[np.int64]
    why: str
    n_words: int
    n_recut: int
    n_changed: int

    __repr__ = short_repr


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str] = (),
    *,
    scripts: Iterable[str] = (),
    min_count: int = 1,
    vocab_size: int | None = None,
) -> TrimmedTokenizer:
    """Leave out the tokens that a text does not use, or that are not of some scripts.

    Kept besides: special and added tokens, the unknown token, bytes, ASCII characters, the characters of all
    kept tokens, and, for BPE, every token on the way to a kept one. Text whose tokens are all kept is cut as
    before: a BPE merge is kept if the token it makes and its two parts are, in the old order; a unigram
    model keeps its scores, and the best segmentation of all is the best of fewer; greedy matching takes the
    same longest match.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    texts : sequence of str
        Lines. Without any, `scripts` decide.
    scripts : iterable of str
        Names (``Latin``, ``Cyrillic``) or ISO 15924 codes: see
        :func:`vocab.modes.script_tokens.tokens_of_scripts`.
    min_count : int
        A token that the text uses less often goes.
    vocab_size : int, optional
        Most tokens to keep: the most frequent, or without a text the first.

    Returns
    -------
    TrimmedTokenizer

    Raises
    ------
    UsageError
        Without either text or scripts, with both, or for an unknown script.
    InputError
        If `vocab_size` has no room for what is always kept, or no model of the three kinds is inside.

    Notes
    -----
    Time that of encoding the text, and a few seconds for 128,000 tokens.
    """
    scripts = tuple(scripts)
    if bool(len(texts)) == bool(scripts):
        raise UsageError("a vocabulary is trimmed by text or by script", wanted="one of the two")
    if min_count < 1:
        raise UsageError("--min-count", got=min_count, wanted="a positive number")
    vocabulary = Vocabulary.of(tokenizer)
    spec, algorithm = editable_spec(tokenizer)
    if texts:
        counts = _counts(vocabulary, texts)
        order = np.flatnonzero(counts >= min_count)
        order = order[np.argsort(-counts[order], kind="stable")]
        times = "" if min_count == 1 else f" {min_count} times or more"
        rule = f"what {len(texts):,} lines use{times}"
    else:
        order = tokens_of_scripts(vocabulary, scripts)
        rule = f"what is written in {', '.join(scripts)}"
    fixed = _always_kept(vocabulary, spec, algorithm)
    mask = _closed(fixed, order, _parts(vocabulary, spec, algorithm), vocab_size)
    kept = np.flatnonzero(mask)
    trimmed = _rebuilt(tokenizer, vocabulary, spec, kept)
    n_words, n_recut, n_changed = _compare(vocabulary, spec, trimmed, texts, kept)
    if n_changed:
        warnings.warn(
            f"{n_changed:,} of {n_words:,} words are cut otherwise though all their tokens were kept: the "
            "source tokenizer's merges do not make its own tokens",
            stacklevel=2,
        )
    asked = "" if vocab_size is None else f", at most {vocab_size:,}"
    n_old = sum(1 for token in vocabulary.tokens if token)
    why = f"{len(kept):,} of {n_old:,} tokens: {rule}{asked}, and what these are made of"
    return TrimmedTokenizer(trimmed, algorithm, kept, why, n_words, n_recut, n_changed)


def delete_tokens(
    tokenizer: PreTrainedTokenizerFast, *, share: float, rng: np.random.Generator
) -> tuple[PreTrainedTokenizerFast, NDArray[np.int64]]:
    """Leave out some tokens that no other token is made of, drawn at random.

    Tokens that no text produces are not drawn. The rest of the tokenizer cuts text as before where the
    deleted tokens do not occur.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    share : float
        Of all ordinary tokens; fewer where fewer can go.
    rng : Generator

    Returns
    -------
    tokenizer : PreTrainedTokenizerFast
    kept : ndarray of int64
        The old id of each new one.

    Raises
    ------
    InputError
        If no token can go.
    """
    vocabulary = Vocabulary.of(tokenizer)
    spec, algorithm = editable_spec(tokenizer)
    ordinary = np.array([bool(surface) for surface in vocabulary.surfaces]) & ~vocabulary.special
    parts = _parts(vocabulary, spec, algorithm)
    free = ordinary & ~_always_kept(vocabulary, spec, algorithm)
    free[[part for i in np.flatnonzero(ordinary).tolist() for part in parts(i) if part != i]] = False
    n_wanted = round(share * ordinary.sum())
    drawn = rng.permutation(np.flatnonzero(free))[: 2 * n_wanted]
    lost = {vocabulary.ids[token] for token in unreachable_tokens(vocabulary, among=set(drawn.tolist()))}
    deleted = [i for i in drawn.tolist() if i not in lost][:n_wanted]
    if not deleted:
        raise InputError("no token of the vocabulary can be deleted", got=f"{ordinary.sum()} ordinary tokens")
    kept = np.array([bool(token) for token in vocabulary.tokens])
    kept[deleted] = False
    rows = np.flatnonzero(kept)
    return _rebuilt(tokenizer, vocabulary, spec, rows), rows


def _rebuilt(
    tokenizer: PreTrainedTokenizerFast,
    vocabulary: Vocabulary,
    spec: dict[str, Any],
    kept: NDArray[np.int64],
) -> PreTrainedTokenizerFast:
    ids = {vocabulary.tokens[old]: new for new, old in enumerate(kept.tolist())}
    trimmed = build(tokenizer, spec, _trimmed_model(spec, ids), ids)
    if backend(trimmed).get_vocab(with_added_tokens=True) != ids:
        raise OutputError("the trimmed tokenizer has other ids than were given to it")
    return trimmed


def _counts(vocabulary: Vocabulary, texts: Sequence[str]) -> NDArray[np.int64]:
    """How often the text uses each token."""
    counts = np.zeros(len(vocabulary), np.int64)
    for start in range(0, len(texts), _BATCH):
        ids = [i for line in vocabulary.encode(texts[start : start + _BATCH]) for i in line]
        counts += np.bincount(np.array(ids, np.int64), minlength=len(counts))
    return counts


def _always_kept(vocabulary: Vocabulary, spec: Mapping[str, Any], algorithm: Algorithm) -> NDArray[np.bool_]:
    kept = vocabulary.special | vocabulary.byte_fallback
    named = {entry["content"] for entry in spec["added_tokens"]} | {unknown_token(spec)}
    if algorithm == "byte-bpe":
        named |= set(BYTE_TO_CHAR.values())
    else:
        named |= _ASCII | {"▁", *(f"##{character}" for character in _ASCII if algorithm == "wordpiece")}
    kept[[vocabulary.ids[token] for token in named if token in vocabulary.ids]] = True
    return kept


def _parts(
    vocabulary: Vocabulary, spec: Mapping[str, Any], algorithm: Algorithm
) -> Callable[[int], Iterable[int]]:
    """What a token needs beside it: the two that its merge joins, or its characters."""
    ids = vocabulary.ids
    if algorithm in ("byte-bpe", "bpe"):
        parts = merge_parts(spec["model"])
        return lambda i: [ids[part] for part in parts(vocabulary.tokens[i])]
    mark = "##" if algorithm == "wordpiece" else ""

    def characters(i: int) -> list[int]:
        token = vocabulary.tokens[i]
        spelled = token[len(mark) :] if mark and token.startswith(mark) else token
        forms = {form for char in spelled for form in (char, mark + char)}
        return [ids[form] for form in forms if form in ids]

    return characters


def _closed(
    fixed: NDArray[np.bool_],
    order: NDArray[np.int64],
    parts: Callable[[int], Iterable[int]],
    size: int | None,
) -> NDArray[np.bool_]:
    """Fixed tokens, then those of `order` with all that they need, while there is room."""
    kept = fixed.copy()
    n_kept = int(kept.sum())
    if size is not None and size <= n_kept:
        raise InputError(
            "the vocabulary has no room beside special tokens and alphabet",
            got=size,
            wanted=f"more than {n_kept}",
            hint="ask for a larger vocabulary",
        )
    for i in order.tolist():
        if n_kept == size:
            break
        needed, waiting = set(), [i]
        while waiting:
            token = waiting.pop()
            if not kept[token] and token not in needed:
                needed.add(token)
                waiting += parts(token)
        if size is None or n_kept + len(needed) <= size:
            kept[list(needed)] = True
            n_kept += len(needed)
    return kept


def _trimmed_model(spec: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    model = dict(spec["model"])
    if isinstance(model["vocab"], list):
        unk = unknown_token(spec)
        model["vocab"] = [entry for entry in model["vocab"] if entry[0] in ids]
        model["unk_id"] = None if unk is None else ids[unk]
        return model
    model["vocab"] = {token: ids[token] for token in model["vocab"] if token in ids}
    if "merges" in model:
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if left in ids and right in ids and left + right in ids
        ]
    return model


def _compare(
    vocabulary: Vocabulary,
    spec: Mapping[str, Any],
    trimmed: PreTrainedTokenizerFast,
    texts: Sequence[str],
    kept: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Words of the text; those that lost a token; those that lost none and are cut otherwise."""
    if not texts:
        return 0, 0, 0
    words = count_words(scratch(spec), count_chunks(texts))
    before, after = bare(spec, spec["model"]), bare(spec, source_spec(trimmed)["model"])
    is_kept = np.zeros(len(vocabulary), bool)
    is_kept[kept] = True
    n_recut = n_changed = 0
    spelled = list(words)
    for start in range(0, len(spelled), _BATCH):
        batch = spelled[start : start + _BATCH]
        encoded = (side.encode_batch_fast(batch, add_special_tokens=False) for side in (before, after))
        for word, old, new in zip(batch, *encoded, strict=True):
            if not is_kept[old.ids].all():
                n_recut += words[word]
            elif old.ids != kept[new.ids].tolist():
                n_changed += words[word]
    return words.total(), n_recut, n_changed
