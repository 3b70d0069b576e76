"""Small pieces of LLVM code for numba: a float64 inner product in vector registers, bit scan, prefetch."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

DOT_STEP = 32
_LANES, _PARTS = 8, DOT_STEP // 8
_WORD, _ADDRESS = ir.IntType(32), ir.IntType(64)
_SINGLES, _DOUBLES = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(ir.DoubleType(), _LANES)


def _dot_steps(typing_context: Any, x: Any, y: Any, n_steps: Any) -> Any:
    """Float64 inner product of the first ``32 n_steps`` float32 numbers at two addresses.

    Thirty-two partial sums, added up in one order: ``(p0 + p2) + (p1 + p3)`` of four vectors, then halves of
    the vector three times. Products of two float32 are exact in float64, so fused or not is the same.
    """
    signature = types.float64(types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        x, y, n_steps = arguments

        def load(address: Any, n_bytes: int) -> Any:
            place = builder.inttoptr(builder.add(address, _ADDRESS(n_bytes)), _SINGLES.as_pointer())
            return builder.fpext(builder.load(place, align=4), _DOUBLES)

        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        zero = ir.Constant(_DOUBLES, [0.0] * _LANES)
        builder.cbranch(builder.icmp_signed("<", _ADDRESS(0), n_steps), loop, after)

        builder.position_at_end(loop)
        step = builder.phi(_ADDRESS)
        step.add_incoming(_ADDRESS(0), before)
        sums = [builder.phi(_DOUBLES) for _ in range(_PARTS)]
        offset = builder.mul(step, _ADDRESS(4 * DOT_STEP))
        left, right = builder.add(x, offset), builder.add(y, offset)
        added = []
        for part in range(_PARTS):
            n_bytes = 4 * _LANES * part
            product = builder.fmul(load(left, n_bytes), load(right, n_bytes), flags=("contract",))
            added.append(builder.fadd(sums[part], product, flags=("contract",)))
            sums[part].add_incoming(zero, before)
            sums[part].add_incoming(added[part], loop)
        following = builder.add(step, _ADDRESS(1))
        step.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)

        builder.position_at_end(after)
        parts = []
        for part in range(_PARTS):
            parts.append(builder.phi(_DOUBLES))
            parts[part].add_incoming(zero, before)
            parts[part].add_incoming(added[part], loop)
        total = builder.fadd(builder.fadd(parts[0], parts[2]), builder.fadd(parts[1], parts[3]))
        width = _LANES
        while width > 1:
            width //= 2
            order = [lane + width if lane < width else lane for lane in range(_LANES)]
            upper = builder.shuffle_vector(total, total, ir.Constant(ir.VectorType(_WORD, _LANES), order))
            total = builder.fadd(total, upper)
        return builder.extract_element(total, _WORD(0))

    return signature, generate


def _trailing_zeros(typing_context: Any, value: Any) -> Any:
    """Number of zero bits below the lowest set bit of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


def _prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; nothing else happens."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _WORD, _WORD, _WORD])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(function, [builder.inttoptr(arguments[0], pointer), _WORD(0), _WORD(3), _WORD(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


dot_steps: Any = intrinsic(_dot_steps)
trailing_zeros: Any = intrinsic(_trailing_zeros)
prefetch: Any = intrinsic(_prefetch)
