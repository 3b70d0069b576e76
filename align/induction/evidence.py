"""Evidence for and against candidate translations: vectors, frequencies, parallel text, spellings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.induction.correspondences import CognateScorer, Correspondences
from align.induction.spaces import AnchoredMap, Spaces, exponent_map
from align.induction.strings import NgramVectors
from align.neighbors import Neighbors, csls, mean_top_k, top_k
from align.neighbors.kernels import dot
from align.normalize import unit

_BY_VECTORS, _BY_CORRECTED, _BY_STRINGS = 50, 25, 50
_BY_TEXT = 10
_RIVALS = 10
_PAIRS = 10  # of the dictionary, most like a query
_SHARPNESS = 10.0  # of the weights of near anchors, exp(sharpness * cosine)
_NEAR, _FAR = 50, 100
_BLOCK_QUERIES = 1500


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of some queries and the evidence on each.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_queries,)
        Source rows of the queries.
    columns : ndarray of int64, shape (n_queries, k)
        Target rows: those found by vectors, then those by text, then those by spelling.
    valid : ndarray of bool, shape (n_queries, k)
        False where a candidate repeats an earlier one.
    values : ndarray of float32, shape (n_queries, k, n_evidence)
    names : tuple of str
        Of the evidence; that from spellings stands last and begins with ``"spelling: "``.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    valid: NDArray[np.bool_]
    values: NDArray[np.float32]
    names: tuple[str, ...]

    def without_spelling(self) -> Candidates:
        """What all but spellings would have found and said."""
        n = sum(not name.startswith("spelling: ") for name in self.names)
        by_text = _BY_TEXT if any(name.startswith("text: ") for name in self.names) else 0
        k = min(_BY_VECTORS + _BY_CORRECTED + by_text, self.columns.shape[1])
        return Candidates(
            self.rows, self.columns[:, :k], self.valid[:, :k], self.values[:, :k, :n], self.names[:n]
        )


@dataclass(frozen=True, eq=False)
class Witness:
    """Finds candidates and gathers evidence, given a map.

    Parameters
    ----------
    spaces : Spaces
    anchored : AnchoredMap
    correspondences : Correspondences, optional
        Without them spellings are left out.
    frequencies : bool
        Whether frequency ranks are evidence.
    """

    spaces: Spaces
    anchored: AnchoredMap
    correspondences: Correspondences | None
    frequencies: bool = True

    def candidates(self, rows: NDArray[np.integer]) -> Candidates:
        """Candidates and evidence for source rows.

        Notes
        -----
        The first call maps both spaces and finds the neighbours of every target word: about
        ``2 (2 x 12,000 + n_pairs) n_tgt dim`` operations. Each query then takes 125 candidates at most.
        """
        asked: NDArray[np.int64] = np.asarray(rows, np.int64)
        blocks = [self._block(asked[i : i + _BLOCK_QUERIES]) for i in range(0, len(asked), _BLOCK_QUERIES)]
        blocks = blocks or [self._block(asked)]
        return Candidates(
            asked,
            np.concatenate([b.columns for b in blocks]),
            np.concatenate([b.valid for b in blocks]),
            np.concatenate([b.values for b in blocks]),
            blocks[0].names,
        )

    @cached_property
    def _mapped(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mapping = self.anchored.mapping.normalized_by(None, None)
        return unit(mapping.map_src(self.spaces.src_rows)), unit(mapping.map_tgt(self.spaces.tgt_rows))

    @cached_property
    def _other_maps(self) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        settings = {
            "cosine, exponent 0": (0.0, self.anchored.anchors, self.anchored.anchor_weights),
            "cosine, exponent 0.5": (0.5, self.anchored.anchors, self.anchored.anchor_weights),
            "cosine, exponent 1, dictionary alone": (1.0, self.anchored.pairs, self.anchored.weights),
        }
        maps = {}
        for name, (exponent, pairs, weights) in settings.items():
            found = exponent_map(self.spaces, pairs, weights, exponent)
            maps[name] = (
                unit(found.map_src(self.spaces.src_rows)),
                unit(found.map_tgt(self.spaces.tgt_rows)),
            )
        return maps

    @cached_property
    def _rivals(self) -> Neighbors:
        """Nearest source words of every target word, one too many: a query is not its own rival."""
        A, B = self._mapped
        return top_k(B, A[self.spaces.pool], _RIVALS + 1)

    @cached_property
    def _tgt_density(self) -> NDArray[np.float32]:
        return self._rivals.scores[:, :_RIVALS].mean(axis=1)

    @cached_property
    def _pool_density(self) -> NDArray[np.float32]:
        A, B = self._mapped
        return mean_top_k(A[self.spaces.pool], B, _RIVALS)

    @cached_property
    def _corrected_tgt(self) -> NDArray[np.float32]:
        rows = np.arange(len(self.spaces.tgt))
        return self._corrected(rows, _NEAR, 0.7, backward=True)[0]

    @cached_property
    def _taken(self) -> NDArray[np.int64]:
        return np.bincount(self.anchored.pairs[:, 1], minlength=len(self.spaces.tgt))

    @cached_property
    def _known(self) -> NDArray[np.int64]:
        return np.sort(self.anchored.pairs @ np.array([len(self.spaces.tgt), 1]))

    @cached_property
    def _cognates(self) -> CognateScorer | None:
        if self.correspondences is None:
            return None
        return CognateScorer(self.correspondences, self.spaces.letters)

    def _corrected(
        self, rows: NDArray[np.int64], k: int, strength: float, *, backward: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mapped rows moved as the anchors nearest to them would have to be, and the anchors' partners.

        What InstaMap (Glavaš and Vulić 2020, "Non-linear instance-based cross-lingual mapping for
        non-isomorphic embedding spaces") does with fewer anchors. A row that is an anchor is not its own
        neighbour, so words of the dictionary fare as others do.
        """
        own, other = self._mapped[::-1] if backward else self._mapped
        anchors = self.anchored.anchors[:, ::-1] if backward else self.anchored.anchors
        at, partners = own[anchors[:, 0]], other[anchors[:, 1]]
        near = top_k(own[rows], at, k)
        weights = np.exp(_SHARPNESS * (near.scores - 1.0)) * self.anchored.anchor_weights[near.indices]
        weights[anchors[near.indices, 0] == rows[:, None]] = 0.0
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
        weights = weights.astype(np.float32)
        moved, translated = np.empty_like(own[rows]), np.empty_like(own[rows])
        _gather(own[rows], at, partners, near.indices, weights, np.float32(strength), moved, translated)
        return unit(moved), unit(translated)

    def _find(self, rows: NDArray[np.int64], corrected: NDArray[np.float32]) -> NDArray[np.int64]:
        A, B = self._mapped
        none = np.zeros(len(rows), np.float32)  # a query's own density does not change its order
        found = [
            csls(vectors, B, k, src_density=none, tgt_density=self._tgt_density).indices
            for vectors, k in ((A[rows], _BY_VECTORS), (corrected, _BY_CORRECTED))
        ]
        if self.spaces.text is not None:
            linked = self.spaces.text.nearest(rows, _BY_TEXT)
            found.append(np.where(linked < 0, found[0][:, :1], linked))
        if self.correspondences is not None:
            spelled = self.spaces.ngrams.nearest(rows, min(_BY_STRINGS, len(B))).indices
            found.append(np.where(spelled < 0, found[0][:, :1], spelled))
        return np.concatenate(found, axis=1)

    def _block(self, rows: NDArray[np.int64]) -> Candidates:
        corrected, translated = self._corrected(rows, _NEAR, 0.7)
        far, _ = self._corrected(rows, _FAR, 1.0)
        columns = self._find(rows, far)
        n, k = columns.shape
        valid = _first_of_each(columns)
        place, row, column = np.repeat(np.arange(n), k), np.repeat(rows, k), columns.ravel()
        values: dict[str, NDArray] = {}

        A, B = self._mapped
        cosine = _products(A, B, row, column)
        similarity = 2 * cosine - self._tgt_density[column]
        density = np.repeat(mean_top_k(A[rows], B, _RIVALS), k)
        values["cosine"] = cosine
        values["density"] = self._tgt_density[column]
        values["rank"] = _log_rank(similarity.reshape(n, k), valid)
        rivals, pool = self._rivals, self.spaces.pool
        theirs = 2 * rivals.scores - self._pool_density[rivals.indices]
        theirs = theirs[column] - self._tgt_density[column][:, None]
        theirs[pool[rivals.indices[column]] == row[:, None]] = -np.inf
        theirs = -np.sort(-theirs, axis=1)[:, : min(_RIVALS, theirs.shape[1] - 1) or None]
        ours = similarity - density
        values["margin over the best rival"] = ours - theirs[:, 0]
        values["margin over the last rival"] = ours - theirs[:, -1]
        values["rank among rivals"] = np.log1p((theirs > ours[:, None]).sum(axis=1))
        values["cosine, corrected nearby"] = _products(corrected, B, place, column)
        values["cosine, corrected widely"] = _products(far, B, place, column)
        values["cosine, both corrected"] = _products(corrected, self._corrected_tgt, place, column)
        values["cosine, translations nearby"] = _products(translated, B, place, column)
        for name, (src, tgt) in self._other_maps.items():
            values[name] = _products(src, tgt, row, column)
        lengths = np.linalg.norm(self.spaces.tgt.matrix, axis=1)
        values["vector length"] = np.log(np.maximum(lengths, 1e-9))[column]
        key = row * len(B) + column
        own = np.searchsorted(self._known, key, "right") - np.searchsorted(self._known, key, "left")
        values["translates another word"] = np.minimum(self._taken[column] - own, 1)
        if self.frequencies:
            values |= _frequency_evidence(row, column)
        if self.spaces.text is not None:
            values |= self.spaces.text.values(row, column)
        if self._cognates is not None:
            values |= self._spelling_evidence(row, column, valid, self._cognates)
            # spelling counts for more where the meaning fits too
            corrected_cosine, odds = values["cosine, corrected nearby"], values["spelling: cognate log-odds"]
            values["spelling: cognate log-odds x cosine"] = odds * corrected_cosine
            values["spelling: cognate log-odds x rank"] = odds * values["rank"]
            values["spelling: like known pairs x cosine"] = (
                values["spelling: like known pairs"] * corrected_cosine
            )
        stacked = np.stack([v.astype(np.float32) for v in values.values()], axis=1)
        return Candidates(rows, columns, valid, stacked.reshape(n, k, -1), tuple(values))

    def _like_known_pairs(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whether candidates are spelled like translations of words spelled like the query: inflections.

        The products of both cosines for the dictionary's ten source words nearest to the query: their mean,
        weighted by the likeness of the source words, and the greatest.
        """
        ngrams, pairs = self.spaces.ngrams, self.anchored.pairs
        near = NgramVectors(ngrams.src, ngrams.src[pairs[:, 0]]).nearest(rows, min(_PAIRS, len(pairs)))
        at = np.maximum(near.indices, 0)
        trust = (self.anchored.weights / self.anchored.weights.max()).astype(np.float32)
        likeness = near.scores * trust[at]
        likeness[pairs[at, 0] == rows[:, None]] = 0.0  # not its own entry
        partners = NgramVectors(ngrams.tgt[pairs[:, 1]], ngrams.tgt)
        total, best = np.zeros(columns.shape, np.float32), np.zeros(columns.shape, np.float32)
        for n in range(at.shape[1]):
            theirs = partners.cosines(np.repeat(at[:, n], columns.shape[1]), columns.ravel())
            product = likeness[:, n : n + 1] * theirs.reshape(columns.shape)
            total += likeness[:, n : n + 1] * product
            np.maximum(best, product, out=best)
        total /= np.maximum(np.square(likeness).sum(axis=1, keepdims=True), 1e-9)
        return total.ravel(), best.ravel()

    def _spelling_evidence(
        self,
        row: NDArray[np.int64],
        column: NDArray[np.int64],
        valid: NDArray[np.bool_],
        cognates: Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[np.float32]],
    ) -> dict[str, NDArray]:
        spelled = self.spaces.spelled
        likeness = spelled.likeness(row, column)
        odds = cognates(row, column)
        ranked = np.where(valid, odds.reshape(valid.shape), -np.inf)
        like, best_like = self._like_known_pairs(row.reshape(valid.shape)[:, 0], column.reshape(valid.shape))
        longer = spelled.src_lengths[row] - spelled.tgt_lengths[column]
        return {
            "spelling: n-grams": self.spaces.ngrams.cosines(row, column),
            "spelling: edits": likeness[:, 0],
            "spelling: prefix": likeness[:, 1],
            "spelling: suffix": likeness[:, 2],
            "spelling: the same": likeness[:, 0] == 1,
            "spelling: cognate log-odds": odds,
            "spelling: cognate probability": 1 / (1 + np.exp(-odds.astype(np.float64))),
            "spelling: cognate rank": _log_rank(ranked, valid),
            "spelling: cognate gap": odds - np.repeat(ranked.max(axis=1), valid.shape[1]),
            "spelling: like known pairs": like,
            "spelling: like a known pair": best_like,
            "spelling: length difference": np.abs(longer),
            "spelling: letters lost": longer,
        }


def _frequency_evidence(row: NDArray[np.int64], column: NDArray[np.int64]) -> dict[str, NDArray]:
    src, tgt = np.log(row + 10.0), np.log(column + 10.0)  # the first few ranks are noise
    return {
        "log frequency rank": tgt,
        "log rank difference": np.abs(src - tgt),
        "log rank lost": src - tgt,
        "log rank difference, squared": np.square(src - tgt),
    }


def _first_of_each(columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    order = np.argsort(columns, axis=1, kind="stable")
    ordered = np.take_along_axis(columns, order, axis=1)
    first = np.ones(columns.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    out = np.empty_like(first)
    np.put_along_axis(out, order, first, axis=1)
    return out


def _log_rank(scores: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    order = np.argsort(-np.where(valid, scores, -np.inf), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    return np.log1p(ranks).ravel()


def _products(
    A: NDArray[np.float32], B: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    out = np.empty(len(rows), np.float32)
    _pair_products(A, B, rows, columns, out)
    return out


@nb.njit(cache=True, parallel=True)
def _pair_products(
    A: NDArray[np.float32],
    B: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    for p in nb.prange(len(rows)):
        out[p] = dot(A[rows[p]], B[columns[p]])


@nb.njit(cache=True, parallel=True)
def _gather(own, at, partners, indices, weights, strength, moved, translated):  # type: ignore[no-untyped-def]
    for r in nb.prange(len(own)):
        _gather_row(own[r], at, partners, indices[r], weights[r], strength, moved[r], translated[r])


@nb.njit(cache=True)
def _gather_row(own, at, partners, indices, weights, strength, moved, translated):  # type: ignore[no-untyped-def]
    moved[:] = own
    translated[:] = 0
    for i in range(len(indices)):
        weight, anchor = weights[i], indices[i]
        if weight > 0:
            for d in range(len(own)):
                moved[d] += strength * weight * (partners[anchor, d] - at[anchor, d])
                translated[d] += weight * partners[anchor, d]
