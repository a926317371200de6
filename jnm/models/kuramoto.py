r"""Kuramoto: an oscillator of which only the phase is left.

    theta_i' = 2 pi frequency_i + gain sum_j W_ij sin(theta_j - theta_i)

It sends the point exp(i theta) of the unit circle. What arrives is h_i = gain sum_j W_ij exp(i theta_j), one complex
number a region whatever the number of senders, and the pull towards it is Im(h_i exp(-i theta_i)), the sum above.

Kuramoto, Chemical Oscillations, Waves, and Turbulence, Springer (1984).
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Real, param, region_shape


class KuramotoState(NamedTuple):
    """The phase in radians, between -pi and pi."""

    theta: Array


class Kuramoto(AbstractModel):
    """A phase oscillator; parameters have shape [] or [region].

    It sends exp(i theta). Under `jnm.Linear` the gain is Kuramoto's coupling in rad/ms for weights that sum to one a
    row; `jnm.Diffusive` does the same, for a phase does not pull on itself. With a conduction speed it is the phase
    of the past that pulls. `drive.current` adds to the angular velocity, in rad/ms.

        >>> brain = jnm.datasets.connectome().normalised("rows")
        >>> net = jnm.Network(jnm.Kuramoto(frequency=jnp.linspace(9.0, 11.0, 90)), brain, jnm.Linear(gain=0.02))
        >>> R = jnm.observe.kuramoto_order(jnm.simulate(net, t1=2_000.0, dt=1.0).ys.theta)

    Phases that run on are `numpy.unwrap(theta, axis=0)`. Raises `ValueError` for parameters of another shape or
    outside their domain.
    """

    frequency: Float[Array, "..."] = param(10.0, unit="Hz", domain=Real(), doc="natural frequency")
    sigma: Float[Array, "..."] | None = param(
        None, unit="rad/sqrt(ms)", doc="amplitude of white noise on the phase", optional=True
    )

    citation: ClassVar[str] = "Kuramoto Y (1984) Chemical oscillations, waves, and turbulence. Springer, Berlin."

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> KuramotoState:
        """All phases zero."""
        return KuramotoState(jnp.zeros(region_shape(self), self.frequency.dtype))

    def drift(self, t: Array, y: KuramotoState, drive: Drive) -> KuramotoState:
        pull = jnp.cos(y.theta) * jnp.imag(drive.synaptic) - jnp.sin(y.theta) * jnp.real(drive.synaptic)
        return KuramotoState(2e-3 * jnp.pi * self.frequency + drive.current + pull)

    def diffusion(self, t: Array, y: KuramotoState) -> KuramotoState | None:
        return None if self.sigma is None else KuramotoState(jnp.broadcast_to(self.sigma, y.theta.shape))

    def output(self, t: Array, y: KuramotoState) -> Array:
        return jax.lax.complex(jnp.cos(y.theta), jnp.sin(y.theta))

    def source(self, t: Array, y: KuramotoState, drive: Drive) -> Array:
        """cos(theta): a phase has no currents, and this is the signal whose phase it is."""
        return jnp.cos(y.theta)

    def constrain(self, y: KuramotoState) -> KuramotoState:
        # Single precision would lose a phase that grows: after ten minutes of 10 Hz it is known to 0.004 rad.
        return KuramotoState(y.theta - 2 * jnp.pi * jnp.round(y.theta / (2 * jnp.pi)))
