r"""How a model at rest answers what is weak: a sine of one frequency, or its own noise.

Near a fixed point x* the flow is dx/dt = A (x - x*) + b u + B xi, the output c . (x - x*) + d u, so

    H(f) = c (i w - A)^-1 b + d,                 w = 2 pi f,        the transfer function from input to output,
    S(f) = 2 sum_j |c (i w - A)^-1 B_j|^2                           the one-sided spectrum of the output under noise,

exactly, to first order in what is weak. Times are in ms inside; frequencies are given in Hz and densities are per Hz.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, Drive, State
from jnm.stability import plots
from jnm.stability.equilibria import Found
from jnm.stability.field import NO_TIME, flat, jacobian, shaped, slope
from jnm.stability.fixed_point import FixedPoint, at_rest, fixed_points
from jnm.stability.precision import concrete, in_double, is_traced
from jnm.stability.root import attach, newton

Input = Literal["current", "synaptic"] | Callable[[Array], Drive]
Output = Literal["output", "source"] | Callable[[Array, State], Array]

_GRID = 800  # frequencies at which a search for resonances looks first, at least


class System(NamedTuple):
    """The linear flow at a fixed point: A, input b, output c and direct way d; times in ms."""

    A: Float[Array, "n n"]
    b: Float[Array, " n"]
    c: Float[Array, "out n"]
    d: Float[Array, " out"]


class TransferFunction(eqx.Module):
    """A model's linear answer to a weak input, by frequency."""

    f_hz: Float[Array, " frequency"]
    in_phase: Float[Array, "frequency ..."]
    """The real part of H, [frequency] and the output's own axes."""
    ahead: Float[Array, "frequency ..."]
    """The imaginary part of H: what leads by a quarter of a turn."""

    @property
    def value(self) -> Complex[Array, "frequency ..."]:
        """H: output over input as complex amplitudes."""
        return jax.lax.complex(self.in_phase, self.ahead)

    @property
    def gain(self) -> Float[Array, "frequency ..."]:
        """|H|, in units of the output over those of the input."""
        return jnp.sqrt(self.in_phase**2 + self.ahead**2)

    @property
    def phase_deg(self) -> Float[Array, "frequency ..."]:
        """By how much the output leads the input, in degrees, without jumps along the frequencies."""
        with jax.enable_x64(True):
            return jnp.rad2deg(jnp.unwrap(jnp.atan2(self.ahead, self.in_phase), axis=0))

    def plot(self, label: str = "gain", axes: Any = None) -> Any:
        """Gain and phase against frequency; returns the Figure."""
        return plots.bode(self, label, axes)


class LinearSpectrum(eqx.Module):
    """The spectrum of a model's output under its own weak noise."""

    f_hz: Float[Array, " frequency"]
    value: Float[Array, "frequency ..."]
    """One-sided density, in the output's unit squared per Hz."""

    def plot(self, label: str = "density (unit²/Hz)", ax: Any = None) -> Any:
        """The density against frequency; returns the Figure."""
        return plots.spectrum(self, label, ax)


class Resonance(eqx.Module):
    """A maximum of the gain."""

    frequency_hz: Float[Array, ""]
    gain: Float[Array, ""]


@in_double
def transfer_function(
    model: AbstractModel,
    f_hz: Float[Array, " frequency"],
    input: Input = "current",
    output: Output = "output",
    *,
    state: State | None = None,
) -> TransferFunction:
    """The answer of a model at rest to a weak sine, as output over input.

        >>> H = jnm.stability.transfer_function(jnm.Pyramidal(), [109.24795], output=lambda t, y: 15.0 * y.r)
        >>> float(H.gain[0])
        0.776930...

    **Arguments**

    - `f_hz`: frequencies in Hz, zero or more.
    - `input`: "current" (enters like I: a field or a stimulus), "synaptic" (enters like afferent activity, 1/ms), both
      the same for all populations and regions; or a function from a number to a `jnm.Drive`, to reach some of them.
    - `output`: "output" (what other regions receive), "source" (what is behind the dipole), or a function of (t, y).
    - `state`: the fixed point, or a state next to it; by default the model's only stable one.

    Differentiable in the model's parameters, and under jit with a `state`. Raises `ValueError` if frequencies are
    negative, for another input or output, and if it is not clear at which fixed point to look.
    """
    f_hz = checked_frequencies(f_hz, "transfer_function", zero=True)
    system, shape = linearised(model, resting_point(model, state, "transfer_function").state, input, output)
    real, imaginary = _answers(system, f_hz)
    return TransferFunction(f_hz, real.reshape(-1, *shape), imaginary.reshape(-1, *shape))


@in_double
def linear_spectrum(
    model: AbstractModel, f_hz: Float[Array, " frequency"], output: Output = "output", *, state: State | None = None
) -> LinearSpectrum:
    """The one-sided spectrum, per Hz, of a model's output under its own noise, exact where the noise is weak.

        >>> S = jnm.stability.linear_spectrum(jnm.Pyramidal(sigma=0.01), jnp.linspace(1.0, 200.0, 200))

    It is the expectation of `jnm.observe.psd` of a long run at small sigma, independent noise in every noisy variable.

    **Arguments** are those of `transfer_function`; frequencies are above zero.

    Raises `ValueError` for a model without noise, for frequencies that are not above zero, and if the fixed point is
    unstable or it is not clear which one is meant.
    """
    f_hz = checked_frequencies(f_hz, "linear_spectrum", zero=False)
    point = resting_point(model, state, "linear_spectrum")
    check_stable(point, "linear_spectrum")
    amplitudes = _noise(model, point.state)
    system, shape = linearised(model, point.state, "current", output)
    return LinearSpectrum(f_hz, _spectra(system, amplitudes, f_hz).reshape(-1, *shape))


@in_double
def resonances(
    model: AbstractModel,
    low: float,
    high: float,
    input: Input = "current",
    output: Output = "output",
    *,
    state: State | None = None,
) -> Found:
    """The frequencies between `low` and `high` (Hz) at which a model answers a weak sine most.

        >>> [float(peak.frequency_hz) for peak in jnm.stability.resonances(jnm.Pyramidal(), 1.0, 300.0)]
        [109.1...]

    `input`, `output` (one number) and `state` are those of `transfer_function`. Returns the maxima of the gain inside
    the range with `.frequency_hz` and `.gain`, differentiable in the model's parameters; an empty list if the gain has
    none. Raises `ValueError` for a range that is none, or an output of several numbers.
    """
    if not (0 <= low < high < np.inf):
        raise ValueError(f"resonances: the range is ({low}, {high}) Hz; wanted 0 <= low < high.")
    system, shape = linearised(model, resting_point(model, state, "resonances").state, input, output)
    if system.c.shape[0] != 1:
        raise ValueError(f"resonances: the output has shape {shape}; take one number of it, output=lambda t, y: ...")
    fixed = concrete(system, "resonances")
    f_hz = _grid(fixed, low, high)
    gain = np.hypot(*(np.asarray(part)[:, 0] for part in _answers(fixed, jnp.asarray(f_hz))))
    tops = np.flatnonzero((gain[1:-1] > gain[:-2]) & (gain[1:-1] >= gain[2:])) + 1
    peaks = [newton(_gain_slope, fixed, f_hz[k : k + 1]) for k in tops]
    found = [_resonance(system, jnp.asarray(f)) for f in peaks if f is not None]
    return Found(found, f"the gain at {len(f_hz)} frequencies from {low:g} to {high:g} Hz")


def _grid(system: System, low: float, high: float) -> Float[np.ndarray, " frequency"]:
    """Even frequencies, and more about each mode that rings too long for them: next to a Hopf point peaks are narrow."""
    even, modes = np.linspace(low, high, _GRID), 1000 / (2 * np.pi) * np.linalg.eigvals(np.asarray(system.A))
    narrow = modes[(modes.imag > 0) & (np.abs(modes.real) < 2 * (even[1] - even[0]))]
    about = narrow.imag[:, None] + np.abs(narrow.real)[:, None] * np.linspace(-4.0, 4.0, 33)
    return np.unique(np.concatenate([even, about[(about > low) & (about < high)]]))


@eqx.filter_jit
def linearised(model: AbstractModel, state: State, input: Input, output: Output) -> tuple[System, tuple[int, ...]]:
    """The linear system at a state, and the shape of its output."""
    for name, way, known in (("input", input, _DRIVES), ("output", output, ("output", "source"))):
        if not callable(way) and way not in known:
            told = " and ".join(map(repr, known))
            raise ValueError(
                f"{name} = {way!r}; known are {told}, and functions (see jnm.stability.transfer_function)."
            )
    drive = _DRIVES[input] if isinstance(input, str) else input
    x, t, nothing = flat(state), jnp.asarray(NO_TIME), jnp.zeros((), flat(state).dtype)

    def seen(x, u):
        y = shaped(model, x)
        if callable(output):
            return output(t, y)
        return model.output(t, y) if output == "output" else model.source(t, y, drive(u))

    like = jax.eval_shape(seen, x, nothing)
    if jnp.issubdtype(like.dtype, jnp.complexfloating):
        raise ValueError(
            f"The output of a {type(model).__name__} is complex; its linear response is that of a real one: give "
            "output='source', or a function of (t, y) that returns real numbers."
        )
    shape = like.shape
    b = jax.jacfwd(lambda u: slope(model, x, drive(u)))(nothing)
    c, d = jax.jacfwd(seen, argnums=(0, 1))(x, nothing)
    return System(jacobian(model, x), b, c.reshape(-1, x.size), d.reshape(-1)), shape


_DRIVES = {"current": lambda u: Drive(current=u), "synaptic": lambda u: Drive(synaptic=u)}


def rotated(A: Float[Array, "n n"], f_hz: Array, right: Float[Array, "n k"]) -> tuple[Array, Array]:
    """(i w - A)^-1 times real columns, real and imaginary part: solved in real numbers, twice as many.

    Derivatives of complex numbers would come out in mixed precision in a float32 session.
    """
    w = 2 * jnp.pi * f_hz / 1000 * jnp.eye(len(A))
    both = jnp.concatenate([jnp.concatenate([-A, -w], axis=1), jnp.concatenate([w, -A], axis=1)])
    solution = jnp.linalg.solve(both, jnp.concatenate([right, jnp.zeros_like(right)]))
    return solution[: len(A)], solution[len(A) :]


@eqx.filter_jit
def _answers(system: System, f_hz: Float[Array, " frequency"]) -> tuple[Array, Array]:
    """H, real and imaginary part, [frequency, out]."""

    def answer(f):
        real, imaginary = rotated(system.A, f, system.b[:, None])
        return jnp.sum(system.c * real.T, axis=1) + system.d, jnp.sum(system.c * imaginary.T, axis=1)

    return jax.vmap(answer)(f_hz)


@eqx.filter_jit
def _spectra(system: System, amplitudes: Float[Array, " n"], f_hz: Float[Array, " frequency"]) -> Array:
    def spectrum(f):
        real, imaginary = rotated(system.A.T, f, system.c.T)  # c (i w - A)^-1, transposed
        return jnp.sum((real**2 + imaginary**2) * amplitudes[:, None] ** 2, axis=0)

    return 2 / 1000 * jax.vmap(spectrum)(f_hz)  # per ms^-1, two-sided -> per Hz, one-sided


def _gain_slope(system: System, f: Float[Array, " 1"]) -> Float[Array, " 1"]:
    """d log |H|^2 / d log f, which vanishes at a resonance."""

    def log_gain(log_f):
        real, imaginary = _answers(system, jnp.exp(log_f))
        return jnp.log(real[0, 0] ** 2 + imaginary[0, 0] ** 2)

    return jax.grad(log_gain)(jnp.log(f))


@eqx.filter_jit
def _resonance(system: System, root: Float[Array, " 1"]) -> Resonance:
    f = attach(_gain_slope, system, root)
    real, imaginary = _answers(system, f)
    return Resonance(f[0], jnp.sqrt(real[0, 0] ** 2 + imaginary[0, 0] ** 2))


def resting_point(model: AbstractModel, state: State | None, task: str) -> FixedPoint:
    """The fixed point next to `state`, or the only stable one."""
    if state is not None:
        return at_rest(model, state)
    points = fixed_points(model)
    stable = [point for point in points if point.stable]
    if len(stable) != 1:
        raise ValueError(
            f"{task}: {len(stable)} of the {len(points)} fixed points found are stable; name one by state=, from "
            "jnm.stability.fixed_points(model)."
        )
    return stable[0]


def check_stable(point: FixedPoint, task: str) -> None:
    """Raise `ValueError` for a fixed point that noise would drive the model away from."""
    values = jax.lax.stop_gradient(point.eigenvalues)
    if not is_traced(values) and not point.stable:
        raise ValueError(
            f"{task}: the fixed point is a {point.kind} (largest real part {float(values[0].real):.3g} /ms); "
            "noise drives the model away from it. Take a stable one, or simulate."
        )


def _noise(model: AbstractModel, state: State) -> Float[Array, " n"]:
    amplitude = model.diffusion(jnp.asarray(NO_TIME), state)
    if amplitude is None:
        raise ValueError(
            "linear_spectrum: the model has no noise; give it some, such as sigma=0.01, or ask transfer_function for its "
            "answer to an input."
        )
    filled = [jnp.zeros_like(x) if a is None else a for a, x in zip(amplitude, state, strict=True) if x is not None]
    return jnp.concatenate([jnp.ravel(a) for a in filled])


def checked_frequencies(f_hz: Any, task: str, zero: bool) -> Float[Array, " frequency"]:
    """Frequencies as an array; `ValueError` unless they are finite and above zero (or zero, where it may be)."""
    f_hz = jnp.asarray(f_hz, float)
    if f_hz.ndim != 1:
        raise ValueError(f"{task}: f_hz has shape {f_hz.shape}; wanted a list of frequencies in Hz.")
    if not is_traced(f_hz):
        values = np.asarray(f_hz)
        low = float(np.min(values, initial=np.inf))
        if not np.all(np.isfinite(values)) or low < 0 or (low == 0 and not zero):
            wanted = "from" if zero else "above"
            raise ValueError(f"{task}: frequencies start at {low:g} Hz; wanted finite ones {wanted} zero.")
    return f_hz
