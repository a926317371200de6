r"""The Epileptor: seizures that begin and end by themselves, as the slow permittivity z comes and goes.

    tau x1' = y1 - f1(x1, x2, z) - z + I1 + current            f1 = x1^3 - 3 x1^2                   for x1 < 0
    tau y1' = y0 - 5 x1^2 - y1                                      (x2 - 0.6 (z - 4)^2) x1         otherwise
    tau z'  = (4 (x1 - x0) - z - afferents) / tau0
    tau x2' = -y2 + x2 - x2^3 + I2 + 0.002 g - 0.3 (z - 3.5)
    tau y2' = (-y2 + f2(x2)) / tau2                            f2 = max(0, 6 (x2 + 0.25))
    tau g'  = x1 - gamma g,     so that g = integral of exp(-gamma (t - s)) x1(s) ds

x1, y1 make the fast discharges, x2, y2 spikes and waves, and g tells the second pair of the first. Jirsa, Stacey,
Quilichini, Ivanov & Bernard, Brain 137:2210 (2014). Regions are coupled through the permittivity, z' = ... - K sum_j
W_ij (x1_j - x1_i), as in Proix, Bartolomei, Chauvel, Bernard & Jirsa, J. Neurosci. 34:15009 (2014): `jnm.Diffusive`.
"""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, param, region_shape

_SOURCE = "Jirsa et al. 2014"


class EpileptorState(NamedTuple):
    """The fast pair x1, y1, the permittivity z, the spike-and-wave pair x2, y2, and the memory g of x1."""

    x1: Array
    y1: Array
    z: Array
    x2: Array
    y2: Array
    g: Array


class Epileptor(AbstractModel):
    """The Epileptor; parameters have shape [] or [region].

    `x0` is the excitability: near -1.6 the region has seizures, below about -2.06 it has none. It sends x1; afferents
    lower z', so that a neighbour in a seizure recruits it. `drive.current` adds to I1.

        >>> node = jnm.Epileptor(x0=-1.6)
        >>> sol = jnm.simulate(node, t1=10_000.0, dt=0.05, save_every=1.0, save=lambda t, y: y.x2 - y.x1)

    The paper's time has no unit; `tau` gives it one. Noise is white, on x2 and y2. Raises `ValueError` for parameters
    of another shape or outside their domain.
    """

    x0: Float[Array, "..."] = param(-1.6, doc="excitability", source=_SOURCE, status="paper")
    I1: Float[Array, "..."] = param(3.1, doc="current of the fast pair", source=_SOURCE, status="paper")
    I2: Float[Array, "..."] = param(0.45, doc="current of the spike-and-wave pair", source=_SOURCE, status="paper")
    y0: Float[Array, "..."] = param(1.0, doc="level of y1", source=_SOURCE, status="paper")
    tau: Float[Array, "..."] = param(1.0, unit="ms", domain=Positive(), doc="unit of time of the model")
    tau0: Float[Array, "..."] = param(
        2857.0, unit="tau", domain=Positive(), doc="time constant of z", source=_SOURCE, status="paper"
    )
    tau2: Float[Array, "..."] = param(
        10.0, unit="tau", domain=Positive(), doc="time constant of y2", source=_SOURCE, status="paper"
    )
    gamma: Float[Array, "..."] = param(
        0.01, unit="1/tau", domain=Positive(), doc="rate at which g forgets", source=_SOURCE, status="paper"
    )
    sigma: Float[Array, "..."] | None = param(
        None, doc="amplitude of white noise on x2 and y2, per sqrt(tau)", optional=True
    )

    citation: ClassVar[str] = (
        "Jirsa VK, Stacey WC, Quilichini PP, Ivanov AI, Bernard C (2014) On the nature of seizure dynamics. "
        "Brain 137:2210-2230."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> EpileptorState:
        """Between seizures: x1 = -1.5, and the others where they would rest with it, but for x2 = 0."""
        x1 = jnp.full(region_shape(self), -1.5, self.x0.dtype)
        return EpileptorState(x1, self.y0 - 5 * x1**2, 3.0 + 0 * x1, 0 * x1, 0 * x1, x1 / self.gamma)

    def drift(self, t: Array, y: EpileptorState, drive: Drive) -> EpileptorState:
        x1, y1, z, x2, y2, g = y
        f1 = jnp.where(x1 < 0, x1**3 - 3 * x1**2, (x2 - 0.6 * (z - 4) ** 2) * x1)
        f2 = jnp.maximum(0.0, 6 * (x2 + 0.25))
        tau = self.tau
        return EpileptorState(
            (y1 - f1 - z + self.I1 + drive.current) / tau,
            (self.y0 - 5 * x1**2 - y1) / tau,
            (4 * (x1 - self.x0) - z - drive.synaptic) / (self.tau0 * tau),
            (-y2 + x2 - x2**3 + self.I2 + 0.002 * g - 0.3 * (z - 3.5)) / tau,
            (-y2 + f2) / (self.tau2 * tau),
            (x1 - self.gamma * g) / tau,
        )

    def diffusion(self, t: Array, y: EpileptorState) -> EpileptorState | None:
        if self.sigma is None:
            return None
        amplitude = jnp.broadcast_to(self.sigma / jnp.sqrt(self.tau), y.x2.shape)
        return EpileptorState(None, None, None, amplitude, amplitude, None)  # pyright: ignore[reportArgumentType]

    def output(self, t: Array, y: EpileptorState) -> Array:
        return y.x1

    def source(self, t: Array, y: EpileptorState, drive: Drive) -> Array:
        """x2 - x1, the field potential of the paper."""
        return y.x2 - y.x1
