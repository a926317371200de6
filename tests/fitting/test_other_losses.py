"""Wasserstein, envelope and evoked losses: against SciPy and `jnm.observe`, their gradients, and that they add."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jnm
from jnm.fitting import EnvelopeLoss, EvokedLoss, SpectralWassersteinLoss, aec, free

KEY = jax.random.key(0)
F = np.arange(1.0, 60.0)


def bump(model, f_hz):
    """A peak at 1000 / tau Hz."""
    return model.amplitude * jnp.exp(-(((f_hz - 1000 / model.tau) / 2.0) ** 2)) + 1e-6


def bump_loss(f0):
    return SpectralWassersteinLoss(
        None, (F, np.exp(-(((F - f0) / 2.0) ** 2)) + 1e-6, 20.0), spectrum=bump, band=(1, 59)
    )


def slopes(loss, theta, build, h=1e-6):
    both = jax.jit(jax.value_and_grad(lambda x: loss(build(x), KEY)))
    gradient = both(theta)[1]
    for i in range(len(theta)):
        high, low = (tuple(x + s * h * (i == j) for j, x in enumerate(theta)) for s in (1, -1))
        yield float(gradient[i]), float((both(high)[0] - both(low)[0]) / (2 * h))


def test_wasserstein_is_scipys_and_has_a_slope_everywhere(x64, ou):
    loss, model = bump_loss(10.0), ou.Model(tau=1000 / 40.0, amplitude=3.0)
    S = np.exp(-(((F - 10.0) / 2.0) ** 2)) + 1e-6
    wanted = scipy.stats.wasserstein_distance(F, F, np.asarray(bump(model, F)), S)
    assert float(loss(model)) == pytest.approx(wanted, rel=1e-9) and wanted == pytest.approx(30.0, abs=0.1)
    theta, build = free(model, lambda m: (m.tau, m.amplitude))
    (by_tau, expected), (by_scale, _) = slopes(loss, theta, build)
    assert by_tau == pytest.approx(expected, rel=1e-6) and by_tau == pytest.approx(-40.0, rel=0.01)  # d f / d log tau
    assert abs(by_scale) < 1e-2  # the scale is left open
    assert float(bump_loss(40.0)(model)) < 1e-3


def test_wasserstein_of_a_simulation(ou):
    x = np.asarray(ou.simulation(4000)(ou.Model(), KEY))
    loss = SpectralWassersteinLoss(ou.simulation(4000), x, 1.0, segment=500.0, band=(2.0, 60.0))
    near, far = (float(loss(ou.Model(tau=tau), jax.random.key(1))) for tau in (10.0, 2.0))
    assert 0 < near < far / 2
    both = 2.0 * loss + 0.5 * loss
    assert float(both(ou.Model(), KEY)) == pytest.approx(2.5 * float(loss(ou.Model(), KEY)), abs=1e-6)
    with pytest.raises(ValueError, match="one of them"):
        SpectralWassersteinLoss(None, x)
    with pytest.raises(ValueError, match="wants a key"):
        loss(ou.Model())


class Waves:
    """Three narrow-band noises that share a slow envelope to a degree `amplitude`."""

    def __init__(self, seconds=40):
        rng = np.random.default_rng(5)
        n = seconds * 250
        self.t = np.arange(n) * 0.004
        slow = np.fft.irfft(
            np.fft.rfft(rng.normal(size=(n, 4)), axis=0) * (np.fft.rfftfreq(n, 0.004) < 0.8)[:, None], n, 0
        )
        self.slow = jnp.asarray(slow / slow.std(axis=0))
        self.phase = jnp.asarray(np.cumsum(rng.normal(size=(n, 3)) * 0.05, axis=0) + 2 * np.pi * 10 * self.t[:, None])

    def __call__(self, model, key):
        size = jnp.exp(0.5 * (model.amplitude * self.slow[:, 3:] + 0.3 * self.slow[:, :3]))
        return size * jnp.cos(self.phase)


def test_envelopes(x64, ou):
    """The plain AEC is that of `jnm.observe`; the gradient that of finite differences; waxing together is found."""
    waves = Waves()
    x = waves(ou.Model(amplitude=0.6), KEY)
    for orthogonalise in (False, True):
        ours = aec(x, 4.0, (7.0, 13.0), orthogonalise=orthogonalise)
        theirs = jnm.observe.envelope_correlation(x, 4.0, (7.0, 13.0), orthogonalise=orthogonalise)
        off = ~np.eye(3, dtype=bool)
        np.testing.assert_allclose(np.asarray(ours)[off], np.asarray(theirs)[off], atol=2e-3)
    loss = EnvelopeLoss(waves, x, 4.0, (7.0, 13.0), lowpass=1.0)
    assert float(loss(ou.Model(amplitude=0.6), KEY)) == pytest.approx(0.0, abs=1e-12)
    theta, build = free(ou.Model(amplitude=0.3), lambda m: (m.amplitude,))
    ((ours, expected),) = slopes(loss, theta, build, h=1e-5)
    assert ours == pytest.approx(expected, rel=1e-6) and ours < 0
    pattern = EnvelopeLoss(waves, loss.observed, 4.0, (7.0, 13.0), lowpass=1.0, measure="pattern")
    assert float(pattern(ou.Model(amplitude=0.6), KEY)) == pytest.approx(0.0, abs=1e-9)
    assert 0 < float(pattern(ou.Model(amplitude=0.1), KEY)) < 2
    with pytest.raises(ValueError, match="2 regions"):
        EnvelopeLoss(waves, np.ones((10, 2)), 4.0, (7.0, 13.0), measure="pattern")


def response(model, key):
    """Two channels, peaking one after the other about `tau` ms."""
    t = jnp.arange(100) * 2.0
    return model.amplitude * jnp.stack([jnp.exp(-(((t - model.tau - d) / 15.0) ** 2)) for d in (0.0, 20.0)], axis=1)


@pytest.mark.slow
def test_latency_is_tolerated(x64, ou):
    truth = ou.Model(tau=100.0, amplitude=2.0)
    observed = response(truth, KEY)
    loss = EvokedLoss(response, observed, dt=2.0, latency_sd=10.0, noise_sd=0.05)
    strict = jnm.TimeCourseLoss(response, observed, noise_sd=0.05)
    late = ou.Model(tau=107.0, amplitude=2.0)
    assert float(loss.latency(late, KEY)) == pytest.approx(-7.0, abs=0.05)
    assert float(loss(late, KEY)) < 0.01 < 50 < float(strict(late, KEY)) * 10
    assert float(loss(truth, KEY)) == pytest.approx(0.0, abs=1e-12)
    theta, build = free(ou.Model(tau=110.0, amplitude=1.5), lambda m: (m.tau, m.amplitude))
    for ours, expected in slopes(loss, theta, build, h=1e-4):
        assert ours == pytest.approx(expected, rel=1e-3)
    with pytest.raises(ValueError, match="latency_sd = 0"):
        EvokedLoss(response, observed, dt=2.0, latency_sd=0.0, noise_sd=1.0)
