r"""Following a curve of solutions: pseudo-arclength continuation of F(z) = 0, one equation short of its unknowns.

With z in units of `scale` and t the unit tangent, F_z t = 0, each step predicts z + h t and corrects within the plane
through the prediction that is normal to t,

    F(z) = 0,    t . (z - z_predicted) = 0,

which stays solvable where the curve turns back (Keller 1977). The step h grows while the curve is straight and shrinks
where it bends or where Newton's method fails. The last entry of z is the parameter that keeps the curve in its box.

Special points lie where a height along the curve, such as the growth of a pair of eigenvalues, changes its sign. Two of
them within one step leave the signs at its ends alike: where the parabola through three neighbours comes close to zero,
the lowest place is looked for by golden section.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jnm.stability.root import Residual, linearise, solve

Vector = Float[np.ndarray, " n"]

_SHORTEST, _LONGEST = 1e-7, 0.04  # step, in units of the scaled box
_STEPS, _DONE = 12, 1e-10  # of Newton's method, in units of the scaled box: squared, the rest is below rounding
_SAME = 1e-3  # distance in which two curves are one: straight pieces lie this close to the curve they stand for
_BEND = 10.0  # degrees between tangents beyond which a step is thought too long
_LOW = 0.5  # of the least of three heights: parabolas that stay above this share of it are not looked into
_LOOKS = 10  # golden sections: a dip is then known to a hundredth of a step
_GOLDEN = (5**0.5 - 1) / 2


class Point(NamedTuple):
    """A point of a curve, the unit tangent there in units of `scale`, and the equations that it solves."""

    z: Vector
    tangent: Vector
    args: Any


@dataclasses.dataclass
class Curve:
    """Points along a curve, each with the point (in the same equations) from which it was reached; why it ends."""

    points: list[Point]
    origins: list[Point]
    end: str = ""


def correct(residual: Residual, args: Any, guess: Vector, normal: Vector, scale: Vector) -> Point | None:
    """The point of the curve in the plane through `guess` normal to `normal`; None if there is none."""
    z = np.array(guess, float)
    for _ in range(_STEPS):
        value, slope = (np.asarray(part) for part in linearise(residual, args, z))
        square = np.vstack([slope * scale, normal])
        change = solve(square, np.append(value, normal @ ((z - guess) / scale)))
        if change is None:
            return None
        z = z - scale * change
        if np.max(np.abs(change)) < _DONE:
            tangent = solve(square, np.append(np.zeros(len(value)), 1.0))
            return None if tangent is None else Point(z, tangent / np.linalg.norm(tangent), args)
    return None


def towards(point: Point, direction: Vector) -> Point:
    """The point with its tangent turned to the side of a direction."""
    return point._replace(tangent=point.tangent * (1.0 if point.tangent @ direction >= 0 else -1.0))


def between(residual: Residual, origin: Point, point: Point, share: float, scale: Vector) -> Point | None:
    """The point of the curve above a place on the chord from `origin` (share 0) to `point` (share 1)."""
    chord = (point.z - origin.z) / scale
    chord = chord / np.linalg.norm(chord)
    found = correct(residual, point.args, origin.z + share * (point.z - origin.z), chord, scale)
    return None if found is None else towards(found, chord)


def passes(points: Float[np.ndarray, "point n"], z: Vector, scale: Vector) -> bool:
    """Whether a curve, straight between its points, goes through z."""
    a, chord = points[:-1] / scale, np.diff(points, axis=0) / scale
    z = z / scale
    along = np.clip(np.sum((z - a) * chord, axis=1) / np.sum(chord**2, axis=1), 0, 1)
    return bool(np.min(np.linalg.norm(z - a - along[:, None] * chord, axis=1), initial=np.inf) < _SAME)


@dataclasses.dataclass
class Walk:
    """How a curve is followed: its equations and units, the box, and how far at most."""

    residual: Residual
    scale: Vector
    box: tuple[float, float]
    longest: float = _LONGEST
    most: int = 2000
    bend: float = _BEND
    renew: Callable[[Point], Point | None] | None = None
    """The same point in equations that suit it better."""
    stop: Callable[[Point, Point], str] | None = None
    """A reason to end between a point and the next, or ""."""

    def along(self, args: Any, start: Vector, first: Vector) -> Curve:
        """The curve from `start` in the direction of `first` until it leaves the box, closes, or is lost."""
        begun = correct(self.residual, args, start, first / np.linalg.norm(first), self.scale)
        if begun is None:
            return Curve([], [], "no solution at the start")
        begun = towards(begun, first)
        curve, step = Curve([begun], [begun]), self.longest / 4
        while not curve.end:
            step = self._go_on(curve, step)
        return curve

    def axis(self, sign: float = 1.0) -> Vector:
        """The direction of the parameter."""
        return np.append(np.zeros(len(self.scale) - 1), sign)

    def _go_on(self, curve: Curve, step: float) -> float:
        """One more point, or a shorter step, or the end; the next step."""
        here = curve.points[-1]
        here = here if self.renew is None else self.renew(here) or here
        new = correct(self.residual, here.args, here.z + step * self.scale * here.tangent, here.tangent, self.scale)
        if new is None or self._astray(here, new, step):
            if step < _SHORTEST:
                curve.end = f"lost: no next point within {_SHORTEST:g} of the last"
            return step / 2
        new = towards(new, here.tangent)
        if self.stop is not None and (reason := self.stop(here, new)):
            curve.end = reason
        elif not self.box[0] <= new.z[-1] <= self.box[1]:
            self._land(curve, here, new)
        else:
            curve.points.append(new)
            curve.origins.append(here)
            curve.end = self._reason(curve, new, step)
        straight = new.tangent @ here.tangent > np.cos(np.deg2rad(self.bend / 2.5))
        return min(self.longest, step * (1.5 if straight else 1.0))

    def _astray(self, here: Point, new: Point, step: float) -> bool:
        """Whether a corrected point lies off the piece of curve that was followed."""
        bent = abs(new.tangent @ here.tangent) < np.cos(np.deg2rad(self.bend))
        return bool(bent or np.linalg.norm((new.z - here.z) / self.scale) > 2 * step)

    def _land(self, curve: Curve, here: Point, new: Point) -> None:
        """The last point lies on the edge of the box itself."""
        edge = self.box[1] if new.z[-1] > self.box[1] else self.box[0]
        guess = here.z + (edge - here.z[-1]) / (new.z[-1] - here.z[-1]) * (new.z - here.z)
        landed = correct(self.residual, here.args, guess, self.axis(), self.scale)
        if landed is not None and abs(edge - here.z[-1]) > 1e-12 * self.scale[-1]:
            landed.z[-1] = edge
            curve.points.append(towards(landed, here.tangent))
            curve.origins.append(here)
        curve.end = f"left the box at {edge:g}"

    def _reason(self, curve: Curve, new: Point, step: float) -> str:
        first = curve.points[0]
        if len(curve.points) > 4 and self.renew is None:
            gap = np.linalg.norm((new.z - first.z) / self.scale)
            if gap < 0.7 * step and new.tangent @ first.tangent > 0.9:
                return "closed: it came back to its start"
        return f"gave up after {self.most} points" if len(curve.points) >= self.most else ""


Look = Callable[[float], tuple[Any, float] | None]
"""What is at a place along a curve, and its height; None if the curve is lost there."""


def dips(
    places: Float[np.ndarray, " point"], heights: Float[np.ndarray, " point"], look: Look
) -> Iterator[tuple[float, Any]]:
    """Places between points, with what is there, at which the height has the other sign than at the points around.

    `places` ascend; heights that are not numbers belong to points that have none.
    """
    reached = -np.inf
    for k in range(1, len(places) - 1):
        sign, around = np.sign(heights[k]), slice(k - 1, k + 2)
        if places[k - 1] >= reached and _may_dip(places[around], sign * heights[around]):
            found = _dip(look, sign, places[k - 1], places[k + 1])
            if found is not None:
                yield found
                reached = places[k + 1]


def _may_dip(t: Float[np.ndarray, " 3"], height: Float[np.ndarray, " 3"]) -> bool:
    """Whether the parabola through three positive heights has its lowest point between them, and near zero."""
    if not (np.all(height > 0) and np.all(np.diff(t) > 0)):
        return False
    before, after = np.diff(height) / np.diff(t)
    bend = (after - before) / (t[2] - t[0])
    if bend <= 0:
        return False
    lowest = (t[0] + t[1]) / 2 - before / (2 * bend)
    depth = height[1] + (lowest - t[1]) * (before + bend * (lowest - t[0]))
    return bool(t[0] < lowest < t[2] and depth < _LOW * np.min(height))


def _dip(look: Look, sign: float, low: float, high: float) -> tuple[float, Any] | None:
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    seen: list[Any] = [look(place) for place in inner]
    for _ in range(_LOOKS):
        if seen[0] is None or seen[1] is None:
            return None
        for place, (there, height) in zip(inner, seen, strict=True):
            if sign * height < 0:
                return place, there
        if sign * seen[0][1] < sign * seen[1][1]:
            high, inner = inner[1], [inner[1] - _GOLDEN * (inner[1] - low), inner[0]]
            seen = [look(inner[0]), seen[0]]
        else:
            low, inner = inner[0], [inner[1], inner[0] + _GOLDEN * (high - inner[0])]
            seen = [seen[1], look(inner[1])]
    return None
