r"""Regions that differ as maps of the brain do: receptor densities, myelin, the hierarchy of the cortex.

    value_i = base * (1 + sum_k slope_k map_ki)

One base and one slope a map stand for a parameter of all regions, so that a fit has two or three numbers to find where
it would have ninety. Deco et al., Curr. Biol. 28:3065 (2018), with a map of serotonin receptors; Demirtas et al., Neuron
101:1181 (2019), with myelin as a map of hierarchy.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive, State, Wiener
from jnm._param import as_parameter, check_domains, lift, param, parameters
from jnm.network.network import Network


class Heterogeneous(AbstractModel):
    """A network of which one parameter of the node follows maps; itself a model, as its network is.

        >>> model = jnm.network.Heterogeneous(net, "w", maps=receptors, slope=0.1)     # receptors: [region], mean zero
        >>> theta, build = jnm.free(model, where=lambda m: (m.slope, m.network.node.w))

    **Arguments**

    - `network`: a `jnm.Network`, or a `Heterogeneous` one; what its node has for the parameter is the base.
    - `parameter`: the name of the node's parameter.
    - `maps`: [region], or [map, region] for several; a map of mean zero leaves the base the mean over regions.
    - `slope`: [] for all maps, or [map]; of nodes with populations also [map, population].

    `model.expanded` is the network with the values written out, one a region. For two parameters put one around the
    other.

    Raises `ValueError` for a parameter that the node does not have, maps and slopes of another shape, maps that are not
    finite, and values outside the parameter's domain.
    """

    network: "Network | Heterogeneous"
    parameter: str = eqx.field(static=True, metadata={"doc": "the parameter of the node that follows the maps"})
    maps: Float[Array, "map region"] = eqx.field(
        converter=lambda maps: jnp.atleast_2d(as_parameter(maps)), metadata={"doc": "one row a map"}
    )
    slope: Float[Array, "..."] = param(0.0, doc="relative change of the parameter per unit of each map")

    def __check_init__(self):
        _check_parameter(self._plain.node, self.parameter)
        _check_shapes(self, self._plain.node)
        check_domains(self.expanded.node)

    @property
    def expanded(self) -> Network:
        """The network with one value of the parameter for each region."""
        node, n = self._plain.node, self.n_regions
        slope = jnp.broadcast_to(self.slope, (len(self.maps),)) if self.slope.ndim == 0 else self.slope
        factor = 1 + jnp.tensordot(slope.T, self.maps, axes=1, precision="highest")  # [region] or [population, region]
        shape, base = (*_lead(node), n), getattr(node, self.parameter)
        base = (
            lift(base, len(shape)) if node.rank else base
        )  # [region] of a node without populations is no [population]
        value = jnp.broadcast_to(base * (factor if factor.ndim == len(shape) else factor[None]), shape)
        return eqx.tree_at(lambda net: getattr(net.node, self.parameter), self._plain, value)

    @property
    def _plain(self) -> Network:
        """The network without this parameter's maps."""
        return self.network.expanded if isinstance(self.network, Heterogeneous) else self.network

    @property
    def node(self) -> AbstractModel:
        """The network's, with the values of all regions."""
        return self.expanded.node

    @property
    def coupling(self):
        """The network's."""
        return self.network.coupling

    @property
    def speed(self):
        """The network's."""
        return self.network.speed

    @property
    def connectome(self):
        """The network's."""
        return self.network.connectome

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return self.network.n_regions

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The node's."""
        return self.network.calculus

    @property
    def citation(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The network's."""
        return self.network.citation

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The network's."""
        return self.network.rank

    @property
    def brings_step(self) -> bool:
        return self.network.brings_step

    def init(self) -> State:
        return self.expanded.init()

    def drift(self, t: Array, y: State, drive: Drive) -> State:
        return self.expanded.drift(t, y, drive)

    def diffusion(self, t: Array, y: State) -> State | None:
        return self.expanded.diffusion(t, y)

    def colour(self, white: Wiener, start: Array, count: int, dt: float) -> Any:
        return self.expanded.colour(white, start, count, dt)

    def step(self, t: Array, dt: float, y: State, drive: Drive, noise: Any) -> State:
        """The node's own, if it brings one."""
        return self.expanded.step(t, dt, y, drive, noise)

    def output(self, t: Array, y: State) -> Array:
        return self.expanded.output(t, y)

    def source(self, t: Array, y: State, drive: Drive) -> Array:
        return self.expanded.source(t, y, drive)

    def constrain(self, y: State) -> State:
        return self.expanded.constrain(y)

    def delays(self, dt: float) -> Any:
        return self.network.delays(dt)


def _check_parameter(node: AbstractModel, name: str) -> None:
    given = [known for known in parameters(node) if getattr(node, known) is not None]
    if name not in given:
        raise ValueError(f"Heterogeneous: {type(node).__name__} has no parameter {name!r}; it has {', '.join(given)}.")


def _check_shapes(model: Heterogeneous, node: AbstractModel) -> None:
    maps, n, lead = model.maps, model.n_regions, _lead(node)
    finite = isinstance(maps, Tracer) or np.all(np.isfinite(np.asarray(maps)))
    if maps.shape[1:] != (n,) or not finite:
        raise ValueError(
            f"Heterogeneous: maps have shape {list(maps.shape)}; wanted [map, {n}], one finite number a region."
        )
    base = getattr(node, model.parameter).shape
    slopes, bases = dict.fromkeys([(), (len(maps),), (len(maps), *lead)]), dict.fromkeys([(), lead, (*lead, n)])
    if model.slope.shape not in slopes or base not in bases:
        raise ValueError(
            f"Heterogeneous: slope has shape {list(model.slope.shape)}, {model.parameter} {list(base)}; wanted one of "
            f"{list(map(list, slopes))} and of {list(map(list, bases))}."
        )


def _lead(node: AbstractModel) -> tuple[int, ...]:
    """(P,) of a node with populations, () of others."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(node.init))]
    return max(shapes, key=len)[: node.rank]
