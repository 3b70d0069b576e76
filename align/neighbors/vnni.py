"""One tile of an 8-bit matrix product in AVX-512 VNNI instructions, with the comparison that follows it.

Written as LLVM code that numba compiles into its caller: 8 queries by 48 candidates in 24 registers, four
products a lane and instruction.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

N_QUERIES, N_VECTORS, LANES = 8, 3, 16
N_CANDIDATES = N_VECTORS * LANES

_WORD, _ADDRESS, _MASK = ir.IntType(32), ir.IntType(64), ir.IntType(16)
_INTEGERS, _FLOATS = ir.VectorType(_WORD, LANES), ir.VectorType(ir.FloatType(), LANES)


def available() -> bool:
    """Whether this processor has the instructions and numba compiles for it."""
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES or settings.DISABLE_JIT:
        return False
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:
        return False
    return all(features.get(name, False) for name in ("avx512f", "avx512bw", "avx512vl", "avx512vnni"))


def _screen_tile(
    typing_context: Any,
    candidates: Any,
    queries: Any,
    starts: Any,
    scales: Any,
    floors: Any,
    candidate_scales: Any,
    margins: Any,
    uppers: Any,
    masks: Any,
    n_steps: Any,
) -> Any:
    """Upper bounds of the scores of 8 queries with 48 candidates, and which of them reach the floors.

    All arguments are addresses but `n_steps`, the number of groups of four dimensions.

        sums[q, c] = starts[q] + sum_i candidates[i, c] queries[i, q]
        uppers[q, c] = sums[q, c] scales[q] candidate_scales[c] + margins[c]

    with unsigned candidates and signed queries; bit c of ``masks[q]`` is ``uppers[q, c] >= floors[q]``.
    """
    return types.void(*[types.int64] * 10), _generate


def _screen_both_ways(
    typing_context: Any,
    candidates: Any,
    queries: Any,
    starts: Any,
    scales: Any,
    floors: Any,
    candidate_scales: Any,
    margins: Any,
    uppers: Any,
    masks: Any,
    n_steps: Any,
    candidate_floors: Any,
    shifts: Any,
    candidate_masks: Any,
) -> Any:
    """The same; bit c of ``candidate_masks[q]`` is ``uppers[q, c] >= candidate_floors[c] - shifts[q]``."""
    return types.void(*[types.int64] * 13), _generate


def _generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    candidates, queries, starts, scales, floors, candidate_scales, margins, uppers, masks, n_steps = (
        arguments[:10]
    )

    def at(address: Any, kind: Any, n_bytes: int) -> Any:
        return builder.inttoptr(builder.add(address, _ADDRESS(n_bytes)), kind.as_pointer())

    def load(address: Any, kind: Any, n_bytes: int) -> Any:
        return builder.load(at(address, kind, n_bytes), align=4)

    def spread(value: Any, kind: Any) -> Any:
        nothing = ir.Constant(kind, ir.Undefined)
        single = builder.insert_element(nothing, value, _WORD(0))
        return builder.shuffle_vector(single, nothing, ir.Constant(_INTEGERS, [0] * LANES))

    tile = [(q, v) for q in range(N_QUERIES) for v in range(N_VECTORS)]
    multiply_add = ir.InlineAsm(
        ir.FunctionType(_INTEGERS, [_INTEGERS] * 3), "vpdpbusd $2, $1, $0", "=v,v,v,0", side_effect=False
    )
    before = builder.block
    begun = [spread(load(starts, _WORD, 4 * q), _INTEGERS) for q in range(N_QUERIES)]
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)

    builder.position_at_end(loop)
    step = builder.phi(_ADDRESS)
    step.add_incoming(_ADDRESS(0), before)
    sums = {place: builder.phi(_INTEGERS) for place in tile}
    column = builder.add(candidates, builder.mul(step, _ADDRESS(4 * N_CANDIDATES)))
    row = builder.add(queries, builder.mul(step, _ADDRESS(4 * N_QUERIES)))
    vectors = [load(column, _INTEGERS, 64 * v) for v in range(N_VECTORS)]
    added = {}
    for q in range(N_QUERIES):
        word = spread(load(row, _WORD, 4 * q), _INTEGERS)
        for v in range(N_VECTORS):
            added[q, v] = builder.call(multiply_add, [vectors[v], word, sums[q, v]])
    following = builder.add(step, _ADDRESS(1))
    step.add_incoming(following, loop)
    for q, v in tile:
        sums[q, v].add_incoming(begun[q], before)
        sums[q, v].add_incoming(added[q, v], loop)
    builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)

    builder.position_at_end(after)
    fused = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), "llvm.fma.v16f32"
    )
    for q, v in tile:
        scale = spread(load(scales, ir.FloatType(), 4 * q), _FLOATS)
        floor = spread(load(floors, ir.FloatType(), 4 * q), _FLOATS)
        product = builder.fmul(builder.sitofp(added[q, v], _FLOATS), scale)
        upper = builder.call(
            fused, [product, load(candidate_scales, _FLOATS, 64 * v), load(margins, _FLOATS, 64 * v)]
        )
        builder.store(upper, at(uppers, _FLOATS, 64 * (q * N_VECTORS + v)), align=4)
        reached = builder.bitcast(builder.fcmp_ordered(">=", upper, floor), _MASK)
        builder.store(reached, at(masks, _MASK, 2 * (4 * q + v)))
        if len(arguments) > 10:
            candidate_floors, shifts, candidate_masks = arguments[10:]
            shift = spread(load(shifts, ir.FloatType(), 4 * q), _FLOATS)
            floor = builder.fsub(load(candidate_floors, _FLOATS, 64 * v), shift)
            reached = builder.bitcast(builder.fcmp_ordered(">=", upper, floor), _MASK)
            builder.store(reached, at(candidate_masks, _MASK, 2 * (4 * q + v)))
    return context.get_dummy_value()


# needed where code that calls these is compiled, though they themselves come from numba's cache
binding.initialize_native_asmparser()

screen_tile: Any = intrinsic(_screen_tile)
screen_both_ways: Any = intrinsic(_screen_both_ways)
