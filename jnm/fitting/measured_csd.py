"""Measured cross-spectra as `WhittleLoss` wants them: which frequencies count, what tapers did, which components."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm.fitting.loss import as_measurement, check_band
from jnm.meg.leadfield import LeadField
from jnm.meg.whitening import whitener
from jnm.observe.spectrum import averages, bin_correlation, csd

_SPAN = 4  # bins to either side that a taper reaches: of a Hann taper, all but 2e-5 of the power
_SAMPLES = 512  # of a taper's shape
_CORRELATED = 200  # segments, from which the correlation of frequencies is that of many


class Measured(NamedTuple):
    """Cross-spectra at the frequencies that count."""

    f_hz: np.ndarray
    bins: tuple[int, ...]
    S: np.ndarray
    averages: float
    segment: float
    correlation: np.ndarray


class Sensing(NamedTuple):
    """Lead (a matrix, a function or None) and the noise of channels [frequency, channel, channel]."""

    lead: Any
    noise: np.ndarray


class Taper(eqx.Module):
    """What a taper makes of a spectrum: int S(f') |W(f - f')|^2 df', summed at `smear` points a bin."""

    bins: tuple[int, ...] = eqx.field(static=True)
    segment: float = eqx.field(static=True)
    window: str = eqx.field(static=True)
    smear: int = eqx.field(static=True)

    def __check_init__(self):
        if not (isinstance(self.smear, int) and self.smear >= 1):
            raise ValueError(f"WhittleLoss: smear = {self.smear!r}; wanted a whole number of points a bin, 1 or more.")

    @property
    def f_hz(self) -> np.ndarray:
        """The frequencies that count, Hz."""
        return np.array(self.bins) * 1000.0 / self.segment

    @property
    def fine_hz(self) -> np.ndarray:
        """The frequencies, of either sign, at which the unsmeared spectrum is wanted."""
        return self._places[0] * 1000.0 / self.segment / self.smear

    def smeared(self, S: Complex[Array, "fine k k"]) -> Complex[Array, "frequency k k"]:
        """The expectation of what is measured, from the spectrum at `fine_hz`."""
        _, index, weights = self._places
        return jnp.einsum("fokl,o->fkl", S[index], jnp.asarray(weights, S.real.dtype).astype(S.dtype))

    @property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fine frequencies (in steps), which of them each bin takes [frequency, offset], and their weights."""
        offsets = np.arange(-_SPAN * self.smear, _SPAN * self.smear + 1) if self.smear > 1 else np.zeros(1, int)
        wanted = np.array(self.bins)[:, None] * self.smear + offsets
        fine, index = np.unique(wanted, return_inverse=True)
        weights = _leakage(self.window, offsets / self.smear) if self.smear > 1 else np.ones(1)
        return fine, index.reshape(wanted.shape), weights


def measured(observed, dt, band, exclude, segment, window, overlap, *, who: str = "WhittleLoss") -> Measured:
    """Cross-spectra at the frequencies that count, from a recording or given. Raises `ValueError`, see `WhittleLoss`."""
    if isinstance(observed, tuple):
        f_hz, S, M = _given(observed, who)
    else:
        if dt is None:
            raise ValueError(f"{who}: a recording [time, channel] wants dt=, the time between its samples in ms.")
        x = np.asarray(as_measurement(observed, who), float)
        f_hz, S = csd(jnp.asarray(x - x.mean(axis=0)), dt, segment, window=window, overlap=overlap)
        f_hz, S = f_hz, np.asarray(S, complex)
        M = averages(len(x), dt, 1000.0 / f_hz[1], window=window, overlap=overlap)
    length = 1000.0 / float(f_hz[1] - f_hz[0])
    if segment is not None and not np.isclose(segment, length, rtol=1e-3):
        raise ValueError(f"{who}: segment = {segment} ms, but f_hz is {1000 / length:g} Hz apart: {length:g} ms.")
    check_band(band, dt, who)
    low, high = (0.0, np.inf) if band is None else band
    inside = (f_hz >= low) & (f_hz <= high) & (f_hz > 0)
    if dt is not None:
        inside &= f_hz < 500.0 / dt * (1 - 1e-9)
    elif band is None:
        inside[-1] = False
    for start, stop in exclude:
        inside &= (f_hz < start) | (f_hz > stop)
    if not inside.any():
        raise ValueError(f"{who}: no frequency counts of {f_hz[0]:g} to {f_hz[-1]:g} Hz, {1000 / length:g} Hz apart.")
    S = (S + S.conj().swapaxes(1, 2)) / 2
    if not np.all(np.isfinite(S[inside])) or not np.all(np.einsum("fii->fi", S[inside]).real > 0):
        raise ValueError(f"{who}: the measured spectra have values that are not finite, or a channel without power.")
    bins = tuple(np.rint(f_hz[inside] * length / 1000.0).astype(int).tolist())
    hop = length / _SAMPLES
    correlation = bin_correlation(hop, length, overlap=overlap, window=window)
    return Measured(np.array(bins) * 1000.0 / length, bins, S[inside], float(M), length, correlation)


def sensing(lead: Any, noise: Any, f_hz: np.ndarray, channels: int) -> Sensing:
    """The lead as a matrix, if it is one, and the noise of each frequency, checked against the number of channels."""
    matrix = lead.gain if isinstance(lead, LeadField) else lead
    if matrix is not None and not callable(matrix):
        matrix = jnp.asarray(matrix, float)
        if matrix.ndim != 2 or len(matrix) != channels:
            raise ValueError(
                f"WhittleLoss: the lead field has shape {list(matrix.shape)}, the recording {channels} channels; wanted "
                "[channel, region], of fixed orientation."
            )
    density = np.asarray(0.0 if noise is None else noise(f_hz) if callable(noise) else noise, float)
    densities = density if callable(noise) and density.shape[:1] == f_hz.shape else np.broadcast_to(
        density, (len(f_hz), *density.shape)
    )  # fmt: skip
    one = densities.shape[1:]
    if one not in ((), (channels,), (channels, channels)) or not np.all(np.isfinite(densities)):
        raise ValueError(
            f"WhittleLoss: noise has shape {list(one)}; wanted a number, [{channels}] or [{channels}, {channels}]."
        )
    if one == () and isinstance(lead, LeadField) and len(units := sorted(set(lead.units))) > 1 and np.any(density):
        raise ValueError(
            f"WhittleLoss: one density of noise for channels of different units ({', '.join(units)}); wanted one of each "
            "channel, [channel] or [channel, channel], as jnm.meg.SensorNoise has them."
        )
    if len(one) < 2:
        densities = np.broadcast_to(densities.reshape(len(f_hz), -1), (len(f_hz), channels))[:, :, None] * np.eye(
            channels
        )
    if np.min(np.einsum("fii->fi", densities)) < 0:
        raise ValueError("WhittleLoss: noise is a density, in squared units per Hz; some of it is negative.")
    return Sensing(matrix, densities)


def projection(seeing: Sensing, components: int) -> Float[np.ndarray, "component channel"] | None:
    """U^T S_n^-1/2: whitened by the noise, in its rank, projected on what regions reach most.

    None without noise or a matrix; raises `ValueError` for a channel without noise among others that have some.
    """
    mean = seeing.noise.mean(axis=0)
    if components < 1:
        raise ValueError(f"WhittleLoss: components = {components}; wanted 1 or more.")
    if seeing.lead is None or callable(seeing.lead) or not np.any(mean):
        return None
    channels = len(mean)
    whiten = whitener(mean, np.zeros((0, channels)), [f"channel {i}" for i in range(channels)])
    U, size, _ = np.linalg.svd(whiten @ np.asarray(seeing.lead, float), full_matrices=False)
    rank = int(np.sum(size > 1e-10 * size[0]))
    return U[:, : min(components, rank)].T @ whiten


def _given(observed: tuple[Any, ...], who: str) -> tuple[np.ndarray, np.ndarray, float]:
    if len(observed) != 3:
        raise ValueError(f"{who}: observed is a tuple of {len(observed)}; wanted (f_hz, S, averages), or a recording.")
    f_hz, S = np.asarray(observed[0], float), np.asarray(observed[1], complex)
    S = S[:, None, None] if S.ndim == 1 else S
    steps = np.diff(f_hz) if f_hz.ndim == 1 else np.zeros(0)
    even = steps.size and np.allclose(steps, steps[0], rtol=1e-4)
    if not even or S.ndim != 3 or S.shape[1] != S.shape[2] or len(S) != len(f_hz) or not float(observed[2]) > 0:
        raise ValueError(
            f"{who}: f_hz has shape {f_hz.shape}, S {S.shape}, averages {observed[2]}; wanted evenly spaced f_hz "
            "[frequency], S [frequency, channel, channel] (or [frequency] of one channel) and a number above zero."
        )
    return f_hz, S, float(observed[2])


def _leakage(window: str, offsets: np.ndarray) -> np.ndarray:
    """|W|^2 of a taper, offsets in bins; sums to one."""
    from scipy.signal import get_window

    n = np.arange(_SAMPLES)
    transform = np.exp(-2j * np.pi * offsets[:, None] * n / _SAMPLES) @ get_window(window, _SAMPLES)
    power = np.abs(transform) ** 2
    return power / power.sum()
