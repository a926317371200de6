r"""Comparing two signals: spectra averaged over runs, median frequency, chi-square, correlation and lag.

    chi^2     sum_f (P - Q)^2 / (P + Q),   P and Q scaled to sum 1:  0 for the same shape, 2 for no frequency in common
    rho(tau)  Pearson's correlation of x(t) and y(t + tau) where both are known; y LAGS x by the tau of its maximum, so
              that with x of the spiking network and y of the mass model a positive lag says that the mass is late

Scaled to counts C instead of 1, chi^2 is C times as large; the source leaves C open, so no critical value is given
here. Two independent spectra of one process, each the average of R periodograms, have the mean 2 / (2 R + 1).

Deschle N, Ignacio Gossn J, Tewarie P, Schelter B, Daffertshofer A (2021) On the validity of neural mass models. Front
Comput Neurosci 14:581040. Bartlett MS (1946) On the theoretical specification and sampling properties of
autocorrelated time-series. J R Stat Soc Suppl 8:27-41.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jnm.observe.checks import as_samples, check_alike, check_varies

_ROUNDING = 1e3  # in units of eps: the share of a record's power below which an overlap has none


class RunSpectrum(NamedTuple):
    """A spectrum averaged over runs: see `run_spectrum`."""

    frequencies: Float[np.ndarray, " frequency"]
    """Hz, without 0."""
    density: Float[Array, "frequency ..."]
    """One-sided, in the unit of x squared per Hz."""
    standard_error: Float[Array, "frequency ..."]
    """Of the density, from the scatter over runs; of a single run the density itself, whose law is exponential."""


def run_spectrum(x: Float[Array, "time run ..."], dt: float) -> RunSpectrum:
    """Power spectral density of whole runs under a Hamming window, averaged over the runs, without 0 Hz.

        >>> f_hz, S, error = jnm.observe.run_spectrum(mean_voltage, dt=0.1)      # [time, run] -> [frequency]

    The mean of each run is taken off first. Differentiable. For one long record use `psd`.

    **Arguments**

    - `x`: samples, time first, then runs, any axes after them.
    - `dt`: time between samples, ms.

    Raises `ValueError` for samples without an axis of runs, or dt that is not positive. Deschle et al. (2021).
    """
    x = as_samples("run_spectrum", x, "[time, run, ...]")
    if x.ndim < 2 or not x.shape[1] or not dt > 0:
        raise ValueError(f"run_spectrum: shape {x.shape}, dt = {dt} ms; wanted [time, run, ...] and a positive dt.")
    samples, runs = x.shape[:2]
    taper = np.hamming(samples)
    scale = np.full(samples // 2 + 1, 2.0 * dt / 1000.0 / np.sum(taper**2))
    if samples % 2 == 0:
        scale[-1] /= 2
    spectra = jnp.fft.rfft((x - jnp.mean(x, axis=0, keepdims=True)) * _down(taper, x), axis=0)
    each = ((spectra.real**2 + spectra.imag**2) * _down(scale, x))[1:]
    density = jnp.mean(each, axis=1)
    error = jnp.std(each, axis=1, ddof=1) / np.sqrt(runs) if runs > 1 else density
    return RunSpectrum(np.fft.rfftfreq(samples, dt / 1000.0)[1:], density, error)


def median_frequency(f_hz: Float[np.ndarray, " frequency"], S: Float[Array, "frequency ..."]) -> Float[Array, "..."]:
    """The smallest frequency, Hz, below or at which at least half of the power lies.

        >>> f_hz, S, _ = jnm.observe.run_spectrum(mean_voltage, dt=0.1)
        >>> jnm.observe.median_frequency(f_hz, S)

    One of the given frequencies, so as a function of S it is a staircase without a gradient. Whether 0 Hz counts is up
    to you: `psd` returns it, `run_spectrum` does not.

    Raises `ValueError` if S has not as many frequencies as f_hz, holds negative values, or no power at all.
    """
    S = _spectrum("median_frequency", S)
    if len(f_hz) != S.shape[0]:
        raise ValueError(f"median_frequency: {len(f_hz)} frequencies for a spectrum of shape {S.shape}.")
    cumulative = jnp.cumsum(S, axis=0)
    return jnp.asarray(f_hz, S.dtype)[jnp.argmax(cumulative >= cumulative[-1:] / 2, axis=0)]


def chi_square(P: Float[Array, "frequency ..."], Q: Float[Array, "frequency ..."]) -> Float[Array, "..."]:
    """How far the shapes of two spectra differ: sum (P - Q)^2 / (P + Q), both scaled to sum 1; from 0 to 2.

        >>> jnm.observe.chi_square(run_spectrum(lif, dt).density, run_spectrum(mass, dt).density)

    Differentiable; frequencies without power in both count for nothing. What chance makes of it: `chi_square_chance`.

    Raises `ValueError` for shapes that differ, negative values, or no power. Deschle et al. (2021), eq. 25.
    """
    P, Q = _spectrum("chi_square", P), _spectrum("chi_square", Q)
    check_alike("chi_square", P=P, Q=Q)
    P, Q = P / jnp.sum(P, axis=0, keepdims=True), Q / jnp.sum(Q, axis=0, keepdims=True)
    either = P + Q > 0
    return jnp.sum(jnp.where(either, (P - Q) ** 2 / jnp.where(either, P + Q, 1.0), 0.0), axis=0)


def chi_square_chance(runs: int) -> float:
    """Mean of `chi_square` for two independent spectra of one process, each averaged over `runs`: 2 / (2 runs + 1).

    For periodograms, whose ordinates are exponential: (P - Q) / (P + Q) of two Gamma variables of shape R has the
    variance 1 / (2 R + 1).

        >>> jnm.observe.chi_square_chance(10)
        0.0952...

    Raises `ValueError` for fewer than one run.
    """
    if runs < 1:
        raise ValueError(f"chi_square_chance: runs = {runs}; wanted 1 or more.")
    return 2 / (2 * runs + 1)


def cross_correlation(
    x: Float[Array, "time ..."], y: Float[Array, "time ..."], dt: float, longest: float = 100.0
) -> tuple[Float[np.ndarray, " lag"], Float[Array, "lag ..."]]:
    """rho(tau) = corr(x(t), y(t + tau)) for lags from -longest to longest; a peak at tau > 0 says that y lags x.

        >>> lags_ms, rho = jnm.observe.cross_correlation(lif, mass, dt=0.1)

    At each lag Pearson's correlation over the times known of both, with their own means and variances. (Divided by
    the length of the whole record instead, it would fall with |tau| and move the peak towards 0.) It is 0 at lags at
    which one of them stands still in all of these times. Differentiable.

    **Arguments**

    - `x`, `y`: samples, time first, alike in shape.
    - `dt`: time between samples, ms.
    - `longest`: the largest lag either way, ms.

    **Returns** the lags in ms and rho. Raises `ValueError` for shapes that differ, series that are constant, or a record
    shorter than twice the longest lag.
    """
    x, y = as_samples("cross_correlation", x), as_samples("cross_correlation", y)
    check_alike("cross_correlation", x=x, y=y)
    check_varies("cross_correlation", x)
    check_varies("cross_correlation", y)
    most = _longest("cross_correlation", x.shape[0], dt, longest)
    return np.arange(-most, most + 1) * dt, _correlation(x, y, most)


class Lag(NamedTuple):
    """By how much one signal lags another, and how alike they are then: see `lag`."""

    lag: Float[Array, "..."]
    """ms; positive: the second signal is late."""
    correlation: Float[Array, "..."]
    """The largest correlation at a lag of whole samples."""
    effective_samples: Float[Array, "..."]
    """How many independent samples the record is worth to a correlation of these two: see `effective_samples`."""
    standard_error: Float[Array, "..."]
    """Of atanh(correlation) at a given lag, 1 / sqrt(effective samples - 3) (Fisher); infinite for 3 or fewer."""


def lag(x: Float[Array, "time ..."], y: Float[Array, "time ..."], dt: float, longest: float = 100.0) -> Lag:
    """The lag of y behind x at which they correlate most, and the correlation there.

        >>> jnm.observe.lag(lif, mass, dt=0.1).lag               # positive: the mass model lags

    The lag is finer than a sample: the summit of the parabola through the largest correlation and its two neighbours.
    For signals sampled ten times a period or more that is right to 0.01 of a sample, less what noise adds; at either
    end of the range, where there is no neighbour, it is whole samples. The largest of many correlations is biased
    upwards: the standard error is that of one lag chosen beforehand. Differentiable where the peak does not jump.

    Arguments and errors as in `cross_correlation`.
    """
    lags_ms, rho = cross_correlation(x, y, dt, longest)
    peak = jnp.argmax(rho, axis=0)
    inner = jnp.clip(peak, 1, len(rho) - 2)

    def at(index):
        return jnp.take_along_axis(rho, index[None], axis=0)[0]

    before, top, after = at(inner - 1), at(inner), at(inner + 1)
    bend = before - 2 * top + after
    curved = (peak == inner) & (bend < 0)
    offset = jnp.where(curved, (before - after) / (2 * jnp.where(curved, bend, -1.0)), 0.0)
    worth = effective_samples(x, y, dt, longest)
    error = 1 / jnp.sqrt(jnp.maximum(worth - 3, 0.0))
    return Lag(jnp.asarray(lags_ms, rho.dtype)[peak] + offset * dt, at(peak), worth, error)


def effective_samples(
    x: Float[Array, "time ..."], y: Float[Array, "time ..."], dt: float, longest: float = 100.0
) -> Float[Array, "..."]:
    """How many independent samples n autocorrelated ones are worth to the correlation of x and y (Bartlett 1946).

        n_eff = n / max(1, sum_k (1 - |k| / n) rho_xx(k) rho_yy(k)),    |k| dt <= longest

        >>> 1 / jnp.sqrt(jnm.observe.effective_samples(lif, mass, dt=0.1) - 3)      # standard error of atanh(rho)

    For x and y that are unrelated, so for testing that they are. `longest`, ms, should exceed the memory of the signals
    and stay far below the record. Arguments and errors as in `cross_correlation`.
    """
    _, xx = cross_correlation(x, x, dt, longest)
    lags_ms, yy = cross_correlation(y, y, dt, longest)
    samples = len(x)
    share = _down(1 - np.abs(lags_ms) / (samples * dt), xx)
    return samples / jnp.maximum(1.0, jnp.sum(share * xx * yy, axis=0))


@partial(jax.jit, static_argnums=2)
def _correlation(x: Array, y: Array, most: int) -> Float[Array, "lag ..."]:
    """Pearson's correlation of x[t] and y[t + lag] over the times that both have, for lags from -most to most."""
    samples, lags = x.shape[0], np.arange(-most, most + 1)
    x, y = _unit(x), _unit(y)
    size = 2 * samples  # padded, so that nothing wraps round
    product = jnp.fft.irfft(jnp.fft.rfft(x, size, axis=0).conj() * jnp.fft.rfft(y, size, axis=0), size, axis=0)
    sums_x, sums_y = _overlap_sums(x, lags), _overlap_sums(y, -lags)
    squares_x, squares_y = _overlap_sums(x**2, lags), _overlap_sums(y**2, -lags)
    n = _down(samples - np.abs(lags), x)
    covariance = product[lags] - sums_x * sums_y / n
    power_x, power_y = squares_x - sums_x**2 / n, squares_y - sums_y**2 / n
    least = _ROUNDING * jnp.finfo(x.dtype).eps * samples
    moves = (power_x > least) & (power_y > least)  # what is left of other lags is rounding
    rho = jnp.where(moves, covariance / jnp.sqrt(jnp.where(moves, power_x * power_y, 1.0)), 0.0)
    return jnp.clip(rho, -1.0, 1.0)  # rounding would make a copy's 1.0000001, and its atanh NaN


def _unit(x: Array) -> Array:
    """Without mean and of variance 1: squares of small units, such as tesla, would underflow in single precision."""
    x = x - jnp.mean(x, axis=0, keepdims=True)
    x = x / jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=0, keepdims=True))
    return x / jax.lax.stop_gradient(jnp.sqrt(jnp.mean(x**2, axis=0, keepdims=True)))


def _overlap_sums(x: Array, lags: np.ndarray) -> Float[Array, "lag ..."]:
    """Sum of x over the times t for which t + lag lies in the record: all but the last lags, or the first -lags."""
    most = int(np.max(np.abs(lags)))
    nothing = jnp.zeros_like(x[:1])
    first = jnp.concatenate([nothing, jnp.cumsum(x[:most], axis=0)])
    last = jnp.concatenate([nothing, jnp.cumsum(x[::-1][:most], axis=0)])
    left_out = jnp.where(_down(lags, x) > 0, last[np.abs(lags)], first[np.abs(lags)])
    return jnp.sum(x, axis=0, keepdims=True) - left_out


def _longest(who: str, samples: int, dt: float, longest: float) -> int:
    """The longest lag in samples."""
    most = int(longest / dt + 1e-9) if dt > 0 else 0
    if most < 1 or 2 * most > samples:
        raise ValueError(
            f"{who}: lags up to {longest:g} ms of samples {dt:g} ms apart in a record of {samples * dt:g} ms; wanted "
            "a positive dt, at least one sample of lag, and a record of at least twice the longest lag."
        )
    return most


def _spectrum(who: str, S: Array) -> Float[Array, "frequency ..."]:
    S = as_samples(who, S, "[frequency, ...]")
    if isinstance(S, Tracer):
        return S
    values = np.asarray(S)
    if not (np.all((values >= 0) & (values < np.inf)) and np.all(np.sum(values, axis=0) > 0)):
        raise ValueError(
            f"{who}: a spectrum with negative or infinite values, NaN or no power; wanted densities, as from `psd`."
        )
    return S


def _down(values: np.ndarray, like: Array) -> Array:
    """Values along the first axis, ready to multiply an array of as many axes as `like`."""
    return jnp.asarray(values, like.dtype).reshape((-1,) + (1,) * (like.ndim - 1))
