r"""NMM1: the heuristic neural mass, whose rate follows its input at once through a static transfer function.

    order 1: tau_s s' = r - s     order 2: tau_s s' = z,  tau_s z' = r - 2 z - s
    r_a = phi(X_a),   X_a = eta_a + I_a + tau_a (sum_b C_ab s_b + afferents)

    QIF      tau phi(X) = Psi(X) = Re sqrt(X + i delta) / pi
    sigmoid  phi(X) = 2 e0 / (1 + exp(rho (v0 - X))),   X in mV

With the QIF transfer it is the limit of NMM2 for synapses that are slow against the membrane, tau_m / tau_s -> 0: the
error falls in proportion to tau_m / tau_s. A single population has no oscillation, whatever its parameters: the
divergence of its flow is -2 / tau_s everywhere. Clusella, Koksal-Ersoz, Garcia-Ojalvo & Ruffini, Biol. Cybern. (2023).
"""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, check_domains, fill, lift, param, share
from jnm.models import circuit
from jnm.models.nmm2 import NMM2

_JANSEN_RIT = "Jansen & Rit 1995"


def psi(x: Float[Array, "..."], delta: Float[Array, "..."]) -> Float[Array, "..."]:
    """Psi(x; delta) = Re sqrt(x + i delta) / pi: the rate, in units of 1/tau_m, of QIF neurons with constant input x.

    Written without the cancellation that costs all digits where x is far below zero, and with finite derivatives.

    >>> float(jnm.models.psi(5.0, 1.0))
    0.715277...
    """
    modulus = jnp.sqrt(x**2 + delta**2)
    root = jnp.sqrt((modulus + jnp.where(x < 0, -x, x)) / 2)
    return jnp.where(x < 0, delta / (2 * root), root) / jnp.pi


class AbstractTransfer(eqx.Module):
    """From the input X of a population to its rate in 1/ms."""

    @abc.abstractmethod
    def rate(self, x: Array, tau_m: Array, delta: Array) -> Array:
        """The rate at input `x` of neurons with membrane time constant `tau_m` (ms) and spread `delta`."""

    def __check_init__(self):
        check_domains(self)


class QIF(AbstractTransfer):
    """phi(X) = Psi(X; delta) / tau_m: exact for QIF neurons whose input is constant."""

    def rate(self, x: Array, tau_m: Array, delta: Array) -> Array:
        return psi(x, delta) / tau_m


class Sigmoid(AbstractTransfer):
    """phi(X) = 2 e0 / (1 + exp(rho (v0 - X))), X in mV: the transfer function of Jansen and Rit."""

    e0: Float[Array, ""] = param(
        0.0025, unit="1/ms", domain=Positive(), doc="half of the largest rate", source=_JANSEN_RIT, status="paper"
    )
    rho: Float[Array, ""] = param(
        0.56, unit="1/mV", domain=Positive(), doc="steepness", source=_JANSEN_RIT, status="paper"
    )
    v0: Float[Array, ""] = param(
        6.0, unit="mV", doc="input of half the largest rate", source=_JANSEN_RIT, status="paper"
    )

    def rate(self, x: Array, tau_m: Array, delta: Array) -> Array:
        return 2 * self.e0 * jax.nn.sigmoid(self.rho * (x - self.v0))


class NMM1State(NamedTuple):
    """Synapses s and, at order 2, z, in 1/ms."""

    s: Array
    z: Array | None = None


class NMM1(AbstractModel):
    """A circuit of P populations with static transfer functions (see the head of this file for the equations).

    The parameters are those of `jnm.NMM2`, in the same shapes, so that the two can be run side by side:

        >>> exact = jnm.Pyramidal()
        >>> heuristic = jnm.NMM1.of(exact)
        >>> classical = jnm.NMM1(15.0, 10.0, 1.0, 2.0, 10.0, order=2, transfer=jnm.models.Sigmoid())

    White noise `sigma` is added to the rate that enters the synapses.

    Raises `ValueError` for an order other than 1 or 2 (at order 0 nothing is left to evolve), a C that is not square,
    parameters of another shape or outside their domain, and populations that do not exist.
    """

    tau_m: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="membrane time constant; scales the rate only")
    tau_s: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="time constant of the synapses it makes")
    delta: Float[Array, "..."] = param(domain=Positive(), doc="half width of the Lorentzian of excitability")
    eta: Float[Array, "..."] = param(doc="centre of the Lorentzian of excitability")
    C: Float[Array, "..."] = param(doc="synaptic weights C[to, from]; positive excites, negative inhibits")
    order: int = eqx.field(default=2, static=True, metadata={"doc": "order of the synapses: 1 or 2"})
    I: Float[Array, "..."] = param(0.0, doc="constant input current; not scaled by tau_m")
    transfer: AbstractTransfer = QIF()
    send: int = eqx.field(default=0, static=True, metadata={"doc": "the population that other regions hear"})
    receive: tuple[int, ...] | None = eqx.field(
        default=None,
        static=True,
        converter=circuit.as_populations,
        metadata={"doc": "the populations that hear others; None: all"},
    )
    sigma: Float[Array, "..."] | None = param(
        None, unit="1/sqrt(ms)", doc="white noise on the rate that enters the synapses, amplitude", optional=True
    )

    citation: ClassVar[str] = (
        "Clusella P, Koksal-Ersoz E, Garcia-Ojalvo J, Ruffini G (2023) Comparison between an exact and a heuristic "
        "neural mass model with second-order synapses. Biol Cybern, arXiv:2206.07521."
    )

    @classmethod
    def of(cls, model: NMM2, transfer: AbstractTransfer | None = None) -> "NMM1":
        """The NMM1 with the parameters of an NMM2; its noise, which is on v or r, is left out.

        Raises `ValueError` for an NMM2 of order 0.
        """
        shared = ("tau_m", "tau_s", "delta", "eta", "C", "order", "I", "send", "receive")
        return cls(**{name: getattr(model, name) for name in shared}, transfer=QIF() if transfer is None else transfer)

    def __check_init__(self):
        if self.order not in (1, 2):
            raise ValueError(
                f"NMM1: order = {self.order!r}; synapses are of order 1 or 2 (at order 0 the rate would follow itself "
                "without delay and nothing evolves)."
            )
        if not isinstance(self.transfer, AbstractTransfer):
            raise ValueError(
                f"NMM1: transfer = {self.transfer!r}; wanted jnm.models.QIF(), jnm.models.Sigmoid() or another "
                "AbstractTransfer."
            )
        circuit.check(self)

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return int(self.C.ndim > 1)

    @property
    def n_populations(self) -> int:
        """P, the number of populations."""
        return circuit.count(self.C)

    def init(self) -> NMM1State:
        """The quiet start of NMM2: s = 1 / (2 pi tau_m), z = 0."""
        s = fill(1 / (2 * jnp.pi * self.tau_m), circuit.state_shape(self))
        return NMM1State(s, jnp.zeros_like(s) if self.order == 2 else None)

    def rate(self, y: NMM1State, drive: Drive | None = None) -> Array:
        """Firing rates in 1/ms, in the shape of s."""
        drive, rank = Drive() if drive is None else drive, y.s.ndim
        tau_m, delta, eta, I = (lift(p, rank) for p in (self.tau_m, self.delta, self.eta, self.I))
        x = eta + I + share(drive.current, rank) + tau_m * circuit.synaptic(self, y.s, drive.synaptic)
        return self.transfer.rate(x, tau_m, delta)

    def drift(self, t: Array, y: NMM1State, drive: Drive) -> NMM1State:
        tau_s, r = lift(self.tau_s, y.s.ndim), self.rate(y, drive)
        if y.z is None:  # order 1
            return NMM1State((r - y.s) / tau_s)
        return NMM1State(y.z / tau_s, (r - 2 * y.z - y.s) / tau_s)

    def diffusion(self, t: Array, y: NMM1State) -> NMM1State | None:
        if self.sigma is None:
            return None
        amplitude = fill(self.sigma, y.s.shape) / lift(self.tau_s, y.s.ndim)
        return NMM1State(amplitude) if y.z is None else NMM1State(None, amplitude)  # pyright: ignore[reportArgumentType]

    def output(self, t: Array, y: NMM1State) -> Array:
        return circuit.sending(self, y.s)

    def source(self, t: Array, y: NMM1State, drive: Drive) -> Array:
        """Synaptic input to the sending population in units of I: tau_m (sum_b C_ab s_b + afferents)."""
        return circuit.sending(self, lift(self.tau_m, y.s.ndim) * circuit.synaptic(self, y.s, drive.synaptic))
