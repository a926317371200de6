"""Reduced Wong-Wang against its equations in the papers' units (Hz, ms, nA), solved by SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

import jnm
from jnm.models.wong_wang import WongWangEIState, WongWangState, transfer


def H(x, a, b, d):
    """Hz, of a current in nA; a per nC, b in Hz, d in s."""
    u = a * x - b
    return u / (1 - np.exp(-d * u))


def one(S, G):
    """S' per ms of a region wired to itself with weight one."""
    x = (0.9 + G) * 0.2609 * S + 0.3
    return -S / 100.0 + (1 - S) * 0.641e-3 * H(x, 270.0, 108.0, 0.154)


def pair(S_E, S_I, J_i=1.0):
    """(S_E', S_I') per ms and (r_E, r_I) in Hz of a region by itself."""
    r_E = H(0.382 + 1.4 * 0.15 * S_E - J_i * S_I, 310.0, 125.0, 0.16)
    r_I = H(0.7 * 0.382 + 0.15 * S_E - S_I, 615.0, 177.0, 0.087)
    return (-S_E / 100.0 + (1 - S_E) * 0.641e-3 * r_E, -S_I / 10.0 + r_I * 1e-3), (r_E, r_I)


def alone(G):
    return jnm.Network(jnm.WongWang(), jnm.Connectome([[1.0]]), jnm.Linear(gain=G))


# ----------------------------------------------------------------------------------------------------- the rate function


def test_the_rate_function_and_its_slope_everywhere(x64):
    """Far below threshold, at it, where numerator and denominator vanish, and far above; no overflow either side."""
    threshold = 0.108 / 0.270
    x = np.array([-5.0, 0.0, 0.3, threshold - 1e-4, threshold - 1e-9, threshold, threshold + 3e-4, 0.5, 60.0])
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = np.where(x == threshold, 1 / 154.0, 1e-3 * H(x, 270.0, 108.0, 0.154))
    rate = jax.jit(jax.vmap(jax.value_and_grad(lambda x: transfer(x, 0.270, 0.108, 154.0))))
    value, slope = rate(jnp.asarray(x))
    far = np.abs(x - threshold) > 1e-5  # closer by, the plain formula has lost its digits
    np.testing.assert_allclose(value[far], wanted[far], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(value[~far], 1 / 154.0 + 0.135 * (x[~far] - threshold), rtol=1e-12)
    np.testing.assert_allclose(slope[~far], 0.135, rtol=1e-6)  # a / 2
    assert np.all(np.isfinite(rate(jnp.asarray(x, jnp.float32))[1]))


# -------------------------------------------------------------------------------------------------------- one population


def test_rest_of_one_population(x64):
    (rest,) = jnm.stability.fixed_points(jnm.WongWang(), starts=8)
    assert float(rest.state.S) == pytest.approx(brentq(lambda S: one(S, 0.0), 1e-4, 0.9, xtol=1e-15), abs=1e-12)
    assert rest.stable


def test_two_states_of_rest_between_two_couplings(x64):
    """The folds are the extremes of the coupling G(S) at which S rests, by inverting H with SciPy."""

    def coupling(S):
        rate = S / (100.0 * 0.641e-3 * (1 - S))
        x = brentq(lambda x: H(x, 270.0, 108.0, 0.154) - rate, 0.0, 5.0, xtol=1e-15)
        return (x - 0.3) / (0.2609 * S) - 0.9

    low = minimize_scalar(coupling, bounds=(0.2, 0.9), method="bounded", options={"xatol": 1e-11}).fun
    high = -minimize_scalar(lambda S: -coupling(S), bounds=(0.01, 0.2), method="bounded", options={"xatol": 1e-11}).fun
    assert low < high
    folds = jnm.stability.fold_points(alone(0.5), lambda m: m.coupling.gain, 0.0, 2.0, starts=8)
    np.testing.assert_allclose([float(fold.value) for fold in folds], [low, high], atol=1e-9)
    inside = jnm.stability.fixed_points(alone((low + high) / 2), starts=16)
    roots = np.array([float(point.state.S[0]) for point in inside])
    assert [point.stable for point in inside] == [True, False, True]
    np.testing.assert_allclose([one(S, (low + high) / 2) for S in roots], 0.0, atol=1e-13)


# ------------------------------------------------------------------------------------------------------------ E and I


def test_drift_is_that_of_the_papers(x64):
    drive = jnm.Drive(0.2, 0.01)
    S = 0.3
    x = 0.9 * 0.2609 * S + 0.2609 * 0.2 + 0.3 + 0.01
    wanted = -S / 100.0 + (1 - S) * 0.641e-3 * H(x, 270.0, 108.0, 0.154)
    assert jnm.WongWang().drift(0.0, WongWangState(jnp.array(S)), drive).S == pytest.approx(wanted, rel=1e-12)
    y = WongWangEIState(jnp.array(0.2), jnp.array(0.05))
    got = jnm.WongWangEI(J_i=1.3).drift(0.0, y, jnm.Drive())
    np.testing.assert_allclose(got, pair(0.2, 0.05, 1.3)[0], rtol=1e-12)


def test_an_isolated_region_fires_at_about_three_hertz(x64):
    """Deco et al. (2014) choose J_i = 1 for it; the value itself by SciPy's integration of the equations above."""
    end = solve_ivp(lambda t, s: pair(*s)[0], (0.0, 5000.0), [0.1, 0.1], "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    (rest,) = jnm.stability.fixed_points(jnm.WongWangEI(), starts=8)
    np.testing.assert_allclose(rest.state, end, rtol=1e-8)
    r_E, r_I = (1000 * float(r) for r in jnm.WongWangEI().rates(rest.state))
    np.testing.assert_allclose([r_E, r_I], pair(*end)[1], rtol=1e-7)
    assert r_E == pytest.approx(3.08, abs=0.01) and r_I == pytest.approx(3.92, abs=0.01)


def test_noise_leaves_the_shares_between_zero_and_one():
    node = jnm.WongWangEI(sigma=0.5)
    ys = jnm.simulate(node, 200.0, 1.0, key=jax.random.key(0)).ys
    assert all(0 <= np.min(x) and np.max(x) <= 1 for x in ys)
    y = node.init()
    assert jnm.WongWangEI().constrain(y) is y and jnm.WongWangEI().diffusion(0.0, y) is None


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"WongWangEI: J_i = -1 is outside its domain \(positive\)"):
        jnm.WongWangEI(J_i=-1.0)
    with pytest.raises(ValueError, match=r"w for 2, J for 3"):
        jnm.WongWang(w=jnp.ones(2), J=jnp.ones(3))
