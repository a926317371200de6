r"""Losses: how far a simulation lies from a measurement, in units of what noise alone would do.

Each is the mean square of standardised residuals, loss = < r^2 >, about 1 where the model explains all but the noise:

    time course     r = W (y - y_observed),                   W whitens the measurement noise
    log spectrum    r = (log S - log S_observed - b_M + b_M') / sqrt(psi'(M) + psi'(M'))

with the bias b_M and variance psi'(M) of the logarithm of M averages on the simulated and the observed side
(`jnm.observe.spectrum`). A measurement's noise is correlated, over time by filters, over frequency by tapers, over
channels by the head: each loss says what that does to its gradient (`gradient_covariance`), which is what intervals need.

Losses add and take weights: `spectra + 0.1 * evoked`; a plain function (model, key) -> scalar can be a term too.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jnm.fitting.uncertainty import correlation_time, separable
from jnm.observe.spectrum import averages, bin_correlation, log_bias, log_variance, psd

Simulation = Callable[[Any, PRNGKeyArray], Array]
LossFunction = Callable[[Any, PRNGKeyArray], Array]


class AbstractLoss(eqx.Module):
    """loss(model, key) -> scalar; losses add and take weights."""

    @abc.abstractmethod
    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        """The loss of a model; `key` is for the noise of its simulation."""

    def terms(self) -> tuple[tuple[float, LossFunction], ...]:
        """The weights and losses this one is a sum of."""
        return ((1.0, self),)

    def __add__(self, other: LossFunction) -> "SumLoss":
        more = other.terms() if isinstance(other, AbstractLoss) else ((1.0, other),)
        return SumLoss(self.terms() + more)

    def __radd__(self, other: Any) -> "AbstractLoss":
        return self if isinstance(other, int) and other == 0 else SumLoss(((1.0, other), *self.terms()))  # 0: for sum()

    def __mul__(self, weight: float) -> "SumLoss":
        return SumLoss(tuple((float(weight) * w, term) for w, term in self.terms()))

    __rmul__ = __mul__


class SumLoss(AbstractLoss):
    """A weighted sum of losses, all given the same key; made by `+` and `*`."""

    parts: tuple[tuple[float, LossFunction], ...]

    def __check_init__(self):
        for weight, part in self.parts:
            if not callable(part):
                raise ValueError(f"a loss is a function (model, key) -> scalar; got {part!r} as a term of a sum.")
            if not 0 < weight < np.inf:
                raise ValueError(f"a loss has the weight {weight}; weights are positive.")

    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        return sum((weight * part(model, key) for weight, part in self.parts), start=jnp.zeros(()))

    def terms(self) -> tuple[tuple[float, LossFunction], ...]:
        return self.parts


class AbstractResidualLoss(AbstractLoss):
    """The mean square of standardised residuals: the kind of loss whose parameters get intervals."""

    @abc.abstractmethod
    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "sample channel"]:
        """Standardised residuals; along the first axis (time, frequency) noise is correlated over short distances only."""

    @abc.abstractmethod
    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        """The covariance that measurement noise gives to the gradient J^T r at the best fit, and its degrees of freedom.

        Takes J [sample, channel, parameter] and r [sample, channel]; zero or less degrees of freedom: not enough data.
        """

    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        return jnp.mean(self.residuals(model, key) ** 2)


class TimeCourseLoss(AbstractResidualLoss):
    """The whitened error of a time course, for evoked responses: mean square of W (y - observed).

    Not for ongoing activity, whose course no model predicts: there gradients grow with the length and mean nothing.

        >>> loss = jnm.TimeCourseLoss(lambda m, key: lead(jnm.simulate(m, 300.0, 0.1, save=source).ys), evoked, whitener=W)

    **Arguments**

    - `simulation`: function (model, key) -> y [time, channel], at the times and in the unit of `observed`.
    - `observed`: the measurement [time, channel].
    - `noise_sd`: standard deviation of its noise, a number or one a channel; or
    - `whitener`: W [rank, channel], such that W times the noise has unit covariance.

    **Intervals** are those of least squares, with the variance of the residuals themselves (so misfit widens them) and as
    many effective samples as the autocorrelation of the residuals leaves.

    Raises `ValueError` for arrays that do not fit together or are not finite, and without (or with both) of the last two.
    """

    simulation: Simulation
    observed: Float[Array, "time channel"]
    whitener: Float[Array, "..."]
    """[channel], one over the standard deviations, or [rank, channel]."""

    def __init__(
        self,
        simulation: Simulation,
        observed: Float[ArrayLike, "time channel"],
        *,
        noise_sd: Float[ArrayLike, "..."] | None = None,
        whitener: Float[ArrayLike, "rank channel"] | None = None,
    ):
        self.simulation, self.observed = simulation, _as_measurement(observed, "TimeCourseLoss")
        self.whitener = _as_whitener(noise_sd, whitener, self.observed.shape[1])

    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "time rank"]:
        error = _simulated(self.simulation, model, key, self.observed.shape) - self.observed
        if self.whitener.ndim == 1:
            return error * self.whitener[None]
        return jnp.matmul(error, self.whitener.T, precision="highest")

    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        correlated = correlation_time(residuals)
        freedom = residuals.size / correlated - jacobian.shape[-1]
        variance = np.sum(residuals**2) / correlated / max(freedom, 1.0)
        return variance * correlated * np.einsum("tcp,tcq->pq", jacobian, jacobian), freedom


class LogSpectralLoss(AbstractResidualLoss):
    """The distance of log spectra, for ongoing activity: mean square of log S - log S_observed, both without bias.

    Each channel and frequency counts alike, whatever its power: a spectrum's peak and its floor are fitted as ratios.

        >>> loss = jnm.LogSpectralLoss(simulation, recording, dt=1.0, segment=1_000.0, band=(2.0, 48.0))

    **Arguments**

    - `simulation`: function (model, key) -> x [time, channel], sampled every `dt` ms, transients cut off. Its length need
      not be that of the recording; longer is less noisy.
    - `observed`: a recording [time, channel] sampled every `dt` ms, or its spectra (f_hz, S [frequency, channel], averages),
      one-sided per Hz, from Hann segments of 1000 / (f_hz[1] - f_hz[0]) ms; `jnm.observe.averages` counts the averages.
    - `dt`: time between samples, ms.
    - `band`: (lowest, highest) frequency in Hz that counts; by default all but zero and the highest. Leave out line noise
      and the edges of filters.
    - `segment`: length of Welch's segments, ms, on both sides (see `jnm.observe.psd`).
    - `scale_free`: whether to leave open the scale of each channel: only the shape of its spectrum counts.

    **Intervals** know that tapers correlate neighbouring frequencies; how channels are correlated, and how large the error
    is, they take from the residuals, so that misfit widens them. (Blocks of frequencies as clusters are the usual way; with
    the 5 to 15 blocks of a spectrum their standard errors came out 1.3 to 1.7 times too large and scattered by half.)

    Raises `ValueError` for a recording shorter than a segment, a band without a frequency, a silent channel.
    """

    simulation: Simulation
    log_observed: Float[Array, "frequency channel"]
    bins: tuple[int, ...] = eqx.field(static=True)
    averages: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    segment: float = eqx.field(static=True)
    scale_free: bool = eqx.field(static=True)

    def __init__(
        self,
        simulation: Simulation,
        observed: Float[ArrayLike, "time channel"] | tuple[ArrayLike, ArrayLike, float],
        dt: float,
        *,
        band: tuple[float, float] | None = None,
        segment: float | None = None,
        scale_free: bool = False,
    ):
        f_hz, S, self.averages = _spectrum(observed, dt, segment)
        self.simulation, self.dt, self.scale_free = simulation, float(dt), scale_free
        self.segment = 1000.0 / float(f_hz[1] - f_hz[0])
        inside = _in_band(f_hz, band, dt)
        self.bins = tuple(np.rint(f_hz[inside] * self.segment / 1000.0).astype(int).tolist())
        self.log_observed = jnp.asarray(_log(S[inside]) - log_bias(self.averages), float)

    @property
    def f_hz(self) -> np.ndarray:
        """The frequencies that count, Hz."""
        return np.array(self.bins) * 1000.0 / self.segment

    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "frequency channel"]:
        x = _simulated(self.simulation, model, key, (None, self.log_observed.shape[1]))
        _, S = psd(x, self.dt, self.segment)
        M = averages(x.shape[0], self.dt, self.segment)
        error = jnp.log(S[np.array(self.bins)]) - log_bias(M) - self.log_observed
        if self.scale_free:
            error = error - jnp.mean(error, axis=0, keepdims=True)
        return error / np.sqrt(log_variance(M) + log_variance(self.averages))

    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        return separable(jacobian, residuals, bin_correlation(self.dt, self.segment))


def _simulated(simulation: Simulation, model: Any, key: PRNGKeyArray, shape: tuple[int | None, int]) -> Array:
    """What the simulation gives, as [time, channel], checked against the shape of the measurement."""
    y = jnp.asarray(simulation(model, key))
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or y.shape[1] != shape[1] or (shape[0] is not None and y.shape[0] != shape[0]):
        wanted = f"[{'time' if shape[0] is None else shape[0]}, {shape[1]}]"
        raise ValueError(f"the simulation returns an array of shape {list(y.shape)}; the measurement wants {wanted}.")
    return y


def _as_measurement(observed: ArrayLike, name: str) -> Array:
    values = np.asarray(observed, float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not np.all(np.isfinite(values)):
        bad = f"{np.sum(~np.isfinite(values))} values that are not finite" if values.ndim == 2 else "no such axes"
        raise ValueError(f"{name}: observed has shape {list(values.shape)} and {bad}; wanted finite [time, channel].")
    return jnp.asarray(values, float)


def _as_whitener(noise_sd: ArrayLike | None, whitener: ArrayLike | None, channels: int) -> Array:
    if (noise_sd is None) == (whitener is None):
        raise ValueError("TimeCourseLoss: give either noise_sd (a number, or one a channel) or whitener [rank, channel].")
    if whitener is not None:
        W = np.asarray(whitener, float)
        if W.ndim != 2 or W.shape[1] != channels or not np.all(np.isfinite(W)):
            raise ValueError(f"TimeCourseLoss: whitener has shape {list(W.shape)}; wanted finite [rank, {channels}].")
        return jnp.asarray(W, float)
    sd = np.asarray(noise_sd, float)
    if sd.shape not in ((), (channels,)) or not np.all(sd > 0) or not np.all(np.isfinite(sd)):
        raise ValueError(f"TimeCourseLoss: noise_sd = {sd}; wanted a positive number, or one for each of {channels} channels.")
    return jnp.asarray(np.broadcast_to(1 / sd, (channels,)), float)


def _spectrum(observed: Any, dt: float, segment: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Frequencies, densities [frequency, channel] and the number of averages, from a recording or given."""
    if not isinstance(observed, tuple):
        x = _as_measurement(observed, "LogSpectralLoss")
        f_hz, S = psd(x, dt, segment)
        return f_hz, np.asarray(S, float), averages(x.shape[0], dt, 1000.0 / float(f_hz[1]))
    if len(observed) != 3:
        raise ValueError(f"LogSpectralLoss: observed is a tuple of {len(observed)}; wanted (f_hz, S, averages), or a recording.")
    f_hz, S = np.asarray(observed[0], float), np.asarray(observed[1], float)
    S = S[:, None] if S.ndim == 1 else S
    steps = np.diff(f_hz)
    if f_hz.ndim != 1 or len(f_hz) < 2 or S.shape[0] != len(f_hz) or not np.allclose(steps, steps[0], rtol=1e-4) or steps[0] <= 0:
        raise ValueError(f"LogSpectralLoss: f_hz {f_hz.shape} and S {S.shape}; wanted evenly spaced f_hz and S [frequency, channel].")
    if segment is not None and not np.isclose(segment * steps[0], 1000.0, rtol=1e-3):
        raise ValueError(f"LogSpectralLoss: segment = {segment} ms, but f_hz is {steps[0]:g} Hz apart: {1000 / steps[0]:g} ms.")
    return f_hz, S, float(observed[2])


def _in_band(f_hz: np.ndarray, band: tuple[float, float] | None, dt: float) -> np.ndarray:
    low, high = (0.0, np.inf) if band is None else band
    inside = (f_hz >= low) & (f_hz <= high) & (f_hz > 0) & (f_hz < 500.0 / dt * (1 - 1e-9))
    if not inside.any():
        raise ValueError(f"LogSpectralLoss: no frequency in band {low} to {high} Hz; there are {f_hz[1]:g} to {f_hz[-1]:g} Hz, {f_hz[1] - f_hz[0]:g} Hz apart.")
    return inside


def _log(S: np.ndarray) -> np.ndarray:
    silent = np.flatnonzero(~np.all(S > 0, axis=0))
    if silent.size:
        raise ValueError(f"LogSpectralLoss: channel {silent.tolist()} has no power (or not a number) in the band; leave it out.")
    return np.log(S)
