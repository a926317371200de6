"""Fixed points and limit cycles of jnm's drifts by SciPy, in double precision: solvers that jnm had no hand in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.optimize import root

import jnm


class VectorField(NamedTuple):
    """A model as SciPy sees it: dx/dt, its Jacobian, and the way back from a vector to a state."""

    slope: Callable[[float, np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray], np.ndarray]
    state: Callable[[np.ndarray], Any]
    start: np.ndarray


class Orbit(NamedTuple):
    """Period in ms and the largest, smallest and mean value of one element of the state."""

    period: float
    largest: float
    smallest: float
    mean: float


def vector_field(model, gain=0.0) -> VectorField:
    """`gain` feeds the model's own output back to it, as one region wired to itself."""
    start, state = ravel_pytree(model.init())

    @jax.jit
    def slope(x):
        y = state(x)
        return ravel_pytree(model.drift(0.0, y, jnm.Drive(synaptic=gain * model.output(0.0, y))))[0]

    jacobian = jax.jit(jax.jacfwd(slope))
    return VectorField(lambda t, x: np.asarray(slope(x)), lambda x: np.asarray(jacobian(x)), state, np.asarray(start))


@pytest.fixture
def fixed_points(x64):
    """find(model, starts): all different fixed points that Newton-like root finding reaches, with their eigenvalues."""

    def find(model, starts, gain=0.0):
        field = vector_field(model, gain)
        found = []
        for start in starts:
            solution = root(lambda x: field.slope(0.0, x), ravel_pytree(start)[0], jac=field.jacobian, tol=1e-14)
            small = np.max(np.abs(field.slope(0.0, solution.x))) < 1e-12
            if small and not any(np.allclose(solution.x, other, rtol=1e-6) for other in found):
                found.append(solution.x)
        return [(field.state(x), np.linalg.eigvals(field.jacobian(x))) for x in sorted(found, key=lambda x: x[0])]

    return find


@pytest.fixture
def orbit(x64):
    """measure(model, element, level): the cycle it settles on, cut where one element of its state rises to `level`."""

    def measure(model, element, level, gain=0.0, settle=400.0, longest=60.0):
        field = vector_field(model, gain)
        settled = solve_ivp(field.slope, (0.0, settle), field.start, method="DOP853", rtol=1e-9, atol=1e-12).y[:, -1]

        def rises(t, x):
            return x[element] - level

        def turns(t, x):
            return field.slope(t, x[:-1])[element]

        def with_integral(t, x):
            return np.append(field.slope(t, x[:-1]), x[element])

        rises.direction = 1.0
        run = solve_ivp(
            with_integral,
            (0.0, longest),
            np.append(settled, 0.0),
            "DOP853",
            events=(rises, turns),
            rtol=1e-11,
            atol=1e-13,
        )
        assert len(run.t_events[0]) > 1, f"no cycle through {level}"
        (t0, t1), (x0, x1) = run.t_events[0][-2:], run.y_events[0][-2:]
        assert np.allclose(x0[:-1], x1[:-1], rtol=1e-7, atol=1e-10), "not settled on a cycle with one rise a period"
        extrema = run.y_events[1][:, element]
        return Orbit(t1 - t0, extrema.max(), extrema.min(), (x1[-1] - x0[-1]) / (t1 - t0))

    return measure
