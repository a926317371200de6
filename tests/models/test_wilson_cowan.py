"""Wilson-Cowan against its equations written out, with a Jacobian by hand, solved by SciPy."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, root

import jnm

TAU = 10.0


def S(u, slope, threshold):
    return 1 / (1 + np.exp(-slope * (u - threshold))) - 1 / (1 + np.exp(slope * threshold))


def slope_of(t, y, P):
    """(E', I') per ms at the values of Wilson and Cowan's limit cycle."""
    E, I = y
    k_E, k_I = 1 - 1 / (1 + np.exp(1.3 * 4.0)), 1 - 1 / (1 + np.exp(2.0 * 3.7))
    return np.array(
        [
            -E + (k_E - E) * S(16 * E - 12 * I + P, 1.3, 4.0),
            -I + (k_I - I) * S(15 * E - 3 * I, 2.0, 3.7),
        ]
    ) / TAU  # fmt: skip


def jacobian(y, P):
    E, I = y
    out = np.empty((2, 2))
    for i, (x, others, slope, threshold, weights) in enumerate(
        [(E, 16 * E - 12 * I + P, 1.3, 4.0, (16, -12)), (I, 15 * E - 3 * I, 2.0, 3.7, (15, -3))]
    ):
        s = 1 / (1 + np.exp(-slope * (others - threshold)))
        room = 1 - 1 / (1 + np.exp(slope * threshold)) - x
        out[i] = room * slope * s * (1 - s) * np.array(weights)
        out[i, i] -= 1 + S(others, slope, threshold)
    return out / TAU


def rest(P):
    return root(lambda y: slope_of(0.0, y, P), [0.25, 0.2], jac=lambda y: jacobian(y, P), tol=1e-13).x


def test_drift_is_the_equation(x64):
    y = jnm.models.WilsonCowanState(0.2, 0.1)
    got = jnm.WilsonCowan(P=1.0).drift(0.0, y, jnm.Drive(0.3, 0.2))
    np.testing.assert_allclose(got, slope_of(0.0, (0.2, 0.1), 1.5), rtol=1e-12)


def test_its_hopf_point_is_where_the_trace_vanishes(x64):
    wanted = brentq(lambda P: np.trace(jacobian(rest(P), P)), 1.5, 2.2, xtol=1e-14)
    frequency = 1000 * np.sqrt(np.linalg.det(jacobian(rest(wanted), wanted))) / (2 * np.pi)
    (point,) = jnm.stability.hopf_points(jnm.WilsonCowan(), lambda m: m.P, 1.3, 2.5, starts=8)
    assert point.value == pytest.approx(wanted, abs=1e-9) and wanted == pytest.approx(1.88, abs=0.005)
    assert point.frequency_hz == pytest.approx(frequency, abs=1e-7)


def test_limit_cycle(x64):
    """At their P = 1.25: trajectory and period, the time between two rises of E through 0.2, by SciPy's DOP853."""
    run = jnm.simulate(jnm.WilsonCowan(P=1.25), 300.0, 0.01, save_every=1.0)
    oracle = oscillation(300.0, run.ts)
    np.testing.assert_allclose(np.stack(run.ys), oracle.y, atol=2e-5)
    period = np.diff(oracle.t_events[0])[-1]
    last = run.ts > 300.0 - period
    assert period == pytest.approx(50.079, abs=1e-3) and np.ptp(np.asarray(run.ys.E)[last]) > 0.15


@pytest.mark.slow
def test_period_of_the_limit_cycle(x64):
    cycle = jnm.stability.limit_cycle(jnm.WilsonCowan(P=1.25))
    assert float(cycle.period) == pytest.approx(np.diff(oscillation(1000.0).t_events[0])[-1], abs=1e-6)


def oscillation(t1, times=None):
    def rises(t, y, P):
        return y[0] - 0.2

    rises.direction = 1.0
    return solve_ivp(slope_of, (0, t1), [0.0, 0.0], "DOP853", times, events=rises, rtol=1e-11, atol=1e-13, args=(1.25,))


def test_below_it_rests(x64):
    points = jnm.stability.fixed_points(jnm.WilsonCowan(P=1.05), starts=16)
    assert [point.stable for point in points] == [True, False, False]
    for point in points:
        np.testing.assert_allclose(slope_of(0.0, np.asarray(point.state), 1.05), 0.0, atol=1e-13)
