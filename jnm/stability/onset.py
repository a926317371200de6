"""Where a pattern of the connectome starts to grow out of a homogeneous state, as a parameter is turned.

The state is followed from one value to the next, the growth rate of a mode is watched, and the place where it passes
zero is found to the last digits. As the root of an equation in the parameter it has the derivatives of the implicit
function theorem. With delays a mode has infinitely many exponents, of which only the rightmost can pass zero first.
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
from jnm.stability.delayed import delay_of
from jnm.stability.delayed_cycle import DelayedCycle
from jnm.stability.dial import Dial, dial
from jnm.stability.fixed_point import FixedPoint
from jnm.stability.homogeneous import homogeneous
from jnm.stability.orbit import along, solve_orbit
from jnm.stability.precision import concrete, in_double_with_delays
from jnm.stability.root import attach
from jnm.stability.transverse import exponents, homogeneous_state, moving


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
    about: FixedPoint | Cycle | DelayedCycle
    """The homogeneous state there."""
    name: str = eqx.field(static=True)
    """The parameter that was turned."""


@in_double_with_delays
def transverse_onset(
    network: Any,
    where: Where,
    low: float,
    high: float,
    *,
    mode: int | None = None,
    state: State | FixedPoint | Cycle | DelayedCycle | None = None,
    steps: int = 24,
) -> Onset:
    """The first place between `low` and `high` at which a homogeneous state gains or loses stability against a pattern.

        >>> net = jnm.Network(jnm.PING(IE=10.0), brain, jnm.Linear(8.0))
        >>> cycle = jnm.stability.limit_cycle(net)
        >>> onset = jnm.stability.transverse_onset(net, jnm.at(lambda m: m.node.I, 0), 10.0, 13.0, state=cycle)

    **Arguments**

    - `network`: as for `dispersion`; with a conduction speed all connections have the same delay.
    - `where`: the parameter, as in `jnm.free`; where it selects several elements they all take the same value. It may be
      the speed, within its range.
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
    count = len(found.eigenvalues)
    if mode is not None and not 0 <= mode < count:
        raise ValueError(f"transverse_onset: mode = {mode}; the connectivity has modes 0 to {count - 1}.")
    watch = _Watch(fixed, knob, found, np.arange(1, count) if mode is None else np.array([mode]))
    begin = homogeneous_state(watch.network_at(low), concrete(state, "transverse_onset"))[0]
    value, about = _refined(watch, *_passage(watch, begin, low, high, steps))
    growth, turn = watch(about, value)
    first = int(np.argmax(growth))
    k = int(watch.modes[first])
    residual = _Residual(k, knob, _line(about, delay_of(watch.network_at(value))))
    root = attach(residual, (network, about, found), np.array([value]))[0]
    return Onset(root, k, jnp.asarray(found.eigenvalues)[k], jnp.asarray(turn[first]), about, knob.name)


class _Watch:
    """Growth rates and frequencies of some modes about a state that is followed, at any value of the parameter."""

    def __init__(self, network: Network, knob: Dial, found: Modes, which: np.ndarray):
        self.network, self.knob, self.modes = network, knob, which
        self.eigenvalues = jnp.asarray(found.eigenvalues[which])

    def network_at(self, value: float) -> Network:
        return self.knob(self.network, jnp.asarray(value))

    def followed(self, about: Any, value: float) -> Any:
        return _followed(about, self.network_at(value))

    def __call__(self, about: Any, value: float) -> tuple[np.ndarray, np.ndarray]:
        network = self.network_at(value)
        about, delay = _followed(about, network), delay_of(network)
        line = _line(about, delay)
        leading = np.asarray(exponents(about, self.eigenvalues, delay, line))[:, 0]
        return np.maximum(np.real(leading), line), 1000 * np.abs(np.imag(leading)) / (2 * np.pi)

    def height(self, about: Any, value: float) -> float:
        """What is to pass zero."""
        return float(self(about, value)[0].max())


class _Residual(eqx.Module):
    """The growth rate of a mode at a value of the parameter; args = (network, state nearby, modes of the weights)."""

    mode: int = eqx.field(static=True)
    knob: Dial = eqx.field(static=True)
    line: float = eqx.field(static=True)

    def __call__(self, args: Any, value: Float[Array, " 1"]) -> Float[Array, " 1"]:
        network, about, found = args
        turned = self.knob(network, value[0])
        eigenvalue = moving(found, network.connectome.weights)[self.mode]
        return exponents(_followed(about, turned), eigenvalue[None], delay_of(turned), self.line)[:, 0].real


def _followed(about: Any, network: Network) -> Any:
    """The same state of a network with other parameters."""
    return about.follow(network if isinstance(about, DelayedCycle) else homogeneous(network))


def _line(about: Any, delay: Any) -> float:
    """With delays, per ms: exponents further left are not about to pass zero, and are not sought."""
    slowest = about.period if isinstance(about, DelayedCycle) else delay
    return -np.inf if slowest is None else -1 / float(slowest)


def _passage(watch: _Watch, about: Any, low: float, high: float, steps: int) -> tuple[Any, float, float]:
    """The state at the beginning of the piece of the range on which the growth rate passes zero, and the piece."""
    values = np.linspace(low, high, steps + 1)
    before = watch.height(about, low)
    for a, b in itertools.pairwise(values):
        ahead = watch.followed(about, b)
        after = watch.height(ahead, b)
        if before * after <= 0:
            return about, float(a), float(b)
        about, before = ahead, after
    raise RuntimeError(
        f"transverse_onset: no growth rate passes zero at {steps + 1} values of {watch.knob.name} from {low:g} to {high:g}; "
        f"it is {before:.3g} /ms at the end. Look at dispersion(network, ...) at both ends."
    )


def _refined(watch: _Watch, about: Any, a: float, b: float) -> tuple[float, Any]:
    """Where it passes zero on a piece, and the state there on a mesh of its own."""
    from scipy.optimize import brentq

    value = float(np.asarray(brentq(lambda p: watch.height(about, p), a, b, xtol=1e-6)))
    about = _remeshed(watch.followed(about, value))
    reach = 1e-4 * (b - a)
    inside = max(a, value - reach), min(b, value + reach)
    if watch.height(about, inside[0]) * watch.height(about, inside[1]) < 0:  # else the first answer was exact
        value = float(np.asarray(brentq(lambda p: watch.height(about, p), *inside, xtol=1e-12)))
    return value, watch.followed(about, value)


def _remeshed(about: Any) -> Any:
    """A cycle with steps where it is fast now, and not where it was on the way; with delays it has them already."""
    if not isinstance(about, Cycle):
        return about
    phases, states, _ = map(np.asarray, along(about.model, about._mesh, about._unknowns))
    orbit = solve_orbit(about.model, phases, states, float(about.period), np.asarray(about._mesh.lap))
    return about if orbit is None else attached(about.model, orbit[0], jnp.asarray(orbit[1]))
