r"""What does a weak electric field do to a population? Entrainment against frequency and strength, beside linear theory.

A field E along the cells' axis polarises their membranes, which is as good as a current,

    I(t) = I + lambda E(t),        E(t) = strength sin(2 pi f t),

strength in V/m. A population at rest answers a weak field as its transfer function says, x = |H(f)| lambda strength; a
population that oscillates by itself is pulled along in a band around its own frequency (or around m / n of it) that
grows in proportion to the strength: the Arnold tongue. Both are simulated here for every frequency and strength and
measured by a lock-in (`jnm.studies.lock_in`), so that one sees where the simple laws end.

Clusella, Koksal-Ersoz, Garcia-Ojalvo & Ruffini, Biol. Cybern. (2023), for the field as a current in NMM1 and NMM2;
Pikovsky, Rosenblum & Kurths, Synchronization (Cambridge University Press, 2001), for tongues.
"""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, PRNGKeyArray

from jnm._model import AbstractModel, Drive, State
from jnm._optional import require
from jnm.integration import Sine, simulate
from jnm.integration.noise import noisy_part
from jnm.stability import at_rest, fixed_points, transfer_function
from jnm.stability.linear_response import Output
from jnm.stability.precision import in_double
from jnm.studies.lock_in import PATTERNS, answer, locking

POLARISATION = 0.12  # mV of the soma per V/m, CA1 pyramidal cells: Bikson et al. (2004) J Physiol 557:175-190
UNIT = 15.0  # mV, chosen: from rest (v = -1/2, where the membrane's time constant is tau_m) to threshold (v = 1/2)
LAMBDA = POLARISATION / UNIT
"""Current per V/m: a constant field that shifts a resting cell by .12 mV is a current of .12 / 15. Fast fields polarise
less (at 50 Hz about .4 of that, Deans et al. (2007) J Physiol 583:555-565): give `coupling` its own value for them."""


@dataclasses.dataclass(frozen=True)
class Entrainment:
    """Answers of a model to fields of each frequency and strength; made by `entrainment`."""

    f_hz: Float[np.ndarray, " frequency"]
    """Frequencies of the field in Hz."""
    strength: Float[np.ndarray, " strength"]
    """Amplitudes of the field in V/m."""
    value: Complex[np.ndarray, "frequency strength"]
    """The answer at the field's own frequency: complex amplitude, in units of the output."""
    linear: Complex[np.ndarray, " frequency"] | None
    """The answer per V/m by linear theory; None for a model without a stable rest."""
    locking: Float[np.ndarray, "frequency strength"]
    """How firmly n cycles of the output keep step with m of the field: 0 (not at all) to 1."""
    ratio: tuple[int, int]
    """The n and m of `locking`."""

    @property
    def amplitude(self) -> Float[np.ndarray, "frequency strength"]:
        """Amplitude of the output at the field's frequency."""
        return np.abs(self.value)

    @property
    def phase_deg(self) -> Float[np.ndarray, "frequency strength"]:
        """By how much the output leads the field, in degrees from -180 to 180."""
        return np.angle(self.value, deg=True)

    @property
    def relative(self) -> Complex[np.ndarray, "frequency strength"]:
        """The answer over that of linear theory: 1 where the field is weak. Raises `ValueError` without a rest."""
        if self.linear is None:
            raise ValueError(
                "Entrainment: the model has no stable rest, so there is no linear answer to compare with; look at "
                "`locking` and `tongue()`."
            )
        return self.value / (self.linear[:, None] * self.strength)

    def linear_until(self, tolerance: float = 0.05) -> Float[np.ndarray, " frequency"]:
        """The strength (V/m), by frequency, at which the answer first differs from the linear one by `tolerance` of it.

        In amplitude or in phase, |relative - 1|; interpolated between strengths on logarithmic axes. Infinite where no
        strength differs so much, and the least strength where all do.
        """
        deviation = np.abs(self.relative - 1)
        return np.array([_crossing(self.strength, row, tolerance) for row in deviation])

    def tongue(self, level: float = 0.9) -> Float[np.ndarray, "strength 2"]:
        """Lowest and highest frequency (Hz) of the band that is locked at each strength, locking >= `level`.

        The band around the firmest locking, its edges interpolated between frequencies; NaN where none is locked. An
        edge at the end of the frequencies looked at may lie further out, and slips rarer than one in a `duration` are
        not seen: no edge is sharper than 1000 / duration Hz.
        """
        return np.array([_band(self.f_hz, column, level) for column in self.locking.T])

    def plot(self, label: str = "amplitude (1/ms)") -> Any:
        """Resonance curves, the end of linear response, and locking against frequency and strength; the Figure."""
        from jnm.plot import weak_field

        return weak_field.figure(self, label)

    def to_xarray(self):
        """Amplitude, phase, locking and linear answer as a Dataset with the axes frequency (Hz) and strength (V/m)."""
        xarray = require("xarray", extra="io")
        both = ("frequency", "strength")
        phase = (both, self.phase_deg, {"units": "degree"})
        fields = {"amplitude": (both, self.amplitude), "phase": phase, "locking": (both, self.locking)}
        if self.linear is not None:
            fields["linear_amplitude"] = (both, np.abs(self.linear[:, None] * self.strength))
        axes = {
            "frequency": ("frequency", self.f_hz, {"units": "Hz"}),
            "strength": ("strength", self.strength, {"units": "V/m"}),
        }
        return xarray.Dataset(
            fields, axes, {"locking": "{} cycles of the output to {} of the field".format(*self.ratio)}
        )


@in_double
def entrainment(
    model: AbstractModel,
    f_hz: Float[ArrayLike, " frequency"],
    strength: Float[ArrayLike, " strength"],
    *,
    coupling: ArrayLike = LAMBDA,
    output: Output = "output",
    ratio: tuple[int, int] = (1, 1),
    state: State | None = None,
    duration: float = 1000.0,
    settle: float = 500.0,
    dt: float = 0.1,
    solver: diffrax.AbstractSolver | None = None,
    key: PRNGKeyArray | None = None,
) -> Entrainment:
    """Simulate a model in a sinusoidal electric field, for every frequency and strength, and measure what follows it.

        >>> seen = jnm.studies.entrainment(jnm.Pyramidal(), [80.0, 109.0, 140.0], [1.0, 10.0, 100.0])
        >>> seen.linear_until(0.05)

    In float64, beside the answer of `jnm.stability.transfer_function` where the model rests.

    **Arguments**

    - `f_hz`, `strength`: frequencies (Hz) and amplitudes (V/m) of the field, above zero.
    - `coupling`: lambda, current per V/m: one number, or [population] or [population, region] where cells of some are
      not aligned with the field. The default is for pyramidal cells, `jnm.studies.weak_field.LAMBDA`.
    - `output`: "output" (what other regions receive) or a function of (t, y); one number.
    - `ratio`: (n, m), the cycles of the output to cycles of the field of which `.locking` tells.
    - `state`: where to begin: the fixed point, or next to it. By default the only stable one, or, if there is none,
      `model.init()`.
    - `settle`, `duration`: ms that pass before, and while, one looks. Near the edge of a tongue phases settle slowly.
    - `dt`: step in ms; `solver`: by default `diffrax.Tsit5`, for a noisy model that of `simulate`.
    - `key`: for a noisy model; every frequency and strength has its own noise.

    Raises `ValueError` for frequencies and strengths that are not above zero, an output of several numbers, a duration
    too short to see six patterns of the slowest field, a step too long for the fastest, and several stable fixed
    points; `RuntimeError` if a run diverges, naming its field.
    """
    f, E = _axis("f_hz", f_hz, "Hz"), _axis("strength", strength, "V/m")
    _check(model, output, f, ratio, duration, dt)
    rest, begin = _start(model, state)
    push = jnp.asarray(coupling, float)
    linear = None if rest is None else _linear(model, f, push, output, rest)
    noisy = noisy_part(model) is not None
    if noisy and key is None:
        raise ValueError("entrainment: the model has noise; give a key, such as key=jax.random.key(0).")
    solver = diffrax.Tsit5() if solver is None and not noisy else solver
    pairs = jnp.asarray(np.stack(np.meshgrid(f, E, indexing="ij"), axis=-1).reshape(-1, 2))
    keys = jax.random.split(key, len(pairs)) if noisy else None  # pyright: ignore[reportArgumentType]
    x, failed = _runs(model, pairs, push, begin, keys, output, solver, float(duration), float(settle), float(dt))
    if np.any(failed):
        at = np.asarray(pairs)[np.argmax(failed)]
        raise RuntimeError(
            f"entrainment: the run at {at[0]:g} Hz and {at[1]:g} V/m diverged, the first of {int(np.sum(failed))}. Take "
            "a smaller dt, or weaker fields."
        )
    ts = settle + dt * np.arange(1, x.shape[1] + 1)
    series = np.moveaxis(np.asarray(x).reshape(len(f), len(E), -1), -1, 1)  # [frequency, time, strength]
    value = np.stack([answer(ts, one, hz) for one, hz in zip(series, f, strict=True)])
    locked = np.stack([locking(ts, one, hz, *ratio) for one, hz in zip(series, f, strict=True)])
    return Entrainment(f, E, value, linear, locked, (int(ratio[0]), int(ratio[1])))


@eqx.filter_jit
def _runs(
    model: AbstractModel, pairs: Array, push: Array, begin: State, keys: Any, output: Output, solver: Any,
    duration: float, settle: float, dt: float,
) -> tuple[Float[Array, "run time"], Array]:  # fmt: skip
    """Outputs of all runs, and whether they failed."""
    seen = output if callable(output) else lambda t, y: model.output(t, y)

    def one(pair, key):
        field = Sine(frequency=pair[0], amplitude=pair[1] * push)
        run = simulate(
            model, settle + duration, dt, y0=begin, key=key, solver=solver, discard=settle, save=seen, stimulus=field,
            block=100, throw=False,
        )  # fmt: skip
        return run.ys, run.result != 0

    return jax.vmap(one, in_axes=(0, None if keys is None else 0))(pairs, keys)


def _start(model: AbstractModel, state: State | None) -> tuple[State | None, State]:
    """The stable fixed point, if there is one, and the state to begin with."""
    points = list(fixed_points(model)) if state is None else [at_rest(model, state)]
    stable = [point for point in points if point.stable]
    if len(stable) > 1:
        raise ValueError(
            f"entrainment: {len(stable)} of the {len(points)} fixed points found are stable; name one by state=, from "
            "jnm.stability.fixed_points(model)."
        )
    if stable:
        return stable[0].state, stable[0].state
    return None, model.init() if state is None else state


def _linear(model: AbstractModel, f: np.ndarray, push: Array, output: Output, rest: State) -> np.ndarray:
    """The answer to a field of 1 V/m by linear theory."""
    H = transfer_function(model, jnp.asarray(f), lambda u: Drive(current=u * push), output, state=rest)
    return np.asarray(H.value)


def _axis(name: str, values: Any, unit: str) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 1 or not values.size or not (np.all(np.isfinite(values)) and np.all(values > 0)):
        raise ValueError(f"entrainment: {name} = {values}; wanted a list of numbers above zero, in {unit}.")
    if np.any(np.diff(values) <= 0):
        raise ValueError(f"entrainment: {name} = {values} {unit}; wanted them in rising order.")
    return values


def _check(model: AbstractModel, output: Any, f: np.ndarray, ratio: Any, duration: float, dt: float) -> None:
    seen = output if callable(output) else model.output
    shape = jax.eval_shape(lambda: seen(jnp.zeros(()), model.init())).shape
    if output == "source" or shape != ():
        raise ValueError(
            f"entrainment: the output has shape {list(shape)}; take one number of it, output=lambda t, y: ..."
        )
    if len(ratio) != 2 or not all(isinstance(part, int) and part > 0 for part in ratio):
        raise ValueError(f"entrainment: ratio = {ratio!r}; wanted (n, m): n cycles of the output to m of the field.")
    if duration < 2 * PATTERNS * ratio[1] * 1000 / f[0]:
        raise ValueError(
            f"entrainment: duration = {duration:g} ms is too short to see {2 * PATTERNS * ratio[1]} cycles of {f[0]:g} "
            f"Hz; look for {2 * PATTERNS * ratio[1] * 1000 / f[0]:.0f} ms or longer."
        )
    if max(f[-1], ratio[0] / ratio[1] * f[-1]) * dt > 100.0:
        raise ValueError(
            f"entrainment: dt = {dt:g} ms; take ten steps or more in a cycle of {f[-1]:g} Hz and its locking."
        )


def _crossing(strength: np.ndarray, deviation: np.ndarray, tolerance: float) -> float:
    """Where a rising deviation passes the tolerance."""
    over = np.flatnonzero(deviation >= tolerance)
    if not over.size:
        return np.inf
    k = over[0]
    if k == 0:
        return float(strength[0])
    logs = np.log(deviation[k - 1 : k + 1]), np.log(strength[k - 1 : k + 1])
    return float(np.exp(np.interp(np.log(tolerance), *logs)))


def _band(f: np.ndarray, locked: np.ndarray, level: float) -> tuple[float, float]:
    """The ends of the stretch around the largest value in which values stay at the level or above."""
    top = int(np.argmax(locked))
    if locked[top] < level:
        return np.nan, np.nan
    below, above = np.flatnonzero(locked[:top] < level), np.flatnonzero(locked[top:] < level)
    low, high = f[0], f[-1]
    if below.size:
        low = np.interp(level, locked[below[-1] : below[-1] + 2], f[below[-1] : below[-1] + 2])
    if above.size:
        k = top + above[0]
        high = np.interp(level, locked[[k, k - 1]], f[[k, k - 1]])
    return float(low), float(high)
