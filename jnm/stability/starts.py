"""Where a search for fixed points begins: scattered states, the same ones every time.

QIF circuits (NMM1, NMM2 and networks of them) are started with rates from 0.003 to 3 / tau_m, everything else being
what those rates imply at rest; other models around their `init()` and the fixed point next to it, at distances that
span two decades.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel, State
from jnm.models.nmm1 import NMM1State
from jnm.models.nmm2 import NMM2State
from jnm.stability.field import flat

_RATES = (-2.5, 0.5)  # decades, in units of 1 / tau_m: from deep silence to a drive of 100 delta
_REACH = (-1.0, 1.0)  # decades, in units of the state's own size


def starts(model: AbstractModel, count: int, known: Float[np.ndarray, " n"]) -> Float[np.ndarray, "count n"]:
    """`count` states as vectors; `known` is a fixed point, or at least a state of the right size."""
    rng = np.random.default_rng(0)
    like = model.init()
    if isinstance(like, NMM1State | NMM2State):
        shape = jax.tree.leaves(like)[0].shape
        return np.stack([flat(resting_at(model, like, rates)) for rates in _rates(rng, count, shape)])
    start = np.asarray(flat(like))
    size = np.maximum(np.abs(start), np.abs(known)) + 0.1 * np.max(np.abs(known), initial=1e-3)
    distance = 10 ** rng.uniform(*_REACH, (count, 1))
    return known + distance * size * rng.uniform(-1.0, 1.0, (count, start.size))


def _rates(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Float[np.ndarray, "count ..."]:
    """In units of 1 / tau_m; every other start has the same rate in all populations and regions."""
    exponents = rng.uniform(*_RATES, (count, *shape))
    exponents[::2] = exponents[::2].mean(axis=tuple(range(1, 1 + len(shape))), keepdims=True)
    return 10**exponents


def resting_at(model: Any, like: State, rates: Float[np.ndarray, "..."]) -> State:
    """The state of a QIF circuit whose rates, synapses and v are what rest at these rates (1 / tau_m) implies."""
    node = getattr(model, "node", model)
    rank = rates.ndim

    def over(parameter: Array) -> np.ndarray:
        value = np.asarray(parameter)
        return value.reshape(value.shape + (1,) * (rank - value.ndim)) if value.ndim else value

    r = rates / over(node.tau_m)
    if isinstance(like, NMM1State):
        return like._replace(s=r)
    v = -over(node.delta) / (2 * np.pi * rates)
    return like._replace(r=r, v=v, s=None if like.s is None else r)
