"""How good a transfer is before any training: sentence retrieval between the old and the new model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Retrieval:
    """Sentence retrieval in both directions over the same pairs; all figures are fractions.

    ``mrr`` is the mean reciprocal rank over the two directions.
    """

    n_pairs: int
    tgt_to_src: float
    src_to_tgt: float
    mrr: float


def sentence_vectors(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    *,
    batch_size: int = 64,
    max_length: int = 128,
) -> NDArray[np.float32]:
    """Unit vectors of sentences: the mean of the last hidden states over the attention mask.

    Parameters
    ----------
    model : PreTrainedModel
        A base model, whose output has ``last_hidden_state``.
    max_length : int
        Tokens a sentence; the rest is cut.

    Returns
    -------
    ndarray of float32, shape (len(sentences), dim)

    Notes
    -----
    Sentences are sorted by length for the batches, and returned in their order.
    """
    import torch

    order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
    vectors: NDArray[np.float32] | None = None
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = tokenizer(
            [sentences[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][:, :, None]
        pooled = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1), dim=1)
        if vectors is None:
            vectors = np.empty((len(sentences), pooled.shape[1]), dtype=np.float32)
        vectors[rows] = pooled.cpu().numpy()
    if vectors is None:
        raise InputError("no sentences to encode", wanted="one or more")
    return vectors


def retrieval(src_vectors: NDArray[np.floating], tgt_vectors: NDArray[np.floating]) -> Retrieval:
    """Find each sentence's translation by cosine among all sentences of the other side.

    Parameters
    ----------
    src_vectors, tgt_vectors : ndarray, shape (n, dim)
        Row *i* of both belongs to pair *i*. Need not be normalised.

    Raises
    ------
    InputError
        When the shapes differ or hold no pair, or a vector is not finite.

    Notes
    -----
    A tie counts against the translation, so that identical vectors do not score; cosines within 1e-6 are
    tied, because a matrix product rounds equal rows differently. O(n**2 * dim) time, n**2 floats of memory:
    meant for test sets of thousands.
    """
    if src_vectors.shape != tgt_vectors.shape or len(src_vectors) == 0:
        raise InputError(
            "retrieval needs one vector a sentence on both sides",
            got=f"{src_vectors.shape} and {tgt_vectors.shape}",
        )
    if not (np.isfinite(src_vectors).all() and np.isfinite(tgt_vectors).all()):
        raise InputError("sentence vectors that are not finite", hint="the model's output holds NaN")

    def unit(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
        return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)

    similarity = unit(tgt_vectors) @ unit(src_vectors).T
    own = np.diagonal(similarity) - 1e-6
    tgt_rank = (similarity >= own[:, None]).sum(axis=1)
    src_rank = (similarity >= own[None, :]).sum(axis=0)
    return Retrieval(
        n_pairs=len(own),
        tgt_to_src=float((tgt_rank == 1).mean()),
        src_to_tgt=float((src_rank == 1).mean()),
        mrr=float(np.concatenate([1 / tgt_rank, 1 / src_rank]).mean()),
    )
