"""Limit cycles: the oscillation of a model, its period, its orbit, and whether it attracts.

A multiplier is the factor by which a small push off the cycle has grown after one period (Floquet); one of them is 1,
for a push along the cycle, and the cycle attracts if all others lie inside the unit circle.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, State
from jnm.network.network import Network
from jnm.stability.abstract_cycle import AbstractCycle
from jnm.stability.delayed_cycle import DelayedCycle, delayed_cycle
from jnm.stability.equilibria import resting
from jnm.stability.field import as_vector, flat, shaped, slope
from jnm.stability.homogeneous import in_unison
from jnm.stability.orbit import Mesh, along, multipliers, periodic, solve_orbit, states_at
from jnm.stability.precision import concrete, in_double, in_double_with_delays
from jnm.stability.root import attach, linearise, nearest
from jnm.stability.settling import RESTS, SAMPLES, TRIES, UNBOUNDED, last_lap


class Cycle(AbstractCycle):
    """A periodic orbit of a model."""

    period: Float[Array, ""]
    """In ms."""
    model: AbstractModel
    """Whose orbit it is, in double precision."""
    _unknowns: Float[Array, " unknown"]
    _mesh: Mesh

    @property
    def times(self) -> Float[Array, " time"]:
        with jax.enable_x64(True):
            return along(self.model, self._mesh, self._unknowns)[0] * self.period

    def at(self, times: Any) -> Any:
        with jax.enable_x64(True):
            phases = jnp.atleast_1d(jnp.asarray(times, float)) / self.period
            x = states_at(self.model, self._mesh, self._unknowns, phases)
            return jax.vmap(lambda x: shaped(self.model, x))(x)

    @property
    def multipliers(self) -> Complex[Array, " n"]:
        with jax.enable_x64(True):
            jacobian = linearise(periodic, (self.model, self._mesh), self._unknowns)[1]
            return multipliers(jacobian, self._mesh.points.shape[1])

    def follow(self, model: AbstractModel) -> "Cycle":
        """The same cycle of a model with other parameters; works under jit, vmap and grad."""
        return _follow(model, self._mesh, self._unknowns)


@in_double_with_delays
def limit_cycle(model: Any, start: State | None = None, *, settle: float = 1000.0) -> Cycle | DelayedCycle:
    """The oscillation into which a model settles.

        >>> cycle = jnm.stability.limit_cycle(jnm.ING())
        >>> float(cycle.period)
        9.931994...

    **Arguments**

    - `model`: any model with a drift; phases of its oscillators may run on for ever. Of a network of like regions, each
      receiving the same sum of weights, the cycle is that of all regions in unison, a `Cycle` of
      `jnm.stability.homogeneous(network)`; `dispersion` tells whether the regions stay together. With a `start` of all
      its regions the whole network is run instead. Where all connections have the same delay it is that of all regions
      in unison too, a `DelayedCycle`, which is followed by `cycle.follow(network)`.
    - `start`: a state from which to run; by default next to each unstable fixed point, then `model.init()`.
    - `settle`: length of the first run in ms; it is doubled up to three times until the activity repeats itself.

    **Returns** a `Cycle` with `.period` in ms, `.orbit` and `.multipliers`, differentiable in the model's parameters.
    Cycles that do not attract are reached from their Hopf points by `continuation`.

    Raises `RuntimeError` if no oscillation is found, saying what was searched, and `ValueError` for models without a
    drift to look at, for delays that differ between connections, and under jit and vmap, where `cycle.follow(model)`
    serves.
    """
    if not settle > 0:
        raise ValueError(f"limit_cycle: settle = {settle} ms; the first run takes a positive time.")
    if isinstance(model, Network) and model.speed is not None:
        return delayed_cycle(model, start, float(settle))
    if start is None or jax.tree.map(jnp.shape, start) != jax.tree.map(jnp.shape, model.init()):
        model = in_unison(model)
    fixed = concrete(model, "limit_cycle")
    begins = _begins(fixed) if start is None else [np.asarray(as_vector(fixed, start, "limit_cycle: start"))]
    ends = []
    for begin in begins:
        orbit, end = _settled(fixed, begin, float(settle))
        if orbit is not None:
            mesh, z = orbit
            return attached(model, mesh, jnp.asarray(z))
        ends.append(end)
    raise RuntimeError(
        f"limit_cycle: no oscillation found from {len(begins)} start{'s' * (len(begins) > 1)}, running {settle:g} ms and "
        f"up to {TRIES - 1} times twice as long: {'; '.join(dict.fromkeys(ends))}. Give another start, or ask "
        "hopf_points(model, where, low, high) where oscillations begin."
    )


@eqx.filter_jit
def attached(model: AbstractModel, mesh: Mesh, root: Float[Array, " unknown"]) -> Cycle:
    """The cycle of a root that was found, with its derivatives."""
    z = attach(periodic, (model, mesh), root)
    return Cycle(z[-1], model, z, mesh)


@in_double
@eqx.filter_jit
def _follow(model: AbstractModel, mesh: Mesh, guess: Float[Array, " unknown"]) -> Cycle:
    lost = "Cycle.follow: no cycle next to the old one. Search again with limit_cycle or continuation."
    z = nearest(periodic, (model, mesh), guess, lost)
    return Cycle(z[-1], model, z, mesh)


def _begins(model: AbstractModel) -> list[Float[np.ndarray, " n"]]:
    """A tenth off each unstable fixed point, and the model's own start; off the origin, which has no size, a thousandth."""
    unstable = [np.asarray(flat(point.state)) for point in resting(model, 16) if not point.stable]
    return [*(x * 1.1 + 1e-3 * (np.max(np.abs(x)) or 1.0) for x in unstable), np.asarray(flat(model.init()))]


def _settled(model: AbstractModel, x: Float[np.ndarray, " n"], duration: float) -> tuple[Any, str]:
    """The orbit into which the activity from `x` settles, or how it ends instead."""
    end = ""
    for _ in range(TRIES):
        states = np.asarray(_run(model, jnp.asarray(x), jnp.asarray(duration)))
        lap, end = last_lap(model, states[len(states) // 2 :])
        if end in (RESTS, UNBOUNDED):
            break
        if lap is not None:
            period = len(lap.states) * duration / SAMPLES
            orbit = solve_orbit(model, lap.phases, lap.states, period, lap.turns)
            if orbit is not None and lap.is_seen_in(orbit[1], period):
                return orbit, ""
        x, duration = states[-1], 2 * duration
    return None, end


@eqx.filter_jit
def _run(model: AbstractModel, x: Float[Array, " n"], duration: Float[Array, ""]) -> Float[Array, "time n"]:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, x, args: slope(model, x)), diffrax.Tsit5(), 0.0, duration, None, x,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, duration, SAMPLES + 1)),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-11), max_steps=None, throw=False,
    )  # fmt: skip
    return jnp.asarray(solution.ys)
