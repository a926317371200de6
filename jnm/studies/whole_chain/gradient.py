r"""One gradient through the whole chain, in time: cells spike -> synaptic currents -> dipoles -> sensors -> spectrum -> loss.

    loss = < (log S - log S_seen)^2 >,    S Welch's spectrum of    y = L Q,    Q = gain tau_m (C s + K links s),

for a network of masses, or of cells: `jnm.NestedShotNoise` with as many members as cells. Its synapses are of order 2
and do not jump when a spike crosses a step, so the gradient through spikes is exact, for the phases that were drawn.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jnm import observe
from jnm._model import Drive
from jnm.integration import simulate
from jnm.meg.dipole import Dipole
from jnm.meg.leadfield import LeadField
from jnm.models import NMM2
from jnm.network import Network
from jnm.spiking import NestedShotNoise
from jnm.studies.whole_chain.places import Places


class Chain(eqx.Module):
    """A network, of cells or masses, and its dipoles: what `jnm.free` chooses from.

    >>> chain = Chain.of_cells(places)
    >>> theta, build = jnm.free(chain, lambda c: (c.network.node.model.eta, c.network.coupling.gain, c.dipole.log_scale))
    """

    network: Network
    dipole: Dipole

    @classmethod
    def of_cells(cls, places: Places) -> "Chain":
        """All n cells of every place, whose only noise is that of their spikes."""
        node = NMM2(places.tau_m, places.tau_s, places.delta, places.eta, places.C)
        cells = NestedShotNoise(node, places.n, members=round(float(places.n)))
        mass = places.mass
        return cls(Network(cells, mass.connectome, mass.coupling), places.dipole)

    @classmethod
    def of_masses(cls, places: Places) -> "Chain":
        """The mass of every place, under white noise."""
        return cls(places.mass, places.dipole)


@dataclasses.dataclass(frozen=True)
class SensorLoss:
    """loss(chain, key) of the head of this file, simulated anew; times in ms.

    >>> loss = SensorLoss(lead, seen, t1=700.0, dt=0.15, discard=100.0, segment=150.0)
    >>> slope = jax.grad(lambda theta: loss(build(theta), key))(theta)

    `seen` are densities [frequency, channel] at the lowest frequencies above zero that segments have.
    """

    lead: LeadField | Callable[[Array], Array]
    seen: Float[Array, "frequency channel"]
    t1: float
    dt: float
    discard: float
    segment: float

    def signals(self, chain: Chain, key: PRNGKeyArray) -> Float[Array, "time channel"]:
        """What the sensors see, without their noise; a sample a step."""

        def field(t, y):
            return self.lead(chain.dipole(chain.network.source(t, y, Drive())))

        run = simulate(chain.network, self.t1, self.dt, key=key, save=field, discard=self.discard, throw=False)
        return run.ys

    def __call__(self, chain: Chain, key: PRNGKeyArray) -> Float[Array, ""]:
        S = observe.psd(self.signals(chain, key), self.dt, self.segment)[1][1 : len(self.seen) + 1]
        return jnp.mean((jnp.log(S) - jnp.log(self.seen)) ** 2)
