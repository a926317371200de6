"""Real ongoing recordings: the alpha rhythm by neural masses, the noise of one channel; likelihood against SciPy and truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import gamma

import jnm
from jnm.fitting.whittle import independent_share
from jnm.studies import resting


@pytest.fixture(scope="module")
def channel(data_dir):
    return resting.channel_noise(*resting.read_epochs(data_dir / "recordings" / "tueb_meg.dat.gz", "MLC11"))


@pytest.fixture(scope="module")
def electrodes(data_dir):
    mne = pytest.importorskip("mne")
    raw = mne.io.read_raw_fif(data_dir / "recordings" / "transfreq_sample_resting.fif", verbose="error")
    return jnm.meg.SpectralData.from_mne(raw, band=(3.0, 45.0), segment=2_000.0, picks="eeg")


def test_epochs_are_read_in_femtotesla(data_dir):
    x, sfreq = resting.read_epochs(data_dir / "recordings" / "tueb_meg.dat.gz", "MLC11")
    known = np.load(data_dir / "meg" / "real_spectra.npz")["meg_epochs_T"]
    assert sfreq == pytest.approx(625.0)
    np.testing.assert_allclose(x, 1e15 * known.T, rtol=1e-6)


def test_units_and_noise_of_the_channel(channel):
    """Of spec/meg.md 6, whose spectra had another taper: 26 fT/sqrt(Hz) at 10 Hz, f^-0.97, lines, 4-5 above 80 Hz."""
    assert channel.amplitude(7.0, 13.0) == pytest.approx(26.0, rel=0.2)
    assert 4.0 < channel.amplitude(80.0, 140.0) < 5.5
    assert channel.slope() == pytest.approx(-0.97, abs=0.1)
    assert channel.line_ratio(50.0) > 20 and channel.line_ratio(150.0) > 20 > 5 > channel.line_ratio(75.0)
    low, high = channel.posterior.interval(0.9)["exponent"]
    assert 0.5 < low < float(channel.background.exponent) < high < 2.0
    assert "fT/sqrt(Hz) about 10 Hz" in str(channel)


def test_a_background_is_found_in_noise_of_its_own():
    """Whittle intervals of floor, knee and exponent hold the truth of a simulated sensor."""
    truth = resting.Background(*(jnp.asarray(x) for x in (4.0, 20.0, 1.2)))
    x = np.asarray(truth.noise().sample(jax.random.key(3), 2**17, 500.0), float)
    found = resting.channel_noise(x, 500.0, exclude=())
    for name, (low, high) in found.posterior.interval(0.99).items():
        assert low < float(getattr(truth, name)) < high, name
        assert high < 1.5 * low, name


def test_the_likelihood_is_that_of_gamma_variables(x64):
    """Differences of log L are SciPy's for a mean of M periodograms, M a whole number, times what the taper leaves."""
    f_hz, rng = np.arange(41.0), np.random.default_rng(0)
    S = rng.gamma(5.0, 1.0, 41)
    likelihood = resting.ChannelLikelihood((f_hz, S, 5.0), band=(10.0, 35.0))
    models = [resting.Background(*(jnp.asarray(x) for x in values)) for values in ((1.0, 9.0, 1.0), (2.0, 20.0, 0.5))]
    ours = [float(likelihood.log_likelihood(model)) for model in models]
    wanted = []
    for model in models:
        expected = np.asarray(likelihood.csd(model)[:, 0, 0])
        wanted.append(gamma.logpdf(S[10:36], 5.0, scale=expected / 5.0).sum())
    share = independent_share(jnm.observe.bin_correlation(1.0, 1_000.0))
    assert ours[1] - ours[0] == pytest.approx(share * (wanted[1] - wanted[0]), rel=2e-3)


def test_scores_are_the_gradient(x64):
    f_hz = np.arange(41.0)
    likelihood = resting.ChannelLikelihood((f_hz, 1 + 30 / (1 + f_hz), 5.0), band=(10.0, 35.0))
    theta, build = jnm.free(resting.Background(), lambda m: (m.floor, m.knee_hz, m.exponent))
    J, r = likelihood.scores(build, theta)
    gradient = jax.grad(lambda theta: likelihood.log_likelihood(build(theta)))(theta)
    np.testing.assert_allclose(J.T @ r, np.asarray(gradient), rtol=1e-8)


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="time, epoch"):
        resting.channel_noise(np.zeros(100), 500.0)
    (tmp_path / "a.dat").write_text("Time:\t0 1\nM1:\t1 2\n")
    with pytest.raises(ValueError, match="there are Time, M1"):
        resting.read_epochs(tmp_path / "a.dat", "M2")


@pytest.mark.slow
@pytest.mark.parametrize("mass", ["Jansen-Rit", "NMM2"])
def test_alpha_is_a_resonance_near_8_5_hz(electrodes, mass):
    fit = resting.fit_alpha(electrodes, "Oz", mass, key=jax.random.key(0))
    assert fit.peak_hz == pytest.approx(8.5, abs=0.35) and 0 < fit.damping < 20
    assert fit.posterior.fit.stopped.startswith("arrived")
    assert fit.covered > 0.8
    assert "vague" in fit.words() and "log evidence" in str(fit)


@pytest.mark.slow
def test_the_rhythm_does_not_stay_what_it_is(data_dir):
    """The halves of the minute resonate further apart than a stationary rhythm would: sd of the difference .1 Hz."""
    mne = pytest.importorskip("mne")
    raw = mne.io.read_raw_fif(data_dir / "recordings" / "transfreq_sample_resting.fif", verbose="error")
    halves = (raw.copy().crop(start, start + 29.5) for start in (0.0, 29.5))
    first, second = (
        resting.fit_alpha(
            jnm.meg.SpectralData.from_mne(half, band=(3.0, 45.0), segment=2_000.0, picks="eeg"),
            "Oz",
            key=jax.random.key(0),
        )
        for half in halves
    )
    assert first.peak_hz - second.peak_hz == pytest.approx(0.3, abs=0.1)


@pytest.mark.slow
def test_nuts_and_laplace_agree_where_the_posterior_is_nearly_normal(electrodes):
    """Of the floor; the rates have a bent posterior, which is what NUTS is for."""
    fit = resting.fit_alpha(electrodes, "Oz", key=jax.random.key(1), nuts=True, draws=50)
    assert fit.draws.stats["diverging"].mean() < 0.15
    (low, high), (a, b) = (x.interval(0.9)["background.floor"] for x in (fit.posterior, fit.draws))
    assert abs(low - a) < 0.5 * (high - low) and abs(high - b) < 0.5 * (high - low)
    assert fit.covered > 0.8
