"""Hopf points in two parameters: the border of oscillation, as curves in their plane."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel
from jnm._selection import Where
from jnm.stability import plots
from jnm.stability.arclength import Point, Walk, correct, passes, towards
from jnm.stability.crossing import HopfPoint, hopf_residual
from jnm.stability.dial import Dial, dial
from jnm.stability.equilibria import Found, hopf_points
from jnm.stability.field import flat, shaped
from jnm.stability.precision import concrete, in_double

_LONGEST = 0.04  # step, in units of the box


@dataclasses.dataclass(frozen=True, eq=False)
class HopfCurve:
    """Hopf points along a curve in the plane of two parameters, as NumPy arrays."""

    names: tuple[str, str]
    """The two parameters, with their units."""
    value: Float[np.ndarray, " point"]
    """Of the first parameter."""
    other: Float[np.ndarray, " point"]
    """Of the second."""
    frequency_hz: Float[np.ndarray, " point"]
    state: Any
    """The states, [point, ...]."""
    ends: tuple[str, str]
    """Why the curve ends on both sides."""

    def plot(self, other: Any = None, other_label: str | None = None, ax: Any = None) -> Any:
        """The curve in the plane of its parameters, coloured by frequency; returns the Figure.

        `other`, such as `curve.other / 7.5`, is shown under `other_label` in place of the second parameter.
        """
        return plots.border(self, other, other_label, ax)


@in_double
def hopf_curves(
    model: AbstractModel,
    where: Where,
    low: float,
    high: float,
    other: Where,
    other_low: float,
    other_high: float,
    *,
    starts: int = 64,
) -> Found:
    """The curves in the plane of two parameters on which oscillations begin.

        >>> (border,) = jnm.stability.hopf_curves(jnm.ING(), lambda m: m.eta, 0, 80, lambda m: m.tau_s, 0.2, 6)

    The curves pass through the Hopf points that `hopf_points(model, where, low, high)` finds at the model's own value of
    `other`, and are followed until they leave the rectangle, or close.

    **Arguments**

    - `where`, `low`, `high`: the first parameter and its range, as in `hopf_points`.
    - `other`, `other_low`, `other_high`: the second parameter and its range.

    **Returns** a list of `HopfCurve`, empty if there are no Hopf points to start from. Raises `ValueError` as
    `hopf_points` does, and where the two parameters are one.
    """
    fixed = concrete(model, "hopf_curves")
    knobs = (dial(fixed, where, low, high, "hopf_curves"), dial(fixed, other, other_low, other_high, "hopf_curves"))
    _check_apart(fixed, knobs)
    begins = hopf_points(fixed, where, low, high, starts=starts)
    ranges = ((float(low), float(high)), (float(other_low), float(other_high)))
    size, at = np.ptp(ranges, axis=1), _value(fixed, knobs[1])
    curves: list[HopfCurve] = []
    for begin in begins:
        point = np.array([float(begin.value), at])
        if not any(passes(np.stack([c.value, c.other], axis=1), point, size) for c in curves):
            curves.append(_curve(fixed, knobs, begin, at, ranges))
    return Found(curves, begins.searched)


def turned(args: Any, z: Float[Array, " unknown"]) -> Float[Array, " equation"]:
    """The equations of a curve of Hopf points in z = (x, a, b, w, p, q); args = (model, dials, c)."""
    model, (first, second), reference = args
    return hopf_residual((second(model, z[-1]), first, reference), z[:-1])


def _curve(model: Any, knobs: tuple[Dial, Dial], begin: HopfPoint, at: float, ranges: Any) -> HopfCurve:
    start = np.append(np.asarray(begin._unknowns), at)
    n = flat(begin.state).size
    state, w = np.abs(start[:n]), start[3 * n]
    # The eigenvector only goes along: its turning should not shorten the steps.
    scale = np.concatenate([
        np.maximum(state, 0.02 * state.max()), np.full(2 * n, 20.0), [5 * w], [b - a for a, b in ranges]
    ])  # fmt: skip

    low, high = ranges[0]

    def stop(here: Point, new: Point) -> str:
        if low <= new.z[-2] <= high:
            return ""
        return f"left the box at {knobs[0].name} = {low if new.z[-2] < low else high:g}"

    walk = Walk(turned, scale, ranges[1], _LONGEST, renew=lambda point: _renewed(point, scale), stop=stop)
    args = (model, knobs, np.asarray(begin._reference))
    sides = [walk.along(args, start, walk.axis(sign)) for sign in (-1.0, 1.0)]
    points = np.stack([p.z for p in (*sides[0].points[:0:-1], *sides[1].points)])
    states = jax.vmap(lambda x: shaped(model, x))(jnp.asarray(points[:, :n]))
    names = (knobs[0].label, knobs[1].label)
    hertz = 1000 * points[:, 3 * n] / (2 * np.pi)
    return HopfCurve(names, points[:, -2], points[:, -1], hertz, states, (sides[0].end, sides[1].end))


def _renewed(point: Point, scale: Float[np.ndarray, " unknown"]) -> Point | None:
    """The same point with its eigenvector measured against itself, so that it cannot become normal to its measure."""
    model, knobs, reference = point.args
    n = reference.shape[1]
    vector = point.z[n : 3 * n].reshape(2, n)
    renewed = correct(turned, (model, knobs, vector / np.sum(vector**2)), point.z, point.tangent, scale)
    return None if renewed is None else towards(renewed, point.tangent)


def _check_apart(model: AbstractModel, knobs: tuple[Dial, Dial]) -> None:
    """Raise `ValueError` if both dials turn the same element: the second would undo the first."""
    sizes = [np.size(leaf) for leaf in jax.tree.leaves(model)]
    first, second = (
        {(p.leaf, i) for p in knob.places for i in (range(sizes[p.leaf]) if p.elements is None else p.elements)}
        for knob in knobs
    )
    if first & second:
        raise ValueError(
            f"hopf_curves: {knobs[0].name} and {knobs[1].name} turn the same parameter; give two that differ."
        )


def _value(model: AbstractModel, knob: Dial) -> float:
    """What the dial points to now; raises `ValueError` if its elements differ."""
    leaves = jax.tree.leaves(model)
    values = np.concatenate([
        np.ravel(leaves[p.leaf])[list(p.elements) if p.elements is not None else slice(None)] for p in knob.places
    ])  # fmt: skip
    if np.ptp(values) > 0:
        raise ValueError(f"hopf_curves: {knob.name} has the values {values}; the curves start where they are equal.")
    return float(values[0])
