r"""Losses: how far a simulation lies from a measurement, in units of what noise alone would do.

Each is the mean square of standardised residuals, loss = < r^2 >, about 1 where the model explains all but the noise:

    time course     r = W (y - y_observed),                   W whitens the measurement noise
    log spectrum    r = (log S - log S_observed - b_M + b_M') / sqrt(psi'(M) + psi'(M'))

with the bias b_M and variance psi'(M) of the logarithm of M averages on the simulated and the observed side
(`jnm.observe.spectrum`). A measurement's noise is correlated, over time by filters, over frequency by tapers, over
channels by the head: each loss says what that does to its gradient (`gradient_covariance`), which is what intervals
need.

Losses add and take weights: `spectra + 0.1 * evoked`; a plain function (model, key) -> scalar can be a term too.
"""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

Simulation = Callable[[Any, PRNGKeyArray], Array]
LossFunction = Callable[[Any, PRNGKeyArray], Array]


class AbstractLoss(eqx.Module):
    """loss(model, key) -> scalar; losses add and take weights."""

    @abc.abstractmethod
    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        """The loss of a model; `key` is for the noise of its simulation."""

    def terms(self) -> tuple[tuple[float, LossFunction], ...]:
        """The weights and losses this one is a sum of."""
        return ((1.0, self),)

    def __add__(self, other: LossFunction) -> "SumLoss":
        more = other.terms() if isinstance(other, AbstractLoss) else ((1.0, other),)
        return SumLoss(self.terms() + more)

    def __radd__(self, other: LossFunction | Literal[0]) -> "AbstractLoss":
        return self if other == 0 else SumLoss(((1.0, other), *self.terms()))  # the built-in sum begins with 0

    def __mul__(self, weight: float) -> "SumLoss":
        return SumLoss(tuple((float(weight) * w, term) for w, term in self.terms()))

    __rmul__ = __mul__


class SumLoss(AbstractLoss):
    """A weighted sum of losses, all given the same key; made by `+` and `*`."""

    parts: tuple[tuple[float, LossFunction], ...]

    def __check_init__(self):
        for weight, part in self.parts:
            if not callable(part):
                raise ValueError(f"a loss is a function (model, key) -> scalar; got {part!r} as a term of a sum.")
            if not 0 < weight < np.inf:
                raise ValueError(f"a loss has the weight {weight}; weights are positive.")

    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        return sum((weight * part(model, key) for weight, part in self.parts), start=jnp.zeros(()))

    def terms(self) -> tuple[tuple[float, LossFunction], ...]:
        return self.parts


class AbstractResidualLoss(AbstractLoss):
    """The mean square of standardised residuals: the kind of loss whose parameters get intervals."""

    @abc.abstractmethod
    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "sample channel"]:
        """Standardised residuals; along the first axis (time, frequency) noise is correlated at short range only."""

    @abc.abstractmethod
    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        """The covariance that measurement noise gives to the gradient J^T r at the best fit; its degrees of freedom.

        Takes J [sample, channel, parameter] and r [sample, channel]; zero or less degrees of freedom: not enough data.
        """

    def __call__(self, model: Any, key: PRNGKeyArray) -> Float[Array, ""]:
        return jnp.mean(self.residuals(model, key) ** 2)


class AbstractLikelihood(AbstractLoss):
    """A loss that is a likelihood: what is known of its parameters is the curvature of log L, and posteriors can use it."""

    @property
    def data(self) -> float:
        """How many independent data there are: the loss is - log L over their number, up to a constant."""
        return 1.0

    @abc.abstractmethod
    def log_likelihood(self, model: Any) -> Float[Array, ""]:
        """log L of the measurement under a model, up to a constant."""

    @abc.abstractmethod
    def scores(self, build: Any, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """J [datum, parameter] and r [datum] with d log L / d theta = J^T r and the Fisher information J^T J."""


def simulated(simulation: Simulation, model: Any, key: PRNGKeyArray, shape: tuple[int | None, ...]) -> Array:
    """What the simulation gives, as [time, channel], checked against the shape of the measurement."""
    y = jnp.asarray(simulation(model, key))
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or y.shape[1] != shape[1] or (shape[0] is not None and y.shape[0] != shape[0]):
        wanted = f"[{'time' if shape[0] is None else shape[0]}, {shape[1]}]"
        raise ValueError(f"the simulation returns an array of shape {list(y.shape)}; the measurement wants {wanted}.")
    return y


def check_band(band: tuple[float, float] | None, dt: float | None, name: str) -> None:
    """Raise `ValueError` for a band that ends above what samples `dt` ms apart can hold."""
    if band is not None and dt is not None and np.isfinite(band[1]) and band[1] > 500.0 / dt * (1 + 1e-9):
        raise ValueError(
            f"{name}: the band ends at {band[1]:g} Hz, but samples {dt:g} ms apart hold nothing above {500 / dt:g} Hz. Take "
            "a band inside, or a recording of a higher sampling rate."
        )


def as_measurement(observed: ArrayLike, name: str) -> Array:
    """A recording as [time, channel] in the default precision, refused if it is not finite."""
    values = np.asarray(observed, float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not np.all(np.isfinite(values)):
        bad = f"{np.sum(~np.isfinite(values))} values that are not finite" if values.ndim == 2 else "no such axes"
        raise ValueError(f"{name}: observed has shape {list(values.shape)} and {bad}; wanted finite [time, channel].")
    return jnp.asarray(values, float)
