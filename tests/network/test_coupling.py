"""Couplings: their formulae written out, and gains that differ between receivers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.network import AbstractCoupling

RNG = np.random.default_rng(0)
W = RNG.random((4, 4)) * (1 - np.eye(4))
X = RNG.uniform(0.01, 0.1, 4)


def afferent(coupling, receive=None):
    """What each population of each region of a PING network receives when the regions send X."""
    net = jnm.Network(jnm.PING(receive=receive), jnm.Connectome(W), coupling)
    y = net.init()
    y = y._replace(s=y.s.at[0].set(X))
    alone = jnm.Network(jnm.PING(receive=receive), jnm.Connectome(W), jnm.Linear(0.0))
    return np.asarray(net.drift(0.0, y, jnm.Drive()).v - alone.drift(0.0, y, jnm.Drive()).v)


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


FORMULAE = {
    "linear": (lambda g: jnm.Linear(gain=g), W @ X),
    "diffusive": (lambda g: jnm.Diffusive(gain=g), np.sum(W * (X[None] - X[:, None]), axis=1)),
    "sigmoidal": (
        lambda g: jnm.Sigmoidal(gain=g, midpoint=0.1, slope=30.0, high=0.2),
        0.2 * sigmoid(30.0 * (W @ X - 0.1)),
    ),
}


@pytest.mark.parametrize("name", FORMULAE)
def test_formulae(x64, name):
    make, expected = FORMULAE[name]
    np.testing.assert_allclose(afferent(make(3.0)), [3.0 * expected] * 2, rtol=1e-9)


@pytest.mark.parametrize("name", FORMULAE)
def test_gains_may_differ_between_receiving_populations_and_regions(x64, name):
    make, expected = FORMULAE[name]
    np.testing.assert_allclose(afferent(make((3.0, 0.5))), [3.0 * expected, 0.5 * expected], rtol=1e-9)
    np.testing.assert_allclose(afferent(make((3.0, 0.0))), [3.0 * expected, 0 * expected], rtol=1e-9)
    each = RNG.random((2, 4))
    np.testing.assert_allclose(afferent(make(each)), each * expected, rtol=1e-9)
    np.testing.assert_allclose(afferent(make((2.0,)), receive=1), [0 * expected, 2.0 * expected], rtol=1e-9, atol=1e-15)


def test_diffusion_vanishes_between_equals_and_conserves(x64):
    symmetric = W + W.T
    coupling = jnm.Diffusive()
    same = jnp.full(4, 0.3)
    np.testing.assert_allclose(coupling(symmetric @ same, same, symmetric.sum(axis=1)), 0.0, atol=1e-15)
    x = jnp.asarray(X)
    assert coupling(symmetric @ x, x, symmetric.sum(axis=1)).sum() == pytest.approx(0.0, abs=1e-15)


def test_sigmoid_saturates_at_its_height():
    coupling = jnm.Sigmoidal(gain=1.0, midpoint=0.05, slope=50.0, high=0.1)
    totals = jnp.array([-10.0, 0.05, 10.0])
    np.testing.assert_allclose(coupling(totals, totals, totals), [0.0, 0.05, 0.1], atol=1e-7)


def test_a_coupling_of_one_s_own():
    class Quadratic(AbstractCoupling):
        gain: jax.Array = jnm.param(1.0)

        def afferent(self, total, own, strength):
            return total**2

    np.testing.assert_allclose(afferent(Quadratic(2.0)), [2 * (W @ X) ** 2] * 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jnm.Linear(gain=np.ones((2, 2, 2))), r"Linear: gain has shape"),
        (lambda: jnm.Linear(gian=1.0), r"Linear: unknown parameter gian; known are gain\."),
        (lambda: jnm.Linear(gain=np.nan), r"Linear: gain = nan is outside"),
        (lambda: jnm.Sigmoidal(slope=-1.0), r"Sigmoidal: slope = -1 is outside its domain"),
        (
            lambda: afferent(jnm.Linear((1.0, 2.0, 3.0))),
            r"gain has shape \[3\]; this node wants \[\], \[2\] or \[2, 4\]",
        ),
        (lambda: afferent(jnm.Linear(np.ones((2, 3)))), r"gain has shape \[2, 3\]; this node wants"),
        (lambda: jnm.Network(jnm.ING(), jnm.Connectome(W), jnm.Linear(np.ones(4))), r"wants \[\] \(scale the rows"),
    ],
)
def test_bad_gains_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
