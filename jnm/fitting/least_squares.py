"""least_squares(): Levenberg and Marquardt's steps, by optimistix, for losses that are sums of squares.

Where the residuals are those of fixed noise keys the loss is a deterministic function, and Gauss-Newton steps go along the
valleys in which gradient descent crawls. Few parameters, a good start: this. Many parameters or much noise: `jnm.fit`.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, PRNGKeyArray, PyTree

from jnm.fitting.fit import Fit
from jnm.fitting.free import Build
from jnm.fitting.loss import AbstractLoss, AbstractResidualLoss
from jnm.fitting.step import judged, judgement

_STEP_KEYS = 1  # folded into the key for the noise of the fit; 0 is for judging


def least_squares(
    loss: AbstractLoss,
    theta: PyTree,
    build: Build,
    key: PRNGKeyArray,
    *,
    keys: int = 1,
    steps: int = 64,
    tolerance: float = 1e-6,
    judge_keys: int = 4,
) -> Fit:
    """A minimum of a sum of squares from `theta`, by Levenberg-Marquardt, as a `Fit` with its report.

        >>> fit = jnm.fitting.least_squares(jnm.TimeCourseLoss(...), theta, build, jax.random.key(0))

    **Arguments**

    - `loss`: a weighted sum of losses with residuals (`jnm.TimeCourseLoss`, `jnm.LogSpectralLoss`, ...).
    - `keys`: how many noise keys the residuals are taken on, the same throughout.
    - `steps`, `tolerance`: at most so many; it ends where loss and theta change less than this, relatively.

    Raises `ValueError` for a loss with a term without residuals, and where it is not finite at the start.
    """
    terms = loss.terms() if isinstance(loss, AbstractLoss) else ((1.0, loss),)
    if not all(isinstance(term, AbstractResidualLoss) for _, term in terms):
        raise ValueError(
            "least_squares: the loss has a term without residuals; use sums of TimeCourseLoss, LogSpectralLoss, or "
            "jnm.fitting.scoring for a likelihood."
        )
    drawn = jax.random.split(jax.random.fold_in(key, _STEP_KEYS), keys)
    theta = jax.tree.map(jnp.asarray, theta)
    start = judgement(judged(loss, build, theta, key, judge_keys))
    if not np.isfinite(start):
        raise ValueError("least_squares: the loss at the start is not finite. Try loss(build(theta), key) by hand.")
    solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
    found, taken, arrived = solved(solver, terms, build, theta, drawn, steps)
    best = judgement(judged(loss, build, found, key, judge_keys))
    before, after = (float(_value(terms, build, x, drawn)) for x in (theta, found))
    return Fit(
        theta=found, best_loss=best, best_step=int(taken), start=theta, start_loss=start, last=found,
        losses=np.array([before, after]), gradient_norms=np.zeros(0), skipped=np.zeros(0, bool),
        stopped=f"{'arrived' if bool(arrived) else 'not arrived'} after {int(taken)} Levenberg-Marquardt steps",
        loss=loss, build=build, key=key, judge_keys=judge_keys,
    )  # fmt: skip


def stacked(terms: Any, model: Any, keys: PRNGKeyArray) -> list[Array]:
    """Residuals of all terms and keys, scaled such that their sum of squares is the loss."""

    def of(weight: float, term: Any) -> Array:
        r = jax.vmap(lambda key: term.residuals(model, key))(keys)
        return math.sqrt(weight / r.size) * r

    return [of(weight, term) for weight, term in terms]


@eqx.filter_jit
def solved(solver: Any, terms: Any, build: Any, theta: PyTree, keys: PRNGKeyArray, steps: int) -> Any:
    """Theta after at most `steps` steps of the solver on the stacked residuals, and how it ended."""

    def residuals(theta, _):
        return stacked(terms, build(theta), keys)

    answer = optx.least_squares(residuals, solver, theta, max_steps=steps, throw=False)
    return answer.value, answer.stats["num_steps"], answer.result == optx.RESULTS.successful


@eqx.filter_jit
def _value(terms: Any, build: Any, theta: PyTree, keys: PRNGKeyArray) -> Array:
    return sum((jnp.sum(r**2) for r in stacked(terms, build(theta), keys)), start=jnp.zeros(()))
