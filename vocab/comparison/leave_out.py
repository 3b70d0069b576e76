"""Leave-tokens-out: delete tokens of the source vocabulary, recreate their rows, compare with the true ones.

It needs no training and no text of the target language, and there is a right answer. The source tokenizer
without the deleted tokens is a real tokenizer, so that no method can copy them; the whole one is the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.lexicon import Lexicon
from align.normalize import unit
from vocab.materials.gathering import Materials, input_matrix
from vocab.materials.text import ParallelText
from vocab.methods.expression import Expression
from vocab.methods.recipes import Kitchen
from vocab.model_files.checkpoint import open_checkpoint
from vocab.model_files.layout import find_vocabulary, match_checkpoint, model_class, read_config
from vocab.model_files.surgery import has_own_head
from vocab.modes.trimming import delete_tokens
from vocab.pipeline import lacking
from vocab.plan import Side, TransferPlan
from vocab.planning import make_plan
from vocab.progress import Decisions, Progress
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from vocab.pipeline import Prepared

_MAX_RANKED = 2000
_LEXICON_WORDS = 5000


@dataclass(frozen=True)
class Closeness:
    """Recreated rows beside the true ones.

    Attributes
    ----------
    cosine : float
        Mean cosine. Rows of a trained model have much in common, so that their mean does well by it.
    centred : float
        Mean cosine after the mean of the kept rows is taken from both: what is each token's own.
    p_at_1 : float
        Share of the recreated rows to which, centred, the true row is the nearest among the true rows of
        all deleted tokens; of a sample of 2,000 where more were deleted. Among all rows the nearest would be
        a piece that the row is made of.
    """

    cosine: float
    centred: float
    p_at_1: float


@dataclass(frozen=True)
class Recreated:
    """How close recreated rows come to the true ones.

    Attributes
    ----------
    n_deleted : int
    input : Closeness
        Of the rows of the input embeddings.
    head : Closeness or None
        Of an output head with rows of its own.
    """

    n_deleted: int
    input: Closeness
    head: Closeness | None = None


@dataclass(frozen=True, eq=False)
class LeaveOut:
    """A vocabulary with tokens deleted, and what there is to recreate them from.

    Attributes
    ----------
    kitchen : Kitchen
        From the reduced vocabulary to the whole one, with the source language's material.
    kept, deleted : ndarray of int64
        Token ids.
    matrices : dict
        True rows by side, ``input`` and, where it has its own, ``head``.
    """

    kitchen: Kitchen
    kept: NDArray[np.int64]
    deleted: NDArray[np.int64]
    matrices: dict[Side, NDArray[np.float32]]
    seed: int

    @classmethod
    def of(cls, prepared: Prepared, *, share: float = 0.1) -> LeaveOut:
        """Delete a share of the ordinary tokens, drawn by the run's seed.

        Text-reading methods get the source language's text for both sides, those that need pairs every
        sentence with itself, those that need a lexicon the most frequent words with themselves; a donor that
        speaks the source's tokenizer is ``--donor-src``.
        """
        source, seed = prepared.source, prepared.options.seed
        rng = np.random.default_rng(seed)
        tokenizer, kept = delete_tokens(source.tokenizer, share=share, rng=rng)
        whole = source.vocabulary
        is_token = np.array([bool(token) for token in whole.tokens])
        is_token[kept] = False
        matrices = _true_rows(prepared, len(whole))
        old = matrices["input"][kept]
        kitchen = Kitchen(
            Vocabulary.of(tokenizer),
            whole,
            _same_language(prepared.materials, kept),
            seed,
            Decisions(),
            Progress(),
            lambda: old,
        )
        return cls(kitchen, kept, np.flatnonzero(is_token), matrices, seed)

    def lacks(self, expression: Expression) -> str | None:
        """Why a method cannot take part, or None."""
        missing = lacking(expression, self.kitchen.materials)
        return None if not missing else f"no {' and no '.join(missing)} of the source's side"

    def recreate(self, expression: Expression) -> Recreated:
        """Plan from the reduced vocabulary to the whole one, apply, compare."""
        return self.compare(make_plan(self.kitchen, expression))

    def compare(self, plan: TransferPlan) -> Recreated:
        """Apply a plan from the reduced vocabulary to the whole one and compare the deleted rows."""
        return self._compared(lambda side, old: plan.apply(old, side=side))

    def mean_row(self) -> Recreated:
        """The mean of the kept rows in every place: what is had for nothing."""

        n_tokens = len(self.kitchen.target)

        def mean(_: Side, old: NDArray[np.float32]) -> NDArray[np.floating]:
            return np.broadcast_to(old.mean(axis=0, dtype=np.float64), (n_tokens, old.shape[1]))

        return self._compared(mean)

    def _compared(self, make: Callable[[Side, NDArray[np.float32]], NDArray[np.floating]]) -> Recreated:
        found = {
            side: self._closeness(true, make(side, true[self.kept])) for side, true in self.matrices.items()
        }
        return Recreated(len(self.deleted), found["input"], found.get("head"))

    def _closeness(self, true: NDArray[np.float32], new: NDArray[np.floating]) -> Closeness:
        common = true[self.kept].mean(axis=0, dtype=np.float64)
        made, right = new[self.deleted].astype(np.float64), true[self.deleted].astype(np.float64)
        made_own, right_own = (np.asarray(unit(rows - common)) for rows in (made, right))
        some = np.arange(len(self.deleted))
        if len(some) > _MAX_RANKED:
            some = np.random.default_rng(self.seed).choice(len(some), _MAX_RANKED, replace=False)
        scores = made_own[some] @ right_own.T
        # a tie counts against the true row, so that equal rows do not score
        rank = (scores >= scores[np.arange(len(some)), some][:, None] - 1e-9).sum(axis=1)
        return Closeness(
            float((unit(made) * unit(right)).sum(axis=1).mean()),
            float((made_own * right_own).sum(axis=1).mean()),
            float((rank == 1).mean()),
        )


def _same_language(materials: Materials, kept: NDArray[np.int64]) -> Materials:
    text = list(materials.src_text)
    vectors, lexicon = materials.src_vectors, None
    if vectors is not None:
        # no more entries than sentences: they would join the text that is aligned
        words = vectors.table(min(_LEXICON_WORDS, max(len(text), 1))).words
        lexicon = Lexicon(tuple((word, word) for word in words))
    donor = materials.donor_src
    return Materials(
        parallel=ParallelText(text, text, 0, list(range(len(text)))) if text else None,
        text=text,
        src_text=text,
        lexicon=lexicon,
        src_vectors=vectors,
        tgt_vectors=vectors,
        donor=donor,
        donor_src=None if donor is None else donor[kept],
    )


def _true_rows(prepared: Prepared, n_tokens: int) -> dict[Side, NDArray[np.float32]]:
    path, trust = prepared.source.path, prepared.options.trust_remote_code
    config = read_config(path, trust_remote_code=trust)
    checkpoint = open_checkpoint(path)
    layout = find_vocabulary(model_class(config, path, trust_remote_code=trust), config)
    tensors = match_checkpoint(layout, checkpoint)
    rows: dict[Side, NDArray[np.float32]] = {"input": input_matrix(path)[:n_tokens]}
    if has_own_head(checkpoint, tensors):
        key = next(key for key, tensor in tensors.items() if tensor.role == "head")
        rows["head"] = checkpoint.read(key).float().movedim(tensors[key].axis, 0).numpy()[:n_tokens]
    for side, matrix in rows.items():
        if len(matrix) < n_tokens:
            raise InputError(
                "the source tokenizer has more tokens than the model has rows",
                got=f"{n_tokens} tokens, {len(matrix)} rows",
                where=f"{path}: {side}",
            )
    return rows
