r"""Wilson-Cowan: the shares of excitatory and of inhibitory cells that fire.

    tau_E E' = -E + (k_E - r_E E) S_E(c_EE E - c_EI I + P + afferents)
    tau_I I' = -I + (k_I - r_I I) S_I(c_IE E - c_II I + Q)
    S(u) = 1 / (1 + exp(-slope (u - threshold))) - 1 / (1 + exp(slope threshold)),      k = S(infinity)

Wilson & Cowan, Biophys. J. 12:1 (1972). Their c1, c2, c3, c4 are c_EE, c_EI, c_IE, c_II; the values are those of their
limit cycle, and P is the knob: by `jnm.stability` the lower state of rest ends at 1.087, and the oscillation at 1.879.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, param, region_shape

_SOURCE = "Wilson & Cowan 1972, limit cycle"


class WilsonCowanState(NamedTuple):
    """Shares of the excitatory (E) and inhibitory (I) cells that are active, above those at rest."""

    E: Array
    I: Array


class WilsonCowan(AbstractModel):
    """The mass of Wilson and Cowan; parameters have shape [] or [region].

    It sends E; afferents and `drive.current` add to P, the input of the excitatory cells.

        >>> node = jnm.WilsonCowan(P=1.25)      # their limit cycle

    Raises `ValueError` for parameters of another shape or outside their domain.
    """

    P: Float[Array, "..."] = param(1.25, doc="external input of the excitatory cells", source=_SOURCE, status="paper")
    Q: Float[Array, "..."] = param(0.0, doc="external input of the inhibitory cells", source=_SOURCE, status="paper")
    c_EE: Float[Array, "..."] = param(16.0, domain=Positive(), doc="weight from E to E", source=_SOURCE, status="paper")
    c_EI: Float[Array, "..."] = param(12.0, domain=Positive(), doc="weight from I to E", source=_SOURCE, status="paper")
    c_IE: Float[Array, "..."] = param(15.0, domain=Positive(), doc="weight from E to I", source=_SOURCE, status="paper")
    c_II: Float[Array, "..."] = param(3.0, domain=Positive(), doc="weight from I to I", source=_SOURCE, status="paper")
    slope_E: Float[Array, "..."] = param(
        1.3, domain=Positive(), doc="steepness of the response of E", source=_SOURCE, status="paper"
    )
    slope_I: Float[Array, "..."] = param(
        2.0, domain=Positive(), doc="steepness of the response of I", source=_SOURCE, status="paper"
    )
    threshold_E: Float[Array, "..."] = param(4.0, doc="threshold of E", source=_SOURCE, status="paper")
    threshold_I: Float[Array, "..."] = param(3.7, doc="threshold of I", source=_SOURCE, status="paper")
    r_E: Float[Array, "..."] = param(
        1.0, domain=Positive(), doc="refractory share of active E", source=_SOURCE, status="paper"
    )
    r_I: Float[Array, "..."] = param(
        1.0, domain=Positive(), doc="refractory share of active I", source=_SOURCE, status="paper"
    )
    tau_E: Float[Array, "..."] = param(10.0, unit="ms", domain=Positive(), doc="time constant of E")
    tau_I: Float[Array, "..."] = param(10.0, unit="ms", domain=Positive(), doc="time constant of I")
    sigma: Float[Array, "..."] | None = param(
        None, unit="1/sqrt(ms)", doc="amplitude of white noise on E", optional=True
    )

    citation: ClassVar[str] = (
        "Wilson HR, Cowan JD (1972) Excitatory and inhibitory interactions in localized populations of model neurons. "
        "Biophys J 12:1-24."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> WilsonCowanState:
        """Nobody is active."""
        return WilsonCowanState(*(jnp.zeros(region_shape(self), self.P.dtype),) * 2)

    def drift(self, t: Array, y: WilsonCowanState, drive: Drive) -> WilsonCowanState:
        to_E = self._recurrent(y) + self.P + drive.synaptic + drive.current
        to_I = self.c_IE * y.E - self.c_II * y.I + self.Q
        S_E, k_E = _response(to_E, self.slope_E, self.threshold_E)
        S_I, k_I = _response(to_I, self.slope_I, self.threshold_I)
        return WilsonCowanState(
            (-y.E + (k_E - self.r_E * y.E) * S_E) / self.tau_E, (-y.I + (k_I - self.r_I * y.I) * S_I) / self.tau_I
        )

    def diffusion(self, t: Array, y: WilsonCowanState) -> WilsonCowanState | None:
        if self.sigma is None:
            return None
        return WilsonCowanState(jnp.broadcast_to(self.sigma, y.E.shape), None)  # pyright: ignore[reportArgumentType]

    def output(self, t: Array, y: WilsonCowanState) -> Array:
        return y.E

    def source(self, t: Array, y: WilsonCowanState, drive: Drive) -> Array:
        """The synaptic input of the excitatory cells, recurrent and afferent."""
        return self._recurrent(y) + drive.synaptic

    def _recurrent(self, y: WilsonCowanState) -> Array:
        return self.c_EE * y.E - self.c_EI * y.I


def _response(u: Array, slope: Array, threshold: Array) -> tuple[Array, Array]:
    """The share of cells that an input u makes fire, above that without input, and its largest value."""
    at_rest = jax.nn.sigmoid(-slope * threshold)
    return jax.nn.sigmoid(slope * (u - threshold)) - at_rest, 1 - at_rest
