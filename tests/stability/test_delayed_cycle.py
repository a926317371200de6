"""Homogeneous cycles of networks with one delay: rotating waves in closed form, Lambert's function, the network pushed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import brentq
from scipy.special import lambertw

import jnm
from jnm.stability import DelayedCycle, dispersion, limit_cycle, master_stability

PAIR = [[0.4, 0.6], [0.6, 0.4]]
RING = [[0.0, 0.7, 0.3], [0.3, 0.0, 0.7], [0.7, 0.3, 0.0]]


def delayed(node, coupling, delay, weights=RING):
    """All connections, those of a region with itself too, take `delay` ms."""
    brain = jnm.Connectome(weights).with_delays(np.full(np.shape(weights), delay))
    return jnm.Network(node, brain, coupling, speed=1.0)


def paced(net, speed):
    return jnm.Network(net.node, net.connectome, net.coupling, speed=speed, speed_range=(0.5, 2.0))


# Stuart-Landau oscillators: z = R exp(i Omega t), and in the frame that turns with it an equation with constant numbers

A, GAIN, TAU, HERTZ = 1.0, 0.6, 20.0, 12.0


def landau(delay, hertz=HERTZ, weights=RING):
    return delayed(jnm.StuartLandau(a=A, frequency=hertz, tau=TAU), jnm.Diffusive(GAIN), delay, weights)


def wave(delay, omega):
    """Omega and R^2: Omega = omega - g sin(Omega tau), R^2 = a - g + g cos(Omega tau)."""
    turn = brentq(
        lambda O: O - omega + GAIN / TAU * np.sin(O * delay), omega - GAIN / TAU, omega + GAIN / TAU, xtol=1e-15
    )
    return turn, A - GAIN + GAIN * np.cos(turn * delay)


def turning_roots(L, delay, turn, square, line):
    """All roots right of the line of (l + R^2 + q e) (l + R^2 + q* e) = R^4, e = 1 - L exp(-l tau), q = g exp(-i Omega tau)."""
    q, square = GAIN / TAU * np.exp(-1j * turn * delay), square / TAU

    def both(l):
        e, slope = 1 - L * np.exp(-l * delay), L * delay * np.exp(-l * delay)
        a, b = l + square + q * e, l + square + np.conj(q) * e
        return a * b - square**2, (1 + q * slope) * b + a * (1 + np.conj(q) * slope)

    real, imag = np.meshgrid(np.linspace(line, 0.1, 16), np.linspace(-2.0, 2.0, 161))
    l = (real + 1j * imag).ravel()
    with np.errstate(all="ignore"):
        for _ in range(60):
            value, slope = both(l)
            l = l - value / slope
        good = np.isfinite(l) & (np.abs(both(l)[0]) < 1e-13) & (l.real > line) & (np.abs(l.imag) < 1.5)
    return np.unique(np.round(l[good], 11))


@pytest.mark.parametrize(("delay", "hertz"), [(12.0, HERTZ), pytest.param(45.0, 30.0, marks=pytest.mark.slow)])
def test_rotating_waves_in_closed_form(x64, delay, hertz):
    """The second has a delay longer than its period."""
    net = landau(delay, hertz)
    turn, square = wave(delay, 2e-3 * np.pi * hertz)
    cycle = limit_cycle(net)
    assert isinstance(cycle, DelayedCycle)
    assert float(cycle.period) == pytest.approx(2 * np.pi / turn, rel=1e-11)
    np.testing.assert_allclose(cycle.orbit.x**2 + cycle.orbit.y**2, square, rtol=1e-10)
    line = -2 / delay
    found = dispersion(net, cycle, line=line)
    assert float(found.delay) == pytest.approx(delay)
    assert float(found.growth_rates[0]) == pytest.approx(0.0, abs=1e-11)
    for L, row in zip(found.connectivity_eigenvalues, np.asarray(found.exponents), strict=True):
        wanted = np.exp(turning_roots(complex(L), delay, turn, square, line) * float(cycle.period))
        got = np.exp(row[np.isfinite(row)] * float(cycle.period))
        wanted = wanted[np.abs(wanted) > 1.01e-4 * np.max(np.abs(wanted))]  # smaller ones are left out
        assert max(np.min(np.abs(got - value)) for value in wanted) < 1e-9
        assert max(np.min(np.abs(wanted - value)) for value in got) < 1e-9


# Kuramoto's phases (Yeung & Strogatz 1999; Earl & Strogatz 2003): x' = K cos(Omega tau) (L x(t - tau) - x)

K = 0.01


def phases(delay, gain=K):
    return delayed(jnm.Kuramoto(frequency=10.0), jnm.Linear(gain), delay)


def phase_exponents(L, delay, gain=K):
    """Omega, and the exponents by all branches of Lambert's function."""
    omega = 2e-2 * np.pi
    turn = brentq(lambda O: O - omega + gain * np.sin(O * delay), omega - gain, omega + gain, xtol=1e-16)
    pull = gain * np.cos(turn * delay)
    return turn, -pull + lambertw(complex(L) * pull * delay * np.exp(pull * delay), np.arange(-60, 61)) / delay


@pytest.mark.parametrize("delay", [3.0, 40.0])
def test_phases_by_lamberts_function(x64, delay):
    """Synchrony is stable at 3 ms and not at 40 ms, where cos(Omega tau) < 0."""
    cycle = limit_cycle(phases(delay))
    found = dispersion(phases(delay), cycle)
    period = float(cycle.period)
    for L, row in zip(found.connectivity_eigenvalues, np.asarray(found.exponents), strict=True):
        turn, wanted = phase_exponents(L, delay)
        assert period == pytest.approx(2 * np.pi / turn, rel=1e-11)
        got, wanted = np.exp(row[np.isfinite(row)] * period), np.exp(wanted * period)
        assert max(np.min(np.abs(wanted - value)) for value in got) < 1e-9
        assert np.min(np.abs(got - wanted[np.argmax(np.abs(wanted))])) < 1e-9
    assert (found.unstable > 0) == (np.cos(2 * np.pi / period * delay) < 0)
    assert cycle.stable


def test_phases_without_a_delay(x64):
    found = dispersion(phases(0.0), limit_cycle(phases(0.0)))
    np.testing.assert_allclose(found.exponents[:, 0], K * (found.connectivity_eigenvalues - 1), atol=1e-12)


def test_following_a_cycle_under_jit(x64):
    net = phases(40.0)
    cycle = limit_cycle(net)
    after = jax.jit(lambda speed: cycle.follow(paced(net, speed)).period)(1.1)
    assert float(after) == pytest.approx(2 * np.pi / phase_exponents(1.0, 40.0 / 1.1)[0], rel=1e-11)


@pytest.mark.slow
def test_derivatives_in_delay_and_gain(x64):
    """Of Lambert's formula, by differences; about the cycle that was found before."""
    cycle = limit_cycle(phases(40.0))
    L = -0.3

    def rate(speed, gain):
        return master_stability(paced(phases(40.0, gain), speed), [L], cycle).growth_rates[0]

    def formula(speed, gain):
        return np.max(phase_exponents(L, 40.0 / speed, gain)[1].real)

    gradient = jax.grad(rate, (0, 1))(1.0, K)
    steps = ((1e-4, 0.0), (0.0, 1e-6))
    for got, (a, b) in zip(gradient, steps, strict=True):
        difference = (formula(1.0 + a, K + b) - formula(1.0 - a, K - b)) / (2 * (a + b))
        assert float(got) == pytest.approx(difference, rel=1e-6)


# Without a delay, and the network itself


@pytest.mark.slow
def test_no_delay_gives_what_there_was_without(x64):
    plain = jnm.Network(jnm.PING(IE=10.0), jnm.Connectome(PAIR), jnm.Linear(8.0))
    found = dispersion(plain, limit_cycle(plain))
    at_once = delayed(plain.node, plain.coupling, 0.0, PAIR)
    cycle = limit_cycle(at_once)
    assert float(cycle.period) == pytest.approx(16.854881435636, abs=1e-8)  # the specification's row (10, 8)
    same = dispersion(at_once, cycle)
    np.testing.assert_allclose(same.growth_rates, found.growth_rates, atol=1e-9)
    np.testing.assert_allclose(same.frequencies_hz, found.frequencies_hz, atol=1e-6)
    for name in ("smallest", "largest", "mean"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), getattr(cycle, name), getattr(found.about, name)
        )


def growth_of_the_pair(net, cycle, size, periods=10, dt=0.01):
    """By which the difference of two regions grows per ms: the linear map that takes it from period to period."""
    period, alone = float(cycle.period), cycle.model
    many = int(np.ceil(period / dt))
    dt = period / many
    before = cycle.at(-dt * np.arange(int(float(cycle.delay) / dt) * 4 + 8)[::-1])
    history = jnp.repeat(jax.vmap(lambda y: alone.output(0.0, y))(before), 2, axis=1)
    push = 1 + size * jnp.array([1.0, -1.0])
    start = jax.tree.map(lambda x: jnp.repeat(x[-1], 2, axis=-1) * jnp.broadcast_to(push, (*x.shape[1:-1], 2)), before)
    run = jnm.simulate(net, periods * period, dt, y0=start, history=history, save_every=period)
    apart = jax.tree.map(lambda x: x[..., 0] - x[..., 1], run.ys)
    apart = np.asarray(jax.vmap(lambda y: ravel_pytree(y)[0])(apart))[1:].T
    U, s, Vh = np.linalg.svd(apart[:, :-1], full_matrices=False)
    step = U[:, :3].T @ apart[:, 1:] @ Vh[:3].T / s[None, :3]  # on the three largest ways to be apart
    return np.log(np.max(np.abs(np.linalg.eigvals(step)))) / period


@pytest.mark.slow
@pytest.mark.parametrize(
    ("node", "gain", "delay"),
    [
        (lambda: jnm.PING(IE=10.0), 8.0, 2.0),
        (lambda: jnm.PING(IE=10.0), 8.0, 9.0),
        (lambda: jnm.JansenRit(p=0.23), 50.0, 10.0),
    ],
)
def test_a_push_off_a_cycle_grows_as_predicted(x64, node, gain, delay):
    net = delayed(node(), jnm.Linear(gain), delay, PAIR)
    cycle = limit_cycle(net)
    assert np.min(np.abs(cycle.multipliers - 1)) < 1e-8
    wanted = float(dispersion(net, cycle).growth_rates[1])
    grown = growth_of_the_pair(net, cycle, 1e-9 if wanted > 0 else 1e-5)
    assert grown == pytest.approx(wanted, rel=1e-3)


def bad_start(net):
    return net.init()._replace(theta=jnp.arange(3.0))


def test_bad_input_is_named(x64):
    net = phases(3.0)
    uneven = jnm.Connectome(RING, 20.0 + 40.0 * np.eye(3)[[1, 2, 0]])
    with pytest.raises(ValueError, match=r"limit_cycle: tract lengths run from 20 to 60 mm.*do not oscillate alike"):
        limit_cycle(jnm.Network(net.node, uneven, speed=5.0))
    with pytest.raises(ValueError, match="differs between regions"):
        limit_cycle(net, bad_start(net))
    with pytest.raises(ValueError, match="settle = -1"):
        limit_cycle(net, settle=-1.0)
    with pytest.raises(RuntimeError, match=r"from 1 start, running 50 ms .* comes to rest"):
        limit_cycle(delayed(jnm.Kuramoto(frequency=0.0), jnm.Linear(K), 3.0), settle=50.0)
    cycle = limit_cycle(net)
    with pytest.raises(ValueError, match="wanted a jnm.Network with a conduction speed"):
        dispersion(jnm.Network(net.node, net.connectome, net.coupling), cycle)
    with pytest.raises(ValueError, match="not one of this network's region"):
        dispersion(landau(3.0), cycle)
    with pytest.raises(ValueError, match="while jax.jit or jax.vmap traces"):
        jax.jit(lambda speed: limit_cycle(paced(net, speed)).period)(1.0)
    with pytest.raises(ValueError, match="no vector"):
        dispersion(net, cycle).vectors(0)
