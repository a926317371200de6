r"""A brain at rest, struck by a brief input: the model behind `jnm fit`.

Every region of a network of mass models rests in the same stable fixed point. After the stimulus region i receives

    u_i k((t - onset_i) / width),    k(x) = (x e^(1 - x))^2 for x > 0,    onset_i = onset + sweep . (r_i - mean r),

a pulse that sets in at `onset_i`, peaks at 1 after `width` ms and is gone after four times that; `sweep` lets it travel over
the head. What the sources then do beyond their rest, times the scale of the dipole, are the moments of the regions.

There are many strengths u_i and one scale, and a weak input moves a network in proportion: sensors show only their product
(spec: meg.md 4). So the strengths keep a physiological size by their prior, and the scale says how far data may pull them.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from jnm._model import Drive, State
from jnm._param import Domain, Interval, as_parameter, param
from jnm.integration.simulate import simulate
from jnm.integration.stimulus import AbstractStimulus
from jnm.meg.dipole import Dipole
from jnm.models.jansen_rit import JansenRit
from jnm.network.connectome import Connectome
from jnm.network.coupling import Linear
from jnm.network.network import Network

STEP = 0.5
"""ms, of the simulation."""

INTERVAL = 2.5
"""ms between the samples that are compared: five times finer than a low-pass at 40 Hz needs."""


class Free(NamedTuple):
    """A few numbers a fit may move: where they are, their domain, and the spread of their prior on the unconstrained line."""

    where: Callable[[Any], Array]
    domain: Domain
    spread: Array | float


class Scaled(Domain):
    """Real numbers in units of their prior: an optimiser's step is the same for all."""

    scale: Float[Array, "..."] | float

    def constrain(self, free):
        return free * self.scale

    def unconstrain(self, value):
        return value / self.scale

    def contains(self, value):
        return bool(np.all(np.isfinite(value)))

    def __str__(self):
        return "real"


class AbstractResponse(eqx.Module):
    """What regions do after a stimulus, in proportion to strengths of their own (or nearly)."""

    strength: eqx.AbstractVar[Float[Array, " region"]]
    onset: eqx.AbstractVar[Float[Array, ""]]
    dipole: eqx.AbstractVar[Dipole]

    @abc.abstractmethod
    def moments(self, duration: float) -> Float[Array, "time region"]:
        """Moments in nA m, every `INTERVAL` ms up to `duration` ms after the stimulus."""

    free: ClassVar[dict[str, Free]]
    """What a fit may move besides the strengths; one object for all instances, lest each fit compile anew."""


class BriefInput(AbstractStimulus):
    """u_i k((t - onset_i) / width): one pulse for all regions, each with its strength and, along `sweep`, its time."""

    strength: Float[Array, " region"] = param(unit="1/ms", doc="peak of the input to each region")
    onset: Float[Array, " region"] = param(unit="ms", doc="when it sets in")
    width: Float[Array, ""] = param(unit="ms", doc="from onset to peak")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        return self.strength * pulse((t - self.onset) / self.width, 2.0)


def pulse(x: Float[Array, "..."], shape: Float[Array, ""] | float) -> Float[Array, "..."]:
    """(x e^(1 - x))^shape for x > 0, else 0: a gamma function that peaks at x = 1, where it is 1."""
    inside = jnp.where(x > 0, x, 1.0)  # where() alone would let the gradient of log(0) through
    return jnp.where(x > 0, jnp.exp(shape * (jnp.log(inside) + 1 - inside)), 0.0)


class StruckNetwork(AbstractResponse):
    """A network at rest and the input that strikes it; made by `StruckNetwork.of(connectome)`.

        brain = StruckNetwork.of(connectome.normalised("rows"))
        Q = brain.moments(300.0)                 # [time, region] in nA m

    In a fit, bounds keep the rest stable (slower or more strongly driven columns oscillate by themselves), the rates near
    their published values, and the input brief: averages of few trials drift, and an input that may last would fit the
    drift.
    """

    network: Network
    dipole: Dipole
    positions: Float[Array, "region 3"]
    """From their mean, mm."""
    strength: Float[Array, " region"] = param(unit="1/ms", doc="peak of the input to each region")
    onset: Float[Array, ""] = param(45.0, unit="ms", doc="when the input reaches the middle of the head")
    sweep: Float[Array, "3"] = param(
        (0.0, 0.0, 0.0), unit="ms/mm", doc="how much later per mm to the right, front and top"
    )
    width: Float[Array, ""] = param(18.0, unit="ms", doc="from onset to peak of the input")

    @classmethod
    def of(cls, connectome: Connectome) -> "StruckNetwork":
        """Jansen-Rit columns that rest below their alpha oscillation (p = 30 /s), coupled with gain 10; no input yet.

        Wants a connectome with centres whose rows all have one sum (`normalised("rows")`): then all regions rest alike.
        """
        if connectome.centres is None:
            raise ValueError(
                "StruckNetwork: the connectome has no centres; give Connectome(weights, centres=...) in mm."
            )
        network = Network(JansenRit(p=as_parameter(0.03)), connectome, Linear(gain=as_parameter(10.0)))
        middle = jnp.mean(connectome.centres, axis=0, keepdims=True)
        return cls(
            network=network,
            dipole=Dipole.psp(),
            positions=connectome.centres - middle,
            strength=jnp.zeros(network.n_regions),
        )

    free: ClassVar = {
        "gain": Free(lambda m: m.network.coupling.gain, Interval(0.0, 20.0), 1.0),
        "a": Free(lambda m: m.network.node.a, Interval(0.09, 0.2), 1.0),
        "b": Free(lambda m: m.network.node.b, Interval(0.03, 0.08), 1.0),
        "p": Free(lambda m: m.network.node.p, Interval(-0.05, 0.05), 1.0),
        "onset": Free(lambda m: m.onset, Interval(0.0, 120.0), 1.0),
        "sweep": Free(lambda m: m.sweep, Scaled(0.3), 1.0),
        "width": Free(lambda m: m.width, Interval(3.0, 30.0), 1.0),
    }

    @property
    def input(self) -> BriefInput:
        """The input to all regions."""
        onset = sweeping(self.onset, self.sweep, self.positions)
        return BriefInput(strength=self.strength, onset=onset, width=self.width)

    def moments(self, duration: float) -> Float[Array, "time region"]:
        network, start, stimulus = self.network, rest(self.network), self.input
        before = network.source(jnp.zeros(()), start, Drive())

        def source(t: Array, y: State) -> Array:
            return network.source(t, y, Drive()) - before

        solution = simulate(
            network, duration, STEP, y0=start, stimulus=stimulus, save_every=INTERVAL, save=source, throw=False
        )
        return self.dipole(solution.ys)


def sweeping(
    middle: Float[Array, ""], gradient: Float[Array, "3"], positions: Float[Array, "region 3"]
) -> Float[Array, " region"]:
    """A quantity that changes steadily over the head."""
    return middle + jnp.sum(gradient[None] * positions, axis=1)


def rest(network: Network) -> State:
    """The fixed point that all regions share, by Newton's method from the node's quiet start.

    Regions must be alike and the rows of the connectome have one sum. Derivatives come from the implicit function theorem.
    """
    received = jnp.sum(network.connectome.weights[0])
    one = Network(network.node, Connectome(received[None, None]), network.coupling)
    still = optx.root_find(
        lambda y, _: one.drift(jnp.zeros(()), y, Drive()), optx.Newton(rtol=1e-5, atol=1e-6), one.init(), throw=False
    )
    return jax.tree.map(lambda x, like: jnp.broadcast_to(x, like.shape), still.value, network.init())
