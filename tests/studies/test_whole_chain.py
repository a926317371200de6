"""The whole chain: its theory against clocks and the library's own, its gradient through spikes, and what fits recover."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.signal

import jnm
from jnm.fitting.linear_csd import Recorded
from jnm.fitting.measured_csd import Measured
from jnm.meg import Dipole, LeadField, SensorNoise
from jnm.stability import closed_loop_psd
from jnm.stability.field import flat, shaped
from jnm.studies.whole_chain import (
    WAYS,
    Chain,
    Likelihood,
    Places,
    Seen,
    SensorLoss,
    View,
    WholeChain,
    record,
    whole_chain,
)
from jnm.studies.whole_chain.result import _by_name, _spreads
from jnm.studies.whole_chain.study import look, projected

F_HZ = np.array([4.0, 12.0, 30.0, 33.0, 70.0])


def places(**other):
    values = {"X": 2.0, "C": 4.0, "K": 2.0, "delta": 1.0, "sigma": 0.03, "n": 1000.0} | other
    return Places(dipole=Dipole.qif(cells=8e6, tau_m=15.0), **values)


def test_rates_are_those_of_the_closed_loop(x64):
    quiet = places(sigma=1e-9, n=700.0)
    each = (jnp.full(3, x) for x in (quiet.tau_m, quiet.tau_s, quiet.delta, quiet.eta))
    model = jnm.NMM2(*each, quiet.weights)
    r = jnp.full(3, quiet.R / quiet.tau_m)
    rest = model.init()._replace(r=r, v=jnp.full(3, -quiet.delta / (2 * jnp.pi * quiet.R)), s=r)
    theory = closed_loop_psd(model, jnp.asarray(F_HZ), 700, rest).value
    seen = quiet.spectra("spikes", jnp.asarray(F_HZ))
    np.testing.assert_allclose(np.einsum("fii->fi", seen).real, theory, rtol=1e-8)
    np.testing.assert_allclose(quiet.spectra("spikes", -jnp.asarray(F_HZ)), np.conj(seen))


def test_masses_are_a_linear_system(x64):
    """Without shots: rates, v and moments of the network of masses, its Jacobian solved in NumPy."""
    here, t = places(), jnp.zeros(())
    r, v = float(here.R) / 15.0, -1.0 / (2 * np.pi * float(here.R))
    y = flat(here.mass.init()._replace(r=jnp.full(3, r), v=jnp.full(3, v), s=jnp.full(3, r)))

    def slope(x):
        return flat(here.mass.drift(t, shaped(here.mass, x), jnm.Drive()))

    def moment(x):
        return here.dipole(here.mass.source(t, shaped(here.mass, x), jnm.Drive()))

    np.testing.assert_allclose(slope(y), 0.0, atol=1e-12)
    A, C = (np.asarray(jax.jacfwd(each)(y)) for each in (slope, moment))
    assert here.growth == pytest.approx(np.linalg.eigvals(A).real.max(), rel=1e-5)  # of a double root
    B = np.tile(np.eye(12)[:, 3:6] * 0.03, (len(F_HZ), 1, 1))  # noise on v, which comes after r
    H = np.linalg.solve(2j * np.pi * F_HZ[:, None, None] / 1000 * np.eye(12) - A, B)
    for way, seen in (("spikes", H[:, :3]), ("mean V", H[:, 3:6]), ("source", C @ H)):
        S = 2e-3 * seen @ seen.conj().swapaxes(1, 2)
        np.testing.assert_allclose(here.spectra(way, jnp.asarray(F_HZ), shots=False), S, rtol=1e-8)


@pytest.mark.slow
def test_moments_are_those_of_whittle_loss(x64):
    here = places()
    given = (F_HZ[0] * np.arange(1, 20), np.tile(np.eye(3), (19, 1, 1)), 9.0)
    loss = jnm.WhittleLoss(None, given, smear=1, band=(3.0, 77.0))
    ours = here.spectra("source", jnp.asarray(loss.f_hz), shots=False)
    np.testing.assert_allclose(loss.csd(Recorded(here.mass, here.dipole)), ours, rtol=1e-8)


@pytest.mark.slow
def test_shot_noise_of_the_mean_v(x64):
    """Uncoupled clocks with random phases, in NumPy: V = - sqrt(x) / tan(pi phase), or at rest."""
    rng, n, dt = np.random.default_rng(0), 200, 0.04  # tau_m
    ts, power = dt * np.arange(3000), []
    for _ in range(40):
        u = (np.arange(n) + rng.uniform(size=n)) / n
        x = 2.0 + np.tan(np.pi * (u - 0.5))
        root = np.sqrt(np.abs(x))[:, None]
        angle = rng.uniform(0, np.pi, size=(n, 1)) + root * ts
        V = np.where(x[:, None] > 0, -root / np.tan(angle), -root)
        Z = np.mean((1 + 1j * V) / (1 - 1j * V), axis=0)
        v = -np.imag((1 - Z) / (1 + Z))
        f, S = scipy.signal.welch(v, 1000 / (15.0 * dt), nperseg=500)
        power.append(S)
    theory = places(C=0.0, K=0.0, sigma=1e-9, n=float(n)).spectra("mean V", jnp.asarray(f[1:]))[:, 0, 0].real
    for low, high in [(10, 25), (25, 35), (35, 60), (60, 120), (120, 300)]:
        inside = (f[1:] > low) & (f[1:] < high)
        assert np.mean(power, axis=0)[1:][inside].sum() / theory[inside].sum() == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("way", WAYS)
def test_coordinates(x64, way):
    here = places()
    theta = here.free(way) + 0.1
    there = here.at(theta, way)
    np.testing.assert_allclose(there.free(way), theta, rtol=1e-12)
    assert (float(there.n) == 1000.0) == (way in ("source", "sensors"))
    assert float(there.values()["eta"]) == pytest.approx(float(there.X - (there.C + there.K) * there.R))


@pytest.mark.parametrize("kind", ["cells", pytest.param("masses", marks=pytest.mark.slow)])
def test_one_gradient_through_the_chain(x64, kind):
    """d loss(sensors) / d parameters through time, through spikes too, against finite differences."""
    small = places(n=20.0)
    node = (lambda c: c.network.node.model) if kind == "cells" else (lambda c: c.network.node)
    chain = Chain.of_cells(small) if kind == "cells" else Chain.of_masses(small)
    theta, build = jnm.free(
        chain, lambda c: (node(c).eta, node(c).C, node(c).delta, c.network.coupling.gain, c.dipole.log_scale)
    )
    G = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
    loss = SensorLoss(lambda Q: Q @ G.T, jnp.ones((6, 5)), t1=75.0, dt=0.15, discard=15.0, segment=30.0)
    both, h = jax.jit(jax.value_and_grad(lambda t: loss(build(t), jax.random.key(3)))), 1e-7
    for k, one in enumerate(both(theta)[1]):
        up, down = (both(tuple(x + s * h * (j == k) for j, x in enumerate(theta)))[0] for s in (1, -1))
        assert abs(float(one)) > 0.1
        assert float(one) == pytest.approx(float(up - down) / (2 * h), rel=1e-4), k


def wishart(S, averages, records, rng):
    half = np.linalg.cholesky(S)
    z = rng.normal(size=(records, *S.shape[:2], averages, 2)) @ np.array([1, 1j]) / np.sqrt(2)
    y = half @ z
    return y @ y.conj().swapaxes(-1, -2) / averages


@pytest.mark.slow
def test_fits_of_the_theory_itself(x64):
    """Sensors whose spectra scatter as theory says: 30 records, no bias, intervals that hold the truth."""
    here, rng = places(), np.random.default_rng(1)
    sensors = np.array([[0.2, -0.1, 1.1], [0.6, 0.1, 0.1], [0.1, 0.9, -0.1]])
    data = Measured(2.0 * np.arange(3, 51), tuple(range(3, 51)), np.zeros(0), 60.0, 500.0, np.ones(1))
    view = View(jnp.asarray(sensors), jnp.tile(jnp.eye(3), (48, 1, 1)))
    likelihood = Likelihood.of(here, "sensors", data, view, smear=1)
    theta = here.free("sensors")
    S = jnp.asarray(wishart(np.asarray(likelihood.bound(theta)[0]), 60, 30, rng))
    found = likelihood.fits(S, (theta + 0.1)[None])
    assert found.arrived.mean() > 0.9
    z = (np.asarray(found.theta) - np.asarray(theta)) / np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    assert 0.8 < np.mean(np.abs(z) < 1.645) < 0.97
    np.testing.assert_allclose(np.std(z, axis=0), 1.0, atol=0.45)


def test_records_that_tell_nothing(x64):
    """Of a flat likelihood the interval is open; one such record does not make the bias of all, nor a width of NaN."""
    here = places()
    data = Measured(2.0 * np.arange(3, 51), tuple(range(3, 51)), np.zeros(0), 60.0, 500.0, np.ones(1))
    likelihood = Likelihood.of(here, "mean V", data, View(jnp.eye(3), jnp.zeros((48, 3, 3))))
    values, sd = _spreads(likelihood, here.free("mean V")[None], jnp.full((1, 6, 6), jnp.nan))
    assert np.all(np.isfinite(values)) and np.all(np.isinf(sd))
    found = _by_name(("eta", "C", "K", "n"), np.array([[1.0], [2.0], [3.0], [1e4]]))
    assert found["K"][0] == 3.0 and found["n"][0] == np.inf

    n = np.random.default_rng(0).normal(1100.0, 50.0, 4000)
    low, high = n - 82.0, n + 82.0
    n[:40], low[:40], high[:40] = 1e17, 0.0, np.inf
    nothing = np.zeros(0)
    seen = Seen({"n": n}, {"n": low}, {"n": high}, {}, "", n > 0, nothing, nothing, nothing)
    chain = WholeChain({name: 1000.0 for name in ("eta", "C", "K", "delta", "n")}, {"mean V": seen}, 20.0)
    bias, error = chain.bias("mean V", "n")
    assert bias == pytest.approx(0.1, abs=0.005)  # of the mean 1e12
    assert error == pytest.approx(0.05 * np.sqrt(np.pi / 2 / 4000), rel=0.1)
    assert chain.width("mean V", "n") == pytest.approx(0.082, rel=1e-9) and chain.covered("mean V", "n") > 40


@pytest.fixture
def head(data_dir):
    """Three places of a real head, its magnetometers and gradiometers, their measured noise."""
    mne = pytest.importorskip("mne")
    sample = data_dir / "recordings" / "sample"
    info = mne.read_evokeds(sample / "sample-audvis-ave.fif", condition=0, verbose="error").info
    lead = LeadField.from_mne(sample / "sample-oct4-meg-fwd.fif", sample / "sample-parcels.json", info=info)
    noise = SensorNoise.from_mne(sample / "sample-audvis-cov.fif", info, sfreq=info["sfreq"])
    return lead.select(["parcel-18", "parcel-2", "parcel-88"]).pick(noise.ch_names), noise


def test_an_unstable_rest_is_refused():
    """Between a silent and a fast rest lies a third, which cells leave."""
    there, names = places(X=0.3, C=6.0, delta=0.1), ("a", "b", "c")
    lead = LeadField(jnp.eye(3), jnp.zeros((3, 3)), jnp.zeros((3, 3)), None, names, ("mag",) * 3, names)
    assert there.growth > 0 > places().growth
    with pytest.raises(ValueError, match="rest of these places is unstable"):
        whole_chain(there, lead, SensorNoise(jnp.eye(3), names, ("mag",) * 3), jax.random.key(0))


@pytest.mark.slow
def test_looks_at_spiking_cells(head):
    """A short record of few cells: everything in its place, rates as the theory says; refusals."""
    lead, noise = head
    few = places(n=100.0)
    signals = record(few, 2, 320.0, jax.random.key(0), raster=20)
    assert signals.moment.shape == (2, 2000, 3) and signals.raster.shape == (2000, 20, 3)
    assert float(signals.rate.mean()) == pytest.approx(float(few.R) / 15.0, rel=0.05)
    sensors, own = projected(lead, noise)
    np.testing.assert_allclose(own.mixing, np.eye(3), atol=1e-6)
    assert np.all(
        (0.5 < np.linalg.norm(sensors, axis=0)) & (np.linalg.norm(sensors, axis=0) < 2.0)
    )  # per nA m, sqrt(Hz)
    seen = look(signals, sensors, own, jax.random.key(1), 160.0)
    assert set(seen.S) == set(WAYS) and seen.S["sensors"].shape == (501, 3, 3)
    top = seen.f_hz > 1000.0  # where there is noise alone, one per Hz in each component
    assert np.einsum("fii->fi", seen.S["sensors"])[top].real.mean() == pytest.approx(1.0, rel=0.1)
    with pytest.raises(ValueError, match="a region of fixed orientation for each place"):
        whole_chain(few, lead.select(lead.labels[:2]), noise, jax.random.key(0))
    with pytest.raises(ValueError, match="records = 1"):
        whole_chain(few, lead, noise, jax.random.key(0), records=1)
    with pytest.raises(ValueError, match="0 epochs"):
        record(few, 0, 320.0, jax.random.key(0))
    with pytest.raises(ValueError, match="rows of sum one"):
        places(links=((0.0, 0.5), (1.0, 0.0)))


@pytest.mark.slow
def test_twenty_records(head):
    """The study: what each way of looking tells, with intervals; where the mass is wrong, the test says so."""
    chain = whole_chain(places(), *head, jax.random.key(7))
    assert 0.83 <= chain.coverage("spikes") <= 0.99
    for way in ("source", "sensors"):
        assert 0.7 <= chain.coverage(way) <= 0.99
    assert chain.coverage("mean V") < 0.75  # slow cells are no clocks under noise, and the mean V is made of them
    assert chain.coverage("sensors, no shots") < 0.75  # a mass of infinitely many cells
    for name in ("C", "K", "delta"):
        assert abs(chain.bias("spikes", name)[0]) < 0.08
        assert chain.width("sensors", name) > 1.2 * chain.width("source", name)
    assert "not told" in str(chain)
    table = chain.to_xarray()
    assert table.estimate.dims == ("way", "parameter", "record") and table.sizes["record"] == 20
    figure = chain.plot()
    assert len(figure.axes) == 7
    plt.close(figure)
