"""free(): selections, names, domains, gradients through build against finite differences, and errors that help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jnm
from jnm.fitting import free

PRESETS = [jnm.MPR, jnm.ING, jnm.Pyramidal, jnm.PING, jnm.PINGSecondOrder, jnm.JansenRit]


@pytest.fixture
def net():
    weights = jnp.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.2], [0.3, 0.4, 0.0]])
    brain = jnm.Connectome(weights, lengths=40.0 * jnp.ones((3, 3)) - 40.0 * jnp.eye(3))
    return jnm.Network(jnm.PING(IE=2.0), brain, jnm.Linear(gain=3.0), speed=5.0, speed_range=(2.0, 20.0))


def slope(model, weights):
    """A number that depends on every parameter of the drift."""
    y = jax.tree.map(lambda x: x + 0.3, model.init())
    return sum(jnp.sum(w * x) for w, x in zip(weights, jax.tree.leaves(model.drift(0.0, y, jnm.Drive())), strict=False))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.__name__)
def test_every_parameter_of_every_preset(x64, preset):
    """theta reproduces the model; the gradient through build equals finite differences, under jit too."""
    model = preset()
    names = [name for name in jnm._param.parameters(model) if getattr(model, name) is not None]
    theta, build = free(model, lambda m: {name: getattr(m, name) for name in names})
    assert set(build.names) == set(names)
    for name in names:
        np.testing.assert_allclose(getattr(build(theta), name), getattr(model, name), rtol=1e-14)
    flat, unravel = ravel_pytree(theta)
    weights = np.random.default_rng(0).normal(size=8)

    def total(x):
        return slope(build(unravel(x)), weights)

    gradient, h = jax.jit(jax.grad(total))(flat), 1e-5
    for i, step in enumerate(h * np.eye(flat.size)):
        difference = float(total(flat + step) - total(flat - step)) / (2 * h)
        assert float(gradient[i]) == pytest.approx(difference, rel=1e-6, abs=1e-8 * float(jnp.abs(gradient).max())), i


def test_structures_and_names(net):
    theta, build = free(net, lambda m: (m.node.eta, [m.coupling.gain, jnm.at(lambda m: m.node.I, 0)]))
    assert jax.tree.structure(theta) == jax.tree.structure((0, [0, 0]))
    assert build.names == ("node.eta", "coupling.gain", "node.I[0]")
    assert build.labels == ("node.eta[0]", "node.eta[1]", "coupling.gain", "node.I[0]")
    theta, build = free(net, [jnm.at(lambda m: m.node.C, (slice(None), 0)), lambda m: m.speed])
    assert build.names == ("node.C[:, 0]", "speed") and build.labels[:2] == ("node.C[0, 0]", "node.C[1, 0]")
    assert build.units == {"node.C[:, 0]": "", "speed": "mm/ms"}
    assert free(net, jnm.at(lambda m: m.connectome.weights, jnp.array([0, 2])))[1].names == (
        "connectome.weights[[0, 2]]",
    )


def test_elements_leave_the_others_alone(net):
    theta, build = free(net, jnm.at(lambda m: m.node.I, 0), domains=jnm.Interval(0.0, 10.0))
    np.testing.assert_allclose(build(theta + 1.0).node.I, [10 * jax.nn.sigmoid(theta + 1), 0.0], rtol=1e-6)
    np.testing.assert_allclose(build.values(theta)["node.I[0]"], 2.0, rtol=1e-6)


def test_domains_own_given_and_by_name(net):
    where = {"a": lambda m: m.speed, "b": lambda m: m.node.tau_m, "c": lambda m: m.node.eta}
    domains = free(net, where)[1].domains
    assert str(domains["speed"]) == "(2, 20)" and isinstance(domains["node.tau_m"], jnm.Positive)
    by_structure = free(net, where, {"a": None, "b": jnm.Interval(1.0, 9.0), "c": None})[1].domains
    by_name = free(net, where, {"node.tau_m": jnm.Interval(1.0, 9.0)})[1].domains
    assert (
        str(by_structure) == str(by_name)
        and str(by_name["node.tau_m"]) == "(1, 9)"
        and str(by_name["speed"]) == "(2, 20)"
    )


def test_build_under_vmap_and_as_an_argument(net):
    theta, build = free(net, lambda m: m.coupling.gain)
    many = jax.vmap(lambda x: build(x).coupling.gain)(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(many, [1.0, 2.0])
    assert jax.jit(lambda build, x: build(x).coupling.gain)(build, theta) == 3.0


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (lambda m: m.node.sigma, r"None.*Its parameters are node.tau_m.*Absent.*node.sigma"),
        (lambda m: m.node.order, "selects 1, which is no array"),
        (lambda m: m.node, "the whole NMM2"),
        (lambda m: m.node.etta, "no attribute 'etta'.*node.eta"),
        (lambda m: m.node.eta + 1, "something it has not"),
        (lambda m: (m.node.eta, jnm.at(lambda m: m.node.eta, 1)), r"node.eta\[1\] twice"),
        (jnm.at(lambda m: m.node.I, 7), r"node.I\[7\].*shape \(2,\)"),
        (jnm.at(lambda m: m.node.I, slice(0, 0)), r"no element with node.I\[0:0\]"),
        (jnm.at(jnm.at(lambda m: m.node.C, 0), 1), "indexed twice"),
        ((), "selects ()"),
    ],
)
def test_selections_that_hit_nothing(net, where, message):
    with pytest.raises(ValueError, match=message):
        free(net, where)


def test_integers_are_not_fitted():
    class Counter(jnm.AbstractModel):
        n: jax.Array

        def init(self): ...
        def drift(self, t, y, drive): ...
        def output(self, t, y): ...
        def source(self, t, y, drive): ...

    with pytest.raises(ValueError, match="n, which is not made of real numbers"):
        free(Counter(jnp.array(3)), lambda m: m.n)


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        (jnm.Interval(4.0, 9.0), r"node.I\[0\] = 2.0 does not lie in its domain \(\(4, 9\)\)"),
        ((None, None), "wanted that of where"),
        ({"node.J": jnm.Real()}, r"some of node.I\[0\]"),
        ({"node.I[0]": (0.0, 1.0)}, "domains wants"),
        (3.0, "domains wants"),
    ],
)
def test_domains_that_do_not_fit(net, domains, message):
    with pytest.raises(ValueError, match=message):
        free(net, jnm.at(lambda m: m.node.I, 0), domains)


def test_theta_of_another_structure(net):
    theta, build = free(net, lambda m: (m.coupling.gain, m.node.eta))
    with pytest.raises(ValueError, match="as jnm.free returned it"):
        build(list(theta))
    with pytest.raises(ValueError, match=r"node.eta has shape \(3,\); wanted \(2,\)"):
        build((theta[0], jnp.zeros(3)))
