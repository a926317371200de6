"""Parameters from simulated MEG: spectra against the general theory and simulations, slopes, intervals that hold the truth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import jnm
from jnm._param import cast
from jnm.fitting.linear_csd import cross_spectra, linear, mixing_of
from jnm.fitting.measured_csd import Measured
from jnm.fitting.resting import rest
from jnm.meg import LeadField, SensorNoise
from jnm.studies.meg_recovery import BEM, NAMES, SOURCE, SPHERE, Brain, recover_from_meg, two_heads
from jnm.studies.meg_recovery.fits import Likelihood, View
from jnm.studies.meg_recovery.record import SPREAD, drawn, moments, record, whitened

REGIONS = 6
SHIFT = np.array([0.2, -0.1, 0.3, -0.2])
CHANNELS = tuple("abcd")


def brain():
    return Brain.on(jnm.datasets.connectome(n_regions=REGIONS))


def helmet():
    """Four magnetometers of six regions, and their noise."""
    here, rng = brain().network.connectome, np.random.default_rng(0)
    gain = jnp.asarray(0.2 * rng.normal(size=(4, REGIONS)), float)
    centres = jnp.asarray(here.centres)
    lead = LeadField(gain, jnp.zeros((4, 3)), centres, None, CHANNELS, ("mag",) * 4, here.labels)
    mixing = jnp.asarray(np.eye(4) + 0.2 * rng.normal(size=(4, 4)), float)
    return lead, SensorNoise(mixing, CHANNELS, ("mag",) * 4)


def likelihood(view, averages=50.0):
    data = Measured(2.0 * np.arange(3, 16), tuple(range(3, 16)), np.zeros(0), averages, 500.0, np.ones(1))
    return Likelihood.of(brain(), view, data)


def wishart(S, averages, subjects, rng):
    z = rng.normal(size=(subjects, *S.shape[:2], averages, 2)) @ np.array([1, 1j]) / np.sqrt(2)
    y = np.linalg.cholesky(S) @ z
    return y @ y.conj().swapaxes(-1, -2) / averages


def test_spectra_and_slopes(x64):
    """Against the theory of any network, which seeks the rest of all regions; derivatives against finite differences."""
    f_hz, lead = jnp.array([-7.0, 5.0, 10.0, 22.0]), jnp.asarray(np.random.default_rng(0).normal(size=(3, REGIONS)))
    here = brain()
    there = here.at(here.theta + SHIFT)

    @eqx.filter_jit
    def general(net):
        found = rest(net)
        return cross_spectra(linear(net, found, "source"), mixing_of(lead, there.dipole, REGIONS), f_hz), found.x

    @eqx.filter_jit
    def slopes(theta):
        return here.at(theta).slopes(lead, f_hz), here.at(theta).told

    wanted, x = general(there.network)
    (S, dS), told = slopes(there.theta)
    np.testing.assert_allclose(S, wanted, rtol=1e-9, atol=1e-12 * np.abs(wanted).max())
    for k, h in enumerate(1e-5 * np.eye(4)):
        change = (slopes(there.theta + h)[0][0] - slopes(there.theta - h)[0][0]) / 2e-5
        np.testing.assert_allclose(dS[:, k], change, rtol=1e-6, atol=1e-8 * np.abs(change).max())
    _, y1, y2 = np.asarray(x).reshape(6, REGIONS)[:3, 0]
    received = there.column.p + there.network.coupling.gain * there.column.rate(jnp.asarray(y1 - y2))
    np.testing.assert_allclose(np.exp(told), [*np.exp(there.theta), received], rtol=1e-10)


def test_subjects_rest_for_sure(x64):
    """|K S' h| < 1 where coupling and drive, and with them the damping, are as weak as subjects may have them."""
    here, f_hz = brain(), jnp.arange(0.25, 60.0, 0.25)
    weakest = here.theta - 2 * jnp.asarray(SPREAD) * jnp.array([1, 1, 0, 0])
    most = [float(jnp.abs(here.at(theta).answer(f_hz).g).max()) for theta in (here.theta, weakest)]
    assert most[0] < most[1] < 1
    found = drawn(here, jax.random.key(0), 1000)
    furthest = np.abs(found - here.theta[None]).max(axis=0)
    np.testing.assert_allclose(furthest, 2 * np.array(SPREAD), rtol=0.1)


def test_score(x64):
    """The gradient of log L against finite differences, for data and parameters that are not at their best."""
    one = likelihood(View(jnp.asarray(np.random.default_rng(0).normal(size=(3, REGIONS))), jnp.eye(3)))
    at, theta = eqx.filter_jit(one.at), one.start + 0.1
    seen = jnp.asarray(wishart(np.tile(3 * np.eye(3), (13, 1, 1)), 9, 1, np.random.default_rng(2))[0])
    score = at(theta, seen)[0]
    for k, h in enumerate(1e-5 * np.eye(5)):
        slope = -(at(theta + h, seen)[2] - at(theta - h, seen)[2]) / 2e-5
        assert float(score[k]) == pytest.approx(float(slope), rel=1e-5, abs=1e-4)


def test_simulations_have_these_spectra():
    """Eight subjects alike, 20 s each: S^-1 S_measured is one, within what such records scatter; moments and sensors."""
    here, (lead, noise) = brain(), helmet()
    Q = moments(here, jnp.tile(here.theta, (8, 1)), jax.random.key(0), 20.0, 0.5)
    seen = record(Q, lead, noise, {"view": whitened(lead, noise, 3)}, jax.random.key(1), 1000.0, (4.0, 30.0))
    np.testing.assert_allclose(seen.f_hz, np.arange(4.0, 31.0))
    data = Measured(seen.f_hz, tuple(range(4, 31)), np.zeros(0), seen.averages, 1000.0, np.ones(1))
    with jax.enable_x64(True):
        one = Likelihood.of(cast(here, jnp.float64), View(jnp.eye(REGIONS), None), data)
        source = np.asarray(eqx.filter_jit(one.spectra)(one.start))
    gain = whitened(lead, noise, 3) @ np.asarray(lead.gain, float)
    for name, expected in (("source", source), ("view", gain @ source @ gain.T + np.eye(3))):
        ratio = np.linalg.solve(expected, seen.S[name].mean(axis=0)).mean(axis=0)
        np.testing.assert_allclose(ratio, np.eye(len(ratio)), atol=0.06)  # s.e. 0.015


def test_refusals():
    lead, noise = helmet()
    with pytest.raises(ValueError, match="subjects = 1 of 60 s"):
        recover_from_meg(lead, lead, noise, jax.random.key(0), subjects=1)
    with pytest.raises(ValueError, match=r"band = \(0.5, 300.0\) Hz"):
        recover_from_meg(lead, lead, noise, jax.random.key(0), band=(0.5, 300.0))
    with pytest.raises(ValueError, match="different regions"):
        recover_from_meg(lead, lead, noise, jax.random.key(0), connectome=jnm.datasets.connectome(n_regions=8))
    with pytest.raises(ValueError, match="the sensors have no noise"):
        whitened(lead, SensorNoise(jnp.zeros((4, 4)), CHANNELS, ("mag",) * 4), 3)


@pytest.mark.slow
def test_a_simulation_that_fails_is_named():
    """Faster than the network was built for."""
    here = brain()
    thetas = here.theta[None] + jnp.array([[0.0] * 4, [0.0, 0.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match=r"simulations of subjects \[1\] failed"):
        moments(here, thetas, jax.random.key(0), 1.0, 0.5)


@pytest.mark.slow
def test_fits_of_the_theory_itself(x64):
    """Moments whose spectra scatter as theory says: 40 subjects alike, no bias, intervals that hold the truth."""
    one = likelihood(View(jnp.eye(REGIONS), None), averages=400.0)
    truth = one.start + 0.1 * SHIFT
    found = one.fits(jnp.asarray(wishart(np.asarray(one.spectra(truth)), 400, 40, np.random.default_rng(1))))
    assert found.arrived.all()
    z = (np.asarray(found.theta) - np.asarray(truth)) / np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert 0.83 < np.mean(np.abs(z) < 1.645) < 0.97
    np.testing.assert_allclose(np.std(z, axis=0), 1.0, atol=0.35)


@pytest.fixture(scope="module")
def head(data_dir):
    """A real head and helmet, the same in a sphere, measured noise."""
    mne = pytest.importorskip("mne")
    sample = data_dir / "recordings" / "sample"
    info = mne.read_evokeds(sample / "sample-audvis-ave.fif", condition=0, verbose="error").info
    cov = mne.read_cov(sample / "sample-audvis-cov.fif", verbose="error")
    info = mne.pick_info(info, [i for i, name in enumerate(info["ch_names"]) if name in cov.ch_names])
    origin = mne.bem.fit_sphere_to_headshape(info, units="mm", verbose="error")[1]
    heads = two_heads(sample / "sample-oct4-meg-fwd.fif", sample / "sample-parcels.json", info, origin)
    return (*heads, SensorNoise.from_mne(cov, info, sfreq=info["sfreq"]))


def test_two_heads(head, data_dir):
    """Sources at the skull are left out: only the one parcel has changed. The sphere is another head, not another place."""
    lead, sphere, noise = head
    sample = data_dir / "recordings" / "sample"
    whole = LeadField.from_mne(sample / "sample-oct4-meg-fwd.fif", sample / "sample-parcels.json").pick(noise.ch_names)
    apart = np.linalg.norm(np.asarray(whole.region_positions - lead.region_positions), axis=1)
    assert np.flatnonzero(apart > 1e-3).tolist() == [0]
    view = whitened(lead, noise, 90)
    ours, theirs = (view @ np.asarray(one.pick(noise.ch_names).gain, float) for one in (lead, sphere))
    alike = np.sum(ours * theirs, axis=0) / np.linalg.norm(ours, axis=0) / np.linalg.norm(theirs, axis=0)
    assert 0.8 < np.median(alike) < 0.95
    assert lead.labels == sphere.labels and lead.ch_names == sphere.ch_names


@pytest.mark.slow
def test_twenty_subjects(head):
    """Intervals hold the truth where the head is right, and not where it is taken for a sphere; sensors lose."""
    lead, sphere, noise = head
    found = recover_from_meg(lead, sphere, noise, jax.random.key(0))
    for view in (SOURCE, BEM):
        assert found.found[view].arrived.all()
        assert 0.83 <= found.coverage(view)[0] <= 0.99, str(found)  # of 100 that hang together
        assert np.all(found.covered(view).sum(axis=0) >= 15), str(found)  # of 20; by chance in one of 90 studies or so
    assert found.coverage(SPHERE)[0] < 0.7
    assert np.all(found.lost(BEM) > 2.0)
    assert "all intervals" in str(found) and all(name in str(found) for name in NAMES)
    assert found.to_xarray()["estimate"].shape == (3, 20, 5)
    figure = found.plot()
    assert len(figure.axes) == 10
    plt.close(figure)
