"""The steps of one block: a scan over a solver's step, for networks with delays in stretches that the past decides.

A stretch is no longer than the shortest fast delay, so all that arrives during it through fast edges is known when it
begins and is read at once (see `jnm.network.delay`); an inner scan steps through it.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jnm._model import AbstractModel, Drive, State, overrides
from jnm.integration.clock import Time, clock
from jnm.integration.noise import noisy_part
from jnm.integration.scheme import Increment, Moment, make_terms, solver_step, step_ends
from jnm.integration.stimulus import Stimulus, drive_at
from jnm.network.delay import Delays

Arrival = Callable[[Any], Any]
"""From a fraction of the step to what arrives then through the delays."""

Block = tuple[State, Array | None, Any, tuple[State, Array | None]]
"""The last state, the past at the end, the solver's memory; all states, time first, and what arrives with each."""


def _nothing(theta: Any) -> None:
    """No delays."""


class Stepper(eqx.Module):
    """A model, a solver and a stimulus on a grid of times t0 + step * dt."""

    model: AbstractModel
    solver: diffrax.AbstractSolver
    stimulus: Stimulus | None
    delays: Delays | None
    t0: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    jumps: bool = eqx.field(static=True)  # whether state or drive may change between steps: solvers forget their slope
    listens: bool = eqx.field(default=False, static=True)  # whether what arrives through delays is given beside states

    def float_time(self, step: Array) -> Array:
        """Model time in the default float: for outputs and for models that look at the clock."""
        return self.t0 + step * self.dt

    def init(self, step: Array, y0: State) -> Any:
        """The solver's memory before step number `step`."""
        if overrides(self.model, "step"):
            return None
        return self.solver.init(self._terms(step, _nothing, None), *step_ends(self.dt), y0, None)

    def block(self, y: State, memory: Any, past: Array | None, start: Array, length: int, drawn: Any) -> Block:
        """`length` steps from number `start`, with their noise and the outputs before them."""
        if self.delays is None or past is None:
            return self._undelayed(y, memory, start, length, drawn)
        return self._delayed(self.delays, y, memory, past, start, length, drawn)

    def _undelayed(self, y: State, memory: Any, start: Array, length: int, drawn: Any) -> Block:
        def one(carry, x):
            (y, memory), (step, noise) = carry, x
            y, memory = self._step(step, y, memory, noise, _nothing)
            return (y, memory), y

        steps = start + jnp.arange(length, dtype=jnp.int32)
        (y, memory), states = jax.lax.scan(one, (y, memory), (steps, drawn))
        return y, None, memory, (states, None)

    def drive(self, step: Array, heard: Array | None) -> Drive:
        """What reaches the model at the end of step number `step - 1`: the stimulus, and what was `heard` from afar."""
        drive = Drive() if self.stimulus is None else drive_at(self.stimulus, self._time(step, 0.0))
        return drive if heard is None else drive._replace(arrive=lambda own: heard)

    def _delayed(
        self, delays: Delays, y: State, memory: Any, past: Array, start: Array, length: int, drawn: Any
    ) -> Block:
        columns = past.shape[1]
        buffer = jnp.concatenate([past, jnp.zeros((past.shape[0], length), past.dtype)], axis=1)

        def stretches(carry, begin, count, stretch):
            """`count` stretches in turn; the carry, and all their states."""

            def one(carry, x):
                (y, memory, buffer), (offset, drawn) = carry, x
                column = columns - 1 + offset
                (y, memory), states, sent = self._stretch(
                    delays, y, memory, buffer, column, start + offset, drawn, stretch
                )
                return (y, memory, jax.lax.dynamic_update_slice_in_dim(buffer, sent.T, column + 1, axis=1)), states

            end = begin + count * stretch
            split = jax.tree.map(lambda x: x[begin:end].reshape(count, stretch, *x.shape[1:]), drawn)
            carry, states = jax.lax.scan(one, carry, (jnp.arange(begin, end, stretch, dtype=jnp.int32), split))
            return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), states)

        count, rest = divmod(length, delays.block)
        carry, parts = (y, memory, buffer), []
        for begin, number, stretch in ((0, count, delays.block), (length - rest, 1, rest)):
            if number and stretch:
                carry, states = stretches(carry, begin, number, stretch)
                parts.append(states)
        y, memory, buffer = carry
        return y, buffer[:, -columns:], memory, jax.tree.map(lambda *x: jnp.concatenate(x), *parts)

    def _stretch(
        self, delays: Delays, y: State, memory: Any, buffer: Array, column: Array, start: Array, drawn: Any, length: int
    ) -> tuple[tuple[State, Any], tuple[State, Array | None], Array]:
        """Steps from the moment in `column` of the buffer on; all states and what arrives with them, all that was sent."""
        known = delays.read(buffer, column, length)
        recent = jax.lax.dynamic_slice_in_dim(buffer, column - delays.window + 1, delays.window, axis=1).T
        recent = jnp.concatenate([recent, jnp.zeros((length, recent.shape[1]), recent.dtype)])

        def one(carry, x):
            y, memory, recent = carry
            k, noise = x
            row = delays.window - 1 + k
            pair = jax.lax.dynamic_slice_in_dim(known, k, 2)

            def arrive(theta):
                return delays.arrival(pair, recent, row, theta)

            y, memory = self._step(start + k, y, memory, noise, arrive)
            sent = self.model.output(self.float_time(start + k + 1), y)
            heard = arrive(1.0)(sent) if self.listens else None
            return (y, memory, recent.at[row + 1].set(sent)), (y, heard, sent)

        steps = (jnp.arange(length, dtype=jnp.int32), drawn)
        (y, memory, _), (states, heard, sent) = jax.lax.scan(one, (y, memory, recent), steps)
        return (y, memory), (states, heard), sent

    def _moment(self, step: Array, arrive: Arrival) -> Moment:
        """From the solver's time, which starts at zero each step, to the model's time and drive."""

        def moment(local):
            drive = Drive() if self.stimulus is None else drive_at(self.stimulus, self._time(step, local))
            return self.float_time(step) + local, drive._replace(arrive=arrive(local / self.dt))

        return moment

    def _time(self, step: Array, local: Any) -> Time:
        begun = clock(step, self.dt, self.t0)
        return Time(begun.large, begun.small + local, ending=local >= self.dt * (1 - 1e-6))

    def _terms(self, step: Array, arrive: Arrival, drawn: Any) -> diffrax.AbstractTerm:
        noisy = noisy_part(self.model) is not None
        return make_terms(self.model, self._moment(step, arrive), Increment(drawn) if noisy else None)

    def _step(self, step: Array, y: State, memory: Any, drawn: Any, arrive: Arrival) -> tuple[State, Any]:
        if overrides(self.model, "step"):
            t, drive = self._moment(step, arrive)(0.0)
            y = self.model.step(t, self.dt, y, drive, drawn)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            terms = self._terms(step, arrive, drawn)
            y, memory = solver_step(self.solver, terms, self.dt, y, memory, self.jumps)
        return self.model.constrain(y), memory
