"""Fixed points: the states in which a model rests, and whether it stays there.

A state y rests where drift(y) = 0, and returns there after a small push when every eigenvalue of the drift's Jacobian
has a negative real part. For one population all fixed points are found (see `jnm.stability.complete`). Elsewhere
Newton's method starts from many states, and each point found is divided out of the problem (deflation: Farrell,
Birkisson & Funke, SIAM J. Sci. Comput. 37:A2026, 2015), so that the next start is not drawn to it again; the result
tells how many starts there were, and claims no more.
"""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, State
from jnm.models.nmm2 import NMM2State
from jnm.stability.complete import resting_rates
from jnm.stability.field import as_vector, eigenvalues, flat, shaped, slope
from jnm.stability.precision import concrete, in_double
from jnm.stability.root import attach, linearise, nearest, newton, solve
from jnm.stability.starts import resting_at, starts as scattered

_MOST = 200  # fixed points, after which the search stops
_STEPS, _CLOSE = 40, 1e-5  # of a deflated search, and when it leaves the last digits to Newton's method
_SAME = 1e-6  # relative distance below which two fixed points are one


class FixedPoint(eqx.Module):
    """A state of rest of a model, with the eigenvalues (per ms) that tell what happens next to it."""

    state: Any
    """The state, a NamedTuple as `model.init()` gives it."""
    model: AbstractModel
    """Whose state it is, in double precision."""

    @property
    def eigenvalues(self) -> Complex[Array, " n"]:
        """Of the Jacobian, per ms; that of the largest real part first. 1000 |Im| / (2 pi) is a frequency in Hz."""
        with jax.enable_x64(True):
            return _eigenvalues(self.model, flat(self.state))

    @property
    def stable(self) -> bool:
        """Whether every perturbation dies away."""
        return bool(np.max(np.real(jax.lax.stop_gradient(self.eigenvalues))) < 0)

    @property
    def kind(self) -> str:
        """ "stable node", "stable focus", "saddle", "saddle focus", "unstable node" or "unstable focus".

        A focus is approached or left in turns: its leading eigenvalue is complex. A saddle attracts from some
        directions and repels in others.
        """
        values = np.asarray(jax.lax.stop_gradient(self.eigenvalues))
        leading = complex(values[np.argmax(np.real(values))])
        shape = "focus" if abs(leading.imag) > 1e-9 * np.max(np.abs(values)) else "node"
        if leading.real < 0:
            return f"stable {shape}"
        if np.min(np.real(values)) > 0:
            return f"unstable {shape}"
        return "saddle focus" if shape == "focus" else "saddle"

    def follow(self, model: AbstractModel) -> "FixedPoint":
        """The same fixed point of a model with other parameters; works under jit, vmap and grad."""
        return at_rest(model, self.state)


class FixedPoints(eqx.Module):
    """The fixed points of a model, that of the smallest first entry of the state first; a sequence."""

    points: tuple[FixedPoint, ...]
    starts: int = eqx.field(static=True)
    """States from which Newton's method was started; 0 where the points are the roots of one scalar equation."""
    complete: bool = eqx.field(static=True)
    """Whether these are known to be all."""

    def __iter__(self) -> Iterator[FixedPoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> FixedPoint:
        return self.points[index]


@in_double
def at_rest(model: AbstractModel, state: State) -> FixedPoint:
    """The fixed point that Newton's method reaches from `state`; works under jit, vmap and grad.

    Raises `ValueError` for a state that does not fit the model, and a runtime error if no fixed point is near.
    """
    return _nearest(model, as_vector(model, state, "at_rest"))


@in_double
def fixed_points(model: AbstractModel, *, starts: int = 64, box: tuple[State, State] | None = None) -> FixedPoints:
    """The states in which a model rests.

        >>> [point.kind for point in jnm.stability.fixed_points(jnm.MPR())]
        ['stable node', 'saddle', 'stable focus']

    **Arguments**

    - `model`: any model or network without delays and without a step of its own.
    - `starts`: number of states from which to search, unless the model is a single population. Networks of many regions
      want fewer: each costs some fifty solutions of a linear system of their size.
    - `box`: (lowest, highest) state within which to search uniformly; by default around the model's own scale.

    **Returns** `FixedPoints`. States and eigenvalues are differentiable in the model's parameters.

    Raises `ValueError` for models that have no drift to look at, and under jit and vmap, where the number of points
    cannot depend on values: there, `point.follow(model)` follows a point found before. `RuntimeError` if none is found.
    """
    fixed = concrete(model, "fixed_points")
    rates = resting_rates(fixed)
    if rates is None:
        roots, begun = _search(fixed, starts, box), starts
    else:
        like = fixed.init()
        shape = jax.tree.leaves(like)[0].shape
        begun = 0
        polished = [newton(slope, fixed, _of_rate(fixed, like, rate, shape)) for rate in rates]
        roots = [x for x in polished if x is not None]
    points = tuple(_attached(model, jnp.asarray(x)) for x in sorted(roots, key=lambda x: tuple(np.round(x, 9))))
    return FixedPoints(points, starts=begun, complete=rates is not None and len(points) == len(rates))


@eqx.filter_jit
def _attached(model: AbstractModel, root: Float[Array, " n"]) -> FixedPoint:
    return FixedPoint(shaped(model, attach(slope, model, root)), model)


@eqx.filter_jit
def _nearest(model: AbstractModel, guess: Float[Array, " n"]) -> FixedPoint:
    lost = "at_rest: Newton's method found no fixed point next to the given state. Search with fixed_points(model)."
    return FixedPoint(shaped(model, nearest(slope, model, guess, lost)), model)


_eigenvalues = eqx.filter_jit(eigenvalues)


def _of_rate(model: Any, like: State, rate: float, shape: tuple[int, ...]) -> Float[Array, " n"]:
    node_rate = np.full(shape, rate) * float(np.ravel(np.asarray(model.tau_m))[0])
    return flat(resting_at(model, like, node_rate))


def _search(model: AbstractModel, count: int, box: tuple[State, State] | None) -> list[Float[np.ndarray, " n"]]:
    """Newton's method from every start, by itself and with what is known divided out; the admissible ones."""
    if count < 1:
        raise ValueError(f"fixed_points: starts = {count}; search from at least one state.")
    init = np.asarray(flat(model.init()))
    near = _descended(model, init, [], np.abs(init) + 1.0)[0]  # even where nothing is reached: of the right size
    cloud = scattered(model, count, near) if box is None else _in_box(model, box, count)
    cloud = np.concatenate([init[None], cloud])
    size = np.maximum(np.abs(cloud).mean(axis=0), 1e-12)
    known: list[Float[np.ndarray, " n"]] = []
    for begin in cloud:  # first what each start reaches by itself
        x = _reached(model, begin, [], size)
        known += [] if x is None or _among(known, x, size) else [x]
    fresh = known
    while len(known) < _MOST and any(_admissible(model, x) for x in fresh):  # then with all that is known divided out
        fresh = []
        for begin in cloud:
            x = _reached(model, begin, known + fresh, size)
            fresh += [] if x is None else [x]
        known = known + fresh
    admissible = [x for x in known if _admissible(model, x)]
    if not admissible:
        raise RuntimeError(
            f"fixed_points: Newton's method found no state of rest from {count} starts. Give more starts, or "
            "box=(lowest, highest) states to search between."
        )
    return admissible


def _in_box(model: AbstractModel, box: tuple[State, State], count: int) -> Float[np.ndarray, "count n"]:
    low, high = (np.asarray(as_vector(model, y, "fixed_points: box")) for y in box)
    if not np.all(low < high):
        raise ValueError(
            "fixed_points: box wants (lowest, highest) states, each entry of the first below the second's."
        )
    return low + (high - low) * np.random.default_rng(0).uniform(size=(count, low.size))


def _admissible(model: AbstractModel, x: Float[np.ndarray, " n"]) -> bool:
    """Rates of QIF neurons cannot be negative; the equations have such roots, the neurons do not."""
    y = shaped(model, jnp.asarray(x))
    return bool(np.all(np.asarray(y.r) > 0)) if isinstance(y, NMM2State) else True


def _reached(
    model: AbstractModel, x: Float[np.ndarray, " n"], known: list, size: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"] | None:
    """The fixed point that is reached from `x`, if it is none of the known ones."""
    x, reached = _descended(model, x, known, size)
    root = newton(slope, model, x) if reached else None
    return None if root is None or _among(known, root, size) else root


def _among(known: list, x: Float[np.ndarray, " n"], size: Float[np.ndarray, " n"]) -> bool:
    return any(np.max(np.abs(x - other) / (size + np.abs(other))) < _SAME for other in known)


def _descended(
    model: AbstractModel, x: Float[np.ndarray, " n"], known: list, size: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], bool]:
    """Where damped Newton steps of F(x) prod_k (1 + 1 / |x - x_k|^2) lead, and whether they came to their end."""
    for _ in range(_STEPS):
        value, jacobian = (np.asarray(part) for part in linearise(slope, model, x))
        change = solve(jacobian, -value)
        if change is None:
            return x, False
        # The deflated step is the plain one, stretched: away from known points, and past them.
        change = change / (1 - _pull(x, known, size) @ change)
        longest = np.max(np.abs(change) / (size + np.abs(x)))
        x = x + change / max(1.0, longest / 2)
        if longest < _CLOSE:
            return x, True
    return x, False


def _pull(x: Float[np.ndarray, " n"], known: list, size: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The gradient of log prod_k (1 + 1 / |x - x_k|^2), with distances in units of `size` and sqrt(n)."""
    total = np.zeros_like(x)
    for other in known:
        gap = (x - other) / size
        square = max(float(np.mean(gap**2)), 1e-300)
        total -= 2 * gap / (size * x.size) / (square * (1 + square))
    return total
