r"""Delays: what other regions sent a while ago, read once per stretch of steps.

With the shortest delay at least K steps, all that arrives during the next K steps is already known. The loop therefore
keeps the outputs of all regions in a buffer [region, time] and reads, for each edge, one contiguous slice per K steps;
edges that may be shorter than K steps go the slow way, step by step. Delays are not rounded: the past is interpolated
linearly, at both ends of each step, so that Heun keeps its order and the conduction speed its gradient. A delay below
one step interpolates between the start of the step and its current stage, which keeps a loss continuous in the speed.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

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

    def _bytes(self) -> tuple[bytes, ...]:
        return tuple(x.tobytes() for x in (self.lengths, self.to, self.source))

    def __hash__(self):
        return hash(self._bytes())

    def __eq__(self, other):
        return isinstance(other, Edges) and self._bytes() == other._bytes()


class Delays(eqx.Module):
    """The delays of a network in steps, with a plan of what is read per block and what per step."""

    steps: Float[Array, "to from"]
    weights: Float[Array, "to from"]
    block: int = eqx.field(static=True)  # K: every edge but the slow ones is at least so many steps long
    history: int = eqx.field(static=True)  # steps of the past that are kept
    window: int = eqx.field(static=True)  # steps of the past that slow edges may reach
    slow: tuple[tuple[int, ...], tuple[int, ...]] = eqx.field(static=True)  # (to, from) of the slow edges

    @classmethod
    def plan(
        cls,
        edges: Edges,
        steps: Float[Array, "to from"],
        weights: Float[Array, "to from"],
        fastest: float,
        slowest: float,
        dt: float,
    ) -> "Delays":
        """Choose K for edges of at least length / (fastest dt) and at most length / (slowest dt) steps."""
        least, most = edges.lengths / (fastest * dt), edges.lengths / (slowest * dt)
        block = _cheapest_block(least)
        slow = least < block
        window = int(np.ceil(most[slow].max(initial=0.0))) + 2
        history = int(np.ceil(most.max(initial=1.0))) + 1
        pairs = (tuple(edges.to[slow].tolist()), tuple(edges.source[slow].tolist()))
        return cls(steps, weights, block, max(history, window), window, pairs)

    def start(self, output: Float[Array, " region"], history: Any | None) -> Float[Array, "region time"]:
        """The past before the first step, the present in the last column; constant unless `history` is given.

        `history` [time, region] is one output a step of dt. Raises `ValueError` where it is too short.
        """
        columns = self.history + 1
        if history is None:
            return jnp.repeat(output[:, None], columns, axis=1)
        shape = jnp.shape(history)
        if len(shape) != 2 or shape[0] < columns or shape[1] != output.shape[0]:
            raise ValueError(
                f"history has shape {list(shape)}; the delays reach back {self.history} steps, so give outputs at "
                f"{columns} or more steps of dt, the last one at the start: [time >= {columns}, "
                f"region = {output.shape[0]}]."
            )
        return jnp.asarray(history, output.dtype)[-columns:].T

    def within(self) -> Array:
        """Whether all delays lie inside what the plan was made for."""
        slow = self._is_slow()
        longest = np.where(slow, self.window - 1, self.history)
        shortest = np.where(slow, 0, self.block)
        slack = 1e-4 * self.steps + 1e-4  # the rounding of float32
        fits = (self.steps + slack >= shortest) & (self.steps - slack <= longest)
        return jnp.all(fits | (self.weights == 0))

    def read(
        self, past: Float[Array, "region time"], column: Array | int, length: int
    ) -> Float[Array, "{length}+1 region"]:
        """The weighted sums that arrive at `column`, ..., `column + length` through all edges but the slow ones."""
        lag = jnp.clip(self.steps, self.block, self.history - 1)  # never a column not yet known
        whole = jnp.floor(lag)
        older = lag - whole

        def slices(source, start):
            return jax.lax.dynamic_slice(source, (start,), (length + 2,))

        starts = column - 1 - whole.astype(jnp.int32)
        edges = jax.vmap(jax.vmap(slices), in_axes=(None, 0))(past, starts)
        weights = jnp.where(self._is_slow(), 0.0, self.weights)
        # both ends of the interpolation are summed over sources before they are joined: one product of matrices a region
        ends = jnp.stack([weights * older, weights * (1 - older)], axis=1)
        joined = jnp.einsum("iej,ijt->iet", ends, edges, precision="highest")
        return (joined[:, 0, :-1] + joined[:, 1, 1:]).T

    def arrival(
        self, known: Float[Array, "2 region"], recent: Float[Array, "time region"], row: Array, theta: Any
    ) -> Callable[[Array], Array]:
        """Weighted sums at a stage, a fraction `theta` into the step that starts at `recent[row]`.

        `known` has what `read` gave for both ends of the step; the answer is a function of the outputs at the stage.
        """
        blockwise = (1 - theta) * known[0] + theta * known[1]
        if not self.slow[0]:
            return lambda stage: blockwise
        to, source = self._slow_pairs()
        delay, weight, now = self.steps[to, source], self.weights[to, source], recent[row, source]

        def before(lag):
            whole = jnp.clip(jnp.floor(lag), 0, self.window - 2)
            index = row - whole.astype(jnp.int32)
            older = lag - whole
            return (1 - older) * recent[index, source] + older * recent[index - 1, source]

        long = (1 - theta) * before(delay) + theta * before(delay - 1)
        short = before(jnp.maximum(delay - theta, 0.0))  # a delay below one step: what it reaches before this step
        passed = jnp.clip((theta - delay) / jnp.maximum(theta, 1e-9), 0.0, 1.0)  # and how far into the step

        def sums(stage):
            arrived = jnp.where(delay >= 1, long, short + passed * (stage[source] - now))
            return blockwise + jax.ops.segment_sum(weight * arrived, to, stage.shape[0])

        return sums

    def _slow_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.slow[0], int), np.array(self.slow[1], int)

    def _is_slow(self) -> np.ndarray:
        slow = np.zeros(self.weights.shape, bool)
        slow[self._slow_pairs()] = True
        return slow


def _cheapest_block(least: np.ndarray) -> int:
    """The K that costs least per step: slices are K + 2 long, edges below K steps are read one by one."""
    candidates = np.arange(1, 201)
    slow = np.searchsorted(np.sort(least), candidates, side="left")
    fast = least.size - slow
    cost = fast * (candidates + 2) / candidates + _SLOW_EDGE * slow + _BLOCK * np.sqrt(least.size) / candidates
    return int(candidates[np.argmin(cost)])
