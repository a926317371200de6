"""Losses against SciPy, theory and hand arithmetic; sums, gradients, and measurements that do not fit."""

import jax
import numpy as np
import pytest
import scipy.signal
from scipy.special import digamma, polygamma

from jnm.fitting import LogSpectralLoss, TimeCourseLoss, free
from jnm.observe import averages, psd

KEY = jax.random.key(0)


def recording(ou, samples=20_000, seed=1):
    return np.asarray(jax.jit(ou.simulation(samples))(ou.Model(), jax.random.key(seed)))


def test_time_course_by_hand(ou):
    rng = np.random.default_rng(0)
    observed, sd = rng.normal(size=(100, 3)), np.array([0.5, 1.0, 2.0])
    error = np.asarray(ou.decay(ou.Model(), KEY)) - observed
    loss = TimeCourseLoss(ou.decay, observed, noise_sd=sd)(ou.Model(), KEY)
    assert float(loss) == pytest.approx(np.mean((error / sd) ** 2), rel=1e-5)
    W = rng.normal(size=(2, 3))
    loss = TimeCourseLoss(ou.decay, observed, whitener=W)(ou.Model(), KEY)
    assert float(loss) == pytest.approx(np.mean((error @ W.T) ** 2), rel=1e-5)


def test_log_spectral_by_scipy(x64, ou):
    """Both sides from SciPy's Welch, the bias psi(M) - log M taken off each, in units of their common scatter."""
    x, y = recording(ou), np.asarray(ou.simulation(5_000)(ou.Model(), KEY))
    loss = LogSpectralLoss(ou.simulation(5_000), x, 1.0, segment=500.0, band=(4.0, 50.0))
    f, S = scipy.signal.welch(x, 1000.0, nperseg=500, axis=0)
    _, S_model = scipy.signal.welch(y, 1000.0, nperseg=500, axis=0)
    M, M_model = averages(20_000, 1.0, 500.0), averages(5_000, 1.0, 500.0)
    keep = (f >= 4) & (f <= 50)
    error = (np.log(S_model) - digamma(M_model) + np.log(M_model) - np.log(S) + digamma(M) - np.log(M))[keep]
    wanted = np.mean(error**2) / (polygamma(1, M) + polygamma(1, M_model))
    assert float(loss(ou.Model(), KEY)) == pytest.approx(wanted, rel=1e-9)
    np.testing.assert_allclose(loss.f_hz, f[keep])


def test_loss_of_the_truth_is_one_and_unbiased(ou):
    """Few averages on one side, many on the other: without the bias of the logarithm the mean residual would be off."""
    loss = LogSpectralLoss(ou.simulation(1_000), recording(ou, 60_000), 1.0, segment=250.0, band=(4.0, 200.0))
    keys = jax.random.split(KEY, 400)
    r = np.asarray(jax.jit(jax.vmap(lambda key: loss.residuals(ou.Model(), key)))(keys))
    error = r.mean(axis=(1, 2)).std() / np.sqrt(len(r))
    observed = 1 / np.sqrt(len(loss.bins) / 2 * 240)  # of the one recording, 49 half-independent frequencies
    M = averages(1_000, 1.0, 250.0)
    offset = (digamma(M) - np.log(M)) / np.sqrt(polygamma(1, M))
    assert abs(r.mean()) < 4 * (error + observed) < abs(offset) / 2
    assert np.mean(r**2) == pytest.approx(1.0, abs=0.05)


def test_scale_free(ou):
    x = recording(ou)
    fixed = LogSpectralLoss(ou.simulation(4_000), x, 1.0, segment=500.0, scale_free=True)
    scaled = LogSpectralLoss(ou.simulation(4_000), x * np.array([1.0, 30.0, 0.01]), 1.0, segment=500.0, scale_free=True)
    assert float(scaled(ou.Model(), KEY)) == pytest.approx(float(fixed(ou.Model(), KEY)), rel=1e-3)
    np.testing.assert_allclose(fixed.residuals(ou.Model(), KEY).mean(axis=0), 0.0, atol=1e-4)
    assert float(LogSpectralLoss(ou.simulation(4_000), 30 * x, 1.0, segment=500.0)(ou.Model(), KEY)) > 100


def test_spectra_instead_of_a_recording(ou):
    x = recording(ou)
    f_hz, S = psd(x, 1.0, 500.0)
    given = LogSpectralLoss(ou.simulation(4_000), (f_hz, S, averages(len(x), 1.0, 500.0)), 1.0, band=(3.0, 60.0))
    measured = LogSpectralLoss(ou.simulation(4_000), x, 1.0, segment=500.0, band=(3.0, 60.0))
    assert given.bins == measured.bins
    assert float(given(ou.Model(), KEY)) == pytest.approx(float(measured(ou.Model(), KEY)), rel=1e-4)
    # a part of the frequencies, as from a file that was cut to a band
    part = LogSpectralLoss(ou.simulation(4_000), (f_hz[2:31], S[2:31], averages(len(x), 1.0, 500.0)), 1.0)
    assert part.bins == measured.bins


def test_sums(ou):
    x = recording(ou)
    spectral = LogSpectralLoss(ou.simulation(4_000), x, 1.0, segment=500.0)
    evoked = TimeCourseLoss(ou.decay, np.zeros((100, 3)), noise_sd=1.0)

    def ridge(model, key):
        return model.tau**2

    total = 2.0 * (spectral + 0.5 * evoked) + ridge
    m = ou.Model()
    wanted = 2 * spectral(m, KEY) + evoked(m, KEY) + ridge(m, KEY)
    assert float(total(m, KEY)) == pytest.approx(float(wanted), rel=1e-6)
    assert [w for w, _ in total.terms()] == [2.0, 1.0, 1.0]
    assert float(sum([evoked, evoked])(m, KEY)) == pytest.approx(2 * float(evoked(m, KEY)), rel=1e-6)
    assert float((ridge + evoked)(m, KEY)) == pytest.approx(float(ridge(m, KEY) + evoked(m, KEY)), rel=1e-6)


@pytest.mark.parametrize("kind", ["spectral", "evoked"])
def test_gradient(x64, ou, kind):
    theta, build = free(ou.Model(), lambda m: (m.tau, m.amplitude))
    if kind == "spectral":
        loss = LogSpectralLoss(ou.simulation(1_000), recording(ou, 2_000), 1.0, segment=200.0)
    else:
        loss = TimeCourseLoss(ou.decay, np.ones((100, 3)), noise_sd=0.5)
    both, h = jax.jit(jax.value_and_grad(lambda x: loss(build(x), KEY))), 1e-5
    gradient = both(theta)[1]
    for i in range(2):
        high, low = (tuple(x + s * h * (i == j) for j, x in enumerate(theta)) for s in (1, -1))
        assert float(gradient[i]) == pytest.approx(float(both(high)[0] - both(low)[0]) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_sd": 0.0}, "positive"),
        ({"noise_sd": np.ones(2)}, "one for each of 3 channels"),
        ({}, "either noise_sd"),
        ({"noise_sd": 1.0, "whitener": np.eye(3)}, "either noise_sd"),
        ({"whitener": np.eye(2)}, r"wanted finite \[rank, 3\]"),
        ({"observed": np.full((100, 3), np.nan), "noise_sd": 1.0}, "300 values that are not finite"),
        ({"observed": np.zeros((2, 100, 3)), "noise_sd": 1.0}, r"wanted finite \[time, channel\]"),
    ],
)
def test_time_courses_that_do_not_fit(ou, arguments, message):
    with pytest.raises(ValueError, match=message):
        TimeCourseLoss(ou.decay, **({"observed": np.zeros((100, 3))} | arguments))


@pytest.mark.parametrize(
    ("observed", "arguments", "message"),
    [
        (np.ones((100, 3)), {"segment": 500.0}, "record longer"),
        (None, {"segment": 100.0, "band": (1.0, 5.0)}, "no frequency in band 1.0 to 5.0 Hz; .* 10 Hz apart"),
        (
            None,
            {"segment": 100.0, "band": (4.0, 600.0)},
            "ends at 600 Hz, but samples 1 ms apart hold nothing above 500",
        ),
        (np.zeros((1000, 3)), {"segment": 100.0}, r"channel \[0, 1, 2\] has no power"),
        ((np.arange(5.0), np.ones((5, 3))), {}, "a tuple of 2"),
        ((np.arange(5.0) ** 2, np.ones((5, 3)), 10), {}, "evenly spaced"),
        ((np.arange(5.0), np.ones((5, 3)), 10), {"segment": 500.0}, "1 Hz apart: 1000 ms"),
    ],
)
def test_recordings_that_do_not_fit(ou, observed, arguments, message):
    observed = recording(ou, 2_000) if observed is None else observed
    with pytest.raises(ValueError, match=message):
        LogSpectralLoss(ou.simulation(1_000), observed, 1.0, **arguments)


def test_simulations_that_do_not_fit(ou):
    with pytest.raises(ValueError, match=r"shape \[100, 3\]; the measurement wants \[50, 3\]"):
        TimeCourseLoss(ou.decay, np.zeros((50, 3)), noise_sd=1.0)(ou.Model(), KEY)
    loss = LogSpectralLoss(ou.simulation(1_000), recording(ou, 2_000)[:, :2], 1.0, segment=100.0)
    with pytest.raises(ValueError, match=r"wants \[time, 2\]"):
        loss(ou.Model(), KEY)
    with pytest.raises(ValueError, match="weights are positive"):
        -1.0 * loss
    with pytest.raises(ValueError, match="a loss is a function"):
        loss + 3
