r"""How sure an estimate is: the sandwich of least squares, with the noise of the data and of the simulation in it.

For residuals r with Jacobian J, the loss sum_i c_i |r_i|^2 has the Gauss-Newton matrix H and half the gradient g,

    H = sum_i c_i J_i^T J_i,     g = sum_i c_i J_i^T r_i,     Cov(theta) = H^-1 (S + V) H^-1 + d d^T,     d = -H^-1 g

- S: what another measurement would do to g. Each loss gives it (`gradient_covariance`) at the best point, r + J d.
- V: what other noise keys would do to g, averaged over the keys used here.
- d: the step to the best point that is still left, shortened until it lowers the loss. A fit that has not arrived gets a
  wider interval.

J is itself an average over noisy simulations, and noise in J makes J^T J too large and intervals too narrow. Products
of J from two DIFFERENT keys have no such bias, so H averages those only.

White H (1982) Maximum likelihood estimation of misspecified models. Econometrica 50:1-25, for the sandwich; Bartlett MS
(1935) Some aspects of the time-correlation problem. J R Stat Soc 98:536-543, for effective samples.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PRNGKeyArray, PyTree

from jnm.fitting.step import losses

_BLIND = 1e-8
"""A direction in which the loss is curved less than this, each parameter scaled to curvature 1, is not identified: J in
float32 is exact to 1e-6 at best, and its errors enter squared; the margin is for what a simulation adds."""

_NEGLIGIBLE = 1e-6  # of theta, which is of order one: a step or an uncertainty that nobody asks about


class Uncertainty(NamedTuple):
    """Covariance of the flattened theta, `freedom` of the t distribution, what cannot be told, how far the best is."""

    covariance: np.ndarray
    freedom: float
    blind: list[list[int]]
    """Groups of parameters that the loss cannot tell apart; a group of one has no influence that is seen."""
    remaining: float
    """The step still left to the best point, in standard deviations of the estimate (the largest over parameters)."""


def uncertainty(terms: Any, build: Any, theta: PyTree, keys: PRNGKeyArray) -> Uncertainty:
    """The uncertainty of `theta` under a weighted sum of losses with residuals, averaged over the noise keys."""
    parts = [_Linear.over_keys(term, build, theta, keys) for _, term in terms]
    scales = [weight / part.r.size for (weight, _), part in zip(terms, parts, strict=True)]
    H = sum(c * part.H for c, part in zip(scales, parts, strict=True))
    gradients = np.asarray(sum(c * part.gradients for c, part in zip(scales, parts, strict=True)))
    if not np.all(np.isfinite(H)):
        return Uncertainty(np.full(np.shape(H), np.nan), np.nan, [], np.nan)
    inverse, blind = _inverse(np.asarray(H))
    step = _shortened(terms, build, theta, -inverse @ gradients.mean(axis=0), keys)
    scatter = [
        term.gradient_covariance(part.J, part.r + part.J @ step) for (_, term), part in zip(terms, parts, strict=True)
    ]
    S = sum(c**2 * s for c, (s, _) in zip(scales, scatter, strict=True))
    V = np.atleast_2d(np.cov(gradients.T)) / len(gradients)
    covariance = inverse @ (S + V) @ inverse
    sd = np.sqrt(np.maximum(np.diag(covariance), _NEGLIGIBLE**2))
    remaining = float(np.max(np.abs(step) / sd))
    return Uncertainty(covariance + np.outer(step, step), min(f for _, f in scatter), blind, remaining)


def of_likelihood(loss: Any, build: Any, theta: PyTree) -> Uncertainty:
    """The uncertainty of a maximum likelihood: the inverse of its Fisher information F = J^T J; no noise of simulations.

    `loss` gives J and r with the gradient J^T r of log L (`AbstractLikelihood.scores`).
    """
    J, r = loss.scores(build, theta)
    inverse, blind = _inverse(J.T @ J)
    step = inverse @ (J.T @ r)
    sd = np.sqrt(np.maximum(np.diag(inverse), _NEGLIGIBLE**2))
    return Uncertainty(inverse + np.outer(step, step), np.inf, blind, float(np.max(np.abs(step) / sd)))


def _shortened(terms: Any, build: Any, theta: PyTree, step: np.ndarray, keys: PRNGKeyArray) -> np.ndarray:
    """The step, half, a quarter or an eighth of it, whichever first lowers the loss on the keys; else none."""
    flat, unravel = ravel_pytree(theta)

    def loss(fraction: float) -> float:
        moved = unravel(flat + jnp.asarray(fraction * step, flat.dtype))
        return sum(weight * float(np.mean(losses(term, build, moved, keys))) for weight, term in terms)

    here = loss(0.0)
    return step * next((fraction for fraction in (1.0, 0.5, 0.25, 0.125) if loss(fraction) < here), 0.0)


def correlation_time(residuals: np.ndarray) -> float:
    """1 + 2 sum_k rho_k, in samples, until the autocorrelation (of all channels together) first falls to zero."""
    n = len(residuals)
    lagged = np.array([np.sum(residuals[k:] * residuals[: n - k]) for k in range(max(1, n // 2))])
    rho = lagged[1:] / max(lagged[0], np.finfo(float).tiny)
    ends = np.flatnonzero(rho <= 0)
    return float(1 + 2 * np.sum(rho[: ends[0] if ends.size else None]))


def separable(J: np.ndarray, r: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, float]:
    """Covariance of J^T r for noise correlated by `along` over samples and in any way over channels; its freedom.

        S = sum_st along_|s-t| J_s^T R J_t,        R = r^T r / n  N / (N - parameters)  over channels

    R comes from the residuals, so what the model misses widens the intervals too. N = (n / sum_k along_|k|) m, with
    m = (tr R)^2 / tr R^2 channels, is how many independent data the correlated ones are worth.
    """
    n, lags = len(J), along[: len(J)]
    R = r.T @ r / n
    data = n / (2 * np.sum(lags) - 1) * np.trace(R) ** 2 / max(np.sum(R**2), np.finfo(float).tiny)
    freedom = float(data - J.shape[-1])
    JR = np.einsum("ncp,cd->ndp", J, R)
    products = [c * np.einsum("ncp,ncq->pq", JR[: n - k], J[k:]) for k, c in enumerate(lags)]
    S = products[0] + sum(x + x.T for x in products[1:])
    return S * data / max(freedom, 1.0), freedom


class _Linear(NamedTuple):
    """A loss around theta: mean residuals and Jacobian over keys, J^T r by key, H without the bias of noise in J."""

    r: np.ndarray
    J: np.ndarray
    H: np.ndarray
    gradients: np.ndarray

    @classmethod
    def over_keys(cls, term: Any, build: Any, theta: PyTree, keys: PRNGKeyArray) -> "_Linear":
        r_sum, J_sum, own, gradients = 0.0, 0.0, 0.0, []
        for key in keys:
            r, J = (np.asarray(x, float) for x in linearise(term, build, theta, key))
            r_sum, J_sum, own = r_sum + r, J_sum + J, own + np.einsum("ncp,ncq->pq", J, J)
            gradients.append(np.einsum("ncp,nc->p", J, r))
        n = len(gradients)
        r_sum, J_sum = np.asarray(r_sum), np.asarray(J_sum)
        between = (np.einsum("ncp,ncq->pq", J_sum, J_sum) - own) / (n * (n - 1))
        return cls(r_sum / n, J_sum / n, np.asarray(between), np.array(gradients))


@eqx.filter_jit
def linearise(term: Any, build: Any, theta: PyTree, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Residuals [sample, channel] and their Jacobian [sample, channel, parameter], some columns at a time."""
    flat, unravel = ravel_pytree(theta)

    def residuals(x):
        return term.residuals(build(unravel(x)), key)

    def column(direction):
        return jax.jvp(residuals, (flat,), (direction,))[1]

    columns = jax.lax.map(column, jnp.eye(flat.size, dtype=flat.dtype), batch_size=8)
    return residuals(flat), jnp.moveaxis(columns, 0, -1)


def _inverse(H: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """The inverse of H where it is curved (zero elsewhere), and the groups of parameters along which it is not."""
    scale = np.sqrt(np.maximum(np.diag(H), 0.0))
    seen = scale > np.finfo(np.float32).eps * scale.max(initial=0.0)
    active, unit = np.flatnonzero(seen), 1 / scale[seen]
    curvature, directions = np.linalg.eigh(unit[:, None] * H[np.ix_(active, active)] * unit)
    flat = curvature < _BLIND
    alike = [active[np.abs(v) > 0.1].tolist() for v in directions[:, flat].T]
    kept = directions[:, ~flat] * unit[:, None]
    inverse = np.zeros_like(H)
    inverse[np.ix_(active, active)] = kept / curvature[~flat] @ kept.T
    return inverse, [[int(i)] for i in np.flatnonzero(~seen)] + alike
