r"""Periodic orbits by multiple shooting: M arcs of one period, each integrated by itself, that must join.

With the mesh of fractions w of the period T and flow_h(y) the solution after a time h,

    flow_{T w_m}(y_m) = y_{m+1},  y_M = y_0 + D,   sum_m y'_ref,m . (y_m - y_ref,m) = 0,

are solved for y_0 ... y_{M-1} and T; the last equation holds the phase. D is zero but for variables that are angles,
which a period moves on. Arcs are short, so unstable orbits are reached as well as stable ones. Each arc takes K steps of
the eighth-order method of Dormand & Prince (1981), whose embedded error tells where the mesh must be fine: all steps are
given the same error.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel
from jnm.stability.field import slope
from jnm.stability.root import newton

Field = Callable[[Array], Array]
"""The slope dx/dt of a flat vector x."""

ARCS, STEPS = 10, 16  # 160 steps a period: seven digits and more of the period on the spec's sharpest spikes
_TABLEAU = diffrax.Dopri8.tableau
_LOWER = np.stack([np.pad(row, (0, 13 - len(row))) for row in (np.zeros(0), *_TABLEAU.a_lower[:-1])])
_ORDER = 8  # of the embedded error


class Mesh(NamedTuple):
    """How a period is cut into arcs and steps, and the orbit that the phase is measured against."""

    fractions: Float[Array, "arc step"]
    points: Float[Array, "arc n"]
    slopes: Float[Array, "arc n"]
    lap: Float[Array, " n"]
    """What a period adds: full turns of variables that are angles, zero for others."""


def advance(model: AbstractModel, x: Float[Array, " n"], h: Float[Array, ""]) -> tuple[Array, Array]:
    """One step of length h ms, and its embedded error."""
    return _step(lambda x: slope(model, x), x, h)


def _step(field: Field, x: Float[Array, " n"], h: Float[Array, ""]) -> tuple[Array, Array]:
    def stage(slopes, row):
        number, weights = row
        return slopes.at[number].set(field(x + h * (weights @ slopes))), None

    # A loop over the stages rather than thirteen copies of the drift: less to compile.
    number, weights = np.arange(len(_LOWER)), jnp.asarray(_LOWER, x.dtype)
    slopes, _ = jax.lax.scan(stage, jnp.zeros((len(_LOWER), x.size), x.dtype), (number, weights))
    return x + h * (_TABLEAU.b_sol[:-1] @ slopes), h * (_TABLEAU.b_error[:-1] @ slopes)


def follow_field(field: Field, x: Float[Array, " n"], steps: Float[Array, " step"]) -> Float[Array, " n"]:
    """What dx/dt = field(x) has come to after steps of the given lengths in ms."""
    return jax.lax.scan(lambda x, h: (_step(field, x, h)[0], None), x, steps)[0]


def arc(model: AbstractModel, x: Float[Array, " n"], steps: Float[Array, " step"]) -> Float[Array, " n"]:
    """The state after steps of the given lengths in ms."""
    return follow_field(lambda x: slope(model, x), x, steps)


class Joined(eqx.Module):
    """What must vanish for M arcs to be one orbit, in z = (y_0, ..., y_{M-1}, T); args = (model, mesh).

    With `turned`, a parameter p is unknown too: z = (..., T, p); args = (model, dial, mesh).
    """

    turned: bool = eqx.field(static=True, default=False)

    def __call__(self, args: Any, z: Float[Array, " unknown"]) -> Float[Array, " equation"]:
        mesh, x, rest = self._parts(args, z)
        ends = jax.vmap(lambda x, w: self._end(args, x, rest, w))(x, mesh.fractions)
        return self._gaps(mesh, x, ends)

    def with_jacobian(self, args: Any, z: Float[Array, " unknown"]) -> tuple[Array, Array]:
        """The equations and their Jacobian, arc by arc: n + 2 tangents for each arc instead of M n + 2 for all."""
        mesh, x, rest = self._parts(args, z)
        M, n = x.shape

        def end(x, rest, w):
            reached = self._end(args, x, rest, w)
            return reached, reached

        slopes, ends = jax.vmap(jax.jacfwd(end, (0, 1), has_aux=True), (0, None, 0))(x, rest, mesh.fractions)
        next_arc = jnp.kron(jnp.roll(jnp.eye(M), 1, axis=1), jnp.eye(n))
        rows = jnp.concatenate([block_diag(*slopes[0]) - next_arc, slopes[1].reshape(M * n, -1)], axis=1)
        phase = jnp.concatenate([mesh.slopes.ravel(), jnp.zeros_like(rest)])
        return self._gaps(mesh, x, ends), jnp.concatenate([rows, phase[None]])

    def _parts(self, args: Any, z: Float[Array, " unknown"]) -> tuple[Mesh, Array, Array]:
        mesh = args[-1]
        return mesh, z[: mesh.points.size].reshape(mesh.points.shape), z[mesh.points.size :]

    def _end(self, args: Any, x: Float[Array, " n"], rest: Array, w: Float[Array, " step"]) -> Float[Array, " n"]:
        model = args[1](args[0], rest[1]) if self.turned else args[0]
        return arc(model, x, rest[0] * w)

    def _gaps(self, mesh: Mesh, x: Float[Array, "arc n"], ends: Float[Array, "arc n"]) -> Float[Array, " equation"]:
        phase = jnp.sum(mesh.slopes * (x - mesh.points))
        onward = jnp.concatenate([x[1:], x[:1] + mesh.lap[None]])
        return jnp.append((ends - onward).ravel(), phase)


periodic, periodic_at = Joined(), Joined(turned=True)


@eqx.filter_jit
def along(model: AbstractModel, mesh: Mesh, z: Float[Array | np.ndarray, " unknown"]) -> tuple[Array, Array, Array]:
    """Phases in [0, 1) at which steps begin, the states there [phase, n], and the errors of the steps."""
    starts, period = z[:-1].reshape(mesh.points.shape), z[-1]

    def steps(x, w):
        def one(x, w):
            after, error = advance(model, x, period * w)
            return after, (x, jnp.abs(error))

        return jax.lax.scan(one, x, w)[1]

    states, errors = jax.vmap(steps)(starts, mesh.fractions)
    ends = jnp.cumsum(mesh.fractions.ravel())
    n = starts.shape[1]
    return ends - mesh.fractions.ravel(), states.reshape(-1, n), errors.reshape(-1, n)


@eqx.filter_jit
def states_at(
    model: AbstractModel, mesh: Mesh, z: Float[Array, " unknown"], at: Float[Array, " phase"]
) -> Float[Array, "phase n"]:
    """The orbit at any phases, by a shorter step from where the step begins that passes it."""
    phases, states, _ = along(model, mesh, z)
    at = at - jnp.floor(at)
    step = jnp.searchsorted(phases, at, side="right") - 1
    return jax.vmap(lambda x, h: advance(model, x, h)[0])(states[step], z[-1] * (at - phases[step]))


def monodromy(jacobian: Float[Array | np.ndarray, "equation unknown"], n: int) -> Float[Array, "n n"]:
    """What a small push has become after one period: the product of the arcs' Jacobians.

    They are the blocks on the diagonal of the Jacobian of `Joined`.
    """
    product, jacobian = jnp.eye(n, dtype=jacobian.dtype), jnp.asarray(jacobian)
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


def mesh_through(
    model: AbstractModel, phases: np.ndarray, states: np.ndarray, errors: np.ndarray | None, lap: Any = 0.0
) -> Mesh:
    """A mesh on an orbit known at `phases` in [0, 1): of equal steps, or of steps with equal errors."""
    share = np.diff(np.append(phases, 1.0))
    density = np.ones(len(phases))
    if errors is not None:
        size = np.max(np.abs(states), axis=0) + 1e-12
        density = (np.max(errors / size, axis=1) + 1e-30) ** (1 / _ORDER) / share
        density = np.maximum(density, 0.1 * np.sum(density * share))  # nowhere ten times coarser than the mean
    filled = np.append(0.0, np.cumsum(density * share))
    edges = np.interp(np.linspace(0, filled[-1], ARCS * STEPS + 1), filled, np.append(phases, 1.0))
    points = at_phases(phases, states, edges[:-1:STEPS], lap)
    return mesh_at(model, np.diff(edges).reshape(ARCS, STEPS), points, lap)


def mesh_at(model: AbstractModel, fractions: np.ndarray, points: np.ndarray, lap: Any = 0.0) -> Mesh:
    """A mesh whose phase is measured against an orbit through `points`."""
    slopes = np.asarray(slopes_at(model, jnp.asarray(points)))
    laps = np.broadcast_to(np.asarray(lap, float), points.shape[1:])
    return Mesh(*(jnp.asarray(part) for part in (fractions, points, slopes / np.linalg.norm(slopes), laps)))


def at_phases(
    phases: np.ndarray, states: np.ndarray, wanted: np.ndarray, lap: Any = 0.0
) -> Float[np.ndarray, "wanted n"]:
    """States of an orbit between the phases at which it is known, by straight lines."""
    at, closed = np.append(phases, 1.0), np.concatenate([states, states[:1] + lap])
    return np.stack([np.interp(wanted, at, column) for column in closed.T], axis=1)


def solve_orbit(model: AbstractModel, phases: np.ndarray, states: np.ndarray, period: float, lap: Any = 0.0) -> Any:
    """The orbit next to a rough one, on a mesh that is refined twice; (mesh, unknowns), or None."""
    errors = None
    for _ in range(3):
        mesh = mesh_through(model, phases, states, errors, lap)
        z = newton(periodic, (model, mesh), np.append(np.ravel(mesh.points), period))
        if z is None:
            return None
        phases, states, errors = (np.asarray(part) for part in along(model, mesh, z))
        period = z[-1]
    return mesh, z
