"""The loop: fixed steps of a diffrax solver in blocks, with noise and delays read once a block.

One `lax.scan` over blocks, each rematerialised in the backward pass; inside it a scan over the stretches that a delay
lets us know in advance, inside that the steps. Whatever is saved is taken from the states of a finished block, so that
a projection to sensors is one matrix product a block and reductions never see a trajectory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jnm._model import AbstractModel, Drive, State, overrides
from jnm.integration.noise import NoiseTerm, White, noisy_part
from jnm.integration.reduction import Reduction
from jnm.integration.stimulus import Time, product
from jnm.network.delay import Delays

Stimulus = Callable[[Any], Drive]


class Grid(NamedTuple):
    """The static numbers of a run: all times are whole steps of dt from t0."""

    t0: float
    dt: float
    steps: int
    stride: int  # steps between saved states
    discard: int  # steps before the first state that may be saved
    block: int


class Carry(NamedTuple):
    """What one block hands to the next."""

    y: State
    past: Array | None
    solver_state: Any
    folded: Any
    failed: Int[Array, " 2"]  # step and flat index of the first value that was not finite, -1 before


class _Increment(eqx.Module):
    """The noise of one step, already drawn, as the control of a diffrax term."""

    drawn: Any

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return self.drawn


def make_terms(model: AbstractModel, moment: Callable[[Any], tuple[Any, Drive]], path: Any | None) -> diffrax.AbstractTerm:
    """The diffrax terms of a model; `moment` turns the solver's time into the model's time and its drive."""
    drift = diffrax.ODETerm(lambda t, y, args: model.drift(*_moved(moment(t), y)))
    return drift if path is None else diffrax.MultiTerm(drift, NoiseTerm(_Timed(model, moment), path, noisy_part(model)))


def _moved(moment: tuple[Any, Drive], y: State) -> tuple[Any, State, Drive]:
    return moment[0], y, moment[1]


class _Timed(eqx.Module):
    """A model whose diffusion is asked in the solver's time."""

    model: AbstractModel
    moment: Callable[[Any], tuple[Any, Drive]]

    def diffusion(self, t, y):
        return self.model.diffusion(self.moment(t)[0], y)


def blocked_scan(
    model: AbstractModel,
    solver: diffrax.AbstractSolver,
    noise: White,
    stimulus: Stimulus | None,
    y0: State,
    past: Array | None,
    key: PRNGKeyArray | None,
    first: Int[Array, ""],
    grid: Grid,
    save: Callable[[Any, State], Any] | Reduction,
    progress: Callable[[Any], None] | None = None,
) -> tuple[Any, Carry]:
    """Integrate `grid.steps` steps from step number `first`; the saved values (time first) and the last carry."""
    delays = model.delays(grid.dt)
    reduction = save if isinstance(save, Reduction) else None
    stepper = _Stepper(model, solver, stimulus, delays, first, grid)
    every = min(grid.stride, grid.block)  # a longer stride is taken from the ends of blocks

    def block(carry: Carry, start: Array, length: int) -> tuple[Carry, Any]:
        drawn = None if key is None else noise.draw(key, start, length, grid.dt, noisy_part(model), _levy(solver))
        y, past, solver_state, states = stepper.block(carry, start, length, drawn)
        failed = _first_failure(carry.failed, start, states)
        taken = jax.tree.map(lambda x: x[every - 1 :: every], states)
        steps = start + every * (1 + jnp.arange(length // every))
        folded = carry.folded
        if reduction is None:
            taken = jax.vmap(save)(stepper.float_time(steps), taken)
        else:
            folded, taken = _fold(reduction, folded, stepper.float_time(steps), taken, steps > first + grid.discard), None
        if progress is not None:
            jax.debug.callback(progress, length)
        return Carry(y, past, solver_state, folded, failed), taken

    folded = None if reduction is None else reduction.init(y0)
    start = Carry(y0, past, stepper.init(y0, past), folded, jnp.full(2, -1, jnp.int32))
    count, rest = divmod(grid.steps, grid.block)
    remat = jax.checkpoint(block, static_argnums=2, prevent_cse=False)
    carry, saved = jax.lax.scan(
        lambda c, i: remat(c, first + i * grid.block, grid.block), start, jnp.arange(count, dtype=jnp.int32)
    )
    saved = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), saved)
    if rest:
        carry, last = remat(carry, first + count * grid.block, rest)
        saved = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), saved, last)
    if reduction is not None:
        return reduction.finish(carry.folded), carry
    thin = grid.stride // every
    return jax.tree.map(lambda x: x[thin - 1 :: thin][grid.discard // grid.stride :], saved), carry


class _Stepper(eqx.Module):
    """Steps of one model with one solver on one grid."""

    model: AbstractModel
    solver: diffrax.AbstractSolver = eqx.field(static=True)
    stimulus: Stimulus | None
    delays: Delays | None
    first: Int[Array, ""]
    grid: Grid = eqx.field(static=True)

    def float_time(self, step: Array) -> Array:
        """Model time in the default float: for outputs and for models that look at the clock."""
        return self.grid.t0 + step * self.grid.dt

    def init(self, y0: State, past: Array | None) -> Any:
        """The solver's memory; terms of the right structure are all it needs."""
        moment = self._moment(self.first, lambda theta: None)
        path = None if noisy_part(self.model) is None else _Increment(None)
        return self.solver.init(make_terms(self.model, moment, path), 0.0, self.grid.dt, y0, None)

    def block(self, carry: Carry, start: Array, length: int, drawn: Any) -> tuple[State, Array | None, Any, State]:
        """`length` steps; the last state, the past at the end, the solver's memory and all states, time first."""
        if self.delays is None:
            steps = start + jnp.arange(length, dtype=jnp.int32)

            def one(c, x):
                y, memory = self._step(x[0], *c, x[1], lambda theta: None)
                return (y, memory), y

            (y, memory), states = jax.lax.scan(one, (carry.y, carry.solver_state), (steps, drawn))
            return y, None, memory, states
        stretch = next(k for k in range(min(self.delays.block, length), 0, -1) if length % k == 0)
        return self._delayed(self.delays, carry, start, length, stretch, drawn)

    def _delayed(self, delays: Delays, carry: Carry, start: Array, length: int, stretch: int, drawn: Any):
        """As `block`, in stretches no longer than the shortest fast delay, with outputs kept in a buffer."""
        assert carry.past is not None
        columns = carry.past.shape[1]
        buffer = jnp.concatenate([carry.past, jnp.zeros((carry.past.shape[0], length), carry.past.dtype)], axis=1)

        def one_stretch(c, x):
            y, memory, buffer = c
            index, noise = x
            column = columns - 1 + index * stretch
            known = delays.read(buffer, column, stretch)
            recent = delays.recent(buffer, column, stretch)

            def one(c, x):
                y, memory, recent = c
                k, noise = x
                pair = jax.lax.dynamic_slice_in_dim(known, k, 2)
                step = start + index * stretch + k
                y, memory = self._step(step, y, memory, noise, lambda theta: delays.arrival(pair, recent, k, theta))
                sent = self.model.output(self.float_time(step + 1), y)
                return (y, memory, delays.remember(recent, k, sent)), (y, sent)

            steps = (jnp.arange(stretch, dtype=jnp.int32), noise)
            (y, memory, _), (states, sent) = jax.lax.scan(one, (y, memory, recent), steps)
            return (y, memory, jax.lax.dynamic_update_slice_in_dim(buffer, sent.T, column + 1, axis=1)), states

        count = length // stretch
        split = jax.tree.map(lambda x: x.reshape(count, stretch, *x.shape[1:]), drawn)
        start_of = (carry.y, carry.solver_state, buffer)
        (y, memory, buffer), states = jax.lax.scan(one_stretch, start_of, (jnp.arange(count, dtype=jnp.int32), split))
        return y, buffer[:, -columns:], memory, jax.tree.map(lambda x: x.reshape(length, *x.shape[2:]), states)

    def _moment(self, step: Array, arrive: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, Drive]]:
        """From the solver's time, which starts at zero each step, to the model's time and drive."""

        def moment(local):
            t = self.float_time(step) + local
            drive = Drive()
            if self.stimulus is not None:
                clock = product(step, self.grid.dt, jnp.result_type(float))
                drive = self.stimulus(Time(clock.large + self.grid.t0, clock.small + local))
            return t, drive._replace(arrive=arrive(local / self.grid.dt))

        return moment

    def _step(self, step: Array, y: State, memory: Any, drawn: Any, arrive: Callable[[Any], Any]) -> tuple[State, Any]:
        moment = self._moment(step, arrive)
        dt = self.grid.dt
        if overrides(self.model, "step"):
            t, drive = moment(0.0)
            y = self.model.step(t, dt, y, drive, drawn)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            terms = make_terms(self.model, moment, None if drawn is None else _Increment(drawn))
            y, memory = solver_step(self.solver, terms, dt, y, memory, overrides(self.model, "constrain"))
        return self.model.constrain(y), memory


def solver_step(solver: diffrax.AbstractSolver, terms: diffrax.AbstractTerm, dt: float, y: State, memory: Any, jump: bool):
    """One step of a diffrax solver. Explicit Runge-Kutta tableaus are unrolled: diffrax loops over the stages inside the
    step, which costs 1.4 times as much here (Heun, 90 regions); the arithmetic is the same."""
    if isinstance(solver, diffrax.AbstractERK) and not solver.tableau.fsal:
        return _explicit_step(solver.tableau, terms, dt, y), memory
    y, _, _, memory, _ = solver.step(terms, 0.0, dt, y, None, memory, made_jump=jump)
    return y, memory


def _explicit_step(tableau: diffrax.ButcherTableau, terms: diffrax.AbstractTerm, dt: float, y: State) -> State:
    control = terms.contr(0.0, dt)
    slopes: list[State] = []

    def advanced(weights):
        used = [(float(w), k) for w, k in zip(weights, slopes, strict=True) if w]
        return jax.tree.map(lambda x, *ks: x + sum(w * k for (w, _), k in zip(used, ks, strict=True)), y, *(k for _, k in used))

    for node, weights in zip((0.0, *map(float, tableau.c)), ((), *tableau.a_lower), strict=True):
        slopes.append(terms.vf_prod(node * dt, advanced(weights), None, control))
    return advanced(tableau.b_sol)


def _levy(solver: diffrax.AbstractSolver) -> bool:
    return getattr(solver, "minimal_levy_area", None) is diffrax.AbstractSpaceTimeLevyArea


def _fold(reduction: Reduction, folded: Any, ts: Array, states: State, wanted: Array) -> Any:
    def one(folded, x):
        t, y, take = x
        new = reduction.update(folded, t, y)
        return jax.tree.map(lambda a, b: jnp.where(take, a, b), new, folded), None

    return jax.lax.scan(one, folded, (ts, states, wanted))[0]


def _first_failure(failed: Array, start: Array, states: State) -> Array:
    """Step and flat index of the first value in a block that is not finite, unless there was one before."""
    leaves = [jax.lax.stop_gradient(x).reshape(x.shape[0], -1) for x in jax.tree.leaves(states)]
    good = jnp.stack([jnp.all(jnp.isfinite(x), axis=1) for x in leaves]).all(axis=0)
    row = jnp.argmin(good)
    flat = jnp.concatenate([jnp.isfinite(jax.lax.dynamic_index_in_dim(x, row, keepdims=False)) for x in leaves])
    found = jnp.stack([start + 1 + row, jnp.argmin(flat)]).astype(jnp.int32)
    return jnp.where((failed[0] < 0) & ~good[row], found, failed)
