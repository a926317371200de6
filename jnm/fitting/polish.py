"""polish(): damped Gauss-Newton steps from where a descent ended.

Two parameters that raise the same spectrum make the loss a long narrow valley: descent reaches its floor soon and
then crawls along it, one parameter traded for the other. Gauss-Newton steps go along the floor. They are taken on a
fixed set of fresh noise keys and only if they lower the loss on them, so a polished fit is never the worse for it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jnm.fitting.fit import Fit
from jnm.fitting.loss import AbstractLoss, AbstractResidualLoss
from jnm.fitting.step import judged, judgement, losses
from jnm.fitting.uncertainty import linearise

_KEYS = 2**32 - 2  # folded into the fit's key: keys that neither steps, judging nor the report use
_LONGEST = 0.5  # in theta: a longer step leaves the region where residuals are linear


def polish(fit: Fit, steps: int = 4, keys: int = 8) -> Fit:
    """The fit with its best theta moved by up to `steps` Gauss-Newton steps, on `keys` fresh noise keys.

        >>> fit = jnm.fitting.polish(jnm.fit(loss, theta, build, optax.adam(0.1), 200, jax.random.key(0)))

    A step that does not lower the loss is halved up to three times; then the polishing ends. The polished theta is
    judged on the keys of the fit, so `best_loss` and the report can be compared with those from before. Raises
    `ValueError` for a loss that is no weighted sum of `TimeCourseLoss`, `LogSpectralLoss` and their like.
    """
    loss = fit.loss
    terms = loss.terms() if isinstance(loss, AbstractLoss) else ((1.0, loss),)
    if not all(isinstance(term, AbstractResidualLoss) for _, term in terms):
        raise ValueError("polish: the loss has a term without residuals; use sums of TimeCourseLoss, LogSpectralLoss.")
    drawn = jax.random.split(jax.random.fold_in(fit.key, _KEYS), keys)
    flat, unravel = ravel_pytree(fit.theta)

    def value(flat):
        return judgement(np.asarray(losses(loss, fit.build, unravel(flat), drawn), float))

    best, taken = value(flat), 0
    for _ in range(steps):
        step = _gauss_newton(terms, fit, unravel(flat), drawn)
        trial = ((flat + step / 2**halved) for halved in range(4))
        better = next(((x, v) for x in trial if (v := value(x)) < best), None)
        if better is None:
            break
        (flat, best), taken = better, taken + 1
    theta = unravel(flat)
    judged_loss = judgement(judged(loss, fit.build, theta, fit.key, fit.judge_keys))
    stopped = f"{fit.stopped}, then {taken} Gauss-Newton steps"
    return dataclasses.replace(fit, theta=theta, best_loss=judged_loss, stopped=stopped)


def _gauss_newton(terms: Any, fit: Fit, theta: Any, keys: Any) -> jax.Array:
    """-(J^T J)^-1 J^T r over all terms and keys, cut to the longest step allowed."""
    H, g = 0.0, 0.0
    for weight, term in terms:
        for key in keys:
            r, J = (np.asarray(x, float) for x in linearise(term, fit.build, theta, key))
            H = H + weight / r.size * np.einsum("ncp,ncq->pq", J, J)
            g = g + weight / r.size * np.einsum("ncp,nc->p", J, r)
    step = -np.linalg.lstsq(np.atleast_2d(H), np.atleast_1d(g), rcond=None)[0]  # no step where the loss is blind
    return jnp.asarray(step * min(1.0, _LONGEST / max(np.abs(step).max(), _LONGEST)), ravel_pytree(theta)[0].dtype)
