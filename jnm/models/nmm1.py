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
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, check_domains, fill, lift, param, region_shape, share
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


def _as_tuple(populations: int | Iterable[int] | None) -> tuple[int, ...] | None:
    return populations if populations is None else tuple(np.ravel(np.asarray(populations)).tolist())


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
        default=None, static=True, converter=_as_tuple, metadata={"doc": "the populations that hear others; None: all"}
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
        if self.C.ndim > 3 or (self.C.ndim > 1 and self.C.shape[0] != self.C.shape[1]):
            raise ValueError(
                f"NMM1: C has shape {list(self.C.shape)}; give a scalar (or [region]) for one population, or C[to, "
                "from] of shape [P, P] (or [P, P, region]) for P of them."
            )
        for population in (self.send, *(self.receive or ())):
            if not 0 <= population < self.n_populations:
                raise ValueError(
                    f"NMM1: send = {self.send}, receive = {self.receive}, but populations are numbered 0 to "
                    f"{self.n_populations - 1}."
                )
        self._state_shape()  # raises where shapes disagree

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return int(self.C.ndim > 1)

    @property
    def n_populations(self) -> int:
        """P, the number of populations."""
        return self.C.shape[0] if self.C.ndim > 1 else 1

    def _state_shape(self) -> tuple[int, ...]:
        lead = self.C.shape[:1] if self.C.ndim > 1 else ()
        return lead + region_shape(self, lead, C=lead + lead)

    def init(self) -> NMM1State:
        """The quiet start of NMM2: s = 1 / (2 pi tau_m), z = 0."""
        s = fill(1 / (2 * jnp.pi * self.tau_m), self._state_shape())
        return NMM1State(s, jnp.zeros_like(s) if self.order == 2 else None)

    def rate(self, y: NMM1State, drive: Drive | None = None) -> Array:
        """Firing rates in 1/ms, in the shape of s."""
        drive, rank = Drive() if drive is None else drive, y.s.ndim
        tau_m, delta, eta, I = (lift(p, rank) for p in (self.tau_m, self.delta, self.eta, self.I))
        x = eta + I + share(drive.current, rank) + tau_m * self._synaptic(y, drive)
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
        return self._sending(y.s)

    def source(self, t: Array, y: NMM1State, drive: Drive) -> Array:
        """Synaptic input to the sending population in units of I: tau_m (sum_b C_ab s_b + afferents)."""
        return self._sending(lift(self.tau_m, y.s.ndim) * self._synaptic(y, drive))

    def _sending(self, x: Array) -> Array:
        return x if self.C.ndim < 2 else x[self.send]

    def _synaptic(self, y: NMM1State, drive: Drive) -> Array:
        """sum_b C_ab s_b + afferents, for every population."""
        if self.C.ndim < 2:
            return self.C * y.s + drive.synaptic
        return jnp.sum(lift(self.C, y.s.ndim + 1) * y.s[None], axis=1) + self._afferents(drive.synaptic, y.s)

    def _afferents(self, synaptic: Array | float, s: Array) -> Array | float:
        """Synaptic drive as the populations hear it: that of each, or zero in those that do not receive."""
        rows = share(synaptic, s.ndim)
        if self.receive is None or jnp.shape(rows)[:1] == s.shape[:1]:
            return rows
        if jnp.shape(rows)[:1] in ((), (1,)):
            receives = jnp.array([i in self.receive for i in range(self.n_populations)], s.dtype)
            return lift(receives, s.ndim) * rows
        return jnp.zeros_like(s).at[np.array(self.receive)].set(rows)
