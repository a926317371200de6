"""The round trip through MNE: what goes out is what MNE reads, plots and applies; what is refused."""

import sys
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from jnm.meg import LeadField, SensorNoise, Sensors, read_bids, source_moments, to_evoked, to_raw


@pytest.fixture
def sample(data_dir):
    return data_dir / "recordings" / "sample"


@pytest.fixture
def forward(sample):
    return mne.read_forward_solution(sample / "sample-oct4-meg-fwd.fif", verbose="error")


@pytest.fixture
def info(sample):
    return mne.read_evokeds(sample / "sample-audvis-ave.fif", 0, verbose="error").info


def test_a_simulated_raw_is_written_read_and_plotted(forward, info, tmp_path):
    info["bads"] = ["MEG 2443"]
    lead = LeadField.from_mne(forward)  # not projected; MNE's active projectors are applied on the way out
    moments = 10 * np.sin(np.arange(1200)[:, None] / 25) * (np.arange(516) == 40)[None]
    y = np.asarray(lead(jnp.asarray(moments, dtype=float)))
    raw = to_raw(y, 600.0, info, ch_names=lead.ch_names)
    raw.save(tmp_path / "simulated_raw.fif", verbose="error")
    back = mne.io.read_raw(tmp_path / "simulated_raw.fif", verbose="error")
    assert back.ch_names == list(lead.ch_names) and back.info["sfreq"] == 600.0 and back.info["bads"] == ["MEG 2443"]
    assert back.proj and len(back.info["projs"]) == len(info["projs"]) == 3
    np.testing.assert_allclose(back.info["dev_head_t"]["trans"], info["dev_head_t"]["trans"])
    projected = np.asarray(LeadField.from_mne(forward, info=back.info)(jnp.asarray(moments, dtype=float)))
    good = [name for name in back.ch_names if name != "MEG 2443"]
    kinds = back.copy().pick(good).get_channel_types()
    scale = np.array([1e15 if kind == "mag" else 1e13 for kind in kinds])
    np.testing.assert_allclose((back.get_data(good) * scale[:, None]).T, projected, atol=1e-4 * np.abs(projected).max())
    spectrum = raw.compute_psd(fmax=50, verbose="error")
    peak = spectrum.freqs[np.argmax(spectrum.get_data("mag").sum(axis=0))]
    assert abs(peak - 600 / 25 / (2 * np.pi)) < 0.4
    plt.close(spectrum.plot(show=False))


def test_a_simulated_evoked_is_a_topography(tmp_path):
    sensors = Sensors.canonical()
    lead = LeadField.sphere([[0.0, 50.0, 75.0]], [[1.0, 0.0, 0.0]], sensors, [0.0, 0.0, 45.0])
    y = lead(10.0 * jnp.sin(jnp.arange(200)[:, None] / 20))
    evoked = to_evoked(y, 1000.0, "neuromag", start=-50.0, nave=20, comment="tone")
    mne.write_evokeds(tmp_path / "simulated-ave.fif", evoked, verbose="error")
    back = mne.read_evokeds(tmp_path / "simulated-ave.fif", "tone", verbose="error")
    assert back.nave == 20 and back.times[0] == pytest.approx(-0.05) and tuple(back.ch_names) == sensors.ch_names
    mags = np.array(sensors.ch_types) == "mag"
    np.testing.assert_allclose(back.get_data("mag").T * 1e15, np.asarray(y)[:, mags], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(back.get_data("grad").T * 1e13, np.asarray(y)[:, ~mags], rtol=1e-5, atol=1e-4)
    plt.close(back.plot_topomap(times=[0.0], ch_type="mag", show=False))


def test_compensation_and_inactive_projectors_travel(info):
    with info._unlock():
        info["projs"] = [mne.Projection(**{**proj, "active": False}) for proj in info["projs"]]
    noise = SensorNoise.white(Sensors.from_info(info)).sample(jax.random.key(0), 100, 600.0)
    raw = to_raw(noise, 600.0, info)
    assert not raw.proj and len(raw.info["projs"]) == 3
    np.testing.assert_allclose(np.std(raw.get_data("mag")) * 1e15, 3 * np.sqrt(300), rtol=0.05)
    np.testing.assert_allclose(np.std(raw.get_data("grad")) * 1e13, 3 * np.sqrt(300), rtol=0.05)
    assert len(to_raw(np.zeros((4, 151)), 100.0, "ctf151").ch_names) == 151


def test_source_estimates_are_moments(forward, sample, x64):
    """Through `mne.apply_forward` and through our lead field the same estimate makes the same field."""
    vertices = [space["vertno"] for space in forward["src"]]
    estimate = mne.SourceEstimate(
        1e-9 * np.random.default_rng(0).normal(size=(516, 5)), vertices, -0.01, 0.002, verbose="error"
    )
    got = source_moments(estimate, forward)
    np.testing.assert_allclose(got.times, [-10.0, -8.0, -6.0, -4.0, -2.0])
    np.testing.assert_allclose(got.Q, 1e9 * estimate.data.T)
    fewer = [vertices[0][::2], vertices[1][1:3]]
    part = mne.SourceEstimate(np.ones((len(fewer[0]) + 2, 1)) * 1e-9, fewer, 0.0, 1.0, verbose="error")
    wanted = np.concatenate([np.arange(len(vertices[0])) % 2 == 0, np.isin(np.arange(len(vertices[1])), [1, 2])])
    np.testing.assert_allclose(source_moments(part, forward).Q[0], wanted)
    parcels = source_moments(estimate, forward, sample / "sample-parcels.json")
    assert parcels.Q.shape == (5, 90) and parcels.labels[0] == "parcel-0"
    np.testing.assert_allclose(parcels.Q.sum(axis=1), got.Q.sum(axis=1))
    lost = mne.SourceEstimate(np.ones((2, 1)), [vertices[0][:1] + 1, vertices[1][:1]], 0.0, 1.0, verbose="error")
    with pytest.raises(ValueError, match="1 of 1 vertices of source space 0 are not in the forward solution"):
        source_moments(lost, forward)
    with pytest.raises(ValueError, match=r"wanted an mne.SourceEstimate .*, got ndarray"):
        source_moments(estimate.data, forward)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 10)), 100.0), r"shape \[3, 10\] for 306 channels"),
        ((np.full((3, 306), np.nan), 100.0), "did the simulation diverge"),
        ((np.zeros((3, 306)), 0.0), "sfreq = 0.0 Hz"),
        ((np.zeros((3, 306)), 100.0, "opm"), "unknown MEG system 'opm'"),
        ((np.zeros((3, 306)), 100.0, {}), "wanted an mne.Info"),
    ],
)
def test_what_is_no_measurement_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        to_raw(*arguments)
    with pytest.raises(ValueError, match="2 of 3 channels are not in the Info: a, b"):
        to_raw(np.zeros((3, 3)), 100.0, ch_names=["MEG 0111", "a", "b"])


def test_bids_is_read_through_mne_bids(monkeypatch, info, tmp_path):
    """A recording in BIDS, with its bad channel; and what is said where mne-bids is missing."""
    mne_bids = pytest.importorskip("mne_bids", reason="mne-bids comes with the extra bids")
    y = np.random.default_rng(0).normal(size=(600, 306))
    names = [info["ch_names"][k] for k in mne.pick_types(info, meg=True, exclude=())]
    raw = to_raw(y, 600.0, info, ch_names=names)
    raw.info.update(bads=["MEG 2443"], line_freq=60.0)
    raw.save(tmp_path / "own_raw.fif", verbose="error")
    place = mne_bids.BIDSPath(subject="01", task="rest", datatype="meg", root=tmp_path / "data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mne-bids: no events, names of files
        on_disk = mne.io.read_raw(tmp_path / "own_raw.fif", verbose="error")
        mne_bids.write_raw_bids(on_disk, place, overwrite=True, verbose="error")
        back = read_bids(tmp_path / "data", "01", task="rest")
    assert back.info["bads"] == ["MEG 2443"]
    np.testing.assert_allclose(back.get_data(names[:5]), raw.get_data(names[:5]), rtol=1e-5)
    monkeypatch.setitem(sys.modules, "mne_bids", None)
    with pytest.raises(ImportError, match=r'pip install "jnm\[bids\]"'):
        read_bids("data", "01")
