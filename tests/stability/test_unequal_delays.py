"""Networks whose delays differ: scalar equations with two delays, the equal-delay spectrum, and simulated growth."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

import jnm
from jnm.stability import delay_spectrum, dispersion

RING = np.array([[0.0, 0.7, 0.3], [0.3, 0.0, 0.7], [0.7, 0.3, 0.0]])
LENGTHS = np.array([[0.0, 12.0, 30.0], [21.0, 0.0, 9.0], [27.0, 16.0, 0.0]])


def test_one_region_by_lamberts_function(x64, leaks):
    """l = -a + W_k(b T e^(a T)) / T, of all branches the rightmost."""
    found = delay_spectrum(leaks([[-0.4]], [[20.0]]), count=7).exponents
    branches = -0.1 + lambertw(-0.4 * 4.0 * np.exp(0.4), np.arange(-9, 9)) / 4.0
    wanted = sorted(branches, key=lambda l: (-l.real, -l.imag))[:7]
    np.testing.assert_allclose(found, wanted, atol=1e-10)


def winding(f, low: complex, high: complex, n=4000) -> int:
    """How many roots an analytic function has in a rectangle: the turns of its value along the border."""
    corners = [low, complex(high.real, low.imag), high, complex(low.real, high.imag), low]
    sides = [a + (b - a) * np.linspace(0, 1, n, endpoint=False) for a, b in itertools.pairwise(corners)]
    values = f(np.concatenate([*sides, [low]]))
    return round(np.sum(np.angle(values[1:] / values[:-1])) / (2 * np.pi))


def test_two_delays_by_the_principle_of_the_argument(x64, leaks):
    """Two regions that hear themselves after 3 ms and each other after 8: l + a = b e^(-3 l) +- c e^(-8 l)."""
    a, b, c = 0.1, -0.25, 0.3
    found = np.asarray(delay_spectrum(leaks([[b, c], [c, b]], [[15.0, 40.0], [40.0, 15.0]]), count=16).exponents)

    def together(l):
        return l + a - b * np.exp(-3 * l) - c * np.exp(-8 * l)

    def apart(l):
        return l + a - b * np.exp(-3 * l) + c * np.exp(-8 * l)

    assert np.abs(together(found) * apart(found)).max() < 1e-10
    line = (
        (found[-1].real + found[-2].real) / 2 if abs(found[-1].real - found[-2].real) > 1e-6 else found[-1].real - 1e-4
    )
    right = found[found.real > line]
    corners = complex(line, -9.0), complex(3.0, 9.0)
    assert winding(together, *corners) + winding(apart, *corners) == len(right) >= 15


@pytest.mark.parametrize("node", ["leak", pytest.param("ping", marks=pytest.mark.slow)])
def test_equal_delays_are_those_of_the_dispersion_relation(x64, leaks, node):
    lengths = 20.0 * (1 - np.eye(3))
    if node == "leak":
        net = leaks(0.4 * RING, lengths)
        known = dispersion(net, net.init(), line=-0.8).exponents
        found = delay_spectrum(net, net.init(), count=8).exponents
    else:
        net = jnm.Network(jnm.PING(IE=2.0), jnm.Connectome(RING, lengths), jnm.Linear(10.0), speed=5.0)
        known = dispersion(net, line=-0.4).exponents
        found = delay_spectrum(net, count=8).exponents
    known = np.ravel(known)
    known = known[np.lexsort((-known.imag, -np.round(known.real, 9)))][:8]
    np.testing.assert_allclose(np.asarray(found).real, known.real, atol=1e-9)
    np.testing.assert_allclose(np.sort(np.abs(np.asarray(found).imag)), np.sort(np.abs(known.imag)), atol=1e-9)


def test_a_double_exponent_comes_twice(x64, leaks):
    """A ring that is the same both ways: the two turning patterns have the same exponents, to half the digits."""
    ring = 0.5 * (1 - np.eye(3))
    found = np.asarray(delay_spectrum(leaks(-ring, 20.0 * (1 - np.eye(3))), count=4).exponents)
    both = -0.1 + lambertw(0.5 * 4.0 * np.exp(0.4)) / 4.0  # L = 1/2
    assert np.abs(found[:2] - both).max() < 1e-6 and abs(found[2] - both) > 0.01


@pytest.mark.slow
def test_a_push_grows_as_the_exponents_say(x64):
    """Three regions of PING nodes beyond their Hopf points, simulated: what a small push becomes, taken apart by Prony.

    Of a sum of four terms e^(l t), every sample is the same combination of the four before it.
    """
    net = jnm.Network(jnm.PING(IE=4.0), jnm.Connectome(RING, LENGTHS), jnm.Linear(10.0), speed=5.0)
    found = delay_spectrum(net, count=5)
    exponents = np.asarray(found.exponents)
    assert exponents[3].real > 0.03 and exponents[4].real < -0.03  # four grow, the others are soon gone
    rest = found.about.state
    pushed = eqx.tree_at(lambda y: y.v, rest, rest.v.at[0].add(1e-9 * jnp.array([3.0, -1.0, 0.5])))
    past = jnp.broadcast_to(net.output(jnp.zeros(()), rest), (1000, 3))
    keep = {"save_every": 2.0, "save": lambda t, y: y.v[0], "discard": 180.0}
    run = jnm.simulate(net, 260.0, 0.05, y0=pushed, history=past, **keep)
    gone = np.asarray(run.ys).T - np.asarray(rest.v[0])[:, None]
    assert np.abs(gone).max() < 1e-3  # still a small push
    level = gone * np.exp(-2 * exponents[0].real * np.arange(gone.shape[1]))
    before = np.concatenate([np.stack([x[3 - k : -1 - k] for k in range(4)], axis=1) for x in level])
    ways = np.linalg.lstsq(before, np.concatenate([x[4:] for x in level]), rcond=None)[0]
    seen = np.log(np.roots(np.append(1, -ways))) / 2 + exponents[0].real
    np.testing.assert_allclose(np.sort_complex(seen), np.sort_complex(exponents[:4]), atol=5e-6)
    assert found.patterns.shape == (5, 3) and not found.stable


def test_derivatives_in_gain_speed_and_a_single_length(x64, leaks):
    def growth(gain, speed, length):
        net = leaks(RING, LENGTHS, gain)
        lengths = net.connectome.lengths.at[0, 1].set(length)
        net = eqx.tree_at(lambda n: (n.speed, n.connectome.lengths), net, (speed, lengths))
        return delay_spectrum(net, net.init(), count=3).exponents[1].real

    at = (-0.6, 5.0, 12.0)
    gradient = jax.grad(growth, (0, 1, 2))(*map(jnp.asarray, at))
    for i, got in enumerate(gradient):
        ends = [growth(*(jnp.asarray(x + s * 1e-4 * (j == i)) for j, x in enumerate(at))) for s in (1, -1)]
        assert float(got) == pytest.approx(float(ends[0] - ends[1]) / 2e-4, rel=1e-5)


def test_bad_input_is_named(x64, leaks):
    net = leaks(RING, LENGTHS)
    with pytest.raises(ValueError, match="with a conduction speed"):
        delay_spectrum(jnm.Network(net.node, net.connectome))
    with pytest.raises(ValueError, match="count = 0"):
        delay_spectrum(net, count=0)
    uneven = leaks(RING * np.array([[1.0], [2.0], [3.0]]), LENGTHS)
    with pytest.raises(ValueError, match="different sums of weights"):
        delay_spectrum(uneven)
    large = leaks(np.ones((200, 200)), np.full((200, 200), 20.0))
    with pytest.raises(ValueError, match=r"200 values sent and 16 points of the past make 3,400 rows; wanted 3,000"):
        delay_spectrum(large)
