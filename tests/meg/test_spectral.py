"""Cross-spectra of recordings against MNE, SciPy and jnm.observe; what is refused."""

import jax
import mne
import numpy as np
import pytest
from scipy.signal import csd

import jnm
from jnm.meg import LeadField, SpectralData, to_raw


def coloured(n_times, channels, seed=0):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(n_times, channels)), axis=0) * 3
    return x - 0.99 * np.roll(x, 1, axis=0) + 0.5 * rng.normal(size=(n_times, 1))


@pytest.fixture(scope="module")
def raw():
    names = mne.channels.read_meg_canonical_info("neuromag", verbose="error").ch_names[:30]
    return to_raw(coloured(6000, channels=30), 300.0, "neuromag", ch_names=names)


def test_it_is_the_spectrum_of_mne_scipy_and_observe(raw, x64):
    data = SpectralData.from_mne(raw, band=(2.0, 40.0), segment=2000.0, picks="mag")
    assert repr(data) == f"SpectralData(10 mag, 10 rows; 2-40 Hz every 0.5 Hz, {data.averages:.1f} averages)"
    theirs = raw.compute_psd(
        "welch", 2.0, 40.0, n_fft=600, n_per_seg=600, n_overlap=300, window="hann", picks="mag", verbose="error"
    )
    np.testing.assert_allclose(data.f_hz, theirs.freqs)
    np.testing.assert_allclose(data.psd, 1e30 * theirs.get_data().T, rtol=1e-9)
    x = raw.get_data("mag") * 1e15
    f, cross = csd(x[5], x[3], 300.0, "hann", 600)  # SciPy conjugates the first
    inside = (f >= 2) & (f <= 40)
    np.testing.assert_allclose(data.csd[:, 3, 5], cross[inside], rtol=1e-9)
    assert data.averages == pytest.approx(jnm.observe.averages(6000, 1e3 / 300, 2000.0))
    _, ours = jnm.observe.csd(x[:4].T, 1e3 / 300, 2000.0)
    np.testing.assert_allclose(data.pick(data.ch_names[:4]).csd, np.asarray(ours)[inside], rtol=1e-9)


def test_epochs_and_bad_stretches_count_as_they_should(raw):
    epochs = mne.make_fixed_length_epochs(raw, 4.0, preload=True, verbose="error")
    data = SpectralData.from_mne(epochs, picks="mag")
    assert data.averages == pytest.approx(5 * jnm.observe.averages(1200, 1e3 / 300, 2000.0))
    each = [SpectralData.from_mne(epochs[i], picks="mag").csd for i in range(5)]
    np.testing.assert_allclose(data.csd, np.mean(each, axis=0), rtol=1e-9, atol=1e-9)
    broken = raw.copy().pick("mag")
    broken.apply_function(lambda x: np.where(np.arange(len(x)) == 2500, np.nan, x), picks=["MEG 0131"], verbose="error")
    with pytest.raises(ValueError, match=r"1 samples are NaN or infinite, the first in MEG 0131 \(8.333 s\)"):
        SpectralData.from_mne(broken, picks="mag")
    note = mne.Annotations(8.0, 1.0, "BAD_jump")
    cut = SpectralData.from_mne(broken.set_annotations(note), picks="mag")
    parts = (raw.copy().crop(0.0, 8.0, include_tmax=False), raw.copy().crop(9.0, None))
    first, last = (SpectralData.from_mne(part, picks="mag") for part in parts)
    weights = np.array([first.averages, last.averages])
    wanted = (weights[0] * first.csd + weights[1] * last.csd) / weights.sum()
    np.testing.assert_allclose(cut.csd, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
    assert cut.averages < SpectralData.from_mne(raw, picks="mag").averages


def test_whitened_data_meet_a_whitened_lead_field(data_dir):
    """Noise as the covariance says has the density 2 / sfreq in every dimension; units are mixed only so."""
    sample = data_dir / "recordings" / "sample"
    info = mne.read_evokeds(sample / "sample-audvis-ave.fif", 0, verbose="error").info
    cov = mne.read_cov(sample / "sample-audvis-cov.fif", verbose="error")
    info["bads"] = ["MEG 2443"]
    noise = jnm.meg.SensorNoise.from_mne(cov, info, sfreq=200.0)
    recording = to_raw(noise.sample(jax.random.key(0), 6000, 200.0), 200.0, info, ch_names=noise.ch_names)
    data = SpectralData.from_mne(recording, cov=cov, segment=500.0, band=(10.0, 60.0))
    assert data.whitened and data.csd.shape[1:] == (302, 302) and data.units[0] == "noise"
    np.testing.assert_allclose(data.psd.mean(), 2 / 200, rtol=0.01)
    off = data.csd.mean(axis=0)[~np.eye(302, dtype=bool)]
    assert np.abs(off).max() < 7 * 0.01 / np.sqrt(data.averages * len(data.f_hz) / 1.5)
    lead = LeadField.from_mne(sample / "sample-oct4-meg-fwd.fif", sample / "sample-parcels.json")
    projected = LeadField.from_mne(sample / "sample-oct4-meg-fwd.fif", sample / "sample-parcels.json", info=info)
    np.testing.assert_allclose(data.gain(lead), data.gain(projected), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(data.noise(np.asarray(noise.csd([1.0]))[0]), np.eye(302) * 2 / 200, atol=1e-5)
    mags = SpectralData.from_mne(recording, picks="mag", segment=500.0)
    np.testing.assert_allclose(mags.gain(lead), projected.pick(mags.ch_names).gain, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="rows of whitened data mix channels"):
        data.pick(data.ch_names[:2])
    with pytest.raises(ValueError, match=r"different units \(102 mag, 203 grad"):
        SpectralData.from_mne(recording, segment=500.0)
    poor = cov.copy().pick_channels(mags.ch_names, ordered=True)
    U = np.linalg.qr(np.random.default_rng(0).normal(size=(102, 10)))[0]
    poor["data"] = 1e-26 * U @ U.T
    with pytest.warns(UserWarning, match="noise covariance has rank 10 on these 102 channels.* recording 99"):
        SpectralData.from_mne(recording, picks="mag", cov=poor, segment=500.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(band=(2.0, 200.0)), "up to 200 Hz, but the recording is sampled at 300 Hz, which ends at 150 Hz"),
        (dict(band=(40.0, 2.0)), "wanted 0 <= lowest < highest"),
        (dict(segment=30_000.0), r"30000 ms \(0.0333333 Hz resolution\), but the longest good stretch lasts 20000 ms"),
        (dict(band=(10.0, 10.2)), "narrower than the resolution, 0.5 Hz"),
        (dict(picks="meg"), r"different units \(10 mag, 20 grad: fT/cm, fT\)"),
        (dict(picks="ecog"), "picks = 'ecog'; known are meg, mag, grad, eeg"),
        (dict(picks="eeg"), "no good eeg channel: 0 of them"),
        (dict(window="kaiser"), "window = 'kaiser'"),
    ],
)
def test_what_cannot_be_had_is_an_error(options, message, raw):
    with pytest.raises(ValueError, match=message):
        SpectralData.from_mne(raw, **{"picks": "mag", **options})


def test_filters_are_respected(raw, data_dir):
    path = data_dir / "recordings" / "transfreq_sample_resting.fif"
    with pytest.raises(ValueError, match="was filtered to 2-50 Hz"):
        SpectralData.from_mne(path, picks="eeg", band=(1.0, 40.0))
    data = SpectralData.from_mne(path, picks="eeg", band=(2.0, 40.0))
    occipital = data.psd[:, [data.ch_names.index(name) for name in ("O1", "Oz", "O2")]].mean(axis=1)
    alpha = data.f_hz > 5
    assert abs(data.f_hz[alpha][np.argmax(occipital[alpha])] - 8.5) <= 0.5
    assert np.sqrt(occipital.max()) == pytest.approx(2.33, rel=0.5)  # the specification, uV/sqrt(Hz)
    with pytest.raises(ValueError, match="wanted an mne.io.Raw, mne.Epochs .* got int"):
        SpectralData.from_mne(3)
