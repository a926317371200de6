r"""The Freeman masses CFM and MFM: the mean potential of a LIF population, driven by the spikes that arrive at it.

    tau_m V' = rest - V - (W_E + W_I + W_X - I) / g_L
    tau_s W_s' = q_s (u - E_s) Phi_s - W_s,        u = Vbar, a constant (conventional, CFM), or V itself (modified, MFM)

Phi_s (1/ms) counts the spikes of kind s (excitatory, inhibitory, external) that reach a neuron, in the mean over all
neurons, and W_s (pA) is the current they make. With one time constant for all kinds this is Freeman's second-order
equation [tau_m D + 1] [tau_syn D + 1] V = rest - sum_s q_s / g_L (u - E_s) Phi_s. The filter acts on the product of
conductance and driving force: with unequal time constants filtering the conductance alone is another model.

Deschle, Ignacio Gossn, Tewarie, Schelter & Daffertshofer, Front. Comput. Neurosci. 14:581040 (2021). Reset, refractory
time and what makes excitatory and inhibitory neurons differ are not in it.
"""

import abc
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, param, region_shape

_PAPER = "Deschle et al. 2021"
_USUAL = "usual in conductance-based LIF networks"
_OURS = "our choice: the paper's table was not at hand; tuned to show its transition (sets A and B of jnm)"


class FreemanState(NamedTuple):
    """Mean potential V (mV) and synaptic currents W of each kind (pA; outward is positive)."""

    V: Array
    W_E: Array
    W_I: Array
    W_X: Array


class AbstractFreeman(AbstractModel):
    """What the conventional and the modified Freeman mass share; parameters have shape [] or [region].

    Inputs are `drive.synaptic`, in 1/ms: an array with an axis of three before the regions holds Phi_E, Phi_I and
    Phi_X, one without is Phi_E, so that in a network the other regions excite. `drive.current` is in pA. A recorded
    input enters as a stimulus, here with the step that the recording had:

        >>> inputs = jnm.Sampled(phi, dt=0.1, into="synaptic", hold=True)     # phi: [time, 3]
        >>> sol = jnm.simulate(jnm.FreemanMFM(), t1=1_000.0, dt=0.1, stimulus=inputs, solver=diffrax.Euler())

    The masses have no firing rate of their own: what they send is their potential above rest, in mV. `FreemanLoop`
    closes the loop through the rate of LIF neurons.

    Raises `ValueError` for parameters of another shape or outside their domain.
    """

    tau_m: Float[Array, "..."] = param(
        20.0, unit="ms", domain=Positive(), doc="membrane time constant", source=_USUAL, status="literature"
    )
    g_L: Float[Array, "..."] = param(
        10.0, unit="nS", domain=Positive(), doc="leak conductance", source=_USUAL, status="literature"
    )
    rest: Float[Array, "..."] = param(-70.0, unit="mV", doc="resting potential", source=_OURS)
    q_E: Float[Array, "..."] = param(
        0.05, unit="nS ms", domain=Positive(), doc="area of one excitatory conductance", source=_OURS
    )
    q_I: Float[Array, "..."] = param(
        0.25, unit="nS ms", domain=Positive(), doc="area of one inhibitory conductance", source=_OURS
    )
    q_X: Float[Array, "..."] = param(
        5.0, unit="nS ms", domain=Positive(), doc="area of one external conductance", source=_OURS
    )
    E_E: Float[Array, "..."] = param(
        0.0, unit="mV", doc="reversal potential of excitation", source=_USUAL, status="literature"
    )
    E_I: Float[Array, "..."] = param(
        -80.0, unit="mV", doc="reversal potential of inhibition", source=_USUAL, status="literature"
    )
    E_X: Float[Array, "..."] = param(
        0.0, unit="mV", doc="reversal potential of external input", source=_USUAL, status="literature"
    )
    tau_E: Float[Array, "..."] = param(
        5.0, unit="ms", domain=Positive(), doc="time constant of excitation", source=_PAPER, status="paper"
    )
    tau_I: Float[Array, "..."] = param(
        5.0, unit="ms", domain=Positive(), doc="time constant of inhibition", source=_PAPER, status="paper"
    )
    tau_X: Float[Array, "..."] = param(
        5.0, unit="ms", domain=Positive(), doc="time constant of external input", source=_PAPER, status="paper"
    )

    n_inputs: ClassVar[int] = 3
    receive: ClassVar[tuple[int, ...]] = (0,)
    citation: ClassVar[str] = (
        "Deschle N, Ignacio Gossn J, Tewarie P, Schelter B, Daffertshofer A (2021) On the validity of neural mass "
        "models. Front Comput Neurosci 14:581040."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    @abc.abstractmethod
    def potential(self, y: FreemanState) -> Array:
        """u, the potential (mV) from which the driving force of the synapses is reckoned."""

    def start(self, V: Array | float) -> FreemanState:
        """The state in which V (mV) stands still: the synaptic currents hold it, equal shares for the three kinds."""
        there = jnp.broadcast_to(jnp.asarray(V, self.tau_m.dtype), region_shape(self))
        share = jnp.broadcast_to(self.g_L * (self.rest - there) / 3, there.shape)
        return FreemanState(there, share, share, share)

    def drift(self, t: Array, y: FreemanState, drive: Drive) -> FreemanState:
        u, (phi_E, phi_I, phi_X) = self.potential(y), _by_kind(drive.synaptic, y.V.ndim)
        if jnp.ndim(drive.current) > y.V.ndim:
            raise ValueError(
                f"Freeman mass: a current of shape {list(jnp.shape(drive.current))} pA; wanted {list(y.V.shape)}. Spikes by "
                "kind are synaptic input: into='synaptic'."
            )
        return FreemanState(
            (self.rest - y.V - (y.W_E + y.W_I + y.W_X - drive.current) / self.g_L) / self.tau_m,
            (self.q_E * (u - self.E_E) * phi_E - y.W_E) / self.tau_E,
            (self.q_I * (u - self.E_I) * phi_I - y.W_I) / self.tau_I,
            (self.q_X * (u - self.E_X) * phi_X - y.W_X) / self.tau_X,
        )

    def output(self, t: Array, y: FreemanState) -> Array:
        return y.V - self.rest

    def source(self, t: Array, y: FreemanState, drive: Drive) -> Array:
        """The synaptic current into the neurons, pA; all kinds are given the same lever arm."""
        return -(y.W_E + y.W_I + y.W_X)


class FreemanCFM(AbstractFreeman):
    """The conventional Freeman mass: the driving force is that at a constant potential Vbar, and V is linear in the input.

    `Vbar` is the mean potential of the population over time, measured (see `jnm.studies.validity`) or supposed.
    """

    Vbar: Float[Array, "..."] = param(-60.0, unit="mV", doc="mean potential, which fixes the driving forces")

    def init(self) -> FreemanState:
        """Standing still at Vbar, as in the paper's protocol."""
        return self.start(self.Vbar)

    def potential(self, y: FreemanState) -> Array:
        return self.Vbar


class FreemanMFM(AbstractFreeman):
    """The modified Freeman mass: the driving force follows V, so that the input multiplies the state."""

    def init(self) -> FreemanState:
        """At rest, without currents."""
        return self.start(self.rest)

    def potential(self, y: FreemanState) -> Array:
        return y.V

    def euler_radius(self, phi: ArrayLike, dt: float) -> float:
        """The largest factor by which explicit Euler steps of `dt` ms multiply a deviation, were one of the inputs to last.

        `phi` is [time, 3], in 1/ms, for one node. Above one the step is unstable while such an input lasts. With equal
        time constants tau_s that is 1 + sum_s q_s Phi_s / g_L > (tau_m + tau_s) / dt. Below one V may still grow, for a
        while, under inputs that pulse. Raises `ValueError` for inputs of another shape, or not finite, and dt <= 0.
        """
        inputs = np.asarray(phi, float)
        shaped = inputs.ndim == 2 and inputs.shape[1] == 3 and len(inputs) and np.all(np.isfinite(inputs))
        if not shaped or region_shape(self) or not dt > 0:
            raise ValueError(
                f"FreemanMFM.euler_radius: phi has shape {list(inputs.shape)}, dt = {dt} ms; wanted finite [time, 3], "
                "(Phi_E, Phi_I, Phi_X), a positive dt, and a mass of one node."
            )
        q, tau = (np.array([float(getattr(self, f"{name}_{kind}")) for kind in "EIX"]) for name in ("q", "tau"))
        # With one time constant the weakest or the strongest input decides; else a fast synapse may outdo a stronger one.
        ends = [np.argmin(inputs @ q), np.argmax(inputs @ q)]
        inputs = inputs[ends] if np.ptp(tau) == 0 else np.unique(inputs, axis=0)
        step = np.tile(np.eye(4), (len(inputs), 1, 1))
        step[:, 0] -= dt / float(self.tau_m) * np.array([1.0, *(np.ones(3) / float(self.g_L))])
        step[:, 1:, 0] += dt * q * inputs / tau
        step[:, 1:, 1:] -= np.diag(dt / tau)
        return float(np.max(np.abs(np.linalg.eigvals(step))))


def _by_kind(synaptic: Array | float, rank: int) -> tuple[Array, Array, Array]:
    """Phi_E, Phi_I, Phi_X of an input with an axis of kinds before the `rank` of the state, or with excitation alone."""
    phi = jnp.asarray(synaptic)
    if phi.ndim <= rank:
        return phi, jnp.zeros_like(phi), jnp.zeros_like(phi)
    if phi.shape[0] != 3:
        raise ValueError(
            f"Freeman mass: an input of shape {list(phi.shape)}; wanted three kinds first, (Phi_E, Phi_I, Phi_X), or "
            "excitation alone without that axis."
        )
    return phi[0], phi[1], phi[2]
