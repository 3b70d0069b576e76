"""The word aligner: train it on a bitext, then align that text or another one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign.alignment import Alignment, mean_alignment, row_matrix
from align.wordalign.bitext import Bitext
from align.wordalign.classes import WordClasses
from align.wordalign.expectation import EStep, Parameters
from align.wordalign.links import Links
from align.wordalign.options import AlignOptions, check_options
from align.wordalign.pairs import PairTable, build_pairs
from align.wordalign.posteriors import PairPosteriors, best_links, pair_posteriors, pair_scores
from align.wordalign.prior import Prior
from align.wordalign.row_prior import RowPrior
from align.wordalign.shards import e_steps
from align.wordalign.stems import Stems
from align.wordalign.training import fit
from align.wordalign.unseen import ClassStatistics, check_words, class_statistics, parameters_for


@dataclass(frozen=True, eq=False)
class Aligner:
    """A trained word aligner; both directions in one.

    Rows of its tables are the pairs of types that share a sentence pair of the training text. Every method
    that takes a bitext takes the words of its types too; without them ids are those of the training text.
    Words and pairs that training did not see get what the prior says of them, so they link too.

    Attributes
    ----------
    model : str
    options : AlignOptions
    history : tuple of (float, float)
        Log-likelihood of the training text in the two directions (source to target first) at every pass.
    n_iter : int
        Iterations made.
    converged : bool
        Whether the last one changed the log-likelihood by less than ``options.tol`` of it.
    indptr : int64 array, shape (n_src_types + 1,)
        Rows of source type ``s`` are ``indptr[s]`` to ``indptr[s + 1] - 1``.
    tgt : int32 array, shape (n_rows,)
        Target type of each row.
    probabilities : float32 array, shape (n_rows, 2)
        p(t | s) and p(s | t).
    null_tgt, null_src : float32 arrays, shapes (n_tgt_types,) and (n_src_types,)
        p(t | NULL) and p(s | NULL).
    jumps : float64 array, shape (2, 2 * longest + 1), (2, 2) or (2, 0)
        HMMs: the jump distributions, the middle is a jump of 0. Diagonal model: the tensions, in column 0.
    counts : scipy CSR array, float32, shape (n_src_types, n_tgt_types)
        Expected number of links in the last iteration, the mean of the directions, from ``options.min_count``
        up.
    totals_src, totals_tgt, totals_null : float64 arrays
        Sums of counts and Dirichlet parameters that the probabilities of each type, and of NULL, were divided
        by.
    frequency_src, frequency_tgt : int64 arrays
        Occurrences of each type in the training text.
    src_words, tgt_words : tuple of str, optional
        Word of each type.
    classes : WordClasses, optional
    classes_by_form : bool
        Whether the class maps are those of ``WordClasses.of_words``, which a new word has too.
    """

    model: str
    options: AlignOptions
    history: tuple[tuple[float, float], ...]
    n_iter: int
    converged: bool
    indptr: NDArray[np.int64] = field(repr=False)
    tgt: NDArray[np.int32] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    null_tgt: NDArray[np.float32] = field(repr=False)
    null_src: NDArray[np.float32] = field(repr=False)
    jumps: NDArray[np.float64] = field(repr=False)
    counts: sp.csr_array = field(repr=False)
    totals_src: NDArray[np.float64] = field(repr=False)
    totals_tgt: NDArray[np.float64] = field(repr=False)
    totals_null: NDArray[np.float64] = field(repr=False)
    frequency_src: NDArray[np.int64] = field(repr=False)
    frequency_tgt: NDArray[np.int64] = field(repr=False)
    src_words: tuple[str, ...] | None = field(default=None, repr=False)
    tgt_words: tuple[str, ...] | None = field(default=None, repr=False)
    classes: WordClasses | None = field(default=None, repr=False)
    classes_by_form: bool = False

    @property
    def tension(self) -> tuple[float, float] | None:
        """Tension of each direction of the diagonal model, else None."""
        return (float(self.jumps[0, 0]), float(self.jumps[1, 0])) if self.model == "diagonal" else None

    @cached_property
    def class_statistics(self) -> tuple[ClassStatistics, ...]:
        """What the class maps say of pairs that training did not see."""
        return class_statistics(self.counts, (self.frequency_src, self.frequency_tgt), self.classes)

    def align(
        self,
        bitext: Bitext,
        *,
        src_words: Sequence[str] | None = None,
        tgt_words: Sequence[str] | None = None,
        threshold: float | None = None,
        executor: Executor | None = None,
    ) -> Alignment:
        """Align a text by the trained model, without learning from it (forced alignment).

        Parameters
        ----------
        bitext : Bitext
        src_words, tgt_words : sequences of str, optional
            Word of each type of ``bitext``.
        threshold : float, optional
            A link is a cell whose mean posterior exceeds this; ``options.threshold`` if left out.
        executor : Executor, optional
            As for :func:`train`.

        Returns
        -------
        Alignment
            In the ids of ``bitext``. The training text gets the same bytes as :func:`align` gave it.

        Raises
        ------
        InputError
            If no sentence pair can be used, or words do not fit the text.
        UsageError
            If words are given but the aligner does not know its own.
        """
        pairs = usable_pairs(bitext, self.options)
        parameters = parameters_for(self, bitext, pairs, src_words, tgt_words)
        if threshold is None:
            threshold = self.options.threshold
        with e_steps(bitext, pairs, executor) as e_step:
            return mean_alignment(bitext, pairs, parameters, self, threshold=threshold, e_step=e_step)

    def directional_links(
        self,
        bitext: Bitext,
        *,
        src_words: Sequence[str] | None = None,
        tgt_words: Sequence[str] | None = None,
    ) -> tuple[Links, Links]:
        """Links of each direction on its own, for symmetrisation.

        In the first each target word has its most probable source word or, if NULL is more probable, none; in
        the second each source word its target word. For the diagonal model and Model 1 this is the Viterbi
        alignment.
        """
        pairs = usable_pairs(bitext, self.options)
        return best_links(bitext, pairs, parameters_for(self, bitext, pairs, src_words, tgt_words))

    def posteriors(
        self,
        bitext: Bitext,
        *,
        src_words: Sequence[str] | None = None,
        tgt_words: Sequence[str] | None = None,
    ) -> Iterator[PairPosteriors]:
        """Posteriors and scores of every sentence pair, in order."""
        pairs = usable_pairs(bitext, self.options)
        return pair_posteriors(bitext, pairs, parameters_for(self, bitext, pairs, src_words, tgt_words))

    def pair_posteriors(self, src: Sequence[str], tgt: Sequence[str]) -> PairPosteriors:
        """Posteriors of one sentence pair, given as words.

        Each call looks words up in the whole vocabulary: for many pairs take :meth:`posteriors`.
        """
        if not src or not tgt:
            raise InputError("a sentence pair with an empty side", got=f"{len(src)} and {len(tgt)} words")
        bitext, src_words, tgt_words = Bitext.from_words([src], [tgt])
        return next(self.posteriors(bitext, src_words=src_words, tgt_words=tgt_words))

    def scores(
        self,
        bitext: Bitext,
        *,
        src_words: Sequence[str] | None = None,
        tgt_words: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """How well each sentence pair fits: log p(target | source) and log p(source | target) a word.

        Returns
        -------
        float64 array, shape (n_pairs, 2)
            Natural logarithms; NaN for pairs with an empty side or over ``options.max_len``.
        """
        pairs = usable_pairs(bitext, self.options)
        return pair_scores(bitext, pairs, parameters_for(self, bitext, pairs, src_words, tgt_words))

    def table(
        self, direction: Literal["src-to-tgt", "tgt-to-src"] = "src-to-tgt", *, min_prob: float = 0.0
    ) -> sp.csr_array:
        """Lexical table: p(t | s), shape (n_src_types, n_tgt_types), or p(s | t), the other way round.

        Rows are the words that are given; entries below ``min_prob`` are left out. Float32, indices sorted.
        """
        if direction not in ("src-to-tgt", "tgt-to-src"):
            raise UsageError("unknown direction", got=direction, wanted="src-to-tgt or tgt-to-src")
        column = int(direction == "tgt-to-src")
        values = self.probabilities[:, column]
        shape = (len(self.null_src), len(self.null_tgt))
        out = row_matrix(self._rows, values >= min_prob, values, shape)
        return out if column == 0 else sp.csr_array(out.T)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one safetensors file; see :mod:`align.wordalign.saved`."""
        from align.wordalign.saved import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Aligner:
        """Read what :meth:`save` wrote. The aligner gives the same bytes as the one that was saved."""
        from align.wordalign.saved import load

        return load(path)

    @property
    def _rows(self) -> PairTable:
        return PairTable(self.indptr, self.tgt, np.zeros(1, dtype=np.int64))


def train(
    bitext: Bitext,
    *,
    model: str = "hmm",
    options: AlignOptions = AlignOptions(),  # noqa: B008 - frozen
    classes: WordClasses | None = None,
    prior: Prior | Aligner | None = None,
    src_words: Sequence[str] | None = None,
    tgt_words: Sequence[str] | None = None,
    executor: Executor | None = None,
) -> Aligner:
    """Train a word aligner.

    Parameters
    ----------
    bitext : Bitext
        Ids of words or of the tokens of two tokenizers.
    model : {"hmm", "hmm-independent", "diagonal", "ibm1"}
        The HMM trained by agreement; the HMM with each direction on its own (Vogel, Ney, Tillmann 1996); the
        reparameterisation of Model 2 by Dyer, Chahuneau and Smith (2013); Model 1 (Brown et al. 1993).
    options : AlignOptions
    classes : WordClasses, optional
        Class maps of word forms; worth giving for words, next to nothing for tokens. If words are given and
        ``options.class_weight`` is not 0, the maps of ``WordClasses.of_words`` are the default.
    prior : Prior or Aligner, optional
        Pseudo-counts of pairs of words, which then must be given. An aligner means ``Prior.of_aligner``:
        training goes on where its text ended.
    src_words, tgt_words : sequences of str, optional
        Word of each type. With them the aligner takes texts with other ids, and equal strings get
        ``options.form_weight``.
    executor : Executor, optional
        Where the E-steps run, such as :func:`align.parallel.executor` gives; in this process if left out. The
        workers must see the system's temporary folder (``TMPDIR``). The result is the same to the bit.

    Returns
    -------
    Aligner

    Raises
    ------
    UsageError
        For an unknown model or an option out of range, and for a prior without words.
    InputError
        If no sentence pair can be used, or words or classes do not fit the vocabularies.

    Warns
    -----
    UserWarning
        One message for all pairs longer than ``options.max_len``.

    Notes
    -----
    The HMM's two directions are trained together: the expected count of a link is the product of the two
    posteriors and the rest of each word goes to NULL (Liang, Taskar, Klein 2006, "Alignment by agreement").
    Tables come from the counts by the mean-field Dirichlet estimate. The result is the same to the bit for
    any number of threads (``numba.set_num_threads``).

    Time: O(sum of I J (I + J)) an iteration for the HMMs, O(sum of I J) for the others. Memory: at most
    24 bytes for each distinct pair of types that occur together, with class maps or without; about 35 with
    stems; and about 50 MiB for the part of the text at work.
    """
    check_options(model, options)
    pairs = usable_pairs(bitext, options)
    with e_steps(bitext, pairs, executor) as e_step:
        return _train(bitext, pairs, e_step, model, options, classes, prior, src_words, tgt_words)[0]


def align(
    bitext: Bitext,
    *,
    model: str = "hmm",
    options: AlignOptions = AlignOptions(),  # noqa: B008 - frozen
    classes: WordClasses | None = None,
    prior: Prior | Aligner | None = None,
    src_words: Sequence[str] | None = None,
    tgt_words: Sequence[str] | None = None,
    executor: Executor | None = None,
) -> Alignment:
    """Train on a bitext and align it: :func:`train`, then :meth:`Aligner.align` on the same text.

    Arguments, errors and cost are those of :func:`train`, with one more pass over the text.
    """
    check_options(model, options)
    pairs = usable_pairs(bitext, options)
    with e_steps(bitext, pairs, executor) as e_step:
        aligner, parameters = _train(
            bitext, pairs, e_step, model, options, classes, prior, src_words, tgt_words
        )
        return mean_alignment(bitext, pairs, parameters, aligner, threshold=options.threshold, e_step=e_step)


def _train(
    bitext: Bitext,
    pairs: PairTable,
    e_step: EStep,
    model: str,
    options: AlignOptions,
    classes: WordClasses | None,
    prior: Prior | Aligner | None,
    src_words: Sequence[str] | None,
    tgt_words: Sequence[str] | None,
) -> tuple[Aligner, Parameters]:
    check_words(bitext, src_words, tgt_words)
    by_form = False
    if classes is None and src_words is not None and tgt_words is not None and options.class_weight:
        classes, by_form = WordClasses.of_words(src_words, tgt_words), True
    row_prior = RowPrior(
        bitext, pairs, options, classes=classes, prior=prior, src_words=src_words, tgt_words=tgt_words
    )
    stems = None
    if model == "hmm" and src_words is not None and tgt_words is not None and options.stem_weight:
        stems = Stems(bitext, pairs, src_words, tgt_words, options)
    fitted = fit(bitext, pairs, row_prior, model=model, options=options, e_step=e_step, stems=stems)
    counts = fitted.counts[:, 0] if fitted.counts.shape[1] == 1 else fitted.counts.mean(axis=1)
    parameters = fitted.parameters
    aligner = Aligner(
        model=model,
        options=options,
        history=fitted.history,
        n_iter=fitted.n_iter,
        converged=fitted.converged,
        indptr=pairs.indptr,
        tgt=pairs.tgt,
        probabilities=parameters.table,
        null_tgt=parameters.null_tgt,
        null_src=parameters.null_src,
        jumps=parameters.jumps,
        counts=row_matrix(
            pairs, counts >= options.min_count, counts, (bitext.n_src_types, bitext.n_tgt_types)
        ),
        totals_src=fitted.totals_src,
        totals_tgt=fitted.totals_tgt,
        totals_null=fitted.totals_null,
        frequency_src=np.bincount(bitext.src_ids, minlength=bitext.n_src_types),
        frequency_tgt=np.bincount(bitext.tgt_ids, minlength=bitext.n_tgt_types),
        src_words=None if src_words is None else tuple(src_words),
        tgt_words=None if tgt_words is None else tuple(tgt_words),
        classes=classes,
        classes_by_form=by_form,
    )
    return aligner, parameters


def usable_pairs(bitext: Bitext, options: AlignOptions) -> PairTable:
    """The pair table without sentences that are too long, of which one warning tells."""
    pairs = build_pairs(bitext, max_len=options.max_len)
    long = np.maximum(np.diff(bitext.src_offsets), np.diff(bitext.tgt_offsets)) > options.max_len
    if pairs.cell_offsets[-1] == 0:
        raise InputError(
            "no sentence pair to align",
            got=f"{bitext.n_pairs} pairs, all with an empty side or over {options.max_len} tokens",
        )
    if long.any():
        warnings.warn(
            f"{int(long.sum())} of {bitext.n_pairs} sentence pairs have more than {options.max_len} tokens "
            "on a side; they are left out",
            stacklevel=3,
        )
    return pairs
