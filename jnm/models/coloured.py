r"""Coloured noise: an Ornstein-Uhlenbeck current x, as a model around a model.

    dx = -x / tau dt + sigma sqrt(2 / tau) dW,    the model within sees drive.current + x

x has stationary variance sigma^2 and autocorrelation exp(-|t| / tau). Of n independent paths sum(x) / sqrt(n) is such a
process too: the path in common where regions share one. Uhlenbeck & Ornstein, Phys. Rev. 36:823 (1930).
"""

import functools
import math
from collections import namedtuple
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive, State, overrides
from jnm._param import Positive, lift, param, region_shape, share

_CITATION = "Uhlenbeck GE, Ornstein LS (1930) On the theory of the Brownian motion. Phys Rev 36:823-841."


@functools.cache
def _extended(within: type) -> Any:
    """The state of a model with one field more, `ou`, the current x; `node` is the state without it."""
    state = namedtuple("ColouredState", (*within._fields, "ou"))  # pyright: ignore[reportAttributeAccessIssue, reportUntypedNamedTuple]
    state.node = property(lambda y: within(*y[:-1]))  # pyright: ignore[reportAttributeAccessIssue]
    return state


class ColouredNoise(AbstractModel):
    """A model that receives an Ornstein-Uhlenbeck current of its own in every population of every region.

    `tau` and `sigma` have shape [], [population] or [population, region] ([] or [region] for one population); `sigma`
    has the unit of the model's current, in Jansen-Rit that of p. The state is the model's with a field `ou` for x,
    which starts at zero and is stationary after a few `tau`.

    It goes around a node or around a network. With `common`, around a network only, all regions receive the same
    current in a population: the sum of `ou` over the n regions, divided by sqrt(n). To correlate the currents in part
    give `simulate` a `noise=jnm.White(shared=...)`.

        >>> node = jnm.ColouredNoise(jnm.PING(IE=2.0), tau=5.0, sigma=0.5)
        >>> net = jnm.ColouredNoise(jnm.Network(jnm.PING(IE=2.0), brain), tau=5.0, sigma=0.5, common=True)

    Raises `ValueError` for parameters of another shape or outside their domain, `common` without a network or with
    parameters that differ between regions, and a model that brings its own step or has a field `ou` already.
    """

    model: AbstractModel
    tau: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="correlation time")
    sigma: Float[Array, "..."] = param(domain=Positive(), doc="standard deviation, in units of the model's current")
    common: bool = eqx.field(default=False, static=True, metadata={"doc": "whether all regions share one path"})

    def __check_init__(self):
        name = type(self.model).__name__
        if overrides(self.model, "step"):
            raise ValueError(f"ColouredNoise: {name} brings its own step, which would not see the current.")
        if hasattr(self.model.init(), "ou"):
            raise ValueError(
                f"ColouredNoise: the state of {name} has a field `ou` already; one coloured noise a model."
            )
        if self.common and not hasattr(self.model, "connectome"):
            raise ValueError("ColouredNoise: common=True is for networks; put it around the network, not the node.")
        populations, regions = self._axes()
        own = region_shape(self, populations)
        if own and (self.common or regions not in ((), own)):
            wanted = "one value for all, since they share a path" if self.common else f"values for {regions[0]}"
            raise ValueError(f"ColouredNoise: tau or sigma is given for {own[0]} regions; wanted {wanted}.")

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The model's."""
        return self.model.rank

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The model's: the current itself is additive noise."""
        return self.model.calculus

    @property
    def citation(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The model's, and that of the process."""
        return f"{self.model.citation}\n{_CITATION}".lstrip()

    @property
    def connectome(self):
        """The network's; a node has none."""
        return self.model.connectome  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def receive(self) -> tuple[int, ...] | None:
        """The populations of the model that hear others."""
        return getattr(self.model, "receive", None)

    def init(self) -> State:
        """The model's start, and no current."""
        node, (populations, regions) = self.model.init(), self._axes()
        own = region_shape(self, populations)
        if own and not regions:  # regions that differ in their noise alone
            node, regions = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[..., None], leaf.shape + own), node), own
        return _with(node, jnp.zeros(populations + regions, jnp.result_type(*jax.tree.leaves(node))))

    def drift(self, t: Array, y: State, drive: Drive) -> State:
        return _with(self.model.drift(t, y.node, self._driven(y, drive)), -y.ou / lift(self.tau, y.ou.ndim))

    def diffusion(self, t: Array, y: State) -> State:
        tau, sigma = (lift(p, y.ou.ndim) for p in (self.tau, self.sigma))
        node = self.model.diffusion(t, y.node)
        noiseless = type(y.node)(*[None] * len(y.node))
        return _with(noiseless if node is None else node, jnp.broadcast_to(sigma * jnp.sqrt(2 / tau), y.ou.shape))

    def output(self, t: Array, y: State) -> Array:
        return self.model.output(t, y.node)

    def source(self, t: Array, y: State, drive: Drive) -> Array:
        return self.model.source(t, y.node, self._driven(y, drive))

    def constrain(self, y: State) -> State:
        free = y.node
        node = self.model.constrain(free)
        return y if node is free else _with(node, y.ou)

    def delays(self, dt: float) -> Any:
        return self.model.delays(dt)

    def _driven(self, y: State, drive: Drive) -> Drive:
        x = jnp.sum(y.ou, axis=-1, keepdims=True) / math.sqrt(y.ou.shape[-1]) if self.common else y.ou
        return drive._replace(current=share(drive.current, x.ndim) + x)

    def _axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lengths of the population and of the region axis of the model within, each () where there is none."""
        state = jax.eval_shape(self.model.init)
        regions = jax.eval_shape(lambda: self.model.output(jnp.zeros(()), self.model.init())).shape
        largest = max((leaf.shape for leaf in jax.tree.leaves(state)), key=len)
        return largest[: len(largest) - len(regions)], regions


def _with(node: State, x: Array) -> State:
    return _extended(type(node))(*node, x)
