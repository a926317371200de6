"""Limit cycles: the oscillation of a model, its period, its orbit, and whether it attracts.

A multiplier is the factor by which a small push off the cycle has grown after one period (Floquet); one of them is 1,
for a push along the cycle, and the cycle attracts if all others lie inside the unit circle.
"""

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, State
from jnm.network.network import Network
from jnm.stability import plots
from jnm.stability.delayed_cycle import DelayedCycle, delayed_cycle
from jnm.stability.equilibria import resting
from jnm.stability.field import as_vector, flat, shaped, slope
from jnm.stability.homogeneous import in_unison
from jnm.stability.orbit import Mesh, along, multipliers, periodic, slopes_at, solve_orbit
from jnm.stability.precision import concrete, in_double
from jnm.stability.root import attach, linearise, nearest
from jnm.stability.settling import AMPLITUDE, SAMPLES, TRIES, last_lap, sizes


class Cycle(eqx.Module):
    """A periodic orbit of a model."""

    period: Float[Array, ""]
    """In ms."""
    model: AbstractModel
    """Whose orbit it is, in double precision."""
    _unknowns: Float[Array, " unknown"]
    _mesh: Mesh

    @property
    def frequency_hz(self) -> Float[Array, ""]:
        """1000 / period."""
        return 1000 / self.period

    @property
    def times(self) -> Float[Array, " time"]:
        """Times in ms at which `orbit` is given, from 0 to below the period; dense where the orbit is fast."""
        with jax.enable_x64(True):
            return along(self.model, self._mesh, self._unknowns)[0] * self.period

    @property
    def orbit(self) -> Any:
        """The states along one period, time first."""
        with jax.enable_x64(True):
            states = along(self.model, self._mesh, self._unknowns)[1]
            return jax.vmap(lambda x: shaped(self.model, x))(states)

    @property
    def multipliers(self) -> Complex[Array, " n"]:
        """Floquet multipliers, the largest first; one of them is 1."""
        with jax.enable_x64(True):
            jacobian = linearise(periodic, (self.model, self._mesh), self._unknowns)[1]
            return multipliers(jacobian, self._mesh.points.shape[1])

    @property
    def stable(self) -> bool:
        """Whether the cycle attracts what starts near it."""
        values = np.asarray(concrete(self.multipliers, "Cycle.stable"))
        others = np.delete(values, np.argmin(np.abs(values - 1)))
        return bool(np.max(np.abs(others), initial=0.0) < 1)

    @property
    def smallest(self) -> Any:
        """The smallest value of each variable along the orbit, as a state."""
        return self._summary(lambda curve, lows, highs: lows)

    @property
    def largest(self) -> Any:
        """The largest value of each variable along the orbit, as a state."""
        return self._summary(lambda curve, lows, highs: highs)

    @property
    def mean(self) -> Any:
        """The time average of each variable over one period, as a state."""
        return self._summary(lambda curve, lows, highs: curve.integrate(curve.x[0], curve.x[-1]) / curve.x[-1])

    def follow(self, model: AbstractModel) -> "Cycle":
        """The same cycle of a model with other parameters; works under jit, vmap and grad."""
        return _follow(model, self._mesh, self._unknowns)

    def plot(self, output: plots.Output = None, label: str = "output (1/ms)", ax: Any = None) -> Any:
        """One period of a function of (t, y), by default of the model's output; returns the Figure."""
        return plots.one_period(self, output, label, ax)

    def _summary(self, what: Any) -> Any:
        """A number a variable, from the cubics through the orbit's states and slopes."""
        from scipy.interpolate import CubicHermiteSpline

        with jax.enable_x64(True):
            model, mesh, z = concrete((self.model, self._mesh, self._unknowns), "Cycle")
            phases, states, _ = along(model, mesh, z)
            slopes = np.asarray(slopes_at(model, states))
            times = np.append(phases, 1.0) * float(z[-1])
            closed = [np.concatenate([x, x[:1]]) for x in (np.asarray(states), slopes)]
            curve = CubicHermiteSpline(times, closed[0], closed[1])
            fine = curve(_between(times))
            return shaped(model, jnp.asarray(what(curve, fine.min(axis=0), fine.max(axis=0))))


def _between(times: np.ndarray) -> np.ndarray:
    """Each interval cut into sixteen."""
    return np.interp(np.arange(16 * (len(times) - 1)) / 16, np.arange(len(times)), times)


def _delayed_or_not(undelayed: Any) -> Any:
    """A network with a conduction speed goes its own way: it needs the past, which `in_double` refuses."""

    @functools.wraps(undelayed)
    def either(model: Any, start: State | None = None, *, settle: float = 1000.0) -> "Cycle | DelayedCycle":
        if not settle > 0:
            raise ValueError(f"limit_cycle: settle = {settle} ms; the first run takes a positive time.")
        if isinstance(model, Network) and model.speed is not None:
            return delayed_cycle(model, start, float(settle))
        return undelayed(model, start, settle=settle)

    return either


@_delayed_or_not
@in_double
def limit_cycle(model: AbstractModel, start: State | None = None, *, settle: float = 1000.0) -> Cycle:
    """The oscillation into which a model settles.

        >>> cycle = jnm.stability.limit_cycle(jnm.ING())
        >>> float(cycle.period)
        9.931994...

    **Arguments**

    - `model`: any model with a drift. Of a network of like regions, each receiving the same sum of weights, the cycle is
      that of all regions in unison, a `Cycle` of `jnm.stability.homogeneous(network)`; `dispersion` tells whether the
      regions stay together. With a `start` of all its regions the whole network is run instead. Where all connections
      have the same delay it is that of all regions in unison too, a `DelayedCycle`, which is followed by
      `cycle.follow(network)`.
    - `start`: a state from which to run; by default next to each unstable fixed point, then `model.init()`.
    - `settle`: length of the first run in ms; it is doubled up to three times until the activity repeats itself.

    **Returns** a `Cycle` with `.period` in ms, `.orbit` and `.multipliers`, differentiable in the model's parameters.
    Cycles that do not attract are reached from their Hopf points by `continuation`.

    Raises `RuntimeError` if no oscillation is found, saying what was searched, and `ValueError` for models without a
    drift to look at, for delays that differ between connections, and under jit and vmap, where `cycle.follow(model)`
    serves.
    """
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
        if not np.all(np.isfinite(states)):
            return None, "the activity leaves all bounds"
        tail = states[len(states) // 2 :]
        size = sizes(tail)
        if np.max(np.ptp(tail, axis=0) / size) < AMPLITUDE:
            return None, "the activity comes to rest"
        end = "the activity neither rests nor repeats itself"
        if (lap := last_lap((tail - tail[-1]) / size)) is not None:
            period = (len(tail) - 1 - lap) * duration / SAMPLES
            phases = np.linspace(0, 1, len(tail) - lap)[:-1]
            orbit = solve_orbit(model, phases, tail[lap:-1], period)
            if orbit is not None and _is_cycle(orbit, period, size):
                return orbit, ""
        x, duration = states[-1], 2 * duration
    return None, end


def _is_cycle(orbit: tuple[Mesh, np.ndarray], period: float, size: Float[np.ndarray, " n"]) -> bool:
    """Whether it has the period that was seen and swings at all: a fixed point, too, solves the equations."""
    mesh, z = orbit
    swing = np.max(np.ptp(z[:-1].reshape(mesh.points.shape), axis=0) / size)
    return bool(0.5 < z[-1] / period < 2 and swing > AMPLITUDE)


@eqx.filter_jit
def _run(model: AbstractModel, x: Float[Array, " n"], duration: Float[Array, ""]) -> Float[Array, "time n"]:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, x, args: slope(model, x)), diffrax.Tsit5(), 0.0, duration, None, x,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, duration, SAMPLES + 1)),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-11), max_steps=None, throw=False,
    )  # fmt: skip
    return jnp.asarray(solution.ys)
