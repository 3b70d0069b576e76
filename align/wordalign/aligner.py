"""Word alignment of a bitext: train, then expected link counts and links."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign.bitext import Bitext
from align.wordalign.classes import ClassPrior, WordClasses
from align.wordalign.expectation import AGREE, INDEPENDENT, MEAN, Expectation, Parameters, expect
from align.wordalign.hmm import first_jumps
from align.wordalign.links import Links
from align.wordalign.maximization import maximize, maximize_null
from align.wordalign.pairs import PairTable, build_pairs

MODELS = ("hmm", "ibm1")


@dataclass(frozen=True)
class AlignOptions:
    """Settings of :func:`align`.

    Attributes
    ----------
    n_iter : int
        Iterations of the model; the HMM has one of Model 1 before them.
    tol : float
        Training stops early once an iteration raises the log-likelihood of both directions by less than this
        part; ``converged`` of the result says whether it did.
    null_prob : float
        Prior probability that a word comes from NULL.
    alpha : float
        Dirichlet parameter of a pair of types. 0 means plain maximum likelihood, for Model 1 only.
    class_weight, form_weight : float
        Weights of the class prior and of equal strings; used where class maps are given.
    threshold : float
        A link is a cell whose mean posterior exceeds this.
    max_len : int
        Pairs with a longer side, in tokens, are left out.
    min_count : float
        Expected counts below this are left out of the result.
    """

    n_iter: int = 5
    tol: float = 1e-4
    null_prob: float = 0.02
    alpha: float = 0.1
    class_weight: float = 20.0
    form_weight: float = 1.0
    threshold: float = 0.5
    max_len: int = 256
    min_count: float = 1e-3


@dataclass(frozen=True, eq=False)
class Alignment:
    """An aligned bitext.

    Attributes
    ----------
    counts : scipy CSR array, float32, shape (n_src_types, n_tgt_types)
        Expected number of links of each pair of types: the sum of the mean of the two directions' posteriors.
    links : Links
        Cells whose mean posterior exceeds the threshold.
    src_to_tgt, tgt_to_src : scipy CSR arrays, float32, shape (n_src_types, n_tgt_types)
        p(t | s) and p(s | t) of the model, for the pairs in ``counts``.
    jumps : float64 array, shape (2, 2 * longest + 1)
        Jump distributions of the HMM, source to target first; the middle is a jump of 0. Empty for Model 1.
    history : tuple of (float, float)
        Log-likelihood of the two directions (source to target first) at every pass over the text: Model 1's,
        each iteration's, and the last one, which gave the counts.
    n_iter : int
        Iterations made.
    converged : bool
        Whether the last iteration changed the log-likelihood by less than ``options.tol`` of it.
    model : str
    options : AlignOptions
    """

    counts: sp.csr_array
    links: Links
    src_to_tgt: sp.csr_array
    tgt_to_src: sp.csr_array
    jumps: NDArray[np.float64]
    history: tuple[tuple[float, float], ...]
    n_iter: int
    converged: bool
    model: str
    options: AlignOptions = field(repr=False)


def align(
    bitext: Bitext,
    *,
    model: str = "hmm",
    options: AlignOptions = AlignOptions(),
    classes: WordClasses | None = None,
) -> Alignment:
    """Align the words, or tokens, of parallel text.

    Parameters
    ----------
    bitext : Bitext
        Ids of words or of the tokens of two tokenizers.
    model : {"hmm", "ibm1"}
        The HMM trained by agreement, or Model 1, each direction on its own.
    options : AlignOptions
    classes : WordClasses, optional
        Class maps of word forms; worth giving for words, next to nothing for tokens.

    Returns
    -------
    Alignment

    Raises
    ------
    UsageError
        For an unknown model or an option out of range.
    InputError
        If no sentence pair can be used.

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

    Time: O(sum of I J (I + J)) an iteration for the HMM, O(sum of I J) for Model 1. Memory: 4 bytes a cell
    (a cell is one of the I x J places of a sentence pair) and at most 24 bytes for each distinct pair of
    types that occur together, 40 with class maps.
    """
    _check(model, options)
    pairs = _usable_pairs(bitext, options)
    variational = options.alpha > 0
    prior = None
    if classes is not None:
        prior = ClassPrior(
            bitext,
            pairs,
            classes,
            alpha=options.alpha,
            class_weight=options.class_weight,
            form_weight=options.form_weight,
        )
    occurs_src = np.bincount(bitext.src_ids, minlength=bitext.n_src_types) > 0
    occurs_tgt = np.bincount(bitext.tgt_ids, minlength=bitext.n_tgt_types) > 0

    def reestimate(expected: Expectation, jumps: NDArray[np.float64]) -> Parameters:
        flat = np.full((1, 1), options.alpha, dtype=np.float32)
        return Parameters(
            maximize(
                pairs,
                expected.counts,
                flat if prior is None else prior(expected.counts),
                n_tgt_types=bitext.n_tgt_types,
                variational=variational,
            ),
            maximize_null(expected.null_tgt, occurs_tgt, options.alpha, variational=variational),
            maximize_null(expected.null_src, occurs_src, options.alpha, variational=variational),
            options.null_prob,
            jumps,
        )

    no_jumps = np.zeros((2, 0))
    parameters = Parameters(
        np.tile(np.array([1 / occurs_tgt.sum(), 1 / occurs_src.sum()], dtype=np.float32), (pairs.n_rows, 1)),
        np.full(bitext.n_tgt_types, 1 / occurs_tgt.sum(), dtype=np.float32),
        np.full(bitext.n_src_types, 1 / occurs_src.sum(), dtype=np.float32),
        options.null_prob,
        no_jumps,
    )
    history: list[tuple[float, float]] = []
    mode = INDEPENDENT
    jumps = no_jumps
    if model == "hmm":
        # one iteration of Model 1 from the uniform start: agreement needs directions that differ already
        expected = expect(bitext, pairs, parameters, mode=INDEPENDENT)
        history.append(_pair_of_floats(expected))
        jumps = np.tile(first_jumps(_longest(bitext, pairs)), (2, 1))
        parameters = reestimate(expected, jumps)
        mode = AGREE
    converged = False
    n_iter = 0
    while n_iter < options.n_iter and not converged:
        expected = expect(bitext, pairs, parameters, mode=mode)
        history.append(_pair_of_floats(expected))
        if model == "hmm":
            jumps = (expected.jumps + 1) / (expected.jumps + 1).sum(axis=1, keepdims=True)
        parameters = reestimate(expected, jumps)
        n_iter += 1
        converged = n_iter > 1 and all(
            abs(now - before) <= options.tol * abs(before)
            for now, before in zip(history[-1], history[-2], strict=True)
        )
    del expected
    final = expect(bitext, pairs, parameters, mode=MEAN, threshold=options.threshold)
    history.append(_pair_of_floats(final))
    return _result(bitext, pairs, parameters, final, history, n_iter, converged, model, options)


def _check(model: str, options: AlignOptions) -> None:
    if model not in MODELS:
        raise UsageError("unknown alignment model", got=model, wanted=" or ".join(MODELS))
    checks = {
        "n_iter": (options.n_iter >= 1, "1 or more"),
        "null_prob": (0 < options.null_prob < 1, "between 0 and 1"),
        "alpha": (options.alpha > 0 or (model == "ibm1" and options.alpha == 0), "above 0"),
        "max_len": (options.max_len >= 1, "1 or more"),
    }
    for name, (good, wanted) in checks.items():
        if not good:
            raise UsageError("option out of range", got=getattr(options, name), wanted=wanted, where=name)


def _usable_pairs(bitext: Bitext, options: AlignOptions) -> PairTable:
    pairs = build_pairs(bitext, max_len=options.max_len)
    long = np.maximum(np.diff(bitext.src_offsets), np.diff(bitext.tgt_offsets)) > options.max_len
    if len(pairs.cells) == 0:
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


def _longest(bitext: Bitext, pairs: PairTable) -> int:
    used = np.diff(pairs.cell_offsets) > 0
    return int(np.maximum(np.diff(bitext.src_offsets), np.diff(bitext.tgt_offsets))[used].max())


def _pair_of_floats(expected: Expectation) -> tuple[float, float]:
    return float(expected.log_likelihood[0]), float(expected.log_likelihood[1])


def _result(
    bitext: Bitext,
    pairs: PairTable,
    parameters: Parameters,
    final: Expectation,
    history: list[tuple[float, float]],
    n_iter: int,
    converged: bool,
    model: str,
    options: AlignOptions,
) -> Alignment:
    shape = (bitext.n_src_types, bitext.n_tgt_types)
    keep = final.counts[:, 0] >= options.min_count
    indptr = np.concatenate(([0], np.cumsum(keep)))[pairs.indptr]
    indices = pairs.tgt[keep]

    def matrix(values: NDArray[np.float32]) -> sp.csr_array:
        out = sp.csr_array((values[keep], indices.copy(), indptr.copy()), shape=shape)
        out.sort_indices()
        return out

    pair, src, tgt, weights = final.links
    return Alignment(
        counts=matrix(final.counts[:, 0]),
        links=Links.from_pairs(pair, src, tgt, weights, n_pairs=bitext.n_pairs),
        src_to_tgt=matrix(parameters.table[:, 0]),
        tgt_to_src=matrix(parameters.table[:, 1]),
        jumps=parameters.jumps,
        history=tuple(history),
        n_iter=n_iter,
        converged=converged,
        model=model,
        options=options,
    )
