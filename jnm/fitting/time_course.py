"""TimeCourseLoss: the whitened error of an evoked response."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jnm.fitting.loss import AbstractResidualLoss, Simulation, as_measurement, simulated
from jnm.fitting.uncertainty import correlation_time


class TimeCourseLoss(AbstractResidualLoss):
    """The whitened error of a time course, for evoked responses: mean square of W (y - observed).

    Not for ongoing activity, whose course no model predicts: there gradients grow with the length and mean nothing.

        >>> loss = jnm.TimeCourseLoss(lambda model, key: lead(run(model, key)), evoked, whitener=W)

    **Arguments**

    - `simulation`: function (model, key) -> y [time, channel], at the times and in the unit of `observed`.
    - `observed`: the measurement [time, channel].
    - `noise_sd`: standard deviation of its noise, a number or one a channel; or
    - `whitener`: W [rank, channel], such that W times the noise has unit covariance.

    **Intervals** are those of least squares, with the variance of the residuals themselves (so misfit widens them)
    and as many effective samples as the autocorrelation of the residuals leaves: right for slow responses, too wide
    for responses faster than the noise.

    Raises `ValueError` for arrays that do not fit together or are not finite, and unless one of the last two is given.
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
        self.simulation, self.observed = simulation, as_measurement(observed, "TimeCourseLoss")
        self.whitener = _as_whitener(noise_sd, whitener, self.observed.shape[1])

    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "time rank"]:
        error = simulated(self.simulation, model, key, self.observed.shape) - self.observed
        if self.whitener.ndim == 1:
            return error * self.whitener[None]
        return jnp.matmul(error, self.whitener.T, precision="highest")

    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        correlated = correlation_time(residuals)
        freedom = residuals.size / correlated - jacobian.shape[-1]
        variance = np.sum(residuals**2) / correlated / max(freedom, 1.0)
        return variance * correlated * np.einsum("tcp,tcq->pq", jacobian, jacobian), freedom


def _as_whitener(noise_sd: ArrayLike | None, whitener: ArrayLike | None, channels: int) -> Array:
    if (noise_sd is None) == (whitener is None):
        raise ValueError(
            "TimeCourseLoss: give either noise_sd (a number, or one a channel) or whitener [rank, channel]."
        )
    if whitener is not None:
        W = np.asarray(whitener, float)
        if W.ndim != 2 or W.shape[1] != channels or not np.all(np.isfinite(W)):
            raise ValueError(f"TimeCourseLoss: whitener has shape {list(W.shape)}; wanted finite [rank, {channels}].")
        return jnp.asarray(W, float)
    sd = np.asarray(noise_sd, float)
    if sd.shape not in ((), (channels,)) or not np.all(sd > 0) or not np.all(np.isfinite(sd)):
        raise ValueError(
            f"TimeCourseLoss: noise_sd = {sd}; wanted a positive number, or one for each of {channels} channels."
        )
    return jnp.asarray(np.broadcast_to(1 / sd, (channels,)), float)
