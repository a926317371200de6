"""Spectra against SciPy, their scatter against theory and simulation, their gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jnm.observe import averages, csd, log_bias, log_variance, psd


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) + 0.3


@pytest.mark.parametrize(
    ("segment", "overlap", "window", "detrend"),
    [(128, 0.5, "hann", True), (97, 0.5, "hann", True), (128, 0.75, "hamming", True), (100, 0.0, "boxcar", False)],
)
def test_psd_is_scipys(x64, segment, overlap, window, detrend):
    x, dt = noise(1000, 2, 3), 0.7
    f_hz, S = psd(x, dt, segment * dt, overlap=overlap, window=window, detrend=detrend)
    f, wanted = scipy.signal.welch(
        x, 1000 / dt, window, segment, int(overlap * segment), detrend="constant" if detrend else False, axis=0
    )
    np.testing.assert_allclose(f_hz, f, rtol=1e-14)
    np.testing.assert_allclose(S, wanted, rtol=1e-12, atol=1e-12 * wanted.max())


def test_csd_is_scipys(x64):
    x = noise(1000, 3)
    f_hz, S = csd(x, 2.0, 256.0)
    for i in range(3):
        for j in range(3):
            f, wanted = scipy.signal.csd(x[:, j], x[:, i], 500.0, nperseg=128)
            np.testing.assert_allclose(S[:, i, j], wanted, rtol=1e-11, atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_allclose(f_hz, f)
    np.testing.assert_allclose(jnp.einsum("fii->fi", S).real, psd(x, 2.0, 256.0)[1], rtol=1e-12)


def test_csd_phase_tells_who_leads(x64):
    t = np.arange(2000) * 1e-3
    x = np.stack([np.cos(2 * np.pi * 20 * t), np.cos(2 * np.pi * 20 * (t - 0.005))], axis=1)
    f_hz, S = csd(x, 1.0, 500.0)
    assert np.angle(S[np.argmin(abs(f_hz - 20)), 0, 1]) == pytest.approx(2 * np.pi * 20 * 0.005, abs=1e-3)


def test_power_of_a_sine():
    t = np.arange(4000)
    f_hz, S = psd(3.0 * np.sin(2 * np.pi * 0.04 * t), dt=1.0, segment=1000.0)
    assert float(S.sum() * (f_hz[1] - f_hz[0])) == pytest.approx(3.0**2 / 2, rel=1e-5)
    assert f_hz[np.argmax(S)] == 40.0
    assert S.dtype == jnp.float32


def test_default_is_eight_half_overlapping_segments(x64):
    x = noise(4500)
    np.testing.assert_allclose(psd(x, 1.0)[1], scipy.signal.welch(x, 1000.0, nperseg=1000)[1], rtol=1e-11)


def test_gradient(x64):
    x, direction = noise(300, 2, seed=1), noise(300, 2, seed=2)

    def total(h):
        return jnp.sum(jnp.log(psd(x + h * direction, 1.0, 100.0)[1]))

    h = 1e-5
    assert jax.grad(total)(0.0) == pytest.approx(float(total(h) - total(-h)) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_scatter_and_bias_are_those_of_the_averages_counted(x64, overlap):
    """White noise of known density: mean and variance of log S over frequencies and repeats against psi and psi'."""
    x = np.random.default_rng(3).normal(size=(1600, 2000))
    _, S = psd(x, 1.0, 200.0, overlap=overlap)
    M = averages(1600, 1.0, 200.0, overlap=overlap)
    logs = np.log(np.asarray(S[3:-3]) / 2e-3)  # variance 1 up to 500 Hz, one-sided
    independent = logs[::3]  # a Hann taper correlates neighbours
    error = independent.std() / np.sqrt(independent.size)
    assert logs.mean() == pytest.approx(log_bias(M), abs=4 * error + 0.02 / M)  # the sum is not quite chi^2
    assert logs.var() == pytest.approx(log_variance(M), rel=0.03)
    assert abs(log_bias(M)) > 10 * error  # else this test could not fail


def test_log_bias_of_the_specification():
    """meg.md section 5: b_M at 1, 5, 10 averages."""
    np.testing.assert_allclose([log_bias(1), log_bias(5), log_bias(10)], [-0.577, -0.103, -0.051], atol=6e-4)
    assert log_variance(1) == pytest.approx(np.pi**2 / 6)


def test_averages():
    assert averages(1000, 1.0, 100.0, overlap=0.0, window="boxcar") == 10
    # Welch 1967: half-overlapping Hann tapers have rho = 1/6, so 119 of them are worth 119 / (1 + 2/36 118/119)
    assert averages(60_000, 1.0, 1000.0) == pytest.approx(119 / (1 + 118 / 119 / 18), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segment": 2000.0}, "record longer"),
        ({"dt": 0.0}, "dt = 0"),
        ({"overlap": 1.0}, "overlap = 1"),
        ({"window": "kaiser"}, "known are boxcar, hann, hamming"),
        ({"x": jnp.float32(3.0)}, "time first"),
        ({"x": jnp.ones(500) * 1j}, "real"),
    ],
)
def test_impossible_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        psd(**({"x": np.ones(1000), "dt": 1.0, "segment": 100.0} | change))


def test_csd_wants_channels():
    with pytest.raises(ValueError, match=r"\[time, ..., channel\]"):
        csd(np.ones(100), 1.0)
