"""State maps: the rules on made-up numbers, small maps against dispersion relations, and points of the spec (slow)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.stability import StateMap, dispersion, limit_cycle, lyapunov, state_map

KEY = jax.random.key(0)
PAIR = np.array([[0.4, 0.6], [0.6, 0.4]])
PLANE = (jnm.at(lambda m: m.node.I, 0), lambda m: m.coupling.gain)


def pair(drive=2.0, eps=8.0):
    return jnm.Network(jnm.PING(IE=drive), jnm.Connectome(PAIR), jnm.Linear(eps))


def made_up(exponents, swing=0.5, difference=0.3):
    """A map of one point, run for two seconds, with errors of .0002 /ms."""
    point = np.reshape(exponents, (1, 1, -1))
    numbers = (np.full((1, 1), x) for x in (swing, difference, 40.0))
    return StateMap(
        (np.ones(1), np.ones(1)), point, 2e-4 + 0 * point, *numbers, 2000.0, ("a", "b"), ("a", "b"), "random"
    )


@pytest.mark.parametrize(
    ("kind", "exponents", "settings"),
    [
        ("rest", (-0.1, -0.1, -0.2), dict(swing=1e-5, difference=0.0)),
        ("synchronous", (0.0003, -0.01, -0.02), dict(difference=1e-4)),
        ("heterogeneous", (0.0003, -0.002, -0.003), {}),
        ("quasi-periodic", (0.0003, -0.0004, -0.003), {}),
        ("chaotic", (0.0015, 0.0002, -0.003), {}),
        ("hyperchaotic", (0.0055, 0.0050, 0.0045), {}),
        ("diverged", (np.nan, np.nan, np.nan), dict(swing=np.nan)),
    ],
)
def test_the_rules(kind, exponents, settings):
    assert made_up(exponents, **settings).kinds[0, 0] == kind


def test_a_weak_exponent_needs_a_long_run():
    """Chaos of .0015 /ms is not told from a torus by errors of .0006 /ms."""
    found = made_up((0.0015, 0.0001, -0.0004))
    unsure = StateMap(found.values, found.exponents, 3 * found.standard_errors, *(found.swing, found.difference),
                      found.frequencies_hz, 2000.0, found.names, found.labels, "random")  # fmt: skip
    assert (found.kinds[0, 0], unsure.kinds[0, 0]) == ("chaotic", "quasi-periodic")


@pytest.fixture(scope="module")
def small():
    with jax.enable_x64(True):
        return state_map(pair(), PLANE, ([2.0, 10.0], [6.0, 8.0]), key=KEY, t1=1000.0, discard=200.0, k=2)


def test_a_small_map_is_what_dispersion_relations_say(small, x64):
    for i, drive in enumerate(small.values[0]):
        for j, eps in enumerate(small.values[1]):
            net = pair(drive, eps)
            rest = dispersion(net)
            if small.kinds[i, j] == "rest":
                rates = np.sort(np.real(rest.exponents).ravel())[::-1][:2]
                np.testing.assert_allclose(small.exponents[i, j], rates, atol=4e-3)
                assert np.isnan(small.frequencies_hz[i, j])
                continue
            cycle = limit_cycle(net)
            stays = dispersion(net, cycle).unstable == 0
            assert (small.kinds[i, j] == "synchronous") == stays
            if stays:
                assert small.frequencies_hz[i, j] == pytest.approx(float(cycle.frequency_hz), abs=1.0)
    assert small.kinds[0, 0] == "rest"
    assert "synchronous" in small.kinds[1]


def test_a_ringing_that_dies_out_is_rest_without_a_frequency(x64):
    node = jnm.StuartLandau(a=-0.02, frequency=10.0, tau=10.0)
    where = lambda m: m.node.a, lambda m: m.coupling.gain
    net = jnm.Network(node, jnm.Connectome([[0.0, 1.0], [1.0, 0.0]]), jnm.Diffusive(0.1))
    found = state_map(net, where, ([-0.02, 0.1], [0.1, 0.2]), key=KEY, t1=800.0, dt=1.0, k=1, discard=200.0)
    assert [list(row) for row in found.kinds] == [["rest"] * 2, ["synchronous"] * 2]
    assert np.all(found.swing > 0.1) and np.all(np.isnan(found.frequencies_hz[0]))
    np.testing.assert_allclose(found.exponents[0], -0.002, atol=2e-4)
    np.testing.assert_allclose(found.frequencies_hz[1], 10.0, atol=0.2)


def test_picture_and_table(small):
    figure = small.plot()
    assert [ax.get_xlabel() for ax in figure.axes[:3]] == ["node.I[0]"] * 3
    assert figure.axes[0].get_ylabel() == "coupling.gain"
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "rest"
    table = small.to_xarray()
    assert table.kind.sel({"node.I[0]": 2.0, "coupling.gain": 8.0}) == "rest"
    assert table.exponent.dims == ("node.I[0]", "coupling.gain", "order")
    assert table.attrs["start"] == "homogeneous"


@pytest.mark.slow
def test_a_point_is_a_run_of_lyapunov(x64):
    """The same state, the same pushes at random: the same exponents to the error of both."""
    net = pair(10.0, 8.0)
    found = state_map(net, PLANE, ([10.0, 10.5], [8.0, 8.5]), key=KEY, t1=1000.0, discard=200.0, k=2, start=net.init())
    alone = lyapunov(net, 2, 1000.0, 0.1, KEY, discard=200.0, start=net.init())
    np.testing.assert_allclose(found.exponents[0, 0], alone.exponents, atol=4 * np.max(alone.standard_errors))


def test_bad_input_is_named(x64):
    axes = ([2.0, 3.0], [8.0, 9.0])
    with pytest.raises(ValueError, match="wanted two parameters"):
        state_map(pair(), PLANE[0], axes, key=KEY)
    with pytest.raises(ValueError, match=r"have shape \(1,\); wanted two numbers or more"):
        state_map(pair(), PLANE, ([2.0], [8.0, 9.0]), key=KEY)
    with pytest.raises(ValueError, match="start = 'ordered'"):
        state_map(pair(), PLANE, axes, key=KEY, start="ordered")
    with pytest.raises(ValueError, match="outside its domain"):
        state_map(pair(), (lambda m: m.node.tau_m, PLANE[1]), ([-1.0, 8.0], axes[1]), key=KEY)
    uneven = jnm.Network(jnm.PING(), jnm.Connectome([[0.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(ValueError, match="different sums of weights"):
        state_map(uneven, PLANE, axes, key=KEY)


@pytest.mark.slow
def test_points_of_the_specification(x64, data_dir):
    """Rest at (2, 12), synchrony at (6, 12), hyperchaos at (12, 8): brain-network.md 2; (8, 12) is not chaotic."""
    brain = jnm.Connectome.read(data_dir / "connectome" / "sc2017.dat").normalised("rows")
    net = jnm.Network(jnm.PING(IE=2.0), brain, jnm.Linear(8.0))
    found = state_map(net, PLANE, (jnp.array([2.0, 6.0, 12.0]), [8.0, 12.0]), key=KEY, t1=4000.0, discard=1000.0)
    assert list(found.kinds[:, 0]) == ["rest", "synchronous", "hyperchaotic"]
    assert list(found.kinds[:2, 1]) == ["rest", "synchronous"]
    assert found.frequencies_hz[1, 1] == pytest.approx(30.78, abs=0.5)
    np.testing.assert_allclose(found.exponents[2, 0], [0.0056, 0.0050, 0.0045], atol=0.0015)
    for i, drive in enumerate((2.0, 6.0, 12.0)):
        for j, eps in enumerate((8.0, 12.0)):
            here = jnm.Network(jnm.PING(IE=drive), brain, jnm.Linear(eps))
            stays = dispersion(here, None if drive == 2.0 else limit_cycle(here)).unstable == 0
            assert stays == (found.kinds[i, j] in ("rest", "synchronous"))
