"""The closed form of shot noise against the sum over harmonics that it sums, the spec's oracle rows, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import jnm
from jnm import shot_noise_psd
from jnm.models import psi

POPULATIONS = [(1.0, 0.3), (4.0, 0.2), (0.0, 1.0), (-5.0, 1.0), (-100.0, 0.1)]

density = jax.jit(shot_noise_psd)
slopes_of = jax.jit(jax.grad(shot_noise_psd, argnums=(0, 1, 2, 3)))


def harmonics(f, x, delta, terms=20_000):
    """N S(f) by its sum over k, the tail beyond the last term by the midpoint rule in 1/k."""
    k = np.arange(1.0, terms + 1)
    first = np.sum(1 / ((np.pi**2 * f**2 - x * k**2) ** 2 + delta**2 * k**4))
    tail = 1 / (3 * (terms + 0.5) ** 3 * (x**2 + delta**2))  # of sum 1 / ((x^2 + delta^2) k^4)
    return 2 * np.pi * delta * f**3 * (first + tail)


@pytest.mark.parametrize(
    ("f", "wanted", "near"),
    [  # rows 30, 31, 33
        (0.3, 0.502247498106, dict(abs=1e-12)),
        (1.0, 0.353518926375, dict(abs=1e-12)),
        (5.0, 0.319859769844, dict(abs=1e-12)),
        (0.01, 1.874870173e-6, dict(rel=1e-9)),
    ],
)
def test_oracle_rows(x64, f, wanted, near):
    assert float(shot_noise_psd(f, 1.0, 0.3, 1)) == pytest.approx(wanted, **near)
    assert float(shot_noise_psd(f, 1.0, 0.3, 250)) == pytest.approx(wanted / 250, rel=1e-9)


def test_peak(x64):
    """Row 34."""
    top = minimize_scalar(lambda f: -float(density(f, 1.0, 0.3, 1)), (0.3, 0.33, 0.35), tol=1e-12)
    assert top.x == pytest.approx(0.32887312, abs=1e-7)
    assert -top.fun == pytest.approx(0.71724791, abs=1e-8)


@pytest.mark.parametrize(("x", "delta"), POPULATIONS)
def test_sum_over_harmonics(x64, x, delta):
    f = np.geomspace(1e-3, 8.0, 60)
    wanted = np.array([harmonics(each, x, delta) for each in f])
    got = density(f, x, delta, 1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got, wanted, rtol=5e-9)  # the closed form cancels most just above the series


@pytest.mark.parametrize(("x", "delta"), POPULATIONS)
def test_limits(x64, x, delta):
    """R / N at high f, where spikes are as good as independent; pi^5 delta f^3 / (45 N (x^2 + delta^2)) at low f."""
    high = density(1e7, x, delta, 40)
    assert float(high) == pytest.approx(float(psi(x, delta)) / 40, abs=1e-8 * delta)
    low = np.pi**5 * delta * 1e-18 / (45 * 40 * (x**2 + delta**2))
    assert float(density(1e-6, x, delta, 40)) == pytest.approx(low, rel=1e-9)


def test_peaks_at_multiples_of_the_rate(x64):
    """Narrow lines at k sqrt(x) / pi, and poles at k (R - i V / pi): the k-th is k times as wide as the first."""
    f = np.linspace(0.02, 1.6, 20_001)
    S = np.asarray(shot_noise_psd(f, 1.0, 0.02, 1))
    tops = f[1:-1][(S[1:-1] > S[:-2]) & (S[1:-1] >= S[2:])]
    np.testing.assert_allclose(tops[:4], np.arange(1, 5) / np.pi, rtol=2e-3)
    widths = [np.ptp(f[(abs(f - top) < 0.15) & (np.interp(top, f, S) / 2 < S)]) for top in tops[:2]]
    assert widths[1] / widths[0] == pytest.approx(2.0, rel=0.05)
    assert float(shot_noise_psd(0.2, 1.0, 0.0, 1)) == pytest.approx(0.0, abs=1e-14)  # nothing between the lines


def test_both_forms_meet(x64):
    """On both sides of |z| = 0.15 for float64: there is no step, nor in the slope."""
    edge = 0.15 * 1.09**0.25 / np.pi**2
    below, above = (edge * (1 + s) for s in (-1e-13, 1e-13))
    assert float(density(below, 1.0, 0.3, 1)) == pytest.approx(float(density(above, 1.0, 0.3, 1)), rel=1e-9)
    np.testing.assert_allclose(slopes_of(below, 1.0, 0.3, 1.0), slopes_of(above, 1.0, 0.3, 1.0), rtol=1e-9)


@pytest.mark.parametrize(("x", "delta"), POPULATIONS)
def test_single_precision(x, delta):
    """Against double precision; the closed form has lost most, 2e-4 of itself, just above |z| = 0.5."""
    f = np.geomspace(1e-5, 5.0, 400).astype(np.float32)
    got = density(f, np.float32(x), np.float32(delta), 1)
    assert got.dtype == jnp.float32
    with jax.enable_x64(True):
        wanted = np.asarray(density(f.astype(float), float(np.float32(x)), float(np.float32(delta)), 1))
    np.testing.assert_allclose(got, wanted, rtol=5e-4)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * wanted.max(), rtol=1e-5)


def test_gradients_of_row_40(x64):
    slopes = jax.grad(shot_noise_psd, argnums=(1, 2))(0.3, 1.0, 0.3, 100.0)
    np.testing.assert_allclose(slopes, (-1.09519592e-2, -1.23782523e-2), atol=1e-8)


@pytest.mark.parametrize("f", [0.02, 0.3, 2.0])
@pytest.mark.parametrize(("x", "delta"), POPULATIONS)
def test_gradients_against_finite_differences(x64, f, x, delta):
    given = np.array([f, x, delta, 100.0])
    got = slopes_of(*given)
    for i, slope in enumerate(got):
        size = 1e-3 * max(abs(given[i]), 0.1)
        near = [float(density(*(given + m * size * np.eye(4)[i]))) for m in (-2, -1, 1, 2)]
        wanted = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * size)
        assert float(slope) == pytest.approx(wanted, rel=1e-5, abs=1e-9 * near[1] / size)


@pytest.mark.parametrize("f", [1e-30, 1e-12, 1e-3, 1.0, 1e4, 1e12])
def test_no_gradient_is_lost(f):
    """In float32, over 42 orders of magnitude: the branch not taken must not spoil the other."""
    for x, delta in POPULATIONS:
        slopes = slopes_of(f, x, delta, 10.0)
        assert np.all(np.isfinite(slopes))


def test_shapes_and_transformations(x64):
    f, x = jnp.linspace(0.1, 1.0, 5), jnp.array([[1.0], [2.0], [-1.0]])
    together = shot_noise_psd(f, x, 0.3, jnp.full((3, 1), 10))
    assert together.shape == (3, 5)
    apart = jax.jit(jax.vmap(shot_noise_psd, in_axes=(None, 0, None, None)))(f, x[:, 0], 0.3, 10)
    np.testing.assert_allclose(together, apart, rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0.0, 1.0, 0.3, 10), "f_tau goes down to 0"),
        (([0.2, -0.1], 1.0, 0.3, 10), "f_tau goes down to -0.1"),
        ((np.nan, 1.0, 0.3, 10), "f_tau is not finite"),
        ((0.3, np.inf, 0.3, 10), "drive is not finite"),
        ((0.3, 1.0, 0.3, 0.5), "n = 0.5 neurons"),
        ((0.3, 1.0, -0.1, 10), "delta = -0.1"),
        ((0.3, -1.0, 0.0, 10), "delta = 0 with drive <= 0"),
        ((0.3, 0.0, 0.0, 10), "delta = 0 with drive <= 0"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        jnm.shot_noise_psd(*given)
