r"""Periodic orbits by multiple shooting: M arcs of one period, each integrated by itself, that must join.

With the mesh of fractions w of the period T and flow_h(y) the solution after a time h,

    flow_{T w_m}(y_m) = y_{m+1},  y_M = y_0,       sum_m y'_ref,m . (y_m - y_ref,m) = 0,

are solved for y_0 ... y_{M-1} and T; the last equation holds the phase. Arcs are short, so unstable orbits are reached as
well as stable ones. Each arc takes K steps of the eighth-order method of Dormand & Prince (1981), whose embedded error
tells where the mesh must be fine: all steps are given the same error.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel
from jnm.stability.field import slope
from jnm.stability.root import newton

ARCS, STEPS = 10, 16  # 160 steps a period: seven digits and more of the period on the spec's sharpest spikes
_TABLEAU = diffrax.Dopri8.tableau
_LOWER = np.stack([np.pad(row, (0, 13 - len(row))) for row in (np.zeros(0), *_TABLEAU.a_lower[:-1])])
_ORDER = 8  # of the embedded error


class Mesh(NamedTuple):
    """How a period is cut into arcs and steps, and the orbit that the phase is measured against."""

    fractions: Float[Array, "arc step"]
    points: Float[Array, "arc n"]
    slopes: Float[Array, "arc n"]


def advance(model: AbstractModel, x: Float[Array, " n"], h: Float[Array, ""]) -> tuple[Array, Array]:
    """One step of length h ms, and its embedded error."""

    def stage(slopes, row):
        number, weights = row
        return slopes.at[number].set(slope(model, x + h * (weights @ slopes))), None

    # A loop over the stages, not thirteen copies of the drift: it compiles five times faster.
    number, weights = np.arange(len(_LOWER)), jnp.asarray(_LOWER, x.dtype)
    slopes, _ = jax.lax.scan(stage, jnp.zeros((len(_LOWER), x.size), x.dtype), (number, weights))
    return x + h * (_TABLEAU.b_sol[:-1] @ slopes), h * (_TABLEAU.b_error[:-1] @ slopes)


def arc(model: AbstractModel, x: Float[Array, " n"], steps: Float[Array, " step"]) -> Float[Array, " n"]:
    """The state after steps of the given lengths in ms."""
    return jax.lax.scan(lambda x, h: (advance(model, x, h)[0], None), x, steps)[0]


def joined(model: AbstractModel, mesh: Mesh, x: Float[Array, "arc n"], period: Array) -> Float[Array, " equation"]:
    """What must vanish for arcs that start at `x` to be one orbit of this period."""
    ends = jax.vmap(lambda x, w: arc(model, x, period * w))(x, mesh.fractions)
    phase = jnp.sum(mesh.slopes * (x - mesh.points))
    return jnp.append((ends - jnp.roll(x, -1, axis=0)).ravel(), phase)


def periodic(args: Any, z: Float[Array, " unknown"]) -> Float[Array, " unknown"]:
    """The equations of a periodic orbit in z = (y_0, ..., y_{M-1}, T); args = (model, mesh)."""
    model, mesh = args
    return joined(model, mesh, z[:-1].reshape(mesh.points.shape), z[-1])


@eqx.filter_jit
def along(model: AbstractModel, mesh: Mesh, z: Float[Array, " unknown"]) -> tuple[Array, Array, Array]:
    """Phases in [0, 1) at which steps begin, the states there [phase, n], and the errors of the steps."""
    starts, period = z[:-1].reshape(mesh.points.shape), z[-1]

    def steps(x, w):
        def one(x, w):
            after, error = advance(model, x, period * w)
            return after, (x, jnp.abs(error))

        return jax.lax.scan(one, x, w)[1]

    states, errors = jax.vmap(steps)(starts, mesh.fractions)
    ends = jnp.cumsum(mesh.fractions.ravel())
    return ends - mesh.fractions.ravel(), *(part.reshape(-1, starts.shape[1]) for part in (states, errors))


def monodromy(jacobian: Float[Array, "equation unknown"], n: int) -> Float[Array, "n n"]:
    """What a small push has become after one period: the product of the arcs' Jacobians.

    They are the blocks on the diagonal of the Jacobian of `joined`.
    """
    product = jnp.eye(n, dtype=jacobian.dtype)
    for m in range(ARCS):
        product = jacobian[m * n : (m + 1) * n, m * n : (m + 1) * n] @ product
    return product


@eqx.filter_jit
def multipliers(jacobian: Float[Array, "equation unknown"], n: int) -> Complex[Array, " n"]:
    """The monodromy's eigenvalues, the largest first; one of them is 1, a shift along the orbit."""
    values = jnp.linalg.eigvals(monodromy(jacobian, n))
    return values[jnp.lexsort((-values.imag, -jnp.round(jnp.abs(values), 12)))]


@eqx.filter_jit
def slopes_at(model: AbstractModel, x: Float[Array, "point n"]) -> Float[Array, "point n"]:
    """dx/dt, per ms, at many states."""
    return jax.vmap(lambda x: slope(model, x))(x)


def mesh_through(model: AbstractModel, phases: np.ndarray, states: np.ndarray, errors: np.ndarray | None) -> Mesh:
    """A mesh on an orbit known at `phases` in [0, 1): of equal steps, or of steps with equal errors."""
    share = np.diff(np.append(phases, 1.0))
    density = np.ones(len(phases))
    if errors is not None:
        size = np.max(np.abs(states), axis=0) + 1e-12
        density = (np.max(errors / size, axis=1) + 1e-30) ** (1 / _ORDER) / share
        density = np.maximum(density, 0.1 * np.sum(density * share))  # nowhere ten times coarser than the mean
    filled = np.append(0.0, np.cumsum(density * share))
    edges = np.interp(np.linspace(0, filled[-1], ARCS * STEPS + 1), filled, np.append(phases, 1.0))
    points = at_phases(phases, states, edges[:-1:STEPS])
    return mesh_at(model, np.diff(edges).reshape(ARCS, STEPS), points)


def mesh_at(model: AbstractModel, fractions: np.ndarray, points: np.ndarray) -> Mesh:
    """A mesh whose phase is measured against an orbit through `points`."""
    slopes = np.asarray(slopes_at(model, jnp.asarray(points)))
    return Mesh(jnp.asarray(fractions), jnp.asarray(points), jnp.asarray(slopes / np.linalg.norm(slopes)))


def at_phases(phases: np.ndarray, states: np.ndarray, wanted: np.ndarray) -> Float[np.ndarray, "wanted n"]:
    """States of an orbit between the phases at which it is known, by straight lines."""
    closed = np.append(phases, 1.0)
    return np.stack([np.interp(wanted, closed, np.append(column, column[0])) for column in states.T], axis=1)


def solve_orbit(model: AbstractModel, phases: np.ndarray, states: np.ndarray, period: float):
    """The orbit next to a rough one, on a mesh that is refined twice; (mesh, unknowns), or None."""
    errors = None
    for _ in range(3):
        mesh = mesh_through(model, phases, states, errors)
        z = newton(periodic, (model, mesh), np.append(np.ravel(mesh.points), period))
        if z is None:
            return None
        phases, states, errors = (np.asarray(part) for part in along(model, mesh, z))
        period = z[-1]
    return mesh, z
