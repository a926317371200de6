r"""Stuart-Landau: what every oscillator is next to a supercritical Hopf bifurcation, here z = x + i y.

    tau z' = (a - |z|^2) z + afferents,   and turns by 2 pi frequency a second

For a < 0 noise rings at the frequency and dies away, for a > 0 the node cycles with amplitude sqrt(a). It sends the
complex number z, so that `jnm.Diffusive` couples x with x and y with y, as

    Deco, Kringelbach, Jirsa & Ritter, Sci. Rep. 7:3095 (2017)

do; their unit of time, the second, is tau here, and their a and G are numbers of this model's a and gain.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, param, region_shape

_SOURCE = "Deco et al. 2017"


class StuartLandauState(NamedTuple):
    """The real and the imaginary part of z."""

    x: Array
    y: Array


class StuartLandau(AbstractModel):
    """The normal form of a supercritical Hopf bifurcation; parameters have shape [] or [region].

    It sends z = x + i y and receives the afferents of x as real, those of y as imaginary part; `drive.current` adds to
    those of x. The bold signal of whole-brain models is x.

        >>> brain = jnm.datasets.connectome().normalised("max")
        >>> net = jnm.Network(jnm.StuartLandau(a=-0.02, sigma=0.02), brain, jnm.Diffusive(gain=0.5))
        >>> alpha = jnm.StuartLandau(a=5.0, frequency=10.0)      # a cycle of 10 Hz

    Raises `ValueError` for parameters of another shape or outside their domain.
    """

    a: Float[Array, "..."] = param(-0.02, doc="distance from the bifurcation; above zero the node cycles")
    frequency: Float[Array, "..."] = param(
        0.05,
        unit="Hz",
        domain=Positive(),
        doc="at which it turns; the middle of the band 0.04-0.07 Hz of fMRI",
        source=_SOURCE,
        status="paper",
    )
    tau: Float[Array, "..."] = param(
        1000.0, unit="ms", domain=Positive(), doc="unit of time of a", source=_SOURCE, status="paper"
    )
    sigma: Float[Array, "..."] | None = param(
        None, doc="amplitude of white noise on x and on y, per sqrt(tau)", optional=True
    )

    citation: ClassVar[str] = (
        "Deco G, Kringelbach ML, Jirsa VK, Ritter P (2017) The dynamics of resting fluctuations in the brain: "
        "metastability and its dynamical cortical core. Sci Rep 7:3095."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> StuartLandauState:
        """x = 0.1, y = 0: off the origin, where a node without noise would stay."""
        shape = region_shape(self)
        return StuartLandauState(jnp.full(shape, 0.1, self.a.dtype), jnp.zeros(shape, self.a.dtype))

    def drift(self, t: Array, y: StuartLandauState, drive: Drive) -> StuartLandauState:
        growth = self.a - y.x**2 - y.y**2
        omega = 2e-3 * jnp.pi * self.frequency
        return StuartLandauState(
            (growth * y.x + jnp.real(drive.synaptic) + drive.current) / self.tau - omega * y.y,
            (growth * y.y + jnp.imag(drive.synaptic)) / self.tau + omega * y.x,
        )

    def diffusion(self, t: Array, y: StuartLandauState) -> StuartLandauState | None:
        if self.sigma is None:
            return None
        amplitude = jnp.broadcast_to(self.sigma / jnp.sqrt(self.tau), y.x.shape)
        return StuartLandauState(amplitude, amplitude)

    def output(self, t: Array, y: StuartLandauState) -> Array:
        return jax.lax.complex(y.x, y.y)

    def source(self, t: Array, y: StuartLandauState, drive: Drive) -> Array:
        """x: the normal form has no currents, and x is what is compared with a recording."""
        return y.x
