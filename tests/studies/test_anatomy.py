"""The anatomy study: labels change nothing, surrogates do; patterns; and the spec's cross-frequency numbers (slow)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.stability import dispersion
from jnm.studies import anatomy
from jnm.studies.anatomy import ITSELF, SURROGATES, pattern_shares, waxing_and_waning


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


def test_bad_input_is_named(x64):
    with pytest.raises(ValueError, match="two seconds or more"):
        anatomy(small(), seed=0, seconds=1.0)
    with pytest.raises(ValueError, match="unknown kind rotated; known are shuffled"):
        anatomy(small(), seed=0, kinds=("rotated",))


@pytest.mark.slow
def test_what_the_connectome_makes_of_gamma(x64, data_dir):
    """brain-network.md 2 at (11, 12.5): 54.2 +- .5 Hz, an envelope variation of .304 +- .03, of one region .031 at most."""
    brain = jnm.Connectome.read(data_dir / "connectome" / "sc2017.dat").normalised("rows")
    net = jnm.Network(jnm.PING(IE=11.0), brain, jnm.Linear(12.5))
    found = anatomy(net, seed=0, members=2, kinds=("relabelled",), seconds=12.0, signal=lambda t, y: y.v[0])
    own, alone = found.measures[ITSELF], found.measures["one region"]
    assert own["rhythm"][0] == pytest.approx(54.2, abs=1.0)
    assert own["envelope variation"][0] == pytest.approx(0.304, abs=0.04)
    assert alone["envelope variation"][0] < 0.031  # which the ends of the record make: here they are left out
    assert alone["modulation index"][0] < 0.1 * own["modulation index"][0]
    assert jnp.sum(found.pattern) == pytest.approx(1.0)
