r"""Reduced Wong-Wang: the share S of NMDA channels that are open, in one population or in an E-I pair.

    one population     S' = -S / tau + (1 - S) gamma H(w J S + J afferents + I0)

    E and I            S_E' = -S_E / tau_E + (1 - S_E) gamma r_E,     r_E = H_E(W_E I0 + w J S_E + J afferents - J_i S_I)
                       S_I' = -S_I / tau_I + r_I,                     r_I = H_I(W_I I0 + J S_E - S_I)

    H(x) = (a x - b) / (1 - exp(-d (a x - b)))                        firing rate (1/ms) of a current x (nA)

Deco et al., J. Neurosci. 33:11239 (2013) and 34:7886 (2014), after Wong & Wang, J. Neurosci. 26:1314 (2006). The
papers count rates per second and time in ms; here both are in ms: a, b and 1/d are a thousandth of theirs.
"""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, param, region_shape

_ONE, _PAIR = "Deco et al. 2013", "Deco et al. 2014"
_SMALL = 0.02  # where 1 - exp(-u) has lost digits and the series of u / (1 - exp(-u)), to u^4, is exact to 2e-15


def transfer(
    x: Float[Array, "..."], a: Float[Array, "..."], b: Float[Array, "..."], d: Float[Array, "..."]
) -> Float[Array, "..."]:
    """H(x), the firing rate in 1/ms of neurons that receive the current x (nA); a in 1/(ms nA), b in 1/ms, d in ms."""
    u = d * (a * x - b)
    near = jnp.abs(u) < _SMALL
    away = jnp.where(near, 1.0, u)
    size = jnp.abs(away)
    exact = jnp.maximum(away, 0.0) + size * jnp.exp(-size) / -jnp.expm1(-size)  # neither side overflows
    return jnp.where(near, 1 + u / 2 + u**2 / 12 - u**4 / 720, exact) / d


class WongWangState(NamedTuple):
    """The share of open NMDA channels."""

    S: Array


class WongWang(AbstractModel):
    """One population of the reduced Wong-Wang model; parameters have shape [] or [region].

    It sends S; afferents are multiplied by J, so that the gain of the network's coupling is the G of the paper.
    `drive.current` is in nA. With noise S is kept between 0 and 1.

        >>> brain = jnm.datasets.connectome().normalised("max")
        >>> net = jnm.Network(jnm.WongWang(sigma=0.001), brain, jnm.Linear(gain=0.2))

    Raises `ValueError` for parameters of another shape or outside their domain.
    """

    w: Float[Array, "..."] = param(0.9, domain=Positive(), doc="recurrent excitation", source=_ONE, status="paper")
    J: Float[Array, "..."] = param(
        0.2609, unit="nA", domain=Positive(), doc="synaptic coupling", source=_ONE, status="paper"
    )
    I0: Float[Array, "..."] = param(0.3, unit="nA", doc="external input", source=_ONE, status="paper")
    tau: Float[Array, "..."] = param(
        100.0, unit="ms", domain=Positive(), doc="NMDA time constant", source=_ONE, status="paper"
    )
    gamma: Float[Array, "..."] = param(
        0.641, domain=Positive(), doc="channels that a spike opens", source=_ONE, status="paper"
    )
    a: Float[Array, "..."] = param(
        0.270, unit="1/(ms nA)", domain=Positive(), doc="gain of H", source=_ONE, status="paper"
    )
    b: Float[Array, "..."] = param(0.108, unit="1/ms", doc="threshold of H", source=_ONE, status="paper")
    d: Float[Array, "..."] = param(
        154.0, unit="ms", domain=Positive(), doc="sharpness of H", source=_ONE, status="paper"
    )
    sigma: Float[Array, "..."] | None = param(
        None, unit="1/sqrt(ms)", doc="amplitude of white noise on S", optional=True
    )

    citation: ClassVar[str] = (
        "Deco G, Ponce-Alvarez A, Mantini D, Romani GL, Hagmann P, Corbetta M (2013) Resting-state functional "
        "connectivity emerges from structurally and dynamically shaped slow linear fluctuations. J Neurosci "
        "33:11239-11252."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> WongWangState:
        """S = 0.1, near the lower of the two states of rest."""
        return WongWangState(jnp.full(region_shape(self), 0.1, self.w.dtype))

    def rate(self, y: WongWangState, drive: Drive | None = None) -> Array:
        """The firing rate, 1/ms."""
        drive = Drive() if drive is None else drive
        return transfer(self.source(jnp.zeros(()), y, drive) + self.I0 + drive.current, self.a, self.b, self.d)

    def drift(self, t: Array, y: WongWangState, drive: Drive) -> WongWangState:
        return WongWangState(-y.S / self.tau + (1 - y.S) * self.gamma * self.rate(y, drive))

    def diffusion(self, t: Array, y: WongWangState) -> WongWangState | None:
        return None if self.sigma is None else WongWangState(jnp.broadcast_to(self.sigma, y.S.shape))

    def output(self, t: Array, y: WongWangState) -> Array:
        return y.S

    def source(self, t: Array, y: WongWangState, drive: Drive) -> Array:
        """The synaptic current, nA, recurrent and afferent."""
        return self.J * (self.w * y.S + drive.synaptic)

    def constrain(self, y: WongWangState) -> WongWangState:
        return y if self.sigma is None else WongWangState(jnp.clip(y.S, 0.0, 1.0))  # without noise it stays inside


class WongWangEIState(NamedTuple):
    """The shares of open NMDA (S_E) and GABA (S_I) channels."""

    S_E: Array
    S_I: Array


class WongWangEI(AbstractModel):
    """An excitatory and an inhibitory population; parameters have shape [] or [region].

    It sends S_E; afferents reach the excitatory population, multiplied by J. `drive.current` (nA) adds to its input.
    `J_i` is the feedback inhibition; `jnm.stability.feedback_inhibition` finds the values, one a region, at which all
    regions rest at a rate of about 3 Hz. Where the coupling is too strong that rest is unstable, and no run stays there:
    look at `jnm.stability.at_rest`.

        >>> brain = jnm.datasets.connectome().normalised("rows")
        >>> net = jnm.Network(jnm.WongWangEI(), brain, jnm.Linear(gain=1.0))
        >>> balanced = jnm.stability.feedback_inhibition(net, rate_hz=3.0)
        >>> jnm.stability.at_rest(balanced, balanced.init()).stable
        True

    Raises `ValueError` for parameters of another shape or outside their domain.
    """

    J_i: Float[Array, "..."] = param(
        1.0, unit="nA", domain=Positive(), doc="feedback inhibition", source=_PAIR, status="paper"
    )
    w: Float[Array, "..."] = param(1.4, domain=Positive(), doc="recurrent excitation", source=_PAIR, status="paper")
    J: Float[Array, "..."] = param(
        0.15, unit="nA", domain=Positive(), doc="NMDA coupling", source=_PAIR, status="paper"
    )
    I0: Float[Array, "..."] = param(0.382, unit="nA", doc="external input", source=_PAIR, status="paper")
    W_E: Float[Array, "..."] = param(1.0, doc="share of I0 that E receives", source=_PAIR, status="paper")
    W_I: Float[Array, "..."] = param(0.7, doc="share of I0 that I receives", source=_PAIR, status="paper")
    tau_E: Float[Array, "..."] = param(
        100.0, unit="ms", domain=Positive(), doc="NMDA time constant", source=_PAIR, status="paper"
    )
    tau_I: Float[Array, "..."] = param(
        10.0, unit="ms", domain=Positive(), doc="GABA time constant", source=_PAIR, status="paper"
    )
    gamma: Float[Array, "..."] = param(
        0.641, domain=Positive(), doc="channels that a spike opens", source=_PAIR, status="paper"
    )
    a_E: Float[Array, "..."] = param(
        0.310, unit="1/(ms nA)", domain=Positive(), doc="gain of H_E", source=_PAIR, status="paper"
    )
    b_E: Float[Array, "..."] = param(0.125, unit="1/ms", doc="threshold of H_E", source=_PAIR, status="paper")
    d_E: Float[Array, "..."] = param(
        160.0, unit="ms", domain=Positive(), doc="sharpness of H_E", source=_PAIR, status="paper"
    )
    a_I: Float[Array, "..."] = param(
        0.615, unit="1/(ms nA)", domain=Positive(), doc="gain of H_I", source=_PAIR, status="paper"
    )
    b_I: Float[Array, "..."] = param(0.177, unit="1/ms", doc="threshold of H_I", source=_PAIR, status="paper")
    d_I: Float[Array, "..."] = param(
        87.0, unit="ms", domain=Positive(), doc="sharpness of H_I", source=_PAIR, status="paper"
    )
    sigma: Float[Array, "..."] | None = param(
        None, unit="1/sqrt(ms)", doc="amplitude of white noise on S_E and on S_I", optional=True
    )

    citation: ClassVar[str] = (
        "Deco G, Ponce-Alvarez A, Hagmann P, Romani GL, Mantini D, Corbetta M (2014) How local excitation-inhibition "
        "ratio impacts the whole brain dynamics. J Neurosci 34:7886-7898."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> WongWangEIState:
        """S_E = S_I = 0.1, which is near rest at low rates."""
        return WongWangEIState(*(jnp.full(region_shape(self), 0.1, self.w.dtype),) * 2)

    def rates(self, y: WongWangEIState, drive: Drive | None = None) -> tuple[Array, Array]:
        """The firing rates of E and I, 1/ms."""
        drive = Drive() if drive is None else drive
        to_E = self.W_E * self.I0 + self.source(jnp.zeros(()), y, drive) + drive.current
        to_I = self.W_I * self.I0 + self.J * y.S_E - y.S_I
        return transfer(to_E, self.a_E, self.b_E, self.d_E), transfer(to_I, self.a_I, self.b_I, self.d_I)

    def drift(self, t: Array, y: WongWangEIState, drive: Drive) -> WongWangEIState:
        r_E, r_I = self.rates(y, drive)
        return WongWangEIState(-y.S_E / self.tau_E + (1 - y.S_E) * self.gamma * r_E, -y.S_I / self.tau_I + r_I)

    def diffusion(self, t: Array, y: WongWangEIState) -> WongWangEIState | None:
        return None if self.sigma is None else WongWangEIState(*(jnp.broadcast_to(self.sigma, y.S_E.shape),) * 2)

    def output(self, t: Array, y: WongWangEIState) -> Array:
        return y.S_E

    def source(self, t: Array, y: WongWangEIState, drive: Drive) -> Array:
        """The synaptic current into the excitatory population, nA: recurrent, afferent and inhibitory."""
        return self.J * (self.w * y.S_E + drive.synaptic) - self.J_i * y.S_I

    def constrain(self, y: WongWangEIState) -> WongWangEIState:
        if self.sigma is None:  # without noise both stay inside
            return y
        return WongWangEIState(jnp.clip(y.S_E, 0.0, 1.0), jnp.clip(y.S_I, 0.0, 1.0))
