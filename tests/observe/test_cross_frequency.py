"""The modulation index against Tort et al. (2010) in NumPy; chance, a synthetic coupling, and the homogeneous control."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

import jnm
from jnm.observe import (
    coefficient_of_variation,
    comodulogram,
    envelope,
    envelope_spectrum,
    modulation_index,
    modulation_test,
    phase,
    psd,
)

SLOW, FAST = (4.0, 9.0), (34.0, 74.0)


def coupled(depth, seconds=20.0, seed=0):
    """A wandering 6 Hz rhythm, a 54 Hz rhythm whose amplitude follows its phase to a depth, and noise."""
    rng = np.random.default_rng(seed)
    n = round(1000 * seconds)
    theta = np.cumsum(2 * np.pi * 6e-3 + 0.03 * rng.normal(size=n))
    fast = (1 + depth * np.cos(theta)) * np.cos(2 * np.pi * 54e-3 * np.arange(n))
    return np.cos(theta) + fast + 0.2 * rng.normal(size=n)


def tort(theta, amplitude, bins=18):
    """Tort et al. (2010), their steps 3 and 4 with eqs. 4 to 9: divergence of the amplitude distribution from flat."""
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    mean = np.array([amplitude[(theta >= a) & (theta < b)].mean() for a, b in pairwise(edges)])
    p = mean / mean.sum()
    entropy = -np.sum(p * np.log(p))
    return (np.log(bins) - entropy) / np.log(bins)


@pytest.mark.parametrize("bins", [18, 7])
def test_index_is_torts(x64, bins):
    rng = np.random.default_rng(0)
    theta, A = rng.uniform(-np.pi, np.pi, (2000, 2, 3)), rng.uniform(0, 2, (2000, 2, 3))
    index = modulation_index(theta, A, bins=bins)
    for i, j in np.ndindex(2, 3):
        assert index[i, j] == pytest.approx(tort(theta[:, i, j], A[:, i, j], bins), rel=1e-10)


def test_index_of_known_distributions(x64):
    """None for a flat amplitude, one if a single bin has it all, log 18 - log 9 over log 18 if half of them share it."""
    theta = np.linspace(-np.pi, np.pi, 18_000, endpoint=False) + 1e-5
    one_bin, half = (theta < -np.pi * 8 / 9) * 1.0, (theta < 0) * 1.0
    assert modulation_index(theta, np.ones(18_000)) == pytest.approx(0.0, abs=1e-15)
    assert modulation_index(theta, one_bin) == pytest.approx(1.0)
    assert modulation_index(theta, half) == pytest.approx(np.log(2) / np.log(18))
    assert modulation_index(theta + 20 * np.pi, half) == pytest.approx(np.log(2) / np.log(18))  # wrapping is no matter


def test_comodulogram_finds_the_pair_of_bands():
    x = coupled(0.6)
    slow, fast = [(2.0, 4.0), (5.0, 7.0), (9.0, 11.0)], [(80.0, 110.0), (39.0, 69.0)]
    table = np.asarray(comodulogram(x, 1.0, slow, fast))
    assert table.shape == (3, 2)
    assert np.unravel_index(np.argmax(table), table.shape) == (1, 1)
    assert table[1, 1] > 20 * np.delete(table.ravel(), 3).max()
    entry = modulation_index(phase(x, 1.0, slow[1]), envelope(x, 1.0, fast[1]))
    assert table[1, 1] == pytest.approx(float(entry), rel=1e-6)
    crossed = comodulogram(np.stack([x, coupled(0.0, seed=1)], axis=1), 1.0, slow[1:2], fast[1:],
                           amplitude_of=np.stack([x, x], axis=1))  # fmt: skip
    assert crossed[0, 0, 0] > 20 * crossed[0, 0, 1]  # the phase of another record says nothing


def measured(x, key=0, ends=2000, **options):
    theta, A = phase(x, 1.0, SLOW), envelope(x, 1.0, FAST)
    return modulation_test(theta[ends:-ends], A[ends:-ends], jax.random.key(key), **options)


def test_coupled_rhythms_are_significant_and_uncoupled_ones_are_not():
    found, none = measured(coupled(0.3)), measured(coupled(0.0))
    assert found.p == pytest.approx(1 / 201, rel=1e-6) and found.z > 5
    assert none.p > 0.05 and abs(none.z) < 3


def gamma(connectome):
    """v_E of the PING network at (IE, eps) = (11, 12.5), 12 s at 1 kHz after 4 s, from a start that is not uniform."""
    net = jnm.Network(jnm.PING(IE=11.0), connectome, jnm.Linear(12.5))
    y0 = jax.tree.map(lambda y: y + 0.01 * jax.random.uniform(jax.random.key(0), y.shape), net.init())
    return jnm.simulate(net, 16_000.0, 0.05, y0=y0, save_every=1.0, save=lambda t, y: y.v[0]).ys[4000:]


@pytest.fixture(scope="module")
def alone():
    """The control: 90 like regions under row-normalised weights are one that hears itself."""
    return gamma(jnm.Connectome(np.ones((1, 1))))


def test_the_homogeneous_control_is_insignificant(alone):
    """brain-network.md section 2: the synchronous gamma of like regions has no coupling of its own.

    It is strictly periodic, so that its slow band holds nothing but the ends of the record; a little noise of
    measurement, in 16 draws, gives that band a phase, and chance its say.
    """
    v = alone
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(v), 16))
    control = measured(v + noise)
    assert np.median(control.p) > 0.2 and np.mean(control.p <= 0.05) < 0.25
    assert np.max(control.index) < 5e-5 and measured(v).index < 1e-6


def test_what_varies_in_the_homogeneous_control_is_its_filter(alone):
    """brain-network.md section 2: an envelope variation of .031, of which 0.1 % of the power lies from 1 to 12 Hz.

    The homogeneous cycle at (11, 12.5) alternates: its period of 38.29 ms holds two beats, so that beside the rhythm at
    52.2 Hz there are lines at 26.1 and 78.3 Hz. A filter with slanting edges, here Butterworth's of fourth order run both
    ways, lets some of them into 54.2 +- 20 Hz, where they beat with the rhythm 26.1 times a second: that is the variation
    of the specification. The steep edges of `envelope` leave the lines out; what is left then is the ends of the record.
    """
    v = np.asarray(alone[:, 0], float)
    skirts = signal.butter(4, (34.2, 74.2), "bandpass", fs=1000.0, output="sos")
    beating = np.abs(signal.hilbert(signal.sosfiltfilt(skirts, v)))
    assert coefficient_of_variation(beating) == pytest.approx(0.031, abs=0.005)
    f_hz, S = signal.welch(beating, 1000.0, nperseg=4000)
    assert S[(f_hz >= 1) & (f_hz <= 12)].sum() / S[f_hz >= 0.5].sum() < 3e-3
    assert f_hz[f_hz > 0.5][np.argmax(S[f_hz > 0.5])] == pytest.approx(26.1, abs=0.3)
    steep = envelope(v, 1.0, (34.2, 74.2))
    assert coefficient_of_variation(steep) < 0.02  # the ends
    assert coefficient_of_variation(steep[500:-500]) < 0.004


def test_the_network_waxes_and_wanes_as_in_the_specification(data_dir):
    """brain-network.md section 2 at (11, 12.5): gamma 54.2 Hz (+-.5), CV of its envelope .304 (+-.03), coupled."""
    v = gamma(jnm.Connectome.read(data_dir / "connectome" / "sc2017.dat").normalised("rows"))
    f_hz, S = psd(v, 1.0, 2000.0)
    assert f_hz[np.argmax(np.where(f_hz > 20, S.mean(axis=1), 0.0))] == pytest.approx(54.2, abs=0.5)
    assert np.median(coefficient_of_variation(envelope(v, 1.0, FAST))) == pytest.approx(0.304, abs=0.03)
    f_hz, S = envelope_spectrum(v, 1.0, FAST, 2000.0)
    slow = S[(f_hz >= 1) & (f_hz <= 12)].sum(axis=0) / S[f_hz >= 0.5].sum(axis=0)
    assert np.median(slow) > 0.8  # the control: 0.1 %
    found = measured(v, surrogates=50)
    assert np.median(found.z) > 2 and np.mean(found.p <= 0.05) > 0.4
    assert 0.0043 / 3 < np.median(found.index) < 0.0043 * 3  # of one run of 24 s; here of another, half as long


def test_chance_makes_every_p_equally_often():
    """The p-values of uncoupled noise are uniform: their mean is 1/2, and a twentieth lie at or below 1/20."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 3000, 300))
    theta, A = phase(x, 1.0, (4.0, 8.0)), envelope(y, 1.0, (30.0, 60.0))
    p = np.asarray(modulation_test(theta, A, jax.random.key(1), surrogates=39).p)
    assert p.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 300))
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 300))


def test_surrogates_are_the_indices_of_shifted_amplitudes(x64):
    rng = np.random.default_rng(0)
    theta, A = rng.uniform(-np.pi, np.pi, 500), rng.uniform(0, 2, 500)
    test = modulation_test(theta, A, jax.random.key(2), surrogates=20, least_shift=0.2)
    allowed = np.array([tort(theta, np.roll(A, s)) for s in range(100, 401)])
    assert all(np.isclose(allowed, index, rtol=1e-9).any() for index in test.surrogates)
    assert test.z == pytest.approx((tort(theta, A) - test.surrogates.mean()) / np.std(test.surrogates, ddof=1))
    assert test.p == (1 + np.sum(np.asarray(test.surrogates) >= float(test.index))) / 21
    again = modulation_test(theta, A, jax.random.key(2), surrogates=20, least_shift=0.2)
    np.testing.assert_array_equal(test.surrogates, again.surrogates)


def test_gradient_with_respect_to_the_amplitude(check_gradient):
    rng = np.random.default_rng(0)
    theta, A = rng.uniform(-np.pi, np.pi, (400, 2)), rng.uniform(1, 2, (400, 2))
    check_gradient(lambda A: jnp.sum(modulation_index(theta, A)), A, h=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amplitudes": np.ones(300)}, "shapes differ"),
        ({"amplitudes": -np.ones(400)}, "negative"),
        ({"phases": np.zeros(400)}, "17 of the 18 bins hold no phase"),
        ({"phases": np.full(400, np.nan)}, "phases that are NaN"),
        ({}, "constant in time"),
        ({"bins": 1}, "bins = 1"),
        ({"surrogates": 1}, "surrogates = 1"),
        ({"least_shift": 0.5}, "least_shift < 0.5"),
    ],
)
def test_impossible_arguments(change, message):
    given = {"phases": np.linspace(-3.14, 3.14, 400), "amplitudes": np.ones(400), "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        modulation_test(**(given | change))


def test_a_comodulogram_wants_bands():
    with pytest.raises(ValueError, match="no bands"):
        comodulogram(np.ones(100), 1.0, [], [(10.0, 20.0)])
