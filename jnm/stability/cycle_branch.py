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
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel
from jnm.stability.arclength import Point, Walk, between, correct
from jnm.stability.crossing import HopfPoint
from jnm.stability.cycle import Cycle, attached
from jnm.stability.dial import Dial
from jnm.stability.field import flat, shaped
from jnm.stability.orbit import ARCS, STEPS, Mesh, along, at_phases, joined, mesh_at, mesh_through, monodromy
from jnm.stability.root import linearise

_FIRST = 0.02  # amplitude of the first cycle, relative to the state's size
_LONG = 40.0  # periods of the first cycle at which a cycle is thought to end in an orbit without return
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

    def cycle(self, index: int) -> Cycle:
        """One of the cycles, differentiable in the model's parameters."""
        point = self._points[index]
        with jax.enable_x64(True):
            return attached(self._knob(self._model, jnp.asarray(point.z[-1])), point.args[2], jnp.asarray(point.z[:-1]))


def cycles_from(
    model: AbstractModel, fixed: AbstractModel, knob: Dial, hopf: HopfPoint, size: Any, box: tuple[float, float], most: int
) -> CycleBranch:
    """The branch of cycles that is born at a Hopf point; `size` is that of the state's entries and of the box."""
    start, first, scale = _birth(fixed, knob, hopf, size)
    smallest, longest = _swing(start, scale) / 2, _LONG * start[-2]

    def stop(point: Point) -> str:
        if point.z[-2] > longest:
            return f"the period exceeds {longest:.4g} ms: near an orbit that takes for ever"
        return "shrank to a Hopf point" if _swing(point.z, scale) < smallest else ""

    walk = Walk(periodic_at, scale, box, longest=0.08, most=most, renew=lambda p: _renewed(p, scale), stop=stop)
    args = (fixed, knob, mesh_at(knob(fixed, start[-1]), _even(), start[:-2].reshape(ARCS, -1)))
    curve = walk.along(args, start, first)
    values = [np.linalg.eigvals(_monodromy(point)) for point in curve.points]
    steps = list(itertools.pairwise(range(len(curve.points))))
    pairs = [(curve.origins[k], curve.points[k]) for _, k in steps]
    return CycleBranch(
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


def periodic_at(args: Any, z: Float[Array, " unknown"]) -> Float[Array, " equation"]:
    """The equations of a branch of cycles in z = (y_0, ..., y_{M-1}, T, p); args = (model, dial, mesh)."""
    model, knob, mesh = args
    return joined(knob(model, z[-1]), mesh, z[:-2].reshape(mesh.points.shape), z[-2])


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


def _swing(z: Float[np.ndarray, " unknown"], scale: Float[np.ndarray, " unknown"]) -> float:
    return float(np.max(np.ptp((z[:-2] / scale[:-2]).reshape(ARCS, -1), axis=0)))


def _renewed(point: Point, scale: Float[np.ndarray, " unknown"]) -> Point | None:
    """The same cycle with its phase measured against itself, and on a better mesh where its steps' errors differ much."""
    model, knob, mesh = point.args
    at = knob(model, jnp.asarray(point.z[-1]))
    phases, states, errors = (np.asarray(part) for part in along(at, mesh, point.z[:-1]))
    better = mesh_through(at, phases, states, errors)
    if np.sum(np.abs(better.fractions - mesh.fractions)) < _REMESH:
        same = mesh_at(at, mesh.fractions, point.z[:-2].reshape(ARCS, -1))
        return correct(periodic_at, (model, knob, same), point.z, point.tangent, scale)
    ends = np.append(0.0, np.cumsum(np.asarray(better.fractions).sum(axis=1)))
    tangent = at_phases(phases[::STEPS], point.tangent[:-2].reshape(ARCS, -1), ends[:-1])
    z = np.append(np.ravel(better.points), point.z[-2:])
    guess = np.append(tangent.ravel(), point.tangent[-2:])
    return correct(periodic_at, (model, knob, better), z, guess / np.linalg.norm(guess), scale)


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
    """Where a function of the cycle changes its sign along a branch, to the last digits."""
    from scipy.optimize import brentq

    for origin, point in pairs:
        if test(origin) * test(point) >= 0:
            continue

        def along_chord(share: float, origin: Point = origin, point: Point = point) -> float:
            found = between(periodic_at, origin, point, share, scale)
            return np.nan if found is None else test(found)

        share = brentq(along_chord, 0.0, 1.0, xtol=1e-12, disp=False)
        found = between(periodic_at, origin, point, float(share), scale)
        if found is not None:
            yield CyclePoint(float(found.z[-1]), float(found.z[-2]))


def _orbits(model: AbstractModel, knob: Dial, points: list[Point]) -> Any:
    states = [along(knob(model, jnp.asarray(p.z[-1])), p.args[2], p.z[:-1])[1] for p in points]
    return jax.vmap(jax.vmap(lambda x: shaped(model, x)))(jnp.stack(states))
