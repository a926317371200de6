"""Reductions: statistics folded inside the loop, so that memory does not grow with time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jnm._model import State


class Reduction(NamedTuple):
    """A statistic of the saved states, folded one state at a time.

    `init(y0)` makes the accumulator, `update(folded, t, y)` takes in one state, `finish(folded)` gives the result,
    which `simulate` returns as `Solution.ys`. One that counts on a sampling interval says so in `dt` (ms).

        >>> largest = jnm.Reduction(lambda y: y.r, lambda m, t, y: jnp.maximum(m, y.r), lambda m: m)
    """

    init: Callable[[State], Any]
    update: Callable[[Any, Array, State], Any]
    finish: Callable[[Any], Any]
    dt: float | None = None


class Moments(NamedTuple):
    """Mean [variable] and unbiased covariance [variable, variable] of `count` samples."""

    mean: Array
    covariance: Array
    count: Array


def running_covariance(observe: Callable[[State], Array]) -> Reduction:
    """Mean and covariance of `observe(y)`, a vector, by Welford's update; the result is a `Moments`.

        >>> sol = jnm.simulate(net, 10_000.0, 0.1, key=key, save=running_covariance(lambda y: y.r[0]), discard=500.0)

    Raises `ValueError` when `observe` gives anything but a vector.
    """

    def init(y):
        x = jnp.zeros_like(observe(y))
        if x.ndim != 1:
            raise ValueError(f"running_covariance: observe gives shape {list(x.shape)}; wanted a vector, [variable].")
        return x, x, jnp.zeros((x.size, x.size), x.dtype), jnp.zeros((), jnp.int32)

    def update(folded, t, y):
        first, mean, scatter, count = folded
        x = observe(y)
        first = jnp.where(count == 0, x, first)  # a mean far from zero would be too coarse to move
        step = (x - first) - mean
        mean = mean + step / (count + 1)
        return first, mean, scatter + jnp.outer(step, (x - first) - mean), count + 1

    def finish(folded):
        first, mean, scatter, count = folded
        return Moments(first + mean, scatter / jnp.maximum(count - 1, 1), count)

    return Reduction(init, update, finish)


class Spectrum(NamedTuple):
    """Frequencies in Hz, one-sided densities per Hz [frequency, ...] and the number of averaged segments."""

    f_hz: Array
    psd: Array
    n_segments: Array


def running_welch(observe: Callable[[State], Array], dt: float, segment: int) -> Reduction:
    """Welch's spectrum of `observe(y)`, saved every `dt` ms, from Hann segments of `segment` samples, half overlapping.

        >>> spectrum = running_welch(lambda y: y.v, dt=1.0, segment=1024)
        >>> sol = jnm.simulate(net, 10_000.0, 0.1, key=key, save_every=1.0, save=spectrum)

    Equal to `scipy.signal.welch(x, 1000 / dt, nperseg=segment)` over the same samples (constant detrending). Raises
    `ValueError` for a segment that is not an even number of at least 8 samples, and in `simulate` when `save_every` is
    not `dt`.
    """
    if segment < 8 or segment % 2:
        raise ValueError(f"running_welch: segment = {segment} samples; wanted an even number, at least 8.")

    def init(y):
        x = observe(y)
        kept = jnp.zeros((segment, *x.shape), x.dtype)
        return kept, jnp.zeros((segment // 2 + 1, *x.shape), x.dtype), jnp.zeros((), jnp.int32)

    def update(folded, t, y):
        kept, total, count = folded
        kept = jnp.asarray(kept).at[count % segment].set(observe(y))
        count = count + 1
        full = (count >= segment) & (count % (segment // 2) == 0)
        new = jax.lax.cond(full, lambda k: _power(jnp.roll(k, -count, axis=0), dt), lambda k: 0 * total, kept)
        return kept, total + new, count

    def finish(folded):
        _, total, count = folded
        segments = jnp.maximum(count // (segment // 2) - 1, 0)
        return Spectrum(jnp.fft.rfftfreq(segment, dt * 1e-3), total / jnp.maximum(segments, 1), segments)

    return Reduction(init, update, finish, dt)


def _power(samples: Array, dt: float) -> Array:
    """One-sided density per Hz of one segment, time first: mean removed, Hann window."""
    length, lead = samples.shape[0], (-1, *(1,) * (samples.ndim - 1))
    window = (0.5 - 0.5 * jnp.cos(2 * jnp.pi * jnp.arange(length) / length)).astype(samples.dtype)
    tapered = (samples - samples.mean(axis=0, keepdims=True)) * window.reshape(lead)
    sided = jnp.full(length // 2 + 1, 2.0, samples.dtype).at[jnp.array([0, -1])].set(1.0)
    return jnp.abs(jnp.fft.rfft(tapered, axis=0)) ** 2 * sided.reshape(lead) / (jnp.sum(window**2) * 1000.0 / dt)
