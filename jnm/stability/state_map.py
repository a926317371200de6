"""What a network does, over a plane of two parameters: rest, synchrony, heterogeneous rhythms, or chaos.

At each point one run gives the leading Lyapunov exponents, how much regions swing and how much they differ, and the
frequency at which they oscillate. Rules, in this order, name the state:

    diverged          the activity left all bounds
    rest              all exponents are negative, or no region swings by more than a thousandth of its mean
    hyperchaotic      two exponents or more are positive
    chaotic           one is
    synchronous       regions differ by less than a hundredth of their swing
    quasi-periodic    two exponents or more are zero: a torus
    heterogeneous     one is: an oscillation in which regions differ

An exponent is positive if it exceeds its limit, three standard errors or one over the time of the run, whichever is
larger, negative if it lies as far below zero, and zero in between. Longer runs have smaller limits: weak chaos needs them.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jnm._model import State
from jnm._optional import require
from jnm._selection import Where
from jnm.observe.spectrum import psd
from jnm.stability.dial import Dial, dial
from jnm.stability.field import NO_TIME, as_vector, shaped
from jnm.stability.homogeneous import homogeneous
from jnm.stability.lyapunov import counts, interval, regions_apart, summary
from jnm.stability.precision import concrete, in_double

KINDS = ("rest", "synchronous", "heterogeneous", "quasi-periodic", "chaotic", "hyperchaotic", "diverged")
_STILL, _ALIKE = (
    1e-3,
    1e-2,
)  # largest swing of rest, relative to the mean; largest difference of synchrony, to the swing
_SURE = 3.0  # standard errors beyond which an exponent is not zero
_SEGMENT = 500.0  # ms, of the spectrum


class StateMap(eqx.Module):
    """The states of a network over two parameters; axes are (first parameter, second parameter)."""

    known: ClassVar[tuple[str, ...]] = KINDS
    """The names of all states, from rest to divergence."""

    values: tuple[Float[np.ndarray, " first"], Float[np.ndarray, " second"]]
    exponents: Float[np.ndarray, "first second k"]
    """Leading Lyapunov exponents per ms, falling."""
    standard_errors: Float[np.ndarray, "first second k"]
    swing: Float[np.ndarray, "first second"]
    """Standard deviation in time of the outputs over their mean, of the region where it is largest."""
    difference: Float[np.ndarray, "first second"]
    """Standard deviation over regions, over that in time, of the last half of the run; 0 where nothing swings."""
    frequencies_hz: Float[np.ndarray, "first second"]
    """At the peak of the mean spectrum of all regions; NaN at rest."""
    duration: float = eqx.field(static=True)
    """Time that was looked at, in ms."""
    names: tuple[str, str] = eqx.field(static=True)
    labels: tuple[str, str] = eqx.field(static=True)
    start: str = eqx.field(static=True)

    @property
    def limits(self) -> Float[np.ndarray, "first second k"]:
        """Beyond which an exponent is taken for positive, and within which for zero, per ms."""
        return np.maximum(_SURE * self.standard_errors, 1 / self.duration)

    @property
    def codes(self) -> Int[np.ndarray, "first second"]:
        """The state of each point as its place in `known`."""
        positive = np.sum(self.exponents > self.limits, axis=-1)
        neutral = np.sum(np.abs(self.exponents) <= self.limits, axis=-1)
        finite = np.all(np.isfinite(self.exponents), axis=-1) & np.isfinite(self.swing)
        still = (self.exponents[..., 0] < -self.limits[..., 0]) | (self.swing < _STILL)
        rules = (~finite, still, positive > 1, positive > 0, self.difference < _ALIKE, neutral > 1)
        kinds = ("diverged", "rest", "hyperchaotic", "chaotic", "synchronous", "quasi-periodic")
        return np.select(rules, [KINDS.index(kind) for kind in kinds], KINDS.index("heterogeneous"))

    @property
    def kinds(self) -> np.ndarray:
        """The state of each point by name."""
        return np.array(KINDS)[self.codes]

    def plot(self) -> Any:
        """The plane in the colours of its states, with the largest exponent and the frequency beside it; a Figure."""
        from jnm.plot import state_map

        return state_map.figure(self)

    def to_xarray(self) -> Any:
        """All of it as one labelled Dataset."""
        xarray = require("xarray", extra="io")
        plane = self.names
        return xarray.Dataset(
            {
                "kind": (plane, self.kinds),
                "exponent": ((*plane, "order"), self.exponents, {"units": "1/ms"}),
                "standard_error": ((*plane, "order"), self.standard_errors, {"units": "1/ms"}),
                "swing": (plane, self.swing),
                "difference": (plane, self.difference),
                "frequency": (plane, self.frequencies_hz, {"units": "Hz"}),
            },
            {**dict(zip(plane, self.values, strict=True)), "order": np.arange(1, self.exponents.shape[-1] + 1)},
            {"start": self.start, "duration_ms": self.duration},
        )


@in_double
def state_map(
    network: Any,
    where: tuple[Where, Where],
    values: tuple[Any, Any],
    *,
    key: PRNGKeyArray,
    t1: float = 2000.0,
    dt: float = 0.05,
    k: int = 3,
    start: str | State = "homogeneous",
    discard: float = 500.0,
    chunk: int = 16,
) -> StateMap:
    """What a network of like regions does at each point of a plane of two parameters.

        >>> drive, coupling = jnm.at(lambda m: m.node.I, 0), lambda m: m.coupling.gain
        >>> plane = jnp.linspace(0.0, 16.0, 12), jnp.linspace(0.0, 30.0, 12)
        >>> jnm.stability.state_map(net, (drive, coupling), plane, key=jax.random.key(0)).plot()

    **Arguments**

    - `where`, `values`: two parameters, as in `jnm.free`, and the values that each of them takes.
    - `key`: draws starts and first pushes, at each point anew.
    - `t1`, `dt`, `discard`: length of each run, of its steps and of the transient that is left out, in ms. States that
      are reached slowly, and weak chaos, need longer runs than these; points that diverge may want smaller steps.
    - `k`: number of exponents; two are enough to tell chaos from hyperchaos, four to see more of it.
    - `start`: "homogeneous" (regions set apart by a thousandth), "random" (each region at a moment of its own) or a
      state. Where attractors coexist the map is that of its start.
    - `chunk`: points that run side by side; some tens on a processor, thousands on a GPU.

    **Returns** a `StateMap`: `.kinds`, `.exponents`, `.frequencies_hz`, with `.plot()` and `.to_xarray()`.

    Raises `ValueError` as `lyapunov` and `dispersion` do, and for values that leave a parameter's domain.
    """
    homogeneous(concrete(network, "state_map"))  # raises where regions are not alike
    (first, second), axes = _plane(network, where, values)
    count = counts(network, k, t1, dt, discard, 1.0, None)
    given = None if isinstance(start, str) else as_vector(network, start, "state_map: start")
    name = start if isinstance(start, str) else "given"
    if given is None and name not in ("homogeneous", "random"):
        raise ValueError(f'state_map: start = {name!r}; wanted "homogeneous", "random" or a state.')
    a, b = (jnp.asarray(x.ravel()) for x in np.meshgrid(*axes, indexing="ij"))
    run = _Point(first, second, name, float(dt), k, *count)
    measured = _survey(run, network, given, (a, b, jax.random.split(key, a.size)), chunk)
    shape = tuple(len(x) for x in axes)
    parts = (np.asarray(part).reshape(*shape, *part.shape[1:]) for part in measured)
    duration = float(count.intervals - count.discarded)
    names, labels = (first.name, second.name), (first.label, second.label)
    found = StateMap(axes, *parts, duration, names, labels, name)  # pyright: ignore[reportCallIssue]
    decayed = np.where(found.kinds == "rest", np.nan, found.frequencies_hz)  # of a ringing that dies out
    return eqx.tree_at(lambda found: found.frequencies_hz, found, decayed)


def _plane(network: Any, where: Any, values: Any) -> tuple[tuple[Dial, Dial], tuple[np.ndarray, np.ndarray]]:
    if not (isinstance(where, tuple | list) and isinstance(values, tuple | list) and len(where) == len(values) == 2):
        raise ValueError("state_map: wanted two parameters, where=(one, other), and values=(of one, of the other).")
    axes = [np.atleast_1d(np.asarray(x, float)) for x in values]
    for x in axes:
        if x.ndim != 1 or len(x) < 2:
            raise ValueError(f"state_map: values of a parameter have shape {x.shape}; wanted two numbers or more.")
    first, second = (
        dial(network, part, float(x.min()), float(x.max()), "state_map") for part, x in zip(where, axes, strict=True)
    )
    return (first, second), (axes[0], axes[1])


class _Point(eqx.Module):
    """One point of the plane: from two values and a key to exponents, errors, swing, difference and frequency."""

    first: Dial = eqx.field(static=True)
    second: Dial = eqx.field(static=True)
    start: str = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    k: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    intervals: int = eqx.field(static=True)
    discarded: int = eqx.field(static=True)

    def __call__(self, network: Any, given: Array | None, a: Array, b: Array, key: PRNGKeyArray) -> tuple[Array, ...]:
        model = self.second(self.first(network, a), b)
        start_key, push_key = jax.random.split(key)
        x = regions_apart(model, self.start, start_key, self.dt) if given is None else given
        pushes = jnp.linalg.qr(jax.random.normal(push_key, (x.size, self.k), float))[0]

        def one(carry, _):
            carry, growth = interval(model, carry[0], carry[1], self.dt, self.steps)
            return carry, (growth, model.output(jnp.asarray(NO_TIME), shaped(model, carry[0])))

        _, (growth, sent) = jax.lax.scan(one, (x, pushes), length=self.intervals)
        return *summary(growth[self.discarded :], 1.0), *_activity(sent[self.discarded :])


@eqx.filter_jit
def _survey(run: _Point, network: Any, given: Array | None, points: tuple[Array, ...], chunk: int) -> tuple[Array, ...]:
    return jax.lax.map(lambda point: run(network, given, *point), points, batch_size=chunk)


def _activity(sent: Float[Array, "time region"]) -> tuple[Array, Array, Array]:
    """Swing, difference between regions, and frequency of outputs, one each ms; of complex ones the real part."""
    sent = jnp.real(sent)
    swing = jnp.max(jnp.std(sent, axis=0) / (jnp.abs(jnp.mean(sent, axis=0)) + 1e-12))
    late = sent[len(sent) // 2 :]
    in_time, over_regions = jnp.mean(jnp.var(late, axis=0)), jnp.mean(jnp.var(late, axis=1))
    moves = swing > _STILL
    difference = jnp.where(moves, jnp.sqrt(over_regions / jnp.where(moves, in_time, 1.0)), 0.0)
    f_hz, density = psd(sent, 1.0, min(_SEGMENT, float(len(sent))))
    peak = _peak(jnp.asarray(f_hz), jnp.mean(density, axis=-1))
    return swing, difference, jnp.where(moves, peak, jnp.nan)


def _peak(f_hz: Array, density: Array) -> Array:
    """The frequency of the highest point, between samples by a parabola through logarithms."""
    logs = jnp.log(density + 1e-300)
    top = 1 + jnp.argmax(logs[1:-1])
    left, middle, right = logs[top - 1], logs[top], logs[top + 1]
    bend = left - 2 * middle + right
    shift = jnp.where(bend < 0, (left - right) / (2 * jnp.where(bend < 0, bend, 1.0)), 0.0)
    return f_hz[top] + jnp.clip(shift, -0.5, 0.5) * (f_hz[1] - f_hz[0])
