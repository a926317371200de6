r"""Spectra by Welch's method: tapered, overlapping segments, averaged; one-sided densities per Hz.

    S(f) = 2 / (f_s sum_n w_n^2) < |sum_n w_n (x_n - mean x) exp(-2 pi i f n / f_s)|^2 >_segments       (1 at DC and
    Nyquist)

An average over M independent segments scatters as chi^2 with 2 M degrees of freedom, so its logarithm has the bias
b_M = psi(M) - log M and the variance psi'(M). Overlapping segments are not independent: with rho_j the correlation of
two tapers j hops apart, K of them are worth M = K / (1 + 2 sum_j (1 - j/K) rho_j^2).

Welch PD (1967) The use of fast Fourier transform for the estimation of power spectra. IEEE Trans Audio Electroacoust
15:70-73.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

_COSINES = {"boxcar": (1.0,), "hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


def psd(
    x: Float[Array, "time ..."],
    dt: float,
    segment: float | None = None,
    *,
    overlap: float = 0.5,
    window: str = "hann",
    detrend: bool = True,
) -> tuple[Float[np.ndarray, " frequency"], Float[Array, "frequency ..."]]:
    """Power spectral density, one-sided, in the unit of x squared per Hz (Welch; see the head of this file).

        >>> f_hz, S = jnm.observe.psd(field, dt=1.0, segment=1_000.0)  # [time, channel] -> [frequency, channel]

    Differentiable; equal to `scipy.signal.welch(x, 1000 / dt, nperseg=segment / dt, axis=0)`.

    **Arguments**

    - `x`: samples, time first, any axes after it.
    - `dt`: time between samples, ms.
    - `segment`: length of a segment, ms; frequencies are 1000 / segment Hz apart. By default as long as makes eight
      half-overlapping segments.
    - `overlap`: share of a segment that it has in common with the next, from 0 to below 1.
    - `window`: "hann", "hamming" or "boxcar".
    - `detrend`: whether to subtract each segment's mean.

    **Returns** frequencies in Hz (NumPy, float64) and S.

    Raises `ValueError` if x is shorter than a segment, if it is not real, or for impossible arguments.
    """
    plan, spectra = _spectra(x, dt, segment, overlap, window, detrend)
    power = jnp.mean(spectra.real**2 + spectra.imag**2, axis=0)
    return plan.frequencies, power * _over(plan.scale, power)


def csd(
    x: Float[Array, "time ... channel"],
    dt: float,
    segment: float | None = None,
    *,
    overlap: float = 0.5,
    window: str = "hann",
    detrend: bool = True,
) -> tuple[Float[np.ndarray, " frequency"], Complex[Array, "frequency ... channel channel"]]:
    """Cross-spectral density S_ij(f) = <X_i conj(X_j)>, one-sided, per Hz: Hermitian, with `psd` on its diagonal.

    S_ij has a positive phase where channel i leads channel j, and y = G x has S_y = G S_x G^H. Arguments as in `psd`;
    SciPy's `csd(x_j, x_i)` is the element [i, j].

        >>> f_hz, S = jnm.observe.csd(field, dt=1.0, segment=1_000.0)
    """
    if jnp.ndim(x) < 2:
        raise ValueError(f"csd: x has shape {jnp.shape(x)}; wanted [time, ..., channel].")
    plan, spectra = _spectra(x, dt, segment, overlap, window, detrend)
    # In full precision on every device: cross-spectra are small differences of large products.
    density = jnp.einsum("sf...i,sf...j->f...ij", spectra, spectra.conj(), precision="highest") / len(spectra)
    return plan.frequencies, density * _over(plan.scale, density)


def averages(
    samples: int, dt: float, segment: float | None = None, *, overlap: float = 0.5, window: str = "hann"
) -> float:
    """How many independent segments the average over the overlapping ones of a record is worth: M of the file's head.

    >>> jnm.observe.averages(60_000, dt=1.0, segment=1_000.0)      # one minute, 119 Hann segments that half overlap
    112.78...
    """
    plan = _plan(samples, dt, segment, overlap, window)
    return plan.count / _in_common(plan, 0)


def bin_correlation(
    dt: float, segment: float, *, overlap: float = 0.5, window: str = "hann"
) -> Float[np.ndarray, " lag"]:
    """Correlation of a spectrum's estimates 0, 1, 2 and 3 frequencies apart, which tapers bring about (many segments).

    >>> jnm.observe.bin_correlation(dt=1.0, segment=1_000.0)
    array([1.        , 0.458..., 0.039..., 0.001...])
    """
    plan = _plan(round(100 * segment / dt), dt, segment, overlap, window)
    common = [_in_common(plan, lag) for lag in range(min(4, len(plan.frequencies)))]
    return np.array(common) / common[0]


def log_bias(averages: float) -> float:
    """b_M = psi(M) - log M: how far the logarithm of a spectrum of M averages lies off that of its expectation.

    >>> jnm.observe.log_bias(5)
    -0.103...
    """
    from scipy.special import digamma

    return float(digamma(averages) - math.log(averages))


def log_variance(averages: float) -> float:
    """psi'(M): the variance of the logarithm of a spectrum of M averages."""
    from scipy.special import polygamma

    return float(polygamma(1, averages))


class _Plan(NamedTuple):
    window: np.ndarray
    hop: int
    count: int
    frequencies: np.ndarray
    scale: np.ndarray


def _plan(samples: int, dt: float, segment: float | None, overlap: float, window: str) -> _Plan:
    if not dt > 0:
        raise ValueError(f"psd: dt = {dt} ms; the time between samples must be positive.")
    if not 0 <= overlap < 1:
        raise ValueError(f"psd: overlap = {overlap}; wanted a share of the segment, 0 <= overlap < 1.")
    if window not in _COSINES:
        raise ValueError(f"psd: window = {window!r}; known are {', '.join(_COSINES)}.")
    length = int(samples / (1 + 7 * (1 - overlap))) if segment is None else round(segment / dt)
    if not 2 <= length <= samples:
        raise ValueError(
            f"psd: segments of {length} samples ({length * dt:g} ms) in a record of {samples} samples "
            f"({samples * dt:g} ms); wanted at least 2 samples a segment and one whole segment. A resolution of 1 Hz "
            "takes 1000 ms: record longer, or take a shorter segment (ms) and with it a coarser resolution."
        )
    taper = _taper(window, length)
    hop = length - int(overlap * length + 1e-9)  # rounded down as in SciPy
    one_sided = np.full(length // 2 + 1, 2.0)
    one_sided[0] = 1.0
    if length % 2 == 0:
        one_sided[-1] = 1.0
    rate = 1000.0 / dt
    scale = one_sided / (rate * np.sum(taper**2))
    return _Plan(taper, hop, (samples - length) // hop + 1, np.fft.rfftfreq(length, 1 / rate), scale)


def _in_common(plan: _Plan, lag: int) -> float:
    """sum_j (1 - |j|/K) |rho_j(lag)|^2 over hops j; rho_j(lag) correlates tapers j hops and `lag` frequencies apart."""
    w, K = plan.window, plan.count
    turned = w * np.exp(-2j * np.pi * lag * np.arange(len(w)) / len(w))
    shifts = np.arange(0, min(len(w), K * plan.hop), plan.hop)
    rho = np.array([w[s:] @ turned[: len(w) - s] for s in shifts]) / (w @ w)
    shares = np.where(shifts == 0, 1.0, 2.0) * (1 - shifts / plan.hop / K)
    return float(np.sum(shares * np.abs(rho) ** 2))


def _taper(window: str, length: int) -> np.ndarray:
    """Periodic, as spectra want it: the sample after the last would be the first again."""
    angle = 2 * np.pi * np.arange(length) / length
    return sum((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(_COSINES[window])) * np.ones(length)


def _spectra(x, dt, segment, overlap, window, detrend) -> tuple[_Plan, Complex[Array, "segment frequency ..."]]:
    x = jnp.asarray(x)
    if x.ndim == 0 or jnp.iscomplexobj(x):
        raise ValueError(f"psd: x has shape {x.shape} and dtype {x.dtype}; wanted real samples, time first.")
    x = x.astype(jnp.result_type(x.dtype, float))
    plan = _plan(x.shape[0], dt, segment, overlap, window)
    index = plan.hop * np.arange(plan.count)[:, None] + np.arange(len(plan.window))
    pieces = x[index]
    if detrend:
        pieces = pieces - jnp.mean(pieces, axis=1, keepdims=True)
    return plan, jnp.fft.rfft(pieces * _over(plan.window, pieces[0])[None], axis=1)


def _over(values: np.ndarray, like: Array) -> Array:
    """Values along the first axis of `like`, in its precision, ready to multiply it."""
    return jnp.asarray(values, like.real.dtype).reshape((-1,) + (1,) * (like.ndim - 1))
