"""Grids: members on demand, axes with names and units, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.sweeps import grid, sample, zipped


@pytest.fixture(scope="module")
def net():
    brain = jnm.Connectome(jnp.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.2], [0.3, 0.4, 0.0]]), lengths=10 * np.ones((3, 3)))
    return jnm.Network(jnm.PING(IE=2.0), brain, jnm.Linear(gain=10.0), speed=5.0)


def test_members_in_c_order_with_names_and_units(net):
    gains, speeds = [1.0, 2.0, 3.0], [4.0, 6.0]
    members = grid(net, (lambda m: m.coupling.gain, lambda m: m.speed), (gains, speeds))
    assert members.dims == {"gain": 3, "speed": 2} and members.shape == (3, 2) and len(members) == 6
    want = [(g, s) for g in gains for s in speeds]
    assert [(float(m.coupling.gain), float(m.speed)) for m in members] == want
    assert members.coordinates()["speed"][2]["units"] == "mm/ms"
    assert members.where(3) == "gain = 2, speed = 6 mm/ms"
    assert repr(members) == "Grid of Network: gain (3) x speed (2) = 6 members"
    traced = jax.jit(jax.vmap(lambda i: (members[i].coupling.gain, members[i].speed)))(jnp.arange(6))
    np.testing.assert_array_equal(np.stack(traced, 1), want)
    assert float(net.coupling.gain) == 10.0


def test_elements_arrays_weights_and_stimuli(net):
    currents = grid(
        net, {"IE": jnm.at(lambda m: m.node.I, 0), "II": jnm.at(lambda m: m.node.I, 1)}, {"IE": [1, 2], "II": [3]}
    )
    assert list(currents.dims) == ["IE", "II"]
    np.testing.assert_array_equal(currents[1].node.I, [2.0, 3.0])
    weights = grid(
        net, lambda m: m.connectome.weights, np.asarray(net.connectome.weights) * np.array([1, 2])[:, None, None]
    )
    np.testing.assert_array_equal(weights[1].connectome.weights, 2 * net.connectome.weights)
    np.testing.assert_array_equal(weights.coordinates()["weights"][1], [0, 1])
    filled = grid(net, lambda m: m.node.eta, [-4.0, -3.0])  # one number for both populations
    np.testing.assert_array_equal(filled[1].node.eta, [-3.0, -3.0])
    both = grid((net, jnm.Sine(10.0)), (lambda m: m[0].node.eta, lambda m: m[1].frequency), ([-5.0], [10.0, 40.0]))
    assert float(both[1][1].frequency) == 40.0 and both.coordinates()["frequency"][2]["units"] == "Hz"


def test_equal_field_names_are_told_apart_by_their_paths():
    pair = {"a": jnm.ING(), "b": jnm.ING()}
    members = grid(pair, (lambda m: m["a"].eta, lambda m: m["b"].eta), ([1.0], [2.0]))
    assert list(members.dims) == ["['a'].eta", "['b'].eta"]


def test_keys_do_not_depend_on_the_length_of_axes_and_follow_seeds():
    key = jax.random.key(3)
    small = grid(jnm.ING(), (lambda m: m.eta, lambda m: m.tau_s), ([1.0, 2.0], [1.0, 2.0]))
    large = grid(jnm.ING(), (lambda m: m.eta, lambda m: m.tau_s), ([1.0, 2.0], [1.0, 2.0, 3.0]))
    assert small.key(key, 3) == large.key(key, 4) == jax.random.fold_in(jax.random.fold_in(key, 1), 1)
    assert len({tuple(jax.random.key_data(large.key(key, i)).tolist()) for i in range(6)}) == 6
    line = grid(jnm.ING(), lambda m: m.eta, [1.0, 2.0])
    assert line.key(key, 1) == jax.random.fold_in(key, 1)
    seeds = grid(jnm.ING(), (lambda m: m.eta, "seed"), ([1.0, 2.0], range(5, 8)))
    assert seeds.dims == {"eta": 2, "seed": 3}
    assert seeds.key(key, 1) == seeds.key(key, 4) == jax.random.fold_in(key, 6)


def test_zipped_moves_together(net):
    points = zipped(net, (lambda m: m.coupling.gain, lambda m: m.speed), ([1.0, 2.0], [4.0, 6.0]))
    assert points.dims == {"point": 2} and float(points[1].speed) == 6.0
    with pytest.raises(ValueError, match="2 of gain, 3 of speed"):
        zipped(net, (lambda m: m.coupling.gain, lambda m: m.speed), ([1.0, 2.0], [4.0, 5.0, 6.0]))


@pytest.mark.parametrize("design", ["sobol", "latin", "random"])
def test_samples_fill_their_intervals(net, design):
    where = (lambda m: m.coupling.gain, lambda m: m.speed)
    drawn = sample(net, where, (jnm.Interval(0, 20), None), 64, design)
    gain, speed = drawn.values
    assert drawn.dims == {"sample": 64} and 2.5 < speed.min() and speed.max() < 10  # the speed_range
    np.testing.assert_array_equal(gain, sample(net, where, ((0, 20), None), 64, design).values[0])
    assert np.any(gain != sample(net, where, ((0, 20), None), 64, design, seed=1).values[0])
    per_bin = np.histogram(gain, 64, (0, 20))[0]
    assert (per_bin.max() == 1) == (design != "random")  # both designs are even in each parameter alone
    quarters = np.histogram2d(gain, speed, 8, ((0, 20), (2.5, 10)))[0]
    assert (quarters.max() == 1) == (design == "sobol")  # Sobol's points are even in both together


@pytest.mark.parametrize(
    ("where", "values", "told"),
    [
        (lambda m: m.node.order, [1.0], "no array of the model"),
        (lambda m: m.node.nothing, [1.0], "something it has not"),
        ((), (), "selects nothing"),
        (jnm.at(lambda m: m.node.I, slice(5, 7)), [1.0], "no element"),
        (lambda m: m.node, [1.0], "whole NMM2"),
        (lambda m: m.speed, [1.0, 5.0], r"1 of 2 values of speed .in mm/ms. lie outside its domain .\(2.5, 10\)"),
        (lambda m: m.node.tau_m, [-1.0, 5.0], "outside its domain .positive.: -1"),
        (lambda m: m.coupling.gain, [np.nan], "outside its domain"),
        (lambda m: m.coupling.gain, ["high"], "must be real numbers"),
        (lambda m: m.coupling.gain, 3.0, "wanted a list of values"),
        (lambda m: m.coupling.gain, [], "wanted a list of values"),
        (lambda m: m.node.I, np.ones((4, 3)), r"wanted numbers, or arrays of shape \[2\]"),
        ((lambda m: m.speed, lambda m: m.coupling.gain), [[4.0]], "tuple of 2"),
        ({"a": lambda m: m.speed}, {"b": [4.0]}, "keys of where, a"),
        ((lambda m: m.speed, lambda m: m.speed), ([4.0], [4.0]), "twice"),
        ("seed", [1.5], "whole numbers"),
        ({"a": lambda m: (m.speed, m.coupling.gain)}, {"a": [4.0]}, "tuple of 2"),
        (jnm.at(lambda m: m.connectome.weights, (0, 0)), [1.0], "no connection"),
    ],
)
def test_what_is_refused(net, where, values, told):
    with pytest.raises(ValueError, match=told):
        grid(net, where, values)


def test_what_samples_refuse(net):
    def gain(m):
        return m.coupling.gain

    for domain, n, design, told in (
        (None, 8, "sobol", "no interval"),
        ((0, 1), 0, "sobol", "one or more"),
        ((0, 1), 8, "lattice", "known are sobol, latin, random"),
        ((1, 0), 8, "sobol", "low < high"),
    ):
        with pytest.raises(ValueError, match=told):
            sample(net, gain, domain, n, design)
    with pytest.raises(ValueError, match="seeds are no interval"):
        sample(net, "seed", (0, 1))
    with pytest.raises(ValueError, match="wanted a model, or a tuple"):
        grid(3.0, gain, [1.0])
    with pytest.raises(IndexError, match="2 members"):
        grid(net, gain, [1.0, 2.0])[2]
