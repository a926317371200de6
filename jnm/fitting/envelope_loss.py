r"""EnvelopeLoss: whether regions wax and wane together as they do in a recording, by amplitude-envelope correlation.

    band-pass -> orthogonalise each pair -> envelope sqrt(re^2 + im^2 + eps) -> low-pass -> correlation r_ij
    loss = < (atanh r - atanh r_observed)^2 >_pairs        or        1 - corr(r, r_observed) over pairs

Envelopes need minutes of data, and for a model at rest in weak noise, whose activity is Gaussian, they carry nothing that
coherence does not: use the loss as a test, or beside a spectral one.

Hipp JF et al (2012) Large-scale cortical correlation structure of spontaneous oscillatory activity. Nat Neurosci
15:884-890.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, PRNGKeyArray

from jnm.fitting.loss import AbstractLoss, Simulation, as_measurement, simulated
from jnm.observe.analytic import analytic_signal, bandpass

_SMALL = 1e-6  # eps, of the mean square: it keeps the derivative of an envelope that touches zero finite
_NEARLY_ONE = 0.999  # correlations beyond have a Fisher z that means nothing


class EnvelopeLoss(AbstractLoss):
    """The distance of two matrices of amplitude-envelope correlations (AEC), from a simulation and a recording.

        >>> loss = jnm.fitting.EnvelopeLoss(simulation, sources, dt=4.0, band=(8.0, 13.0), lowpass=2.0)

    **Arguments**

    - `simulation`: function (model, key) -> x [time, region], sampled every `dt` ms; minutes of it.
    - `observed`: a recording [time, region], or its AEC [region, region] made in the same way.
    - `band`: (lowest, highest) frequency, Hz. `lowpass`: what of the envelopes counts, Hz; None for all.
    - `orthogonalise`: whether to leave out what pairs share without delay, as field spread is.
    - `measure`: "fisher", the mean squared difference of Fisher's z, or "pattern", 1 - correlation over pairs.

    Raises `ValueError` for fewer than two regions, or three for "pattern".
    """

    simulation: Simulation
    observed: Float[Array, "region region"]
    dt: float = eqx.field(static=True)
    band: tuple[float, float] = eqx.field(static=True)
    lowpass: float | None = eqx.field(static=True)
    orthogonalise: bool = eqx.field(static=True)
    measure: Literal["fisher", "pattern"] = eqx.field(static=True)

    def __init__(
        self,
        simulation: Simulation,
        observed: Float[ArrayLike, "time region"] | Float[ArrayLike, "region region"],
        dt: float,
        band: tuple[float, float],
        *,
        lowpass: float | None = None,
        orthogonalise: bool = True,
        measure: Literal["fisher", "pattern"] = "fisher",
    ):
        values = as_measurement(observed, "EnvelopeLoss")
        least = 3 if measure == "pattern" else 2
        if values.shape[1] < least or measure not in ("fisher", "pattern"):
            raise ValueError(
                f"EnvelopeLoss: {values.shape[1]} regions, measure = {measure!r}; wanted two regions or more for "
                '"fisher", three or more for "pattern".'
            )
        self.simulation, self.dt, self.band, self.lowpass = simulation, float(dt), band, lowpass
        self.orthogonalise, self.measure = orthogonalise, measure
        given = values.shape[0] == values.shape[1]
        self.observed = values if given else aec(values, dt, band, lowpass=lowpass, orthogonalise=orthogonalise)

    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        x = simulated(self.simulation, model, key, (None, len(self.observed)))
        r = aec(x, self.dt, self.band, lowpass=self.lowpass, orthogonalise=self.orthogonalise)
        pairs = np.triu_indices(len(r), 1)
        ours, theirs = r[pairs], self.observed[pairs]
        if self.measure == "pattern":
            return 1 - jnp.corrcoef(ours, theirs)[0, 1]
        return jnp.mean((_fisher(ours) - _fisher(theirs)) ** 2)


def aec(
    x: Float[Array, "time region"],
    dt: float,
    band: tuple[float, float],
    *,
    lowpass: float | None = None,
    orthogonalise: bool = True,
) -> Float[Array, "region region"]:
    """Amplitude-envelope correlation as at the head of this file; symmetric, differentiable, 1 on the diagonal."""
    z = analytic_signal(x, dt, band)
    floor = _SMALL * jnp.mean(z.real**2 + z.imag**2)

    def envelope(z: Complex[Array, "time region"]) -> Array:
        size = jnp.sqrt(z.real**2 + z.imag**2 + floor)
        return size if lowpass is None else bandpass(size, dt, (0.0, lowpass))

    size = envelope(z)

    def against(i: Array) -> Array:
        own = z[:, i]
        part = z if not orthogonalise else _imaginary(z, own, floor)
        return _correlation(size[:, i], envelope(part))

    one_way = jax.lax.map(against, jnp.arange(z.shape[1]))
    both = (one_way + one_way.T) / 2
    return jnp.where(np.eye(len(both), dtype=bool), 1.0, both)


def _imaginary(z: Complex[Array, "time region"], own: Complex[Array, " time"], floor: Array) -> Array:
    """What of z is a quarter of a turn from `own`."""
    turned = z.imag * own.real[:, None] - z.real * own.imag[:, None]
    part = turned / jnp.sqrt(own.real**2 + own.imag**2 + floor)[:, None]
    return jax.lax.complex(part, jnp.zeros_like(part))


def _correlation(one: Float[Array, " time"], many: Float[Array, "time region"]) -> Float[Array, " region"]:
    a, b = one - jnp.mean(one), many - jnp.mean(many, axis=0, keepdims=True)
    square = jnp.sum(a**2) * jnp.sum(b**2, axis=0)
    scale = jnp.where(
        square > 0, square, 1.0
    )  # before the root: of itself, orthogonalised, nothing is left of a region
    return jnp.einsum("t,tr->r", a, b, precision="highest") / jnp.sqrt(scale)


def _fisher(r: Array) -> Array:
    return jnp.arctanh(jnp.clip(r, -_NEARLY_ONE, _NEARLY_ONE))
