"""Words and characters of a text as a tokenizer's pipeline cuts it: what the trainers learn from."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.errors import UsageError
from vocab.tokenizer.pipeline import Algorithm, byte_tokens, scratch
from vocab.tokens import BYTE_TO_CHAR, kind_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SAMPLE_LINES = 2_500
_COVERAGE = 0.9999  # of the characters of a text, where bytes stand in for the rest
_ACCENT_SHARE = 0.005  # of the different words; below it merged words are not worth a warning

# SentencePiece trains within runs of one script: letters, digits and the rest, each with the space before it.
_SCRIPT_RUNS = {
    "type": "Split",
    "pattern": {"Regex": r"▁?[\p{L}\p{M}]+|▁?\p{N}+|▁?[^▁\p{L}\p{M}\p{N}]+|▁"},
    "behavior": "Isolated",
    "invert": False,
}
_SINGLE_DIGITS = {"type": "Digits", "individual_digits": True}
_ASCII = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, eq=False)
class Chunks:
    """A text cut at spaces and counted.

    Attributes
    ----------
    first, inside : Counter of str
        Chunks that begin a line, and all others.
    n_lines : int
    sample : list of str
        At most 5,000 lines, evenly spaced.
    """

    first: Counter[str]
    inside: Counter[str]
    n_lines: int
    sample: list[str]


def count_chunks(texts: Iterable[str]) -> Chunks:
    """Read a text once, line by line.

    Raises
    ------
    UsageError
        For a single string, which would be read letter by letter.
    """
    if isinstance(texts, str):
        raise UsageError(
            "the text is one string", wanted="an iterable of lines", hint="pass text.splitlines()"
        )
    firsts: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    sample: list[str] = []
    n_lines, every = 0, 1
    for line in texts:
        first, *others = line.split(" ")
        firsts[first] += 1
        inside.update(others)
        if n_lines % every == 0:
            sample.append(line)
            if len(sample) == 2 * _SAMPLE_LINES:
                sample, every = sample[::2], 2 * every
        n_lines += 1
    del firsts[""], inside[""]
    return Chunks(firsts, inside, n_lines, sample)


def training_pipeline(spec: Mapping[str, Any], vocabulary: Iterable[str]) -> Tokenizer:
    """The source's normaliser and pre-tokenizer, for SentencePiece with the cuts that its trainer makes.

    SentencePiece models leave no trace of these in tokenizer.json: at each space, between scripts, and, where
    the source's `vocabulary` knows numbers by their digits alone (Llama 2, Mistral, Gemma), between digits.
    """
    if kind_of(spec) != "sentencepiece":
        return scratch(spec)
    numbers = {token.strip("▁") for token in vocabulary if re.fullmatch(r"▁?[0-9]+", token)}
    single = numbers == set("0123456789")
    return scratch(spec, _SCRIPT_RUNS, *([_SINGLE_DIGITS] if single else []))


def cut(pipeline: Tokenizer, text: str) -> list[str]:
    """Words of a text."""
    if pipeline.normalizer is not None:
        text = pipeline.normalizer.normalize_str(text)
    return [word for word, _ in pipeline.pre_tokenizer.pre_tokenize_str(text)]


def count_words(pipeline: Tokenizer, chunks: Chunks) -> Counter[str]:
    """Words as the pipeline cuts them, each different chunk once.

    A chunk inside a line is cut with its space or without, whichever gives what the whole line would.
    """
    probes = [("ab", "cd"), ("x.", "(y"), ("1", "2"), ("don't", "'s")]
    before = ""
    for before in (" ", ""):
        if all(cut(pipeline, f"{a} {b}") == cut(pipeline, a) + cut(pipeline, before + b) for a, b in probes):
            break
    words: Counter[str] = Counter()
    for prefix, counts in (("", chunks.first), (before, chunks.inside)):
        for chunk, count in counts.items():
            for word in cut(pipeline, prefix + chunk):
                words[word] += count
    return words


def base_alphabet(
    words: Mapping[str, int],
    pipeline: Tokenizer,
    model: Mapping[str, Any],
    algorithm: Algorithm,
    vocab_size: int,
) -> list[str]:
    """Tokens that every vocabulary of this text has: bytes or characters, in a fixed order.

    Where bytes stand in for unknown characters, the rarest 0.01 % of the text's are left to them. Elsewhere
    all are taken (at most half the vocabulary, the most frequent first) and ASCII, seen or not; for WordPiece
    also as continuation.
    """
    if algorithm == "byte-bpe":
        return sorted(BYTE_TO_CHAR.values())
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    if model.get("byte_fallback"):
        left_out, n_spare = set(), (1.0 - _COVERAGE) * sum(characters.values())
        for character in reversed(ranked):
            n_spare -= characters[character]
            if n_spare < 0:
                break
            left_out.add(character)
        return byte_tokens() + sorted(set(ranked) - (left_out - _ASCII))
    ascii_seen = {c for c in _ASCII if "".join(cut(pipeline, c)).strip("▁") == c}
    n_forms = 2 if algorithm == "wordpiece" else 1
    chosen = sorted(ascii_seen | set(ranked[: vocab_size // (2 * n_forms)]))
    if algorithm == "unigram":
        return chosen
    # three words mean that the character always stands alone, like BERT's commas
    return chosen + [
        f"##{c}" for c in chosen if algorithm == "wordpiece" and len(cut(pipeline, f"a{c}a")) < 3
    ]


def count_merged_by_accents(pipeline: Tokenizer, chunks: Chunks) -> int:
    """Different words that the normaliser makes equal by stripping accents; warns if they are many."""
    normalizer = pipeline.normalizer
    if normalizer is None or normalizer.normalize_str("é").strip("▁ ") != "e":
        return 0
    lowered = normalizer.normalize_str("A") == normalizer.normalize_str("a")
    fold: Callable[[str], str] = str.lower if lowered else str
    forms = {
        unicodedata.normalize("NFC", fold(chunk)) for chunk in chunks.first.keys() | chunks.inside.keys()
    }
    stripped = Counter(normalizer.normalize_str(form) for form in forms)
    n_merged = sum(count for count in stripped.values() if count > 1)
    if n_merged > _ACCENT_SHARE * len(forms):
        warnings.warn(
            f"the source tokenizer strips accents, which makes {n_merged:,} of {len(forms):,} different "
            "words of the text equal to another word",
            stacklevel=3,
        )
    return n_merged
