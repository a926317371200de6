"""A network is a model: its afferents, its regions, its place in the contract, and what it refuses."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jnm
from jnm.models.nmm2 import NMM2State
from jnm.testing import check_model

RNG = np.random.default_rng(0)
W = RNG.random((5, 5)) * (1 - np.eye(5)) / 4
LENGTHS = RNG.uniform(10.0, 60.0, (5, 5)) * (1 - np.eye(5))


def brain(lengths=None):
    return jnm.Connectome(W, lengths=lengths)


@pytest.mark.parametrize(
    "make",
    [
        lambda: jnm.Network(jnm.PING(IE=2.0), brain(), jnm.Linear(3.0)),
        lambda: jnm.Network(jnm.PING(IE=2.0, sigma=0.1), brain(), jnm.Sigmoidal((1.0, 0.5))),
        lambda: jnm.Network(jnm.JansenRit(), brain(), jnm.Diffusive(10.0)),
        lambda: jnm.Network(jnm.PING(IE=jnp.linspace(0, 4, 5), receive=1), brain(), jnm.Linear(3.0)),
    ],
    ids=["linear", "sigmoidal", "diffusive", "regions differ"],
)
def test_contract(make):
    check_model(make())


def test_trajectory_against_scipy(x64):
    """Weights are [to, from], the E population sends, both receive: written out in NumPy (brain-network.md 1)."""
    IE = np.linspace(1.0, 9.0, 5)
    net = jnm.Network(jnm.PING(IE=IE), brain(), jnm.Linear(4.0))

    def slope(t, x):
        rE, rI, vE, vI, sE, sI = x.reshape(6, 5)
        afferent = 4.0 * W @ sE
        delta = 1 / (np.pi * 8.0)
        return np.concatenate(
            [
                (delta + 2 * rE * vE) / 8,
                (delta + 2 * rI * vI) / 8,
                (vE**2 - 5 + IE - (np.pi * 8 * rE) ** 2) / 8 + 5 * sE - 13 * sI + afferent,
                (vI**2 - 5 - (np.pi * 8 * rI) ** 2) / 8 + 13 * sE - 5 * sI + afferent,
                (rE - sE) / 1.0,
                (rI - sI) / 5.0,
            ]
        )

    start = np.concatenate([np.ravel(x) for x in net.init() if x is not None])
    exact = solve_ivp(slope, (0, 30), start, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1].reshape(3, 2, 5)
    errors = []
    for dt in (0.02, 0.01):
        y = jnm.simulate(net, 30.0, dt, save_every=30.0).ys
        errors.append(np.abs(np.stack([y.r[-1], y.v[-1], y.s[-1]]) - exact).max())
    assert errors[1] < 1e-4 and np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


def test_regions_without_weights_are_nodes_alone(x64):
    IE = jnp.linspace(0.0, 10.0, 5)
    net = jnm.Network(jnm.PING(IE=IE), jnm.Connectome(np.zeros((5, 5))), jnm.Linear(4.0))
    together = jnm.simulate(net, 20.0, 0.05).ys.r[-1]
    for i in range(5):
        np.testing.assert_allclose(together[:, i], jnm.simulate(jnm.PING(IE=IE[i]), 20.0, 0.05).ys.r[-1], rtol=1e-12)


@pytest.mark.parametrize("value", [np.linspace(1, 5, 5), np.ones((2, 5)) * np.linspace(1, 5, 5)], ids=["row", "rows"])
def test_vector_parameters_make_regions_differ(value):
    node = jnm.PING(IE=value) if value.ndim == 1 else jnm.PING(sigma=0.01 * value)
    net = jnm.Network(node, brain())
    assert net.init().r.shape == (2, 5) and net.n_regions == 5 and net.rank == 2
    if value.ndim == 1:
        rate = jnm.simulate(net, 20.0, 0.1).ys.r[-1, 0]
        assert jnp.all(jnp.diff(rate) > 0)
    else:
        x = np.asarray(jnm.simulate(net, 80.0, 0.1, key=jax.random.key(0), discard=30.0).ys.v)
        sd = np.diff(x, axis=0).std(axis=0)
        np.testing.assert_allclose(sd / sd[0, 0], value, rtol=0.15)


def test_each_region_has_its_own_stimulus_and_hears_the_sending_population(x64):
    node = jnm.PING(send=1, receive=0)
    net = jnm.Network(node, brain(), jnm.Linear(2.0))
    y = NMM2State(jnp.ones((2, 5)), jnp.ones((2, 5)), jnp.asarray(RNG.random((2, 5))))
    quiet = jnm.Network(node, brain(), jnm.Linear(0.0))
    added = net.drift(0.0, y, jnm.Drive()).v - quiet.drift(0.0, y, jnm.Drive()).v
    np.testing.assert_allclose(added, [2 * W @ y.s[1], np.zeros(5)], atol=1e-12)
    own = jnp.arange(5.0)
    driven = net.drift(0.0, y, jnm.Drive(synaptic=own)).v - net.drift(0.0, y, jnm.Drive()).v
    np.testing.assert_allclose(driven, [own, np.zeros(5)], atol=1e-12)
    np.testing.assert_array_equal(net.output(0.0, y), y.s[1])


@pytest.mark.parametrize("gain", [2.0, (2.0,), np.full((1, 5), 2.0)], ids=["one gain", "a receiver's", "each region's"])
def test_a_stimulus_of_each_population_leaves_those_that_do_not_receive_deaf(x64, gain):
    """It reaches all of them, the network only the receivers: no matter how the gain is given."""
    net = jnm.Network(jnm.PING(receive=1), brain(), jnm.Linear(gain))
    y = net.init()._replace(s=jnp.asarray(RNG.random((2, 5))))
    each = jnp.asarray(RNG.random((2, 5)))
    quiet = jnm.Network(jnm.PING(receive=1), brain(), jnm.Linear(0.0)).drift(0.0, y, jnm.Drive()).v
    driven = net.drift(0.0, y, jnm.Drive(synaptic=each)).v
    np.testing.assert_allclose(driven - quiet, each + np.stack([np.zeros(5), 2 * W @ y.s[0]]), atol=1e-12)


def test_two_of_three_populations_receive_and_all_are_stimulated(x64):
    node = jnm.NMM2(tau_m=(8.0, 9.0, 10.0), tau_s=2.0, delta=1.0, eta=0.0, C=np.zeros((3, 3)), receive=(0, 2))
    net = jnm.Network(node, brain(), jnm.Linear((3.0, 0.5)))
    y = net.init()._replace(s=jnp.asarray(RNG.random((3, 5))))
    each, heard = jnp.asarray(RNG.random((3, 5))), W @ y.s[0]
    driven = net.drift(0.0, y, jnm.Drive(synaptic=each)).v - node.drift(0.0, y, jnm.Drive()).v
    np.testing.assert_allclose(driven, each + np.stack([3 * heard, np.zeros(5), 0.5 * heard]), atol=1e-12)
    stimulated = jnm.simulate(net, 0.1, 0.1, y0=y, stimulus=jnm.Constant(each, into="synaptic"), solver=diffrax.Euler())
    by_hand = y.v + 0.1 * net.drift(0.0, y, jnm.Drive(synaptic=each)).v
    np.testing.assert_allclose(stimulated.ys.v[0], by_hand, rtol=1e-12)


def test_the_source_sees_afferents(x64):
    net = jnm.Network(jnm.PING(), brain(), jnm.Linear(3.0))
    y = net.init()
    alone = jnm.Network(jnm.PING(), brain(), jnm.Linear(0.0))
    np.testing.assert_allclose(
        net.source(0.0, y, jnm.Drive()) - alone.source(0.0, y, jnm.Drive()), 8.0 * 3.0 * W @ y.s[0], rtol=1e-12
    )


def test_noise_and_constraint_are_the_node_s():
    net = jnm.Network(jnm.PING(sigma=0.1, sigma_r=0.01), brain())
    y = net.init()
    assert net.diffusion(0.0, y).r.shape == (2, 5)
    assert net.constrain(y._replace(r=-y.r)).r.min() == 0.0
    free = jnm.Network(jnm.PING(), brain())
    assert free.constrain(y) is y and free.diffusion(0.0, y) is None


def test_a_network_is_built_inside_transformations():
    def rate(gain):
        net = jnm.Network(jnm.PING(IE=2.0), brain(), jnm.Linear(gain))
        return jnm.simulate(net, 5.0, 0.1).ys.r[-1].mean()

    def delayed(gain):
        net = jnm.Network(jnm.PING(IE=2.0), connectome, jnm.Linear(gain), speed=5.0)
        return jnm.simulate(net, 20.0, 0.1).ys.r[-1].mean()

    connectome, gains = brain(LENGTHS), jnp.array([1.0, 5.0])
    np.testing.assert_allclose(jax.jit(jax.vmap(delayed))(gains), [delayed(g) for g in gains], rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(rate)(gains), [rate(g) for g in gains], rtol=1e-5)
    assert jnp.isfinite(jax.grad(rate)(2.0))


def test_speed_moves_within_its_range():
    net = jnm.Network(jnm.PING(), brain(LENGTHS), speed=4.0)
    assert net.speed_range == (2.0, 8.0)
    domain = net.own_domains["speed"]
    assert (domain.low, domain.high) == (2.0, 8.0)
    assert jnm.Network(jnm.PING(), brain()).own_domains == {}
    assert jnm.Network(jnm.PING(), brain(LENGTHS), speed=4.0, speed_range=(1, 30)).speed_range == (1.0, 30.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: jnm.Network(jnm.PING(), brain(), speed=5.0),
            r"speed is given, but the connectome has no lengths; give",
        ),
        (lambda: jnm.Network(jnm.PING(), brain(), speed_range=(1, 2)), r"speed_range = \(1, 2\) without a speed"),
        (
            lambda: jnm.Network(jnm.PING(), brain(LENGTHS), speed=5.0, speed_range=(6.0, 9.0)),
            r"speed = 5.0 with speed_range = \(6.0, 9.0\)",
        ),
        (lambda: jnm.Network(jnm.PING(), brain(LENGTHS), speed=5.0, speed_range=(9.0, 1.0)), r"wanted 0 < low < speed"),
        (lambda: jnm.Network(jnm.PING(), brain(LENGTHS), speed=-5.0), r"wanted 0 < low < speed < high"),
        (lambda: jnm.Network(jnm.PING(), brain(LENGTHS), speed=np.inf), r"wanted 0 < low"),
        (
            lambda: jnm.Network(jnm.PING(), brain(LENGTHS), speed=[1.0, 2.0]),
            r"speed has shape \[2\]; it is one number, in mm/ms, or one for",
        ),
        (lambda: jnm.Network(jnm.PING(IE=jnp.ones(7)), brain()), r"node parameters for 7 regions, but .* 5"),
        (
            lambda: jnm.Network(jnm.PING(receive=0), brain(), jnm.Linear((1.0, 2.0))),
            r"gain has shape \[2\].*\[\], \[1\]",
        ),
        (
            lambda: jnm.Network(jnm.PING(), brain(), velocity=5.0),
            r"unknown parameter velocity; .*coupling, speed, speed_",
        ),
        (lambda: jnm.Network(jnm.PING(), brain(LENGTHS), speed="fast"), r"real numbers; got 'fast'"),
        (lambda: jnm.Network(jnm.Network(jnm.PING(), brain()), brain()), r"node is itself a network"),
        (
            lambda: jax.jit(lambda v: jnm.Network(jnm.PING(), brain(LENGTHS), speed=v).init().r)(3.0),
            r"a traced speed needs speed_range",
        ),
        (
            lambda: jax.jit(lambda w: jnm.Network(jnm.PING(), jnm.Connectome(w, lengths=LENGTHS), speed=3.0).init().r)(
                W
            ),
            r"outside of jit and vmap; its lengths size the history",
        ),
    ],
)
def test_bad_networks_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_changing_a_parameter_keeps_the_rest():
    net = jnm.Network(jnm.PING(), brain(LENGTHS), speed=4.0)
    faster = eqx.tree_at(lambda m: m.speed, net, jnp.array(6.0))
    assert faster.speed == 6.0 and faster.edges == net.edges and hash(faster.edges) == hash(net.edges)
    assert jnm.Network(jnm.PING(), brain(2 * LENGTHS), speed=4.0).edges != net.edges
