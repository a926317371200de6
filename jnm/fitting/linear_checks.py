r"""Does a simulation have the spectrum that the linear theory says? Two reasons why not: the scheme, and the noise.

**The scheme.** An explicit scheme multiplies a mode of exponent l = -d + i w by R(l dt) a step, R(z) = 1 + z for Euler and
1 + z + z^2 / 2 for Heun, so it has the exponent log R(l dt) / dt instead: Euler adds the anti-damping w^2 dt / 2, and a
weakly damped rhythm becomes too strong.

**The noise.** The linear spectrum is that of weak noise; strong noise sees the curvature of the flow.
"""

import warnings
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._model import AbstractModel, Drive, State
from jnm._param import cast
from jnm.fitting.csd_whittle import WhittleLoss
from jnm.fitting.linear_csd import Seen, dynamics, linear
from jnm.fitting.resting import rest
from jnm.integration import simulate
from jnm.observe.spectrum import averages, psd
from jnm.stability.field import shaped

_SURE = 4.0  # a deviation is averaged over frequencies until its error is a fourth of what is tolerated
_DECIBEL = 10 / np.log(10)


class SchemeBias(NamedTuple):
    """The slowest mode of a model at rest, as it is and as an explicit scheme has it."""

    exponent: complex
    """Per ms: minus the decay, and the angular frequency."""
    of_scheme: complex

    @property
    def relative(self) -> float:
        """How much of the decay the scheme takes away (+) or adds (-): 1 is all of it."""
        return (self.of_scheme.real - self.exponent.real) / abs(self.exponent.real)


def scheme_bias(
    model: AbstractModel, dt: float, solver: diffrax.AbstractSolver | None = None, *, state: State | None = None
) -> SchemeBias:
    """What a step of `dt` ms makes of the slowest mode of a model at rest.

        >>> jnm.fitting.scheme_bias(jnm.JansenRit(p=0.4), 0.2, diffrax.Euler()).relative
        0.27...

    `solver` is Euler or Heun (the default) of diffrax; `state` is where the search for the rest begins. Raises
    `ValueError` for other solvers, for delays, and where the model reaches no rest.
    """
    with jax.enable_x64(True):
        wide = cast(model, jnp.float64)
        point = rest(wide, state)
        A = dynamics(linear(wide, point, "output"))
    if A is None or not bool(point.reached):
        raise ValueError(
            "scheme_bias: wanted a model without delays that comes to rest; this one has delays or no rest."
        )
    values = np.linalg.eigvals(np.asarray(A))
    steps = np.log(_amplification(solver, values * dt)) / dt
    slowest = int(np.argmax(steps.real))
    return SchemeBias(complex(values[slowest]), complex(steps[slowest]))


def check_scheme(
    model: AbstractModel,
    dt: float,
    solver: diffrax.AbstractSolver | None = None,
    *,
    state: State | None = None,
    tolerance: float = 0.05,
) -> None:
    """Raise `ValueError` where a scheme changes the decay of the slowest mode by more than `tolerance` of it.

    To be asked before simulations meet a linear spectrum: in data to test a fit with, or in refining one.
    """
    bias = scheme_bias(model, dt, solver, state=state)
    if abs(bias.relative) > tolerance:
        true, got = -1000 * bias.exponent.real, -1000 * bias.of_scheme.real
        name = "Heun" if solver is None else type(solver).__name__
        raise ValueError(
            f"check_scheme: {name} in steps of {dt:g} ms gives the slowest mode ({abs(bias.exponent.imag) * 500 / np.pi:.1f} "
            f"Hz) the decay {got:.3g} /s instead of {true:.3g} /s, so its spectrum is not the linear one. Take Heun, or steps "
            f"below {dt * tolerance / abs(bias.relative):.2g} ms."
        )


class LinearisationError(NamedTuple):
    """A simulated over the linear spectrum."""

    f_hz: np.ndarray
    decibel: np.ndarray
    """[frequency, channel]: 10 log10 of the ratio, averaged over as many frequencies as make it sure."""
    worst: float
    """The largest deviation, dB, with its sign."""
    at_hz: float


def linearisation_error(
    model: AbstractModel,
    key: PRNGKeyArray,
    *,
    duration: float = 120_000.0,
    dt: float = 0.2,
    every: float = 2.0,
    band: tuple[float, float] = (2.0, 45.0),
    segment: float = 2_000.0,
    tolerance: float = 1.0,
    seen: Seen = "source",
    state: State | None = None,
) -> LinearisationError:
    """How far the spectrum of a simulation (Heun) lies from the linear one; warns where it is more than `tolerance` dB.

        >>> jnm.fitting.linearisation_error(fit.model, jax.random.key(1)).worst

    To be asked at the optimum of a Whittle fit: more than 1 dB says that the noise is not weak, and that the fit wants
    to be refined by simulation (`jnm.LogSpectralLoss`).

    **Arguments** are times in ms: of the simulation, its step, from one sample to the next, of Welch's segments.

    Raises `ValueError` for an unstable rest, and where `dt` is so long that the scheme itself would deviate.
    """
    check_scheme(model, dt, state=state)
    with jax.enable_x64(True):
        point = rest(cast(model, jnp.float64), state)
        y0 = shaped(cast(model, jnp.float64), point.x)
    begin = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), y0, model.init())

    def source(t, y):
        return jnp.atleast_1d(model.output(t, y) if seen == "output" else model.source(t, y, Drive()))

    x = simulate(model, duration, dt, key=key, y0=begin, save_every=every, save=source).ys
    f_hz, S = psd(x - jnp.mean(x, axis=0, keepdims=True), every, segment)
    M = averages(len(x), every, segment)
    return _compared(model, np.asarray(f_hz), np.asarray(S, float), M, band, segment, tolerance, seen, state)


def _compared(model, f_hz, S, M, band, segment, tolerance, seen, state) -> LinearisationError:
    inside = (f_hz >= band[0]) & (f_hz <= band[1]) & (f_hz > 0)
    S, f_hz = S[inside], f_hz[inside]
    ones = np.tile(np.eye(S.shape[1]), (len(f_hz), 1, 1))
    loss = WhittleLoss(None, (f_hz, ones, M), band=band, segment=segment, seen=seen, state=state)
    linear_S = np.einsum("fii->fi", np.asarray(loss.csd(model))).real
    width = max(1, int(np.ceil(2 * (_SURE * _DECIBEL / tolerance) ** 2 / M)))  # Hann's bins are worth half as many
    if width > len(f_hz):
        raise ValueError(
            f"linearisation_error: {M:.0f} averages cannot tell {tolerance:g} dB; simulate longer, or shorter segments."
        )
    kernel = np.ones(width) / width
    ratio = np.stack([np.convolve(r, kernel, "valid") for r in (S / linear_S).T], axis=1)
    decibel, centre = _DECIBEL * np.log(ratio), np.convolve(f_hz, kernel, "valid")
    at = np.unravel_index(np.argmax(np.abs(decibel)), decibel.shape)
    answer = LinearisationError(centre, decibel, float(decibel[at]), float(centre[at[0]]))
    if abs(answer.worst) > tolerance:
        warnings.warn(
            f"the simulated spectrum lies {answer.worst:+.1f} dB from the linear one near {answer.at_hz:.1f} Hz: the noise is "
            "not weak here; refine the fit by simulation, with jnm.LogSpectralLoss.",
            stacklevel=3,
        )
    return answer


def _amplification(solver: diffrax.AbstractSolver | None, z: Float[np.ndarray, " n"] | Array) -> np.ndarray:
    if solver is None or isinstance(solver, diffrax.Heun):
        return np.asarray(1 + z + z**2 / 2)
    if isinstance(solver, diffrax.Euler):
        return np.asarray(1 + z)
    raise ValueError(f"scheme_bias: known are diffrax.Euler() and diffrax.Heun(); got {type(solver).__name__}.")
