"""Limit cycles against the spec's table (rows named), SciPy's integrators and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import jnm
from jnm.stability import limit_cycle


def test_inhibitory_ring_at_twenty(x64):
    cycle = limit_cycle(jnm.ING())
    assert float(cycle.period) / 7.5 == pytest.approx(1.32426597, rel=1e-8)  # row 20
    assert float(cycle.frequency_hz) == pytest.approx(100.68471, rel=1e-7)
    assert float(cycle.largest.r) == pytest.approx(0.9149939, rel=2e-6)
    assert float(cycle.mean.r) == pytest.approx(0.1017039, rel=1e-6)
    assert cycle.stable


def test_inhibitory_ring_at_ten(x64):
    cycle = limit_cycle(jnm.ING(eta=10.0))
    assert float(cycle.frequency_hz) == pytest.approx(71.40491, rel=1e-7)  # row 19
    assert float(cycle.largest.r) == pytest.approx(0.3691168, rel=2e-6)
    assert float(cycle.smallest.r) == pytest.approx(0.0092844, rel=1e-5)
    assert float(cycle.mean.r) == pytest.approx(0.0671664, rel=1e-6)


@pytest.mark.parametrize(("eta", "hertz", "largest"), [(5.0, 65.12966, 0.3628282), (11.0, 82.77884, 0.5303711)])
def test_second_order_ping(x64, eta, hertz, largest):
    cycle = limit_cycle(jnm.PINGSecondOrder(eta=(eta, eta)))
    assert float(cycle.frequency_hz) == pytest.approx(hertz, rel=1e-7)  # row 25
    assert float(cycle.largest.r[0]) == pytest.approx(largest, rel=5e-6)


def test_orbit_and_multipliers_against_scipy(x64):
    """One period of SciPy's DOP853, with the variational equation beside it."""
    model = jnm.ING(eta=10.0)
    cycle = limit_cycle(model)
    _, state = ravel_pytree(model.init())
    slope = jax.jit(lambda x: ravel_pytree(model.drift(0.0, state(x), jnm.Drive()))[0])
    jacobian = jax.jit(jax.jacfwd(slope))

    def both(t, y):
        x, push = y[:4], y[4:].reshape(4, 4)
        return np.concatenate([slope(x), (np.asarray(jacobian(x)) @ push).ravel()])

    first = np.array([float(x[0]) for x in cycle.orbit])
    run = solve_ivp(
        both, (0, float(cycle.period)), np.append(first, np.eye(4)), "DOP853", cycle.times, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(run.y[:4], np.stack(cycle.orbit), rtol=0, atol=1e-8)
    end = solve_ivp(both, (0, float(cycle.period)), np.append(first, np.eye(4)), "DOP853", rtol=1e-11, atol=1e-13).y
    np.testing.assert_allclose(end[:4, -1], first, atol=1e-9)
    values = np.linalg.eigvals(end[4:, -1].reshape(4, 4))
    np.testing.assert_allclose(np.sort(np.abs(values)), np.sort(np.abs(cycle.multipliers)), atol=1e-8)
    assert float(np.min(np.abs(cycle.multipliers - 1))) < 1e-9


def test_picture_of_one_period(x64):
    (ax,) = limit_cycle(jnm.ING(eta=10.0)).plot(lambda t, y: y.r, "rate (1/ms)").axes
    (line,) = ax.lines
    assert line.get_xdata()[-1] == pytest.approx(1e3 / 71.40491, rel=1e-6)
    assert line.get_ydata()[0] == line.get_ydata()[-1]
    assert np.max(line.get_ydata()) == pytest.approx(0.3691168, rel=1e-3)
    assert ax.get_title() == "71.4 Hz"


def period(C, eta):
    return limit_cycle(jnm.ING(C=C, eta=eta)).period


def test_gradients_of_the_period_against_finite_differences(x64):
    gradient = jax.grad(period, argnums=(0, 1))(-20.0, 10.0)
    for i in range(2):
        up, down = (period(*(np.array([-20.0, 10.0]) + sign * 1e-3 * np.eye(2)[i])) for sign in (1, -1))
        assert float(gradient[i]) == pytest.approx(float(up - down) / 2e-3, rel=1e-7)


def test_following_a_cycle_under_jit(x64):
    cycle = limit_cycle(jnm.ING(eta=10.0))
    after = jax.jit(lambda eta: cycle.follow(jnm.ING(eta=eta)).period)(10.5)
    assert float(after) == pytest.approx(float(period(-20.0, 10.5)), rel=1e-9)


def test_gradient_of_a_multiplier(x64):
    """How fast the cycle attracts, differentiated through its orbit."""

    def attraction(eta):
        return jnp.abs(limit_cycle(jnm.ING(eta=eta)).multipliers[1])

    difference = float(attraction(10.0 + 1e-3) - attraction(10.0 - 1e-3)) / 2e-3
    assert float(jax.grad(attraction)(10.0)) == pytest.approx(difference, rel=1e-5)


def test_a_given_start_and_its_shape(x64):
    model = jnm.ING(eta=20.0)
    cycle = limit_cycle(model, model.init(), settle=200.0)
    assert float(cycle.period) == pytest.approx(1.32426597 * 7.5, rel=1e-8)
    assert cycle.orbit.r.shape == cycle.times.shape
    with pytest.raises(ValueError, match=r"wanted that of model.init\(\)"):
        limit_cycle(model, jnm.NMM1.of(model).init())


@pytest.mark.parametrize("model", [lambda: jnm.ING(eta=4.0), lambda: jnm.NMM1.of(jnm.ING())])
def test_no_oscillation_says_what_was_searched(x64, model):
    with pytest.raises(RuntimeError, match=r"no oscillation found from 1 start, running 1000 ms .* comes to rest"):
        limit_cycle(model())


def test_bad_input_is_named(x64):
    with pytest.raises(ValueError, match="settle = -1"):
        limit_cycle(jnm.ING(), settle=-1.0)
    with pytest.raises(ValueError, match="inside follow what was found"):
        jax.jit(lambda eta: period(-20.0, eta))(jnp.asarray(10.0))
