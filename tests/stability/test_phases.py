"""Cycles on which a phase runs on for ever: closed forms of phase oscillators, and their network when pushed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jnm
from jnm.stability import Cycle, dispersion, limit_cycle, transverse_onset
from jnm.stability.settling import last_lap

RING = [[0.0, 0.7, 0.3], [0.3, 0.0, 0.7], [0.7, 0.3, 0.0]]
K = 0.01


def wrapped(theta):
    return theta - 2 * jnp.pi * jnp.round(theta / (2 * jnp.pi))


class Phase(NamedTuple):
    theta: jax.Array


class Adler(jnm.AbstractModel):
    """theta' = omega - hold sin(theta) + Im(h exp(-i theta)): a period is 2 pi / sqrt(omega^2 - hold^2)."""

    omega: jax.Array
    hold: jax.Array

    def init(self):
        return Phase(jnp.zeros_like(self.omega))

    def drift(self, t, y, drive):
        pull = jnp.cos(y.theta) * jnp.imag(drive.synaptic) - jnp.sin(y.theta) * jnp.real(drive.synaptic)
        return Phase(self.omega - self.hold * jnp.sin(y.theta) + pull)

    def output(self, t, y):
        return jax.lax.complex(jnp.cos(y.theta), jnp.sin(y.theta))

    def source(self, t, y, drive):
        return jnp.cos(y.theta)

    def constrain(self, y):
        return Phase(wrapped(y.theta))


class Wave(NamedTuple):
    size: jax.Array
    theta: jax.Array


class Polar(jnm.AbstractModel):
    """Stuart-Landau's oscillator (tau = 1 ms) by its amplitude and its phase."""

    a: jax.Array
    omega: jax.Array

    def init(self):
        return Wave(jnp.full_like(self.a, 0.1), jnp.zeros_like(self.a))

    def drift(self, t, y, drive):
        heard = drive.synaptic * jnp.exp(-1j * y.theta)
        size = (self.a - y.size**2) * y.size + jnp.real(heard)
        return Wave(size, self.omega + jnp.imag(heard) / y.size)

    def output(self, t, y):
        return y.size * jnp.exp(1j * y.theta)

    def source(self, t, y, drive):
        return y.size * jnp.cos(y.theta)

    def constrain(self, y):
        return Wave(y.size, wrapped(y.theta))


def ring(node, coupling):
    return jnm.Network(node, jnm.Connectome(RING), coupling)


def adlers(hold=0.05, gain=K):
    return ring(Adler(jnp.asarray(0.06), jnp.asarray(hold)), jnm.Linear(gain))


@pytest.mark.parametrize("coupling", [jnm.Linear, pytest.param(jnm.Diffusive, marks=pytest.mark.slow)])
def test_kuramotos_phases(x64, coupling):
    """x_i' = K sum_j W_ij (x_j - x_i): K (L - 1), about a turn at the natural frequency."""
    net = ring(jnm.Kuramoto(frequency=10.0), coupling(K))
    cycle = limit_cycle(net)
    assert isinstance(cycle, Cycle) and cycle.stable
    assert float(cycle.period) == pytest.approx(100.0, rel=1e-12)
    gone = 2e-2 * np.pi * (np.asarray(cycle.times) - float(cycle.times[0]))
    np.testing.assert_allclose(cycle.orbit.theta[:, 0] - cycle.orbit.theta[0, 0], gone, atol=1e-11)
    found = dispersion(net, cycle)
    np.testing.assert_allclose(found.exponents[:, 0], K * (found.connectivity_eigenvalues - 1), atol=1e-14)


def test_where_phases_start_to_part(x64):
    """At K = 0, all patterns at once."""
    net = ring(jnm.Kuramoto(frequency=10.0), jnm.Linear(K))
    onset = transverse_onset(net, lambda m: m.coupling.gain, -0.003, 0.01, mode=1, state=limit_cycle(net), steps=2)
    assert float(onset.value) == pytest.approx(0.0, abs=1e-12)


def test_phases_that_turn_backwards(x64):
    cycle = limit_cycle(jnm.Kuramoto(frequency=-7.0))
    assert float(cycle.period) == pytest.approx(1000 / 7, rel=1e-12)
    ends = cycle.at([0.0, float(cycle.period) * (1 - 1e-9)]).theta
    assert float(ends[1] - ends[0]) == pytest.approx(-2 * np.pi, rel=1e-8)


def test_phases_that_turn_unevenly(x64):
    """What holds them up averages to nothing over a turn, so that the exponents are Kuramoto's."""
    net = adlers()
    cycle = limit_cycle(net)
    assert float(cycle.period) == pytest.approx(2 * np.pi / np.sqrt(0.06**2 - 0.05**2), rel=1e-11)
    found = dispersion(net, cycle)
    np.testing.assert_allclose(found.exponents[:, 0], K * (found.connectivity_eigenvalues - 1), atol=1e-13)
    slope = jax.grad(lambda hold: limit_cycle(adlers(hold)).period)(0.05)
    assert float(slope) == pytest.approx(2 * np.pi * 0.05 / (0.06**2 - 0.05**2) ** 1.5, rel=1e-9)
    with pytest.raises(RuntimeError, match="comes to rest"):
        limit_cycle(adlers(0.07), net.init(), settle=500.0)


def test_what_is_clipped_is_no_angle(x64):
    """A rate that dips below zero is moved back, too, but no further dip by as much would be undone."""
    time = np.linspace(0.0, 4.0, 401)
    run = np.cos(2 * np.pi * time[:, None] + np.arange(4.0))
    run[:, 0] = 1 - 1e-7 - run[:, 0]
    lap, _ = last_lap(jnm.ING(), run)
    assert lap is not None and not lap.turns.any()
    np.testing.assert_allclose(lap.states, run[:100], atol=1e-12)


@pytest.mark.slow
def test_a_push_off_phases_grows_as_predicted(x64):
    """The network itself, its phases drawn apart: three turns by SciPy, projected on the left eigenvectors."""
    net = adlers(gain=-0.002)
    cycle = limit_cycle(net)
    found = dispersion(net, cycle)
    left, right = found.modes.left, found.modes.right
    start = float(cycle.orbit.theta[0, 0]) + 1e-6 * np.real(right[:, 1])
    slope = jax.jit(lambda t, x: net.drift(t, Phase(x), jnm.Drive()).theta)
    span = 3 * float(cycle.period)
    end = solve_ivp(slope, (0, span), start, "DOP853", rtol=1e-11, atol=1e-14).y[:, -1]
    grown = np.log(np.abs(left[1] @ end) / np.abs(left[1] @ start)) / span
    assert float(found.growth_rates[1]) == pytest.approx(0.003, rel=1e-11)
    assert grown == pytest.approx(0.003, rel=1e-4)


def test_amplitudes_and_phases(x64):
    """In the frame that turns with it: g (L - 1), and 2 a less."""
    a, g = 0.05, 0.02
    net = ring(Polar(jnp.asarray(a), jnp.asarray(0.4)), jnm.Diffusive(g))
    cycle = limit_cycle(net)
    assert float(cycle.period) == pytest.approx(2 * np.pi / 0.4, rel=1e-11)
    np.testing.assert_allclose(cycle.orbit.size, np.sqrt(a), rtol=1e-10)
    found = dispersion(net, cycle)
    drift = g * (np.asarray(found.connectivity_eigenvalues) - 1)
    wanted = np.stack([drift, drift - 2 * a], axis=1)
    period = float(cycle.period)  # exponents are known up to full turns in a period
    np.testing.assert_allclose(np.exp(found.exponents * period), np.exp(wanted * period), atol=1e-11)
