"""Alignment without a dictionary by optimal transport: Wasserstein-Procrustes and Gromov-Wasserstein."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import ConvergenceError, InputError, UnavailableError, UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.criterion import refine_and_judge
from align.normalize import unit

_CHECK_EVERY = 10
_GROMOV_STEPS = 5
_REPORT_EVERY = 100

Progress = Callable[[int, float], None]


def sinkhorn(
    cost: NDArray[np.floating], *, reg: float = 0.05, tolerance: float = 1e-3, max_iter: int = 1000
) -> NDArray[np.float64]:
    """The entropic transport plan between points of equal mass.

    Cuturi (2013), "Sinkhorn distances: lightspeed computation of optimal transport", NeurIPS, algorithm 1.

    Parameters
    ----------
    cost : ndarray, shape (n, m)
    reg : float
        Weight of the entropy; far below the spread of the costs it takes long.
    tolerance : float
        Largest Euclidean distance of the column sums from what they should be.
    max_iter : int

    Returns
    -------
    ndarray of float64, shape (n, m)
        Non-negative; rows sum to 1 and columns to n / m, nearly if `max_iter` came first.

    Raises
    ------
    ConvergenceError
        If numbers left the range of float64.

    Notes
    -----
    Two products of the (n, m) kernel with a vector an iteration; memory: twice the cost in float64.
    """
    n, m = cost.shape
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        # shifted by its hard transforms the kernel has a one in every row and column, and nothing above
        C = cost - cost.min(axis=1, keepdims=True)
        C = C - C.min(axis=0)
        K = np.exp(C.astype(np.float64) / -reg)
        v = np.ones(m)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            for iteration in range(max_iter):
                u = 1 / (K @ v)
                columns = u @ K
                if iteration % _CHECK_EVERY == 0 and np.linalg.norm(columns * v - n / m) < tolerance:
                    break
                v = n / m / columns
            plan: NDArray[np.float64] = u[:, None] * K * v
    if not np.isfinite(plan).all():
        raise ConvergenceError("the transport left the range of numbers", got=f"reg {reg}", hint="Raise reg")
    return plan


def convex_initialisation(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    *,
    reg: float = 0.05,
    n_steps: int = 100,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """A rotation from the convex relaxation of matching the similarities within the two spaces.

    Minimises ``|P K_X - K_Y P|^2`` over doubly stochastic P by Frank and Wolfe's method, with Sinkhorn's plan
    as the linear step, and takes the rotation of ``P X`` to Y (Grave, Joulin and Berthet 2018, section 3.3).
    K are Gram matrices of the rows with the square roots of their singular values.

    Parameters
    ----------
    X : ndarray, shape (n, src_dim)
    Y : ndarray, shape (n, tgt_dim)
        As many of the most frequent words of each, normalised.
    reg : float
        As in :func:`sinkhorn`.
    n_steps : int
    progress : callable, optional
        Called with the step, from 1, and ``|P K_X - K_Y P|``.

    Returns
    -------
    ndarray of float64, shape (src_dim, tgt_dim)

    Raises
    ------
    InputError
        For spaces of different size.

    Notes
    -----
    The Gram matrices are never made: a step is five products of (n, n, dim) and a transport plan, in float64
    on one thread. Memory: five matrices of (n, n).
    """
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise InputError("as many rows of both spaces are matched", got=f"{X.shape}, {Y.shape}")
    with threadpool_limits(1, user_api="blas"):
        A, B = _root(X), _root(Y)
        xx, yy = A.T @ A, B.T @ B
        # the Gram matrices get the same Frobenius norm
        scale = np.linalg.norm(xx) / np.linalg.norm(yy)
        B, yy = B * np.sqrt(scale), yy * scale
        P = np.full((len(A),) * 2, 1 / len(A))
        for step in range(1, n_steps + 1):
            PA, BP = P @ A, B.T @ P
            gradient = (PA @ xx - 2 * B @ (BP @ A)) @ A.T
            gradient += B @ (yy @ BP)
            share = 2 / (2 + step)
            P *= 1 - share
            P += share * sinkhorn(gradient, reg=reg)
            if progress is not None:
                progress(step, float(np.linalg.norm((P @ A) @ A.T - B @ (B.T @ P))))
        return _rotation((P @ X.astype(np.float64)).T @ Y.astype(np.float64))


def wasserstein_procrustes(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    *,
    n_epochs: int = 5,
    batch_size: int = 500,
    n_steps: int = 5000,
    lr: float = 500.0,
    reg: float = 0.05,
    most_frequent: int = 20_000,
    init_size: int = 2500,
    init_steps: int = 100,
    n_refinement: int = 5,
    max_rank: int = 10_000,
    k: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> BilingualMap:
    """Map two spaces without a dictionary by rotating one so that moving it onto the other costs least.

    Grave, Joulin and Berthet (2018), "Unsupervised alignment of embeddings with Wasserstein Procrustes",
    AISTATS 2019: from :func:`convex_initialisation`, gradient steps on the transport plans of batches, each
    followed by the nearest rotation. Then, as in MUSE, the rotation is refined and judged
    (:func:`align.mapping.criterion.refine_and_judge`).

    Parameters
    ----------
    X : ndarray, shape (n_src, dim)
    Y : ndarray, shape (n_tgt, dim)
        Normalised rows (the authors: unit, centre, unit), most frequent words first.
    n_epochs : int
        Every epoch has batches of twice the size and a quarter of the steps of the one before.
    batch_size, n_steps : int
        Of the first epoch.
    lr : float
        Over the size of the batch it is the rate.
    reg : float
        As in :func:`sinkhorn`.
    most_frequent : int
        Words of each side that are drawn.
    init_size, init_steps : int
        Words and steps of the convex initialisation.
    n_refinement, max_rank, k : int
        As in :func:`align.mapping.adversarial.adversarial`.
    seed : int
    progress : callable, optional
        Called with every step of the initialisation, from 1, and ``|P K_X - K_Y P|``; then with every
        hundredth batch and the last of an epoch, counted on, and the mean inner product of its plan.

    Returns
    -------
    BilingualMap
        ``history`` is the mean inner product under the plans of every epoch; ``converged`` and ``options``
        are those of :func:`~align.mapping.criterion.refine_and_judge`. After a KeyboardInterrupt the refined
        map of that moment.

    Raises
    ------
    UsageError
        For settings outside their range.
    InputError
        For spaces of different width, NaN or infinity.

    Notes
    -----
    With the published settings 6,660 singular value decompositions and transport plans: minutes. In float64
    on one thread.
    """
    numbers = {"n_epochs": n_epochs, "batch_size": batch_size, "n_steps": n_steps, "lr": lr, "reg": reg}
    for name, number in numbers.items():
        if not 0 < number < np.inf:
            raise UsageError(f"{name} is out of range", got=number, wanted="a positive number")
    _check(X, Y)
    size = min(init_size, len(X), len(Y))
    history: list[float] = []
    W, interrupted = np.eye(X.shape[1]), False
    rng = np.random.default_rng(seed)
    try:
        W = convex_initialisation(X[:size], Y[:size], reg=reg, n_steps=init_steps, progress=progress)
        done = init_steps
        for epoch in range(1, n_epochs + 1):
            carried, steps = 0.0, max(1, n_steps // 4 ** (epoch - 1))
            n = min(batch_size * 2 ** (epoch - 1), len(X), len(Y), most_frequent)
            for step in range(1, steps + 1):
                x, y = (
                    rows[rng.permutation(min(most_frequent, len(rows)))[:n]].astype(np.float64)
                    for rows in (X, Y)
                )
                W, gain = _transport_step(x, y, W, lr / n, reg)
                carried += gain / steps
                if progress is not None and (step % _REPORT_EVERY == 0 or step == steps):
                    progress(done + step, gain)
            done += steps
            history.append(carried)
    except KeyboardInterrupt:
        interrupted = True
    options = {**numbers, "most_frequent": most_frequent, "init_size": size, "init_steps": init_steps}
    return refine_and_judge(
        X,
        Y,
        W,
        method="wasserstein-procrustes",
        history=tuple(history),
        options=options,
        interrupted=interrupted,
        n_refinement=n_refinement,
        max_rank=max_rank,
        k=k,
        seed=seed,
    )


def gromov_wasserstein(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    *,
    n_words: int = 2000,
    reg: float = 5e-4,
    max_iter: int = 200,
    tolerance: float = 1e-6,
    n_refinement: int = 5,
    max_rank: int = 10_000,
    k: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> BilingualMap:
    """Map two spaces without a dictionary by matching the distances within one to those within the other.

    Alvarez-Melis and Jaakkola (2018), "Gromov-Wasserstein alignment of word embedding spaces", EMNLP: the
    entropic coupling of the frequent words, then the rotation that fits it best. Refined and judged as
    :func:`wasserstein_procrustes`. The spaces may differ in width.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows (the authors: unit, centre), most frequent words first.
    n_words : int
        Words of each side that are coupled.
    reg : float
        Weight of the entropy; distances are divided by their mean first.
    max_iter : int
        Steps of the coupling; the plan of each is by Sinkhorn's iterations.
    tolerance : float
        The coupling has converged when it moves by less, of a total mass of 1.
    n_refinement, max_rank, k, seed
        As in :func:`wasserstein_procrustes`.
    progress : callable, optional
        Called with the step and how far the coupling moved.

    Returns
    -------
    BilingualMap
        ``history`` is how far the coupling moved, every fifth step.

    Raises
    ------
    UnavailableError
        Without the package POT.
    InputError
        For NaN or infinity.

    Notes
    -----
    A step is two float64 products of (n_words, n_words, n_words) and a transport plan. Memory: eight such
    matrices.
    """
    try:
        from ot.gromov import entropic_gromov_wasserstein
    except ImportError as error:
        raise UnavailableError(
            "Gromov-Wasserstein needs the package POT", hint="Run: pip install vocab-transfer[ot]"
        ) from error
    _check(X, Y, same_width=False)
    src, tgt = (unit(rows[:n_words].astype(np.float64)) for rows in (X, Y))
    p, q = (np.full(len(rows), 1 / len(rows)) for rows in (src, tgt))
    coupling, moved, interrupted = np.outer(p, q), np.inf, False
    history: list[float] = []
    with threadpool_limits(1, user_api="blas"):
        distances = [1 - rows @ rows.T for rows in (src, tgt)]
        distances = [D / D.mean() for D in distances]
        try:
            # a few steps a call, so that the run can be watched and stopped
            while moved > tolerance and len(history) * _GROMOV_STEPS < max_iter:
                before = coupling
                with warnings.catch_warnings():
                    # the plan of a step need not be exact
                    warnings.filterwarnings("ignore", "Sinkhorn did not converge", UserWarning)
                    coupling = entropic_gromov_wasserstein(
                        *distances, p, q, "square_loss", epsilon=reg, G0=before, max_iter=_GROMOV_STEPS, tol=0
                    )
                moved = float(np.abs(coupling - before).sum())
                history.append(moved)
                if progress is not None:
                    progress(len(history) * _GROMOV_STEPS, moved)
        except KeyboardInterrupt:
            interrupted = True
        W = _rotation(X[:n_words].astype(np.float64).T @ coupling @ Y[:n_words].astype(np.float64))
    return refine_and_judge(
        X,
        Y,
        W,
        method="gromov-wasserstein",
        history=tuple(history),
        options={"n_words": n_words, "reg": reg, "max_iter": max_iter, "tolerance": tolerance},
        interrupted=interrupted,
        n_refinement=n_refinement,
        max_rank=max_rank,
        k=k,
        seed=seed,
    )


def _transport_step(
    x: NDArray[np.float64], y: NDArray[np.float64], W: NDArray[np.float64], rate: float, reg: float
) -> tuple[NDArray[np.float64], float]:
    """The rotation nearest to W plus its gradient, and the mean inner product that the plan carried."""
    with threadpool_limits(1, user_api="blas"):
        products = (x @ W) @ y.T
        plan = sinkhorn(-products, reg=reg)
        return _rotation(W + rate * (x.T @ (plan @ y))), float(np.sum(plan * products)) / len(x)


def _root(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rows with the square roots of their singular values."""
    left, values, right = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    return left * np.sqrt(values) @ right


def _rotation(cross: NDArray[np.float64]) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd(cross, full_matrices=False)
    return left @ right


def _check(X: NDArray[np.floating], Y: NDArray[np.floating], *, same_width: bool = True) -> None:
    if X.ndim != 2 or Y.ndim != 2 or not len(X) or not len(Y) or (same_width and X.shape[1] != Y.shape[1]):
        raise InputError("spaces differ in width", got=f"{X.shape}, {Y.shape}", wanted="(n, dim) twice")
    if not np.isfinite(X).all() or not np.isfinite(Y).all():
        raise InputError("the vectors to align hold NaN or infinity", wanted="finite numbers")
