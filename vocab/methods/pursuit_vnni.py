"""Sums of 8-bit rows with 15-bit weights, 64 columns at a time, in AVX-512 VNNI instructions.

Written as LLVM code that numba compiles into its caller. One instruction takes four rows, sixteen columns
and half of the weights' bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

COLUMNS, ROWS = 64, 4
_LANES = 16

_BYTE, _SHORT, _WORD, _ADDRESS = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT = ir.FloatType()
_INTEGERS, _FLOATS = ir.VectorType(_WORD, _LANES), ir.VectorType(_FLOAT, _LANES)
_BYTES, _DOUBLES = ir.VectorType(_BYTE, COLUMNS), ir.VectorType(ir.DoubleType(), 8)


def _pointer(builder: Any, address: Any, kind: Any, n_bytes: int) -> Any:
    return builder.inttoptr(builder.add(address, _ADDRESS(n_bytes)), kind.as_pointer())


def _load(builder: Any, address: Any, kind: Any, n_bytes: int = 0) -> Any:
    return builder.load(_pointer(builder, address, kind, n_bytes), align=1)


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    nothing = ir.Constant(kind, ir.Undefined)
    single = builder.insert_element(nothing, value, _WORD(0))
    mask = ir.Constant(ir.VectorType(_WORD, kind.count), [0] * kind.count)
    return builder.shuffle_vector(single, nothing, mask)


def _interleave(typing_context: Any, a: Any, b: Any, c: Any, d: Any, out: Any) -> Any:
    """Byte ``place(j)`` of each row next to one another at ``out[4 j]``; all arguments are addresses.

    The order :func:`place` makes it two steps within sixteen bytes.
    """
    return types.void(*[types.int64] * 5), _generate_interleave


def place(column: int) -> int:
    """Where a row keeps the byte of a column."""
    within = column % COLUMNS
    return int(column - within + within % 16 // 4 * 16 + within // 16 * 4 + within % 4)


def _generate_interleave(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    *rows, out = arguments
    a, b, c, d = (_load(builder, row, _BYTES) for row in rows)
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
        first, second = (
            builder.bitcast(unpack(left, right, 1, half), shorts) for left, right in ((a, b), (c, d))
        )
        for quarter in range(2):
            words = builder.bitcast(unpack(first, second, 2, quarter), _INTEGERS)
            at = _pointer(builder, out, _INTEGERS, COLUMNS * (2 * half + quarter))
            builder.store(words, at, align=1)
    return context.get_dummy_value()


def _dot(typing_context: Any, x: Any, y: Any, n_steps: Any) -> Any:
    """Inner product of float64 and float32 numbers at two addresses, 32 a step, in one fixed order."""
    return types.float64(types.int64, types.int64, types.int64), _generate_dot


def _generate_dot(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    x, y, n_steps = arguments
    fused = _fused_double(builder)
    before = builder.block
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_ADDRESS)
    step.add_incoming(_ADDRESS(0), before)
    sums = [builder.phi(_DOUBLES) for _ in range(4)]
    left = builder.add(x, builder.mul(step, _ADDRESS(256)))
    right = builder.add(y, builder.mul(step, _ADDRESS(128)))
    added = [
        builder.call(
            fused, [_load(builder, left, _DOUBLES, 64 * i), _widened(builder, right, 32 * i), sums[i]]
        )
        for i in range(4)
    ]
    following = builder.add(step, _ADDRESS(1))
    step.add_incoming(following, loop)
    for i in range(4):
        sums[i].add_incoming(ir.Constant(_DOUBLES, [0.0] * 8), before)
        sums[i].add_incoming(added[i], loop)
    builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)
    builder.position_at_end(after)
    total = builder.fadd(builder.fadd(added[0], added[1]), builder.fadd(added[2], added[3]))
    for half in (4, 2, 1):
        mask = [ir.Constant(ir.VectorType(_WORD, half), list(range(at, at + half))) for at in (0, half)]
        total = builder.fadd(*(builder.shuffle_vector(total, total, m) for m in mask))
    return builder.extract_element(total, _WORD(0))


def _subtract_four(
    typing_context: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    u: Any,
    v: Any,
    w: Any,
    z: Any,
    line: Any,
    n_steps: Any,
) -> Any:
    """``line -= u a + v b + w c + z d`` for float32 rows and a float64 line, 8 numbers a step."""
    arguments = [types.int64] * 4 + [types.float64] * 4 + [types.int64] * 2
    return types.void(*arguments), _generate_subtract_four


def _generate_subtract_four(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    rows, line, n_steps = arguments[:4], arguments[8], arguments[9]
    fused = _fused_double(builder)
    factors = [_spread(builder, builder.fneg(factor), _DOUBLES) for factor in arguments[4:8]]
    before = builder.block
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_ADDRESS)
    step.add_incoming(_ADDRESS(0), before)
    offset = builder.mul(step, _ADDRESS(32))
    at = builder.add(line, builder.mul(step, _ADDRESS(64)))
    entry = _load(builder, at, _DOUBLES)
    for row, factor in zip(rows, factors, strict=True):
        entry = builder.call(fused, [factor, _widened(builder, builder.add(row, offset), 0), entry])
    builder.store(entry, _pointer(builder, at, _DOUBLES, 0), align=1)
    following = builder.add(step, _ADDRESS(1))
    step.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)
    builder.position_at_end(after)
    return context.get_dummy_value()


def _widened(builder: Any, address: Any, n_bytes: int) -> Any:
    return builder.fpext(_load(builder, address, ir.VectorType(_FLOAT, 8), n_bytes), _DOUBLES)


def _fused_double(builder: Any) -> Any:
    kind = ir.FunctionType(_DOUBLES, [_DOUBLES] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v8f64")


def _subtract_rows(
    typing_context: Any,
    packed: Any,
    high: Any,
    low: Any,
    n_groups: Any,
    high_start: Any,
    low_start: Any,
    line: Any,
    common: Any,
    out: Any,
    shift: Any,
    unit: Any,
) -> Any:
    """64 entries of ``line - shift common - unit (128 high + low) @ rows``; returns their largest magnitude.

    `packed` holds groups of four unsigned rows as :func:`interleave` makes them, `high` and `low` are signed
    bytes, four a group, and the starts are -128 times their sums, which makes the rows signed. `packed`,
    `high`, `low`, `line`, `common` and `out` are addresses.
    """
    arguments = [types.int64] * 4 + [types.int32] * 2 + [types.int64] * 3 + [types.float32] * 2
    return types.float32(*arguments), _generate_subtract


def _generate_subtract(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    packed, high, low, n_groups, high_start, low_start, line, common, out, shift, unit = arguments
    n_vectors = COLUMNS // _LANES
    multiply_add = ir.InlineAsm(
        ir.FunctionType(_INTEGERS, [_INTEGERS] * 3), "vpdpbusd $2, $1, $0", "=v,v,v,0", side_effect=False
    )
    before = builder.block
    begun = [_spread(builder, start, _INTEGERS) for start in (high_start, low_start)]
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)

    builder.position_at_end(loop)
    group = builder.phi(_ADDRESS)
    group.add_incoming(_ADDRESS(0), before)
    sums = [[builder.phi(_INTEGERS) for _ in range(n_vectors)] for _ in begun]
    block = builder.add(packed, builder.mul(group, _ADDRESS(ROWS * COLUMNS)))
    offset = builder.mul(group, _ADDRESS(ROWS))
    vectors = [_load(builder, block, _INTEGERS, 64 * v) for v in range(n_vectors)]
    added: list[list[Any]] = []
    for half, weights in enumerate((high, low)):
        word = _spread(builder, _load(builder, builder.add(weights, offset), _WORD), _INTEGERS)
        added.append(
            [builder.call(multiply_add, [vectors[v], word, sums[half][v]]) for v in range(n_vectors)]
        )
    following = builder.add(group, _ADDRESS(1))
    group.add_incoming(following, loop)
    for half in range(2):
        for v in range(n_vectors):
            sums[half][v].add_incoming(begun[half], before)
            sums[half][v].add_incoming(added[half][v], loop)
    builder.cbranch(builder.icmp_signed("<", following, n_groups), loop, after)

    builder.position_at_end(after)
    functions = {
        name: cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, arguments), name)
        for name, kind, arguments in (
            ("llvm.fma.v16f32", _FLOATS, [_FLOATS] * 3),
            ("llvm.fabs.v16f32", _FLOATS, [_FLOATS]),
            ("llvm.maxnum.v16f32", _FLOATS, [_FLOATS] * 2),
            ("llvm.vector.reduce.fmax.v16f32", _FLOAT, [_FLOATS]),
        )
    }
    fused, magnitude = functions["llvm.fma.v16f32"], functions["llvm.fabs.v16f32"]
    by_shift, by_low = (_spread(builder, builder.fneg(value), _FLOATS) for value in (shift, unit))
    by_high = builder.fmul(by_low, ir.Constant(_FLOATS, [128.0] * _LANES))
    largest = ir.Constant(_FLOATS, [0.0] * _LANES)
    for v in range(n_vectors):
        entry = _load(builder, line, _FLOATS, 64 * v)
        entry = builder.call(fused, [by_shift, _load(builder, common, _FLOATS, 64 * v), entry])
        for half, factor in enumerate((by_high, by_low)):
            entry = builder.call(fused, [factor, builder.sitofp(added[half][v], _FLOATS), entry])
        builder.store(entry, _pointer(builder, out, _FLOATS, 64 * v), align=1)
        largest = builder.call(functions["llvm.maxnum.v16f32"], [largest, builder.call(magnitude, [entry])])
    return builder.call(functions["llvm.vector.reduce.fmax.v16f32"], [largest])


# of use when code that calls these is compiled while they themselves come from numba's cache
binding.initialize_native_asmparser()

interleave: Any = intrinsic(_interleave)
dot: Any = intrinsic(_dot)
subtract_four: Any = intrinsic(_subtract_four)
subtract_rows: Any = intrinsic(_subtract_rows)
