"""Training of the target tokenizer: the source's algorithm and pipeline, the target language's words."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from align.errors import InputError
from vocab.bpe_trainer import Merges, learn_merges
from vocab.tokenizer_pipeline import (
    Algorithm,
    algorithm_of,
    build,
    byte_tokens,
    kept_tokens,
    place,
    scratch,
    source_spec,
    with_algorithm,
)
from vocab.tokenizer_report import TokenizerReport, report
from vocab.tokens import BYTE_TO_CHAR, kind_of
from vocab.unigram_trainer import learn_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

MAX_AUTO_SIZE = 50_000
_MIN_COUNT = 2  # a token that was seen once has no more than one context to be learnt from
_MULTIPLE = 64  # sizes that matrix kernels like
_REPORT_LINES = 2_500
_MAX_PIECE = 16  # characters, SentencePiece's limit
_COVERAGE = 0.9995  # of the characters of a text, where bytes stand in for the rest (SentencePiece's default)
_ACCENT_SHARE = 0.005  # of the different words; below it merged words are not worth a warning

# SentencePiece trains within runs of one script; letters, digits and the rest, each with the space before it.
_SCRIPT_RUNS = {
    "type": "Split",
    "pattern": {"Regex": r"▁?[\p{L}\p{M}]+|▁?\p{N}+|▁?[^▁\p{L}\p{M}\p{N}]+|▁"},
    "behavior": "Isolated",
    "invert": False,
}
_SINGLE_DIGITS = {"type": "Digits", "individual_digits": True}
_ASCII = frozenset(map(chr, range(0x21, 0x7F)))


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
        One sentence on how the size was chosen.
    report : TokenizerReport
        Quality on (a sample of) the training text.
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
    dropped: tuple[str, ...]
    n_words: int
    n_merged_words: int


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
        they were made, rounded down to a multiple of 64, and at most `max_auto_size`.
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
        For an unknown `algorithm`.

    Warns
    -----
    UserWarning
        If the source's normaliser strips accents and thereby makes many words of the text equal.

    Notes
    -----
    Time is about 0.1 s for 1,000 lines, memory grows with the number of different words.
    """
    spec = source_spec(src_tokenizer)
    spec = with_algorithm(spec, algorithm or algorithm_of(spec))
    algorithm = algorithm_of(spec)
    kept, dropped = kept_tokens(src_tokenizer, spec)
    units, n_lines, sample = _count_units(texts)
    steps = []
    if kind_of(spec) == "sentencepiece":
        steps.append(_SCRIPT_RUNS)
        if _splits_digits(src_tokenizer.get_vocab()):
            steps.append(_SINGLE_DIGITS)
    pipeline = scratch(spec, *steps)
    words = _count_words(pipeline, units)
    if not words:
        raise InputError("the text to train a tokenizer on is empty", got=f"{n_lines} lines")

    asked = None if vocab_size == "auto" else int(vocab_size)
    size_limit = max_auto_size if asked is None else asked
    alphabet = _alphabet(words, pipeline, spec, algorithm, size_limit)
    fixed = [token for token in alphabet if token not in kept]
    room = size_limit - len(kept) - len(fixed)
    if room < 1:
        raise InputError(
            "the vocabulary has no room beside special tokens and alphabet",
            got=size_limit,
            wanted=f"more than {len(kept) + len(fixed)}",
            hint="ask for a larger vocabulary",
        )
    merges = learn_merges(
        words,
        _single_characters(alphabet, algorithm),
        max_merges=room,
        min_count=_MIN_COUNT if asked is None else 1,
        prefix="##" if algorithm == "wordpiece" else "",
        max_length=_MAX_PIECE if algorithm in ("bpe", "unigram") else 0,
    )
    merges = _without(merges, set(kept))
    n_supported = len(kept) + len(fixed) + len(merges.pairs)
    size, why = _choose_size(asked, max_auto_size, n_supported, merges, n_lines, len(words))
    n_learnt = size - len(kept) - len(fixed)
    if n_learnt < 1:
        raise InputError(
            "too little text to train a tokenizer on",
            got=f"{n_lines} lines, {len(words)} different words",
            wanted="letters that stand together more than once",
        )

    model = dict(spec["model"])
    if algorithm == "unigram":
        pieces = learn_pieces(words, frozenset(fixed), n_pieces=n_learnt + len(fixed))
        scores = dict(zip(pieces.pieces, pieces.scores.tolist(), strict=True))
        scores = {piece: score for piece, score in scores.items() if piece not in kept}
        lowest = min(scores.values())
        scores |= {piece: lowest for piece in fixed if piece not in scores}
        if asked is not None and len(scores) < n_learnt + len(fixed):
            raise _too_large(asked, len(kept) + len(scores))
        ids = place(kept, list(scores))
        size = len(ids)
        model["vocab"] = [
            [token, scores.get(token, lowest if token in byte_tokens() else 0.0)] for token in ids
        ]
        unk = spec["model"]["unk_id"] if "unk_id" in spec["model"] else None
        unk_token = src_tokenizer.unk_token if unk is None else spec["model"]["vocab"][unk][0]
        model["unk_id"] = ids.get(unk_token) if unk_token is not None else None
    else:
        ids = place(kept, fixed + merges.tokens[:n_learnt])
        model["vocab"] = ids
        if algorithm != "wordpiece":
            model["merges"] = [list(pair) for pair in merges.pairs[:n_learnt]]
    tokenizer = build(src_tokenizer, spec, model, ids)
    n_merged = _count_merged(pipeline.normalizer, units)
    return TrainedTokenizer(
        tokenizer, algorithm, size, why, report(tokenizer, sample), tuple(dropped), len(words), n_merged
    )


def _choose_size(
    asked: int | None, limit: int, n_supported: int, merges: Merges, n_lines: int, n_words: int
) -> tuple[int, str]:
    rarest = int(merges.counts[-1]) if len(merges.counts) else 0
    text = f"{n_lines:,} lines with {n_words:,} different words"
    if asked is not None:
        if n_supported < asked:
            raise _too_large(asked, n_supported)
        return (
            asked,
            f"{asked:,} tokens as asked; the rarest was seen {rarest} times when it was made ({text})",
        )
    size = n_supported if n_supported < _MULTIPLE else n_supported - n_supported % _MULTIPLE
    if n_supported >= limit:
        return (
            size,
            f"{size:,} tokens, the limit; the rarest was seen {rarest} times when it was made ({text})",
        )
    return size, f"{size:,} tokens, as many as were seen at least twice when they were made ({text})"


def _too_large(asked: int, supported: int) -> InputError:
    return InputError(
        "the text does not support so large a vocabulary",
        got=asked,
        wanted=f"at most {supported}",
        hint='add text, ask for fewer tokens, or let "auto" choose',
    )


def _count_units(texts: Iterable[str]) -> tuple[Counter[tuple[bool, str]], int, list[str]]:
    """Count of every (begins a line, chunk between spaces), the number of lines, and an even sample of them."""
    units: Counter[tuple[bool, str]] = Counter()
    sample: list[str] = []
    n_lines, every = 0, 1
    for line in texts:
        chunks = line.split(" ")
        units[True, chunks[0]] += 1
        units.update((False, chunk) for chunk in chunks[1:])
        if n_lines % every == 0:
            sample.append(line)
            if len(sample) == 2 * _REPORT_LINES:
                sample, every = sample[::2], 2 * every
        n_lines += 1
    for empty in ((True, ""), (False, "")):
        units.pop(empty, None)
    return units, n_lines, sample


def _count_words(pipeline: Tokenizer, units: Mapping[tuple[bool, str], int]) -> Counter[str]:
    """Words as the pipeline cuts them, each different chunk once.

    A chunk inside a line is cut with its space, or without, whichever gives what the whole line would.
    """

    def cut(text: str) -> list[str]:
        if pipeline.normalizer is not None:
            text = pipeline.normalizer.normalize_str(text)
        return [piece for piece, _ in pipeline.pre_tokenizer.pre_tokenize_str(text)]

    probes = [("ab", "cd"), ("x.", "(y"), ("1", "2"), ("don't", "'s")]
    before = ""
    for before in (" ", ""):
        if all(cut(f"{a} {b}") == cut(a) + cut(before + b) for a, b in probes):
            break
    words: Counter[str] = Counter()
    for (first, chunk), count in units.items():
        for word in cut(chunk if first else before + chunk):
            words[word] += count
    return words


def _alphabet(
    words: Mapping[str, int],
    pipeline: Tokenizer,
    spec: Mapping[str, Any],
    algorithm: Algorithm,
    vocab_size: int,
) -> list[str]:
    """Tokens that every vocabulary of this text has: bytes or characters, in a fixed order."""
    if algorithm == "byte-bpe":
        return sorted(BYTE_TO_CHAR.values())
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    if spec["model"].get("byte_fallback"):
        total, seen, kept = sum(characters.values()), 0, []
        for character in ranked:
            if seen >= _COVERAGE * total:
                break
            seen += characters[character]
            kept.append(character)
        return byte_tokens() + sorted(kept)
    # ASCII belongs to every text, seen or not, unless the normaliser never lets it through
    normalizer = pipeline.normalizer
    ascii_seen = {c for c in _ASCII if normalizer is None or normalizer.normalize_str(c).strip("▁ ") == c}
    n_forms = 2 if algorithm == "wordpiece" else 1
    chosen = sorted(ascii_seen | set(ranked[: vocab_size // (2 * n_forms)]))
    if algorithm == "unigram":
        return chosen
    inner = [f"##{c}" for c in chosen if len(_cut_between_letters(pipeline, c)) < 3]
    return chosen + inner


def _cut_between_letters(pipeline: Tokenizer, character: str) -> list[Any]:
    """How a character between two letters is cut; three words where it always stands alone (BERT's commas)."""
    text = f"a{character}a"
    if pipeline.normalizer is not None:
        text = pipeline.normalizer.normalize_str(text)
    return pipeline.pre_tokenizer.pre_tokenize_str(text)


def _single_characters(alphabet: Iterable[str], algorithm: Algorithm) -> frozenset[str] | None:
    return None if algorithm == "byte-bpe" else frozenset(token for token in alphabet if len(token) == 1)


def _without(merges: Merges, taken: set[str]) -> Merges:
    """The merges without those that would spell a special token, and what is built on them."""
    gone = set(taken)
    stays = []
    for i, ((left, right), token) in enumerate(zip(merges.pairs, merges.tokens, strict=True)):
        if token in gone or left in gone or right in gone:
            gone.add(token)
        else:
            stays.append(i)
    if len(stays) == len(merges.pairs):
        return merges
    return Merges(merges.alphabet, [merges.pairs[i] for i in stays], merges.counts[stays], merges.prefix)


def _splits_digits(vocabulary: Iterable[str]) -> bool:
    """Whether a vocabulary knows numbers by their digits alone, as Llama 2, Mistral and Gemma do."""
    numbers = {token.strip("▁") for token in vocabulary if re.fullmatch(r"▁?[0-9]+", token)}
    return numbers == set("0123456789")


def _count_merged(normalizer: Any, units: Mapping[tuple[bool, str], int]) -> int:
    """Different words that stripping accents makes equal; warns if they are many."""
    if normalizer is None or normalizer.normalize_str("é").strip("▁ ") != "e":
        return 0
    lowered = normalizer.normalize_str("A") == normalizer.normalize_str("a")
    fold: Callable[[str], str] = str.lower if lowered else str
    forms = {unicodedata.normalize("NFC", fold(chunk)) for _, chunk in units}
    stripped = Counter(normalizer.normalize_str(form) for form in forms)
    n_merged = sum(count for count in stripped.values() if count > 1)
    if n_merged > _ACCENT_SHARE * len(forms):
        warnings.warn(
            f"the source tokenizer strips accents, which makes {n_merged:,} of {len(forms):,} different words of "
            "the text equal to another word",
            stacklevel=3,
        )
    return n_merged
