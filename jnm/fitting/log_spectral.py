"""LogSpectralLoss: the distance of log spectra, without the bias of the logarithm."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jnm.fitting.loss import AbstractResidualLoss, Simulation, as_measurement, check_band, simulated
from jnm.fitting.uncertainty import separable
from jnm.observe.spectrum import averages, bin_correlation, log_bias, log_variance, psd


class LogSpectralLoss(AbstractResidualLoss):
    """The distance of log spectra, for ongoing activity: mean square of log S - log S_observed, both without bias.

    Each channel and frequency counts alike, whatever its power: a spectrum's peak and its floor are fitted as ratios.

        >>> loss = jnm.LogSpectralLoss(simulation, recording, dt=1.0, segment=1_000.0, band=(2.0, 48.0))

    **Arguments**

    - `simulation`: function (model, key) -> x [time, channel], sampled every `dt` ms, transients cut off. Its length
      need not be that of the recording; longer is less noisy.
    - `observed`: a recording [time, channel] sampled every `dt` ms, or its spectra (f_hz, S [frequency, channel],
      averages), one-sided per Hz, from Hann segments of 1000 / (f_hz[1] - f_hz[0]) ms; `jnm.observe.averages` counts
      the averages.
    - `dt`: time between samples, ms.
    - `band`: (lowest, highest) frequency in Hz that counts; by default all but zero and the highest. Leave out line
      noise and the edges of filters.
    - `segment`: length of Welch's segments, ms, on both sides (see `jnm.observe.psd`).
    - `scale_free`: whether to leave open the scale of each channel: only the shape of its spectrum counts.

    **Intervals** know that tapers correlate neighbouring frequencies; how channels are correlated, and how large the
    error is, they take from the residuals, so that misfit widens them. (Blocks of frequencies as clusters are the
    usual way; with the 5 to 15 blocks of a spectrum their standard errors came out 1.3 to 1.7 times too large and
    scattered by half.)

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
        check_band(band, dt, "LogSpectralLoss")
        inside = _in_band(f_hz, band, dt)
        self.bins = tuple(np.rint(f_hz[inside] * self.segment / 1000.0).astype(int).tolist())
        self.log_observed = jnp.asarray(_log(S[inside]) - log_bias(self.averages), float)

    @property
    def f_hz(self) -> np.ndarray:
        """The frequencies that count, Hz."""
        return np.array(self.bins) * 1000.0 / self.segment

    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "frequency channel"]:
        x = simulated(self.simulation, model, key, (None, self.log_observed.shape[1]))
        _, S = psd(x, self.dt, self.segment)
        M = averages(x.shape[0], self.dt, self.segment)
        error = jnp.log(S[np.array(self.bins)]) - log_bias(M) - self.log_observed
        if self.scale_free:
            error = error - jnp.mean(error, axis=0, keepdims=True)
        return error / math.sqrt(log_variance(M) + log_variance(self.averages))

    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        return separable(jacobian, residuals, bin_correlation(self.dt, self.segment))


def _spectrum(observed: Any, dt: float, segment: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Frequencies, densities [frequency, channel] and the number of averages, from a recording or given."""
    if isinstance(observed, tuple):
        return _given(observed, segment)
    x = as_measurement(observed, "LogSpectralLoss")
    f_hz, S = psd(x - jnp.mean(x, axis=0, keepdims=True), dt, segment)
    return f_hz, np.asarray(S, float), averages(x.shape[0], dt, 1000.0 / float(f_hz[1]))


def _given(observed: tuple[Any, ...], segment: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    if len(observed) != 3:
        raise ValueError(
            f"LogSpectralLoss: observed is a tuple of {len(observed)}; wanted (f_hz, S, averages), or a recording."
        )
    f_hz, S = np.asarray(observed[0], float), np.asarray(observed[1], float)
    S = S[:, None] if S.ndim == 1 else S
    steps = np.diff(f_hz, axis=0)
    if (
        f_hz.ndim != 1
        or S.shape[:1] != f_hz.shape
        or not steps.size
        or not np.allclose(steps, abs(steps[0]), rtol=1e-4)
    ):
        raise ValueError(
            f"LogSpectralLoss: f_hz has shape {f_hz.shape}, S {S.shape}; wanted evenly spaced f_hz [frequency] and "
            "S [frequency, channel]."
        )
    if segment is not None and not np.isclose(segment * steps[0], 1000.0, rtol=1e-3):
        raise ValueError(
            f"LogSpectralLoss: segment = {segment} ms, but f_hz is {steps[0]:g} Hz apart: {1000 / steps[0]:g} ms."
        )
    return f_hz, S, float(observed[2])


def _in_band(f_hz: np.ndarray, band: tuple[float, float] | None, dt: float) -> np.ndarray:
    low, high = (0.0, np.inf) if band is None else band
    inside = (f_hz >= low) & (f_hz <= high) & (f_hz > 0) & (f_hz < 500.0 / dt * (1 - 1e-9))
    if not inside.any():
        raise ValueError(
            f"LogSpectralLoss: no frequency in band {low} to {high} Hz; there are {f_hz[1]:g} to {f_hz[-1]:g} Hz, "
            f"{f_hz[1] - f_hz[0]:g} Hz apart."
        )
    return inside


def _log(S: np.ndarray) -> np.ndarray:
    silent = np.flatnonzero(~np.all(S > 0, axis=0))
    if silent.size:
        raise ValueError(
            f"LogSpectralLoss: channel {silent.tolist()} has no power (or NaN) somewhere in the band; leave it out."
        )
    return np.log(S)
