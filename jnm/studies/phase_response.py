r"""How a weak field moves the phase of an oscillation, and in what band it can hold it: the linear theory of tongues.

Next to a limit cycle of angular frequency w, a field E moves the phase phi at a rate in proportion to it,

    phi' = w + Z(phi) E(t),        Z(phi) = grad phi . b,

with b what 1 V/m adds to the state's slope. E sin(w_E t) averaged over cycles leaves of Z = sum_k z_k exp(i k phi) one
term, that of k = m: one cycle of the output is held by m of the field where

    |f_E - m f| < m |z_m| E / (2 pi),

to first order in E. The model's noise is left out. The gradient of the phase is found by autodiff: whatever the state,
after some periods only its phase is left, so grad phi = w (D Phi)^T F / |F|^2 with Phi the flow of whole periods and F
the slope along the cycle.

Winfree AT, The Geometry of Biological Time (Springer, 1980); Ermentrout & Kopell (1984) SIAM J Math Anal 15:215-237.
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jnm._model import AbstractModel, Drive, State
from jnm.stability import limit_cycle
from jnm.stability.field import flat, slope
from jnm.stability.precision import in_double
from jnm.studies.weak_field import LAMBDA

_STEPS = 512  # of a period
_LEFT = 1e-8  # of a push off the cycle, when its phase is read
_LAPS = 40  # periods, at most, that one waits for it


@dataclasses.dataclass(frozen=True)
class PhaseResponse:
    """The phase response of a limit cycle; made by `phase_response`."""

    frequency_hz: float
    """Of the oscillation by itself."""
    phase: Float[np.ndarray, " phase"]
    """Radians from the start of the cycle, evenly spaced over one turn."""
    value: Float[np.ndarray, " phase"]
    """Z: radians per ms and V/m."""

    def half_width(self, m: int = 1) -> float:
        """Hz per V/m: half the band of field frequencies around m times its own in which the field holds it."""
        coefficient = np.fft.fft(self.value)[m] / len(self.value)
        return float(m * np.abs(coefficient) * 1000 / (2 * np.pi))

    def tongue(self, strength: ArrayLike, m: int = 1) -> Float[np.ndarray, "strength 2"]:
        """Lowest and highest field frequency (Hz) that holds the oscillation, at strengths in V/m, to first order."""
        half = np.asarray(strength, float) * self.half_width(m)
        return m * self.frequency_hz + np.stack([-half, half], axis=-1)


@in_double
def phase_response(
    model: AbstractModel, *, coupling: ArrayLike = LAMBDA, start: State | None = None, phases: int = 64
) -> PhaseResponse:
    """The phase response of the oscillation into which a model settles, to an electric field.

        >>> theory = jnm.studies.phase_response(jnm.ING())
        >>> theory.tongue([10.0, 20.0])

    `coupling` is the current per V/m, as in `jnm.studies.entrainment`; `start` is that of `jnm.stability.limit_cycle`,
    which raises `RuntimeError` if there is no oscillation; `phases` is how many are looked at. Raises `ValueError` for
    fewer than eight phases or a number that is no power of two, and for a cycle that hardly attracts.
    """
    if phases < 8 or _STEPS % phases:
        raise ValueError(f"phase_response: phases = {phases}; wanted a divisor of {_STEPS}, at least 8.")
    cycle = limit_cycle(model, start)
    period, sizes = float(cycle.period), np.sort(np.abs(np.asarray(cycle.multipliers)))
    laps = math.ceil(math.log(_LEFT) / math.log(max(sizes[-2], 1e-16))) if sizes[-2] < 1 else _LAPS + 1
    if laps > _LAPS:
        raise ValueError(
            f"phase_response: a push off the cycle is {sizes[-2]:.3g} of itself after a period; the phase is not what is "
            "left of it."
        )
    first = jax.tree.map(lambda x: x[0], cycle.orbit)
    Z = _response(model, first, jnp.asarray(coupling, float), period, max(laps, 1), phases)
    return PhaseResponse(1000 / period, 2 * np.pi * np.arange(1, phases + 1) / phases, np.asarray(Z))


@eqx.filter_jit
def _response(model: Any, first: State, push: Array, period: float, laps: int, phases: int) -> Float[Array, " phase"]:
    dt = period / _STEPS

    def step(x, _):  # Runge and Kutta's
        k1 = slope(model, x)
        k2 = slope(model, x + dt / 2 * k1)
        k3 = slope(model, x + dt / 2 * k2)
        k4 = slope(model, x + dt * k3)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x, x

    def one_turn(x):
        return jax.lax.scan(step, x, length=_STEPS)

    def response(x):
        along = slope(model, x)
        back = jnp.linalg.matrix_power(jax.jacfwd(lambda x: one_turn(x)[0])(x).T, laps) @ along
        pushed = jax.jacfwd(lambda u: slope(model, x, Drive(current=u * push)))(jnp.zeros(()))
        return 2 * jnp.pi / period * jnp.dot(back, pushed) / jnp.dot(along, along)

    return jax.vmap(response)(one_turn(flat(first))[1][_STEPS // phases - 1 :: _STEPS // phases])
