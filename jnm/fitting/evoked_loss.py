r"""EvokedLoss: the whitened error of an evoked response whose latency may jitter.

A response that is right but a few ms late has a large error sample by sample. With a latency of its own, s ~ N(0, tau^2),

    loss = min_s [ sum (W (y(t - s) - y_observed(t)))^2 + (s / tau)^2 ] / n,

one shift for all channels: topography and order of events still count. The minimum is found on a grid and by Newton's
steps; its derivative is that at a fixed s, since the minimum does not move the loss to first order (envelope theorem).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jnm.fitting.loss import Simulation
from jnm.fitting.time_course import TimeCourseLoss

_REACH = 3.0  # standard deviations of the latency that are searched
_GRID = 25
_STEPS = 3


class EvokedLoss(TimeCourseLoss):
    """The whitened error of an evoked response, as `jnm.TimeCourseLoss`, tolerant of its latency.

        >>> loss = jnm.fitting.EvokedLoss(simulation, evoked, dt=2.5, latency_sd=5.0, whitener=W)

    **Arguments** are those of `TimeCourseLoss`, and

    - `dt`: time between samples, ms.
    - `latency_sd`: tau, standard deviation of the latency, ms.

    `latency(model, key)` gives the shift s that fits best, ms: by how much the model is early.

    Raises `ValueError` as `TimeCourseLoss`, and unless dt and latency_sd are positive.
    """

    dt: float = eqx.field(static=True)
    latency_sd: float = eqx.field(static=True)

    def __init__(
        self,
        simulation: Simulation,
        observed: Float[ArrayLike, "time channel"],
        dt: float,
        latency_sd: float,
        *,
        noise_sd: Float[ArrayLike, "..."] | None = None,
        whitener: Float[ArrayLike, "rank channel"] | None = None,
    ):
        if not (dt > 0 and latency_sd > 0):
            raise ValueError(f"EvokedLoss: dt = {dt}, latency_sd = {latency_sd} ms; both must be positive.")
        super().__init__(simulation, observed, noise_sd=noise_sd, whitener=whitener)
        self.dt, self.latency_sd = float(dt), float(latency_sd)

    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "time+1 rank"]:
        ours, theirs = self._both(model, key)
        shift = _best(ours, theirs, self.dt, self.latency_sd)
        own = jnp.zeros((1, ours.shape[1]), ours.dtype).at[0, 0].set(shift / self.latency_sd)
        return jnp.concatenate([_moved(ours, shift / self.dt) - theirs, own])

    def latency(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        """The shift in ms that fits best: by how much the model's response is early."""
        return _best(*self._both(model, key), self.dt, self.latency_sd)

    def _both(self, model: Any, key: PRNGKeyArray) -> tuple[Array, Array]:
        """The whitened response and the whitened measurement."""
        error = super().residuals(model, key)
        theirs = self._whitened(self.observed)
        return error + theirs, theirs

    def _whitened(self, y: Array) -> Array:
        return (
            y * self.whitener[None] if self.whitener.ndim == 1 else jnp.matmul(y, self.whitener.T, precision="highest")
        )


def _moved(y: Float[Array, "time rank"], samples: Array) -> Float[Array, "time rank"]:
    """y(t - s), by cubic interpolation (Catmull-Rom), its ends held."""
    last = len(y) - 1
    place = jnp.arange(len(y), dtype=y.dtype) - samples
    whole = jnp.floor(place)
    x = (place - whole)[:, None]
    a, b, c, d = (y[jnp.clip(whole.astype(int) + k, 0, last)] for k in (-1, 0, 1, 2))
    return b + x / 2 * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))


def _best(ours: Array, theirs: Array, dt: float, sd: float) -> Float[Array, ""]:
    """The shift in ms with the least cost, without derivative."""
    ours, theirs = jax.lax.stop_gradient((ours, theirs))

    def cost(s):
        return jnp.sum((_moved(ours, s / dt) - theirs) ** 2) + (s / sd) ** 2

    grid = jnp.asarray(np.linspace(-_REACH * sd, _REACH * sd, _GRID), ours.dtype)
    s, width = grid[jnp.argmin(jax.lax.map(cost, grid))], 2 * _REACH * sd / (_GRID - 1)
    for _ in range(_STEPS):
        slope, bend = jax.grad(cost)(s), jax.grad(jax.grad(cost))(s)
        step = jnp.clip(jnp.where(bend > 0, -slope / jnp.where(bend > 0, bend, 1.0), 0.0), -width, width)
        s = jnp.where(cost(s + step) <= cost(s), s + step, s)
    return jax.lax.stop_gradient(s)
