"""Many spaces in one: generalised Procrustes analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.moments import PairedWords
from align.short_repr import short_repr

Lexicons = Mapping[tuple[int, int], NDArray[np.integer]]


@dataclass(frozen=True, eq=False)
class MultilingualMap:
    """One semi-orthogonal matrix a space, into a space where rows of one meaning are close.

    Parameters
    ----------
    matrices : tuple of ndarray of float64, each of shape (dim of the space, dim)
    method : str
    n_pairs : int
        Pairs of rows of different spaces it was fitted on.
    residual : float
        Root of the weighted mean squared distance of paired rows in the common space, relative to the mean of
        their two squared lengths: 0 is a perfect fit, the root of 2 none at all.
    converged : bool
    n_iter : int
        Sweeps over the spaces.
    history : tuple of float
        ``residual`` after the first matrices were set, and after every sweep: never rising.
    """

    matrices: tuple[NDArray[np.float64], ...]
    method: str
    n_pairs: int
    residual: float
    converged: bool
    n_iter: int
    history: tuple[float, ...]

    __repr__ = short_repr

    @property
    def dim(self) -> int:
        """Width of the common space."""
        return int(self.matrices[0].shape[1])

    def __call__(self, rows: NDArray[np.floating], space: int) -> NDArray[np.floating]:
        """Rows of one space, shape (n, dim of the space), in the common one, shape (n, dim); dtype kept.

        Raises
        ------
        UsageError
            For a number that no space has.
        InputError
            If their width is not that of the space.
        """
        return self.between(space, space).map_src(rows)

    def between(self, src: int, tgt: int) -> BilingualMap:
        """The matrices of two of the spaces, as the result of any other method.

        Raises
        ------
        UsageError
            For a number that no space has.
        """
        for space in (src, tgt):
            if not 0 <= space < len(self.matrices):
                raise UsageError("there is no such space", got=space, wanted=f"0 to {len(self.matrices) - 1}")
        return BilingualMap(
            self.matrices[src],
            self.matrices[tgt],
            self.method,
            self.n_pairs,
            converged=self.converged,
            n_iter=self.n_iter,
            history=self.history,
        )


def generalized_procrustes(
    spaces: Sequence[NDArray[np.floating]],
    pairs: Lexicons | NDArray[np.integer],
    *,
    anchor: int = 0,
    max_iter: int = 100,
    tolerance: float = 1e-7,
) -> MultilingualMap:
    """Turn several spaces so that rows that belong together meet, all at once.

    Gower (1975), "Generalized Procrustes analysis", without scaling; for languages Kementchedjhieva et al.
    (2018), "Generalizing Procrustes analysis for better bilingual dictionary induction". The orthogonal
    matrices minimise ``sum w |x_i W_a - x_j W_b|^2`` over all pairs of rows of two spaces. With one row for
    each meaning this is the distance to their mean: a meaning that m spaces share gives m (m - 1) / 2 pairs
    of weight 1 / m.

    Parameters
    ----------
    spaces : sequence of ndarray, each of shape (n, dim)
        Normalised rows; widths may differ.
    pairs : mapping or ndarray of int
        Either lexicons, ``{(a, b): (n, 2) rows of space a and of space b}``, for some pairs of spaces; or one
        array (n_meanings, n_spaces) with the row of each meaning in each space, -1 where it has none.
    anchor : int
        The space that stays as it is: the others are turned towards it.
    max_iter : int
        Sweeps at most.
    tolerance : float
        Stop after a sweep that lowers ``residual`` by less than this share.

    Returns
    -------
    MultilingualMap
        In a space as wide as the widest. ``converged`` is False if `max_iter` ended it.

    Raises
    ------
    UsageError
        For fewer than two spaces, an unknown anchor, or settings outside their range.
    InputError
        For pairs that do not fit, a space that no chain of pairs ties to the anchor, NaN or infinity.

    Notes
    -----
    Each space in turn gets the orthogonal matrix that is best given the others, which never raises the
    objective; it ends in a minimum that may be local. With two spaces the first matrix is Procrustes' and
    nothing is left to do. Start: each time the space with the strongest ties to those already placed.
    Moments of every pair of spaces are accumulated once, in float64 on one thread, ``n dim^2``
    multiplications each; a sweep is one d x d decomposition a space and one product a pair of spaces. Memory:
    one d x d matrix a pair of spaces.
    """
    if len(spaces) < 2:
        raise UsageError("there is nothing to align", got=f"{len(spaces)} spaces", wanted="2 or more")
    if not 0 <= anchor < len(spaces):
        raise UsageError("there is no such space", got=anchor, wanted=f"0 to {len(spaces) - 1}")
    if max_iter < 1 or not 0 <= tolerance < 1:
        raise UsageError("settings are out of range", got=f"max_iter {max_iter}, tolerance {tolerance}")
    lexicons = _lexicons(spaces, pairs)
    with threadpool_limits(1, user_api="blas"):
        crosses, length, n_pairs = _crosses(spaces, lexicons)
        matrices = _chain(spaces, crosses, anchor)
        history = [_residual(matrices, crosses, length)]
        converged = False
        while not converged and len(history) <= max_iter:
            for space in range(len(spaces)):
                if space != anchor:
                    matrices[space] = _polar(_pull(space, matrices, crosses))
            history.append(_residual(matrices, crosses, length))
            converged = history[-2] - history[-1] <= tolerance * history[-2]
    return MultilingualMap(
        tuple(matrices[space] for space in range(len(spaces))),
        "generalized_procrustes",
        n_pairs,
        history[-1],
        converged,
        len(history) - 1,
        tuple(history),
    )


def check_rows(spaces: Sequence[NDArray[np.floating]], rows: NDArray[np.integer], n_spaces: int) -> None:
    """Refuse anything but one row number, or -1, for each meaning and space.

    Raises
    ------
    InputError
        For rows that do not fit the spaces.
    """
    if len(spaces) != n_spaces or rows.ndim != 2 or rows.shape[1] != n_spaces or rows.dtype.kind != "i":
        raise InputError(
            "rows do not fit the spaces",
            got=f"{rows.shape}, {rows.dtype}, {len(spaces)} spaces",
            wanted=f"integers (n, {n_spaces})",
        )
    sizes = np.array([len(space) for space in spaces])
    if len(rows) and (rows.min() < -1 or (rows.max(axis=0) >= sizes).any()):
        raise InputError(
            "rows point outside the spaces",
            got=f"{rows.min()} to {rows.max(axis=0).tolist()}",
            wanted=f"-1 to {(sizes - 1).tolist()}",
        )


def _lexicons(
    spaces: Sequence[NDArray[np.floating]], pairs: Lexicons | NDArray[np.integer]
) -> dict[tuple[int, int], tuple[NDArray[np.integer], NDArray[np.float64] | None]]:
    """Pairs and their weights for every two spaces that share something."""
    if isinstance(pairs, Mapping):
        for a, b in pairs:
            if a == b or not (0 <= a < len(spaces) and 0 <= b < len(spaces)):
                raise InputError("a lexicon is between two of the spaces", got=(a, b))
        return {key: (rows, None) for key, rows in pairs.items()}
    check_rows(spaces, pairs, len(spaces))
    shared = (pairs >= 0).sum(axis=1)
    found: dict[tuple[int, int], tuple[NDArray[np.integer], NDArray[np.float64] | None]] = {}
    for a in range(len(spaces)):
        for b in range(a + 1, len(spaces)):
            both = (pairs[:, a] >= 0) & (pairs[:, b] >= 0)
            if both.any():
                found[a, b] = pairs[both][:, [a, b]], 1.0 / shared[both]
    return found


def _crosses(
    spaces: Sequence[NDArray[np.floating]],
    lexicons: Mapping[tuple[int, int], tuple[NDArray[np.integer], NDArray[np.float64] | None]],
) -> tuple[dict[tuple[int, int], NDArray[np.float64]], float, int]:
    """Cross moments of every two spaces, both ways, the mean squared length of the rows, the number of pairs.

    Raises
    ------
    InputError
        For NaN or infinity.
    """
    crosses: dict[tuple[int, int], NDArray[np.float64]] = {}
    length, n_pairs = 0.0, 0
    for (a, b), (rows, weights) in lexicons.items():
        words = PairedWords.of(spaces[a], spaces[b], rows, weights)
        cross = np.zeros((spaces[a].shape[1], spaces[b].shape[1]))
        for x, w, y in words.blocks(spaces[a], spaces[b]):
            cross += x.T @ y
            length += 0.5 * float(w @ np.square(x).sum(axis=1))
        length += 0.5 * words.tgt_length(spaces[b])
        if not np.isfinite(cross).all():
            raise InputError("the vectors to align hold NaN or infinity", where=f"spaces {a} and {b}")
        n_pairs += len(rows)
        for key, moment in (((a, b), cross), ((b, a), cross.T)):
            crosses[key] = crosses[key] + moment if key in crosses else moment
    return crosses, length, n_pairs


def _chain(
    spaces: Sequence[NDArray[np.floating]],
    crosses: Mapping[tuple[int, int], NDArray[np.float64]],
    anchor: int,
) -> dict[int, NDArray[np.float64]]:
    dim = max(space.shape[1] for space in spaces)
    matrices = {anchor: np.eye(spaces[anchor].shape[1], dim)}
    strength = {key: float(np.linalg.norm(cross)) for key, cross in crosses.items()}
    while len(matrices) < len(spaces):
        ties = {
            space: sum(strength.get((space, placed), 0.0) for placed in matrices)
            for space in range(len(spaces))
            if space not in matrices
        }
        space = max(ties, key=lambda number: ties[number])
        if ties[space] == 0:
            raise InputError(
                "spaces are not tied to the anchor by any chain of pairs",
                got=f"spaces {sorted(ties)}, anchor {anchor}",
            )
        matrices[space] = _polar(_pull(space, matrices, crosses))
    return matrices


def _pull(
    space: int,
    matrices: Mapping[int, NDArray[np.float64]],
    crosses: Mapping[tuple[int, int], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Cross moment of a space with the mapped rows of all those already placed."""
    terms = [cross @ matrices[b] for (a, b), cross in crosses.items() if a == space and b in matrices]
    return np.sum(terms, axis=0)


def _polar(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd(moment, full_matrices=False)
    return left @ right


def _residual(
    matrices: Mapping[int, NDArray[np.float64]],
    crosses: Mapping[tuple[int, int], NDArray[np.float64]],
    length: float,
) -> float:
    """Matrices keep lengths: squared distances are those of the rows minus twice the inner products."""
    inner = sum(
        float(np.sum((matrices[a].T @ cross) * matrices[b].T)) for (a, b), cross in crosses.items() if a < b
    )
    return float(np.sqrt(max(2.0 - 2.0 * inner / length, 0.0))) if length > 0 else 0.0
