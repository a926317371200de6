"""Sensor noise against SciPy's Welch spectra and MNE's own covariance of the sample recording."""

import jax
import mne
import numpy as np
import pytest
from scipy.signal import welch

from jnm.meg import SensorNoise, Sensors


def test_one_over_f_noise_has_the_density_it_says(x64):
    sensors = Sensors.canonical().pick(["MEG 0111", "MEG 0112"])
    noise = SensorNoise.white(sensors, knee_hz=20.0, exponent=1.5)
    assert repr(noise) == "SensorNoise(1 mag, 1 grad; rank 2, white and 1/f)" and noise.units == ("fT", "fT/cm")
    sfreq, segment, segments = 500.0, 500, 400
    samples = noise.sample(jax.random.key(0), segment * segments, sfreq)
    f, density = welch(samples, sfreq, "hann", segment, axis=0)
    inside = (f > 4) & (f < 240)
    wanted = np.asarray(noise.psd(f[inside]))
    np.testing.assert_allclose(wanted[:, 0], 9 * (1 + (20 / f[inside]) ** 1.5), rtol=1e-12)
    # 1.05 segments of each bin are worth one; 5 standard errors at the worst of 472 places
    np.testing.assert_allclose(density[inside], wanted, rtol=5 / np.sqrt(segments))
    np.testing.assert_allclose(np.mean(density[inside] / wanted), 1.0, rtol=0.01)
    np.testing.assert_allclose(np.asarray(noise.csd(f[inside])).diagonal(axis1=1, axis2=2), wanted)
    slope = jax.grad(lambda knee: SensorNoise.white(sensors, knee_hz=knee).psd([10.0]).sum())(20.0)
    np.testing.assert_allclose(slope, 2 * 9 / 10)


def test_white_noise_is_that_of_the_sensors():
    sensors = Sensors.canonical("ctf151")
    noise = SensorNoise.white(sensors)
    np.testing.assert_allclose(noise.psd([0.0, 10.0]), np.full((2, 151), 25.0), rtol=1e-6)
    assert np.std(np.asarray(noise.sample(jax.random.key(1), 200, 600.0))) == pytest.approx(5 * np.sqrt(300), rel=0.02)


def test_measured_noise_has_its_covariance_and_rank(data_dir, x64):
    sample = data_dir / "recordings" / "sample"
    info = mne.read_evokeds(sample / "sample-audvis-ave.fif", 0, proj=False, verbose="error").info
    noise = SensorNoise.from_mne(sample / "sample-audvis-cov.fif", info, sfreq=600.0)
    active = sum(proj["active"] for proj in info["projs"])
    assert noise.rank == 305 - active and f"rank {noise.rank}" in repr(noise)
    cov = mne.read_cov(sample / "sample-audvis-cov.fif", verbose="error").pick_channels(
        list(noise.ch_names), ordered=True
    )
    scale = np.where(np.array(noise.ch_types) == "mag", 1e15, 1e13)
    projected = mne.EvokedArray(np.eye(305), mne.pick_info(info, [info.ch_names.index(n) for n in noise.ch_names]))
    P = projected.apply_proj(verbose="error").data  # what MNE does to these channels
    wanted = P @ cov.data @ P.T * scale[:, None] * scale[None]
    got = 300.0 * np.asarray(noise.csd([10.0]))[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6 * wanted.max())
    drawn = np.cov(np.asarray(noise.sample(jax.random.key(2), 8000, 600.0)).T)
    sd = np.sqrt(np.diag(got))
    assert np.abs((drawn - got) / (sd[:, None] * sd[None])).max() < 6 * np.sqrt(2 / 8000)
    with pytest.raises(ValueError, match="2 of 306 good channels .* noise covariance: MEG 0113, MEG 2443"):
        SensorNoise.from_mne(cov.pick_channels(cov.ch_names[1:], ordered=True), info, sfreq=600.0)
    assert noise.pick(noise.ch_names[:3]).psd([1.0]).shape == (1, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n.psd([0.0, 1.0]), "no density at 0 Hz"),
        (lambda n: n.sample(jax.random.key(0), 1, 100.0), "n_times = 1"),
        (lambda n: n.pick(["x"]), "are not among the 151 of the noise: x"),
        (lambda n: SensorNoise.white(Sensors.canonical("ctf151"), knee_hz=-1.0), "knee_hz = -1"),
        (lambda n: SensorNoise.from_mne(None, None, sfreq=0.0), "sfreq = 0.0 Hz"),
    ],
)
def test_impossible_noise_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call(SensorNoise.white(Sensors.canonical("ctf151"), knee_hz=3.0))
