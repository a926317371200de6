"""Branches of fixed points in one parameter, and the Hopf points and folds that lie on them."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel
from jnm._selection import Where
from jnm.stability.arclength import Point, Walk, between, dips, passes
from jnm.stability.crossing import (
    Fold,
    HopfPoint,
    fold_at,
    fold_guess,
    fold_residual,
    hopf_at,
    hopf_guess,
    hopf_residual,
)
from jnm.stability.dial import Dial, dial
from jnm.stability.field import flat, slope
from jnm.stability.fixed_point import FixedPoints, fixed_points
from jnm.stability.precision import concrete, in_double
from jnm.stability.root import linearise, newton

_CUTS = 12  # halvings of a step in search of one crossing at a time
_AT_ZERO = 1e-6  # the size of a state whose every entry is zero, as that of an oscillator at its Hopf point is


class Found(list):
    """A list of what was found, and in words what was searched; an empty one prints that."""

    def __init__(self, items: Any, searched: str):
        super().__init__(items)
        self.searched = searched

    def __repr__(self) -> str:
        return super().__repr__() if self else f"[] (none found on {self.searched})"


@dataclasses.dataclass
class Path:
    """One branch of fixed points: z = (x, p) with tangents along it, their eigenvalues, and why it ends on both sides."""

    points: list[Point]
    eigenvalues: Complex[np.ndarray, "point n"]
    ends: tuple[str, str]
    scale: Float[np.ndarray, " n+1"]

    @property
    def z(self) -> Float[np.ndarray, "point n+1"]:
        """The points as one table."""
        return np.stack([point.z for point in self.points])


@in_double
def hopf_points(model: AbstractModel, where: Where, low: float, high: float, *, starts: int = 64) -> Found:
    """Where a fixed point starts to oscillate as a parameter goes from `low` to `high`.

        >>> [float(point.value) for point in jnm.stability.hopf_points(jnm.ING(), lambda m: m.eta, 0.0, 100.0)]
        [5.322..., 76.701...]

    **Arguments**

    - `where`: the parameter, as in `jnm.free`; where it selects several elements they all take the same value.
    - `low`, `high`: the range, in the parameter's unit.
    - `starts`: as in `fixed_points`, from which at `low`, `high` and half-way the branches set out.

    **Returns** a list of points with `.value`, `.frequency_hz` and `.state`, in the order of their values; empty, with
    `.searched` in words, if there are none. The points are differentiable in the other parameters of the model.

    Raises `ValueError` for a range that leaves the parameter's domain, and under jit and vmap, where
    `point.follow(model)` serves.
    """
    fixed, knob, paths = _search(model, where, low, high, starts, "hopf_points")
    found = [guess for path in paths for guess in hopf_guesses(fixed, knob, path)]
    points = [hopf_at(model, knob, *guess) for guess in _once(found)]
    return Found(sorted(points, key=_value), _searched(paths, knob, low, high))


@in_double
def fold_points(model: AbstractModel, where: Where, low: float, high: float, *, starts: int = 64) -> Found:
    """Where two fixed points meet and end as a parameter goes from `low` to `high`.

    Arguments, result (points with `.value` and `.state`) and errors as for `hopf_points`.

        >>> [float(point.value) for point in jnm.stability.fold_points(jnm.PINGSecondOrder(), lambda m: m.eta, -3, 3)]
        [-1.321..., 0.268...]
    """
    fixed, knob, paths = _search(model, where, low, high, starts, "fold_points")
    found = [guess for path in paths for guess in fold_guesses(fixed, knob, path)]
    points = [fold_at(model, knob, *guess) for guess in _once(found)]
    return Found(sorted(points, key=_value), _searched(paths, knob, low, high))


def _value(point: HopfPoint | Fold) -> float:
    return float(concrete(point.value, "stability"))


def _searched(paths: list[Path], knob: Dial, low: float, high: float) -> str:
    many = "1 branch" if len(paths) == 1 else f"{len(paths)} branches"
    points = sum(len(path.points) for path in paths)
    return f"{many} of fixed points, {points} points, {knob.name} from {low:g} to {high:g}"


def _search(model, where, low, high, starts, task) -> tuple[Any, Dial, list[Path]]:
    """All branches that pass through `low`, `high` or the middle between them."""
    low, high = float(low), float(high)
    knob = dial(model, where, low, high, task)
    fixed = concrete(model, task)
    anchors = [(p, resting(knob(fixed, jnp.asarray(p)), starts)) for p in (low, high, (low + high) / 2)]
    begins = [np.append(flat(point.state), p) for p, points in anchors for point in points]
    if not begins:
        raise RuntimeError(f"{task}: no fixed point at {knob.name} = {low:g}, {(low + high) / 2:g} or {high:g}.")
    scale = scale_of(begins, low, high)
    paths: list[Path] = []
    for begin in begins:
        if not any(passes(path.z, begin, scale) for path in paths):
            paths.append(equilibria(fixed, knob, begin, scale, (low, high)))
    return fixed, knob, paths


def resting(model: AbstractModel, starts: int) -> FixedPoints | tuple[()]:
    """The fixed points of a model, or none."""
    try:
        return fixed_points(model, starts=starts)
    except RuntimeError:
        return ()


def scale_of(points: list[Float[np.ndarray, " n+1"]], low: float, high: float) -> Float[np.ndarray, " n+1"]:
    """The size of each unknown along a branch: of the states that it starts from, and of the range."""
    states = np.max(np.abs(np.stack(points)[:, :-1]), axis=0)
    least = max(0.02 * np.max(states), _AT_ZERO)
    return np.append(np.maximum(states, least), high - low)


def equilibrium(args: Any, z: Float[Array, " n+1"]) -> Float[Array, " n"]:
    """The equations of a branch of fixed points: drift(x; p) = 0 in z = (x, p)."""
    model, knob = args
    return slope(knob(model, z[-1]), z[:-1])


def equilibria(
    model: AbstractModel, knob: Dial, begin: Float[np.ndarray, " n+1"], scale: Any, box: tuple[float, float]
) -> Path:
    """The branch of fixed points through `begin` = (x, p), in both directions as far as the box goes."""
    walk = Walk(equilibrium, scale, box)
    back, forth = (walk.along((model, knob), begin, walk.axis(sign)) for sign in (-1.0, 1.0))
    walked = [p._replace(tangent=-p.tangent) for p in back.points[:0:-1]] + forth.points
    points, values = _with_dips(model, knob, walked, scale)
    return Path(points, np.stack(values), (back.end, forth.end), scale)


def _with_dips(model: AbstractModel, knob: Dial, points: list[Point], scale: Any) -> tuple[list[Point], list[Any]]:
    """Points and their eigenvalues, with further ones where two Hopf points, or two folds, lie within one step."""
    values = [np.linalg.eigvals(_jacobian(model, knob, p.z)) for p in points]
    steps = [float(np.linalg.norm((b.z - a.z) / scale)) for a, b in itertools.pairwise(points)]
    places = np.cumsum([0.0, *steps])

    def look(place, height):
        k = int(np.clip(np.searchsorted(places, place), 1, len(points) - 1))
        share = (place - places[k - 1]) / (places[k] - places[k - 1])
        point = between(equilibrium, points[k - 1], points[k], share, scale)
        if point is None:
            return None
        there = point, np.linalg.eigvals(_jacobian(model, knob, point.z))
        return there, height(*there)

    known = list(zip(places, zip(points, values, strict=True), strict=True))
    for height in (_pair, _ascent):
        heights = np.array([height(*there) for _, there in known[: len(points)]])
        known += list(dips(places, heights, lambda place, height=height: look(place, height)))
    known.sort(key=lambda one: one[0])
    return [point for _, (point, _) in known], [eigenvalues for _, (_, eigenvalues) in known]


def _pair(point: Point, values: Complex[np.ndarray, " n"]) -> float:
    """The growth of the pair of eigenvalues that is nearest to the imaginary axis; not a number without pairs."""
    growth = np.real(values)[np.imag(values) > 1e-9 * np.max(np.abs(values))]
    return float(growth[np.argmin(np.abs(growth))]) if growth.size else np.nan


def _ascent(point: Point, values: Complex[np.ndarray, " n"]) -> float:
    """How fast the parameter rises along the branch."""
    return float(point.tangent[-1])


def _jacobian(model: AbstractModel, knob: Dial, z: Float[np.ndarray, " n+1"]) -> Float[np.ndarray, "n n"]:
    return np.asarray(linearise(equilibrium, (model, knob), z)[1])[:, :-1]


def hopf_guesses(model: AbstractModel, knob: Dial, path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Refined unknowns of every Hopf point on a branch."""
    for a, b in _pieces(model, knob, path):
        before = np.linalg.eigvals(_jacobian(model, knob, a.z))

        def crossed(point, before=before):
            return _crossed(before, np.linalg.eigvals(_jacobian(model, knob, point.z)))

        z = _bisected(a, b, path.scale, crossed)
        guess, reference = hopf_guess(_jacobian(model, knob, z), z)
        root = newton(hopf_residual, (model, knob, reference), guess)
        if root is not None and _near(root, a, b, path.scale) and root[-2] > 1e-6:
            yield root, reference


def _pieces(model: AbstractModel, knob: Dial, path: Path) -> Iterator[tuple[Point, Point]]:
    """The pieces of a branch on which a pair of eigenvalues crosses; cut until no two pairs cross on the same."""
    ends = list(zip(path.points, path.eigenvalues, strict=True))
    stack = [(a, b, 0) for a, b in itertools.pairwise(ends)][::-1]
    while stack:
        (a, before), (b, after), cuts = stack.pop()
        if not _crossed(before, after):
            continue
        middle = between(equilibrium, a, b, 0.5, path.scale) if abs(_growing(before) - _growing(after)) > 2 else None
        if middle is None or cuts == _CUTS:
            yield a, b
        else:
            cut = (middle, np.linalg.eigvals(_jacobian(model, knob, middle.z)))
            stack += [(cut, (b, after), cuts + 1), ((a, before), cut, cuts + 1)]


def fold_guesses(model: AbstractModel, knob: Dial, path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Refined unknowns of every fold on a branch: where its parameter turns back."""
    for a, b in itertools.pairwise(path.points):
        if a.tangent[-1] * b.tangent[-1] < 0:
            # To be close counts: next to a cusp Newton's method may find the other of two folds.
            z = _bisected(a, b, path.scale, lambda point, a=a: point.tangent[-1] * a.tangent[-1] < 0)
            guess, reference = fold_guess(_jacobian(model, knob, z), z)
            root = newton(fold_residual, (model, knob, reference), guess)
            if root is not None and _near(root, a, b, path.scale):
                yield root, reference


def _crossed(before: Complex[np.ndarray, " n"], after: Complex[np.ndarray, " n"]) -> bool:
    """Whether a pair of eigenvalues may have crossed the imaginary axis between two points.

    Then the number of growing modes changes by two, and prod_{i<j} (l_i + l_j) changes sign. The product alone also
    changes at a saddle with l and -l, which refining sorts out; the number alone misses a fold in between.
    """
    return abs(_growing(before) - _growing(after)) > 1 or _sign(before) != _sign(after)


def _growing(values: Complex[np.ndarray, " n"]) -> int:
    return int(np.sum(np.real(values) > 0))


def _sign(values: Complex[np.ndarray, " n"]) -> bool:
    sums = (values[:, None] + values[None])[np.triu_indices(len(values), 1)]
    real = np.real(sums)[np.abs(np.imag(sums)) < 1e-9 * np.max(np.abs(values))]  # the others come in conjugate pairs
    return bool(np.sum(real < 0) % 2)


def _bisected(
    a: Point, b: Point, scale: Float[np.ndarray, " n+1"], passed: Callable[[Point], bool]
) -> Float[np.ndarray, " n+1"]:
    """The place between two points from which on a special one is passed, to a thousandth of the way."""
    low, high, z = 0.0, 1.0, b.z
    for _ in range(10):
        middle = (low + high) / 2
        point = between(equilibrium, a, b, middle, scale)
        if point is None:
            break
        z = point.z
        low, high = (low, middle) if passed(point) else (middle, high)
    return z


def _near(root: Float[np.ndarray, " unknown"], a: Point, b: Point, scale: Float[np.ndarray, " n+1"]) -> bool:
    """Whether a refined point lies on the piece of the branch that it was sought on, or about."""
    z = np.append(root[: a.z.size - 1], root[-1])
    reach = 2 * np.linalg.norm((b.z - a.z) / scale)
    return bool(max(np.linalg.norm((z - end.z) / scale) for end in (a, b)) < reach)


def _once(found: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Without those that two branches have in common."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for z, reference in found:
        n = reference.shape[-1]
        same = [np.allclose(np.append(z[:n], z[-1]), np.append(o[:n], o[-1]), rtol=1e-7, atol=1e-10) for o, _ in kept]
        if not any(same):
            kept.append((z, reference))
    return kept
