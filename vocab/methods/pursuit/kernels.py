"""One row's pursuit from atom to atom: kernels of :mod:`vocab.methods.pursuit.coding`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vocab.methods.pursuit.algebra import inner_products, solve_lower, solve_upper
from vocab.methods.pursuit.guess import copy, flagged, free_columns, grow_inverse, guess, shortlist
from vocab.methods.pursuit.products import LOW, pack, products, round_weights
from vocab.methods.pursuit.state import KEPT, Dictionary, Scratch, State, Work
from vocab.methods.pursuit.vectors import STEPS, add_rows, dot_four, fetch, leaf
from vocab.methods.pursuit.vnni import ROWS

_MANY = 64  # atoms to score worth another pass with the second bytes
_SOLVED = 1e-12  # of a row's squared length: what float32 rows leave of an exact code
_NEARLY = 1e-6
_DEPENDENT = 1e-12  # of an atom's squared length
_UNKNOWN = -2  # where an atom is -1 if there is none


@leaf(fastmath={"reassoc", "contract"})
def _inner(x: NDArray[np.float64], y: NDArray[np.float64], n: int) -> float:
    total = 0.0
    for i in range(n):
        total += x[i] * y[i]
    return total


@leaf()
def _residuals(x: NDArray[np.float32], n_codes: int, size: int, work: Work) -> None:
    """``residuals[t] = x - codes[t] @ D[chosen[:size]]``."""
    for t in range(n_codes):
        for i in range(size):
            work.factors[i, t] = -work.codes[t, i]
    add_rows(
        x.ctypes.data,
        work.addresses.ctypes.data,
        work.factors.ctypes.data,
        size,
        work.residuals.ctypes.data,
        8 * x.size,
        x.size // 32,
    )


@leaf()
def _enter(atom: int, i: int, words: Dictionary, work: Work) -> None:
    """Note what the loops need of a chosen atom."""
    work.position[atom] = i
    work.addresses[i] = words.D.ctypes.data + atom * words.D.shape[1] * 4
    slot = words.slot_of[atom]
    work.slots[i] = slot
    work.scale[i] = words.scales[slot] if slot >= 0 else np.float32(0.0)
    work.shared[i] = words.common[atom]


@leaf()
def _append_all(row: int, size: int, n: int, words: Dictionary, state: State, work: Work) -> tuple[int, bool]:
    """Append ``chosen[size : size + n]`` to the row's factor, with the codes after each of them.

    Stops before an atom that depends on the others and after one that nearly solves the row. Returns the new
    size, and whether it is nearly solved.
    """
    chosen, triangle, along = state.chosen[row], state.triangle[row], state.along[row]
    dim = words.D.shape[1]
    vectors, columns = work.vectors.ctypes.data, work.columns.ctypes.data
    for t in range(n):
        atom = chosen[size + t]
        for j in range(dim):
            work.vectors[t, j] = words.D[atom, j]
    for i in range(size):
        dot_four(vectors, work.addresses[i], columns + 32 * i, 8 * dim, dim // 16)
    for t in range(n):
        at = words.D.ctypes.data + chosen[size + t] * dim * 4
        dot_four(vectors, at, columns + 32 * (size + t), 8 * dim, dim // 16)
    dot_four(vectors, state.X[row].ctypes.data, work.with_row.ctypes.data, 8 * dim, dim // 16)
    whole = state.lengths[row] * state.lengths[row]
    # Cholesky: what of the atoms lies along those chosen, then along each other, summed in an order that
    # does not depend on the segments
    along_old, step = work.along_old, triangle.shape[1] * 8
    for i in range(size + STEPS):
        for t in range(STEPS):
            along_old[i, t] = 0.0
    solve_lower(triangle.ctypes.data, step, 0, size, columns, along_old.ctypes.data)
    end, nearly, explained = size + n, False, _inner(along, along, size)
    for t in range(n):
        at = size + t
        inner_products(along_old.ctypes.data, along.ctypes.data, at, work.inner.ctypes.data)
        square = work.columns[at, t] - work.inner[t, t]
        score = work.with_row[t] - work.inner[STEPS, t]
        if not square > _DEPENDENT * work.columns[at, t]:
            end = at
            break
        new = triangle[at]
        for i in range(at):
            new[i] = along_old[i, t]
        new[at] = np.sqrt(square)
        along[at] = score / new[at]
        solve_lower(triangle.ctypes.data, step, at, at + 1, columns, along_old.ctypes.data)
        work.squares[t], work.scores[t] = square, score
        explained += along[at] * along[at]
        _enter(chosen[at], at, words, work)
        if whole - explained <= _NEARLY * whole:  # too near for this difference
            end, nearly = at + 1, True
            break
    for t in range(STEPS):
        for i in range(end):
            work.factors[i, t] = along[i] if i <= size + t else 0.0
    solve_upper(triangle.ctypes.data, step, end, work.factors.ctypes.data)
    for t in range(STEPS):
        for i in range(end):
            work.codes[t, i] = work.factors[i, t]
    return end, nearly


@leaf()
def _lines(
    row: int, base: int, n: int, end: int, floor: float, words: Dictionary, state: State, work: Work
) -> None:
    """Products of all atoms after the codes of sizes ``base`` to ``base + n - 1``, and their errors."""
    dim = words.D.shape[1]
    for t in range(n):
        size, mass, rounding, shift = base + t, state.lengths[row], 0.0, 0.0  # atoms are no longer than 1
        for i in range(size):
            value = work.codes[t, i]
            work.scaled[i] = value * work.scale[i]
            mass += abs(value)
            rounding += abs(work.scaled[i])
            shift += value * work.shared[i]
        round_weights(work.scaled, size, t, work.weights, work.starts, work.units)
        work.shifts[t] = shift
        # float32 products of `dim` terms and what is done to them; half a unit of each weight
        exact = 1.01 * (dim + 64) * 2.0**-24 * mass + 65.0 * size * np.float64(work.units[t])
        work.slacks[2 * t + 1] = 0.51 * rounding / LOW + 1.01 * exact
        work.slacks[2 * t] = 0.51 * rounding + exact  # a byte rounds by half a unit
        work.floors[t] = abs(work.scores[t + 1]) - work.slacks[2 * t] if size < end else floor
    products(
        work.packed[0], (base + n - 1 + ROWS - 1) // ROWS, work.weights, work.starts, state.first[row],
        words.common, work.lines, work.shifts, work.units, work.floors, work.flags,
    )  # fmt: skip


@leaf()
def _score(atom: int, t: int, words: Dictionary, work: Work, n_kept: int) -> tuple[float, int]:
    """The exact product of an atom with a residual, and how many such are kept."""
    at = work.kept_at[atom]
    if at < 0:
        at = min(n_kept, KEPT - 1)
        dim = words.D.shape[1]
        dot_four(
            work.residuals.ctypes.data,
            words.D.ctypes.data + atom * dim * 4,
            work.kept.ctypes.data + 8 * STEPS * at,
            8 * dim,
            dim // 16,
        )
        if n_kept < KEPT - 1:
            work.kept_at[atom], work.kept_atoms[n_kept] = at, atom
            n_kept += 1
    return abs(work.kept[at, t]), n_kept


@leaf()
def _best(
    first: int,
    t: int,
    size: int,
    n: int,
    listed: float,
    n_kept: int,
    words: Dictionary,
    work: Work,
) -> tuple[int, int]:
    """The atom with the largest exact product after `size`, the lowest among equals; -1 where all are 0.

    `first` goes first: it rules most others out. ``found[t, :n]`` are those that reach the floor `listed`.
    """
    top, n_kept = _score(first, t, words, work, n_kept)
    line, slack, found = work.lines[t], work.slacks[2 * t], work.found[t]
    if top - slack < listed:
        n = free_columns(line, top - slack, work.position, size, found)
    if n > _MANY and size:
        for group in range((size + ROWS - 1) // ROWS):
            pack(words.gram, work.slots, size, 1, group, work.packed[1])
        for i in range(STEPS):
            work.fine_units[i] = work.units[i] / np.float32(LOW)
        products(
            work.packed[1], (size + ROWS - 1) // ROWS, work.weights, work.starts, line, work.nothing,
            work.finer, work.shifts, work.fine_units, work.floors, work.flags,
        )  # fmt: skip
        line, slack = work.finer[t], work.slacks[2 * t + 1]
        n = free_columns(line, top - slack, work.position, size, found)
    best = first if top > 0.0 else -1
    for i in range(n):
        atom = int(found[i])
        if atom == first or np.float64(abs(line[atom])) + slack < top:
            continue
        score, n_kept = _score(atom, t, words, work, n_kept)
        if score > top or (score == top and atom < best):
            best, top = atom, score
    return best, n_kept


@leaf()
def _judge(
    row: int, base: int, n: int, end: int, floor: float, words: Dictionary, state: State, work: Work,
    guesses: Scratch,
) -> tuple[int, int, int, float]:  # fmt: skip
    """How many of the atoms up to `end` are what pursuit chooses, and which is next.

    Line t follows the code of size ``base + t``. The next atom is -1 where none is left, and unknown where
    there is no line. Also the length of the shortlist for the next segment, and the floor of its last line.
    """
    chosen, width = state.chosen[row], words.D.shape[1]
    at, best, count, first, listed = end, _UNKNOWN, 0, -1, floor
    unsure, n_kept = False, 0
    for t in range(n):
        size = base + t
        line, found = work.lines[t], work.found[t]
        work.n_found[t] = 0
        if size < end:
            others = flagged(work.flags[t], work.position, size, found)
            if others == 0 or (others == 1 and found[0] == chosen[size]):
                continue
        else:
            others = flagged(work.flags[t], work.position, size, guesses.columns) if size else -1
            others, count, first, listed, floor = shortlist(others, line, work.position, size, floor, guesses)
            apart = abs(np.float64(line[first])) - 2.0 * work.slacks[2 * t]
            least, fewer = max(apart, listed), 0
            for i in range(others):
                column = guesses.columns[i]
                if abs(line[column]) >= least:
                    found[fewer] = column
                    fewer += 1
            if fewer == 1 and apart >= listed:  # no other can be as good
                at, best = size, first
                continue
            others, listed = fewer, least
        unsure = True
        work.n_found[t] = others
        if others <= _MANY:
            for i in range(others):
                fetch(words.D.ctypes.data + 4 * width * found[i], width // 16)
    if unsure:
        _residuals(state.X[row], n, base + n - 1, work)
    for t in range(n):
        size = base + t
        if work.n_found[t] == 0:
            continue
        guessed = chosen[size] if size < end else first
        least = np.float64(work.floors[t]) if size < end else listed
        now, n_kept = _best(guessed, t, size, work.n_found[t], least, n_kept, words, work)
        if size == end:
            at, best = size, now
        elif now != guessed:
            at, best = size, now
            if best >= 0:
                others = free_columns(work.lines[t], floor, work.position, size, guesses.columns)
                others, count, first, listed, floor = shortlist(
                    others, work.lines[t], work.position, size, floor, guesses
                )
            break
    for i in range(n_kept):
        work.kept_at[work.kept_atoms[i]] = -1
    return at, best, count, floor


@leaf()
def _advance_row(
    row: int, floor: float, words: Dictionary, state: State, work: Work, guesses: Scratch
) -> float:
    chosen, inverse, code = state.chosen[row], state.inverse[row], state.code[row]
    size, n_packed, k = state.sizes[row], 0, state.chosen.shape[1]
    for i in range(size):
        _enter(chosen[i], i, words, work)
    best, count, line, begin = _UNKNOWN, 0, 0, 0.0
    while True:
        nearly, base, end = False, size, size
        if best >= 0:
            most = min(STEPS, k - size)
            n = guess(
                best, count, work.lines[line], size, most, chosen, work.packed[0], inverse, work.scale,
                work.shared, words, guesses,
            )  # fmt: skip
            end, nearly = _append_all(row, size, n, words, state, work)
            if end == size:
                state.active[row] = False
                break
            base = size + 1
        elif size and work.slots[size - 1] < 0:
            break
        else:
            copy(code, size, work.codes[0])
        n = end - base
        if not (nearly or end == k or (end and work.slots[end - 1] < 0)):
            n += 1
        held = base + n - 1  # atoms in the last line
        for group in range(n_packed // ROWS, (held + ROWS - 1) // ROWS):
            pack(words.gram, work.slots, held, 0, group, work.packed[0])
        n_packed = held
        if held > 0 and n > 0:
            _lines(row, base, n, end, floor, words, state, work)
        elif n > 0:
            copy(state.first[row], words.common.size, work.lines[0])
            exact = 1.01 * (words.D.shape[1] + 64) * 2.0**-24 * state.lengths[row]
            work.slacks[0] = work.slacks[1] = exact
        at, best, count, floor = _judge(row, base, n, end, floor, words, state, work, guesses)
        if end == 0:
            begin = floor
        if at > size:
            grow_inverse(inverse, code, work.codes, size, at - size, work.squares, guesses)
            copy(work.codes[at - size - 1], at, code)
        for i in range(at, end):
            work.position[chosen[i]] = k + 1
            chosen[i] = -1
        line, size, n_packed = at - base, at, min(n_packed, at)
        if size == k or best == -1:
            state.active[row] = False
            break
        if nearly and at == end:
            copy(code, size, work.codes[0])
            _residuals(state.X[row], 1, size, work)
            squared = _inner(work.residuals[0], work.residuals[0], words.D.shape[1])
            if squared <= _SOLVED * state.lengths[row] * state.lengths[row]:
                state.active[row] = False
                break
    state.sizes[row] = size
    for i in range(size):
        work.position[chosen[i]] = k + 1
    chosen[size:] = -1
    if not state.active[row]:
        copy(code, size, work.codes[0])
        _residuals(state.X[row], 1, size, work)
        state.left[row] = np.sqrt(_inner(work.residuals[0], work.residuals[0], words.D.shape[1]))
    return begin


@leaf(nogil=True)
def advance(start: int, stop: int, words: Dictionary, state: State, work: Work, guesses: Scratch) -> None:
    """Take active rows as far as there are Gram rows; one that is done becomes inactive.

    A row goes on alone, not in step with the others: its Gram rows are read again for every segment and
    stay in the cache.
    """
    floor = 0.0
    for row in range(start, stop):
        if state.active[row]:
            floor = _advance_row(row, floor, words, state, work, guesses)
