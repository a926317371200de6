r"""NMM2: the exact mean field of quadratic integrate-and-fire circuits, with synapses of order 0, 1 or 2.

For population a, with weights C[to, from],

    tau_a r_a' = delta_a / (pi tau_a) + 2 r_a v_a
    tau_a v_a' = v_a^2 + eta_a + I_a - (pi tau_a r_a)^2 + tau_a (sum_b C_ab s_b + afferents)
    order 0: s = r     order 1: tau_s s' = r - s     order 2: tau_s s' = z,  tau_s z' = r - 2 z - s

Rates r, synapses s and z are in 1/ms, v is dimensionless (the centre of a Lorentzian density, not a potential in mV).
Montbrio, Pazo & Roxin, Phys. Rev. X 5:021028 (2015), for order 0; Clusella, Koksal-Ersoz, Garcia-Ojalvo & Ruffini,
Biol. Cybern. (2023), for synapses of second order; Delicado, Huguet & Clusella, arXiv 2512.03907, for the PING node.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, lift, param


class NMM2State(NamedTuple):
    """Rate r, mean membrane variable v and synapse s, z; s is None for order 0 and z is None below order 2."""

    r: Array
    v: Array
    s: Array | None = None
    z: Array | None = None


class NMM2(AbstractModel):
    """A circuit of P exactly reduced QIF populations (see the head of this file for the equations).

    A scalar `C` makes one population, whose state has no population axis; a matrix `C[to, from]` makes P of them.
    Parameters have shape [] or, with P populations, [P] or [P, region]; with one population, [] or [region].

        >>> model = jnm.NMM2(tau_m=7.5, tau_s=2.0, delta=1.0, eta=20.0, C=-20.0, order=2)

    Raises `ValueError` for an order other than 0, 1, 2, a C that is not square, or parameters of another shape.
    """

    tau_m: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="membrane time constant")
    tau_s: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="synaptic time constant of the sending population")
    delta: Float[Array, "..."] = param(domain=Positive(), doc="half width of the Lorentzian distribution of excitability")
    eta: Float[Array, "..."] = param(doc="centre of the Lorentzian distribution of excitability")
    C: Float[Array, "..."] = param(doc="synaptic weights C[to, from]; positive excites, negative inhibits")
    order: int = eqx.field(default=2, static=True)
    I: Float[Array, "..."] = param(0.0, doc="constant input current; not scaled by tau_m")
    send: int = eqx.field(default=0, static=True)
    receive: tuple[int, ...] | None = eqx.field(default=None, static=True)
    sigma: Float[Array, "..."] | None = param(None, unit="1/sqrt(ms)", doc="amplitude of white noise on v", optional=True)
    sigma_r: Float[Array, "..."] | None = param(
        None, unit="1/(ms sqrt(ms))", doc="amplitude of white noise on r, which is then kept >= 0", optional=True
    )

    preset: str = eqx.field(default="", static=True)

    citation: ClassVar[str] = (
        "Montbrio E, Pazo D, Roxin A (2015) Macroscopic description for networks of spiking neurons. Phys Rev X 5:021028. "
        "Clusella P, Koksal-Ersoz E, Garcia-Ojalvo J, Ruffini G (2023) Comparison between an exact and a heuristic "
        "neural mass model with second-order synapses. Biol Cybern, arXiv:2206.07521."
    )

    _node_fields: ClassVar[tuple[str, ...]] = ("tau_m", "tau_s", "delta", "eta", "I")

    def __check_init__(self):
        if self.order not in (0, 1, 2):
            raise ValueError(f"NMM2: order = {self.order!r}; synapses are of order 0 (instantaneous), 1 or 2.")
        if self.C.ndim == 1 or (self.C.ndim > 1 and self.C.shape[0] != self.C.shape[1]):
            raise ValueError(f"NMM2: C has shape {self.C.shape}; give a scalar for one population or C[to, from], [P, P].")
        for name in (*self._node_fields, "sigma", "sigma_r"):
            self._check_shape(name)
        for population in (self.send, *(self.receive or ())):
            if not 0 <= population < self.n_populations:
                raise ValueError(f"NMM2: send/receive name population {population}; there are {self.n_populations}.")

    def _check_shape(self, name: str) -> None:
        shape = getattr(getattr(self, name), "shape", ())
        single = self.C.ndim == 0
        if len(shape) > (1 if single else 2) or (not single and shape and shape[0] != self.n_populations):
            wanted = "[] or [region]" if single else f"[], [{self.n_populations}] or [{self.n_populations}, region]"
            raise ValueError(f"NMM2: {name} has shape {shape}; with C of shape {self.C.shape} it must be {wanted}.")

    @property
    def n_populations(self) -> int:
        """P, the number of populations."""
        return self.C.shape[0] if self.C.ndim else 1

    def init(self) -> NMM2State:
        """A quiet start on the branch dr/dt = 0 with v = -delta, and s = r."""
        fields = tuple(getattr(self, name) for name in self._node_fields)
        lead = () if self.C.ndim == 0 else (self.n_populations,)
        regions = max((f.shape[len(lead) :] for f in fields if f.ndim), key=len, default=())
        shape = np.broadcast_shapes(lead + (1,) * len(regions), *(lift(f, len(lead + regions)).shape for f in fields))
        v = jnp.broadcast_to(-lift(self.delta, len(shape)), shape).astype(jnp.result_type(*fields))
        r = jnp.broadcast_to(1 / (2 * jnp.pi * lift(self.tau_m, len(shape))), shape).astype(v.dtype)
        return NMM2State(r, v, r if self.order else None, jnp.zeros_like(r) if self.order == 2 else None)

    def drift(self, t: Array, y: NMM2State, drive: Drive) -> NMM2State:
        tau_m, tau_s, delta, eta, I = (lift(getattr(self, name), y.r.ndim) for name in self._node_fields)
        r, v = y.r, y.v
        synaptic = self._recurrent(y) + self._afferent(drive.synaptic, v)
        dr = (delta / (jnp.pi * tau_m) + 2 * r * v) / tau_m
        dv = (v**2 + eta + I + drive.current - (jnp.pi * tau_m * r) ** 2) / tau_m + synaptic
        if self.order == 0:
            return NMM2State(dr, dv)
        if self.order == 1:
            return NMM2State(dr, dv, (r - y.s) / tau_s)
        return NMM2State(dr, dv, y.z / tau_s, (r - 2 * y.z - y.s) / tau_s)

    def diffusion(self, t: Array, y: NMM2State) -> NMM2State | None:
        if self.sigma is None and self.sigma_r is None:
            return None
        amplitudes = (None if s is None else jnp.broadcast_to(lift(s, y.r.ndim), y.r.shape) for s in (self.sigma_r, self.sigma))
        return NMM2State(*amplitudes)

    def constrain(self, y: NMM2State) -> NMM2State:
        return y if self.sigma_r is None else y._replace(r=jnp.maximum(y.r, 0.0))

    def output(self, t: Array, y: NMM2State) -> Array:
        return self._population(self._synapse(y))

    def source(self, t: Array, y: NMM2State, drive: Drive) -> Array:
        """Synaptic input to the sending population in units of I: tau_m (sum_b C_ab s_b + afferents).

        All synapses are given the same lever arm; v is not used, since it is no dendritic potential.
        """
        synaptic = self._recurrent(y) + self._afferent(drive.synaptic, y.v)
        return self._population(lift(self.tau_m, y.r.ndim) * synaptic)

    def _synapse(self, y: NMM2State) -> Array:
        return y.r if y.s is None else y.s

    def _population(self, x: Array) -> Array:
        return x if self.C.ndim == 0 else x[self.send]

    def _recurrent(self, y: NMM2State) -> Array:
        s = self._synapse(y)
        if self.C.ndim == 0:
            return self.C * s
        # A sum over two or three senders fuses with what surrounds it; a matrix product would be a call of its own.
        return jnp.sum(lift(self.C, s.ndim + 1) * s[None], axis=1)

    def _afferent(self, synaptic: Array | float, like: Array) -> Array | float:
        if self.C.ndim == 0 or self.receive is None:
            return synaptic
        if jnp.ndim(synaptic) < like.ndim:
            mask = np.isin(np.arange(self.n_populations), self.receive).reshape((-1,) + (1,) * (like.ndim - 1))
            return jnp.where(mask, synaptic, jnp.zeros((), like.dtype))
        return jnp.zeros_like(like).at[np.array(self.receive)].set(synaptic)


class _Preset(NamedTuple):
    """Values of a named circuit and where they come from."""

    values: dict[str, object]
    source: str


_CLUSELLA = "Clusella et al. 2023 and the authors' public AUTO code"
_PRESETS = {
    "MPR": _Preset(
        dict(tau_m=10.0, tau_s=10.0, delta=1.0, eta=-5.0, C=15.0, order=0),
        "Montbrio, Pazo & Roxin 2015 (bistable: delta 1, J 15, eta -5; tau_m chosen)",
    ),
    "ING": _Preset(dict(tau_m=7.5, tau_s=2.0, delta=1.0, eta=20.0, C=-20.0, order=2), _CLUSELLA),
    "Pyramidal": _Preset(
        dict(tau_m=15.0, tau_s=10.0, delta=1.0, eta=10.0, C=10.0, order=2),
        f"time constants: {_CLUSELLA}; C and eta chosen inside the resonant range",
    ),
    "PING": _Preset(
        dict(
            tau_m=(8.0, 8.0), tau_s=(1.0, 5.0), delta=(1.0, 1.0), eta=(-5.0, -5.0), C=((5.0, -13.0), (13.0, -5.0)), order=1
        ),
        "Delicado, Huguet & Clusella 2025 (arXiv 2512.03907), the authors' public code",
    ),
    "PINGSecondOrder": _Preset(
        dict(
            tau_m=(15.0, 7.5), tau_s=(10.0, 2.5), delta=(1.0, 1.0), eta=(5.0, 5.0), C=((15.0, -15.0), (15.0, -30.0)), order=2
        ),
        "Clusella et al. 2023 and follow-up material of the authors (arXiv 2512.10982), weights times 15, drive to both",
    ),
}


def _from_preset(name: str, fields: dict[str, object]) -> NMM2:
    known = [f.name for f in dataclasses.fields(NMM2) if f.name != "preset"]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{name}: unknown parameter {', '.join(unknown)}; known are {', '.join(known)}.")
    return NMM2(**{**_PRESETS[name].values, **fields}, preset=name)  # pyright: ignore[reportArgumentType]


def MPR(**fields: object) -> NMM2:
    """One excitatory QIF population with instantaneous synapses: bistable between rest and high activity at eta = -5."""
    return _from_preset("MPR", fields)


def ING(**fields: object) -> NMM2:
    """An inhibitory population that makes gamma by itself (ING): oscillates for eta in (5.32, 76.7), 100.7 Hz at eta = 20."""
    return _from_preset("ING", fields)


def Pyramidal(**fields: object) -> NMM2:
    """One pyramidal population with AMPA synapses of second order: resonant (109 Hz at C = eta = 10), never oscillating."""
    return _from_preset("Pyramidal", fields)


def PING(IE: float | Array = 0.0, **fields: object) -> NMM2:
    """The excitatory-inhibitory gamma node of the 90-region networks; `IE` drives E alone.

    Axis 0 is (E, I). It rests below IE = 5.993 and oscillates at about 27 Hz and more above (no coupling).

        >>> net = jnm.Network(jnm.PING(IE=2.0), jnm.datasets.connectome().normalised("rows"), jnm.Linear(gain=10.0))
    """
    drive = jnp.asarray(IE, dtype=float)
    return _from_preset("PING", {"I": jnp.stack([drive, jnp.zeros_like(drive)]), **fields})


def PINGSecondOrder(**fields: object) -> NMM2:
    """An excitatory-inhibitory circuit with second-order synapses, the same drive eta to both populations."""
    return _from_preset("PINGSecondOrder", fields)
