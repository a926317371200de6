"""Stimuli: what drives a model from outside, as functions of a time that float32 does not spoil.

A clock that adds dt in float32 loses a step in 200,000, and float32 itself resolves only 0.06 ms at 600 s. `Time` is
therefore a pair of floats whose sum is exact to about 1e-5 ms over hours; a stimulus subtracts its onset from it first.
"""

import abc
from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jnm._model import Drive
from jnm._param import Positive, param


class Time(NamedTuple):
    """A time in ms as the unevaluated sum of a large and a small float."""

    large: Array | float
    small: Array | float = 0.0

    def __sub__(self, other: Array | float) -> Array:  # exact when the two are close, which is where it matters
        return (self.large - other) + self.small

    def __float__(self) -> float:
        return float(self.large) + float(self.small)


def product(step: Int[Array, ""], factor: float, dtype: np.dtype) -> Time:
    """step * factor to far better than float32: the integer in digits of 11 bits, the factor in pieces of 12."""
    pieces, rest = [], factor
    for _ in range(2):
        scale = 2.0 ** (np.floor(np.log2(abs(rest))) - 11) if rest else 1.0
        pieces.append(np.floor(rest / scale) * scale)
        rest -= pieces[-1]
    digits = [((step >> shift) & mask, 2.0**shift) for shift, mask in ((22, -1), (11, 2047), (0, 2047))]
    large, small = jnp.zeros((), dtype), jnp.zeros((), dtype)
    for piece in (*pieces, rest):
        for digit, weight in digits:
            large, error = _two_sum(large, digit.astype(dtype) * jnp.asarray(piece * weight, dtype))
            small = small + error
    return Time(large, small)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b and its rounding error (Knuth)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


class AbstractStimulus(eqx.Module):
    """A current (default) or synaptic input as a function of time; call it with a float in ms or a `Time`.

    Amplitudes have the state's full rank ([population, region]), or one axis less and are shared by the populations, or
    are scalars. `into="synaptic"` lets them enter like a synapse, in 1/ms.
    """

    into: eqx.AbstractVar[Literal["current", "synaptic"]]

    @abc.abstractmethod
    def value(self, t: Time) -> Array:
        """The input at time t."""

    def __call__(self, t: Time | Array | float) -> Drive:
        moment = t if isinstance(t, Time) else Time(t)
        return Drive(**{self.into: self.value(moment)})

    def __check_init__(self):
        if self.into not in ("current", "synaptic"):
            raise ValueError(f"{type(self).__name__}: into = {self.into!r}; an input enters as 'current' or 'synaptic'.")


class Constant(AbstractStimulus):
    """The same input at all times."""

    amplitude: Float[Array, "..."] = param(doc="input")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        return self.amplitude


class Pulse(AbstractStimulus):
    """A rectangular pulse: `amplitude` from `onset` for `duration` ms, nothing before and after."""

    onset: Float[Array, "..."] = param(unit="ms", doc="start of the pulse")
    duration: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="length of the pulse")
    amplitude: Float[Array, "..."] = param(1.0, doc="input during the pulse")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        since = t - self.onset
        return jnp.where((since >= 0) & (since < self.duration), self.amplitude, jnp.zeros_like(self.amplitude))


class Sine(AbstractStimulus):
    """amplitude * sin(2 pi frequency t + phase), the frequency in Hz and the phase in radians."""

    frequency: Float[Array, "..."] = param(unit="Hz", domain=Positive(), doc="frequency")
    amplitude: Float[Array, "..."] = param(1.0, doc="peak input")
    phase: Float[Array, "..."] = param(0.0, unit="rad", doc="phase at t = 0")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        cycles = self.frequency * 1e-3 * t.large
        angle = 2 * jnp.pi * (cycles - jnp.floor(cycles) + self.frequency * 1e-3 * t.small)
        return self.amplitude * jnp.sin(angle + self.phase)


class Sampled(AbstractStimulus):
    """Values given every `dt` ms from `start`, linearly interpolated, held at both ends.

    `values` has time first: [time], [time, region] or [time, population, region].
    """

    values: Float[Array, "time ..."] = param(doc="samples of the input, time first")
    dt: float = eqx.field(static=True, kw_only=True)
    start: float = eqx.field(default=0.0, static=True)
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def __check_init__(self):
        if not self.dt > 0:
            raise ValueError(f"Sampled: dt = {self.dt} ms; the sampling interval must be positive.")

    def value(self, t):
        index = jnp.floor((t.large - self.start) / self.dt).astype(jnp.int32)
        sampled = product(index, self.dt, self.values.dtype)  # in float32, index * dt alone is wrong by a sample after minutes
        fraction = (((t.large - self.start) - sampled.large) + (t.small - sampled.small)) / self.dt
        index, fraction = index + jnp.floor(fraction).astype(jnp.int32), fraction - jnp.floor(fraction)
        last = self.values.shape[0] - 1
        before, after = (jnp.clip(index + k, 0, last) for k in (0, 1))
        return self.values[before] + fraction * (self.values[after] - self.values[before])
