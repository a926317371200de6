"""Spikes from files: what was written comes back, and what is wrong is told."""

from datetime import UTC, datetime

import numpy as np
import pytest

from jnm.spiking import read_spikes
from jnm.spiking.reading import as_spikes, of_trains

TIMES, NEURONS = np.array([5.0, 1.0, 2.5, 9.0]), np.array([1, 0, 3, 1])


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "spikes.npz"
    np.savez(path, times=TIMES, neurons=NEURONS)
    return path


def test_npz_and_csv_agree(tmp_path, npz):
    csv = tmp_path / "spikes.csv"
    csv.write_text("time,neuron\n" + "\n".join(f"{t},{k}" for t, k in zip(TIMES, NEURONS, strict=True)))
    for spikes in (read_spikes(npz, sort=True), read_spikes(csv, sort=True)):
        np.testing.assert_array_equal(spikes.times, [1.0, 2.5, 5.0, 9.0])
        np.testing.assert_array_equal(spikes.neurons, [0, 3, 1, 1])
        assert spikes.n == 4 and [len(train) for train in spikes.trains()] == [1, 2, 0, 1]
    assert read_spikes(npz, unit="s", sort=True).times[-1] == 9000.0
    assert read_spikes(npz, n=10, sort=True).n == 10
    with pytest.raises(ValueError, match=r"go back 1 times, first from 5 to 1 ms at entry 2.*sort=True"):
        read_spikes(csv)


def test_rates_count_every_spike_once():
    spikes = as_spikes(TIMES, NEURONS, sort=True)
    np.testing.assert_allclose(spikes.rate(10.0, 2.5), np.array([1, 1, 1, 1]) / 10.0)
    np.testing.assert_allclose(spikes.rate(10.0, 5.0, [1]), np.array([0, 2]) / 5.0)


def test_neo_files(tmp_path):
    import neo
    import quantities

    segment = neo.Segment()
    segment.spiketrains = [neo.SpikeTrain(times, units=quantities.s, t_stop=1.0) for times in ([0.1, 0.5], [], [0.25])]
    block = neo.Block()
    block.segments.append(segment)
    path = tmp_path / "spikes.mat"
    neo.io.NeoMatlabIO(str(path)).write_block(block)
    spikes = read_spikes(path)
    np.testing.assert_allclose(spikes.times, [100.0, 250.0, 500.0])
    assert spikes.n in (2, 3)  # MATLAB keeps no empty trains


def test_nwb_files(tmp_path):
    import pynwb

    now = datetime(2026, 1, 1, tzinfo=UTC)
    session = pynwb.NWBFile(session_description="spikes", identifier="1", session_start_time=now)
    for times in ([0.1, 0.5], [0.25]):
        session.add_unit(spike_times=times)
    with pynwb.NWBHDF5IO(str(tmp_path / "spikes.nwb"), "w") as file:
        file.write(session)
    np.testing.assert_allclose(read_spikes(tmp_path / "spikes.nwb").times, [100.0, 250.0, 500.0])


def test_trains_of_silent_neurons_count():
    assert of_trains([[1.0], [], [0.5, 2.0]]).n == 3
    with pytest.raises(ValueError, match="not empty"):
        of_trains([[], []])


@pytest.mark.parametrize(
    ("times", "neurons", "message"),
    [
        ([], [], "not empty"),
        ([1.0], [0, 1], "one length"),
        ([-1.0], [0], "negative"),
        ([np.nan], [0], "not finite"),
        ([1.0, np.inf], [0, 0], "time inf"),
        ([1.0], [0.5], "whole numbers"),
        ([1.0], [7], "from 0 to n - 1 = 4"),
    ],
)
def test_wrong_spikes_are_refused(times, neurons, message):
    with pytest.raises(ValueError, match=message):
        as_spikes(times, neurons, n=5)


def test_wrong_files_are_refused(tmp_path, npz):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_spikes(tmp_path / "nothing.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="holds a; wanted times and neurons"):
        read_spikes(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", times=np.array([{}], object), neurons=np.zeros(1))
    with pytest.raises(ValueError, match="pickles are not read"):
        read_spikes(tmp_path / "pickled.npz")
    (tmp_path / "three.csv").write_text("1,2,3\n")
    with pytest.raises(ValueError, match="wanted a time and a neuron"):
        read_spikes(tmp_path / "three.csv")
    (tmp_path / "broken.npz").write_bytes(npz.read_bytes()[:50])
    with pytest.raises(ValueError, match="no npz"):
        read_spikes(tmp_path / "broken.npz")
