"""Analytic signals against SciPy's Hilbert transform, envelopes against closed forms, gradients against differences."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jnm.observe import analytic_signal, bandpass, coefficient_of_variation, envelope, envelope_spectrum, phase


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) + 0.3


def modulated(depth=0.5, slow=4.0, fast=50.0, seconds=4.0):
    t = np.arange(round(1000 * seconds)) * 1e-3
    return (1 + depth * np.cos(2 * np.pi * slow * t)) * np.cos(2 * np.pi * fast * t + 0.4)


@pytest.mark.parametrize("samples", [500, 501])
def test_analytic_signal_is_scipys(x64, samples):
    x = noise(samples, 2, 3)
    np.testing.assert_allclose(analytic_signal(x, 0.7), scipy.signal.hilbert(x, axis=0), rtol=0, atol=1e-12)


def test_envelope_and_phase_are_its_size_and_angle(x64):
    x = noise(500, 2)
    z = scipy.signal.hilbert(x, axis=0)
    np.testing.assert_allclose(envelope(x, 1.0), np.abs(z), atol=1e-12)
    np.testing.assert_allclose(phase(x, 1.0), np.angle(z), atol=1e-10)


def test_a_band_keeps_its_edges_and_nothing_else(x64):
    """Sines on frequencies of the record: 5, 10 and 20 Hz stay in the band (5, 20) Hz, 4.5 and 20.5 Hz go."""
    t = np.arange(2000) * 1e-3
    kept = sum(np.sin(2 * np.pi * f * t + f) for f in (5, 10, 20))
    gone = sum(np.sin(2 * np.pi * f * t) for f in (0.5, 4.5, 20.5, 300)) + 7.0
    np.testing.assert_allclose(bandpass(kept + gone, 1.0, (5, 20)), kept, atol=1e-12)


def test_a_band_has_no_shift_in_phase(x64):
    """Filtered and filtered in reversed time are the same, as for no causal filter."""
    x = noise(601, 2)
    np.testing.assert_allclose(bandpass(x[::-1], 2.0, (10, 40))[::-1], bandpass(x, 2.0, (10, 40)), atol=1e-13)


def test_bands_add_up(x64):
    """Two bands that meet between two frequencies of the record, and 0 to Nyquist, are the whole."""
    x = noise(400)
    parts = bandpass(x, 1.0, (0, 101)) + bandpass(x, 1.0, (101, 500))
    np.testing.assert_allclose(parts, x, atol=1e-13)


def test_envelope_of_a_modulated_rhythm():
    """Bedrosian's theorem: the envelope is the modulation; its spectrum and CV follow, in single precision."""
    x = modulated(depth=0.5)
    t = np.arange(4000) * 1e-3
    A = envelope(x, 1.0, (40, 60))
    np.testing.assert_allclose(A, 1 + 0.5 * np.cos(2 * np.pi * 4 * t), atol=2e-5)
    assert A.dtype == jnp.float32
    f_hz, S = envelope_spectrum(x, 1.0, (40, 60), segment=2_000.0)
    assert f_hz[np.argmax(S)] == 4.0
    assert float(S.sum() * f_hz[1]) == pytest.approx(0.5**2 / 2, rel=1e-4)
    assert coefficient_of_variation(A) == pytest.approx(0.5 / np.sqrt(2), rel=1e-5)


def test_phase_is_zero_at_peaks():
    x = np.cos(2 * np.pi * 10 * (np.arange(1000) * 1e-3 - 0.02))
    np.testing.assert_allclose(phase(x, 1.0, (5, 15))[np.array([20, 45, 95])], [0.0, np.pi / 2, -np.pi / 2], atol=1e-4)


def test_envelope_of_gaussian_noise_scatters_as_rayleigh():
    A = envelope(noise(200_000), 1.0, (100, 400))
    assert coefficient_of_variation(A) == pytest.approx(np.sqrt(4 / np.pi - 1), rel=0.01)


@pytest.mark.parametrize(
    "measure",
    [
        lambda x: jnp.sum(bandpass(x, 1.0, (20, 90)) ** 3),
        lambda x: jnp.sum(jnp.log(envelope(x, 1.0, (20, 90)))),
        lambda x: jnp.sum(jnp.sin(phase(x, 1.0, (20, 90)))),
        lambda x: jnp.sum(jnp.log(envelope_spectrum(x, 1.0, (20, 90), 100.0)[1][:5])),
        lambda x: jnp.sum(coefficient_of_variation(envelope(x, 1.0, (20, 90)))),
    ],
    ids=["bandpass", "envelope", "phase", "envelope_spectrum", "coefficient_of_variation"],
)
def test_gradients(check_gradient, measure):
    check_gradient(measure, noise(301, 2, seed=1), rel=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"band": (20.0, 501.0)}, "500 Hz, the Nyquist"),
        ({"band": (-1.0, 10.0)}, "0 <= low"),
        ({"band": (20.0, 20.0)}, "low < high"),
        ({"band": (10.1, 10.4)}, "record longer"),
        ({"dt": 0.0}, "dt = 0"),
        ({"x": np.ones(400) * 1j}, "wanted real"),
        ({"x": np.ones((1, 3))}, "too short"),
        ({"x": 1.0}, "time first"),
    ],
)
def test_impossible_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        bandpass(**({"x": noise(400), "dt": 1.0, "band": (10.0, 20.0)} | change))


def test_coefficient_of_variation_wants_a_positive_quantity():
    with pytest.raises(ValueError, match="positive quantity"):
        coefficient_of_variation(-np.ones((10, 2)))
