"""Published tokenizers of real size, from the shared evaluation data."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from vocab.tokens import Vocabulary

_FOCUS = {
    "de": "focus-de/bpe-50k",
    "sw": "focus-sw/bpe-50k",
    "xh": "focus-xh/bpe-50k",
    "sw-unigram": "focus-sw/xlmr-unigram-50k",
}


def _read(path: Path) -> str:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read()


@cache
def vocabulary_of(name: str, shared_data: Path) -> Vocabulary:
    """``de``, ``sw``, ``xh`` (byte-level BPE), ``sw-unigram``, ``gpt2`` or ``bert-base-cased``."""
    folder = shared_data / "tokenizers"
    if name in _FOCUS:
        return Vocabulary.of(Tokenizer.from_str(_read(folder / _FOCUS[name] / "tokenizer.json.gz")))
    if name == "gpt2":
        merges = [
            tuple(line.split()) for line in _read(folder / "gpt2/vocab.bpe.gz").splitlines()[1:] if line
        ]
        tokenizer = Tokenizer(models.BPE(json.loads(_read(folder / "gpt2/encoder.json.gz")), merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(["<|endoftext|>"])
    else:
        words = _read(folder / name / "vocab.txt.gz").split("\n")
        tokenizer = Tokenizer(
            models.WordPiece({word: i for i, word in enumerate(words) if word}, unk_token="[UNK]")
        )
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return Vocabulary.of(tokenizer)
