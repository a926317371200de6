r"""Rows of bits: which neurons fired, and how many of them speak to each receiver.

Bit b of word w stands for element b W + w of a row of W words, so that unpacking is eight shifts of a whole row, which
any vector unit does at once, and no neighbour changes places. Rows of 8-bit words hold a graph, of 32-bit words the
neurons that fired.

The sum of the rows of all that fired is a loop over those rows: its work grows with the spikes, a step without spikes
has no turn of it, and no volley is too large for it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

Members = Callable[[Array, int], Int[Array, " count"]]
"""From the number of the first and a count to the indices of so many members of a list; -1 beyond its end."""

_FEW, _MANY = 32, 128  # rows summed before their 8-bit counts are added up: on a core; on an accelerator, in one kernel
_AT_ONCE = 4  # rows added in one turn of a core's loop


def words_of(size: int, bits: int) -> int:
    """Words of so many bits that `size` elements need."""
    return -(-size // bits)


def pack(flags: Bool[Array, "... size"], dtype: type[np.unsignedinteger]) -> Array:
    """The last axis as words of a type; the last word is filled up with zeros."""
    bits = np.iinfo(dtype).bits
    words = words_of(flags.shape[-1], bits)
    padded = jnp.pad(flags, [(0, 0)] * (flags.ndim - 1) + [(0, bits * words - flags.shape[-1])])
    planes = padded.reshape(*flags.shape[:-1], bits, words).astype(dtype)
    return jnp.sum(planes << _places(dtype, planes.ndim), axis=-2, dtype=dtype)


def first_ones(number: Array, size: int) -> UInt32[Array, " word"]:
    """Words in which the first `number` of `size` elements are set."""
    words = words_of(size, 32)
    below = jnp.clip(-((jnp.arange(words) - number) // words), 0, 32)  # of the elements w, w + W, w + 2 W, ...
    ones = (np.uint32(1) << jnp.minimum(below, 31).astype(jnp.uint32)) - np.uint32(1)
    return jnp.where(below == 32, np.uint32(0xFFFFFFFF), ones)


def count_ones(words: UInt32[Array, " word"]) -> Int[Array, ""]:
    """How many elements are set."""
    return jnp.sum(jax.lax.population_count(words).astype(jnp.int32))


def unpack(rows: Any, size: int) -> Any:
    """Rows of words as flags, [..., size]; NumPy's or JAX's arrays."""
    planes = (rows[..., None, :] >> _places(rows.dtype.type, rows.ndim + 1)) & rows.dtype.type(1)
    return planes.reshape(*rows.shape[:-1], -1)[..., :size].astype(bool)


def members(words: UInt32[Array, " word"]) -> tuple[Int[Array, ""], Members]:
    """How many bits are set, and the indices of the k-th of them on: by rank, without sorting or a list of all."""
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


def sum_rows(rows: UInt8[Array, "row word"], number: Int[Array, ""], at: Members, size: int) -> Int[Array, " size"]:
    """How many of the `number` members of a list have each bit of their row set."""

    def by(count, add):
        def turn(carry):
            first, total = carry
            return first + count, total + add(rows, at(first, count), number - first).astype(jnp.int32)

        none = jnp.zeros((8, rows.shape[1]), jnp.int32)
        return lambda: jax.lax.while_loop(lambda c: c[0] < number, turn, (jnp.zeros((), jnp.int32), none))[1]

    total = jax.lax.platform_dependent(cpu=by(_FEW, _add_in_turn), default=by(_MANY, _add_at_once))
    return total.reshape(-1)[:size]


def _add_in_turn(rows: Array, index: Int[Array, " few"], left: Int[Array, ""]) -> UInt8[Array, "bit word"]:
    """A loop over the rows that are left, which stay in the cache of a core."""

    def turn(carry):
        k, total = carry
        for i in range(_AT_ONCE):
            which = index[k + i]
            row = jax.lax.dynamic_index_in_dim(rows, jnp.maximum(which, 0), keepdims=False)
            total = total + _planes(jnp.where(which >= 0, row, np.uint8(0)))
        return k + _AT_ONCE, total

    none = jnp.zeros((8, rows.shape[1]), jnp.uint8)
    end = jnp.minimum(left, index.size)
    return jax.lax.while_loop(lambda c: c[0] < end, turn, (jnp.zeros((), jnp.int32), none))[1]


def _add_at_once(rows: Array, index: Int[Array, " many"], left: Int[Array, ""]) -> UInt8[Array, "bit word"]:
    chosen = jnp.where((index >= 0)[:, None], rows[jnp.maximum(index, 0)], np.uint8(0))
    return jnp.sum(_planes(chosen), axis=0, dtype=jnp.uint8)


def _planes(row: UInt8[Array, "... word"]) -> UInt8[Array, "... bit word"]:
    return (row[..., None, :] >> _places(np.uint8, row.ndim + 1)) & np.uint8(1)


def mean(x: Float[Array, " element"]) -> Float[Array, ""]:
    """The mean, by sixteen sums side by side: in a single one each addition waits for the last."""
    even = x.size // 16 * 16
    return (jnp.sum(jnp.sum(x[:even].reshape(16, -1), axis=0)) + jnp.sum(x[even:])) / x.size


def _places(dtype: type[np.unsignedinteger], rank: int) -> np.ndarray:
    """0 to the number of bits, as a column that lines up with planes, [..., bit, word]."""
    bits = np.iinfo(dtype).bits
    return np.arange(bits, dtype=dtype).reshape((1,) * (rank - 2) + (bits, 1))
