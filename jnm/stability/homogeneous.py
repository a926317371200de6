"""All regions alike: the one-region network that a homogeneous brain network is, as long as its regions move in unison.

Where every region receives the same sum of weights s = sum_j W_ij, a state that is the same everywhere stays so, and
moves as a single region does that hears itself with weight s.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnm._model import AbstractModel, State
from jnm.network.connectome import Connectome
from jnm.network.network import Network
from jnm.stability.precision import is_traced

_SAME = 1e-6  # relative difference of two sums of weights that single precision makes of equal ones


def homogeneous(network: AbstractModel) -> Network:
    """The one-region network that behaves as every region of `network` does when all are alike.

        >>> brain = jnm.datasets.connectome().normalised("rows")
        >>> alone = jnm.stability.homogeneous(jnm.Network(jnm.PING(IE=10.0), brain, jnm.Linear(8.0)))
        >>> alone.connectome.weights
        Array([[1.]], dtype=float32)

    Its states have a region axis of length one; its fixed points, Hopf points and cycles are the homogeneous ones of
    `network`. Delays are left out: they do not move a fixed point.

    Raises `ValueError` for anything but a `jnm.Network`, for regions that receive different sums of weights, and for
    parameters given region by region.
    """
    if (reason := _unlike(network)) is not None:
        raise ValueError(reason)
    assert isinstance(network, Network)
    total = jnp.mean(jnp.sum(network.connectome.weights, axis=1))
    return Network(network.node, Connectome(total[None, None]), network.coupling)


def in_unison(model: Any) -> Any:
    """The one region that stands for all of a homogeneous network; any other model as it is."""
    alike = isinstance(model, Network) and model.n_regions > 1 and _unlike(model) is None
    return homogeneous(model) if alike else model


def for_one(network: Network, state: State) -> State:
    """A state of a homogeneous network, or of one of its regions, as a state of the one region.

    Raises `ValueError` for a state whose regions differ.
    """
    like = homogeneous(network).init()

    def first(x: Any, wanted: Any) -> Any:
        x = jnp.asarray(x, wanted.dtype)
        if x.ndim < wanted.ndim or x.shape[-1] == 1:
            return jnp.broadcast_to(x[..., None] if 0 < x.ndim < wanted.ndim else x, wanted.shape)
        if not is_traced(x) and np.ptp(np.asarray(x), axis=-1).max() > _SAME * np.abs(np.asarray(x)).max():
            raise ValueError("The state differs between regions; wanted a homogeneous one, alike in all of them.")
        return x[..., :1]

    return jax.tree.map(first, state, like)


def _unlike(network: Any) -> str | None:
    """Why the regions of a model are not all alike; None if they are."""
    if not isinstance(network, Network):
        return f"Wanted a jnm.Network of like regions; got a {type(network).__name__}."
    weights, node = network.connectome.weights, network.node
    if not is_traced(weights):
        sums = np.sum(np.asarray(weights, float), axis=1)
        if np.ptp(sums) > _SAME * np.max(np.abs(sums)):
            return (
                f"The regions receive different sums of weights ({sums.min():.4g} to {sums.max():.4g}), so that they "
                "cannot stay alike; build the network on connectome.normalised('rows')."
            )
    regions = jax.eval_shape(lambda: node.output(jnp.zeros(()), node.init())).shape
    if regions not in ((), (1,)) or (network.coupling.gain.ndim == 2 and network.coupling.gain.shape[-1] > 1):
        return (
            "The network's parameters are given region by region, so that its regions are not alike; give one value "
            "for all of them."
        )
    return None
