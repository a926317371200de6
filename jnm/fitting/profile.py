r"""profile(): how far one parameter can go if all others make the best of it.

    l_p(x) = max over the others of log L(theta | theta_k = x),     interval: 2 (l_p(max) - l_p(x)) < chi^2_1(level),

which needs no normal posterior: it follows bent valleys, and where a parameter is not identified it stays flat and the
interval has no end. Venzon DJ, Moolgavkar SH (1988) A method for computing profile-likelihood-based confidence intervals.
J R Stat Soc C 37:87-94.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jnm._param import cast
from jnm.fitting.free import Build
from jnm.fitting.laplace import elements
from jnm.fitting.loss import AbstractLikelihood
from jnm.fitting.scoring import scoring


@dataclasses.dataclass(frozen=True)
class Profile:
    """log L along one parameter, the others at their best."""

    label: str
    values: Float[np.ndarray, " point"]
    """Of the parameter, in its unit, rising."""
    drop: Float[np.ndarray, " point"]
    """log L at its largest less that here; infinite where the likelihood refuses."""
    others: Float[np.ndarray, "point parameter"]
    """The flattened theta at each point."""

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Where the drop crosses chi^2_1(level) / 2, by interpolation; infinite at an end that it does not reach."""
        from scipy.special import chdtri

        limit, best = chdtri(1, 1 - level) / 2, int(np.argmin(self.drop))
        inside = np.minimum(self.drop, 1e300)
        low = _crossing(inside[best::-1], self.values[best::-1], limit)
        high = _crossing(inside[best:], self.values[best:], limit)
        return (-np.inf if low is None else low, np.inf if high is None else high)


def profile(
    loss: AbstractLikelihood,
    theta: PyTree,
    build: Build,
    label: str,
    *,
    reach: float = 3.0,
    points: int = 13,
    steps: int = 30,
) -> Profile:
    """The profile likelihood of one element of one parameter, `label` of `build.labels`, about the best fit `theta`.

        >>> jnm.fitting.profile(loss, fit.theta, build, "node.eta").interval(0.9)

    `points` values up to `reach` standard deviations (of the Fisher information; one unit of theta at most, for parameters
    it does not tell) to either side; at each the others are fitted anew by Fisher scoring, from where the last point ended.

    Raises `ValueError` for an unknown label.
    """
    if label not in build.labels:
        raise ValueError(f"profile: {label!r} is not free; there are {', '.join(build.labels)}.")
    k, best = build.labels.index(label), np.asarray(ravel_pytree(theta)[0], float)
    J, _ = loss.scores(build, theta)
    width = reach * min(float(np.sqrt(np.linalg.pinv(J.T @ J, hermitian=True)[k, k])), 1 / reach)
    side = np.linspace(0.0, width, points // 2 + 1)[1:]
    middle = _at(loss, theta, build, k, best, steps)
    found = [middle]
    for sign in (-1, 1):
        x = middle[0]
        for offset in sign * side:
            start = x.copy()
            start[k] = best[k] + offset
            point = _at(loss, theta, build, k, start, steps)
            x = point[0] if np.isfinite(point[1]) else start
            found.append(point)
    order = np.argsort([x[k] for x, _ in found])
    thetas = np.array([found[i][0] for i in order])
    misfit = np.array([found[i][1] for i in order])
    values = np.array([elements(build, theta, x)[k] for x in thetas])
    return Profile(label, values, misfit - np.nanmin(misfit), thetas)


def _at(loss: Any, like: PyTree, build: Build, k: int, x: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """The best theta with element k held, and - log L there."""
    held: Any = _Held(build, like, jnp.asarray(x[k], float), k)
    rest = jnp.asarray(np.delete(x, k), ravel_pytree(like)[0].dtype)
    try:
        fit = scoring(loss, rest, held, steps) if rest.size else None
    except ValueError:  # the likelihood refuses this place
        return x, np.inf
    if fit is None:
        return x, -float(loss.log_likelihood(held(rest)))
    return np.insert(np.asarray(fit.theta, float), k, x[k]), fit.best_loss * loss.data


class _Held(eqx.Module):
    """A build of all free parameters but one."""

    build: Build
    like: PyTree
    value: Array
    k: int = eqx.field(static=True)

    def __call__(self, rest: Array) -> Any:
        full = jnp.insert(rest, self.k, self.value.astype(rest.dtype))
        return self.build(ravel_pytree(cast(self.like, rest.dtype))[1](full))


def _crossing(drop: np.ndarray, values: np.ndarray, limit: float) -> float | None:
    beyond = np.flatnonzero(drop > limit)
    if not beyond.size:
        return None
    j = int(beyond[0])
    share = (limit - drop[j - 1]) / (drop[j] - drop[j - 1])
    return float(values[j - 1] + share * (values[j] - values[j - 1]))
