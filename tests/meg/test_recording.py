"""The real recording: what is read, in how many dimensions, and what is refused."""

import numpy as np
import pytest

from jnm.meg import EvokedData, LeadField

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
