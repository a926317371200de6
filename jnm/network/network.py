"""A network of nodes, itself a model: it adds the afferent activity to the drive and calls the node."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive, State, Wiener
from jnm._param import Interval, Positive, as_parameter, param, share
from jnm.network.connectome import Connectome
from jnm.network.coupling import AbstractCoupling, Linear
from jnm.network.delay import Delays, Edges


class Network(AbstractModel):
    """Regions of one kind of node, coupled through a connectome.

        drive_i = gain * f(sum_j W_ij x_j(t - L_ij / speed), ...),   x = node.output

    `coupling` is f with its gain (default `Linear()`). With `speed` (mm/ms) the activity travels the lengths of the
    connectome; it is one number, or one for each connection (`jnm.network.drawn_speeds`), and delays that are known
    themselves come by `connectome.with_delays`. `speed_range` (default half to twice the speed) bounds what the speed
    may become later, by a fit or a sweep, because it sizes the history. Vector parameters of the node make the regions
    differ. Outside of `simulate` a network with delays takes the present for the past, which is right at a fixed point;
    so it does in its `save(t, y)`, but not in `save(t, y, drive)`.
    Only the populations in the node's `receive` hear other regions; a synaptic stimulus with a row for each population
    reaches all of them.

        >>> brain = jnm.datasets.connectome().normalised("rows")
        >>> net = jnm.Network(jnm.PING(IE=2.0, sigma=0.05), brain, jnm.Linear(gain=10.0), speed=5.0)

    Raises `ValueError` for a speed without lengths or outside its range, and for node parameters of another number of
    regions.
    """

    node: AbstractModel
    connectome: Connectome
    coupling: AbstractCoupling
    speed: Float[Array, "..."] | None = param(
        None, unit="mm/ms", domain=Positive(), doc="conduction speed", optional=True
    )
    speed_range: tuple[float, float] | None = eqx.field(
        default=None,
        static=True,
        metadata={"unit": "mm/ms", "doc": "slowest and fastest speed, which size the history"},
    )
    edges: Edges | None = eqx.field(default=None, static=True, repr=False)

    def __init__(
        self,
        node: AbstractModel,
        connectome: Connectome,
        coupling: AbstractCoupling | None = None,
        speed: float | Array | None = None,
        speed_range: tuple[float, float] | None = None,
    ):
        self.node, self.connectome = node, connectome
        self.coupling = Linear() if coupling is None else coupling
        self.speed = None if speed is None else as_parameter(speed)
        self.speed_range = _speed_range(
            speed, speed_range, connectome.n_regions
        )  # of the speed as it came: jit traces every array made in it
        self.edges = None if speed is None else _edges(connectome)

    def __check_init__(self):
        if hasattr(self.node, "connectome"):
            raise ValueError(
                "Network: the node is itself a network; a node is one region, or regions without coupling."
            )
        regions = _regions(self.node)
        if regions not in ((), (1,), (self.n_regions,)):
            raise ValueError(
                f"Network: node parameters for {regions[0]} regions, but the connectome has {self.n_regions}."
            )
        _check_gain(self.coupling.gain, self.node, self.n_regions)

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return self.connectome.weights.shape[0]

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The node's."""
        return self.node.calculus

    @property
    def citation(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The node's; `jnm.cite` names the connectome's too."""
        return self.node.citation

    @property
    def own_domains(self):
        """`speed` may move within `speed_range`."""
        return {} if self.speed_range is None else {"speed": Interval(*self.speed_range)}

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The node's, and one for regions."""
        return self.node.rank + 1

    def init(self) -> State:
        """The node's start in every region."""

        regional = bool(_regions(self.node))

        def spread(leaf):
            lead = leaf if regional else leaf[..., None]
            return jnp.broadcast_to(lead, (*lead.shape[:-1], self.n_regions))

        return jax.tree.map(spread, self.node.init())

    def drift(self, t: Array, y: State, drive: Drive) -> State:
        return self.node.drift(t, y, self._driven(t, y, drive))

    def diffusion(self, t: Array, y: State) -> State | None:
        return self.node.diffusion(t, y)

    def colour(self, white: Wiener, start: Array, count: int, dt: float) -> Any:
        return self.node.colour(white, start, count, dt)

    @property
    def brings_step(self) -> bool:
        return self.node.brings_step

    def step(self, t: Array, dt: float, y: State, drive: Drive, noise: Any) -> State:
        """The node's own, if it brings one; what arrives at the start of a step is held during it."""
        return self.node.step(t, dt, y, self._driven(t, y, drive), noise)  # pyright: ignore[reportAttributeAccessIssue]

    def output(self, t: Array, y: State) -> Array:
        return self.node.output(t, y)

    def source(self, t: Array, y: State, drive: Drive) -> Array:
        return self.node.source(t, y, self._driven(t, y, drive))

    def constrain(self, y: State) -> State:
        return self.node.constrain(y)

    def delays(self, dt: float) -> Delays | None:
        lengths = self.connectome.lengths
        if self.speed is None or self.speed_range is None or self.edges is None or lengths is None:
            return None
        slowest, fastest = self.speed_range
        steps = lengths / (self.speed * dt)
        return Delays.plan(self.edges, steps, self.connectome.weights, fastest, slowest, dt)

    def _driven(self, t: Array, y: State, drive: Drive) -> Drive:
        own = self.node.output(t, y)
        weights = self.connectome.weights
        total = weights @ own if drive.arrive is None else drive.arrive(own)
        afferent = self.coupling(total, own, jnp.sum(weights, axis=1))
        return Drive(self._together(drive.synaptic, afferent), drive.current)

    def _together(self, synaptic: Array | float, afferent: Array) -> Array | float:
        """Synaptic stimulus and afferent activity: one number a region, or a row for each population that hears them."""
        receive, rows = getattr(self.node, "receive", None), (*jnp.shape(synaptic), 0)[0]
        if receive is not None and jnp.ndim(synaptic) > 1 and rows == _populations(self.node):
            # The stimulus speaks to each population, the network to those that receive: the others get rows of zeros.
            afferent = jnp.zeros((rows, self.n_regions), afferent.dtype).at[np.array(receive)].set(share(afferent, 2))
        rank = max(jnp.ndim(synaptic), afferent.ndim)
        return share(synaptic, rank) + share(afferent, rank)


def _speed_range(speed: Any, given: tuple[float, float] | None, n_regions: int) -> tuple[float, float] | None:
    if speed is None:
        if given is not None:
            raise ValueError(f"Network: speed_range = {given} without a speed; give speed=, or leave speed_range out.")
        return None
    if np.shape(speed) not in ((), (n_regions, n_regions)):
        raise ValueError(
            f"Network: speed has shape {list(np.shape(speed))}; it is one number, in mm/ms, or one for each connection, "
            f"[to = {n_regions}, from = {n_regions}]."
        )
    concrete = not _traced(speed)
    if given is None and not concrete:
        raise ValueError("Network: a traced speed needs speed_range=(slowest, fastest) in mm/ms; it sizes the history.")
    slowest, fastest = (float(np.min(speed)), float(np.max(speed))) if concrete else (np.nan, np.nan)
    low, high = (slowest / 2, fastest * 2) if given is None else map(float, given)
    if not 0 < low < high < np.inf or (concrete and not low < slowest <= fastest < high):
        raise ValueError(
            f"Network: speed = {speed} with speed_range = ({low}, {high}) mm/ms; wanted 0 < low < speed < high."
        )
    return low, high


def _regions(node: AbstractModel) -> tuple[int, ...]:
    """The region axis of a node of which the parameters differ between regions, () for others."""
    return jax.eval_shape(lambda: node.output(jnp.zeros(()), node.init())).shape


def _populations(node: AbstractModel) -> int:
    """P, the length of an input's axis before the regions, also of a node that says so (`n_inputs`); 0 for none."""
    own, regions = getattr(node, "n_inputs", 0), len(_regions(node))
    leads = [leaf.shape[: leaf.ndim - regions] for leaf in jax.tree.leaves(jax.eval_shape(node.init))]
    return max((lead[0] for lead in leads if len(lead) == 1), default=own)  # neurons have two axes there


def _check_gain(gain: Array, node: AbstractModel, n_regions: int) -> None:
    populations = _populations(node)
    receiving = len(getattr(node, "receive", None) or range(populations))
    rows, columns = (*gain.shape, 1, 1)[:2]
    if gain.ndim > 2 or (gain.ndim and not populations) or rows not in (1, receiving) or columns not in (1, n_regions):
        kinds = (
            f", [{receiving}] or [{receiving}, {n_regions}]"
            if populations
            else " (scale the rows of the weights instead)"
        )
        raise ValueError(f"Network: the coupling's gain has shape {list(gain.shape)}; this node wants []{kinds}.")


def _edges(connectome: Connectome) -> Edges:
    if connectome.lengths is None:
        raise ValueError(
            "Network: speed is given, but the connectome has no lengths; give Connectome(weights, lengths=...) in mm, "
            "or leave speed out for instantaneous coupling."
        )
    if _traced(connectome.weights) or _traced(connectome.lengths):
        raise ValueError("Network: build a network with delays outside of jit and vmap; its lengths size the history.")
    to, source = np.nonzero(np.asarray(connectome.weights))
    return Edges(np.asarray(connectome.lengths, float)[to, source], to, source)


def _traced(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]
