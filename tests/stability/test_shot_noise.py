"""Closed-loop shot noise against the matrix formula in NumPy's complex numbers, the spec's rows, and variances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.stability import closed_loop_psd, fixed_points

GRID = np.concatenate([np.linspace(0.05, 400.0, 16_000), np.geomspace(400.0, 2e4, 2_000)[1:]])

density = jax.jit(jnm.shot_noise_psd)


def formula(model, f_hz, n):
    """S = (1 - L)^-1 diag(S_chi) (1 - L)^-dagger by populations, spec 1.5 and 2; and H; one-sided per Hz."""
    y, P = fixed_points(model, starts=8)[-1].state, model.n_populations
    tau_m, tau_s, delta, eta, I, r = (
        np.broadcast_to(np.asarray(x), P) for x in (model.tau_m, model.tau_s, model.delta, model.eta, model.I, y.r)
    )
    C, R = np.asarray(model.C).reshape(P, P), tau_m * r
    X = eta + I + tau_m * (C @ r)
    S = np.empty((len(f_hz), P))
    for k, f in enumerate(f_hz):
        s = 2j * np.pi * f / 1000
        G = 2 * R / ((s * tau_m + delta / (np.pi * R)) ** 2 + (2 * np.pi * R) ** 2)
        H = (1 + s * tau_s) ** -model.order
        chi = density(f / 1000 * tau_m, X, delta, n) / tau_m
        loop = np.linalg.inv(np.eye(P) - G[:, None] * C * H)
        S[k] = 2 / 1000 * np.diag(loop @ np.diag(chi) @ loop.conj().T).real
    return S.reshape(len(f_hz), *y.r.shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: jnm.Pyramidal(),
        lambda: jnm.NMM2(10.0, 5.0, 1.0, 5.0, -5.0, order=0),
        lambda: jnm.NMM2(10.0, 5.0, 0.5, 1.0, ((2.0,),), order=1),
        lambda: jnm.PINGSecondOrder(eta=0.5),
        lambda: jnm.PING(IE=2.0),
        lambda: jnm.PING(IE=2.0, order=0, C=((2.0, -3.0), (3.0, -1.0)), tau_m=(8.0, 5.0)),
    ],
)
def test_matrix_formula(x64, make):
    model, f_hz = make(), np.array([0.5, 8.0, 40.0, 54.0, 110.0, 500.0])
    n = np.array([800.0, 200.0])[: model.n_populations] if model.rank else 800.0
    state = fixed_points(model, starts=8)[-1].state
    S = closed_loop_psd(model, f_hz, n, state)
    assert S.value.shape == (6, *state.r.shape)
    np.testing.assert_allclose(S.value, formula(model, f_hz, n), rtol=1e-8)


def test_uncoupled_neurons(x64):
    """C = 0: the shot noise itself, in Hz and 1/ms, of both signs of f in one; at high f, 2 r / n per 1/ms."""
    S = closed_loop_psd(jnm.Pyramidal(C=0.0, eta=1.0, delta=0.3), [20.0, 1e6], 100)
    wanted = 2 / 1000 / 15.0 * jnm.shot_noise_psd(0.3, 1.0, 0.3, 100)
    assert float(S.value[0]) == pytest.approx(float(wanted), rel=1e-9)
    rate = float(jnm.models.psi(1.0, 0.3)) / 15.0
    assert float(S.value[1]) == pytest.approx(2 * rate / 100 / 1000, rel=1e-6)


def test_pyramidal_peak(x64):
    """Row 36: the peak at 1.63968 cycles per tau_m, N S = 25.03382, two-sided; no peak is left at the rate R."""
    f_hz = np.arange(1.6380, 1.6414, 5e-6) * 1000 / 15.0
    S = np.asarray(closed_loop_psd(jnm.Pyramidal(), f_hz, 1).value)
    assert f_hz[S.argmax()] * 15.0 / 1000 == pytest.approx(1.63968, abs=1e-5)
    assert S.max() * 1000 / 2 * 15.0 == pytest.approx(25.03382, rel=1e-4)


def test_harmonics_stay_and_the_first_peak_moves(x64):
    """Spec 2: the first peak is at the eigenfrequency of the closed loop, the second at twice the rate, as uncoupled."""
    model = jnm.NMM2(10.0, 5.0, 0.2, 5.0, -5.0, order=0)
    point = fixed_points(model)[0]
    f_hz, rate = np.arange(1.0, 230.0, 0.01), 1000 * float(point.state.r)
    S = np.asarray(closed_loop_psd(model, f_hz, 100).value)
    tops = f_hz[1:-1][(S[1:-1] > S[:-2]) & (S[1:-1] >= S[2:])]
    turning = 1000 / (2 * np.pi) * abs(float(point.eigenvalues[0].imag))
    assert turning > 1.2 * rate
    np.testing.assert_allclose(tops, (turning, 2 * rate, 3 * rate, 4 * rate), rtol=3e-3)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [  # rows 37 and 38; for C = 20 the table has 0.00111849, SciPy's quad of the same formula 0.00111905
        (lambda: jnm.Pyramidal(C=0.0), 0.00635771),
        (lambda: jnm.Pyramidal(C=10.0), 0.00244057),
        (lambda: jnm.Pyramidal(C=20.0), 0.00111905),
        (lambda: jnm.ING(eta=2.0), 0.06020699),
        (lambda: jnm.ING(eta=4.5), 0.35583926),
    ],
)
def test_variance_of_the_synapse(x64, make, wanted):
    """N Var(tau_m s): the density of the rate through |H|^2, integrated over all frequencies."""
    model = make()
    H = (1 + (2 * np.pi * GRID / 1000 * float(model.tau_s)) ** 2) ** -2
    variance = np.trapezoid(closed_loop_psd(model, GRID, 1).value * H, GRID) * float(model.tau_m) ** 2
    assert variance == pytest.approx(wanted, rel=1e-4)


def test_two_populations(x64):
    """Row 41: a branch of PING at rest, its peak and height, two-sided per 1/ms."""
    model = jnm.PINGSecondOrder(eta=0.5)
    stable = [point.state for point in fixed_points(model, starts=16) if point.stable]
    upper = max(stable, key=lambda y: float(y.r[0]))
    np.testing.assert_allclose(upper.r, (0.0496453245, 0.0277453554), atol=1e-9)
    f_hz = np.arange(53.0, 54.0, 0.001)
    S = np.asarray(closed_loop_psd(model, f_hz, 1, upper).value[:, 0])
    assert f_hz[S.argmax()] == pytest.approx(53.524, rel=1e-3)
    assert S.max() * 1000 / 2 == pytest.approx(6.2836, rel=1e-3)


def test_regions_are_apart(x64):
    """Parameters over regions: each region is what it would be alone."""
    etas = np.array([5.0, 20.0])
    model = jnm.Pyramidal(eta=etas)
    alone = [closed_loop_psd(jnm.Pyramidal(eta=eta), [50.0, 110.0], 300).value for eta in etas]
    single = [fixed_points(jnm.Pyramidal(eta=eta))[0].state for eta in etas]
    together = closed_loop_psd(model, [50.0, 110.0], 300, jax.tree.map(lambda *x: jnp.stack(x), *single))
    np.testing.assert_allclose(together.value, np.stack(alone, axis=1), rtol=1e-9)


def log_density(eta, delta, C, n, state=None):
    model = jnm.Pyramidal(eta=eta, delta=delta, C=C)
    return jnp.sum(jnp.log(closed_loop_psd(model, [5.0, 90.0, 150.0], n, state).value))


def test_gradients_against_finite_differences(x64):
    given = np.array([10.0, 1.0, 10.0, 500.0])
    state = fixed_points(jnm.Pyramidal())[0].state
    value = jax.jit(log_density)
    got = jax.jit(jax.grad(log_density, argnums=(0, 1, 2, 3)))(*given, state)
    for i, slope in enumerate(got[:3]):
        step = 1e-4 * given[i] * np.eye(4)[i]
        wanted = (value(*(given + step), state) - value(*(given - step), state)) / (2 * step[i])
        assert float(slope) == pytest.approx(float(wanted), rel=1e-6)
    assert float(got[3]) == pytest.approx(-3 / 500, rel=1e-10)  # S falls as 1/n


def test_a_float32_session(x64):
    wanted = closed_loop_psd(jnm.Pyramidal(), [5.0, 109.0], 500).value
    slope = jax.grad(log_density)(10.0, 1.0, 10.0, 500.0)  # checked above
    with jax.enable_x64(False), pytest.warns(UserWarning, match="float32"):
        got = closed_loop_psd(jnm.Pyramidal(), [5.0, 109.0], 500).value
        assert float(jax.grad(log_density)(10.0, 1.0, 10.0, 500.0)) == pytest.approx(float(slope), rel=1e-5)
    assert got.dtype == jnp.float64
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_under_jit_with_a_state(x64):
    state = fixed_points(jnm.Pyramidal())[0].state
    traced = jax.jit(lambda eta, n: closed_loop_psd(jnm.Pyramidal(eta=eta), [109.0], n, state).value)
    wanted = closed_loop_psd(jnm.Pyramidal(eta=10.5), [109.0], 200.0).value
    np.testing.assert_allclose(traced(10.5, 200.0), wanted, rtol=1e-10)


@pytest.mark.parametrize(
    ("make", "f_hz", "n", "message"),
    [
        (lambda: jnm.JansenRit(), [10.0], 100, "wanted a jnm.NMM2"),
        (lambda: jnm.Pyramidal(), [0.0, 10.0], 100, "frequencies start at 0 Hz"),
        (lambda: jnm.Pyramidal(), [-1.0], 100, "frequencies start at -1 Hz"),
        (lambda: jnm.Pyramidal(), 10.0, 100, "wanted a list of frequencies"),
        (lambda: jnm.Pyramidal(), [10.0], 0.5, "n = 0.5 neurons"),
        (lambda: jnm.Pyramidal(), [10.0], np.nan, "n = nan neurons"),
        (lambda: jnm.Pyramidal(), [10.0], [100, 200], r"n has shape \[2\]; wanted one number, or \[\]"),
        (lambda: jnm.ING(), [10.0], 100, "0 of the 1 fixed points found are stable"),
        (lambda: jnm.MPR(), [10.0], 100, "2 of the 3 fixed points found are stable"),
    ],
)
def test_bad_input(x64, make, f_hz, n, message):
    with pytest.raises(ValueError, match=message):
        closed_loop_psd(make(), f_hz, n)


def test_an_unstable_state_is_refused(x64):
    model = jnm.ING()
    with pytest.raises(ValueError, match=r"closed_loop_psd: the fixed point is a .*noise drives the model away"):
        closed_loop_psd(model, [10.0], 100, fixed_points(model)[0].state)
