"""Where a mode passes zero: the specification's value, closed forms with and without delays, and their derivatives."""

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

import jnm
from jnm.stability import DelayedCycle, dispersion, limit_cycle, transverse_onset

PAIR = [[0.4, 0.6], [0.6, 0.4]]  # eigenvalues 1 and -0.2


def ping(brain, IE, eps):
    return jnm.Network(jnm.PING(IE=IE), brain, jnm.Linear(eps))


def IE(model):
    return jnm.at(lambda m: m.node.I, 0)(model)


def gain(model):
    return model.coupling.gain


def test_onset_about_rest(x64):
    """Of a chain of one mode besides the uniform one: where its Jacobian says."""
    brain = jnm.Connectome(PAIR)
    net = ping(brain, 2.0, 9.0)
    onset = transverse_onset(net, IE, 2.0, 16.0)
    found = dispersion(ping(brain, float(onset.value), 9.0))
    assert onset.mode == 1
    assert float(found.growth_rates[1]) == pytest.approx(0.0, abs=1e-10)
    assert float(onset.connectivity_eigenvalue) == pytest.approx(-0.2)
    assert float(onset.frequency_hz) == pytest.approx(float(found.frequencies_hz[1]), rel=1e-9)
    with pytest.raises(RuntimeError, match=r"no growth rate passes zero .* from 2 to 3"):
        transverse_onset(net, IE, 2.0, 3.0, steps=2)
    with pytest.raises(ValueError, match="mode = 2; the connectivity has modes 0 to 1"):
        transverse_onset(net, IE, 2.0, 3.0, mode=2)


@pytest.mark.slow
def test_the_synchronous_gamma_loses_its_stability(x64, brain):
    net = ping(brain, 10.0, 8.0)
    onset = transverse_onset(net, IE, 10.0, 12.5, state=limit_cycle(net), steps=5)
    assert float(onset.value) == pytest.approx(11.2992061, abs=6e-8)
    assert (onset.mode, onset.name) == (16, "node.I[0]")
    assert 0 < onset.frequency_hz < onset.about.frequency_hz / 2 - 1  # complex multipliers: a torus
    at = dispersion(ping(brain, onset.value, 8.0), limit_cycle(ping(brain, onset.value, 8.0)))
    assert float(at.growth_rates[at.fastest]) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.slow
def test_gradient_of_an_onset(x64, brain):
    cycle = limit_cycle(ping(brain, 10.0, 8.0))

    def onset(eps):
        return transverse_onset(ping(brain, 10.0, eps), IE, 11.0, 12.0, state=cycle, mode=16, steps=3).value

    difference = (onset(8.001) - onset(7.999)) / 0.002
    assert float(jax.grad(onset)(8.0)) == pytest.approx(float(difference), rel=1e-5)


# With delays, about rest: i w = -a + L g exp(-i w T) of a leak, so that tan(w T) = -w / a and |L| g = sqrt(a^2 + w^2)


def turning(rate, delay, L):
    """The gain at which the pattern of L < 0 starts to turn, and how fast it does."""
    w = brentq(lambda w: w * np.cos(w * delay) + rate * np.sin(w * delay), np.pi / 2 / delay, np.pi / delay, xtol=1e-15)
    return np.hypot(rate, w) / -L, w


def test_a_delayed_pattern_starts_to_turn(x64, leaks):
    lengths = np.full((2, 2), 20.0)

    def onset(rate, speed):
        net = leaks(PAIR, lengths, 1.0, speed, rate)
        return transverse_onset(net, gain, 1.0, 4.0, state=net.init(), steps=2)

    wanted, w = turning(0.1, 4.0, -0.2)
    found = onset(0.1, 5.0)
    assert float(found.value) == pytest.approx(wanted, rel=1e-11)
    assert float(found.frequency_hz) == pytest.approx(1000 * w / (2 * np.pi), rel=1e-10)
    for factor, grows in ((0.999, 0), (1.001, 1)):
        net = leaks(PAIR, lengths, factor * found.value)
        assert dispersion(net, net.init(), line=-0.8).unstable == grows
    slopes = jax.grad(lambda rate, speed: onset(rate, speed).value, (0, 1))(0.1, 5.0)
    by_rate = (turning(0.1 + 1e-5, 4.0, -0.2)[0] - turning(0.1 - 1e-5, 4.0, -0.2)[0]) / 2e-5
    by_speed = (turning(0.1, 20 / (5 + 1e-5), -0.2)[0] - turning(0.1, 20 / (5 - 1e-5), -0.2)[0]) / 2e-5
    np.testing.assert_allclose(slopes, [by_rate, by_speed], rtol=1e-7)


def test_a_delayed_pattern_grows_without_turning(x64, leaks):
    """At L g = a, whatever the delay."""
    net = leaks(PAIR, np.full((2, 2), 20.0), -0.1)
    onset = transverse_onset(net, gain, -1.0, -0.1, state=net.init(), steps=3)
    assert float(onset.value) == pytest.approx(-0.1 / 0.2, rel=1e-12)
    assert float(onset.frequency_hz) == pytest.approx(0.0, abs=1e-9)


def test_the_speed_is_turned(x64, leaks):
    """T = (pi - atan(w / a)) / w with w^2 = (L g)^2 - a^2."""
    net = leaks(PAIR, np.full((2, 2), 20.0), 2.0)
    onset = transverse_onset(net, lambda m: m.speed, 2.0, 8.0, state=net.init(), steps=3)
    w = np.sqrt(0.4**2 - 0.1**2)
    assert float(onset.value) == pytest.approx(20 * w / (np.pi - np.arctan(w / 0.1)), rel=1e-11)


@pytest.mark.slow
def test_delayed_ping_about_rest(x64):
    """Where the dispersion relation has its zero, and on both sides of it."""
    brain = jnm.Connectome(PAIR).with_delays(np.full((2, 2), 2.0))

    def net(IE):
        return jnm.Network(jnm.PING(IE=IE), brain, jnm.Linear(9.0), speed=1.0)

    onset = transverse_onset(net(2.0), IE, 2.0, 16.0, steps=14)
    low, at, high = (dispersion(net(onset.value + shift), line=-0.4).growth_rates[1] for shift in (-1e-3, 0.0, 1e-3))
    assert low * high < 0
    assert float(at) == pytest.approx(0.0, abs=1e-11)


# With delays, about a cycle: Kuramoto's phases, x' = K cos(Omega T) (L x(t - T) - x), lose their synchrony where
# Omega T = pi / 2 with Omega = 2 pi f - K sin(Omega T)

K, DELAY = 0.01, 20.0


def phases(gain=K, frequency=10.0):
    brain = jnm.Connectome(PAIR).with_delays(np.full((2, 2), DELAY))
    return jnm.Network(jnm.Kuramoto(frequency=frequency), brain, jnm.Linear(gain), speed=1.0)


@pytest.mark.slow
def test_delayed_phases_lose_their_synchrony(x64):
    cycle = limit_cycle(phases())

    def onset(gain, steps=1):
        net = phases(gain)
        return transverse_onset(net, lambda m: m.node.frequency, 13.0, 15.0, state=cycle, steps=steps)

    found = onset(K)
    assert isinstance(found.about, DelayedCycle)
    assert float(found.value) == pytest.approx(1000 * (np.pi / 2 / DELAY + K) / (2 * np.pi), rel=1e-10)
    assert float(found.frequency_hz) == pytest.approx(0.0, abs=1e-6)
    for factor, grows in ((0.999, 0), (1.001, 1)):
        net = phases(K, factor * found.value)
        assert dispersion(net, cycle.follow(net)).unstable == grows
    slope = jax.grad(lambda gain: onset(gain).value)(K)
    assert float(slope) == pytest.approx(1000 / (2 * np.pi), rel=1e-8)
    with pytest.raises(RuntimeError, match="no growth rate passes zero"):
        transverse_onset(phases(), lambda m: m.node.frequency, 10.0, 11.0, state=cycle, steps=1)


def test_a_cycle_of_another_kind_of_network_is_refused(x64):
    plain = jnm.Network(jnm.Kuramoto(frequency=10.0), jnm.Connectome(PAIR), jnm.Linear(K))
    cycle = limit_cycle(plain)
    with pytest.raises(ValueError, match="the cycle is one without delays"):
        transverse_onset(phases(), gain, 0.01, 0.02, state=cycle)
    uneven = jnm.Connectome(PAIR).with_delays(np.array([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(ValueError, match="tract lengths run from 1 to 4 mm"):
        transverse_onset(jnm.Network(plain.node, uneven, plain.coupling, speed=1.0), gain, 0.01, 0.02, state=cycle)
