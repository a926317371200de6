r"""SpectralWassersteinLoss: by how many Hz power must be moved to turn one spectrum into the other.

    loss = < sum_f |C(f) - C_observed(f)| df >_channels,     C the cumulated spectrum, normalised to end at 1,

the Wasserstein distance of two distributions on a line (Vallender SS (1974) Theory Probab Appl 18:784-786). Ratios of
spectra tell nothing about a peak that lies elsewhere; this distance falls steadily as the peak comes near, wherever it
starts. It knows no noise, so it is a warm start for the likelihoods, or a small part of a sum, not their replacement.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm.fitting.loss import AbstractLoss, Simulation, simulated
from jnm.fitting.measured_csd import measured
from jnm.observe.spectrum import psd

Spectrum = Callable[[Any, Array], Array]


class SpectralWassersteinLoss(AbstractLoss):
    """How far power lies from where it should, in Hz; the scale of each channel is left open.

        >>> warm = jnm.fitting.SpectralWassersteinLoss(simulation, recording, dt=1.0, segment=1_000.0, band=(2.0, 40.0))
        >>> loss = jnm.WhittleLoss(lead, recording, dt=1.0) + 0.1 * warm

    **Arguments**

    - `simulation`: function (model, key) -> x [time, channel], sampled every `dt` ms; or None, with
    - `spectrum`: function (model, f_hz) -> S [frequency] or [frequency, channel] of a model in closed form.
    - `observed`: a recording [time, channel], or (f_hz, S [frequency, channel], averages).
    - `dt`, `band`, `segment`: as in `jnm.LogSpectralLoss`; the band bounds where power can be.

    Raises `ValueError` for observations that do not fit, and unless one of `simulation` and `spectrum` is given.
    """

    simulation: Simulation | None
    spectrum: Spectrum | None
    cumulated: Float[Array, "frequency channel"]
    bins: tuple[int, ...] = eqx.field(static=True)
    segment: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(
        self,
        simulation: Simulation | None,
        observed: Any,
        dt: float = 1.0,
        *,
        spectrum: Spectrum | None = None,
        band: tuple[float, float] | None = None,
        segment: float | None = None,
    ):
        if (simulation is None) == (spectrum is None):
            raise ValueError("SpectralWassersteinLoss: give a simulation, or None and spectrum=; one of them.")
        if isinstance(observed, tuple) and len(observed) == 3 and np.ndim(observed[1]) == 2:
            diagonal = np.asarray(observed[1])[:, :, None] * np.eye(np.shape(observed[1])[1])
            observed = (observed[0], diagonal, observed[2])
        data = measured(observed, dt, band, (), segment, "hann", 0.5, who="SpectralWassersteinLoss")
        self.simulation, self.spectrum, self.dt = simulation, spectrum, float(dt)
        self.bins, self.segment = data.bins, data.segment
        self.cumulated = _cumulated(jnp.asarray(np.einsum("fcc->fc", data.S).real, float))

    @property
    def f_hz(self) -> np.ndarray:
        """The frequencies that count, Hz."""
        return np.array(self.bins) * 1000.0 / self.segment

    def __call__(self, model: Any, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        shape = self.cumulated.shape
        if self.spectrum is not None:
            S = self.spectrum(model, jnp.asarray(self.f_hz)).astype(self.cumulated.dtype).reshape(shape)
        else:
            if self.simulation is None or key is None:
                raise ValueError("SpectralWassersteinLoss: a simulation wants a key for its noise, loss(model, key).")
            x = simulated(self.simulation, model, key, (None, shape[1]))
            S = psd(x, self.dt, self.segment)[1][np.array(self.bins)]
        return 1000.0 / self.segment * jnp.sum(jnp.abs(_cumulated(S) - self.cumulated)) / shape[1]


def _cumulated(S: Float[Array, "frequency channel"]) -> Float[Array, "frequency channel"]:
    return jnp.cumsum(S, axis=0) / jnp.sum(S, axis=0, keepdims=True)
