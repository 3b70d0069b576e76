"""How well a tokenizer fits a text, and which of its tokens no text can produce."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from align.errors import InputError
from vocab.tokens import AnyTokenizer, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BATCH = 4096
# letters, marks and digits, with apostrophes and hyphens inside; not white space, for scripts without any
_WORD = r"[\p{L}\p{M}\p{N}]+(?:['’ʼ‘\-][\p{L}\p{M}\p{N}]+)*"


@dataclass(frozen=True, eq=False)
class TokenizerReport:
    """Quality of a tokenizer on a text.

    Attributes
    ----------
    vocab_size : int
        Tokens in the vocabulary.
    n_lines, n_words, n_tokens, n_bytes : int
        Size of the text; words are runs of letters and digits, tokens exclude special ones.
    tokens_per_word : float
        Mean number of tokens that a word touches ("fertility", Rust et al. 2021).
    continued_words : float
        Share of words cut into two tokens or more (0 to 1).
    bytes_per_token : float
        UTF-8 bytes of the text for each token.
    unknown_rate : float
        Share of tokens that are the unknown token.
    n_used : int
        Tokens of the vocabulary that occur in the text.
    unreachable : tuple of str
        Ordinary tokens that no text produces; see :func:`unreachable_tokens`.
    """

    vocab_size: int
    n_lines: int
    n_words: int
    n_tokens: int
    n_bytes: int
    tokens_per_word: float
    continued_words: float
    bytes_per_token: float
    unknown_rate: float
    n_used: int
    unreachable: tuple[str, ...]


def report(
    tokenizer: AnyTokenizer | Vocabulary, texts: Iterable[str], *, find_unreachable: bool = True
) -> TokenizerReport:
    """Measure a tokenizer on a text; the same call serves source and target tokenizers.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast or tokenizers.Tokenizer
    texts : iterable of str
        Lines; read once.
    find_unreachable : bool
        Also look for tokens that no text produces, a second or two for 50,000 tokens.

    Returns
    -------
    TokenizerReport

    Raises
    ------
    InputError
        If the text has no words.
    """
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    vocabulary = Vocabulary.of(tokenizer)
    # a copy, because truncation and padding are state of the object
    inner = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    inner.no_truncation()
    inner.no_padding()
    cut = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    used = np.zeros(len(vocabulary), np.int64)
    n_lines = n_words = n_continued = n_touched = n_bytes = 0
    for batch in _batches(texts):
        n_lines += len(batch)
        n_bytes += sum(len(line.encode()) for line in batch)
        for line, encoding in zip(batch, inner.encode_batch(batch, add_special_tokens=False), strict=True):
            used += np.bincount(encoding.ids, minlength=len(used)) if encoding.ids else 0
            spans = np.array([span for _, span in cut.pre_tokenize_str(line)], np.int64).reshape(-1, 2)
            parts = _tokens_per_span(np.array(encoding.offsets, np.int64).reshape(-1, 2), spans, line)
            n_words += len(parts)
            n_touched += int(parts.sum())
            n_continued += int((parts > 1).sum())
    if n_words == 0:
        raise InputError("the text to measure a tokenizer on has no words", got=f"{n_lines} lines")
    n_tokens = int(used.sum())
    unknown = vocabulary.roles.get("unk")
    return TokenizerReport(
        vocab_size=sum(1 for token in vocabulary.tokens if token),
        n_lines=n_lines,
        n_words=n_words,
        n_tokens=n_tokens,
        n_bytes=n_bytes,
        tokens_per_word=n_touched / n_words,
        continued_words=n_continued / n_words,
        bytes_per_token=n_bytes / max(n_tokens, 1),
        unknown_rate=0.0 if unknown is None else float(used[unknown]) / max(n_tokens, 1),
        n_used=int((used > 0).sum()),
        unreachable=unreachable_tokens(vocabulary) if find_unreachable else (),
    )


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    for line in texts:
        batch.append(line)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _tokens_per_span(offsets: np.ndarray, spans: np.ndarray, line: str) -> np.ndarray:
    """Number of tokens that overlap each word, a space before the word counted in; offsets ascend."""
    begins = np.array([begin - (begin > 0 and line[begin - 1].isspace()) for begin in spans[:, 0].tolist()])
    before_end = np.searchsorted(offsets[:, 0], spans[:, 1], side="left")
    before_begin = np.searchsorted(offsets[:, 1], begins, side="right")
    return before_end - before_begin


def unreachable_tokens(
    tokenizer: AnyTokenizer | Vocabulary, *, among: Collection[int] | None = None
) -> tuple[str, ...]:
    """Tokens that no text produces, by id; of the ids `among`, or of all.

    A token is reported if the model segments its own spelling otherwise (no order of merges leads to it,
    or a better segmentation wins), if the normaliser or the pre-tokenizer always breaks it, or, for a
    WordPiece continuation, if after no beginning of one or two characters it comes out whole. Special, added,
    byte-fallback and one-character tokens are left out: they are there for what a text might hold.
    """
    vocabulary = Vocabulary.of(tokenizer)
    inner, model = vocabulary.tokenizer, vocabulary.tokenizer.model
    added = {str(token) for token in inner.get_added_tokens_decoder().values()}
    continues = vocabulary.kind == "wordpiece"
    single = [token for token in vocabulary.tokens if len(token) == 1 and token.isalnum()]
    contexts = single + [a + b for a in single[:40] for b in single[:40]] if continues else []
    lost = []
    for i, (token, surface) in enumerate(zip(vocabulary.tokens, vocabulary.surfaces, strict=True)):
        if not surface or vocabulary.special[i] or vocabulary.byte_fallback[i] or token in added:
            continue
        if among is not None and i not in among:
            continue
        piece = token[2:] if continues and surface == token[2:].encode() else token
        if len(piece) == 1:
            continue
        if piece is token or not continues:
            whole = [part.id for part in model.tokenize(token)] == [i]
        else:
            whole = any(model.tokenize(context + piece)[-1].id == i for context in contexts)
        if not whole or not _survives(inner, surface, piece):
            lost.append(token)
    return tuple(lost)


def _survives(tokenizer: Tokenizer, surface: bytes, piece: str) -> bool:
    """Whether normaliser and pre-tokenizer leave a token's spelling in one piece."""
    try:
        text = surface.decode()
    except UnicodeDecodeError:
        return True  # part of a character: its text depends on what comes next to it
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return piece in text
    return any(piece in part for part, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))


def changed_share(old: Vocabulary, new: Vocabulary, texts: Sequence[str]) -> float:
    """Share of the old tokenizer's tokens of a text that the new one does not make in the same place.

    Of texts of more than 4,096 lines an even sample is taken. Both tokenizers number their tokens alike.
    """
    sample = texts[:: -(-len(texts) // _BATCH)] if texts else texts
    kept = total = 0
    both = (side.tokenizer.encode_batch(list(sample), add_special_tokens=False) for side in (old, new))
    for first, second in zip(*both, strict=True):
        before, after = (set(zip(side.ids, side.offsets, strict=True)) for side in (first, second))
        kept += len(before & after)
        total += len(before)
    return 1.0 - kept / total if total else 0.0
