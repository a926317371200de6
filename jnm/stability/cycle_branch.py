"""Branches of limit cycles in one parameter: from their birth at a Hopf point to wherever they end.

On the way a cycle may turn back at a limit point of cycles, where a stable and an unstable one meet and end, or double
its period, where a multiplier passes -1.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from jnm._model import AbstractModel
from jnm.stability import plots
from jnm.stability.arclength import Point, Walk, between, correct, towards
from jnm.stability.crossing import HopfPoint
from jnm.stability.cycle import Cycle, attached
from jnm.stability.dial import Dial
from jnm.stability.field import flat, shaped
from jnm.stability.orbit import ARCS, STEPS, along, at_phases, mesh_at, mesh_through, monodromy, periodic_at
from jnm.stability.root import linearise

_FIRST = 0.02  # amplitude of the first cycle, relative to the state's size
_SMALL = 0.3  # and that which a step may reach beyond a Hopf point
_STEP, _TURN = 0.1, 20.0  # longest step, in units of the box, and largest angle between tangents, degrees
_LONG = 40.0  # periods of the first cycle at which a cycle is thought to end in an orbit without return
_SAME = 1e-3  # by which period and parameter, in their units, may differ on a better mesh
_SHRANK = "shrank to a Hopf point"
_REMESH = 0.2  # share of a period by which the steps' errors may be out of balance


class CyclePoint(NamedTuple):
    """A limit point of cycles or a period doubling."""

    value: float
    """Of the parameter that was turned."""
    period: float
    """In ms."""


@dataclasses.dataclass(frozen=True, eq=False)
class CycleBranch:
    """Limit cycles along a parameter, as NumPy arrays with the cycles along the first axis."""

    name: str
    """The parameter that was turned, with its unit."""
    value: Float[np.ndarray, " cycle"]
    """Of the parameter that was turned."""
    period: Float[np.ndarray, " cycle"]
    """In ms."""
    orbits: Any
    """The states along each period, [cycle, time, ...], dense where the orbit is fast."""
    multipliers: Complex[np.ndarray, "cycle n"]
    """Floquet multipliers; one of them is 1."""
    stable: np.ndarray
    """Whether each cycle attracts."""
    limit_points: tuple[CyclePoint, ...]
    """Where a stable and an unstable cycle meet and end."""
    period_doublings: tuple[CyclePoint, ...]
    """Where a cycle of twice the period is born."""
    end: str
    """Why the branch ends."""
    _model: AbstractModel
    _knob: Dial
    _points: tuple[Point, ...]

    @property
    def frequency_hz(self) -> Float[np.ndarray, " cycle"]:
        """1000 / period."""
        return 1000 / self.period

    def plot(self, ax: Any = None) -> Any:
        """The frequency against the parameter; returns the Figure."""
        return plots.frequencies(self, ax)

    def ends_at(self, value: float, period: float) -> bool:
        """Whether the branch shrinks to a Hopf point at this value with this period."""
        if len(self.value) < 2 or self.end != _SHRANK:
            return False
        step = np.abs(np.diff(self.value[-2:]))[0] + 1e-3 * abs(value)
        return bool(abs(self.value[-1] - value) < 2 * step and abs(self.period[-1] / period - 1) < 0.1)

    def cycle(self, index: int) -> Cycle:
        """One of the cycles, differentiable in the model's parameters."""
        point = self._points[index]
        with jax.enable_x64(True):
            return attached(self._knob(self._model, jnp.asarray(point.z[-1])), point.args[2], jnp.asarray(point.z[:-1]))


def cycles_from(
    model: AbstractModel,
    fixed: AbstractModel,
    knob: Dial,
    hopf: HopfPoint,
    size: Any,
    box: tuple[float, float],
    most: int,
) -> CycleBranch:
    """The branch of cycles that is born at a Hopf point; `size` is that of the state's entries and of the box."""
    start, first, scale = _birth(fixed, knob, hopf, size)
    longest = _LONG * start[-2]

    def stop(here: Point, new: Point) -> str:
        if new.z[-2] > longest:
            return f"the period exceeds {longest:.4g} ms: near an orbit that takes for ever"
        # Beyond a Hopf point the small cycles come back half a period later: their waves are opposite.
        before, after = (_wave(point.z) / size[:-1] for point in (here, new))
        return _SHRANK if np.max(np.abs(after)) < _SMALL and np.sum(before * after) < 0 else ""

    walk = Walk(periodic_at, scale, box, _STEP, most, _TURN, lambda p: _renewed(p, scale), stop)
    args = (fixed, knob, mesh_at(knob(fixed, start[-1]), _even(), start[:-2].reshape(ARCS, -1)))
    curve = walk.along(args, start, first)
    values = [np.linalg.eigvals(_monodromy(point)) for point in curve.points]
    steps = list(itertools.pairwise(range(len(curve.points))))
    pairs = [(curve.origins[k], curve.points[k]) for _, k in steps]
    return CycleBranch(
        name=knob.label,
        value=np.array([p.z[-1] for p in curve.points]),
        period=np.array([p.z[-2] for p in curve.points]),
        orbits=_orbits(fixed, knob, curve.points),
        multipliers=np.stack(values) if values else np.empty((0, size.size - 1)),
        stable=np.array([_attracts(v) for v in values], bool),
        limit_points=tuple(_passages(pairs, scale, lambda p: p.tangent[-1])),
        period_doublings=tuple(_passages(pairs, scale, _flip)),
        end=curve.end,
        _model=model,
        _knob=knob,
        _points=tuple(curve.points),
    )


def _birth(model: AbstractModel, knob: Dial, hopf: HopfPoint, size: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first small cycle, the direction in which cycles grow, and the units of a branch's unknowns."""
    x, n = np.asarray(flat(hopf.state)), size.size - 1
    vector = np.asarray(hopf._unknowns)[n : 2 * n] + 1j * np.asarray(hopf._unknowns)[2 * n : 3 * n]
    turn = np.exp(2j * np.pi * np.arange(ARCS) / ARCS)[:, None]
    wave = (turn * vector / np.max(np.abs(vector) / size[:-1])).real
    period = 1000 / float(hopf.frequency_hz)
    # All starts of arcs together count as much as one state.
    scale = np.concatenate([np.tile(size[:-1] * np.sqrt(ARCS), ARCS), [period, size[-1]]])
    start = np.concatenate([(x + _FIRST * wave).ravel(), [period, float(hopf.value)]])
    return start, np.append(wave.ravel(), [0.0, 0.0]) / scale, scale


def _even() -> Float[np.ndarray, "arc step"]:
    return np.full((ARCS, STEPS), 1 / (ARCS * STEPS))


def _wave(z: Float[np.ndarray, " unknown"]) -> Float[np.ndarray, "arc n"]:
    """How the starts of the arcs differ from their mean."""
    starts = z[:-2].reshape(ARCS, -1)
    return starts - starts.mean(axis=0)


def _renewed(point: Point, scale: Float[np.ndarray, " unknown"]) -> Point | None:
    """The same cycle with its phase measured against itself, and on a better mesh where its steps' errors differ much."""
    model, knob, mesh = point.args
    at = knob(model, jnp.asarray(point.z[-1]))
    phases, states, errors = (np.asarray(part) for part in along(at, mesh, point.z[:-1]))
    better, tangent = mesh_through(at, phases, states, errors), point.tangent
    if np.sum(np.abs(better.fractions - mesh.fractions)) < _REMESH:
        better = mesh_at(at, mesh.fractions, point.z[:-2].reshape(ARCS, -1))
    else:
        begins = np.cumsum(np.asarray(better.fractions).sum(axis=1)) - np.asarray(better.fractions).sum(axis=1)
        moved = at_phases(phases[::STEPS], tangent[:-2].reshape(ARCS, -1), begins)
        tangent = np.append(moved.ravel(), tangent[-2:])
    guess = np.append(np.ravel(better.points), point.z[-2:])
    renewed = correct(periodic_at, (model, knob, better), guess, tangent / np.linalg.norm(tangent), scale)
    if renewed is None or np.max(np.abs(renewed.z - point.z)[-2:] / scale[-2:]) > _SAME:
        return None
    return towards(renewed, tangent)


def _monodromy(point: Point) -> Float[np.ndarray, "n n"]:
    jacobian = np.asarray(linearise(periodic_at, point.args, point.z)[1])
    n = point.args[2].points.shape[1]
    return np.asarray(monodromy(jacobian, n))


def _attracts(values: Complex[np.ndarray, " n"]) -> bool:
    others = np.delete(values, np.argmin(np.abs(values - 1)))
    return bool(np.max(np.abs(others), initial=0.0) < 1)


def _flip(point: Point) -> float:
    """det(M + 1), which vanishes where a multiplier is -1."""
    M = _monodromy(point)
    return float(np.linalg.det(M + np.eye(len(M))))


def _passages(
    pairs: list[tuple[Point, Point]], scale: np.ndarray, test: Callable[[Point], float]
) -> Iterator[CyclePoint]:
    """Where a function of the cycle changes its sign along a branch."""
    for origin, point in pairs:
        if test(origin) * test(point) < 0:
            found = _zero(origin, point, scale, test)
            yield CyclePoint(float(found.z[-1]), float(found.z[-2]))


def _zero(origin: Point, point: Point, scale: np.ndarray, test: Callable[[Point], float]) -> Point:
    """The point between two at which a function vanishes: by straight lines, with halving where they are slow."""
    low, high, best = 0.0, 1.0, point
    at_low, at_high = test(origin), test(point)
    for k in range(60):
        share = (low + high) / 2 if k % 3 == 2 else low + (high - low) * at_low / (at_low - at_high)
        found = between(periodic_at, origin, point, share, scale)
        if found is None or high - low < 1e-11:
            break
        best, value = found, test(found)
        if abs(value) < 1e-11 * abs(test(point)):
            break
        low, at_low, high, at_high = (
            (low, at_low, share, value) if value * at_low < 0 else (share, value, high, at_high)
        )
    return best


def _orbits(model: AbstractModel, knob: Dial, points: list[Point]) -> Any:
    states = [along(knob(model, jnp.asarray(p.z[-1])), p.args[2], p.z[:-1])[1] for p in points]
    return jax.vmap(jax.vmap(lambda x: shaped(model, x)))(jnp.stack(states))
