"""Rows of float32 in vector registers, as LLVM code for numba: inner product, and the update of two rows.

Sixteen partial sums, fused multiply-add written out, one order of the final sum: every processor gives the
same bits, and the bits do not depend on what the compiler makes of a loop. Rows are padded with zeros to a
multiple of ``LANES`` numbers, which all operations keep zero.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
_FLOAT, _ADDRESS, _INDEX = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_BYTES = 4 * LANES


def _zero() -> Any:
    return ir.Constant(_VECTOR, [0.0] * LANES)


def _place(builder: Any, address: Any, step: Any) -> Any:
    offset = builder.mul(step, _ADDRESS(_BYTES))
    return builder.inttoptr(builder.add(address, offset), _VECTOR.as_pointer())


def _load(builder: Any, address: Any, step: Any) -> Any:
    return builder.load(_place(builder, address, step), align=4)


def _store(builder: Any, value: Any, address: Any, step: Any) -> None:
    builder.store(value, _place(builder, address, step), align=4)


def _fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z`` with one rounding."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [x, y, z])


def _spread(builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _INDEX(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))


def _total(builder: Any, vector: Any) -> Any:
    width = LANES
    while width > 1:
        width //= 2
        order = [lane + width if lane < width else lane for lane in range(LANES)]
        upper = builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INDEX, LANES), order))
        vector = builder.fadd(vector, upper)
    return builder.extract_element(vector, _INDEX(0))


def _dot_rows(typing_context: Any, x: Any, y: Any, n_steps: Any) -> Any:
    """Inner product of ``LANES * n_steps`` float32 at two addresses, and that of the second with itself."""
    pair = types.UniTuple(types.float32, 2)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        x, y, n_steps = arguments
        total = cgutils.alloca_once_value(builder, _zero())
        square = cgutils.alloca_once_value(builder, _zero())
        with cgutils.for_range(builder, n_steps) as loop:
            left, right = _load(builder, x, loop.index), _load(builder, y, loop.index)
            builder.store(_fused(builder, left, right, builder.load(total)), total)
            builder.store(_fused(builder, right, right, builder.load(square)), square)
        sums = [_total(builder, builder.load(place)) for place in (total, square)]
        return context.make_tuple(builder, pair, sums)

    return pair(types.int64, types.int64, types.int64), generate


def _add_row(typing_context: Any, factor: Any, x: Any, y: Any, n_steps: Any) -> Any:
    """``y += factor * x``."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        factor, x, y, n_steps = arguments
        factor = _spread(builder, factor)
        with cgutils.for_range(builder, n_steps) as loop:
            at = loop.index
            _store(builder, _fused(builder, factor, _load(builder, x, at), _load(builder, y, at)), y, at)
        return context.get_dummy_value()

    return types.void(types.float32, types.int64, types.int64, types.int64), generate


def _exchange_rows(typing_context: Any, factor: Any, x: Any, y: Any, step: Any, n_steps: Any) -> Any:
    """``step += factor * y`` and then ``y += factor * x``, each number read and written once."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        factor, x, y, step, n_steps = arguments
        factor = _spread(builder, factor)
        with cgutils.for_range(builder, n_steps) as loop:
            at = loop.index
            old = _load(builder, y, at)
            _store(builder, _fused(builder, factor, old, _load(builder, step, at)), step, at)
            _store(builder, _fused(builder, factor, _load(builder, x, at), old), y, at)
        return context.get_dummy_value()

    arguments = (types.float32, *(types.int64,) * 4)
    return types.void(*arguments), generate


def _set_row(typing_context: Any, factor: Any, x: Any, y: Any, n_steps: Any) -> Any:
    """``y = factor * x``."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        factor, x, y, n_steps = arguments
        factor = _spread(builder, factor)
        with cgutils.for_range(builder, n_steps) as loop:
            at = loop.index
            _store(builder, builder.fmul(factor, _load(builder, x, at)), y, at)
        return context.get_dummy_value()

    return types.void(types.float32, types.int64, types.int64, types.int64), generate


dot_rows: Any = intrinsic(_dot_rows)
add_row: Any = intrinsic(_add_row)
exchange_rows: Any = intrinsic(_exchange_rows)
set_row: Any = intrinsic(_set_row)
