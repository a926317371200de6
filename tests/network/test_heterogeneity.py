"""Heterogeneous networks against networks whose values are written out by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.network import Heterogeneous
from jnm.testing import check_model

RNG = np.random.default_rng(3)
W, LENGTHS = RNG.random((4, 4)) * (1 - np.eye(4)), RNG.uniform(10.0, 40.0, (4, 4))
MAPS = RNG.normal(size=(2, 4))
KEY = jax.random.key(0)


def network(node, speed=None):
    return jnm.Network(node, jnm.Connectome(W, lengths=LENGTHS), jnm.Linear(gain=0.2), speed)


def test_it_runs_as_the_network_of_its_values(x64):
    slope, options = np.array([0.05, -0.1]), {"t1": 30.0, "dt": 0.5, "key": KEY}
    model = Heterogeneous(network(jnm.WongWang(sigma=0.001)), "w", MAPS, slope)
    values = 0.9 * (1 + slope @ MAPS)
    np.testing.assert_allclose(model.expanded.node.w, values, rtol=1e-14)
    by_hand = jnm.simulate(network(jnm.WongWang(w=values, sigma=0.001)), **options)
    run = jnm.simulate(model, **options)
    np.testing.assert_allclose(run.ys.S, by_hand.ys.S, rtol=1e-13)
    assert run.to_xarray().S.dims == ("time", "region")
    delayed = network(jnm.WongWang(), speed=5.0)
    assert eqx.tree_equal(Heterogeneous(delayed, "w", MAPS, slope).delays(0.5), delayed.delays(0.5))


def test_populations_share_a_slope_or_have_their_own(x64):
    node = jnm.PING(IE=2.0)
    both = Heterogeneous(network(node), "eta", MAPS[0], 0.1).expanded.node.eta
    np.testing.assert_allclose(both, -5.0 * (1 + 0.1 * MAPS[:1]) * np.ones((2, 1)), rtol=1e-12)
    each = Heterogeneous(network(node), "eta", MAPS, np.array([[0.1, 0.0], [0.2, 0.3]])).expanded.node.eta
    wanted = -5.0 * (1 + np.array([[0.1, 0.2], [0.0, 0.3]]) @ MAPS)
    np.testing.assert_allclose(each, wanted, rtol=1e-12)


def test_two_parameters_one_around_the_other(x64):
    inner = Heterogeneous(network(jnm.WongWang()), "w", MAPS[0], 0.1)
    node = Heterogeneous(inner, "I0", MAPS[1], -0.05).expanded.node
    np.testing.assert_allclose(node.w, 0.9 * (1 + 0.1 * MAPS[0]), rtol=1e-14)
    np.testing.assert_allclose(node.I0, 0.3 * (1 - 0.05 * MAPS[1]), rtol=1e-14)


def test_slope_and_base_are_free(x64):
    """Two numbers for all regions; the gradient through the maps is that of finite differences."""
    model = Heterogeneous(network(jnm.WongWang()), "w", MAPS, np.array([0.05, -0.1]))
    theta, build = jnm.free(model, where=lambda m: (m.slope, m.network.node.w))
    assert [x.shape for x in theta] == [(2,), ()]

    def loss(theta):
        return jnp.sum(jnm.simulate(build(theta), 50.0, 1.0).ys.S[-1] ** 2)

    both = jax.jit(jax.value_and_grad(loss))
    slope = both(theta)[1][0]
    for k, step in enumerate(np.eye(2) * 1e-5):
        difference = (both((theta[0] + step, theta[1]))[0] - both((theta[0] - step, theta[1]))[0]) / 2e-5
        assert float(slope[k]) == pytest.approx(float(difference), rel=1e-6)


def test_it_is_searched_and_cited_as_its_network_is(x64):
    net = jnm.Network(jnm.MPR(), jnm.Connectome([[0.0, 1.0], [1.0, 0.0]]), jnm.Linear(2.0))
    model = Heterogeneous(net, "eta", [0.1, -0.1], 1.0)
    ours, theirs = (jnm.stability.fixed_points(one, starts=8) for one in (model, model.expanded))
    np.testing.assert_allclose([p.state.r for p in ours], [p.state.r for p in theirs], rtol=1e-9)
    assert "a network of 2 regions with linear coupling, each one a node of MPR" in jnm.cite(model).methods


def test_contract_and_saving(tmp_path):
    model = Heterogeneous(network(jnm.WongWang()), "I0", MAPS, 0.02)
    check_model(model)
    jnm.save(model, tmp_path / "model.json")
    assert eqx.tree_equal(jnm.load(tmp_path / "model.json"), model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Heterogeneous(network(jnm.WongWang()), "v", MAPS), r"WongWang has no parameter 'v'; it has w, J, I0"),
        (lambda: Heterogeneous(network(jnm.WongWang()), "sigma", MAPS), r"has no parameter 'sigma'"),
        (
            lambda: Heterogeneous(network(jnm.WongWang()), "w", MAPS[:, :3]),
            r"maps have shape \[2, 3\]; wanted \[map, 4\]",
        ),
        (lambda: Heterogeneous(network(jnm.WongWang()), "w", MAPS * np.nan), r"one finite number a region"),
        (lambda: Heterogeneous(network(jnm.WongWang()), "w", MAPS, np.ones(3)), r"slope has shape \[3\]"),
        (lambda: Heterogeneous(network(jnm.PING()), "C", MAPS, 0.1), r"C \[2, 2\]; wanted"),
        (lambda: Heterogeneous(network(jnm.WongWang()), "w", MAPS, 9.0), r"WongWang: w = .* outside its domain"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
