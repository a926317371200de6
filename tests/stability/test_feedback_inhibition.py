"""Feedback inhibition control against the rates at the fixed point, and the current of the paper's rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.models import WongWangEIState

RNG = np.random.default_rng(5)
W = RNG.random((6, 6)) * (1 - np.eye(6))


def network(gain=0.4, w=1.4):
    node = jnm.WongWangEI(w=jnp.broadcast_to(w, 6), J_i=jnp.ones(6))
    return jnm.Network(node, jnm.Connectome(W), jnm.Linear(gain=gain))


def resting_rates(balanced):
    rest = jnm.stability.at_rest(balanced, WongWangEIState(jnp.full(6, 0.16), jnp.full(6, 0.04)))
    drive = jnm.Drive(balanced.coupling.gain * W @ np.asarray(rest.state.S_E))
    return rest, 1000 * np.asarray(balanced.node.rates(rest.state, drive)[0])


def test_regions_rest_at_their_rates(x64):
    """All alike, or each at its own; without control they do not, as they hear unequal amounts."""
    balanced = jnm.stability.feedback_inhibition(network(), rate_hz=3.0)
    rest, rates = resting_rates(balanced)
    np.testing.assert_allclose(rates, 3.0, atol=1e-8)
    assert rest.stable and np.all(np.diff(np.asarray(balanced.node.J_i)[np.argsort(W.sum(axis=1))]) > 0)
    wanted = np.linspace(2.0, 5.0, 6)
    _, rates = resting_rates(jnm.stability.feedback_inhibition(network(w=np.linspace(1.2, 1.5, 6)), wanted))
    np.testing.assert_allclose(rates, wanted, atol=1e-8)
    assert np.ptp(resting_rates(network())[1]) > 0.5


def test_a_balance_that_tips_over_is_told(x64):
    strong = network(gain=3.0)
    with pytest.warns(UserWarning, match=r"the balanced rest is unstable, pushes off it grow by 0\.\d+ per ms"):
        balanced = jnm.stability.feedback_inhibition(strong, rate_hz=3.0)
    run = jnm.simulate(balanced, 4000.0, 0.5, save_every=4000.0)
    drive = jnm.Drive(3.0 * W @ np.asarray(run.ys.S_E[-1]))
    there = WongWangEIState(run.ys.S_E[-1], run.ys.S_I[-1])
    assert np.all(np.abs(1000 * np.asarray(balanced.node.rates(there, drive)[0]) - 3.0) > 0.5)


def test_the_papers_rule(x64):
    """Deco et al. (2014): the excitatory current 0.026 nA below b / a makes 3.0631 Hz."""
    node = jnm.stability.feedback_inhibition(network(), rate_hz=3.0631).node
    S_E = 0.641 * 100 * 3.0631e-3 / (1 + 0.641 * 100 * 3.0631e-3)
    r_I = S_I = 0.0
    for _ in range(400):  # damped, to the S_I that goes with it
        u = 615.0 * (0.7 * 0.382 + 0.15 * S_E - S_I) - 177.0
        r_I = u / (1 - np.exp(-0.087 * u))
        S_I += 0.1 * (0.01 * r_I - S_I)
    current = 0.382 + 0.15 * (1.4 * S_E + 0.4 * W.sum(axis=1) * S_E) - np.asarray(node.J_i) * S_I
    np.testing.assert_allclose(current - 125.0 / 310.0, -0.026, atol=1e-5)


@pytest.mark.slow
def test_gradients_with_respect_to_gain_and_rate(x64):
    @jax.jit
    def inhibition(p):
        return jnm.stability.feedback_inhibition(network(p[0]), p[1]).node.J_i

    p, step = jnp.array([0.4, 3.0]), 1e-5
    slope = jax.jit(jax.jacfwd(inhibition))(p)
    for k in (0, 1):
        difference = (inhibition(p.at[k].add(step)) - inhibition(p.at[k].add(-step))) / (2 * step)
        np.testing.assert_allclose(slope[:, k], difference, rtol=1e-6)


def test_in_single_precision():
    single = jnm.stability.feedback_inhibition(network()).node.J_i
    with jax.enable_x64(True):
        double = jnm.stability.feedback_inhibition(network()).node.J_i
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"wanted a jnm.Network of jnm.WongWangEI; got WongWang\."):
        jnm.stability.feedback_inhibition(jnm.Network(jnm.WongWang(), jnm.Connectome(W)))
    with pytest.raises(ValueError, match=r"rate_hz = -1; wanted positive rates"):
        jnm.stability.feedback_inhibition(network(), -1)
    with pytest.raises(ValueError, match=r"WongWangEI: J_i = .* outside its domain \(positive\)"):
        jnm.stability.feedback_inhibition(network(gain=0.0), 60.0)
