r"""Rows of bits: which neurons fired, and how many of them speak to each receiver.

Bit b of word w stands for element b W + w of a row of W words, so that unpacking is eight shifts of a whole row, which
any vector unit does at once, and no neighbour changes places. Rows of 8-bit words hold a graph, of 32-bit words the
neurons that fired.

The sum of the rows of all that fired is a loop over those rows: its work grows with the spikes, a step without spikes
has no turn of it, and no volley is too large for it.
"""

from collections.abc import Callable
from functools import reduce
from operator import add, or_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt, UInt8, UInt32

Members = Callable[[Array, int], Int[Array, " count"]]
"""From the number of the first and a count to the indices of so many members of a list; -1 beyond its end."""

_FEW, _MANY = 4, 128  # rows added in one turn of a loop, before 8-bit counts are full: on a core; on an accelerator


def words_of(size: int, bits: int) -> int:
    """Words of so many bits that `size` elements need."""
    return -(-size // bits)


def pack(flags: Bool[Array, "... size"], dtype: type[np.unsignedinteger]) -> Array:
    """The last axis as words of a type; the last word is filled up with zeros."""
    bits = np.iinfo(dtype).bits
    words = words_of(flags.shape[-1], bits)
    padded = jnp.pad(flags, [(0, 0)] * (flags.ndim - 1) + [(0, bits * words - flags.shape[-1])])
    planes = (padded[..., words * b : words * (b + 1)].astype(dtype) << dtype(b) for b in range(bits))
    return reduce(or_, planes)


def first_ones(number: Array, size: int) -> UInt32[Array, " word"]:
    """Words in which the first `number` of `size` elements are set."""
    words = words_of(size, 32)
    below = jnp.clip(-((jnp.arange(words) - number) // words), 0, 32)  # of the elements w, w + W, w + 2 W, ...
    ones = (np.uint32(1) << jnp.minimum(below, 31).astype(jnp.uint32)) - np.uint32(1)
    return jnp.where(below == 32, np.uint32(0xFFFFFFFF), ones)


def count_ones(words: UInt32[Array, " word"]) -> Int[Array, ""]:
    """How many elements are set."""
    return total(jax.lax.population_count(words).astype(jnp.int32))


def some(words: UInt32[Array, " word"]) -> Bool[Array, ""]:
    """Whether an element is set; by halves, which a core does at once."""
    while words.size > 32:
        half = words_of(words.size, 2)
        words = words[:half] | words[-half:]
    return jnp.any(words != 0)


def unpack(rows: Any, size: int) -> Any:
    """Rows of words as flags, [..., size]; NumPy's or JAX's arrays."""
    planes = (rows[..., None, :] >> _places(rows.dtype.type, rows.ndim + 1)) & rows.dtype.type(1)
    return planes.reshape(*rows.shape[:-1], -1)[..., :size].astype(bool)


def in_turn(words: UInt32[Array, " word"]) -> tuple[Int[Array, ""], Members]:
    """How many bits are set, and which, one after the other: a loop so small that XLA makes it one piece on a core."""
    size = words.size

    def turn(carry):
        word, left, count, found = carry
        done = left == 0
        place = jax.lax.population_count((left & -left) - np.uint32(1)).astype(
            jnp.int32
        )  # of the lowest bit that is set
        found = found.at[count].set(jnp.where(done, -1, place * size + word), mode="promise_in_bounds")
        word = word + done
        left = jnp.where(done, words[jnp.minimum(word, size - 1)], left & (left - np.uint32(1)))
        return word, left, count + ~done, found

    none = jnp.zeros((), jnp.int32)
    begin = (none, words[0], none, jnp.full(_FEW * words_of(32 * size + 1, _FEW), -1, jnp.int32))
    _, _, count, found = jax.lax.while_loop(lambda c: c[0] < size, turn, begin)
    return count, listed(found)


def by_rank(words: UInt32[Array, " word"]) -> tuple[Int[Array, ""], Members]:
    """How many bits are set, and which: by rank, without sorting or a list of all, as an accelerator does best."""
    inside = jax.lax.population_count(words).astype(jnp.int32)
    until = jnp.cumsum(inside)

    def at(first, count):
        rank = first + jnp.arange(count, dtype=jnp.int32)
        word = jnp.minimum(jnp.sum(until[None] <= rank[:, None], axis=1, dtype=jnp.int32), words.size - 1)
        place = _place_of(words[word], rank - (until - inside)[word])
        return jnp.where(rank < until[-1], place * words.size + word, -1)

    return until[-1], at


def _place_of(word: UInt32[Array, " n"], rank: Int[Array, " n"]) -> Int[Array, " n"]:
    """The place of the set bit of a rank in each word, by bisection."""
    place = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        below = jax.lax.population_count(word & np.uint32((1 << half) - 1)).astype(jnp.int32)
        above = rank >= below
        rank, word = jnp.where(above, rank - below, rank), jnp.where(above, word >> half, word)
        place = place + jnp.where(above, half, 0)
    return place


def listed(indices: Int[Array, " most"]) -> Members:
    """Members of a list that is filled up with -1."""

    def at(first, count):
        padded = jnp.pad(indices, (0, -indices.size % count), constant_values=-1)
        return jax.lax.dynamic_slice_in_dim(padded, first, count)

    return at


def sum_rows(
    rows: UInt8[Array, "row word"], number: Int[Array, ""], at: Members, size: int, most: int | None = None
) -> UInt[Array, " size"]:
    """How many of the `number` members of a list, of which there are at most `most`, have each bit of their row set."""
    return jax.lax.platform_dependent(
        cpu=lambda: _summed(rows, number, at, size, most, _FEW, _add_in_turn),
        default=lambda: _summed(rows, number, at, size, most, _MANY, _add_at_once),
    )


def sum_chosen(rows: UInt8[Array, "row word"], chosen: UInt32[Array, " group"], size: int) -> UInt[Array, " size"]:
    """How many of the rows whose own bits are set in `chosen` have each bit set."""
    return jax.lax.platform_dependent(
        cpu=lambda: _summed(rows, *in_turn(chosen), size, len(rows), _FEW, _add_in_turn),
        default=lambda: _summed(rows, *by_rank(chosen), size, len(rows), _MANY, _add_at_once),
    )


def _summed(
    rows: Array, number: Array, at: Members, size: int, most: int | None, length: int, add_rows: Callable[..., Array]
) -> Array:
    """`length` rows a turn, in counters as narrow as they may be: the more of them a core adds at once."""
    counter = np.uint32 if most is None else np.min_scalar_type(most)

    def turn(carry):
        first, counts = carry
        return first + length, counts + add_rows(rows, at(first, length)).astype(counter)

    none = jnp.zeros((8, rows.shape[1]), counter)
    counts = jax.lax.while_loop(lambda c: c[0] < number, turn, (jnp.zeros((), jnp.int32), none))[1]
    return counts.reshape(-1)[:size]


def _add_in_turn(rows: Array, index: Int[Array, " few"]) -> UInt8[Array, "bit word"]:
    """One after the other, as they stay in the cache of a core."""
    return reduce(add, (_planes(_row(rows, which)) for which in index))


def _add_at_once(rows: Array, index: Int[Array, " many"]) -> UInt8[Array, "bit word"]:
    return jnp.sum(_planes(jax.vmap(_row, in_axes=(None, 0))(rows, index)), axis=0, dtype=jnp.uint8)


def _row(rows: Array, which: Int[Array, ""]) -> UInt8[Array, " word"]:
    """A row, or zeros for the member -1."""
    return jnp.where(which >= 0, jax.lax.dynamic_index_in_dim(rows, jnp.maximum(which, 0), keepdims=False), np.uint8(0))


def _planes(row: UInt8[Array, "... word"]) -> UInt8[Array, "... bit word"]:
    return (row[..., None, :] >> _places(np.uint8, row.ndim + 1)) & np.uint8(1)


def total(x: Array) -> Array:
    """The sum of a list, by halves, which a core adds at once: in a single sum each addition waits for the last."""
    while x.size > 32:
        half = words_of(x.size, 2)
        x = x[:half] + jnp.pad(x[half:], (0, 2 * half - x.size))
    return jnp.sum(x)


def mean(x: Float[Array, " element"]) -> Float[Array, ""]:
    """The mean of a list, as `total` adds it up."""
    return total(x) / x.size


def _places(dtype: type[np.unsignedinteger], rank: int) -> np.ndarray:
    """0 to the number of bits, as a column that lines up with planes, [..., bit, word]."""
    bits = np.iinfo(dtype).bits
    return np.arange(bits, dtype=dtype).reshape((1,) * (rank - 2) + (bits, 1))
