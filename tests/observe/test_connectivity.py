"""Coherence against SciPy, FC against NumPy, FCD and AEC against their published formulae written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jnm.observe import (
    averages,
    coherence,
    envelope_correlation,
    functional_connectivity as fc,
    functional_connectivity_dynamics as fcd,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) + 0.3


def mixed(samples, regions, seed=0):
    """Noise with a common part and a delay, so that neither correlations nor coherences vanish."""
    x = noise(samples, regions, seed=seed)
    return x + 0.5 * x[:, :1] + 0.7 * np.roll(x, 2, axis=0)[:, ::-1]


@pytest.mark.parametrize(("segment", "overlap", "window"), [(128, 0.5, "hann"), (97, 0.75, "hamming")])
def test_coherence_is_scipys(x64, segment, overlap, window):
    x = mixed(1000, 3)
    f_hz, C = coherence(x, 2.0, 2.0 * segment, overlap=overlap, window=window)
    for i, j in np.ndindex(3, 3):
        f, wanted = scipy.signal.coherence(x[:, i], x[:, j], 500.0, window, segment, int(overlap * segment))
        np.testing.assert_allclose(C[:, i, j], wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(f_hz, f)


def test_coherence_by_chance_is_one_over_the_averages():
    _, C = coherence(noise(20_000, 12), 1.0, 200.0)
    chance = np.asarray(C)[2:-2][:, *np.triu_indices(12, 1)]
    error = chance.std() / np.sqrt(chance.size / 3)  # a Hann taper correlates neighbours
    assert chance.mean() == pytest.approx(1 / averages(20_000, 1.0, 200.0), abs=4 * error)


def test_coherence_of_tesla_in_single_precision():
    """Products of two powers of 1e-28 T^2/Hz are no numbers of single precision."""
    x = np.cumsum(np.random.default_rng(0).normal(size=(2000, 3)), axis=0)
    whole, scaled = (coherence(s * x, 1.0, 200.0)[1] for s in (1.0, 1e-14))
    np.testing.assert_allclose(scaled, whole, atol=1e-5)


def test_a_silent_channel_is_coherent_with_nothing():
    x = np.stack([noise(400), np.zeros(400)], axis=1)
    C = coherence(x, 1.0, 100.0)[1]
    assert np.all(np.isfinite(C)) and np.all(C[:, 0, 1] == 0)


def test_one_segment_is_refused():
    with pytest.raises(ValueError, match="one segment"):
        coherence(noise(400, 2), 1.0, 400.0)


def test_fc_is_numpys(x64):
    x = mixed(300, 4)
    np.testing.assert_allclose(fc(x), np.corrcoef(x.T), atol=1e-14)
    batch = np.stack([x, noise(300, 4, seed=5)], axis=1)
    np.testing.assert_allclose(fc(batch)[1], np.corrcoef(batch[:, 1].T), atol=1e-14)


def test_fc_stands_a_large_mean_in_single_precision():
    x = mixed(5000, 4)
    np.testing.assert_allclose(fc(x - 60.0), np.corrcoef(x.T), atol=2e-5)


def test_fcd_is_its_definition(x64):
    x = mixed(500, 5)
    t_ms, D = fcd(x, 2.0, window=120.0, step=50.0)
    pairs = np.triu_indices(5, 1)
    starts = range(0, 500 - 60 + 1, 25)
    wanted = np.corrcoef([np.corrcoef(x[s : s + 60].T)[pairs] for s in starts])
    np.testing.assert_allclose(D, wanted, atol=1e-13)
    np.testing.assert_allclose(t_ms, [2.0 * np.mean(range(s, s + 60)) for s in starts])


def test_fcd_sees_two_states():
    """FC that switches halfway makes two blocks."""
    t = np.arange(4000) < 2000
    a, b = noise(2, 4000, seed=3)
    private = noise(4000, 6, seed=4)
    x = private + np.where(t[:, None], np.outer(a, [2, 2, 2, 0, 0, 0]), np.outer(b, [2, 0, 2, 0, 2, 0]))
    _, D = fcd(x, 1.0, window=500.0, step=500.0)
    assert D[0, 2] > 0.95 and D[5, 7] > 0.95 and D[1, 6] < 0.3


def hipp(x, dt, band):
    """Hipp et al. (2012) written out: y's part orthogonal to x, at each time, and both ways averaged."""
    f = np.fft.fftfreq(len(x), dt / 1000)
    inside = (np.abs(f) >= band[0]) & (np.abs(f) <= band[1])
    z = scipy.signal.hilbert(np.fft.ifft(np.fft.fft(x, axis=0) * inside[:, None], axis=0).real, axis=0)
    regions = x.shape[1]
    result = np.zeros((regions, regions))
    for i, j in np.ndindex(regions, regions):
        if i != j:
            y = np.imag(z[:, j] * z[:, i].conj() / np.abs(z[:, i]))
            result[i, j] = np.corrcoef(np.abs(z[:, i]), np.abs(y))[0, 1]
    return (result + result.T) / 2, np.corrcoef(np.abs(z).T)


def test_aec_is_the_published_formula(x64):
    x = mixed(2000, 5)
    orthogonal, plain = hipp(x, 2.0, (8, 40))
    np.testing.assert_allclose(envelope_correlation(x, 2.0, (8, 40)), orthogonal, atol=1e-12)
    np.testing.assert_allclose(envelope_correlation(x, 2.0, (8, 40), orthogonalise=False), plain, atol=1e-12)
    assert np.abs(orthogonal - plain)[0, 1:].max() > 0.05  # else orthogonalising could not be seen to work


def test_orthogonalised_aec_takes_mixing_for_nothing_and_keeps_common_envelopes():
    """Two independent sources mixed into each other, a copy of one, and two rhythms that wax together."""
    rng = np.random.default_rng(1)
    a, b, c, d = rng.normal(size=(4, 60_000))
    common = np.exp(0.8 * scipy.signal.sosfiltfilt(scipy.signal.butter(2, 0.5, fs=250, output="sos"), 20 * c))
    x = np.stack([a, -2 * a, a + 0.5 * b, common * c, common * d], axis=1)
    plain, clean = (envelope_correlation(x, 4.0, (8, 30), orthogonalise=o) for o in (False, True))
    assert plain[0, 1] > 0.999 and plain[0, 2] > 0.5
    assert clean[0, 1] == 0.0 and abs(clean[0, 2]) < 0.05
    assert plain[3, 4] > 0.4 and clean[3, 4] > 0.2
    np.testing.assert_allclose(np.diag(clean), 0.0)


def test_a_batch_is_its_members(x64):
    """Trials or conditions between time and region."""
    x = np.stack([mixed(300, 4, seed=k) for k in range(6)], axis=1).reshape(300, 2, 3, 4)
    measures = {
        "coherence": lambda x: jnp.moveaxis(coherence(x, 1.0, 60.0)[1], 0, -1),
        "fc": fc,
        "fcd": lambda x: fcd(x, 1.0, 100.0, 40.0)[1],
        "aec": lambda x: envelope_correlation(x, 1.0, (10, 60)),
    }
    for name, measure in measures.items():
        together, last = measure(x), measure(x[:, 1, 2])
        assert together.shape == (2, 3, *last.shape), name
        np.testing.assert_allclose(together[1, 2], last, atol=1e-12, err_msg=name)


def test_what_is_not_a_number_has_no_coherence():
    x = noise(400, 3)
    x[7, 1] = np.nan
    C = coherence(x, 1.0, 100.0)[1]
    assert np.all(np.isnan(C[:, 1])) and np.all(np.isfinite(C[:, 0, 2]))


@pytest.mark.parametrize(
    "measure",
    [
        lambda x: jnp.sum(coherence(x, 1.0, 60.0)[1][:9] ** 2),
        lambda x: jnp.sum(fc(x) ** 3),
        lambda x: jnp.sum(fcd(x, 1.0, 100.0, 40.0)[1] ** 2),
        lambda x: jnp.sum(envelope_correlation(x, 1.0, (10, 60)) ** 2),
        lambda x: jnp.sum(envelope_correlation(x, 1.0, (10, 60), orthogonalise=False) ** 2),
    ],
    ids=["coherence", "fc", "fcd", "aec_orthogonal", "aec"],
)
def test_gradients(check_gradient, measure):
    check_gradient(measure, mixed(300, 4, seed=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fc(np.ones((50, 3))), "3 of 3 series are constant"),
        (lambda: fc(noise(50)), "2 regions or more"),
        (lambda: fcd(noise(50, 3), 1.0, 45.0, 10.0), "two whole windows"),
        (lambda: fcd(noise(50, 2), 1.0, 10.0, 10.0), "3 regions or more"),
        (lambda: fcd(noise(50, 3), 1.0, 10.0, 0.0), "positive"),
        (lambda: fcd(noise(50), 1.0, 10.0, 10.0), r"\[time, ..., region\]"),
        (lambda: envelope_correlation(noise(50, 1), 1.0), "2 regions or more"),
        (lambda: envelope_correlation(noise(50, 2), 1.0, (10.0, 600.0)), "Nyquist"),
    ],
)
def test_impossible_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
