"""The real recording: what is read, in how many dimensions, and what is refused."""

import re
import warnings

import numpy as np
import pytest

from jnm.meg import EvokedData, LeadField, SensorNoise

mne = pytest.importorskip("mne")


@pytest.fixture(scope="module")
def paths(data_dir):
    sample = data_dir / "recordings" / "sample"
    return sample / "sample-audvis-ave.fif", sample / "sample-audvis-cov.fif", sample / "sample-oct4-meg-fwd.fif"


@pytest.fixture(scope="module")
def recording(paths):
    return EvokedData.from_mne(*paths)


def test_channels_rank_and_noise_are_those_of_the_spec(recording):
    assert len(recording.ch_names) == 305 and "MEG 2443" not in recording.ch_names
    assert recording.rank == 302  # three projectors of the magnetometers are active
    assert 1.0 < recording.noise_variance < 1.2
    assert recording.effective_samples(300.0) == pytest.approx(24.0)


def test_the_whitener_makes_the_noise_white(recording):
    W = recording.whitener
    np.testing.assert_allclose(W @ recording.covariance @ W.T, np.eye(recording.rank), atol=1e-6)
    patterns = recording.patterns / np.linalg.norm(recording.patterns, axis=1, keepdims=True)
    assert np.abs(W @ patterns.T).max() < 1e-6 * np.abs(W).max()


@pytest.mark.parametrize("missing", [0, 40])
def test_the_rank_of_the_noise_is_used_as_mne_uses_it(paths, missing):
    """Against `mne.compute_rank` and `mne.cov.compute_whitener`: the sample's noise, and one without 40 of its dimensions."""
    cov = mne.read_cov(paths[1], verbose="error")
    first = mne.read_evokeds(paths[0], condition=0, verbose="error")
    info = mne.pick_info(first.info, [first.ch_names.index(name) for name in cov.ch_names if name.startswith("MEG")])
    values, vectors = np.linalg.eigh(cov.copy().pick_channels(info.ch_names, ordered=True).data)
    half = vectors[:, 3 + missing :] * np.sqrt(values[3 + missing :])
    poor = mne.Covariance(half @ half.T, info.ch_names, ["MEG 2443"], info["projs"], cov["nfree"])
    whitener, _, rank = mne.cov.compute_whitener(poor, info, pca=True, return_rank=True, verbose="error")
    assert rank == mne.compute_rank(poor, info=info, verbose="error")["meg"] == 302 - missing
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        recording = EvokedData.from_mne(paths[0], poor, paths[2])
        noise = SensorNoise.from_mne(poor, info, sfreq=600.0)
    assert recording.rank == noise.rank == rank
    words = f"noise covariance has rank {rank} on these 305 channels, .* leave the recording 302: {rank} dimensions are used"
    assert len(said) == (2 if missing else 0) and all(re.search(words, str(one.message)) for one in said)
    assert all(one.filename == __file__ for one in said)
    ours = recording.whitener[:, [recording.ch_names.index(name) for name in info.ch_names]]
    scale = np.where(np.array(info.get_channel_types()) == "mag", 1e15, 1e13)
    white = np.random.default_rng(0).normal(size=(half.shape[1], 50)) / np.sqrt(first.nave)
    draws = half @ white
    np.testing.assert_allclose(
        np.sum((ours @ (scale[:, None] * draws)) ** 2, axis=0),
        first.nave * np.sum((whitener @ draws) ** 2, axis=0),
        rtol=1e-5,
    )


def test_projectors_that_wait_take_no_dimension(paths):
    """Data that were not projected have the rank of their channels, and a covariance of these no other rank."""
    evoked = mne.read_evokeds(paths[0], condition=0, verbose="error")
    with evoked.info._unlock():
        evoked.info["projs"] = [mne.Projection(**{**proj, "active": False}) for proj in evoked.info["projs"]]
    cov = mne.read_cov(paths[1], verbose="error")
    index = [cov.ch_names.index(name) for name in cov.ch_names if name.startswith("MEG")]
    names = [cov.ch_names[i] for i in index]
    data = cov.data[np.ix_(index, index)] + 1e-3 * np.diag(np.diag(cov.data)[index])
    own = mne.Covariance(data, names, ["MEG 2443"], [], cov["nfree"])
    assert EvokedData.from_mne(evoked, own, paths[2]).rank == 305


def test_data_are_what_mne_filters(recording, paths):
    evoked = mne.read_evokeds(paths[0], condition=0, verbose="error").filter(None, 40.0, verbose="error")
    evoked.apply_proj(verbose="error").apply_baseline((None, 0.0), verbose="error").pick(list(recording.ch_names))
    inside = (evoked.times >= recording.times[0] * 1e-3 - 1e-9) & (evoked.times <= recording.times[-1] * 1e-3 + 1e-9)
    scale = np.where(np.array(recording.ch_types) == "mag", 1e15, 1e13)
    np.testing.assert_allclose(recording.data, (evoked.data[:, inside] * scale[:, None]).T, rtol=1e-6, atol=1e-6)


def test_three_coils_share_a_site(recording):
    assert len(recording.sites()) == 102


def test_the_lead_field_meets_the_data_by_name(recording, paths, data_dir):
    lead = LeadField.from_mne(paths[2], data_dir / "recordings" / "sample" / "sample-parcels.json")
    assert recording.whiten_lead_field(lead).shape == (302, 90)


def test_an_unfiltered_recording_is_refused(paths):
    with pytest.raises(ValueError, match=r"whitened baseline has variance 3\.\d.*low-pass"):
        EvokedData.from_mne(*paths, lowpass=None)


def test_samples_that_are_no_numbers_are_named(paths):
    evoked = mne.read_evokeds(paths[0], condition=0, verbose="error")
    evoked.data[evoked.ch_names.index("MEG 0121"), 100] = np.nan
    with pytest.raises(ValueError, match=r"1 samples are NaN or infinite, the first in MEG 0121 \(-0.033 s\)"):
        EvokedData.from_mne(evoked, *paths[1:])
    cov = mne.read_cov(paths[1], verbose="error")
    cov["data"][3, 7] = cov["data"][7, 3] = np.nan
    with pytest.raises(
        ValueError, match=f"covariance has NaN or infinite numbers for {cov.ch_names[3]}; mark it as bad"
    ):
        EvokedData.from_mne(paths[0], cov, paths[2])


def test_a_recording_without_a_baseline_is_refused(paths):
    evoked = mne.read_evokeds(paths[0], condition=0, verbose="error").crop(0.0, 0.4)
    with pytest.raises(ValueError, match="wanted some samples before the stimulus"):
        EvokedData.from_mne(evoked, *paths[1:])


def test_an_unknown_condition_lists_the_known(paths):
    with pytest.raises(ValueError, match="Left Auditory"):
        EvokedData.from_mne(*paths, condition="left ear")


def test_a_file_that_is_no_recording_is_refused(paths):
    with pytest.raises(ValueError, match="cov"):
        EvokedData.from_mne(paths[1], paths[1], paths[2])


def test_channels_the_covariance_lacks_are_named(paths, recording):
    cov = mne.read_cov(paths[1], verbose="error")
    less = cov.copy().pick_channels(recording.ch_names[1:], ordered=False, verbose="error")
    with pytest.raises(ValueError, match=recording.ch_names[0]):
        EvokedData.from_mne(paths[0], less, paths[2])
