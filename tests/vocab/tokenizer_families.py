"""A small tokenizer of every family, trained on the same sentences in five scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from vocab.plan import Origin, TransferPlan
from vocab.tokens import BYTE_TO_CHAR, Vocabulary

SENTENCES = [
    "habari za asubuhi rafiki yangu, karibu nyumbani",
    "the naïve café, the naïve poet; the café!",
    "habari za jioni, the good old café",
    "Привет, добрый день, добрый друг",
    "مرحبا صباح الخير يا صديقي",
    "早上好 我的朋友 早上好",
    "Habari Za Leo? 12 34 (12)",
] * 3
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "".join(sorted({char for sentence in SENTENCES for char in sentence}))


def _byte_level(*, add_prefix_space: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def _unigram(*, byte_fallback: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if byte_fallback:
        spec = json.loads(tokenizer.to_str())
        spec["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
        spec["model"]["byte_fallback"] = True
        return Tokenizer.from_str(json.dumps(spec))
    return tokenizer


def _llama() -> Tokenizer:
    """BPE over text whose spaces are marks, with byte fallback; tokens may hold several words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=180, special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    spec = json.loads(tokenizer.to_str())
    vocab = spec["model"]["vocab"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    spec["model"] |= {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    return Tokenizer.from_str(json.dumps(spec))


def _wordpiece(*, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=220, special_tokens=BERT_SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


_BUILDERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": lambda: _byte_level(add_prefix_space=False),
    "byte-level, prefix space": lambda: _byte_level(add_prefix_space=True),
    "unigram": lambda: _unigram(byte_fallback=False),
    "unigram, byte fallback": lambda: _unigram(byte_fallback=True),
    "llama": _llama,
    "wordpiece, cased": lambda: _wordpiece(lowercase=False),
    "wordpiece, uncased": lambda: _wordpiece(lowercase=True),
}
FAMILIES = tuple(_BUILDERS)
WITH_BYTES = tuple(name for name in FAMILIES if "byte" in name or name == "llama")


@cache
def family(name: str) -> Vocabulary:
    return Vocabulary.of(_BUILDERS[name]())


def listed(tokens: list[bytes]) -> Vocabulary:
    """A byte-level vocabulary with exactly these tokens, ids in order."""
    spelled = ["".join(BYTE_TO_CHAR[byte] for byte in token) for token in tokens]
    return Vocabulary.of(byte_level_of({token: i for i, token in enumerate(spelled)}))


def byte_level_of(vocab: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def joined(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return b"".join(vocabulary.surfaces[i] for i in ids)


def check_pieces(plan: TransferPlan, copied: TransferPlan, tgt: Vocabulary, *, complete: bool) -> None:
    """`plan` copies what both tokenizers have, its rows sum to 1, and if `complete` no row is missing."""
    known = copied.origins != Origin.EMPTY
    np.testing.assert_array_equal(plan.origins[known], copied.origins[known])
    filled = plan.origins != Origin.EMPTY
    np.testing.assert_allclose(plan.weights.sum(axis=1), filled, atol=1e-6)
    if complete:
        assert filled[[bool(surface) for surface in tgt.surfaces]].all()
