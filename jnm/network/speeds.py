r"""Conduction speeds that differ between connections.

Axons of one brain differ in diameter, and speed grows with it; both are spread like log-normal variables (Liewald, Miller,
Logothetis, Wagner & Schuez, Biol. Cybern. 108:541, 2014). Here a whole connection has one speed,

    v_ij = median exp(spread n_ij),     n_ij standard normal,

the same in both directions, because fibres of one bundle are alike.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


def drawn_speeds(n_regions: int, median: float | Array, spread: float | Array, *, seed: int) -> Float[Array, "to from"]:
    """Log-normal conduction speeds, one for each connection, in mm/ms.

        >>> speeds = jnm.network.drawn_speeds(brain.n_regions, median=5.0, spread=0.3, seed=0)
        >>> net = jnm.Network(jnm.PING(), brain, jnm.Linear(10.0), speed=speeds)

    **Arguments:** `median` in mm/ms; `spread` is the standard deviation of the logarithm (0 makes all alike); the same
    `seed` draws the same speeds, so that `median` and `spread` can be varied alone, and fitted: works under
    jit and grad, where the network wants its `speed_range`.

    Raises `ValueError` for a median that is not positive and a spread that is negative.
    """
    known = not isinstance(median, Tracer) and not isinstance(spread, Tracer)
    if known and not (0 < median < np.inf and 0 <= spread < np.inf):
        raise ValueError(f"drawn_speeds: median = {median}, spread = {spread}; wanted median > 0 and spread >= 0.")
    draws = np.triu(np.random.default_rng(seed).normal(size=(n_regions, n_regions)))
    return median * jnp.exp(spread * jnp.asarray(draws + np.triu(draws, 1).T, float))
