"""Multiply codes of rows with a query's, and pick rows by their bounds, by instructions that numba does not write.

In a block the codes of 16 rows are dealt out: for each four numbers of a row, those of all 16 stand together, which is
what the processor's instruction reads (VNNI: 64 products of bytes, added up in fours, the first of them without signs).
Without that instruction loops add up the same integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from index.arrays import Int8, Int16, Int32, UInt8
from index.compiled import compiled

ROWS = 16  # of a block
FOUR = 4  # numbers of a row that stand together
LINE = 64  # bytes that are read at once
SIGN = 128  # what a code without a sign is more than one with it
NUMBER, LONG, BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
LANES, FLOATS, MASK = (ir.VectorType(kind, ROWS) for kind in (NUMBER, ir.FloatType(), ir.IntType(1)))
NOTHING, UNDEFINED = ir.Constant(LANES, [0] * ROWS), ir.Constant(LANES, ir.Undefined)


def instruction(write: Callable[..., Any]) -> Any:
    """Make a function that compiled loops may call of one that writes it in LLVM's language."""
    return intrinsic(write)


def has_instruction() -> bool:
    """Tell whether numba may use the instruction: what it compiles for can be less than the processor."""
    return "+avx512vnni" in str(cpu_target.target_context.codegen().magic_tuple())


def _function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    insert = cast(Any, cgutils.get_or_insert_function)
    return insert(builder.module, ir.FunctionType(result, arguments), name)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any, of: Any) -> Any:
    """A pointer to the element `place` of a contiguous array, as one to something else."""
    data = builder.gep(context.make_array(kind)(context, builder, array).data, [place])
    return builder.bitcast(data, of.as_pointer())


def _spread(builder: Any, value: Any, lanes: Any) -> Any:
    """The value in every lane."""
    empty = ir.Constant(lanes, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(empty, value, NUMBER(0)), empty, NOTHING)


def _add_products(builder: Any, total: Any, unsigned: Any, signed: Any) -> None:
    multiply = _function(builder, "llvm.x86.avx512.vpdpbusd.512", LANES, LANES, LANES, LANES)
    builder.store(builder.call(multiply, [builder.load(total), unsigned, signed]), total)


@instruction
def _block_by_instruction(context: Any, code: Any, at: Any, query: Any, begin: Any, out: Any, where: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds, once = signature.args, cast(Any, cgutils.alloca_once_value)
        rows = _pointer(context, builder, kinds[0], values[0], values[1], LANES)
        fours = _pointer(context, builder, kinds[2], values[2], LONG(0), NUMBER)
        total = once(builder, _spread(builder, builder.trunc(values[3], NUMBER), LANES))
        width = context.make_array(kinds[2])(context, builder, values[2]).nitems
        with cgutils.for_range(builder, builder.sdiv(width, width.type(FOUR))) as loop:
            four = _spread(builder, builder.load(builder.gep(fours, [loop.index]), align=1), LANES)
            _add_products(builder, total, builder.load(builder.gep(rows, [loop.index]), align=1), four)
        place = _pointer(context, builder, kinds[4], values[4], values[5], LANES)
        builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    return types.void(code, types.int64, query, types.int64, out, types.int64), generate


@instruction
def _row_by_instruction(context: Any, code: Any, at: Any, halves: Any, sums: Any) -> Any:
    """Multiply bytes of `code` from `at` on with (2, width) halves of a query's 16 bits, whose sums are given."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds, once = signature.args, cast(Any, cgutils.alloca_once_value)
        row = _pointer(context, builder, kinds[0], values[0], values[1], LANES)
        half = _pointer(context, builder, kinds[2], values[2], LONG(0), LANES)
        size = context.make_array(kinds[2])(context, builder, values[2]).nitems
        lines = builder.sdiv(size, size.type(2 * LINE))
        signs = ir.Constant(LANES, [-0x7F7F7F80] * ROWS)  # of each byte
        totals = [once(builder, NOTHING) for _ in range(2)]
        with cgutils.for_range(builder, lines) as loop:
            unsigned = builder.xor(builder.load(builder.gep(row, [loop.index]), align=1), signs)
            for part, total in enumerate(totals):
                place = builder.add(loop.index, builder.mul(lines, lines.type(part)))
                _add_products(builder, total, unsigned, builder.load(builder.gep(half, [place]), align=1))
        high, low = (builder.load(total) for total in totals)
        both = builder.add(builder.shl(high, ir.Constant(LANES, [8] * ROWS)), low)
        add_up = _function(builder, "llvm.vector.reduce.add.v16i32", NUMBER, LANES)
        return builder.sub(builder.call(add_up, [both]), builder.trunc(values[3], NUMBER))

    return types.int32(code, types.int64, halves, types.int64), generate


@instruction
def prefetch(context: Any, array: Any, place: Any) -> Any:
    """Ask for the memory at an element of an array, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        fetch = _function(builder, "llvm.prefetch.p0", ir.VoidType(), BYTE.as_pointer(), NUMBER, NUMBER, NUMBER)
        address = _pointer(context, builder, signature.args[0], values[0], values[1], BYTE)
        builder.call(fetch, [address, NUMBER(0), NUMBER(3), NUMBER(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@instruction
def gather(context: Any, above: Any, start: Any, stop: Any, lower: Any, upper: Any, hits: Any) -> Any:
    """Write the places in [start, stop), multiples of 16, of values in [lower, upper) into `hits`; return how many."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds, once = signature.args, cast(Any, cgutils.alloca_once_value)
        low, high = (_spread(builder, value, FLOATS) for value in values[3:5])
        steps = ir.Constant(LANES, list(range(ROWS)))
        count, narrow = once(builder, LONG(0)), ir.IntType(ROWS)
        compress = _function(
            builder, "llvm.masked.compressstore.v16i32", ir.VoidType(), LANES, NUMBER.as_pointer(), MASK
        )
        add_up = _function(builder, "llvm.ctpop.i16", narrow, narrow)
        with cgutils.for_range_slice(builder, values[1], values[2], LONG(ROWS), intp=LONG) as (at, _):
            bound = builder.load(_pointer(context, builder, kinds[0], values[0], at, FLOATS), align=4)
            mask = builder.and_(builder.fcmp_ordered(">=", bound, low), builder.fcmp_ordered("<", bound, high))
            places = builder.add(_spread(builder, builder.trunc(at, NUMBER), LANES), steps)
            builder.call(
                compress, [places, _pointer(context, builder, kinds[5], values[5], builder.load(count), NUMBER), mask]
            )
            more = builder.zext(builder.call(add_up, [builder.bitcast(mask, narrow)]), LONG)
            builder.store(builder.add(builder.load(count), more), count)
        return builder.load(count)

    return types.int64(above, types.int64, types.int64, types.float32, types.float32, hits), generate


@compiled
def block_by_loop(code: UInt8, at: int, query: Int8, begin: int, out: Int32, where: int) -> None:
    """Add up what the instruction does."""
    for row in range(ROWS):
        out[where + row] = begin
    for four in range(query.shape[0] // FOUR):
        for row in range(ROWS):
            start, total = at + (four * ROWS + row) * FOUR, np.int32(0)
            for number in range(FOUR):
                total = np.int32(total + np.int32(code[start + number]) * np.int32(query[four * FOUR + number]))
            out[where + row] = np.int32(out[where + row] + total)


@compiled
def block_by_instruction(code: UInt8, at: int, query: Int8, begin: int, out: Int32, where: int) -> None:
    """Write `begin` and the products of the block at `at` of `code` into 16 places of `out` from `where` on."""
    _block_by_instruction(code, at, query, np.int64(begin), out, where)


@compiled
def row_by_loop(code: Int8, row: int, query: Int16, halves: Int8, total: int) -> np.int32:
    """Add up what the instruction does."""
    product = np.int32(0)
    for j in range(query.shape[0]):
        # Cut back to 32 bits at each step, which the query's scale makes safe: numba would go on in 64.
        product = np.int32(product + np.int32(code[row, j]) * np.int32(query[j]))
    return product


@compiled
def row_by_instruction(code: Int8, row: int, query: Int16, halves: Int8, total: int) -> np.int32:
    """Return the product of a row of codes (m, width) with a query (width,) of which `halve` made the rest."""
    product: np.int32 = _row_by_instruction(code, row * code.shape[1], halves, total)
    return product


@compiled
def halve(query: Int16, halves: Int8) -> int:
    """Write upper and lower bytes of a query's numbers into `halves` (2, width); return 128 times the numbers' sum."""
    total = 0
    for j in range(len(query)):
        value = int(query[j])
        low = ((value + SIGN) & 255) - SIGN
        halves[0, j], halves[1, j] = (value - low) >> 8, low
        total += value
    return total * SIGN


multiply_block, multiply_row = (
    (block_by_instruction, row_by_instruction) if has_instruction() else (block_by_loop, row_by_loop)
)
