"""Triangular systems with four right sides at once, for :mod:`vocab.methods.pursuit.coding`.

A row of four numbers, one for each side, lies together; matrices have rows `n_bytes` apart. Written as
LLVM code that numba compiles into its caller.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from vocab.methods.pursuit.vectors import STEPS, Loop, function, intrinsic, load, pointer, spread

_ADDRESS, _DOUBLE, _FLOAT = ir.IntType(64), ir.DoubleType(), ir.FloatType()
_SIDES, _FLOATS = ir.VectorType(_DOUBLE, STEPS), ir.VectorType(_FLOAT, 16)
_ZERO = ir.Constant(_SIDES, [0.0] * STEPS)


def _at(builder: Any, address: Any, index: Any, n_bytes: Any) -> Any:
    step = _ADDRESS(n_bytes) if isinstance(n_bytes, int) else n_bytes
    return builder.add(address, builder.mul(index, step))


def _fused(builder: Any) -> Any:
    return function(builder, f"llvm.fma.v{STEPS}f64", _SIDES, [_SIDES] * 3)


@intrinsic
def solve_lower(
    typing_context: Any, triangle: Any, n_bytes: Any, start: Any, n: Any, sides: Any, out: Any
) -> Any:
    """Rows `start` to `n` of ``triangle @ out = sides``, where `out` holds those before.

    Numbers past the diagonal are zero, and `out` up to the next multiple of four.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        triangle, n_bytes, start, n, sides, out = arguments
        fused = _fused(builder)
        outer = Loop(builder, builder.sub(n, start), [])
        index = builder.add(start, outer.index)
        row = _at(builder, triangle, index, n_bytes)
        n_turns = builder.lshr(builder.add(index, _ADDRESS(3)), _ADDRESS(2))
        inner = Loop(builder, n_turns, [_ZERO] * 4)
        left, right = _at(builder, row, inner.index, 32), _at(builder, out, inner.index, 32 * STEPS)
        sums = []
        for i in range(4):
            factor = spread(builder, load(builder, left, _DOUBLE, 8 * i), _SIDES)
            known = load(builder, right, _SIDES, 8 * STEPS * i)
            sums.append(builder.call(fused, [factor, known, inner.values[i]]))
        inner.close(sums)
        a, b, c, d = inner.values
        total = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
        rest = builder.fsub(load(builder, _at(builder, sides, index, 8 * STEPS), _SIDES), total)
        diagonal = load(builder, _at(builder, row, index, 8), _DOUBLE)
        value = builder.fdiv(rest, spread(builder, diagonal, _SIDES))
        builder.store(value, pointer(builder, _at(builder, out, index, 8 * STEPS), _SIDES), align=1)
        outer.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def solve_upper(typing_context: Any, triangle: Any, n_bytes: Any, n: Any, sides: Any) -> Any:
    """``triangle.T @ sides = sides``, in place, from the last to the first."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        triangle, n_bytes, n, sides = arguments
        fused = _fused(builder)
        outer = Loop(builder, n, [])
        last = builder.sub(builder.sub(n, outer.index), _ADDRESS(1))
        row = _at(builder, triangle, last, n_bytes)
        at = _at(builder, sides, last, 8 * STEPS)
        diagonal = spread(builder, load(builder, _at(builder, row, last, 8), _DOUBLE), _SIDES)
        value = builder.fdiv(load(builder, at, _SIDES), diagonal)
        builder.store(value, pointer(builder, at, _SIDES), align=1)
        factor = builder.fsub(_ZERO, value)
        inner = Loop(builder, last, [])
        at = _at(builder, sides, inner.index, 8 * STEPS)
        left = spread(builder, load(builder, _at(builder, row, inner.index, 8), _DOUBLE), _SIDES)
        entry = builder.call(fused, [left, factor, load(builder, at, _SIDES)])
        builder.store(entry, pointer(builder, at, _SIDES), align=1)
        inner.close([])
        outer.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def inner_products(typing_context: Any, sides: Any, vector: Any, n: Any, out: Any) -> Any:
    """``sides.T @ sides`` and, as a fifth row, ``vector @ sides``."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        sides, vector, n, out = arguments
        fused = _fused(builder)
        loop = Loop(builder, n, [_ZERO] * (STEPS + 1))
        at = _at(builder, sides, loop.index, 8 * STEPS)
        row = load(builder, at, _SIDES)
        factors = [load(builder, at, _DOUBLE, 8 * i) for i in range(STEPS)]
        factors.append(load(builder, _at(builder, vector, loop.index, 8), _DOUBLE))
        loop.close(
            [
                builder.call(fused, [spread(builder, factor, _SIDES), row, value])
                for factor, value in zip(factors, loop.values, strict=True)
            ]
        )
        for i, value in enumerate(loop.values):
            builder.store(value, pointer(builder, out, _SIDES, 8 * STEPS * i), align=1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def add_squares(
    typing_context: Any, matrix: Any, n_bytes: Any, n: Any, factors: Any, rows: Any, n_turns: Any
) -> Any:
    """``matrix[i] += sum_t factors[i, t] rows[t]`` in float32 for four t, 16 numbers a turn."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        matrix, n_bytes, n, factors, rows, n_turns = arguments
        fused = function(builder, "llvm.fma.v16f32", _FLOATS, [_FLOATS] * 3)
        outer = Loop(builder, n, [])
        line = _at(builder, matrix, outer.index, n_bytes)
        by = _at(builder, factors, outer.index, 4 * STEPS)
        spreads = [spread(builder, load(builder, by, _FLOAT, 4 * t), _FLOATS) for t in range(STEPS)]
        inner = Loop(builder, n_turns, [])
        at = _at(builder, line, inner.index, 64)
        entry = load(builder, at, _FLOATS)
        for t in range(STEPS):
            row = _at(builder, _at(builder, rows, _ADDRESS(t), n_bytes), inner.index, 64)
            entry = builder.call(fused, [spreads[t], load(builder, row, _FLOATS), entry])
        builder.store(entry, pointer(builder, at, _FLOATS), align=1)
        inner.close([])
        outer.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def combine(
    typing_context: Any, vector: Any, n: Any, matrix: Any, n_bytes: Any, out: Any, n_turns: Any
) -> Any:
    """``out = vector @ matrix`` of `n` float32 rows, 32 numbers a turn."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        vector, n, matrix, n_bytes, out, n_turns = arguments
        fused = function(builder, "llvm.fma.v16f32", _FLOATS, [_FLOATS] * 3)
        outer = Loop(builder, n_turns, [])
        offset = builder.mul(outer.index, _ADDRESS(128))
        inner = Loop(builder, n, [ir.Constant(_FLOATS, [0.0] * 16)] * 2)
        factor = spread(builder, load(builder, _at(builder, vector, inner.index, 4), _FLOAT), _FLOATS)
        row = builder.add(_at(builder, matrix, inner.index, n_bytes), offset)
        inner.close(
            [
                builder.call(fused, [factor, load(builder, row, _FLOATS, 64 * v), inner.values[v]])
                for v in range(2)
            ]
        )
        for v in range(2):
            at = pointer(builder, builder.add(out, offset), _FLOATS, 64 * v)
            builder.store(inner.values[v], at, align=1)
        outer.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate
