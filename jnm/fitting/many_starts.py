"""many_starts(): the same descent from many places at once, in one batch, and their ranking.

`jnm.fitting.multi_start` fits from a few places with all that a fit offers; this is for many cheap ones: one compilation,
one batch, no checkpoints. What matters is how many starts end in the best valley, and how far the valleys' losses lie apart.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jnm.fitting.free import Build
from jnm.fitting.loss import LossFunction

_SAME = 0.1  # in theta: ends nearer than this lie in one valley


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Where many descents ended, the best first; those that were lost last."""

    theta: Float[np.ndarray, "start parameter"]
    """Flattened."""
    losses: Float[np.ndarray, " start"]
    begun: Float[np.ndarray, "start parameter"]
    gradient_norms: Float[np.ndarray, "start step"]
    build: Build

    @property
    def best(self) -> PyTree:
        """The theta of the best descent."""
        like = self.build.start()
        flat, unravel = ravel_pytree(like)
        return unravel(jnp.asarray(self.theta[0], flat.dtype))

    @property
    def agreeing(self) -> int:
        """How many descents ended where the best did."""
        near = np.max(np.abs(self.theta - self.theta[:1]), axis=1) < _SAME
        return int(np.sum(near & np.isfinite(self.losses)))

    def __str__(self) -> str:
        lost = int(np.sum(~np.isfinite(self.losses)))
        ends = self.losses[np.isfinite(self.losses)]
        return (
            f"{len(self.losses)} starts: {self.agreeing} ended where the best did (loss {ends[0]:.4g}), the others at "
            f"{ends[-1]:.4g} at most, {lost} were lost; gradient norm at the best end {self.gradient_norms[0, -1]:.2g}"
        )


def many_starts(
    loss: LossFunction,
    theta: PyTree,
    build: Build,
    optimiser: optax.GradientTransformation,
    steps: int,
    key: PRNGKeyArray,
    *,
    starts: int = 32,
    spread: float = 0.5,
    places: PyTree | None = None,
    clip: float = 1.0,
) -> Ranking:
    """Descend from many places in one batch, and rank where it led; `jnm.fit` or `scoring` goes on from `.best`.

        >>> ranking = jnm.fitting.many_starts(loss, theta, build, optax.adam(0.05), 100, jax.random.key(0))
        >>> fit = jnm.fitting.scoring(loss, ranking.best, build)

    The first start is `theta`, the others lie `spread` times standard normal numbers off, or are given as `places`, thetas
    with a leading axis (draws of a prior, say). All use the same noise. A descent keeps its best theta; steps that are not
    finite are not taken. Raises `ValueError` where no start has a finite loss.
    """
    flat, unravel = ravel_pytree(theta)
    scatter_key, noise_key = jax.random.split(key)
    if places is None:
        noise = jax.random.normal(scatter_key, (starts, flat.size), flat.dtype).at[0].set(0.0)
        begun = flat[None] + spread * noise
    else:
        begun = jax.vmap(lambda x: ravel_pytree(x)[0])(places)

    ends, losses, norms = _descended(loss, build, unravel, optimiser, begun, noise_key, steps, clip)
    losses = np.where(np.isfinite(losses), np.asarray(losses, float), np.inf)
    if not np.isfinite(losses).any():
        raise ValueError(f"many_starts: none of {len(losses)} starts has a finite loss; take a smaller spread.")
    order = np.argsort(losses)
    return Ranking(
        np.asarray(ends, float)[order],
        losses[order],
        np.asarray(begun, float)[order],
        np.asarray(norms, float)[order],
        build,
    )


@eqx.filter_jit
def _descended(
    loss: Any, build: Any, unravel: Any, optimiser: Any, begun: Array, key: Any, steps: int, clip: float
) -> Any:
    def value(x):
        return loss(build(unravel(x)), key)

    def descend(start):
        def step(carry, _):
            x, memory, best, least = carry
            now, slope = jax.value_and_grad(value)(x)
            norm = jnp.linalg.norm(slope)
            good = jnp.isfinite(now) & jnp.isfinite(norm)
            slope = jnp.where(good, slope * jnp.minimum(1.0, clip / norm), 0.0)
            better = good & (now < least)
            best, least = jnp.where(better, x, best), jnp.where(better, now, least)
            moves, memory = optimiser.update(slope, memory, x)
            back = jnp.where(good, x + moves, (x + best) / 2)  # half-way to where it was finite
            return (back, memory, best, least), norm

        first = (start, optimiser.init(start), start, jnp.asarray(jnp.inf, start.dtype))
        (_, _, best, least), norms = jax.lax.scan(step, first, None, length=steps)
        return best, least, norms

    return jax.vmap(descend)(begun)
