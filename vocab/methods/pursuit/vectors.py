"""Vector loops of :mod:`vocab.methods.pursuit.coding` in float64 and float32, four of a kind at a time.

Written as LLVM code that numba compiles into its caller, for any processor. Sums run in one fixed order.
All addresses are of contiguous numbers; widths are multiples of 32.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils

STEPS = 4  # what these loops take together

intrinsic: Any = extending.intrinsic
# for kernels that allocate nothing: counting references to the arrays would cost more than some of them do
leaf: Any = partial(njit, cache=True, _nrt=False)

_BYTE, _WORD, _ADDRESS = (ir.IntType(bits) for bits in (8, 32, 64))
_DOUBLE, _FLOAT = ir.DoubleType(), ir.FloatType()
_DOUBLES, _FLOATS = ir.VectorType(_DOUBLE, 8), ir.VectorType(_FLOAT, 16)
_INTEGERS, _FLAGS = ir.VectorType(_WORD, 16), ir.VectorType(ir.IntType(1), 16)
_KEPT = [_INTEGERS, _WORD.as_pointer(), _FLAGS]


def pointer(builder: Any, address: Any, kind: Any, n_bytes: int = 0) -> Any:
    """What lies `n_bytes` past an address."""
    return builder.inttoptr(builder.add(address, _ADDRESS(n_bytes)), kind.as_pointer())


def load(builder: Any, address: Any, kind: Any, n_bytes: int = 0) -> Any:
    """Read one value or vector."""
    return builder.load(pointer(builder, address, kind, n_bytes), align=1)


def spread(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of one value."""
    nothing = ir.Constant(kind, ir.Undefined)
    single = builder.insert_element(nothing, value, _WORD(0))
    mask = ir.Constant(ir.VectorType(_WORD, kind.count), [0] * kind.count)
    return builder.shuffle_vector(single, nothing, mask)


def function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """One of LLVM's own functions."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


class Loop:
    """``for i in range(n)`` with values carried from turn to turn; no turn where n is 0."""

    def __init__(self, builder: Any, n: Any, carried: list[Any]) -> None:
        self.builder, self.before = builder, builder.block
        self.head, self.body, self.after = (builder.append_basic_block(x) for x in ("head", "body", "after"))
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.index = builder.phi(_ADDRESS)
        self.index.add_incoming(_ADDRESS(0), self.before)
        self.values = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.values, carried, strict=True):
            phi.add_incoming(value, self.before)
        builder.cbranch(builder.icmp_signed("<", self.index, n), self.body, self.after)
        builder.position_at_end(self.body)

    def close(self, carried: list[Any]) -> None:
        """End the turn; `values` then hold what the last one left."""
        self.index.add_incoming(self.builder.add(self.index, _ADDRESS(1)), self.builder.block)
        for phi, value in zip(self.values, carried, strict=True):
            phi.add_incoming(value, self.builder.block)
        self.builder.branch(self.head)
        self.builder.position_at_end(self.after)


def _widened(builder: Any, address: Any, n_bytes: int) -> Any:
    return builder.fpext(load(builder, address, ir.VectorType(_FLOAT, 8), n_bytes), _DOUBLES)


@intrinsic
def dot_four(typing_context: Any, vectors: Any, row: Any, out: Any, n_bytes: Any, n_turns: Any) -> Any:
    """Products of a float32 row with four float64 vectors that lie `n_bytes` apart, 16 numbers a turn."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        vectors, row, out, n_bytes, n_turns = arguments
        fused = function(builder, "llvm.fma.v8f64", _DOUBLES, [_DOUBLES] * 3)
        starts = [builder.add(vectors, builder.mul(n_bytes, _ADDRESS(v))) for v in range(STEPS)]
        loop = Loop(builder, n_turns, [ir.Constant(_DOUBLES, [0.0] * 8)] * (2 * STEPS))
        right = builder.add(row, builder.mul(loop.index, _ADDRESS(64)))
        offset = builder.mul(loop.index, _ADDRESS(128))
        halves = [_widened(builder, right, 32 * half) for half in range(2)]
        added = []
        for v in range(STEPS):
            left = builder.add(starts[v], offset)
            for half in range(2):
                factors = [load(builder, left, _DOUBLES, 64 * half), halves[half]]
                added.append(builder.call(fused, [*factors, loop.values[2 * v + half]]))
        loop.close(added)
        for v in range(STEPS):
            total = builder.fadd(loop.values[2 * v], loop.values[2 * v + 1])
            for half in (4, 2, 1):
                masks = [list(range(at, at + half)) for at in (0, half)]
                parts = [
                    builder.shuffle_vector(total, total, ir.Constant(ir.VectorType(_WORD, half), mask))
                    for mask in masks
                ]
                total = builder.fadd(*parts)
            builder.store(builder.extract_element(total, _WORD(0)), pointer(builder, out, _DOUBLE, 8 * v))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@intrinsic
def add_rows(
    typing_context: Any, x: Any, rows: Any, factors: Any, n: Any, out: Any, n_bytes: Any, n_turns: Any
) -> Any:
    """``out[t] = x + sum_i factors[i, t] rows[i]`` for four t; `rows` are addresses, 32 numbers a turn."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        x, rows, factors, n, out, n_bytes, n_turns = arguments
        fused = function(builder, "llvm.fma.v8f64", _DOUBLES, [_DOUBLES] * 3)
        outer = Loop(builder, n_turns, [])
        offset = builder.mul(outer.index, _ADDRESS(128))
        begun = [_widened(builder, builder.add(x, offset), 32 * v) for v in range(4)]
        inner = Loop(builder, n, begun * STEPS)
        row = load(builder, builder.add(rows, builder.mul(inner.index, _ADDRESS(8))), _ADDRESS)
        entries = [_widened(builder, builder.add(row, offset), 32 * v) for v in range(4)]
        at = builder.add(factors, builder.mul(inner.index, _ADDRESS(8 * STEPS)))
        added = []
        for t in range(STEPS):
            factor = spread(builder, load(builder, at, _DOUBLE, 8 * t), _DOUBLES)
            added += [builder.call(fused, [factor, entries[v], inner.values[4 * t + v]]) for v in range(4)]
        inner.close(added)
        for t in range(STEPS):
            line = builder.add(out, builder.mul(n_bytes, _ADDRESS(t)))
            line = builder.add(line, builder.mul(outer.index, _ADDRESS(256)))
            for v in range(4):
                builder.store(inner.values[4 * t + v], pointer(builder, line, _DOUBLES, 64 * v), align=1)
        outer.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@intrinsic
def reaching(typing_context: Any, line: Any, floor: Any, out: Any, n_turns: Any) -> Any:
    """Where a float32 line's magnitudes reach the floor, as int32 in order; how many, 16 numbers a turn."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        line, floor, out, n_turns = arguments
        magnitude = function(builder, "llvm.fabs.v16f32", _FLOATS, [_FLOATS])
        kept = function(
            builder,
            "llvm.masked.compressstore.v16i32",
            ir.VoidType(),
            [_INTEGERS, _WORD.as_pointer(), _FLAGS],
        )
        ones = function(builder, "llvm.ctpop.i16", ir.IntType(16), [ir.IntType(16)])
        floors = spread(builder, floor, _FLOATS)
        lanes = ir.Constant(_INTEGERS, list(range(16)))
        loop = Loop(builder, n_turns, [_ADDRESS(0), lanes])
        n, columns = loop.values
        entries = load(builder, builder.add(line, builder.mul(loop.index, _ADDRESS(64))), _FLOATS)
        flags = builder.fcmp_ordered(">=", builder.call(magnitude, [entries]), floors)
        bits = builder.bitcast(flags, ir.IntType(16))
        with builder.if_then(builder.icmp_unsigned("!=", bits, ir.IntType(16)(0)), likely=False):
            at = pointer(builder, builder.add(out, builder.mul(n, _ADDRESS(4))), _WORD)
            builder.call(kept, [columns, at, flags])
        found = builder.zext(builder.call(ones, [bits]), _ADDRESS)
        loop.close([builder.add(n, found), builder.add(columns, ir.Constant(_INTEGERS, [16] * 16))])
        return loop.values[0]

    return types.int64(types.int64, types.float32, types.int64, types.int64), generate


@intrinsic
def listed(typing_context: Any, flags: Any, out: Any, n_turns: Any) -> Any:
    """Where bits are set, as int32 in order; how many, 512 bits a turn, of which most have none."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        flags, out, n_turns = arguments
        lowest = function(builder, "llvm.cttz.i64", _ADDRESS, [_ADDRESS, ir.IntType(1)])
        words = ir.VectorType(_ADDRESS, 8)
        any_of = function(builder, "llvm.vector.reduce.or.v8i64", _ADDRESS, [words])
        turns = Loop(builder, n_turns, [_ADDRESS(0)])
        at = builder.add(flags, builder.mul(turns.index, _ADDRESS(64)))
        bits = builder.call(any_of, [load(builder, at, words)])
        some = builder.icmp_unsigned("!=", bits, _ADDRESS(0))
        loop = Loop(builder, builder.select(some, _ADDRESS(8), _ADDRESS(0)), turns.values)
        word = load(builder, builder.add(at, builder.mul(loop.index, _ADDRESS(8))), _ADDRESS)
        start = builder.add(builder.mul(turns.index, _ADDRESS(512)), builder.mul(loop.index, _ADDRESS(64)))
        head, body, after = (builder.append_basic_block(name) for name in ("bits", "bit", "none"))
        before = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        bits, n = builder.phi(_ADDRESS), builder.phi(_ADDRESS)
        bits.add_incoming(word, before)
        n.add_incoming(loop.values[0], before)
        builder.cbranch(builder.icmp_unsigned("!=", bits, _ADDRESS(0)), body, after)
        builder.position_at_end(body)
        column = builder.add(start, builder.call(lowest, [bits, ir.IntType(1)(1)]))
        at = pointer(builder, builder.add(out, builder.mul(n, _ADDRESS(4))), _WORD)
        builder.store(builder.trunc(column, _WORD), at)
        bits.add_incoming(builder.and_(bits, builder.sub(bits, _ADDRESS(1))), body)
        n.add_incoming(builder.add(n, _ADDRESS(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        loop.close([n])
        turns.close(loop.values)
        return turns.values[0]

    return types.int64(*[types.int64] * 3), generate


@intrinsic
def fetch(typing_context: Any, address: Any, n_lines: Any) -> Any:
    """Bring so many lines of 64 bytes into the cache while other work goes on."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, n_lines = arguments
        kinds = [_BYTE.as_pointer(), *[_WORD] * 3]
        prefetch = function(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
        loop = Loop(builder, n_lines, [])
        at = pointer(builder, builder.add(address, builder.mul(loop.index, _ADDRESS(64))), _BYTE)
        builder.call(prefetch, [at, _WORD(0), _WORD(2), _WORD(1)])
        loop.close([])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 2), generate
