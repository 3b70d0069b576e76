"""Sums of 8-bit rows with 15-bit weights, four sets of weights at a time, in AVX-512 VNNI instructions.

Written as LLVM code that numba compiles into its caller. One instruction takes four rows, sixteen columns
and half of the weights' bits. A vector of rows is read once for all the weights, and stays in its register.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types

from vocab.methods.pursuit.vectors import STEPS, Loop, function, intrinsic, load, pointer, spread

COLUMNS, ROWS = 64, 4  # columns whose bytes change places, rows side by side
PANEL = 32  # columns whose rows lie together
_LANES = 16
_N_VECTORS = PANEL // _LANES

_BYTE, _SHORT, _WORD, _ADDRESS = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT = ir.FloatType()
_INTEGERS, _FLOATS = ir.VectorType(_WORD, _LANES), ir.VectorType(_FLOAT, _LANES)
_BYTES = ir.VectorType(_BYTE, COLUMNS)


def place(column: int) -> int:
    """Where a row keeps the byte of a column."""
    within = column % COLUMNS
    return int(column - within + within % 16 // 4 * 16 + within // 16 * 4 + within % 4)


@intrinsic
def interleave(typing_context: Any, a: Any, b: Any, c: Any, d: Any, out: Any, n_bytes: Any) -> Any:
    """Byte ``place(j)`` of each row next to one another at ``out[4 j]``; all arguments are addresses.

    The upper 32 columns go `n_bytes` further. The order :func:`place` makes it two steps within sixteen
    bytes.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        *rows, out, n_bytes = arguments
        a, b, c, d = (load(builder, row, _BYTES) for row in rows)
        shorts = ir.VectorType(_SHORT, COLUMNS // 2)

        def unpack(left: Any, right: Any, size: int, upper: int) -> Any:
            """The lower or upper half of every sixteen bytes of both, alternating."""
            lanes = 16 // size
            mask = [
                lane * lanes + upper * lanes // 2 + i + side * 4 * lanes
                for lane in range(4)
                for i in range(lanes // 2)
                for side in range(2)
            ]
            return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_WORD, len(mask)), mask))

        for half in range(2):
            at = builder.add(out, builder.mul(n_bytes, _ADDRESS(half)))
            first, second = (
                builder.bitcast(unpack(left, right, 1, half), shorts) for left, right in ((a, b), (c, d))
            )
            for quarter in range(2):
                words = builder.bitcast(unpack(first, second, 2, quarter), _INTEGERS)
                builder.store(words, pointer(builder, at, _INTEGERS, COLUMNS * quarter), align=1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def subtract_rows(
    typing_context: Any,
    packed: Any,
    n_panels: Any,
    panel_bytes: Any,
    n_groups: Any,
    weights: Any,
    weight_bytes: Any,
    starts: Any,
    line: Any,
    common: Any,
    out: Any,
    out_bytes: Any,
    shifts: Any,
    units: Any,
    floors: Any,
    flags: Any,
    flag_bytes: Any,
) -> Any:
    """``out[t] = line - shifts[t] common - units[t] (weights[t] @ rows)`` for four t; what reaches a floor.

    A bit of ``flags[t, v]`` says so of a magnitude among the sixteen entries v. `packed` holds panels of 32
    columns, `panel_bytes` apart, in them groups of four unsigned rows as :func:`interleave` makes them;
    `weights` for every t a line of high and one of low signed bytes, `weight_bytes` apart, a high one worth
    128; `starts` -128 times their sum, which makes the rows signed. All are addresses but the sizes.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        packed, n_panels, panel_bytes, n_groups, weights, weight_bytes, starts = arguments[:7]
        line, common, out, out_bytes, shifts, units, floors, flags, flag_bytes = arguments[7:]
        multiply_add = ir.InlineAsm(
            ir.FunctionType(_INTEGERS, [_INTEGERS] * 3), "vpdpbusd $2, $1, $0", "=v,v,v,0", side_effect=False
        )
        fused = function(builder, "llvm.fma.v16f32", _FLOATS, [_FLOATS] * 3)
        prefetch = function(builder, "llvm.prefetch.p0", ir.VoidType(), [_BYTE.as_pointer(), *[_WORD] * 3])
        begun = [spread(builder, load(builder, starts, _WORD, 4 * t), _INTEGERS) for t in range(STEPS)]
        by_shift, by_unit = (
            [
                spread(builder, builder.fneg(load(builder, numbers, _FLOAT, 4 * t)), _FLOATS)
                for t in range(STEPS)
            ]
            for numbers in (shifts, units)
        )
        magnitude = function(builder, "llvm.fabs.v16f32", _FLOATS, [_FLOATS])
        least = [spread(builder, load(builder, floors, _FLOAT, 4 * t), _FLOATS) for t in range(STEPS)]
        nothing = ir.Constant(_INTEGERS, [0] * _LANES)
        panels = Loop(builder, n_panels, [])
        panel = builder.add(packed, builder.mul(panels.index, panel_bytes))
        zeroed = [value for t in range(STEPS) for value in [nothing] * _N_VECTORS + [begun[t]] * _N_VECTORS]
        groups = Loop(builder, n_groups, zeroed)
        at = builder.add(panel, builder.mul(groups.index, _ADDRESS(ROWS * PANEL)))
        following = builder.add(at, panel_bytes)
        words = builder.add(weights, builder.mul(groups.index, _ADDRESS(ROWS)))
        vectors = [load(builder, at, _INTEGERS, 64 * v) for v in range(_N_VECTORS)]
        for v in range(_N_VECTORS):
            where = pointer(builder, following, _BYTE, 64 * v)
            builder.call(prefetch, [where, _WORD(0), _WORD(3), _WORD(1)])
        added = []
        for part in range(2 * STEPS):
            word = load(builder, builder.add(words, builder.mul(weight_bytes, _ADDRESS(part))), _WORD)
            word = spread(builder, word, _INTEGERS)
            for v in range(_N_VECTORS):
                sums = groups.values[part * _N_VECTORS + v]
                added.append(builder.call(multiply_add, [vectors[v], word, sums]))
        groups.close(added)
        offset = builder.mul(panels.index, _ADDRESS(4 * PANEL))
        for v in range(_N_VECTORS):
            entry = load(builder, builder.add(line, offset), _FLOATS, 64 * v)
            shared = load(builder, builder.add(common, offset), _FLOATS, 64 * v)
            for t in range(STEPS):
                high, low = (groups.values[(2 * t + half) * _N_VECTORS + v] for half in range(2))
                total = builder.add(builder.shl(high, ir.Constant(_INTEGERS, [7] * _LANES)), low)
                value = builder.call(fused, [by_shift[t], shared, entry])
                value = builder.call(fused, [by_unit[t], builder.sitofp(total, _FLOATS), value])
                where = builder.add(builder.add(out, builder.mul(out_bytes, _ADDRESS(t))), offset)
                builder.store(value, pointer(builder, where, _FLOATS, 64 * v), align=1)
                reached = builder.fcmp_ordered(">=", builder.call(magnitude, [value]), least[t])
                where = builder.add(flags, builder.mul(flag_bytes, _ADDRESS(t)))
                where = builder.add(where, builder.mul(panels.index, _ADDRESS(2 * _N_VECTORS)))
                builder.store(
                    builder.bitcast(reached, _SHORT), pointer(builder, where, _SHORT, 2 * v), align=1
                )
        panels.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 16), generate


# of use when code that calls these is compiled while they themselves come from numba's cache
binding.initialize_native_asmparser()
