r"""Cross-frequency coupling: does the phase of a slow rhythm set the amplitude of a fast one? Tort's modulation index.

    p_k = <A>_k / sum_j <A>_j          <A>_k the mean amplitude over the times at which the phase lies in bin k of N
    MI  = (log N + sum_k p_k log p_k) / log N

is 0 when the amplitude is the same at every phase and 1 when all of it falls into one bin. MI is never 0 for a record
of finite length, and filters make some of it themselves, so it is judged against surrogates: the same two series with
one of them turned round in time, which keeps both spectra and undoes what they had to do with each other.

The band of the amplitude must be at least twice as wide as the frequency of the phase, else its envelope cannot hold
the modulation.

Tort ABL, Komorowski R, Eichenbaum H, Kopell N (2010) Measuring phase-amplitude coupling between neuronal oscillations
of different frequencies. J Neurophysiol 104:1195-1210.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from jnm.observe.analytic import envelope, phase
from jnm.observe.checks import Band, as_samples, check_alike, check_varies


def modulation_index(
    phases: Float[Array, "time ..."], amplitudes: Float[Array, "time ..."], *, bins: int = 18
) -> Float[Array, "..."]:
    """Tort's modulation index of a fast rhythm's amplitude by a slow one's phase, 0 to 1; see the head of this file.

        >>> theta = jnm.observe.phase(v, dt=1.0, band=(4.0, 9.0))
        >>> A = jnm.observe.envelope(v, dt=1.0, band=(34.0, 74.0))
        >>> jnm.observe.modulation_index(theta, A)

    Differentiable in the amplitudes; the phases only choose the bins.

    **Arguments**

    - `phases`: radians, time first, any wrapping.
    - `amplitudes`: an envelope, not negative; as `phases` in shape.
    - `bins`: of the phase, equally wide, the first from -pi; 18 as in the paper.

    Raises `ValueError` for shapes that differ, negative amplitudes, phases that are not finite, or a bin that no phase
    falls into (under `jit` that is NaN).
    """
    phases, amplitudes = _pair("modulation_index", phases, amplitudes, bins)
    return _modulation_index(phases, amplitudes, bins)


def comodulogram(
    x: Float[Array, "time ..."],
    dt: float,
    phase_bands: Sequence[Band],
    amplitude_bands: Sequence[Band],
    *,
    amplitude_of: Float[Array, "time ..."] | None = None,
    bins: int = 18,
) -> Float[Array, "phase_band amplitude_band ..."]:
    """Tort's modulation index for each band of the phase and each band of the amplitude.

        >>> slow = [(f - 1.0, f + 1.0) for f in range(2, 13)]
        >>> fast = [(f - 15.0, f + 15.0) for f in range(30, 100, 5)]
        >>> jnm.observe.comodulogram(v, dt=1.0, phase_bands=slow, amplitude_bands=fast)

    **Arguments**

    - `x`: samples, time first, any axes after it.
    - `dt`: time between samples, ms.
    - `phase_bands`, `amplitude_bands`: edges in Hz.
    - `amplitude_of`: another signal to take the amplitude of, as x in shape; x itself by default.
    - `bins`: as in `modulation_index`.

    Raises `ValueError` as `analytic_signal` and `modulation_index` do, and for no bands.
    """
    if not len(phase_bands) or not len(amplitude_bands):
        raise ValueError("comodulogram: got no bands; wanted a list of (low, high) in Hz for phase and for amplitude.")
    fast = x if amplitude_of is None else amplitude_of
    amplitudes = [envelope(fast, dt, band) for band in amplitude_bands]
    rows = []
    for band in phase_bands:
        theta = phase(x, dt, band)
        rows.append(jnp.stack([modulation_index(theta, amplitude, bins=bins) for amplitude in amplitudes]))
    return jnp.stack(rows)


class Modulation(NamedTuple):
    """A modulation index beside what chance makes of it: see `modulation_test`."""

    index: Float[Array, "..."]
    """Tort's modulation index."""
    z: Float[Array, "..."]
    """How many standard deviations it lies above the mean of the surrogates; its standard error for n surrogates is
    about sqrt((1 + z^2 / 2) / n)."""
    p: Float[Array, "..."]
    """Share of surrogates as large or larger, (1 + number) / (1 + n): never below 1 / (1 + n)."""
    surrogates: Float[Array, "surrogate ..."]
    """The indices of the surrogates."""


def modulation_test(
    phases: Float[Array, "time ..."],
    amplitudes: Float[Array, "time ..."],
    key: PRNGKeyArray,
    *,
    surrogates: int = 200,
    least_shift: float = 0.1,
    bins: int = 18,
) -> Modulation:
    """Is the modulation index more than chance? Against the amplitude turned round in time by random shifts.

        >>> test = jnm.observe.modulation_test(theta, A, jax.random.key(0))
        >>> test.p < 0.01

    Only rhythms that wander can be told from chance in this way. Two that are strictly periodic keep their coupling
    whatever the shift; and where a noiseless, strictly periodic signal has no slow rhythm at all, its slow band holds
    only what the ends of the record ring into it, whose phase follows the amplitude: look at the index itself then, or
    add the noise of a measurement. All series of a batch are shifted alike.

    **Arguments**

    - `phases`, `amplitudes`, `bins`: as in `modulation_index`.
    - `key`: for the shifts.
    - `surrogates`: how many; p resolves 1 / (1 + surrogates).
    - `least_shift`: the smallest shift either way, as a share of the record; above the memory of the slow rhythm.

    Raises `ValueError` as `modulation_index`, for amplitudes that are constant, fewer than two surrogates, or a record
    too short to be shifted.
    """
    phases, amplitudes = _pair("modulation_test", phases, amplitudes, bins)
    samples = phases.shape[0]
    least = max(1, int(np.ceil(least_shift * samples)))
    if surrogates < 2:
        raise ValueError(f"modulation_test: surrogates = {surrogates}; wanted 2 or more, for a standard deviation.")
    if not 0 <= least_shift < 0.5 or samples - least <= least:
        raise ValueError(
            f"modulation_test: shifts of at least {least_shift:g} of a record of {samples} samples either way leave "
            "none; wanted 0 <= least_shift < 0.5."
        )
    check_varies("modulation_test", amplitudes)
    shifts = jax.random.randint(key, (surrogates,), least, samples - least + 1)
    null = jax.lax.map(lambda s: _modulation_index(phases, jnp.roll(amplitudes, s, axis=0), bins), shifts)
    index = _modulation_index(phases, amplitudes, bins)
    z = (index - jnp.mean(null, axis=0)) / jnp.std(null, axis=0, ddof=1)
    p = (1 + jnp.sum(null >= index[None], axis=0)) / (1 + surrogates)
    return Modulation(index, z, p, null)


def _pair(who: str, phases: Array, amplitudes: Array, bins: int) -> tuple[Array, Array]:
    phases, amplitudes = as_samples(who, phases), as_samples(who, amplitudes)
    check_alike(who, phases=phases, amplitudes=amplitudes)
    if bins < 2:
        raise ValueError(f"{who}: bins = {bins}; wanted 2 or more.")
    if not isinstance(amplitudes, Tracer) and not np.all(np.asarray(amplitudes) >= 0):
        raise ValueError(f"{who}: amplitudes that are negative or NaN; wanted an envelope.")
    if not isinstance(phases, Tracer):
        _check_phases(who, np.asarray(phases).reshape(len(phases), -1), bins)
    return phases, amplitudes


def _check_phases(who: str, phases: np.ndarray, bins: int) -> None:
    if not np.all(np.isfinite(phases)):
        raise ValueError(f"{who}: phases that are NaN or infinite; wanted radians.")
    empty = max(bins - len(np.unique(series)) for series in np.asarray(_bin(phases, bins)).T)
    if empty:
        raise ValueError(f"{who}: {empty} of the {bins} bins hold no phase; record longer, or take fewer bins.")


def _bin(phases: Array | np.ndarray, bins: int) -> Array:
    return jnp.floor((phases / (2 * jnp.pi) + 0.5) * bins).astype(int) % bins


@partial(jax.jit, static_argnames="bins")
def _modulation_index(phases: Array, amplitudes: Array, bins: int) -> Float[Array, "..."]:
    def one(bin, amplitude):
        mean = jax.ops.segment_sum(amplitude, bin, bins) / jnp.bincount(bin, length=bins)
        p = mean / jnp.sum(mean)
        filled = p > 0  # p log p is 0 at 0, and so is its gradient here
        return jnp.sum(jnp.where(filled, p * jnp.log(jnp.where(filled, p * bins, 1.0)), 0.0)) / np.log(bins)

    samples, *batch = phases.shape
    series = jax.vmap(one, in_axes=1)(_bin(phases, bins).reshape(samples, -1), amplitudes.reshape(samples, -1))
    return series.reshape(batch)
