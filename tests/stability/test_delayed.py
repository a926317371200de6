"""Exponents of networks with one delay: Lambert's function, the whole network's characteristic matrix, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import lambertw

import jnm
from jnm.stability import dispersion

LENGTHS = 20.0 * (1 - np.eye(3))
RING = [[0.0, 0.7, 0.3], [0.3, 0.0, 0.7], [0.7, 0.3, 0.0]]


def test_a_leak_by_lamberts_function(x64, leaks):
    """l = -a + W(L g T e^(a T)) / T, all branches right of the line and no other."""
    net, line = leaks(RING, LENGTHS, 0.4), -0.8
    found = dispersion(net, net.init(), line=line)
    assert float(found.delay) == pytest.approx(4.0)
    for L, got in zip(found.connectivity_eigenvalues, np.asarray(found.exponents), strict=True):
        branches = lambertw(complex(L) * 0.4 * 4.0 * np.exp(0.4), np.arange(-40, 41))
        wanted = -0.1 + branches / 4.0
        wanted = wanted[wanted.real > line]
        got = got[np.isfinite(got)]
        assert len(got) == len(wanted) > 2
        assert max(np.min(np.abs(got - value)) for value in wanted) < 1e-11


@pytest.mark.slow
def test_ping_by_the_whole_networks_characteristic_matrix(x64):
    net = jnm.Network(jnm.PING(IE=2.0), jnm.Connectome(RING, LENGTHS), jnm.Linear(10.0), speed=5.0)
    found = dispersion(net, line=-0.4)
    alone = jnm.Network(net.node, net.connectome, net.coupling)
    state = ravel_pytree(alone.init())[1]
    x = jnp.repeat(ravel_pytree(found.about.state)[0], 3)

    def flow(x, sent):
        drive = jnm.Drive(arrive=lambda own: net.connectome.weights @ sent)
        return ravel_pytree(alone.drift(0.0, state(x), drive))[0]

    def sent(x):
        return alone.output(jnp.asarray(0.0), state(x))

    A, B = jax.jacfwd(flow, (0, 1))(x, sent(x))
    C, tau = jax.jacfwd(sent)(x), 4.0
    for exponent in np.ravel(found.exponents):
        if np.isfinite(exponent):
            matrix = exponent * np.eye(18) - A - np.exp(-exponent * tau) * B @ C
            assert np.linalg.svd(matrix, compute_uv=False)[-1] < 1e-12
    assert np.sum(np.isfinite(found.exponents)) > 3


@pytest.mark.parametrize(("length", "atol"), [(2e-5, 1e-6), (0.0, 1e-12)])
def test_a_short_delay_is_none(x64, leaks, length, atol):
    net = leaks(RING, np.full((3, 3), length), 0.4, speed=45.0)
    found = dispersion(net, net.init(), line=-0.5)
    np.testing.assert_allclose(found.growth_rates, -0.1 + 0.4 * np.real(found.connectivity_eigenvalues), atol=atol)


def test_derivatives_in_gain_and_speed(x64, leaks):
    def growth(gain, speed):
        net = leaks(RING, LENGTHS, gain, speed)
        return dispersion(net, net.init(), line=-0.8).growth_rates[1]

    gradient = jax.grad(growth, (0, 1))(0.4, 5.0)
    for got, (a, b) in zip(gradient, ((1e-3, 0.0), (0.0, 1e-3)), strict=True):
        difference = (growth(0.4 + a, 5.0 + b) - growth(0.4 - a, 5.0 - b)) / 2e-3
        assert float(got) == pytest.approx(float(difference), rel=1e-5)


def test_bad_input_is_named(x64, leaks):
    uneven = LENGTHS.copy()
    uneven[0, 1] = 60.0
    with pytest.raises(ValueError, match=r"tract lengths run from 20 to 60 mm.*no patterns of the network"):
        dispersion(leaks(RING, uneven, 0.4))
    net = leaks(RING, LENGTHS, 0.4)
    with pytest.raises(ValueError, match=r"line = -5 /ms.*400 at most"):
        dispersion(net, net.init(), line=-5.0)
    with pytest.raises(ValueError, match="no vector"):
        dispersion(net, net.init(), line=-0.8).vectors(0)
