"""The one contract: what a model of jnm is, and nothing else.

    dy = drift(t, y, drive) dt + diffusion(t, y) dW

A node, a network of nodes and a network of spiking neurons are all models in this sense, so simulation, fitting,
sweeps and stability have one code path each.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
from jaxtyping import Array

from jnm._param import check_domains, check_names

State = Any  # a NamedTuple of arrays; a field that a variant of the model does not have is None


class Drive(NamedTuple):
    """What reaches a model from outside.

    An array of the state's full rank speaks to each population; with one axis less it is shared by them.
    """

    synaptic: Array | float = 0.0  # afferent activity of other regions, 1/ms: enters like a synapse
    current: Array | float = 0.0  # stimulus: enters like I
    arrive: Callable[[Array], Array] | None = (
        None  # set by the loop for networks with delays: outputs now -> weighted sums
    )


Wiener = Callable[[Array, int], Array]
"""From the number of a step and a count to the Wiener increments [count, size] of so many steps, in sqrt(ms)."""


class AbstractModel(eqx.Module):
    """dy = drift(t, y, drive) dt + diffusion(t, y) dW, with t in ms and W a Wiener process in sqrt(ms).

    **Axes** are (population, region), region always last; a single node has no region axis. A model that is elementwise
    over regions serves as a node and as all nodes of a network.

    **Own schemes.** A model that brings its own exact scheme defines `step(t, dt, y, drive, noise)`; it replaces the
    solver's step and nothing else changes.
    """

    calculus: ClassVar[Literal["ito", "stratonovich"] | None] = None
    """How multiplicative noise is to be read; None for additive noise, where both readings agree."""

    citation: ClassVar[str] = ""
    """Whom to cite for the model, one paper a line."""

    rank: ClassVar[int] = 0
    """Axes of a single node's state: 1 where populations lead, 0 without them; a network appends the region axis."""

    @abc.abstractmethod
    def init(self) -> State:
        """The default start: a NamedTuple that fixes names, shapes and dtypes of the state."""

    @abc.abstractmethod
    def drift(self, t: Array, y: State, drive: Drive) -> State:
        """dy/dt without noise, per ms; same tree, shapes and dtypes as `y`."""

    def diffusion(self, t: Array, y: State) -> State | None:
        """Noise amplitudes per sqrt(ms), a state whose noiseless fields are None; None for a deterministic model."""
        return None

    def colour(self, white: Wiener, start: Array, count: int, dt: float) -> Any:
        """The noise of `count` steps from number `start`, as `step` wants it; by default the Wiener increments.

        Called once a block. A model with a `step` of its own may filter white noise here, that of earlier steps too.
        """
        return white(start, count)

    @abc.abstractmethod
    def output(self, t: Array, y: State) -> Array:
        """What other regions receive (1/ms for rates and synapses), one number a region.

        A complex one, such as z of an oscillator, where what is sent has an amplitude and a phase.
        """

    @abc.abstractmethod
    def source(self, t: Array, y: State, drive: Drive) -> Array:
        """The post-synaptic current behind the dipole, one number a region; `jnm.meg.Dipole` gives it its scale."""

    def constrain(self, y: State) -> State:
        """Applied after each step: clipping, phase wrapping. The default changes nothing."""
        return y

    def delays(self, dt: float) -> Any:
        """How the past enters a network with a conduction speed (`jnm.network.Delays`); None without delays."""
        return None

    @property
    def brings_step(self) -> bool:
        """Whether the model has a `step`, which replaces the solver's; a network has if its node has."""
        return hasattr(type(self), "step")

    def __new__(cls, *args: Any, **fields: Any):
        check_names(cls, fields)
        return super().__new__(cls)

    def __check_init__(self):
        check_domains(self)


def overrides(model: AbstractModel, method: str) -> bool:
    """Whether a model replaces an optional method of the contract, or brings a `step`."""
    if method == "step":
        return model.brings_step
    own = getattr(type(model), method, None)
    return own is not None and own is not getattr(AbstractModel, method, None)
