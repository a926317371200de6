r"""Which regions go together: coherence, functional connectivity and its dynamics, correlation of envelopes.

    coherence    C_ij(f) = |S_ij|^2 / (S_ii S_jj)             from the cross-spectra of `csd`
    FC           Pearson's correlation of x_i and x_j over time
    FCD          Pearson's correlation of the pairs of FC(t1) and FC(t2), of two windows of time
    AEC          Pearson's correlation of the envelopes |z_i| and |z_j| of a band; orthogonalised, of |z_i| and of
                 |Im(z_j conj(z_i) / |z_i|)|, the part of z_j that is not in phase with z_i, and the mean of both ways

Hansen ECA, Battaglia D, Spiegler A, Deco G, Jirsa VK (2015) Functional connectivity dynamics. NeuroImage 105:525-535.
Hipp JF, Hawellek DJ, Corbetta M, Siegel M, Engel AK (2012) Large-scale cortical correlation structure of spontaneous
oscillatory activity. Nat Neurosci 15:884-890.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm.observe.analytic import analytic_signal
from jnm.observe.checks import Band, as_samples, check_varies
from jnm.observe.spectrum import averages, csd


def coherence(
    x: Float[Array, "time ... channel"],
    dt: float,
    segment: float | None = None,
    *,
    overlap: float = 0.5,
    window: str = "hann",
    detrend: bool = True,
) -> tuple[Float[np.ndarray, " frequency"], Float[Array, "frequency ... channel channel"]]:
    """Magnitude-squared coherence of each pair of channels, 0 to 1 at each frequency.

        >>> f_hz, C = jnm.observe.coherence(field, dt=1.0, segment=1_000.0)

    Unrelated channels have the mean 1 / M over M independent segments: compare with `1 / averages(...)`. Arguments as
    in `psd`; equal to `scipy.signal.coherence`. It is 0 where a channel has no power.

    Raises `ValueError` as `csd`, and for a record of one segment, in which everything is coherent.
    """
    f_hz, S = csd(x, dt, segment, overlap=overlap, window=window, detrend=detrend)
    if averages(len(x), dt, segment, overlap=overlap, window=window) <= 1:
        raise ValueError(
            f"coherence: a record of {len(x) * dt:g} ms is one segment, and within one every coherence is 1; take "
            "segments shorter than two thirds of the record."
        )
    power = jnp.einsum("f...ii->f...i", S).real
    heard = power != 0  # NaN stays NaN
    size = jnp.sqrt(jnp.where(heard, power, 1.0))  # of each channel: products of powers in T^2 would underflow
    both = heard[..., :, None] & heard[..., None, :]
    whole = jnp.where(both, S, 0.0) / size[..., :, None] / size[..., None, :]
    return f_hz, whole.real**2 + whole.imag**2


def functional_connectivity(x: Float[Array, "time ... region"]) -> Float[Array, "... region region"]:
    """Functional connectivity: Pearson's correlation of each pair of regions over time.

        >>> fc = jnm.observe.functional_connectivity(bold)               # [time, region] -> [region, region]

    Equal to `numpy.corrcoef(x.T)`. Raises `ValueError` for fewer than two regions or one that is constant.
    """
    return _correlations(_regions("functional_connectivity", x))


def functional_connectivity_dynamics(
    x: Float[Array, "time ... region"], dt: float, window: float, step: float
) -> tuple[Float[np.ndarray, " window"], Float[Array, "... window window"]]:
    """FCD: how alike the functional connectivity of each two windows of time is.

        >>> t_ms, fcd = jnm.observe.functional_connectivity_dynamics(bold, dt=720.0, window=60_000.0, step=2_000.0)

    Windows are rectangular; each one's FC enters by its pairs (i < j), untransformed. Windows that overlap are alike
    for that reason alone: for noise, FCD falls from 1 to 0 as their overlap does.

    **Arguments**

    - `x`: samples, time first, region last, any axes between; three regions or more.
    - `dt`: time between samples, ms.
    - `window`, `step`: length of a window and time from one to the next, ms, rounded to samples.

    **Returns** the times of the windows' centres in ms (from the first sample) and the FCD. Hansen et al. (2015).

    Raises `ValueError` for fewer than two windows, windows below three samples, or fewer than three regions.
    """
    who = "functional_connectivity_dynamics"
    x = _regions(who, x, least=3)
    length, starts = _windows(who, len(x), dt, window, step)
    rows, columns = np.triu_indices(x.shape[-1], 1)

    def pairs(start):
        return _correlations(jax.lax.dynamic_slice_in_dim(x, start, length))[..., rows, columns]

    patterns = jax.lax.map(pairs, jnp.asarray(starts))  # one window at a time: they share most of their samples
    return (starts + (length - 1) / 2) * dt, _correlations(jnp.moveaxis(patterns, (-1, 0), (0, -1)))


def envelope_correlation(
    x: Float[Array, "time ... region"], dt: float, band: Band | None = None, *, orthogonalise: bool = True
) -> Float[Array, "... region region"]:
    """Amplitude-envelope correlation (AEC) of a band, plain or with each pair orthogonalised at each time.

        >>> aec = jnm.observe.envelope_correlation(sources, dt=2.0, band=(8.0, 13.0))

    Orthogonalised, what two regions have in common without delay counts for nothing, and field spread with it; so does
    true coupling without delay. The result is signed and symmetric, with 1 on the diagonal of the plain AEC and 0 on
    that of the orthogonalised, where nothing is left. It needs minutes of data.

    **Arguments**

    - `x`: samples, time first, region last, any axes between.
    - `dt`: time between samples, ms.
    - `band`: edges in Hz; None takes x as it is (give it then without mean).
    - `orthogonalise`: whether to, pairwise (Hipp et al. 2012; correlations of envelopes, not of their logarithm).

    Raises `ValueError` as `analytic_signal` does, and for fewer than two regions or one that is constant.
    """
    x = _regions("envelope_correlation", x)
    z = analytic_signal(x, dt, band)
    if not orthogonalise:
        return _correlations(jnp.abs(z))
    one_way = jnp.moveaxis(jax.lax.map(lambda i: _orthogonal(z, i), jnp.arange(x.shape[-1])), 0, -1)
    both = (one_way + jnp.swapaxes(one_way, -1, -2)) / 2
    return jnp.where(np.eye(x.shape[-1], dtype=bool), 0.0, both)


def _orthogonal(z: Complex[Array, "time ... region"], i: Array) -> Float[Array, "... region"]:
    """Correlation of the envelope of region i with those of all regions, orthogonalised to it."""
    size = jnp.abs(z)
    own = jnp.maximum(size[..., i], jnp.finfo(size.dtype).tiny)
    rest = jnp.abs(jnp.imag(z * (z[..., i].conj() / own)[..., None]))
    rest = jnp.where(rest > 16 * jnp.finfo(size.dtype).eps * size, rest, 0.0)  # of a copy, only its rounding is left
    return jnp.einsum("t...,t...j->...j", _standard(size[..., i]), _standard(rest), precision="highest")


def _regions(who: str, x: Array, least: int = 2) -> Float[Array, "time ... region"]:
    """Samples of so many regions or more, none of them constant."""
    x = as_samples(who, x, "[time, ..., region]")
    if x.ndim < 2 or x.shape[-1] < least:
        raise ValueError(f"{who}: x has shape {x.shape}; wanted [time, ..., region], {least} regions or more.")
    check_varies(who, x)
    return x


def _correlations(x: Float[Array, "time ... region"]) -> Float[Array, "... region region"]:
    u = _standard(x)
    return jnp.einsum("t...i,t...j->...ij", u, u, precision="highest")


def _standard(x: Float[Array, "time ..."]) -> Float[Array, "time ..."]:
    """Without mean and of length 1 along time; 0 where x does not vary."""
    x = x - jnp.mean(x, axis=0, keepdims=True)
    square = jnp.sum(x**2, axis=0, keepdims=True)
    return jnp.where(square > 0, x / jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _windows(who: str, samples: int, dt: float, window: float, step: float) -> tuple[int, np.ndarray]:
    """Samples a window, and where each starts."""
    if not (dt > 0 and window > 0 and step > 0):
        raise ValueError(f"{who}: dt = {dt}, window = {window}, step = {step} ms; all must be positive.")
    length, hop = round(window / dt), round(step / dt)
    if length < 3 or hop < 1 or length + hop > samples:
        raise ValueError(
            f"{who}: windows of {length} samples every {hop} in a record of {samples}; wanted at least 3 samples a "
            f"window, 1 a step, and two whole windows: up to {samples * dt:g} ms for window + step."
        )
    return length, np.arange(0, samples - length + 1, hop)
