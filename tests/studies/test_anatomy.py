"""The anatomy study: labels change nothing, surrogates do; patterns; and the spec's cross-frequency numbers (slow)."""

import equinox as eqx
import jax
import numpy as np
import pytest

import jnm
from jnm.network import shuffled
from jnm.stability import dispersion
from jnm.stability.field import shaped
from jnm.stability.lyapunov import regions_apart
from jnm.studies import anatomy
from jnm.studies.anatomy import ALONE, ITSELF, SURROGATES
from jnm.studies.anatomy_rhythms import pattern_shares, waxing_and_waning


def small():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(8, 3)) * 30
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    weights = np.exp(-distance / 15) * (1 - np.eye(8))
    brain = jnm.Connectome(weights, distance, points).normalised("rows")
    return jnm.Network(jnm.PING(IE=12.0), brain, jnm.Linear(8.0))


@pytest.fixture(scope="module")
def found():
    with jax.enable_x64(True):
        return anatomy(small(), seed=0, members=4, about="rest")


def test_labels_change_nothing_and_other_surrogates_do(found, x64):
    own = found.measures[ITSELF]
    assert set(found.measures) == {ITSELF, *SURROGATES}
    for name, (value,) in own.items():
        np.testing.assert_allclose(found.measures["relabelled"][name], value, rtol=1e-9)
        assert found.p("relabelled", name) == 1.0
    for kind in ("shuffled", "rewired", "neighbourly"):
        low, high = found.interval(kind, "second eigenvalue")
        assert high - low > 1e-3
    alone = dispersion(small())
    assert own["growth"][0] == pytest.approx(float(alone.growth_rates[alone.fastest]), abs=1e-12)
    np.testing.assert_allclose(found.growth_rates, alone.growth_rates, atol=1e-12)


def test_picture_and_table(found):
    assert [ax.get_xlabel() for ax in found.plot().axes[:2]] == ["growth (1/ms)", "unstable (modes)"]
    table = found.to_xarray()
    assert float(table.growth.sel(kind=ITSELF)[0]) == found.measures[ITSELF]["growth"][0]
    assert table.growth.sizes == {"kind": 5, "member": 4}


def test_a_pattern_is_found_in_its_own_mode():
    brain = small().connectome
    times = np.sin(np.linspace(0, 40, 200))[:, None]
    x = times * brain.modes().right[:, 3] + 7.0
    shares = pattern_shares(brain, x)
    assert shares[3] == pytest.approx(1.0, abs=1e-6)
    noise = np.random.default_rng(0).normal(size=(20_000, 8)) * np.sqrt(brain.balance())
    np.testing.assert_allclose(pattern_shares(brain, noise), 1 / 8, atol=0.01)  # an orthogonal basis: equal shares


def test_a_rhythm_that_waxes_as_told(x64):
    """1 + .4 cos at 6 Hz has a variation of .4 / sqrt(2), all of it slow."""
    t = np.arange(6000.0)[:, None] / 1000
    phase = np.array([[0.0, 1.0, 2.0]])
    slow = 2 * np.pi * 6.0 * t + phase
    x = (1 + 0.4 * np.cos(slow)) * np.cos(2 * np.pi * 55.0 * t) + 0.2 * np.cos(slow)
    told = waxing_and_waning(x)
    assert told.rhythm == pytest.approx(55.0, abs=0.5)
    assert told.variation == pytest.approx(0.4 / np.sqrt(2), rel=0.02)
    assert told.slow > 0.95
    assert told.modulation > 0.01
    assert told.pace == pytest.approx(6.0, abs=0.25)
    assert np.sum(told.spectrum) * told.slow_hz[1] == pytest.approx(told.variation**2, rel=0.05)  # Parseval
    sharp = waxing_and_waning(x + 2 * np.cos(2 * np.pi * 110.0 * t))
    assert sharp.rhythm == pytest.approx(110.0, abs=0.5)  # four times as strong: a rhythm of its own
    assert waxing_and_waning(x + np.cos(2 * np.pi * 110.0 * t)).rhythm == told.rhythm  # its harmonic


@pytest.mark.slow
def test_runs_side_by_side_are_runs_one_by_one(x64):
    """The study's numbers are those of `simulate` on each surrogate."""
    net, key = small(), jax.random.key(0)
    ran = anatomy(net, seed=0, members=2, kinds=("shuffled",), about="rest", seconds=2.0, settling=0.5, chunk=2)
    turned = eqx.tree_at(lambda n: n.connectome.weights, net, shuffled(net.connectome, 1).normalised("rows").weights)
    start = shaped(turned, regions_apart(turned, "random", jax.random.split(key, 4)[3], 0.05))
    x = jnm.simulate(turned, 2500.0, 0.05, y0=start, save_every=1.0, discard=500.0, save=turned.output).ys
    told = waxing_and_waning(np.asarray(x))
    rows = ran.measures["shuffled"]
    assert rows["rhythm"][1] == told.rhythm
    for name, value in (("envelope variation", told.variation), ("modulation index", told.modulation)):
        assert rows[name][1] == pytest.approx(value, rel=1e-6)
    assert rows["unison"][1] == pytest.approx(pattern_shares(turned.connectome, np.asarray(x))[0], rel=1e-6)
    np.testing.assert_allclose(ran.spectra["shuffled"][1], told.spectrum, rtol=1e-4)
    assert set(ran.measures[ALONE]) == set(rows) - {"growth", "unstable", "second eigenvalue", "unison", "agreement"}
    table, figure = ran.to_xarray(), ran.plot()
    assert table.envelope_spectrum.sizes == {"kind": 3, "member": 2, "frequency": len(ran.slow_hz)}
    assert float(table.growth.sel(kind=ALONE)[0]) != float(table.growth.sel(kind=ALONE)[0])  # not a number there
    assert figure.axes[-1].get_ylabel() == "share of the variance"


def test_bad_input_is_named(x64):
    with pytest.raises(ValueError, match="two seconds or more"):
        anatomy(small(), seed=0, seconds=1.0)
    with pytest.raises(ValueError, match="unknown kind rotated; known are shuffled"):
        anatomy(small(), seed=0, kinds=("rotated",))
    with pytest.raises(ValueError, match="about = 'chaos'"):
        anatomy(small(), seed=0, about="chaos")


@pytest.mark.slow
def test_what_the_connectome_makes_of_gamma(x64, data_dir):
    """brain-network.md 2 at (11, 12.5): 54.2 +- .5 Hz, a variation of .304 +- .03, at 6.5 +- 2.5 Hz; 8: whose is it?

    The coupling makes it, not the anatomy: no region alone waxes or wanes, and shuffled connectomes do so as much. What is
    the anatomy's is the pace: the network's envelopes are faster than those of all its surrogates.
    """
    brain = jnm.Connectome.read(data_dir / "connectome" / "sc2017.dat").normalised("rows")
    net = jnm.Network(jnm.PING(IE=11.0), brain, jnm.Linear(12.5))
    kinds = ("shuffled", "relabelled")
    found = anatomy(net, seed=0, members=3, kinds=kinds, seconds=12.0, settling=4.0, signal=lambda t, y: y.v[0])
    own, alone = found.measures[ITSELF], found.measures[ALONE]
    assert own["rhythm"][0] == pytest.approx(54.2, abs=0.5)
    assert own["envelope variation"][0] == pytest.approx(0.304, abs=0.03)
    assert own["envelope peak"][0] == pytest.approx(6.5, abs=3.0)  # 8.5 to 9 Hz, in bins of half a Hz
    assert alone["envelope variation"][0] < 0.01
    assert alone["modulation index"][0] < 0.01 * own["modulation index"][0]
    assert np.all(np.abs(found.measures["relabelled"]["envelope variation"] - 0.304) < 0.01)
    assert np.all(np.abs(found.measures["shuffled"]["envelope variation"] - 0.304) < 0.04)
    assert np.all(found.measures["shuffled"]["envelope peak"] < 7)
    assert np.all(found.measures["relabelled"]["envelope peak"] > 7)
    assert np.sum(found.pattern) == pytest.approx(1.0) and np.argmax(found.pattern) == 0
    assert found.eigenvalues[np.argmax(found.envelope_pattern)] < -0.15  # strongly connected regions take turns
