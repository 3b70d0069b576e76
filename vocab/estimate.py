"""What a transfer will cost, before it is made."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vocab.model_files.checkpoint import open_checkpoint, rewritten_bytes
from vocab.model_files.layout import find_vocabulary, match_checkpoint, model_class, read_config
from vocab.options import TransferOptions

if TYPE_CHECKING:
    from vocab.pipeline import Prepared

_SAMPLE = 2000
# Seconds per million cells of the alignment (all iterations, two threads) and per million words of tokenizer
# training, read off `python -m benchmarks stages`; other machines differ by a factor, not by an order.
_ALIGN_S_PER_MCELL = 0.4
_ALIGN_BYTES_PER_CELL = 12
_TRAIN_S_PER_MWORD = 4.0


def estimate(prepared: Prepared) -> dict[str, Any]:
    """Sizes, and rough time and memory, of a prepared transfer.

    Sentence lengths are those of an even sample of the pairs: tokens of the source tokenizer, and 1.4 tokens
    a word on the target side, whose tokenizer is not trained yet.
    """
    materials, source = prepared.materials, prepared.source
    n_words = sum(len(line.split()) for line in materials.text)
    checkpoint = open_checkpoint(source.path)
    weights = sum(tensor.stop - tensor.start for tensor in checkpoint.tensors.values())
    figures: dict[str, Any] = {
        "text_lines": len(materials.text),
        "text_words": n_words,
        "sentence_pairs": 0 if materials.parallel is None else len(materials.parallel),
        "vocabulary": _vocabulary(prepared.options, has_text=bool(materials.text)),
        "output_mb": round(weights / 1e6),
    }
    seconds = 5.0 + n_words / 1e6 * _TRAIN_S_PER_MWORD
    memory = 3 * weights / 1e6 + 500
    if "trans-tokenization" in str(prepared.method) and materials.parallel is not None:
        step = max(len(materials.parallel) // _SAMPLE, 1)
        src = source.vocabulary.encode(materials.parallel.src[::step])
        tgt_words = [len(line.split()) for line in materials.parallel.tgt[::step]]
        cells = sum(len(ids) * words * 1.4 for ids, words in zip(src, tgt_words, strict=True)) * step
        seconds += cells / 1e6 * _ALIGN_S_PER_MCELL
        memory += cells * _ALIGN_BYTES_PER_CELL / 1e6
    return figures | {"about_seconds": round(seconds), "about_memory_mb": round(memory)}


def least_bytes(prepared: Prepared) -> int:
    """Bytes of weights that the finished model has at least: those without the vocabulary's dimension."""
    trust, path = prepared.options.trust_remote_code, prepared.source.path
    config = read_config(path, trust_remote_code=trust)
    checkpoint = open_checkpoint(path)
    layout = find_vocabulary(model_class(config, path, trust_remote_code=trust), config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are said when the model is written
        changed = match_checkpoint(layout, checkpoint)
    body = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in changed}
    dtype = None if prepared.options.dtype == "keep" else prepared.options.dtype
    return rewritten_bytes(replace(checkpoint, tensors=body), {}, dtype=dtype)


def _vocabulary(options: TransferOptions, *, has_text: bool) -> int | str:
    """Size of the new vocabulary, or where it comes from."""
    if options.add_tokens is not None:
        return f"{options.add_tokens} tokens more"
    chosen = "chosen from the text" if has_text else "chosen by script"
    return options.vocab_size or options.named_tokenizer or chosen
