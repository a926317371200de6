"""The loop: fixed steps in blocks, each rematerialised in the backward pass.

Noise is drawn once a block, and whatever is saved is taken from the states of a finished block, so that a projection to
sensors is one matrix product a block and reductions never see a trajectory.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jnm._model import State
from jnm.integration.noise import White, paths
from jnm.integration.reduction import Reduction
from jnm.integration.scheme import needs_levy_area
from jnm.integration.stepper import Stepper


class Schedule(NamedTuple):
    """The static numbers of a run, in steps."""

    steps: int
    stride: int  # between saved states
    discard: int  # before the first state that may be saved
    block: int

    @property
    def saved(self) -> int:
        """Number of saved states."""
        return (self.steps - self.discard) // self.stride


class Carry(NamedTuple):
    """What one block hands to the next."""

    y: State
    past: Array | None
    memory: Any  # the solver's
    folded: Any  # the reduction's
    failed: Int[Array, " 2"]  # step and flat index of the first value that was not finite, -1 before


class Loop(eqx.Module):
    """A run from step number `first` on: what is stepped, how, and what is kept."""

    stepper: Stepper
    schedule: Schedule = eqx.field(static=True)
    save: Callable[..., Any] | Reduction
    first: Any  # integer
    key: PRNGKeyArray | None
    noise: White
    report: Callable[[int], None] | None

    def run(self, y0: State, past: Array | None) -> tuple[Any, Carry]:
        """What was saved (time first), or the reduction's result; and the last carry."""
        folded = self.save.init(y0) if isinstance(self.save, Reduction) else None
        memory = self.stepper.init(self.first, y0)
        carry = Carry(y0, past, memory, folded, jnp.full(2, -1, jnp.int32))
        count, rest = divmod(self.schedule.steps, self.schedule.block)
        block = jax.checkpoint(lambda *args: self._block(*args), static_argnums=2, prevent_cse=False)
        starts = self.first + self.schedule.block * jnp.arange(count, dtype=jnp.int32)
        carry, saved = jax.lax.scan(lambda c, start: block(c, start, self.schedule.block), carry, starts)
        saved = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), saved)
        if rest:
            carry, last = block(carry, self.first + self.schedule.block * count, rest)
            saved = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), saved, last)
        return self._finished(saved, carry), carry

    @property
    def _every(self) -> int:
        """Steps between the states taken from a block; a longer stride is taken from the ends of blocks."""
        return min(self.schedule.stride, self.schedule.block)

    def _block(self, carry: Carry, start: Array, length: int) -> tuple[Carry, Any]:
        y, past, memory, (states, heard) = self.stepper.block(
            carry.y, carry.memory, carry.past, start, length, self._drawn(start, length)
        )
        failed = _first_failure(carry.failed, start, states)
        numbers = start + self._every * (1 + jnp.arange(length // self._every, dtype=jnp.int32))
        times = self.stepper.float_time(numbers)
        taken, heard = jax.tree.map(lambda x: x[self._every - 1 :: self._every], (states, heard))
        if self.report is not None:
            jax.debug.callback(self.report, length)
        if not isinstance(self.save, Reduction):
            return Carry(y, past, memory, None, failed), self._saved(numbers, times, taken, heard)
        done = numbers - self.first
        wanted = (done > self.schedule.discard) & (done % self.schedule.stride == 0)
        return Carry(y, past, memory, _fold(self.save, carry.folded, times, taken, wanted), failed), None

    def _saved(self, numbers: Array, times: Array, states: State, heard: Array | None) -> Any:
        """What `save` makes of the states, with the drive where it asks for it."""
        if not takes_drive(self.save):
            return jax.vmap(self.save)(times, states)  # pyright: ignore[reportArgumentType]

        def one(number, t, y, heard):
            return self.save(t, y, self.stepper.drive(number, heard))  # pyright: ignore[reportCallIssue]

        return jax.vmap(one)(numbers, times, states, heard)

    def _drawn(self, start: Array, length: int) -> Any:
        """The noise of a block; for a model that has no diffusion but a step of its own, a key for each step."""
        key, like = self.key, paths(self.stepper.model)
        if key is None:
            return None
        if like is None:
            return jax.vmap(lambda k: jax.random.fold_in(key, k))(start + jnp.arange(length, dtype=jnp.int32))
        model, dt = self.stepper.model, self.stepper.dt
        levy = needs_levy_area(self.stepper.solver) and not model.brings_step
        return model.colour(lambda first, count: self.noise.draw(key, first, count, dt, like, levy), start, length, dt)

    def _finished(self, saved: Any, carry: Carry) -> Any:
        if isinstance(self.save, Reduction):
            return self.save.finish(carry.folded)
        thin = self.schedule.stride // self._every
        skipped = self.schedule.discard // self.schedule.stride
        return jax.tree.map(lambda x: x[thin - 1 :: thin][skipped:], saved)


def takes_drive(save: Any) -> bool:
    """Whether a function to save by asks for the drive too: save(t, y, drive)."""
    try:
        known = inspect.signature(save).parameters.values()
    except (TypeError, ValueError):  # what is written in C may not tell
        return False
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in plain and p.default is p.empty for p in known) == 3


def _fold(reduction: Reduction, folded: Any, times: Array, states: State, wanted: Array) -> Any:
    def one(folded, x):
        t, y, take = x
        new = reduction.update(folded, t, y)
        return jax.tree.map(lambda a, b: jnp.where(take, a, b), new, folded), None

    return jax.lax.scan(one, folded, (times, states, wanted))[0]


def _first_failure(failed: Array, start: Array, states: State) -> Array:
    """Step and flat index of the first value in a block that is not finite, unless there was one before."""
    leaves = [jax.lax.stop_gradient(x).reshape(x.shape[0], -1) for x in jax.tree.leaves(states)]
    good = jnp.stack([jnp.all(jnp.isfinite(x), axis=1) for x in leaves]).all(axis=0)
    row = jnp.argmin(good)
    flat = jnp.concatenate([jnp.isfinite(jax.lax.dynamic_index_in_dim(x, row, keepdims=False)) for x in leaves])
    found = jnp.stack([start + 1 + row, jnp.argmin(flat)]).astype(jnp.int32)
    return jnp.where((failed[0] < 0) & ~good[row], found, failed)
