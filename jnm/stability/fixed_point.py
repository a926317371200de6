"""Fixed points: the states in which a model rests, and whether it stays there.

A state y rests where drift(y) = 0, and returns there after a small push when every eigenvalue of the drift's Jacobian
has a negative real part. For one population all fixed points are found (see `jnm.stability.complete`). Elsewhere
Newton's method starts from many states, and each point found is divided out of the problem (deflation: Farrell,
Birkisson & Funke, SIAM J. Sci. Comput. 37:A2026, 2015), so that the next start is not drawn to it again; the result
tells how many starts there were, and claims no more.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, State
from jnm.models.nmm2 import NMM2State
from jnm.stability.complete import resting_rates
from jnm.stability.field import as_vector, eigenvalues, flat, jacobian, shaped, slope
from jnm.stability.precision import concrete, in_double
from jnm.stability.root import attach, nearest, newton
from jnm.stability.starts import resting_at, starts as scattered

_SLOTS = 64  # fixed points that deflation keeps apart
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
    - `starts`: number of states from which to search, unless the model is a single population.
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
    return FixedPoints(points, starts=begun, complete=rates is not None)


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
    """Deflated Newton's method from every start, again as long as a round finds something new."""
    if count < 1:
        raise ValueError(f"fixed_points: starts = {count}; search from at least one state.")
    init = np.asarray(flat(model.init()))
    first = newton(slope, model, init)
    begin = init if first is None else first
    cloud = scattered(model, count, begin) if box is None else _in_box(model, box, count)
    cloud = np.concatenate([init[None], cloud])
    size = np.maximum(np.abs(cloud).mean(axis=0), 1e-12)
    known: list[Float[np.ndarray, " n"]] = []
    while len(known) < _SLOTS:
        table = np.stack([*known, *[1e9 * size] * (_SLOTS - len(known))])  # empty slots are too far away to matter
        ends = np.asarray(_deflated(model, cloud, table, size))
        polished = [newton(slope, model, x) for x in _distinct(ends[np.all(np.isfinite(ends), axis=1)], known, size)]
        new = _distinct([x for x in polished if x is not None], known, size)
        known = (known + new)[:_SLOTS]
        if not new:
            break
    admissible = [x for x in known if _admissible(model, jnp.asarray(x))]
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


def _distinct(roots: Iterable[Float[np.ndarray, " n"]], known: list, size: Float[np.ndarray, " n"]) -> list:
    new: list[Float[np.ndarray, " n"]] = []
    for x in roots:
        near = [np.max(np.abs(x - other) / (size + np.abs(x))) < _SAME for other in (*known, *new)]
        if not any(near):
            new.append(x)
    return new


def _admissible(model: AbstractModel, x: Float[Array, " n"]) -> bool:
    """Rates of QIF neurons cannot be negative; the equations have such roots, the neurons do not."""
    y = shaped(model, jnp.asarray(x))
    return bool(np.all(np.asarray(y.r) > 0)) if isinstance(y, NMM2State) else True


@eqx.filter_jit
def _deflated(model: AbstractModel, cloud: Any, known: Any, size: Any) -> Float[Array, "start n"]:
    """Where sixty damped Newton steps of F(x) prod_k (1 + 1 / |x - x_k|^2) lead from each start."""

    def log_deflation(x):
        square = jnp.sum(((x[None] - known) / size[None]) ** 2, axis=1) / x.size
        return jnp.sum(jnp.log1p(1 / square))

    def step(k, x):
        change = -jnp.linalg.solve(jacobian(model, x), slope(model, x))
        # The deflated Newton step is the plain one, stretched: away from known points, and past them.
        change = change / (1 - jax.grad(log_deflation)(x) @ change)
        longest = jnp.max(jnp.abs(change) / (size + jnp.abs(x)))
        return x + change / jnp.maximum(1.0, longest / 2)

    return jax.vmap(lambda x: jax.lax.fori_loop(0, 60, step, x))(cloud)
