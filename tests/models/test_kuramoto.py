"""Kuramoto's phases against what is known of them in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import jnm
from jnm.models import KuramotoState


def pair(gap, gain, **speed):
    """Two oscillators, `gap` rad/ms apart around 10 Hz."""
    frequency = 10.0 + jnp.array([0.5, -0.5]) * gap / (2e-3 * np.pi)
    brain = jnm.Connectome([[0.0, 1.0], [1.0, 0.0]], lengths=[[0.0, 30.0], [30.0, 0.0]])
    return jnm.Network(jnm.Kuramoto(frequency=frequency), brain, jnm.Linear(gain=gain), **speed)


def test_the_coupling_is_the_sine_of_the_difference(x64):
    rng = np.random.default_rng(0)
    W, theta = rng.random((5, 5)), rng.uniform(-np.pi, np.pi, 5)
    wanted = 0.02 * np.pi + 0.3 * np.sum(W * np.sin(theta[None] - theta[:, None]), axis=1)
    for coupling in (jnm.Linear(0.3), jnm.Diffusive(0.3)):
        net = jnm.Network(jnm.Kuramoto(frequency=10.0), jnm.Connectome(W), coupling)
        np.testing.assert_allclose(
            net.drift(0.0, KuramotoState(jnp.asarray(theta)), jnm.Drive()).theta, wanted, rtol=1e-12
        )


def test_two_lock_below_twice_the_coupling_and_beat_above(x64):
    """The difference obeys d' = gap - 2 K sin(d): asin(gap / 2K), or once around in 2 pi / sqrt(gap^2 - 4 K^2) ms."""
    gain, gaps = 0.01, jnp.array([0.012, 0.019, 0.021, 0.03])
    run = jax.vmap(lambda gap: jnm.simulate(pair(gap, gain), 6000.0, 0.5, throw=False).ys.theta)(gaps)
    difference = np.unwrap(np.asarray(run[..., 0] - run[..., 1]), axis=1)
    np.testing.assert_allclose(difference[:2, -1], np.arcsin(np.asarray(gaps[:2]) / (2 * gain)), atol=1e-9)
    for d, gap in zip(difference[2:], np.asarray(gaps[2:]), strict=True):
        t = 0.5 * np.arange(1, d.size + 1)
        rounds = np.interp(2 * np.pi * np.arange(1, int(d[-1] / (2 * np.pi)) + 1), d, t)
        assert np.diff(rounds).mean() == pytest.approx(2 * np.pi / np.sqrt(gap**2 - 4 * gain**2), rel=1e-4)


def test_two_with_a_delay_slow_down_together(x64):
    """In phase they turn at Omega = omega - K sin(Omega tau): the past pulls them back."""
    omega, gain, delay = 0.02 * np.pi, 0.02, 30.0 / 4.0
    phases = np.unwrap(np.asarray(jnm.simulate(pair(0.0, gain, speed=4.0), 600.0, 0.05).ys.theta), axis=0)
    Omega = brentq(lambda x: x - omega + gain * np.sin(x * delay), 0.0, 0.1, xtol=1e-15)
    assert Omega < 0.9 * omega
    np.testing.assert_allclose((phases[-1] - phases[-4001]) / 200.0, Omega, rtol=1e-6)


@pytest.mark.slow
def test_gradients_flow_through_what_is_sent(x64):
    """Past of one long and one very short fibre: phases against gain and speed, beside finite differences."""
    brain = jnm.Connectome([[0.0, 1.0], [1.0, 0.0]], lengths=[[0.0, 30.0], [0.3, 0.0]])
    node = jnm.Kuramoto(frequency=jnp.array([9.0, 11.0]))

    def end(p):
        net = jnm.Network(node, brain, jnm.Linear(gain=p[0]), p[1], speed_range=(2.0, 8.0))
        return jnp.sin(jnm.simulate(net, 40.0, 0.1, throw=False).ys.theta[-1, 0])

    p, step = jnp.array([0.02, 4.03]), 1e-5
    slope, value = jax.jit(jax.grad(end))(p), jax.jit(end)
    for k in (0, 1):
        difference = (value(p.at[k].add(step)) - value(p.at[k].add(-step))) / (2 * step)
        assert float(slope[k]) == pytest.approx(float(difference), rel=1e-6) and abs(difference) > 1e-3


@pytest.mark.parametrize("gain", [0.04, 0.01], ids=["twice the threshold", "half of it"])
def test_order_of_a_lorentzian_crowd(gain):
    """Ott & Antonsen (2008): r' = r (gain (1 - r^2) / 2 - width), a threshold at 2 width, sqrt(1 - 2 width / gain) above.

    400 oscillators at the quantiles of the distribution, all starting in phase; their own wiggles are some per cent.
    """
    width, n = 0.01, 400
    gap = width * np.tan(np.pi * ((np.arange(n) + 0.5) / n - 0.5))
    node = jnm.Kuramoto(frequency=10.0 + gap / (2e-3 * np.pi))
    net = jnm.Network(node, jnm.Connectome(np.full((n, n), 1 / n)), jnm.Linear(gain=gain))
    run = jnm.simulate(net, 600.0, 0.2, save_every=10.0)
    r = np.asarray(jnm.observe.kuramoto_order(run.ys.theta))
    growth = gain / 2 - width
    inverse_square = gain / (2 * growth) + (1 - gain / (2 * growth)) * np.exp(-2 * growth * run.ts)
    np.testing.assert_allclose(r, 1 / np.sqrt(inverse_square), atol=0.035)
    np.testing.assert_allclose(r[:10], 1 / np.sqrt(inverse_square[:10]), atol=0.016)
    if growth > 0:
        assert r[-30:].mean() == pytest.approx(np.sqrt(1 - 2 * width / gain), abs=0.003)


def test_phases_stay_on_the_circle_and_precise():
    """100 seconds of 10 Hz in single precision: the phase after whole seconds is back at its start."""
    run = jnm.simulate(jnm.Kuramoto(frequency=10.0), 1e5, 1.0, save_every=1000.0)
    assert np.abs(np.asarray(run.ys.theta)).max() < 0.01
    theta = jnp.array([-3.0, 3.0, 3.2, -40.0])
    wrapped = np.asarray(jnm.Kuramoto().constrain(KuramotoState(theta)).theta)
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * np.asarray(theta)), atol=1e-5)
    assert np.abs(wrapped).max() < np.pi + 1e-6
