"""The Freeman masses beside LIF networks: the hash network of spec/lif-and-freeman.md, 6, the budget, the protocol."""

import jax
import numpy as np
import pytest

import jnm
from jnm.plot.validity import budget as draw_budget, maps
from jnm.spiking import LIFNetwork
from jnm.studies.freeman import TERMS, closed_loop, error_budget, mass_of, reconstruct
from jnm.studies.freeman.point import draw_events
from jnm.studies.freeman.significance import distinguished_by_correlation, distinguished_by_spectrum
from jnm.studies.freeman.study import _chi, _median

N, M, DT = 200, 10_000, 0.1


def mix(x):
    """The 32-bit hash of the spec."""
    x = np.asarray(x, np.uint64) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def hash_network(share, p):
    m, n = np.meshgrid(np.arange(N), np.arange(N), indexing="ij")  # sender, receiver
    within = (mix(m * N + n + 1) < int(p * 2**32)) & (m != n)
    j, n = np.meshgrid(np.arange(M), np.arange(N), indexing="ij")
    outside = (mix(j * N + n + 1_000_003) < int(0.01 * 2**32)) & (n < share * N)
    return LIFNetwork(within.T, outside.T, n_excitatory=round(share * N), q_E=2.5, q_I=12.5, Q=0.0)


@pytest.fixture(scope="module")
def hashed():
    """The sparse hash network: itself, its run over 400 ms, and the record of what moved its mean potential."""
    with jax.enable_x64(True):
        net = hash_network(0.8, 0.05)
        events = (mix(5 * np.arange(4000)[:, None] + np.arange(5) + 777) % M).astype(np.int64)
        start = net.init()._replace(v=jax.numpy.asarray(-60 + 10 * np.arange(N) / N))
        yield net, net.run(400.0, DT, start=start, events=events, currents=True)


@pytest.mark.parametrize(("kind", "last"), [("CFM", -57.8941146054), ("MFM", -58.0192241321)])
def test_masses_driven_by_the_hash_network(x64, hashed, kind, last):
    net, run = hashed
    Vbar = float(np.mean(run.V[1000:]))
    assert Vbar == pytest.approx(-58.827129546, abs=1e-9)
    V = reconstruct(mass_of(net, kind, Vbar), run.Phi, DT, Vbar)
    assert V[3999] == pytest.approx(last, abs=1e-9)


def test_the_budget_adds_up_and_its_first_line_is_exact(x64, hashed):
    """Without membrane noise the recorded currents, reset and hold included, make the mean potential to rounding."""
    net, run = hashed
    Vbar = float(np.mean(run.V[1000:]))
    found = error_budget(net, run, DT, Vbar, first=1000)
    np.testing.assert_allclose(found.potential[:, 1], run.V, atol=1e-9)
    misfit = run.V[1000:] - reconstruct(mass_of(net, "CFM", Vbar), run.Phi, DT, Vbar)[1000:]
    assert np.sum(found.mean) == pytest.approx(np.mean(misfit), abs=1e-9)
    assert abs(found.mean[TERMS.index("reset")]) > 0.05  # 85 spikes of 10 mV and 5 ms each in 200 neurons


def test_correlations_are_told_apart_by_their_effective_samples():
    worth = np.full((2, 3), 50.0)
    assert distinguished_by_correlation(np.full(3, 0.5), np.full(3, 0.95), worth) == 1.0
    assert distinguished_by_correlation(np.full(3, 0.94), np.full(3, 0.95), worth) == 0.0
    assert np.isnan(distinguished_by_correlation(np.full(3, np.nan), np.full(3, 0.95), worth))


def test_how_often_a_twin_is_told_from_a_twin():
    """Both tests keep their level where mass and twin are alike: at most 3 % of 2,000 at alpha = .01."""
    rng = np.random.default_rng(0)
    z = rng.normal(1.0, 1 / np.sqrt(47), (2_000, 2, 3))
    worth = np.full((2, 3), 50.0)
    by_correlation = np.mean([distinguished_by_correlation(*np.tanh(each), worth) for each in z])
    assert by_correlation == pytest.approx(0.01, abs=0.007)
    logs = rng.normal(-2.0, 0.3, (2_000, 2, 5))
    by_spectrum = np.mean([distinguished_by_spectrum(*np.exp(each)) for each in logs])
    assert by_spectrum == pytest.approx(0.01, abs=0.007)
    assert np.isnan(distinguished_by_spectrum(np.ones(2), np.ones(2)))


def test_events_are_the_union_of_poisson_trains():
    net = LIFNetwork.preset("A", p=0.0, fraction_excitatory=0.8, n=100, key=jax.random.key(0))
    events = draw_events(net, jax.random.key(1), 20_000, DT)
    counts = np.sum(events >= 0, axis=1)
    assert np.mean(counts) == pytest.approx(5.0, abs=5 * np.sqrt(5.0 / 20_000))
    assert np.var(counts) == pytest.approx(5.0, rel=0.05)
    assert np.mean(events[events >= 0]) == pytest.approx(M / 2, rel=0.01)


def test_the_loop_has_the_networks_numbers():
    net = LIFNetwork.preset("A", p=0.1, fraction_excitatory=0.8, n=500, key=jax.random.key(0))
    loop = closed_loop(net, 0.1, 0.8)
    assert (float(loop.k_E), float(loop.k_I), float(loop.phi_X)) == pytest.approx((40.0, 10.0, 0.5))
    assert float(loop.mass.tau_E) == 3.0 and float(loop.mass.q_E) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study of two cells with little networks, stored; and where."""
    folder = tmp_path_factory.mktemp("study")
    settings = dict(p=[0.05, 0.5], fraction_excitatory=[0.8], n=200, t1=400.0, discard=100.0, repeats=2)
    return jnm.studies.validity("B", key=jax.random.key(0), store=folder, **settings), folder, settings


def test_the_protocol(small):
    found, _, _ = small
    assert found.sizes["repeat"] == 2 and found.sizes["term"] == len(TERMS)
    assert found.attrs["open loop"] == "reconstruction, not prediction"
    lost = found.budget_mean.sum("term").values
    wrong = found["mean"].sel(series="network") - found["mean"].sel(series="CFM")
    np.testing.assert_allclose(lost, wrong.values, atol=2e-3)
    assert np.all(found.correlation.sel(model="twin") < 0.999)  # membrane noise of its own
    assert np.all(np.isfinite(found.chi_square)) and np.all(np.isfinite(found.loop_rate))


def test_a_study_goes_on_where_it_stopped(small, monkeypatch):
    found, folder, settings = small
    (folder / "p0.5-lambda0.8.npz").unlink()
    again = jnm.studies.validity("B", key=jax.random.key(0), store=folder, **settings)
    assert again.equals(found)

    def no_work(*args, **kwargs):
        raise AssertionError("a point that was stored is computed again")

    monkeypatch.setattr("jnm.studies.freeman.study._point", no_work)
    assert jnm.studies.validity("B", key=jax.random.key(0), store=folder, **settings).equals(found)
    with pytest.raises(ValueError, match=r"another study \(n: 200 there, 300 here\)"):
        jnm.studies.validity("B", key=jax.random.key(0), store=folder, **{**settings, "n": 300})


def test_the_pictures_are_drawn(small):
    found, _, _ = small
    assert len(maps(found).axes) == 32  # sixteen maps and their bars of colour
    assert len(draw_budget(found, [(0.05, 0.8), (0.5, 0.8)]).axes) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(p=[1.2]), r"p = \[1.2\]; wanted different values in \[0, 1\]"),
        (dict(discard=5e3), "0 <= discard < t1"),
        (dict(repeats=0), "one repeat or more"),
    ],
)
def test_impossible_studies_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        jnm.studies.validity("A", key=jax.random.key(0), **change)


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[time, 3\]"):
        reconstruct(jnm.FreemanMFM(), np.ones((5, 2)), DT, -60.0)
    with pytest.raises(ValueError, match="CFM"):
        mass_of(LIFNetwork.preset("A", p=0.1, fraction_excitatory=0.8, n=50, key=jax.random.key(0)), "JR", -60.0)


def test_what_stands_still_has_no_spectral_numbers():
    """Without excitatory neurons no source is heard: such a mass has no power, and its study goes on."""
    f_hz, moving, still = np.arange(1.0, 9.0), np.ones(8), np.zeros(8)
    assert _chi(moving, moving) == 0.0 and np.isfinite(_median(f_hz, moving))
    assert np.isnan([_chi(moving, still), _chi(still, moving), _median(f_hz, still)]).all()
