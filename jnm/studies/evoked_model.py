r"""A brain at rest, struck by a brief input: the model behind `jnm fit`.

Every region of a network of mass models rests in the same stable fixed point. At the stimulus, region i receives

    u_i k((t - onset) / width),      k(x) = (x e^(1 - x))^2 for x > 0,

a pulse that rises from `onset`, peaks at 1 after `width` ms and has gone after about four times that. What the sources do
beyond rest, times the scale of the dipole, are the moments of the regions.

The strengths u_i are many and the scale of the dipole is one, and a weak input moves a network in proportion: only their
product shows at the sensors (spec: meg.md 4). The strengths therefore have a prior of fixed physiological size and the
dipole's log_scale is what decides how far the data may pull them (`jnm.studies.fit_evoked`).
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float

from jnm._model import Drive, State
from jnm._param import Interval, Positive, param
from jnm.integration.simulate import simulate
from jnm.integration.stimulus import AbstractStimulus
from jnm.meg.dipole import Dipole
from jnm.models.jansen_rit import JansenRit
from jnm.network.connectome import Connectome
from jnm.network.coupling import Linear
from jnm.network.network import Network

STEP = 0.5
"""ms; halving it changes the moments of the fitted sample response by less than 0.1 % (tested)."""

SAVE_EVERY = 2.5
"""ms between compared samples: five times finer than a 40 Hz low-pass needs."""


class BriefInput(AbstractStimulus):
    """strength_i (x e^(1 - x))^2 with x = (t - onset) / width: one pulse for all regions, of a strength of their own."""

    strength: Float[Array, " region"] = param(unit="1/ms", doc="peak of the input to each region; 0 for most")
    onset: Float[Array, ""] = param(40.0, unit="ms", domain=Interval(0.0, 150.0), doc="when the input sets in")
    width: Float[Array, ""] = param(20.0, unit="ms", domain=Interval(2.0, 80.0), doc="from onset to peak")
    into: Literal["current", "synaptic"] = eqx.field(default="current", static=True)

    def value(self, t):
        return self.strength * pulse((t - self.onset) / self.width)


def pulse(x: Float[Array, "..."], shape: Float[Array, ""] | float = 2.0) -> Float[Array, "..."]:
    """(x e^(1 - x))^shape for x > 0, else 0: a gamma function with its peak, 1, at x = 1."""
    inside = jnp.where(x > 0, x, 1.0)  # where() alone would pass the gradient of log(0) on
    return jnp.where(x > 0, jnp.exp(shape * (jnp.log(inside) + 1 - inside)), 0.0)


class StruckNetwork(eqx.Module):
    """A network, its input and its dipoles; `moments(duration)` is what they do after the stimulus, in nA m."""

    network: Network
    input: BriefInput
    dipole: Dipole

    @classmethod
    def resting(cls, connectome: Connectome) -> "StruckNetwork":
        """Jansen-Rit columns at their quiet rest (p = 50 /s, below the alpha oscillation), coupled by gain 10."""
        network = Network(JansenRit(p=0.05), connectome, Linear(gain=10.0))
        return cls(network, BriefInput(strength=jnp.zeros(network.n_regions)), Dipole.psp())

    @property
    def strength(self) -> Float[Array, " region"]:
        """The strength of the input to each region."""
        return self.input.strength

    def moments(self, duration: float) -> Float[Array, "time region"]:
        """Moments beyond rest, nA m, every `SAVE_EVERY` ms up to `duration` ms after the stimulus."""
        network, start = self.network, rest(self.network)
        before = network.source(jnp.zeros(()), start, Drive())

        def source(t: Array, y: State) -> Array:
            return network.source(t, y, self.input(t)) - before

        solution = simulate(
            network, duration, STEP, y0=start, stimulus=self.input, save_every=SAVE_EVERY, save=source, throw=False
        )
        return self.dipole(solution.ys)


def rest(network: Network) -> State:
    """The fixed point that all regions share, by Newton's method from the quiet start; differentiable.

    Wants regions alike and rows of the connectome with one sum. Derivatives are those of the implicit function theorem.
    """
    received = jnp.sum(network.connectome.weights[0])
    one = Network(network.node, Connectome(received[None, None]), network.coupling)
    still = optx.root_find(
        lambda y, _: one.drift(jnp.zeros(()), y, Drive()), optx.Newton(rtol=1e-5, atol=1e-6), one.init(), throw=False
    )
    return jax.tree.map(lambda x, like: jnp.broadcast_to(x, like.shape), still.value, network.init())
