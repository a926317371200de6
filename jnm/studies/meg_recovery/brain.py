r"""The brain whose parameters are looked for: columns that are alike, rest in weak noise, and hear each other late.

Columns of Jansen and Rit on a connectome whose rows sum to one all rest alike, as one column that hears itself with the
coupling K. Near the rest, with h the answer of y1 - y2 to a current into p and S' slopes of the rate there,

    y = h (sigma xi + K S' W_w y),        W_w = W e^(-i w L / speed),
    h = e / (1 - e S' [.8 C^2 S1' e - (C / 4)^2 S2' i]),    e = A a / (i w + a)^2,    i = B b / (i w + b)^2,
    <Q Q*> = (nA m per mV)^2 sigma^2 |h|^2 T T*,    T = (1 - g W_w)^-1,    g = K S' h.

Four numbers are free, each by its logarithm: K, the drive p, the conduction speed, and sigma. p is the excitability: it
moves the rest along the sigmoid, and with it the slopes that make the rhythm, while K also says how much is shared. The
moment of a millivolt is known: sensors have nothing that would tell it from sigma.

Since |W_w| has rows that sum to one, all columns rest for sure, whatever the speed, where one by itself does and |g| < 1
at all frequencies (small-gain theorem).
"""

import typing
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jnm.fitting.resting import rest
from jnm.meg.dipole import Dipole
from jnm.models import JansenRit
from jnm.models.jansen_rit import JansenRitState
from jnm.network import Connectome, Linear, Network
from jnm.stability.field import shaped

NAMES = ("coupling K", "drive p", "speed", "noise sigma", "input p + K S")
"""What is looked for: four parameters and, made of them, all that a column receives at rest."""
UNITS = ("", " (1/ms)", " (mm/ms)", " (1/√ms)", " (1/ms)")
"""Of these, for the axes of figures."""

MIDDLE = (50.0, 0.4, 5.0, 0.01)
"""Chosen: a stable rest, and noise so weak that the linear spectrum is that of the simulation."""

CELLS = 5e7  # aligned pyramidal cells a region that move together: 5 cm^2 at 1e5 per mm^2. Chosen.


class Answer(NamedTuple):
    """g of the head of the file, and the density of a moment that hears nobody, (nA m)^2 / Hz."""

    g: Complex[Array, " frequency"]
    alone: Float[Array, " frequency"]


class Brain(eqx.Module):
    """A network of Jansen-Rit columns with noise and delays, and its dipoles. Made by `Brain.on(connectome)`.

        >>> brain = Brain.on(jnm.datasets.connectome())
        >>> S = brain.spectra(jnp.eye(90), jnp.arange(4.0, 31.0))        # (nA m)^2 / Hz, [frequency, region, region]

    Double precision is wanted for spectra. Raises `ValueError` for a connectome without lengths.
    """

    network: Network
    dipole: Dipole

    @classmethod
    def on(cls, connectome: Connectome, dipole: Dipole | None = None) -> "Brain":
        """The brain of the study on a connectome, whose rows are normalised."""
        K, p, speed, sigma = (jnp.asarray(value, float) for value in MIDDLE)
        network = Network(JansenRit(p=p, sigma=sigma), connectome.normalised("rows"), Linear(gain=K), speed=speed)
        return cls(network, Dipole.psp(cells=CELLS) if dipole is None else dipole)

    @property
    def column(self) -> JansenRit:
        """The column of which all regions are copies."""
        return typing.cast(JansenRit, self.network.node)

    @property
    def theta(self) -> Float[Array, "4"]:
        """The logarithms of what is looked for."""
        return jnp.log(jnp.stack(_free(self)))

    @property
    def told(self) -> Float[Array, "5"]:
        """The logarithms of all `NAMES`."""
        node, y = self.column, self.rest()
        heard = self.network.coupling.gain * node.rate(y.y1[0] - y.y2[0])
        return jnp.append(self.theta, jnp.log(node.p + heard))

    def at(self, theta: Float[Array, "4"]) -> "Brain":
        """The brain with other parameters."""
        return eqx.tree_at(_free, self, tuple(jnp.exp(theta)))

    def rest(self) -> JansenRitState:
        """Where all columns rest: potentials in mV and their slopes, [1]."""
        alone = Network(self.network.node, Connectome([[1.0]]), self.network.coupling)
        return shaped(alone, rest(alone).x)

    def answer(self, f_hz: Float[Array, " frequency"]) -> Answer:
        """How a column answers others and noise at frequencies of either sign."""
        node, y = self.column, self.rest()
        iw = 2j * jnp.pi * f_hz / 1000
        C, e, i = node.C, node.A * node.a / (iw + node.a) ** 2, node.B * node.b / (iw + node.b) ** 2
        S, S1, S2 = (_slope(node, u) for u in (y.y1 - y.y2, C * y.y0, C / 4 * y.y0))
        h = e / (1 - e * S * (0.8 * C**2 * S1 * e - (C / 4) ** 2 * S2 * i))
        moment = self.dipole(jnp.ones(1, f_hz.dtype)) * jnp.asarray(node.sigma)
        return Answer(self.network.coupling.gain * S * h, 2e-3 * (moment * jnp.abs(h)) ** 2)

    def spectra(
        self, lead: Float[Array, "row region"], f_hz: Float[Array, " frequency"]
    ) -> Complex[Array, "frequency row row"]:
        """Cross-spectra of what a matrix makes of the moments (nA m), one-sided per Hz."""
        return self.slopes(lead, f_hz)[0]

    def slopes(
        self, lead: Float[Array, "row region"], f_hz: Float[Array, " frequency"]
    ) -> tuple[Complex[Array, "frequency row row"], Complex[Array, "frequency 4 row row"]]:
        """Cross-spectra and their derivatives by `theta`.

        Of the parameters only the speed moves W_w and only g and the size of a moment know the others, so that products
        of matrices are made twice and not four times: d(T T*) = T [dg W_w + g dW_w] T T* and its adjoint.
        """
        is_ = self.answer(f_hz)

        def told(theta):
            at = self.at(theta).answer(f_hz)
            return jnp.stack([at.g.real, at.g.imag, jnp.log(at.alone)])

        slope = jax.jacfwd(told)(self.theta)
        dg, bigger = jax.lax.complex(slope[0], slope[1]), slope[2]
        weights, lengths = self.network.connectome.weights, self.network.connectome.lengths
        delays = jnp.asarray(lengths) / jnp.asarray(self.network.speed)
        turned = jnp.asarray(lead, is_.g.dtype)

        def one(at):
            f, g, alone, dg, bigger = at
            late = 2j * jnp.pi * f / 1000 * delays
            W = weights * jnp.exp(-late)
            T = jnp.linalg.inv(jnp.eye(len(W), dtype=g.dtype) - g * W)
            Y = turned @ T
            S = alone * Y @ Y.conj().T
            by_g, by_speed = (alone * ((Y @ moved) @ T) @ Y.conj().T for moved in (W, g * late * W))
            half = dg[:, None, None] * by_g[None] + jnp.array([0.0, 0.0, 1.0, 0.0])[:, None, None] * by_speed[None]
            return S, half + half.conj().swapaxes(1, 2) + bigger[:, None, None] * S[None]

        return jax.lax.map(one, (f_hz, is_.g, is_.alone, dg, bigger))


def _free(brain: Brain) -> tuple[Array, ...]:
    network, node = brain.network, brain.column
    return network.coupling.gain, node.p, network.speed, node.sigma  # pyright: ignore[reportReturnType]


def _slope(node: JansenRit, potential: Array) -> Array:
    """Of the rate, 1/(ms mV)."""
    rate = node.rate(potential)
    return node.rho * rate * (1 - rate / (2 * node.e0))
