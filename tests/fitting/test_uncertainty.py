"""Uncertainty against SciPy's regression and against the scatter of repeated data; coverage of the intervals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.signal
import scipy.stats
from jax.flatten_util import ravel_pytree

import jnm
from jnm._param import param
from jnm.fitting import AbstractResidualLoss, LogSpectralLoss, TimeCourseLoss, fit, free
from jnm.fitting.uncertainty import _Linear, correlation_time, linearise, separable, uncertainty

KEYS = jax.random.split(jax.random.key(3), 4)


class Pair(eqx.Module):
    a: jax.Array = param(0.0)
    b: jax.Array = param(0.0)


def both(model):
    return free(model, lambda m: (m.a, m.b))


def straight(model, key):
    return (model.a + model.b * jnp.arange(40.0))[:, None]


def zigzag(seed=0):
    """A line with noise whose neighbours are anticorrelated, so that no effective samples are taken off."""
    e = np.random.default_rng(seed).normal(size=41)
    return 2.0 + 0.3 * np.arange(40.0) + e[1:] - 0.5 * e[:-1]


def at_the_best(y):
    line = scipy.stats.linregress(np.arange(40.0), y)
    return line, both(Pair(line.intercept, line.slope))


def test_a_straight_line_is_scipys(x64):
    y = zigzag()
    line, (theta, build) = at_the_best(y)
    known = uncertainty(TimeCourseLoss(straight, y, noise_sd=3.0).terms(), build, theta, KEYS)
    np.testing.assert_allclose(np.sqrt(np.diag(known.covariance)), [line.intercept_stderr, line.stderr], rtol=1e-9)
    assert known.freedom == 38 and not known.blind and known.remaining < 1e-6


def test_weights_and_sums_do_not_change_a_single_answer(x64):
    y = zigzag()
    _, (theta, build) = at_the_best(y)
    loss = TimeCourseLoss(straight, y, noise_sd=1.0)
    one = uncertainty(loss.terms(), build, theta, KEYS).covariance
    np.testing.assert_allclose(uncertainty((7.0 * loss).terms(), build, theta, KEYS).covariance, one, rtol=1e-9)
    # two terms count as two independent measurements
    np.testing.assert_allclose(uncertainty((loss + loss).terms(), build, theta, KEYS).covariance, one / 2, rtol=1e-9)


def test_a_fit_that_has_not_arrived_is_wider(x64):
    y = zigzag()
    line, (theta, build) = at_the_best(y)
    loss = TimeCourseLoss(straight, y, noise_sd=1.0)
    there = uncertainty(loss.terms(), build, theta, KEYS)
    offset = np.array([0.7, -0.2])
    away = uncertainty(loss.terms(), build, tuple(np.asarray(theta) + offset), KEYS)
    np.testing.assert_allclose(away.covariance, there.covariance + np.outer(offset, offset), rtol=1e-8)
    assert away.remaining == pytest.approx(max(0.7 / line.intercept_stderr, 0.2 / line.stderr))


@pytest.mark.parametrize(
    ("simulate", "blind"),
    [
        (lambda m, key: (m.a * m.b) * jnp.ones((40, 1)), [[0, 1]]),
        (lambda m, key: m.b * jnp.arange(40.0)[:, None], [[0]]),
        (lambda m, key: jnp.zeros((40, 1)), [[0], [1]]),
    ],
)
def test_what_cannot_be_told_is_named(simulate, blind):
    theta, build = both(Pair(2.0, 3.0))
    known = uncertainty(TimeCourseLoss(simulate, zigzag(), noise_sd=1.0).terms(), build, theta, KEYS)
    assert known.blind == blind


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_correlation_time_of_an_autoregression(phi):
    e = np.random.default_rng(1).normal(size=(20_000, 4))
    x = scipy.signal.lfilter([1.0], [1.0, -phi], e, axis=0)
    assert correlation_time(x) == pytest.approx(
        (1 + phi) / (1 - phi), rel=0.12
    )  # a little high: the noisy end counts as far as it is positive


def test_separable_is_the_scatter_of_the_gradient():
    """Noise with known correlations over samples and channels: estimated from one draw each, right on average."""
    rng = np.random.default_rng(2)
    along = np.array([1.0, 0.4, 0.1])
    T = scipy.linalg.toeplitz(np.r_[along, np.zeros(37)])
    R = np.array([[2.0, 1.5, 0.0], [1.5, 2.0, 0.3], [0.0, 0.3, 0.5]])
    J = rng.normal(size=(40, 3, 2)) + np.linspace(0, 3, 40)[:, None, None]
    exact = np.einsum("scp,st,cd,tdq->pq", J, T, R, J)
    noise = np.einsum("st,rtc,dc->rsd", np.linalg.cholesky(T), rng.normal(size=(2000, 40, 3)), np.linalg.cholesky(R))
    estimates, freedom = zip(*(separable(J, r, along) for r in noise), strict=True)
    np.testing.assert_allclose(np.mean(estimates, axis=0) / exact, 1.0, atol=0.1)  # 2 of 60 effective data are fitted
    np.testing.assert_allclose(np.einsum("ncp,rnc->rp", J, noise).var(axis=0) / np.diag(exact), 1.0, atol=0.1)
    assert np.mean(freedom) == pytest.approx(40 / 2 * np.trace(R) ** 2 / np.sum(R**2) - 2, rel=0.1)


class Jittery(AbstractResidualLoss):
    """Residuals whose Jacobian differs from key to key as much as it holds."""

    def residuals(self, model, key):
        J = jnp.linspace(1, 2, 50)[:, None] + 2.0 * jax.random.normal(key, (50, 1))
        return J * model.a + 0 * model.b

    def gradient_covariance(self, jacobian, residuals):
        return np.zeros((2, 2)), 1.0


def test_noise_in_the_jacobian_does_not_narrow_intervals(x64):
    theta, build = both(Pair())
    exact = np.sum(np.linspace(1, 2, 50) ** 2)
    linear = [_Linear.over_keys(Jittery(), build, theta, jax.random.split(jax.random.key(i), 8)) for i in range(200)]
    H, naive = (
        np.mean([x[0, 0] for x in y])
        for y in zip(*((one.H, one.J[:, 0].T @ one.J[:, 0]) for one in linear), strict=True)
    )
    assert H == pytest.approx(exact, rel=0.03) and naive > 1.15 * exact


@pytest.mark.slow
def test_columns_through_a_network_are_the_gradient(x64):
    """Forward mode through simulate(), noise and delays included, against reverse mode: 2 J^T r / n = the gradient."""
    weights = jnp.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.2], [0.3, 0.4, 0.0]])
    brain = jnm.Connectome(weights, lengths=40.0 * jnp.ones((3, 3)) - 40.0 * jnp.eye(3))
    net = jnm.Network(jnm.PING(IE=2.0, sigma=0.05), brain, jnm.Linear(gain=3.0), speed=5.0)

    def simulate(model, key):
        return jnm.simulate(model, 60.0, 0.1, key=key, save_every=1.0, save=lambda t, y: y.v[0]).ys

    theta, build = free(net, lambda m: (m.coupling.gain, m.node.eta, m.speed))
    loss = TimeCourseLoss(simulate, jnp.zeros((60, 3)), noise_sd=0.5)
    r, J = linearise(loss, build, theta, KEYS[0])
    gradient, _ = ravel_pytree(jax.grad(lambda x: loss(build(x), KEYS[0]))(theta))
    np.testing.assert_allclose(2 * jnp.einsum("ncp,nc->p", J, r) / r.size, gradient, rtol=1e-8)
    assert np.all(np.abs(gradient) > 1e-8)


def coverage(estimates, truth):
    """Shares of intervals, and of intervals of half the width, that hold the truth; on the log scale of theta."""
    estimate, low, high = np.log(np.moveaxis(np.array(estimates), -1, 0))
    missed, half = np.abs(estimate - np.log(truth)), (high - low) / 2
    return np.mean(missed <= half, axis=0), np.mean(missed <= half / 2, axis=0)


def rows(done):
    return [(row.estimate, *row.interval) for row in done.report().rows]


def test_coverage_of_time_courses(ou):
    """90 % intervals over 100 data sets with noise correlated over 5.7 samples; of half the width, they fail."""
    rng = np.random.default_rng(1)
    theta, build = free(ou.Model(tau=15.0, amplitude=0.7), lambda m: (m.tau, m.amplitude))
    optimiser = optax.adam(optax.cosine_decay_schedule(0.2, 100))
    clean, estimates = np.asarray(ou.decay(ou.Model(), None)), []
    for _ in range(100):
        noise = scipy.signal.lfilter([1.0], [1.0, -0.7], rng.normal(size=(300, 3)), axis=0)[200:]
        loss = TimeCourseLoss(ou.decay, clean + 0.036 * noise, noise_sd=0.05)
        estimates.append(rows(fit(loss, theta, build, optimiser, 100, jax.random.key(0), progress=False)))
    covered, half = coverage(estimates, [10.0, 1.0])
    assert np.all(covered >= 0.8) and np.all(covered <= 0.98), covered
    assert np.all(half < 0.8), half


@pytest.mark.slow
def test_coverage_of_spectra(ou):
    """90 % intervals over 200 data sets, each fitted with its own noise; of half the width, they fail."""
    simulate = jax.jit(ou.simulation(8_192))
    theta, build = free(ou.Model(tau=13.0, amplitude=0.85), lambda m: (m.tau, m.amplitude))
    optimiser, estimates = optax.adam(optax.cosine_decay_schedule(0.2, 100)), []
    for i in range(200):
        loss = LogSpectralLoss(
            simulate, simulate(ou.Model(), jax.random.key(1000 + i)), 1.0, segment=512.0, band=(2.0, 60.0)
        )
        done = fit(loss, theta, build, optimiser, 100, jax.random.key(i), keys_per_step=2, clip=None, progress=False)
        estimates.append(rows(done))
    covered, half = coverage(estimates, [10.0, 1.0])
    assert np.all(covered >= 0.8) and np.all(covered <= 0.97), covered
    assert np.all(half < 0.8), half
