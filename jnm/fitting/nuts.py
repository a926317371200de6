"""nuts(): draws from a posterior by the No-U-Turn sampler of blackjax, started and scaled by the Laplace approximation.

In units of the Laplace approximation, theta = mean + L z, a posterior is nearly round, so that the sampler adapts little
more than its step. Hoffman MD, Gelman A (2014) The No-U-Turn sampler. J Mach Learn Res 15:1593-1623.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, PyTree

from jnm._optional import require
from jnm.fitting.draws import Draws
from jnm.fitting.free import Build
from jnm.fitting.laplace import laplace
from jnm.fitting.loss import AbstractLikelihood
from jnm.fitting.priors import Priors

_APART = 2.0  # standard deviations of the Laplace approximation by which chains are scattered at their start


def nuts(
    loss: AbstractLikelihood,
    theta: PyTree,
    build: Build,
    prior: Priors,
    key: PRNGKeyArray,
    *,
    draws: int = 500,
    warmup: int = 300,
    chains: int = 4,
    target_acceptance: float = 0.8,
) -> Draws:
    """Draws from the posterior of free parameters (extra "bayes").

        >>> draws = jnm.fitting.nuts(loss, theta, build, prior, jax.random.key(0))
        >>> draws.interval(0.9)["node.eta"], draws.to_datatree()

    **Arguments**

    - `theta`: where the search for the maximum begins; chains start about the maximum.
    - `prior`: of every parameter that the data alone do not tell.
    - `draws`, `warmup`: kept and adapting draws of each of `chains` chains.

    Where the model does not rest stably log L is minus infinity: a step that leads there is rejected, and counted as
    divergent.

    Raises `ValueError` as `laplace` and for a prior that is none, `ImportError` without blackjax.
    """
    if not isinstance(prior, Priors):
        raise ValueError(f"nuts: prior = {prior!r}; wanted jnm.fitting.Priors, which may leave out what the data tell.")
    blackjax = require("blackjax", extra="bayes")
    about = laplace(loss, theta, build, prior)
    dtype = ravel_pytree(theta)[0].dtype
    scale, mean = (jnp.asarray(x, dtype) for x in (np.linalg.cholesky(about.covariance), about.mean))
    unravel = ravel_pytree(theta)[1]

    @eqx.filter_jit
    def run(loss: Any, build: Any, prior: Any, key: PRNGKeyArray) -> Any:
        def density(z):
            theta = unravel(mean + scale @ z)
            value = loss.log_likelihood(build(theta)) + prior.log_density(theta)
            return jnp.where(jnp.isfinite(value), value, -jnp.inf)

        def chain(key):
            start_key, warm_key, draw_key = jax.random.split(key, 3)
            start = _APART / 2 * jax.random.normal(start_key, mean.shape, dtype)
            start = jnp.where(jnp.isfinite(density(start)), start, 0.0)
            adapt = blackjax.window_adaptation(blackjax.nuts, density, target_acceptance_rate=target_acceptance)
            (state, tuned), _ = adapt.run(warm_key, start, num_steps=warmup)
            step = blackjax.nuts(density, **tuned).step

            def one(state, key):
                state, info = step(key, state)
                kept = (info.is_divergent, info.acceptance_rate, info.num_integration_steps, info.energy)
                return state, (state.position, state.logdensity, *kept)

            return jax.lax.scan(one, state, jax.random.split(draw_key, draws))[1]

        return jax.lax.map(chain, jax.random.split(key, chains))

    z, lp, diverging, acceptance, steps, energy = (np.asarray(x) for x in run(loss, build, prior, key))
    stats = {"lp": lp, "diverging": diverging, "acceptance_rate": acceptance, "n_steps": steps, "energy": energy}
    return Draws(about.mean + z @ np.asarray(scale, float).T, stats, build, loss)
