r"""Jansen-Rit: pyramidal cells, excitatory and inhibitory interneurons, with sigmoid rates and second-order synapses.

    y0' = y3     y3' = A a S(y1 - y2) - 2 a y3 - a^2 y0
    y1' = y4     y4' = A a [p + afferents + C2 S(C1 y0)] - 2 a y4 - a^2 y1
    y2' = y5     y5' = B b C4 S(C3 y0) - 2 b y5 - b^2 y2
    S(u) = 2 e0 / (1 + exp(rho (v0 - u))),   C1 = C, C2 = .8 C, C3 = C4 = .25 C

Jansen & Rit, Biol. Cybern. 73:357 (1995). Potentials in mV, rates in 1/ms, time in ms: a = 0.1 /ms is the 100 /s of the
paper and p = 0.230 /ms its 230 /s.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, param, region_shape

_SOURCE = "Jansen & Rit 1995"


class JansenRitState(NamedTuple):
    """Post-synaptic potentials y0, y1, y2 (mV) and their slopes y3, y4, y5 (mV/ms)."""

    y0: Array
    y1: Array
    y2: Array
    y3: Array
    y4: Array
    y5: Array


class JansenRit(AbstractModel):
    """The cortical column of Jansen and Rit; parameters have shape [] or [region].

    It sends the firing rate S(y1 - y2) of its pyramidal cells and receives afferents beside p. `drive.current` adds to
    p too: the model has no membrane current.

        >>> column = jnm.JansenRit(p=0.120)     # alpha, about 10 Hz

    Raises `ValueError` for parameters of another shape or outside their domain.
    """

    p: Float[Array, "..."] = param(0.120, unit="1/ms", doc="mean external firing rate", source=_SOURCE, status="paper")
    A: Float[Array, "..."] = param(
        3.25, unit="mV", domain=Positive(), doc="excitatory synaptic gain", source=_SOURCE, status="paper"
    )
    B: Float[Array, "..."] = param(
        22.0, unit="mV", domain=Positive(), doc="inhibitory synaptic gain", source=_SOURCE, status="paper"
    )
    a: Float[Array, "..."] = param(
        0.1, unit="1/ms", domain=Positive(), doc="excitatory synaptic rate constant", source=_SOURCE, status="paper"
    )
    b: Float[Array, "..."] = param(
        0.05, unit="1/ms", domain=Positive(), doc="inhibitory synaptic rate constant", source=_SOURCE, status="paper"
    )
    C: Float[Array, "..."] = param(
        135.0, domain=Positive(), doc="number of synapses C1; C2, C3, C4 follow", source=_SOURCE, status="paper"
    )
    e0: Float[Array, "..."] = param(
        0.0025, unit="1/ms", domain=Positive(), doc="half of the largest firing rate", source=_SOURCE, status="paper"
    )
    rho: Float[Array, "..."] = param(
        0.56, unit="1/mV", domain=Positive(), doc="steepness of the sigmoid", source=_SOURCE, status="paper"
    )
    v0: Float[Array, "..."] = param(
        6.0, unit="mV", doc="potential of half the largest rate", source=_SOURCE, status="paper"
    )
    sigma: Float[Array, "..."] | None = param(
        None, unit="1/sqrt(ms)", doc="amplitude of white noise on p", optional=True
    )

    citation: ClassVar[str] = (
        "Jansen BH, Rit VG (1995) Electroencephalogram and visual evoked potential generation in a mathematical model "
        "of coupled cortical columns. Biol Cybern 73:357-366."
    )

    def __check_init__(self):
        region_shape(self)  # raises where shapes disagree

    def init(self) -> JansenRitState:
        """All potentials and slopes at zero."""
        return JansenRitState(*(jnp.zeros(region_shape(self), self.p.dtype),) * 6)

    def rate(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        """Firing rate in 1/ms of cells whose mean potential is given in mV."""
        return 2 * self.e0 * jax.nn.sigmoid(self.rho * (potential - self.v0))

    def drift(self, t: Array, y: JansenRitState, drive: Drive) -> JansenRitState:
        A, B, a, b, C = self.A, self.B, self.a, self.b, self.C
        y0, y1, y2, y3, y4, y5 = y
        extrinsic = self.p + drive.synaptic + drive.current
        return JansenRitState(
            y3,
            y4,
            y5,
            A * a * self.rate(y1 - y2) - 2 * a * y3 - a**2 * y0,
            A * a * (extrinsic + 0.8 * C * self.rate(C * y0)) - 2 * a * y4 - a**2 * y1,
            B * b * 0.25 * C * self.rate(0.25 * C * y0) - 2 * b * y5 - b**2 * y2,
        )

    def diffusion(self, t: Array, y: JansenRitState) -> JansenRitState | None:
        if self.sigma is None:
            return None
        amplitude = jnp.broadcast_to(self.A * self.a * self.sigma, y.y4.shape)
        return JansenRitState(None, None, None, None, amplitude, None)  # pyright: ignore[reportArgumentType]

    def output(self, t: Array, y: JansenRitState) -> Array:
        return self.rate(y.y1 - y.y2)

    def source(self, t: Array, y: JansenRitState, drive: Drive) -> Array:
        """y1 - y2 in mV, the potential at the pyramidal somata: a dipole if EPSPs arrive basally, with equal levers."""
        return y.y1 - y.y2
