r"""FreemanLoop: two Freeman masses, excitatory and inhibitory, that make their own input through the rate of LIF neurons.

    Phi_E = k_E nu_E,   Phi_I = k_I nu_I,   Phi_X = phi_X into the excitatory population alone
    nu_a = rate of LIF neurons of mean V_a, in the noise of the spikes that arrive (`jnm.models.siegert_rate`)

V_a follows the mass's equation (`jnm.models.freeman`). The noise is that of Poisson spikes: with the mean conductances
g_s = q_s Phi_s, a potential forgets in tau = tau_m g_L / g, g = g_L + sum_s g_s, and sees white noise of intensity

    sum_s ((E_s - V) / g)^2 q_s^2 Phi_s + (g_L / g)^2 Q = 2 tau sd^2

where Phi_E and Phi_I have passed their synapses. Effective time constant: Richardson & Gerstner, Neural Comput. 17:923
(2005). The rate follows the potential at once; reset and refractory time act on the rate and not on V. Ours, to see what
the masses of Deschle et al. (2021) predict when nobody hands them the spikes.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, fill, lift, param, region_shape, share
from jnm.models.freeman import AbstractFreeman, FreemanState
from jnm.models.lif_gain import FILTERED, siegert_rate

_LIF = "as in the LIF networks of jnm (sets A and B)"


class FreemanLoopState(NamedTuple):
    """A Freeman state with axis 0 for (E, I), and the spikes of each kind that have passed the synapses (1/ms)."""

    V: Array
    W_E: Array
    W_I: Array
    W_X: Array
    phi_E: Array
    phi_I: Array


class FreemanLoop(AbstractModel):
    """Freeman masses of an excitatory and an inhibitory population in a closed loop (equations: head of this file).

        >>> loop = jnm.FreemanLoop(jnm.FreemanMFM(), k_E=400.0, k_I=100.0)     # N = 10,000, p = .05, 80 % excitatory

    `mass` holds the equation and the synapses, with parameters [] or [2], (E, I); the loop's own are [], [2] or
    [2, region]. Afferents of other regions excite both populations, and so does `drive.current` (pA). It sends the rate
    of its excitatory neurons.

    Raises `ValueError` for parameters outside their domain or of another shape.
    """

    mass: AbstractFreeman
    k_E: Float[Array, "..."] = param(
        400.0, domain=Positive(), doc="excitatory synapses on a neuron: N p times their share"
    )
    k_I: Float[Array, "..."] = param(100.0, domain=Positive(), doc="inhibitory synapses on a neuron")
    phi_X: Float[Array, "..."] = param(
        0.5, unit="1/ms", domain=Positive(), doc="external spikes that reach an excitatory neuron", source=_LIF
    )
    Q: Float[Array, "..."] = param(5e-4, unit="mV^2 ms", domain=Positive(), doc="membrane noise", source=_LIF)
    threshold: Float[Array, "..."] = param(-50.0, unit="mV", doc="threshold", source=_LIF)
    reset: Float[Array, "..."] = param(-60.0, unit="mV", doc="reset", source=_LIF)
    refractory: Float[Array, "..."] = param(5.0, unit="ms", domain=Positive(), doc="refractory time", source=_LIF)

    rank: ClassVar[int] = 1
    citation: ClassVar[str] = (
        f"{AbstractFreeman.citation}\n"
        "Siegert AJF (1951) On the first passage time probability problem. Phys Rev 81:617-623.\n"
        "Fourcaud N, Brunel N (2002) Dynamics of the firing probability of noisy integrate-and-fire neurons. Neural "
        "Comput 14:2057-2110.\n"
        "Richardson MJE, Gerstner W (2005) Synaptic shot noise and conductance fluctuations affect the membrane voltage "
        "with equal significance. Neural Comput 17:923-947."
    )

    def __check_init__(self):
        if not isinstance(self.mass, AbstractFreeman):
            raise ValueError(
                f"FreemanLoop: mass is a {type(self.mass).__name__}; wanted jnm.FreemanMFM(...) or jnm.FreemanCFM(...)."
            )
        region_shape(self, (2,))  # raises where shapes disagree
        if any(leaf.shape not in ((), (2,)) for leaf in jax.tree.leaves(self.mass)):
            raise ValueError("FreemanLoop: the mass's parameters must have shape [] or [2], (E, I).")

    def init(self) -> FreemanLoopState:
        """Both populations at rest, without input."""
        rest = fill(self.mass.rest, (2, *region_shape(self, (2,))))
        return FreemanLoopState(rest, *(jnp.zeros_like(rest),) * 5)

    def rate(self, y: FreemanLoopState) -> Float[Array, "population ..."]:
        """Firing rates of the excitatory and of the inhibitory neurons, 1/ms."""
        me = self._lifted(y)
        m, V = me.mass, y.V
        phis = (jnp.maximum(y.phi_E, 0.0), jnp.maximum(y.phi_I, 0.0), me._external(y))
        q, E, tau_s = (m.q_E, m.q_I, m.q_X), (m.E_E, m.E_I, m.E_X), (m.tau_E, m.tau_I, m.tau_X)
        g = m.g_L + sum(area * phi for area, phi in zip(q, phis, strict=True))
        tau = m.tau_m * m.g_L / g
        noise = [((level - V) / g * area) ** 2 * phi for level, area, phi in zip(E, q, phis, strict=True)]
        intensity = sum(noise) + (m.g_L / g) ** 2 * me.Q
        # Each kind moves both ends by its share: noise that a synapse has filtered crosses a threshold less often.
        moved = sum(each * jnp.sqrt(time / tau) for each, time in zip(noise, tau_s, strict=True))
        return siegert_rate(
            V,
            jnp.sqrt(intensity / (2 * tau)),
            tau=tau,
            threshold=me.threshold,
            reset=me.reset,
            refractory=me.refractory,
            shift=FILTERED * moved / intensity,
        )

    def drift(self, t: Array, y: FreemanLoopState, drive: Drive) -> FreemanLoopState:
        me, sent = self._lifted(y), self.rate(y)
        phi_E = jnp.broadcast_to(me.k_E * sent[:1] + share(drive.synaptic, y.V.ndim), y.V.shape)
        phi_I = jnp.broadcast_to(me.k_I * sent[1:], y.V.shape)
        inputs = Drive(jnp.stack([phi_E, phi_I, me._external(y)]), jnp.asarray(share(drive.current, y.V.ndim)))
        moved = me.mass.drift(t, FreemanState(*y[:4]), inputs)
        return FreemanLoopState(*moved, (phi_E - y.phi_E) / me.mass.tau_E, (phi_I - y.phi_I) / me.mass.tau_I)

    def output(self, t: Array, y: FreemanLoopState) -> Array:
        return self.rate(y)[0]

    def source(self, t: Array, y: FreemanLoopState, drive: Drive) -> Array:
        """The synaptic current into the excitatory neurons, pA; all kinds are given the same lever arm."""
        return -(y.W_E + y.W_I + y.W_X)[0]

    def _lifted(self, y: FreemanLoopState) -> "FreemanLoop":
        """The same model with parameters over populations, [2], in line with a state over [2, region]."""
        return jax.tree.map(lambda leaf: lift(leaf, y.V.ndim), self)

    def _external(self, y: FreemanLoopState) -> Array:
        """External spikes that reach each population: none for the inhibitory one."""
        shape = (2,) + (1,) * (y.V.ndim - 1)
        return jnp.broadcast_to(self.phi_X * jnp.array([1.0, 0.0], y.V.dtype).reshape(shape), y.V.shape)
