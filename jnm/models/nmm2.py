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
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Default, Positive, Status, fill, lift, param, share
from jnm.models import circuit


class NMM2State(NamedTuple):
    """Rate r, mean membrane variable v and synapse s, z; s is None for order 0 and z is None below order 2."""

    r: Array
    v: Array
    s: Array | None = None
    z: Array | None = None


class NMM2(AbstractModel):
    """A circuit of P exactly reduced QIF populations (see the head of this file for the equations).

    A scalar `C`, or [region], makes one population, whose state has no population axis; a matrix `C[to, from]`, [P, P]
    or [P, P, region], makes P of them. The other parameters have shape [] or, with P populations, [P] or [P, region];
    with one population, [] or [region].

    Population `send` is what other regions receive; their activity, shared or one row a receiver, reaches the
    populations in `receive` (None: all). Synaptic drive with a row for every population reaches each by itself.

        >>> model = jnm.NMM2(tau_m=7.5, tau_s=2.0, delta=1.0, eta=20.0, C=-20.0, order=2)

    Raises `ValueError` for an order other than 0, 1, 2, a C that is not square, parameters of another shape or outside
    their domain, and populations that do not exist.
    """

    tau_m: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="membrane time constant")
    tau_s: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="time constant of the synapses it makes")
    delta: Float[Array, "..."] = param(domain=Positive(), doc="half width of the Lorentzian of excitability")
    eta: Float[Array, "..."] = param(doc="centre of the Lorentzian of excitability")
    C: Float[Array, "..."] = param(doc="synaptic weights C[to, from]; positive excites, negative inhibits")
    order: int = eqx.field(default=2, static=True, metadata={"doc": "order of the synapses: 0, 1 or 2"})
    I: Float[Array, "..."] = param(0.0, doc="constant input current; not scaled by tau_m")
    send: int = eqx.field(default=0, static=True, metadata={"doc": "the population that other regions hear"})
    receive: tuple[int, ...] | None = eqx.field(
        default=None,
        static=True,
        converter=circuit.as_populations,
        metadata={"doc": "the populations that hear others; None: all"},
    )
    sigma: Float[Array, "..."] | None = param(None, unit="1/sqrt(ms)", doc="white noise on v, amplitude", optional=True)
    sigma_r: Float[Array, "..."] | None = param(
        None, unit="1/(ms sqrt(ms))", doc="white noise on r, amplitude; r is then kept >= 0", optional=True
    )
    preset: str = eqx.field(default="", static=True, metadata={"doc": "the named circuit the values started from"})

    citation: ClassVar[str] = (
        "Montbrio E, Pazo D, Roxin A (2015) Macroscopic description for networks of spiking neurons. Phys Rev X "
        "5:021028.\n"
        "Clusella P, Koksal-Ersoz E, Garcia-Ojalvo J, Ruffini G (2023) Comparison between an exact and a heuristic "
        "neural mass model with second-order synapses. Biol Cybern, arXiv:2206.07521.\n"
        "Delicado, Huguet, Clusella (2025) Emergent spatiotemporal dynamics in large-scale brain networks with next "
        "generation neural mass models. arXiv:2512.03907 (the PING node)."
    )

    def __check_init__(self):
        if self.order not in (0, 1, 2):
            raise ValueError(f"NMM2: order = {self.order!r}; synapses are of order 0 (instantaneous), 1 or 2.")
        circuit.check(self)
        if self.preset and self.preset not in _PRESETS:
            raise ValueError(f"NMM2: unknown preset {self.preset!r}; known are {', '.join(_PRESETS)}.")

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return int(self.C.ndim > 1)

    @property
    def n_populations(self) -> int:
        """P, the number of populations."""
        return circuit.count(self.C)

    @property
    def own_defaults(self) -> dict[str, Default]:
        """The values of the preset this circuit started from, with their sources (see `jnm.describe`)."""
        return _PRESETS[self.preset].defaults() if self.preset else {}

    def init(self) -> NMM2State:
        """A quiet start on the branch dr/dt = 0 with v = -delta, and s = r."""
        shape = circuit.state_shape(self)
        v, r = fill(-self.delta, shape), fill(1 / (2 * jnp.pi * self.tau_m), shape)
        return NMM2State(r, v, r if self.order else None, jnp.zeros_like(r) if self.order == 2 else None)

    def drift(self, t: Array, y: NMM2State, drive: Drive) -> NMM2State:
        r, v = y.r, y.v
        tau_m, tau_s, delta, eta, I = (lift(p, r.ndim) for p in (self.tau_m, self.tau_s, self.delta, self.eta, self.I))
        current = eta + I + share(drive.current, r.ndim)
        dr = (delta / (jnp.pi * tau_m) + 2 * r * v) / tau_m
        dv = (v**2 + current - (jnp.pi * tau_m * r) ** 2) / tau_m + circuit.synaptic(
            self, self._synapse(y), drive.synaptic
        )
        if y.s is None:  # order 0
            return NMM2State(dr, dv)
        if y.z is None:  # order 1
            return NMM2State(dr, dv, (r - y.s) / tau_s)
        return NMM2State(dr, dv, y.z / tau_s, (r - 2 * y.z - y.s) / tau_s)

    def diffusion(self, t: Array, y: NMM2State) -> NMM2State | None:
        if self.sigma is None and self.sigma_r is None:
            return None
        r, v = (None if s is None else fill(s, y.r.shape) for s in (self.sigma_r, self.sigma))
        return NMM2State(r, v)  # pyright: ignore[reportArgumentType]

    def constrain(self, y: NMM2State) -> NMM2State:
        return y if self.sigma_r is None else y._replace(r=jnp.maximum(y.r, 0.0))

    def output(self, t: Array, y: NMM2State) -> Array:
        return circuit.sending(self, self._synapse(y))

    def source(self, t: Array, y: NMM2State, drive: Drive) -> Array:
        """Synaptic input to the sending population in units of I: tau_m (sum_b C_ab s_b + afferents).

        All synapses are given the same lever arm; v is not used, since it is no dendritic potential.
        """
        return circuit.sending(
            self, lift(self.tau_m, y.r.ndim) * circuit.synaptic(self, self._synapse(y), drive.synaptic)
        )

    def _synapse(self, y: NMM2State) -> Array:
        return y.r if y.s is None else y.s


class _Preset(NamedTuple):
    """Values of a named circuit, where they come from, and which of them are our own choice, with the reason."""

    values: dict[str, object]
    source: str
    status: Status
    chosen: dict[str, str]

    def defaults(self) -> dict[str, Default]:
        """Each value with its source and status."""
        ours = {name: Default(self.values[name], reason, "chosen") for name, reason in self.chosen.items()}
        return {name: Default(value, self.source, self.status) for name, value in self.values.items()} | ours


_PRESETS = {
    "MPR": _Preset(
        dict(tau_m=10.0, tau_s=10.0, delta=1.0, eta=-5.0, C=15.0, order=0),
        source="Montbrio, Pazo & Roxin 2015",
        status="paper",
        chosen={"tau_m": "a usual membrane; the paper's time is in units of it", "tau_s": "without effect at order 0"},
    ),
    "ING": _Preset(
        dict(tau_m=7.5, tau_s=2.0, delta=1.0, eta=20.0, C=-20.0, order=2),
        source="public AUTO code of P. Clusella; arXiv 2512.10982",
        status="code of the authors",
        chosen={"eta": "inside the range (5.32, 76.7) in which it oscillates"},
    ),
    "Pyramidal": _Preset(
        dict(tau_m=15.0, tau_s=10.0, delta=1.0, eta=10.0, C=10.0, order=2),
        source="excitatory population of arXiv 2512.10982 and of its authors' public code",
        status="code of the authors",
        chosen={"eta": "inside the resonant range", "C": "inside the resonant range"},
    ),
    "PING": _Preset(
        dict(
            tau_m=(8.0, 8.0),
            tau_s=(1.0, 5.0),
            delta=(1.0, 1.0),
            eta=(-5.0, -5.0),
            C=((5.0, -13.0), (13.0, -5.0)),
            order=1,
            I=(0.0, 0.0),
        ),
        source="public code of Delicado, Huguet & Clusella (arXiv 2512.03907)",
        status="code of the authors",
        chosen={"I": "control parameter: 0 to 16 into E, none into I"},
    ),
    "PINGSecondOrder": _Preset(
        dict(
            tau_m=(15.0, 7.5),
            tau_s=(10.0, 2.5),
            delta=(1.0, 1.0),
            eta=(5.0, 5.0),
            C=((15.0, -15.0), (15.0, -30.0)),
            order=2,
        ),
        source="arXiv 2512.10982 and its authors' public code (weights times 15, drive to both populations)",
        status="code of the authors",
        chosen={"eta": "inside the range (1.11, 67.7) in which it oscillates"},
    ),
}


def _from_preset(name: str, fields: dict[str, object]) -> NMM2:
    known = [f.name for f in dataclasses.fields(NMM2) if f.name != "preset"]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(f"{name}: unknown parameter {', '.join(unknown)}; known are {', '.join(known)}.")
    return NMM2(**{**_PRESETS[name].values, **fields}, preset=name)  # pyright: ignore[reportArgumentType]


def MPR(**fields: object) -> NMM2:
    """One excitatory QIF population, instantaneous synapses: bistable between rest and high activity at eta = -5."""
    return _from_preset("MPR", fields)


def ING(**fields: object) -> NMM2:
    """An inhibitory population that makes gamma by itself: it oscillates for eta in (5.32, 76.7), 100.7 Hz at 20."""
    return _from_preset("ING", fields)


def Pyramidal(**fields: object) -> NMM2:
    """One pyramidal population, AMPA synapses of second order: resonates (109 Hz at C = eta = 10), never oscillates."""
    return _from_preset("Pyramidal", fields)


def PING(IE: float | Array | None = None, **fields: object) -> NMM2:
    """The excitatory-inhibitory gamma node of the 90-region networks; `IE`, [] or [region], is short for I = (IE, 0).

    Axis 0 is (E, I). Uncoupled, it rests below IE = 5.993 and oscillates above, from 27 Hz on.

        >>> net = jnm.Network(jnm.PING(IE=2.0), jnm.datasets.connectome().normalised("rows"), jnm.Linear(gain=10.0))

    Raises `ValueError` if both IE and I are given.
    """
    if IE is not None and "I" in fields:
        raise ValueError("PING: IE is the current into E and I holds the currents into both (E, I); give one of them.")
    if IE is not None:
        excitatory = jnp.asarray(IE, dtype=float)
        fields["I"] = jnp.stack([excitatory, jnp.zeros_like(excitatory)])
    return _from_preset("PING", fields)


def PINGSecondOrder(**fields: object) -> NMM2:
    """An excitatory-inhibitory circuit with second-order synapses, the same drive eta to both populations."""
    return _from_preset("PINGSecondOrder", fields)
