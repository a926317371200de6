r"""Delays: what other regions sent a while ago, read once per block of steps.

With the shortest delay at least K steps, all that arrives during the next K steps is already known. The loop therefore
keeps the outputs of all regions in a buffer [region, time] and reads, for each edge, one contiguous slice per K steps;
edges that may be shorter than K steps go the slow way, step by step. Delays are not rounded: the past is interpolated
linearly, at both ends of each step, so that Heun keeps its order and the conduction speed its gradient. A delay below
one step interpolates between the start of the step and its current stage, which keeps a loss continuous in the speed.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_SLOW_EDGE = 12.0  # cost of reading one edge at one step against one element of a slice (measured, 2 cores)
_BLOCK = 40.0  # cost of starting a block of steps, in steps of one region


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """The lengths (mm) of all edges with a weight, as static numbers: they size the history and the blocks."""

    lengths: np.ndarray
    to: np.ndarray
    source: np.ndarray

    def __hash__(self):
        return hash((self.lengths.tobytes(), self.to.tobytes(), self.source.tobytes()))

    def __eq__(self, other):
        mine, others = ((e.lengths, e.to, e.source) for e in (self, other)) if isinstance(other, Edges) else ((0,), (1,))
        return all(np.array_equal(a, b) for a, b in zip(mine, others, strict=True))


class Delays(eqx.Module):
    """The delays of a network in steps, with a plan of what is read per block and what per step."""

    steps: Float[Array, "to from"]
    weights: Float[Array, "to from"]
    block: int = eqx.field(static=True)  # K: every edge but the slow ones is at least so many steps long
    history: int = eqx.field(static=True)  # steps of the past that are kept
    window: int = eqx.field(static=True)  # steps of the past that slow edges may reach
    slow: tuple[tuple[int, ...], tuple[int, ...]] = eqx.field(static=True)  # (to, from) of the slow edges

    @classmethod
    def plan(cls, edges: Edges, steps, weights, fastest: float, slowest: float, dt: float) -> "Delays":
        """Choose K for edges of at least length / (fastest dt) and at most length / (slowest dt) steps."""
        least, most = edges.lengths / (fastest * dt), edges.lengths / (slowest * dt)
        block = _cheapest_block(least)
        slow = least < block
        window = int(np.ceil(most[slow].max(initial=0.0))) + 2
        history = int(np.ceil(most.max(initial=1.0))) + 1
        pairs = (tuple(edges.to[slow].tolist()), tuple(edges.source[slow].tolist()))
        return cls(steps, weights, block, max(history, window), window, pairs)

    def start(self, output: Float[Array, " region"], history: Array | None) -> Float[Array, "region time"]:
        """The past before the first step, the present in the last column; constant unless `history` [time, region] is given."""
        columns = self.history + 1
        if history is None:
            return jnp.repeat(output[:, None], columns, axis=1)
        if history.ndim != 2 or history.shape[0] < columns or history.shape[1] != output.shape[0]:
            raise ValueError(
                f"history has shape {history.shape}; the delays reach back {self.history} steps, so give outputs at "
                f"{columns} or more steps of dt, the last one at the start: [time >= {columns}, region = {output.shape[0]}]."
            )
        return jnp.asarray(history[-columns:].T, output.dtype)

    def within(self) -> Array:
        """Whether all delays lie inside what the plan was made for."""
        used = self.weights != 0
        slow = jnp.zeros(self.weights.shape, bool).at[tuple(map(np.array, self.slow))].set(True) if self.slow[0] else False
        longest = jnp.where(slow, self.window - 1, self.history)
        shortest = jnp.where(slow, 0, self.block)
        slack = 1e-4 * self.steps + 1e-4
        fits = (self.steps + slack >= shortest) & (self.steps - slack <= longest)
        return jnp.all(fits | ~used)

    def read(self, past: Float[Array, "region time"], column: Array | int, block: int) -> Float[Array, "block+1 region"]:
        """The weighted sums that arrive at `column`, ..., `column + block` through all edges but the slow ones."""
        weights = self.weights if not self.slow[0] else self.weights.at[tuple(map(np.array, self.slow))].set(0.0)
        position = column - self.steps
        after = jnp.clip(jnp.ceil(position), 1, past.shape[1] - block - 1)  # never a column not yet known
        share = after - position

        def slices(source, start):
            return jax.lax.dynamic_slice(source, (start,), (block + 2,))

        edges = jax.vmap(jax.vmap(slices), in_axes=(None, 0))(past, after.astype(jnp.int32) - 1)
        ends = jnp.stack([weights * share, weights * (1 - share)], axis=1)
        sums = jnp.einsum("iej,ijk->iek", ends, edges)  # one product for both ends of the interpolation
        return (sums[:, 0, :-1] + sums[:, 1, 1:]).T

    def recent(self, past: Float[Array, "region time"], column: Array | int, block: int) -> Array | None:
        """What slow edges may reach during a block that starts at `column`, [time, region]; None without slow edges."""
        if not self.slow[0]:
            return None
        known = jax.lax.dynamic_slice_in_dim(past, column - self.window + 1, self.window, axis=1).T
        return jnp.concatenate([known, jnp.zeros((block, known.shape[1]), known.dtype)])

    def remember(self, recent: Array | None, k: Array, sent: Float[Array, " region"]) -> Array | None:
        """`recent` with the outputs at the end of step k of the block."""
        return None if recent is None else recent.at[self.window + k].set(sent)

    def arrival(
        self, known: Float[Array, "2 region"], recent: Array | None, k: Array, theta: Array | float
    ) -> Callable[[Array], Array]:
        """Weighted sums at a stage, a fraction `theta` into step k of a block, as a function of the outputs at the stage."""
        blockwise = (1 - theta) * known[0] + theta * known[1]
        if recent is None:
            return lambda stage: blockwise
        row = self.window - 1 + k
        now = recent[row]
        to, source = map(np.array, self.slow)
        delay, weight = self.steps[to, source], self.weights[to, source]

        def past(position):
            before = jnp.clip(jnp.floor(position), 0, recent.shape[0] - 2).astype(jnp.int32)
            fraction = position - before
            return (1 - fraction) * recent[before, source] + fraction * recent[before + 1, source]

        whole = (1 - theta) * past(row - delay) + theta * past(jnp.minimum(row + 1 - delay, row))
        inside = past(jnp.minimum(row + theta - delay, row))  # a delay below one step, still before this step
        passed = jnp.clip((theta - delay) / jnp.maximum(theta, 1e-9), 0.0, 1.0)

        def sums(stage):
            short = inside + passed * (stage[source] - now[source])
            return blockwise + jax.ops.segment_sum(weight * jnp.where(delay >= 1, whole, short), to, now.shape[0])

        return sums


def _cheapest_block(least: np.ndarray) -> int:
    """The K that costs least per step: slices are K + 2 long, edges below K steps are read one by one."""
    candidates = np.arange(1, 201)
    slow = np.searchsorted(np.sort(least), candidates, side="left")
    fast = least.size - slow
    cost = fast * (candidates + 2) / candidates + _SLOW_EDGE * slow + _BLOCK * np.sqrt(least.size) / candidates
    return int(candidates[np.argmin(cost)])
