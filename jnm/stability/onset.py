"""Where a pattern of the connectome starts to grow out of a homogeneous state, as a parameter is turned.

The state is followed from one value to the next, the growth rate of a mode is watched, and the place where it passes
zero is found to the last digits. As the root of an equation in the parameter it has the derivatives of the implicit
function theorem.
"""

import itertools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import State
from jnm._selection import Where
from jnm.network.network import Network
from jnm.network.spectrum import Modes, modes
from jnm.stability.cycle import Cycle, attached
from jnm.stability.dial import Dial, dial
from jnm.stability.field import flat
from jnm.stability.fixed_point import FixedPoint
from jnm.stability.homogeneous import homogeneous
from jnm.stability.modes import at_rest, on_cycle
from jnm.stability.orbit import along, solve_orbit
from jnm.stability.precision import concrete, in_double
from jnm.stability.root import attach
from jnm.stability.transverse import homogeneous_rest, moving


class Onset(eqx.Module):
    """Where a mode passes from decay to growth, or back."""

    value: Float[Array, ""]
    """Of the parameter that was turned."""
    mode: int = eqx.field(static=True)
    """Which eigenvalue of the connectivity, counted from 0 by falling real part."""
    connectivity_eigenvalue: Array
    frequency_hz: Float[Array, ""]
    """At which the pattern turns; about a cycle known up to multiples of its frequency, where it is not 0 or half of it
    a torus is born."""
    about: FixedPoint | Cycle
    """The homogeneous state there."""
    name: str = eqx.field(static=True)
    """The parameter that was turned."""


@in_double
def transverse_onset(
    network: Any,
    where: Where,
    low: float,
    high: float,
    *,
    mode: int | None = None,
    state: State | FixedPoint | Cycle | None = None,
    steps: int = 24,
) -> Onset:
    """The first place between `low` and `high` at which a homogeneous state gains or loses stability against a pattern.

        >>> net = jnm.Network(jnm.PING(IE=10.0), brain, jnm.Linear(8.0))
        >>> cycle = jnm.stability.limit_cycle(net)
        >>> onset = jnm.stability.transverse_onset(net, jnm.at(lambda m: m.node.I, 0), 10.0, 13.0, state=cycle)

    **Arguments**

    - `where`: the parameter, as in `jnm.free`; where it selects several elements they all take the same value.
    - `low`, `high`: the range, in the parameter's unit.
    - `mode`: whose growth rate is to pass zero, counted from 0; by default the largest of all transverse modes.
    - `state`: the homogeneous state at `low`, or near: a cycle, a fixed point or a state next to it; by default the
      fixed point that `dispersion` takes. It is followed upwards in so many `steps`.

    **Returns** an `Onset` with `.value`, `.mode`, `.connectivity_eigenvalue` and `.frequency_hz`; the value is
    differentiable in the other parameters.

    Raises `ValueError` as `dispersion` does and for a mode that does not exist, `RuntimeError` if nothing passes zero or
    if the state is lost on the way.
    """
    low, high = float(low), float(high)
    knob = dial(network, where, low, high, "transverse_onset")
    fixed = concrete(network, "transverse_onset")
    found = modes(fixed.connectome.weights)
    if mode is not None and not 0 <= mode < len(found.eigenvalues):
        raise ValueError(
            f"transverse_onset: mode = {mode}; the connectivity has modes 0 to {len(found.eigenvalues) - 1}."
        )
    watch = _Watch(fixed, knob, found, mode)
    about, ends = _passage(watch, _first(watch, low, concrete(state, "transverse_onset")), low, high, steps)
    value, about = _refined(watch, about, *ends)
    growth, turn = watch(about, value)
    first = 0 if mode == 0 else 1
    k = first + int(np.argmax(growth[first:])) if mode is None else mode
    root = attach(_Residual(k, knob), (network, about, found), np.array([value]))[0]
    return Onset(root, k, jnp.asarray(found.eigenvalues)[k], jnp.asarray(turn[k]), about, knob.name)


class _Watch:
    """Growth rates and frequencies of all modes about a state that is followed, at any value of the parameter."""

    def __init__(self, network: Network, knob: Dial, found: Modes, mode: int | None):
        self.network, self.knob, self.mode = network, knob, mode
        self.eigenvalues = jnp.asarray(found.eigenvalues)

    def model(self, value: float) -> Network:
        return homogeneous(self.knob(self.network, jnp.asarray(value)))

    def __call__(self, about: Any, value: float) -> tuple[np.ndarray, np.ndarray]:
        exponents = np.asarray(_exponents(about.follow(self.model(value)), self.eigenvalues))[:, 0]
        return np.real(exponents), 1000 * np.abs(np.imag(exponents)) / (2 * np.pi)

    def height(self, about: Any, value: float) -> float:
        """What is to pass zero."""
        growth = self(about, value)[0]
        return float(growth[1:].max() if self.mode is None else growth[self.mode])


class _Residual(eqx.Module):
    """The growth rate of a mode at a value of the parameter; args = (network, state nearby, modes of the weights)."""

    mode: int = eqx.field(static=True)
    knob: Dial = eqx.field(static=True)

    def __call__(self, args: Any, value: Float[Array, " 1"]) -> Float[Array, " 1"]:
        network, about, found = args
        alone = homogeneous(self.knob(network, value[0]))
        eigenvalue = moving(found, network.connectome.weights)[self.mode]
        return _exponents(about.follow(alone), eigenvalue[None])[:, 0].real


def _exponents(about: Any, eigenvalues: Array) -> Array:
    if isinstance(about, Cycle):
        return on_cycle(about.model, about._mesh, about._unknowns, eigenvalues)[0]  # pyright: ignore[reportArgumentType]
    return at_rest(about.model, flat(about.state), eigenvalues)


def _first(watch: _Watch, low: float, state: Any) -> Any:
    """The homogeneous state at `low`."""
    if isinstance(state, Cycle):
        return state.follow(watch.model(low))
    return homogeneous_rest(watch.knob(watch.network, jnp.asarray(low)), state)


def _passage(watch: _Watch, about: Any, low: float, high: float, steps: int) -> tuple[Any, tuple[float, float]]:
    """The piece of the range on which the growth rate passes zero, and the state at its beginning."""
    values = np.linspace(low, high, steps + 1)
    before = watch.height(about, low)
    for a, b in itertools.pairwise(values):
        ahead = about.follow(watch.model(b))
        after = watch.height(ahead, b)
        if before * after <= 0:
            return about, (float(a), float(b))
        about, before = ahead, after
    raise RuntimeError(
        f"transverse_onset: no growth rate passes zero at {steps + 1} values of {watch.knob.name} from {low:g} to {high:g}; "
        f"it is {before:.3g} /ms at the end. Look at dispersion(network, ...) at both ends."
    )


def _refined(watch: _Watch, about: Any, a: float, b: float) -> tuple[float, Any]:
    """Where it passes zero on a piece, and the state there on a mesh of its own."""
    from scipy.optimize import brentq

    value = float(np.asarray(brentq(lambda p: watch.height(about, p), a, b, xtol=1e-6)))
    about = _remeshed(about.follow(watch.model(value)))
    reach = 1e-4 * (b - a)
    inside = max(a, value - reach), min(b, value + reach)
    if watch.height(about, inside[0]) * watch.height(about, inside[1]) < 0:  # else the first answer was exact
        value = float(np.asarray(brentq(lambda p: watch.height(about, p), *inside, xtol=1e-12)))
    return value, about.follow(watch.model(value))


def _remeshed(about: Any) -> Any:
    """A cycle with steps where it is fast now, and not where it was on the way."""
    if not isinstance(about, Cycle):
        return about
    phases, states, _ = along(about.model, about._mesh, about._unknowns)
    orbit = solve_orbit(about.model, np.asarray(phases), np.asarray(states), float(about.period))
    return about if orbit is None else attached(about.model, orbit[0], jnp.asarray(orbit[1]))
