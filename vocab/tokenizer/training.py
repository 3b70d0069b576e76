"""Training of the target tokenizer: the source's algorithm and pipeline, the target language's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from align.errors import InputError, UsageError
from align.short_repr import short_repr
from vocab.tokenizer.bpe_trainer import Merges, learn_merges
from vocab.tokenizer.pipeline import (
    Algorithm,
    algorithm_of,
    build,
    kept_tokens,
    place,
    source_spec,
    unknown_token,
    with_algorithm,
)
from vocab.tokenizer.report import TokenizerReport, report
from vocab.tokenizer.training_words import (
    base_alphabet,
    count_chunks,
    count_merged_by_accents,
    count_words,
    training_pipeline,
)
from vocab.tokenizer.unigram_trainer import learn_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_AUTO_SIZE = 50_000
_MIN_COUNT = 2  # a token seen once has a single context to be learnt from
_MULTIPLE = 64  # sizes that matrix kernels like
_MAX_PIECE = 16  # characters, SentencePiece's limit


@dataclass(frozen=True, eq=False)
class TrainedTokenizer:
    """A new tokenizer and how it came about.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerFast
    algorithm : str
        ``byte-bpe``, ``bpe``, ``wordpiece`` or ``unigram``.
    vocab_size : int
        Number of tokens, special ones included; ids are ``0 .. vocab_size - 1``.
    why : str
        One line on how the size was chosen.
    report : TokenizerReport
        Quality on an even sample of the training text, at most 5,000 lines.
    sample : list of str
        Lines spread evenly over the training text, which `report` was measured on.
    dropped : tuple of str
        Reserved special tokens of the source that were left behind.
    n_words : int
        Different words in the text, as the pre-tokenizer cuts it.
    n_merged_words : int
        Different words that the source's normaliser makes equal by stripping accents.
    """

    tokenizer: PreTrainedTokenizerFast
    algorithm: Algorithm
    vocab_size: int
    why: str
    report: TokenizerReport
    sample: list[str]
    dropped: tuple[str, ...]
    n_words: int
    n_merged_words: int

    __repr__ = short_repr


def train_tokenizer(
    src_tokenizer: PreTrainedTokenizerFast,
    texts: Iterable[str],
    *,
    vocab_size: int | Literal["auto"] = "auto",
    algorithm: Algorithm | None = None,
    max_auto_size: int = MAX_AUTO_SIZE,
) -> TrainedTokenizer:
    """Train a tokenizer for a new language that fits the source's model.

    Normaliser, pre-tokenizer, decoder, post-processor, special tokens, chat template and settings are the
    source's. Special tokens keep their ids where these are smaller than the new vocabulary; the others follow
    at its end. The same text gives the same tokenizer.json, byte for byte, in whatever process.

    Parameters
    ----------
    src_tokenizer : PreTrainedTokenizerFast
        The source model's tokenizer.
    texts : iterable of str
        Lines of the target language; read once.
    vocab_size : int or "auto"
        Number of tokens, special ones included. ``"auto"`` takes as many as were seen at least twice when
        they were made by merging, rounded down to a multiple of 64, and at most `max_auto_size`.
    algorithm : str, optional
        The source's by default; for another one the pipeline is a plain one of that algorithm.
    max_auto_size : int
        Largest size that ``"auto"`` takes.

    Returns
    -------
    TrainedTokenizer

    Raises
    ------
    InputError
        If the text is empty or too small, if it does not support `vocab_size`, if `vocab_size` has no room
        for special tokens and alphabet, or if the source lacks an unknown or padding token that is needed.
    UsageError
        For an unknown `algorithm`, a `vocab_size` that is no size, or one string for a text.

    Warns
    -----
    UserWarning
        If the source's normaliser strips accents and thereby makes many words of the text equal.

    Notes
    -----
    Time 0.1 s for 1,000 lines, 0.25 s for a unigram model; memory 1 to 2 KiB for each different word.
    """
    if vocab_size != "auto" and (not isinstance(vocab_size, int) or vocab_size < 1):
        raise UsageError("the vocabulary size is no size", got=vocab_size, wanted='a number or "auto"')
    asked = None if vocab_size == "auto" else vocab_size
    spec = source_spec(src_tokenizer)
    algorithm = algorithm or algorithm_of(spec)
    spec = with_algorithm(spec, algorithm, src_tokenizer.unk_token)
    kept, dropped = kept_tokens(src_tokenizer, spec)
    chunks = count_chunks(texts)
    pipeline = training_pipeline(spec, src_tokenizer.get_vocab())
    words = count_words(pipeline, chunks)
    text = f"{chunks.n_lines:,} lines with {len(words):,} different words"
    if not words:
        raise InputError("the text to train a tokenizer on is empty", got=f"{chunks.n_lines} lines")

    limit = max_auto_size if asked is None else asked
    alphabet = base_alphabet(words, pipeline, spec["model"], algorithm, limit)
    fixed = [token for token in alphabet if token not in kept]
    n_base = len(kept) + len(fixed)
    if limit <= n_base:
        raise InputError(
            "the vocabulary has no room beside special tokens and alphabet",
            got=limit,
            wanted=f"more than {n_base}",
            hint="ask for a larger vocabulary",
        )
    characters = frozenset(token for token in alphabet if len(token) == 1)
    merges = learn_merges(
        words,
        None if algorithm == "byte-bpe" else characters,
        max_merges=limit - n_base,
        min_count=_MIN_COUNT if asked is None else 1,
        prefix="##" if algorithm == "wordpiece" else "",
        max_length=_MAX_PIECE if algorithm in ("bpe", "unigram") else 0,
    )
    merges = _without(merges, kept)
    if not merges.pairs:
        raise InputError(
            "too little text to train a tokenizer on", got=text, wanted="letters that stand together twice"
        )
    # for a unigram model, too, the number of merges is the number of pieces that the text supports
    size = _size(asked, n_base + len(merges.pairs), n_base)
    if algorithm == "unigram":
        model, ids = _unigram(spec, words, fixed, kept, size)
    else:
        learnt = merges.pairs[: size - n_base]
        ids = place(kept, fixed + merges.tokens[: len(learnt)])
        model = spec["model"] | {"vocab": ids}
        if algorithm != "wordpiece":
            model["merges"] = [list(pair) for pair in learnt]
    if asked is not None and len(ids) < asked:
        raise InputError(
            "the text does not support so large a vocabulary",
            got=asked,
            wanted=f"at most {len(ids)}",
            hint='add text, ask for fewer tokens, or let "auto" choose',
        )
    tokenizer = build(src_tokenizer, spec, model, ids)
    return TrainedTokenizer(
        tokenizer,
        algorithm,
        len(ids),
        _why(asked, limit, len(ids), int(merges.counts[size - n_base - 1]), text),
        report(tokenizer, chunks.sample),
        chunks.sample,
        tuple(dropped),
        len(words),
        count_merged_by_accents(pipeline, chunks),
    )


def _size(asked: int | None, n_supported: int, n_base: int) -> int:
    """The size to build: as asked, or all that is supported; never more, and at least one learnt token."""
    if asked is not None:
        return min(asked, n_supported)
    return max(n_supported - n_supported % _MULTIPLE, n_base + 1)


def _why(asked: int | None, limit: int, size: int, rarest: int, text: str) -> str:
    if asked is not None:
        return f"{size:,} tokens as asked; the rarest merge was seen {rarest:,} times in {text}"
    if size > limit - _MULTIPLE:
        return f"{size:,} tokens, the limit; the rarest merge was seen {rarest:,} times in {text}"
    return f"{size:,} tokens: merges seen at least twice in {text}"


def _unigram(
    spec: Mapping[str, Any],
    words: Mapping[str, int],
    fixed: Sequence[str],
    kept: Mapping[str, int],
    size: int,
) -> tuple[dict[str, Any], dict[str, int]]:
    """A unigram model of at most `size` tokens, and its ids."""
    n_seen = len(set(fixed) & {character for word in words for character in word})
    pieces = learn_pieces(words, frozenset(fixed), n_pieces=size - len(kept) - (len(fixed) - n_seen))
    learnt = zip(pieces.pieces, pieces.scores.tolist(), strict=True)
    scores = {piece: score for piece, score in learnt if piece not in kept}
    lowest = min(scores.values())
    # characters that the text lacks, and the bytes of a fallback, are there but never preferred
    scores |= {piece: lowest for piece in fixed if piece not in scores}
    ids = place(kept, list(scores))
    unk = unknown_token(spec)
    special = {entry["content"] for entry in spec["added_tokens"]} | {unk}
    vocab = [[token, 0.0 if token in special else scores.get(token, lowest)] for token in ids]
    model = {name: value for name, value in spec["model"].items() if name != "unk_token"}
    return model | {"vocab": vocab, "unk_id": None if unk is None else ids[unk]}, ids


def _without(merges: Merges, taken: Mapping[str, int]) -> Merges:
    """The merges without those that would spell a special token, and what is built on them."""
    gone = set(taken)
    stays = []
    for i, ((left, right), token) in enumerate(zip(merges.pairs, merges.tokens, strict=True)):
        if token in gone or left in gone or right in gone:
            gone.add(token)
        else:
            stays.append(i)
    return Merges(merges.alphabet, [merges.pairs[i] for i in stays], merges.counts[stays], merges.prefix)
