r"""scoring(): Fisher scoring, Newton's method for likelihoods with the expected curvature in place of the actual one.

    theta <- theta + (F + mu diag F)^-1 d log L / d theta,     F = J^T J the Fisher information,

damped as by Levenberg and Marquardt: mu falls after a step that raises log L and rises after one that does not. F is never
indefinite, knows the scales of the parameters and their trade-offs, and a noise-free likelihood gives it exactly, so some
ten steps arrive where gradient descent takes hundreds.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PyTree

from jnm._param import cast
from jnm.fitting.fit import Fit
from jnm.fitting.free import Build
from jnm.fitting.loss import AbstractLikelihood
from jnm.fitting.priors import Priors

_DAMPING, _EASIER, _HARDER = 1e-3, 0.2, 8.0
_TRIES = 12  # of one step, each eight times shorter or so
_ARRIVED = 1e-3  # of a standard deviation: a step that nobody asks about
_LONGEST = 1.0  # in theta


def scoring(
    loss: AbstractLikelihood, theta: PyTree, build: Build, steps: int = 50, *, prior: Priors | None = None
) -> Fit:
    """The maximum of a likelihood, or with a `prior` of the posterior, by Fisher scoring from `theta`, as a `Fit`.

        >>> fit = jnm.fitting.scoring(jnm.WhittleLoss(lead, recording, dt=1.0), theta, build)

    `steps` bounds how many are taken; it ends where a step is below a thousandth of a standard deviation. Places that the
    loss refuses are stepped around. Raises `ValueError` for a loss that is no likelihood, and where it refuses the start.
    """
    if not isinstance(loss, AbstractLikelihood):
        raise ValueError(
            f"scoring: wanted a likelihood, such as jnm.WhittleLoss; got a {type(loss).__name__}. For losses with "
            "residuals there is jnm.fitting.least_squares."
        )
    first, unravel = ravel_pytree(theta)
    flat = np.asarray(first, float)

    def there(x: np.ndarray) -> PyTree:
        return unravel(jnp.asarray(x, first.dtype))

    def misfit(x: np.ndarray) -> float:
        with jax.enable_x64(True):
            return -float(_log_density(cast(loss, float), cast(build, float), widened(theta, x), cast(prior, float)))

    value, damping, trail, norms, reason = misfit(flat), _DAMPING, [], [], "all steps done"
    if not np.isfinite(value):
        loss.log_likelihood(build(theta))  # which says why
        raise ValueError("scoring: the loss at the start is not finite.")
    start, begun = value, flat
    for _ in range(steps):
        J, r = loss.scores(build, there(flat))
        F, g = _with_prior(J.T @ J, J.T @ r, prior, theta, flat)
        trail, norms = [*trail, value], [*norms, float(np.linalg.norm(g))]
        new, found, damping = _improved(misfit, flat, value, F, g, damping)
        moved, flat, value = new - flat, new, found
        if float(moved @ F @ moved) < _ARRIVED**2:
            reason = "arrived: the next step is below a thousandth of a standard deviation"
            break
    scale = 1 / loss.data
    return Fit(
        theta=there(flat), best_loss=value * scale, best_step=len(trail), start=there(begun), start_loss=start * scale,
        last=there(flat), losses=np.array(trail) * scale, gradient_norms=np.array(norms) * scale,
        skipped=np.zeros(len(trail), bool), stopped=reason, loss=loss, build=build, key=jax.random.key(0), judge_keys=1,
    )  # fmt: skip


def widened(theta: PyTree, x: Float[np.ndarray, " parameter"]) -> PyTree:
    """A flattened theta in its structure, in double precision; call it under `jax.enable_x64(True)`."""
    return ravel_pytree(cast(theta, float))[1](jnp.asarray(x, float))


def prior_curvature(prior: Priors, theta: PyTree, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minus the Hessian of log p at x, made positive, and its gradient."""
    with jax.enable_x64(True):
        g, H = _prior_slopes(cast(prior, float), cast(theta, float), jnp.asarray(x, float))
    values, directions = np.linalg.eigh(-np.asarray(H))
    return directions * np.maximum(values, 0.0) @ directions.T, np.asarray(g)


@eqx.filter_jit
def _prior_slopes(prior: Priors, theta: PyTree, x: Any) -> Any:
    unravel = ravel_pytree(theta)[1]

    def density(x):
        return prior.log_density(unravel(x))

    return jax.grad(density)(x), jax.hessian(density)(x)


@eqx.filter_jit
def _log_density(loss: AbstractLikelihood, build: Build, theta: PyTree, prior: Priors | None) -> Any:
    likelihood = loss.log_likelihood(build(theta))
    return likelihood if prior is None else likelihood + prior.log_density(theta)


def _with_prior(F: np.ndarray, g: np.ndarray, prior: Priors | None, theta: PyTree, flat: np.ndarray) -> Any:
    if prior is None:
        return F, g
    more, slope = prior_curvature(prior, theta, flat)
    return F + more, g + slope


def _improved(
    misfit: Any, flat: np.ndarray, value: float, F: np.ndarray, g: np.ndarray, damping: float
) -> tuple[np.ndarray, float, float]:
    """A place that is not worse, its value, and the damping of the next step; the same place where there is none."""
    size = np.maximum(np.diag(F), 1e-12 * np.max(np.diag(F), initial=1e-300))
    for _ in range(_TRIES):
        step = np.linalg.lstsq(F + damping * np.diag(size), g, rcond=None)[0]
        step = step * min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))
        found = misfit(flat + step)
        if found <= value:
            return flat + step, found, damping * _EASIER
        damping *= _HARDER
    return flat, value, damping
