"""Stimuli: what drives a model from outside, as functions of time that stay right in float32 (see `clock`)."""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import Drive
from jnm._param import Positive, check_domains, param, share
from jnm.integration.clock import Time, add, as_time, fraction_of_product, product

Stimulus = Callable[[Any], Drive]

_EDGE = 1e-5  # ms: an edge this close to a moment is at that moment; above the rounding of a Time, below any step


class AbstractStimulus(eqx.Module):
    """A current (default) or synaptic input as a function of time; call it with a time in ms.

    Amplitudes have the state's full rank ([population, region]), or one axis less and are shared by the populations, or
    are scalars. `into="synaptic"` lets them enter like a synapse, in 1/ms.
    """

    into: eqx.AbstractVar[Literal["current", "synaptic"]]

    @abc.abstractmethod
    def value(self, t: Time) -> Array:
        """The input at time t."""

    def __call__(self, t: Time | Array | float) -> Drive:
        value = self.value(t if isinstance(t, Time) else Time(jnp.asarray(t, float)))
        return Drive(synaptic=value) if self.into == "synaptic" else Drive(current=value)

    def __check_init__(self):
        if self.into not in ("current", "synaptic"):
            raise ValueError(
                f"{type(self).__name__}: into = {self.into!r}; an input enters as 'current' or 'synaptic'."
            )
        check_domains(self)


class Constant(AbstractStimulus):
    """The same input at all times."""

    amplitude: Float[Array, "..."] = param(doc="input")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        return self.amplitude


class Pulse(AbstractStimulus):
    """A rectangular pulse: `amplitude` from `onset` for `duration` ms, nothing before and after.

        >>> click = jnm.Pulse(onset=100.0, duration=5.0, amplitude=2.0)

    An edge on the grid of steps is exact: a step that ends there does not see what begins there.
    """

    onset: Time = eqx.field(converter=as_time)
    duration: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="length of the pulse")
    amplitude: Float[Array, "..."] = param(1.0, doc="input during the pulse")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        since = (t - self.onset) + _edge(t)
        on = share((since >= 0) & (since < self.duration), self.amplitude.ndim)
        return jnp.where(on, self.amplitude, jnp.zeros_like(self.amplitude))


class Sine(AbstractStimulus):
    """amplitude * sin(2 pi frequency t + phase), the frequency in Hz and the phase in radians."""

    frequency: Float[Array, "..."] = param(unit="Hz", domain=Positive(), doc="frequency")
    amplitude: Float[Array, "..."] = param(1.0, doc="peak input")
    phase: Float[Array, "..."] = param(0.0, unit="rad", doc="phase at t = 0")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        seconds = jnp.floor(jnp.asarray(t.large) * 1e-3)  # whole ones, which a float multiplies without a rounded unit
        rest = (t.large - 1000 * seconds) + t.small
        cycles = fraction_of_product(self.frequency, seconds) + self.frequency * (1e-3 * rest)
        wave = jnp.sin(2 * jnp.pi * cycles + self.phase)
        return self.amplitude * share(wave, self.amplitude.ndim)


class Sampled(AbstractStimulus):
    """Values given every `dt` ms from `start`, linearly interpolated, held at both ends.

    `values` has time first: [time], [time, region] or [time, population, region]. With `hold` each lasts until the
    next, as counts of spikes do; a step on the grid of samples then sees one value alone.
    """

    values: Float[Array, "time ..."] = param(doc="samples of the input, time first")
    dt: float = eqx.field(static=True, kw_only=True)
    start: float = eqx.field(default=0.0, static=True)
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)
    hold: bool = eqx.field(default=False, static=True, kw_only=True)

    def __check_init__(self):
        if not self.dt > 0:
            raise ValueError(f"Sampled: dt = {self.dt} ms; the sampling interval must be positive.")
        if self.values.ndim == 0 or self.values.shape[0] == 0:
            raise ValueError(
                f"Sampled: values has shape {list(self.values.shape)}; give [time, ...], one value or more."
            )

    def value(self, t):
        since = t - as_time(self.start)
        index = jnp.floor(since / self.dt).astype(jnp.int32)
        # index * dt in float32 is wrong by a sample after minutes; the index itself may be one off, which is mended.
        fraction = (t - add(product(index, self.dt, since.dtype), as_time(self.start))) / self.dt
        if self.hold:
            return self._sample(index + jnp.floor(fraction + _edge(t) / self.dt).astype(jnp.int32))
        index, fraction = index + jnp.floor(fraction).astype(jnp.int32), fraction - jnp.floor(fraction)
        before, after = self._sample(index), self._sample(index + 1)
        return before + fraction * (after - before)

    def _sample(self, index: Array) -> Array:
        return self.values[jnp.clip(index, 0, self.values.shape[0] - 1)]


def _edge(t: Time) -> Array:
    """What is added to a time before it is compared with an edge: a step that ends there has not reached it."""
    return jnp.where(t.ending, -_EDGE, _EDGE)


def drive_at(stimulus: Stimulus, t: Time) -> Drive:
    """The drive of a stimulus: jnm's own see a `Time`, any other function of time a float in ms."""
    drive = stimulus(t if isinstance(stimulus, AbstractStimulus) else t.value)
    if not isinstance(drive, Drive):
        raise ValueError(
            f"The stimulus returned a {type(drive).__name__}; a function of t gives jnm.Drive(current=...)."
        )
    return drive
