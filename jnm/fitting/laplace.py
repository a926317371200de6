r"""laplace(): the posterior as a normal distribution about its maximum.

    p(theta | data) ~ N(theta*, (F - d^2 log p / d theta^2)^-1),
    log p(data) ~ log L(theta*) + log p(theta*) + (k / 2) log 2 pi + (1 / 2) log det Sigma,

with F the Fisher information at the maximum theta*. Right where data are many; the evidence compares models of the same
data (the constant that log L leaves out is the same for all).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PRNGKeyArray, PyTree

from jnm.fitting.draws import Draws
from jnm.fitting.fit import Fit
from jnm.fitting.free import Build
from jnm.fitting.identifiability import Information
from jnm.fitting.loss import AbstractLikelihood
from jnm.fitting.priors import Priors
from jnm.fitting.scoring import prior_curvature, scoring


@dataclasses.dataclass(frozen=True)
class Laplace:
    """A normal posterior of the flattened theta."""

    mean: Float[np.ndarray, " parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    log_evidence: float
    """Up to the constant that the likelihood leaves out; -inf without a prior for every parameter."""
    fit: Fit

    @property
    def build(self) -> Build:
        """From theta to a model."""
        return self.fit.build

    def sample(self, key: PRNGKeyArray, draws: int = 1000) -> Draws:
        """Independent draws, as one chain: estimates with intervals, spectra, a DataTree."""
        z = np.asarray(jax.random.normal(key, (draws, len(self.mean))), float)
        theta = self.mean + z @ np.linalg.cholesky(self.covariance).T
        return Draws(theta[None], {}, self.build, self.fit.loss)

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Of each element of each parameter, in its own unit: the central interval of the normal theta, mapped."""
        from scipy.special import ndtri

        half = ndtri((1 + level) / 2) * np.sqrt(np.diag(self.covariance))
        low, high = (elements(self.build, self.fit.theta, self.mean + sign * half) for sign in (-1, 1))
        return {label: (float(a), float(b)) for label, a, b in zip(self.build.labels, low, high, strict=True)}


def laplace(
    loss: AbstractLikelihood, theta: PyTree, build: Build, prior: Priors | None = None, *, steps: int = 50
) -> Laplace:
    """The Laplace approximation of a posterior: its maximum by Fisher scoring from `theta`, its curvature there.

        >>> posterior = jnm.fitting.laplace(loss, theta, build, prior)
        >>> posterior.interval(0.9)["node.eta"], posterior.log_evidence

    Raises `ValueError` as `scoring`, and for parameters that likelihood and prior together cannot tell apart.
    """
    fit = scoring(loss, theta, build, steps, prior=prior)
    mean = np.asarray(ravel_pytree(fit.theta)[0], float)
    J, _ = loss.scores(build, fit.theta)
    precision = J.T @ J
    if prior is not None:
        precision = precision + prior_curvature(prior, theta, mean)[0]
    known = Information(precision, build.labels)
    if known.blind:
        raise ValueError(f"laplace: no normal posterior, since {known.words()} A prior on them would do too.")
    covariance = known.covariance
    proper = prior is not None and set(prior.priors) == set(build.names)
    density = -fit.best_loss * loss.data
    volume = len(mean) / 2 * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] / 2
    return Laplace(mean, covariance, float(density + volume) if proper else -np.inf, fit)


def elements(build: Build, like: PyTree, flat: Any) -> np.ndarray:
    """The parameters, element by element in their own units, that a flattened theta stands for."""
    values = build.values(ravel_pytree(like)[1](jnp.asarray(flat, ravel_pytree(like)[0].dtype)))
    return np.concatenate([np.ravel(np.asarray(values[name], float)) for name in build.names])
