"""Graph: who speaks to whom, drawn once and kept as bits.

A directed graph in which each sender reaches each receiver with probability p, independently (Gilbert's), is one row of
bits a sender: N = 10,000 neurons make 12.5 MB. A row costs the same at every p, so nothing is gained by keeping the
complement of a dense graph; only at p = 0 and p = 1, where there is nothing to draw, are no rows kept.
"""

import os
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int, Integer, PRNGKeyArray, UInt8, UInt32
from numpy.typing import ArrayLike

from jnm.spiking.bits import Members, count_ones, pack, sum_chosen, sum_rows, unpack, words_of

_DRAWN_AT_ONCE = 2_000_000  # random words: 8 MB


class Graph(eqx.Module):
    """Connections from senders to receivers; made by `Graph.draw` or `Graph.of`.

    >>> graph = jnm.spiking.Graph.draw(jax.random.key(0), 2_000, 2_000, 0.2, loops=False)
    >>> graph.dense().sum()                                    # connections
    """

    rows: UInt8[Array, "sender word"] | None
    senders: int = eqx.field(static=True)
    receivers: int = eqx.field(static=True)
    everyone: bool = eqx.field(default=False, static=True)
    """Without rows: each neuron reaches all but itself; or nobody reaches anybody."""

    @classmethod
    def draw(
        cls,
        key: PRNGKeyArray,
        senders: int,
        receivers: int,
        p: Any,
        *,
        reach: Any = None,
        loops: bool = True,
    ) -> "Graph":
        """Each sender reaches each of the first `reach` receivers (default all) with probability `p`, in [0, 1].

        Without `loops` senders and receivers are the same neurons, and none reaches itself.

        Raises `ValueError` for a p outside [0, 1], for numbers below 1, and for a graph larger than the memory.
        """
        if min(senders, receivers) < 1:
            raise ValueError(f"Graph: {senders} senders and {receivers} receivers; wanted at least one of each.")
        if not loops and senders != receivers:
            raise ValueError(
                f"Graph: {senders} senders, {receivers} receivers; without loops they are the same neurons."
            )
        known = not isinstance(p, Tracer)
        if known and not 0 <= float(p) <= 1:
            raise ValueError(f"Graph: p = {p}; a probability of connection lies in [0, 1].")
        if known and (p == 0 or (p == 1 and not loops and reach is None)):
            return cls(None, senders, receivers, everyone=bool(p == 1))
        check_memory(senders, receivers)
        reach = receivers if reach is None else reach
        return cls(
            _draw(key, jnp.asarray(p, jnp.float32), jnp.asarray(reach), senders, receivers, loops), senders, receivers
        )

    @classmethod
    def of(cls, connected: ArrayLike) -> "Graph":
        """The graph with these connections, [receiver, sender]; what is not zero is one.

        Raises `ValueError` for an array that is no matrix.
        """
        flags = np.asarray(connected)
        if flags.ndim != 2 or not flags.size:
            raise ValueError(f"Graph: connections of shape {list(flags.shape)}; wanted a matrix [receiver, sender].")
        stretch = max(1, _DRAWN_AT_ONCE // flags.shape[0])
        parts = [flags[:, k : k + stretch].T != 0 for k in range(0, flags.shape[1], stretch)]
        rows = jnp.concatenate([pack(jnp.asarray(part), np.uint8) for part in parts])
        return cls(rows, flags.shape[1], flags.shape[0])

    def dense(self) -> Bool[np.ndarray, "receiver sender"]:
        """All connections, one byte each."""
        if self.rows is None:
            return ~np.eye(self.receivers, self.senders, dtype=bool) & self.everyone
        return unpack(np.asarray(self.rows), self.receivers).T

    def arrivals(self, fired: UInt32[Array, " word"]) -> Integer[Array, " receiver"]:
        """How many of the spikes of the senders that fired, packed in words, reach each receiver."""
        if self.rows is not None:
            return sum_chosen(self.rows, fired, self.receivers)
        if not self.everyone:
            return jnp.zeros(self.receivers, jnp.int32)
        return count_ones(fired) - unpack(fired, self.receivers).astype(jnp.int32)

    def arrivals_of(self, number: Int[Array, ""], at: Members, most: int | None = None) -> Integer[Array, " receiver"]:
        """The same for a list of senders, at most so many, in which one may stand more than once."""
        if self.rows is None:
            return jnp.zeros(self.receivers, jnp.int32)
        return sum_rows(self.rows, number, at, self.receivers, most)


@partial(jax.jit, static_argnames=("senders", "receivers", "loops"))
def _draw(key: PRNGKeyArray, p: Array, reach: Array, senders: int, receivers: int, loops: bool) -> Array:
    words = words_of(receivers, 8)
    at_once = max(1, min(senders, _DRAWN_AT_ONCE // (8 * words)))
    below = (jnp.minimum(p, np.float32(1 - 2.0**-24)) * np.float32(2.0**32)).astype(jnp.uint32)
    receiver = jnp.arange(8 * words)

    def stretch(first):
        drawn = jax.random.bits(jax.random.fold_in(key, first), (at_once, 8 * words), jnp.uint32)
        sender = first + jnp.arange(at_once)
        allowed = (receiver < jnp.minimum(reach, receivers))[None]
        allowed = allowed if loops else allowed & (receiver[None] != sender[:, None])
        return pack(((drawn < below) | (p >= 1)) & allowed, np.uint8)

    return jax.lax.map(stretch, jnp.arange(0, senders, at_once)).reshape(-1, words)[:senders]


def check_memory(senders: int, receivers: int) -> None:
    """Raise `ValueError` for a graph that does not fit, saying how much it needs."""
    needed, there = senders * words_of(receivers, 8), _memory()
    if there is not None and needed > there:
        raise ValueError(
            f"Graph: {senders:,} senders and {receivers:,} receivers need {needed / 1e9:,.1f} GB, and there are "
            f"{there / 1e9:,.1f} GB. Take fewer neurons, and scale the weights by the ratio of the numbers."
        )


def _memory() -> int | None:
    """Bytes of the device, or of the machine; None where nobody tells."""
    told = jax.devices()[0].memory_stats()
    if told and "bytes_limit" in told:
        return told["bytes_limit"]
    names = getattr(os, "sysconf_names", {})
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in names else None
