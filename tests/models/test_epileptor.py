"""The Epileptor against its equations as printed, integrated and analysed by SciPy and NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import jnm
from jnm.models import EpileptorState

START = (-1.5, -10.25, 3.0, 0.0, 0.0, -150.0)


def slope(t, s, x0, current=0.0, afferent=0.0):
    x1, y1, z, x2, y2, g = s
    f1 = x1**3 - 3 * x1**2 if x1 < 0 else (x2 - 0.6 * (z - 4) ** 2) * x1
    f2 = 0.0 if x2 < -0.25 else 6 * (x2 + 0.25)
    return [
        y1 - f1 - z + 3.1 + current,
        1 - 5 * x1**2 - y1,
        (4 * (x1 - x0) - z - afferent) / 2857.0,
        -y2 + x2 - x2**3 + 0.45 + 0.002 * g - 0.3 * (z - 3.5),
        (-y2 + f2) / 10.0,
        x1 - 0.01 * g,
    ]


def resting_x1(x0):
    """x1 < 0 at rest: y1 = 1 - 5 x1^2 and z = 4 (x1 - x0) leave a cubic with one real root."""
    return next(r.real for r in np.roots([1.0, 2.0, 4.0, -4 * x0 - 4.1]) if abs(r.imag) < 1e-9)


def growth(x0):
    """The largest real part of the eigenvalues of (x1, y1, z) at rest, by hand."""
    x = resting_x1(x0)
    rows = [[6 * x - 3 * x**2, 1.0, -1.0], [-10 * x, -1.0, 0.0], [4 / 2857.0, 0.0, -1 / 2857.0]]
    return np.linalg.eigvals(np.array(rows)).real.max()


@pytest.mark.parametrize("x1", [-1.4, 0.3])
@pytest.mark.parametrize("x2", [-0.7, 0.5])
def test_drift_is_the_equation_on_each_side_of_its_switches(x64, x1, x2):
    s = (x1, -3.0, 3.2, x2, 0.4, -20.0)
    got = jnm.Epileptor(x0=-1.7, tau=2.0).drift(0.0, EpileptorState(*map(jnp.asarray, s)), jnm.Drive(0.6, 0.2))
    np.testing.assert_allclose(got, np.array(slope(0.0, s, -1.7, 0.2, 0.6)) / 2.0, rtol=1e-12)


def test_seizures_begin_at_the_hopf_point_of_the_slow_rest(x64):
    """x0 = -2.0605 for tau0 = 2857; for infinitely slow z it is -2.062, where x1 = -4/3 is the fold of the fast pair."""
    wanted = brentq(growth, -2.2, -2.0, xtol=1e-13)
    points = jnm.stability.hopf_points(jnm.Epileptor(), lambda m: m.x0, -2.15, -2.0, starts=8)
    assert min(abs(float(point.value) - wanted) for point in points) < 1e-9
    assert wanted == pytest.approx(-4 / 3 - (4.1 + 64 / 27 - 32 / 9) / 4, abs=0.002)
    assert wanted == pytest.approx(-2.0605, abs=1e-4)


def test_a_healthy_region_comes_to_the_rest_of_the_cubic(x64):
    run = jnm.simulate(jnm.Epileptor(x0=-2.2), 4000.0, 0.05, save_every=100.0)
    x1 = resting_x1(-2.2)
    np.testing.assert_allclose(run.ys.x1[-1], x1, atol=1e-5)
    np.testing.assert_allclose(run.ys.z[-1], 4 * (x1 + 2.2), atol=1e-4)


def test_trajectory_into_a_seizure(x64):
    """Until its first discharges, 240 units of time, beside SciPy's DOP853 in every variable."""
    run = jnm.simulate(jnm.Epileptor(x0=-1.6), 240.0, 0.002, y0=EpileptorState(*START), save_every=1.0)
    oracle = solve_ivp(slope, (0, 240.0), START, "DOP853", t_eval=run.ts, rtol=1e-10, atol=1e-12, args=(-1.6,)).y
    assert oracle[0, :190].max() < 0 < oracle[0].max()  # rest, then discharges
    for name, values, wanted in zip(run.ys._fields, run.ys, oracle, strict=True):
        np.testing.assert_allclose(values, wanted, atol=2e-3 * np.abs(wanted).max(), err_msg=name)


def test_seizures_come_and_go(x64):
    """In single steps of 0.05: as many seizures as in SciPy's run, each with its onset and its end to 20 units."""

    def seizures(t, x1):
        """Times of discharges further than 300 apart from the last, and from the next."""
        up = t[1:][(x1[:-1] < 0) & (x1[1:] >= 0)]
        gap = np.diff(up) > 300
        return up[np.append(True, gap)], up[np.append(gap, True)]

    run = jnm.simulate(jnm.Epileptor(x0=-1.6), 6000.0, 0.05, y0=EpileptorState(*START), save_every=0.5)
    times = np.arange(0.5, 6000.0, 0.5)
    oracle = solve_ivp(
        slope, (0, 6000.0), START, "LSODA", t_eval=times, rtol=1e-8, atol=1e-9, max_step=1.0, args=(-1.6,)
    )
    ours, theirs = seizures(run.ts, np.asarray(run.ys.x1)), seizures(times, oracle.y[0])
    assert len(ours[0]) == len(theirs[0]) >= 2
    np.testing.assert_allclose(ours, theirs, atol=20.0)


def test_a_neighbour_in_a_seizure_recruits(x64):
    """The permittivity of a region whose neighbour fires falls: z' = ... - K (x1_j - x1_i) / tau0, as in Proix 2014."""
    brain = jnm.Connectome([[0.0, 1.0], [1.0, 0.0]])
    net = jnm.Network(jnm.Epileptor(), brain, jnm.Diffusive(gain=2.0))
    y = EpileptorState(*(jnp.array([a, a]) for a in START))._replace(x1=jnp.array([-1.5, 0.5]))
    free = jnm.Network(jnm.Epileptor(), brain, jnm.Diffusive(gain=0.0))
    change = net.drift(0.0, y, jnm.Drive()).z - free.drift(0.0, y, jnm.Drive()).z
    np.testing.assert_allclose(change, np.array([-2.0, 2.0]) * 2.0 / 2857.0, rtol=1e-12)
