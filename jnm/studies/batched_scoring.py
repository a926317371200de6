r"""Maximum likelihood of many records at once: `jnm.fitting.scoring` as a program that `jax.vmap` and `jax.lax.map` take.

    theta <- theta + (F + mu diag F)^-1 d log L / d theta,

mu ten times smaller after a step that was none the worse, ten times larger after one that is taken back. F, the Fisher
information, is positive where the curvature of log L need not be, and F^-1 is the covariance of the estimates.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_ARRIVED = 1e-2  # standard deviations: the last step of a fit that came to its end
_LEAST_DAMPING = 1e-4  # of a step that follows one taken back


class Scores(NamedTuple):
    """What is known of a likelihood at a point."""

    score: Float[Array, "... parameter"]
    """The gradient of log L."""
    information: Float[Array, "... parameter parameter"]
    misfit: Float[Array, "..."]
    """- log L."""


class Found(NamedTuple):
    """Where scoring came to; of many fits with an axis in front of each array."""

    theta: Float[Array, "... parameter"]
    here: Scores
    damping: Float[Array, "..."]
    step: Float[Array, "..."]
    """The last one, in standard deviations."""
    steps: Array

    @property
    def covariance(self) -> Float[Array, "... parameter parameter"]:
        """Of the estimates."""
        return jnp.linalg.inv(self.here.information)

    @property
    def arrived(self) -> Bool[Array, "..."]:
        """Whether the fit came to its end before its steps did."""
        return self.step <= _ARRIVED


def batched_scoring(
    at: Callable[[Array], Scores],
    start: Float[Array, " parameter"],
    *,
    steps: int,
    damping: float = 1e-3,
    longest: float = jnp.inf,
) -> Found:
    """The most likely theta, from `start`; no coordinate moves by more than `longest` in a step.

    The first turn goes nowhere: it looks at the start, so that `at` is compiled but once.
    """

    def turn(fit: Found) -> Found:
        score, information, misfit = fit.here
        change = jnp.linalg.solve(information + fit.damping * jnp.diag(jnp.diag(information)), score)
        change = jnp.clip(change, -longest, longest)
        theta, size = fit.theta + change, jnp.sqrt(change @ information @ change)
        there = Found(theta, at(theta), fit.damping / 10, jnp.where(fit.steps == 0, far, size), fit.steps + 1)
        back = fit._replace(damping=jnp.maximum(10 * fit.damping, _LEAST_DAMPING), steps=fit.steps + 1)
        return jax.tree.map(lambda x, y: jnp.where(there.here.misfit <= misfit, x, y), there, back)

    far = jnp.asarray(jnp.inf, start.dtype)
    nothing = Scores(jnp.zeros_like(start), jnp.eye(len(start), dtype=start.dtype), far)
    begin = Found(start, nothing, jnp.asarray(10 * damping, start.dtype), far, jnp.asarray(0))
    return jax.lax.while_loop(lambda fit: ~fit.arrived & (fit.steps <= steps), turn, begin)
