"""Least squares against SciPy, many starts against one, windows and shooting on a limit cycle."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import jnm
from jnm.fitting import (
    MultipleShootingLoss,
    Windows,
    fit,
    free,
    gradient_norm,
    least_squares,
    many_starts,
    truncated,
)

KEY = jax.random.key(2)


def test_least_squares_is_scipys(x64, ou):
    data = np.asarray(ou.decay(ou.Model(), KEY)) + 0.01 * np.random.default_rng(0).normal(size=(100, 3))
    loss = jnm.TimeCourseLoss(ou.decay, data, noise_sd=0.01)
    theta, build = free(ou.Model(tau=30.0, amplitude=0.3), lambda m: (m.tau, m.amplitude))
    done = least_squares(loss, theta, build, KEY)
    theirs = scipy.optimize.least_squares(
        lambda x: np.ravel(ou.decay(build((jnp.asarray(x[0]), jnp.asarray(x[1]))), KEY) - data), np.array(theta)
    )
    np.testing.assert_allclose(done.theta, theirs.x, rtol=1e-5)
    assert done.stopped.startswith("arrived") and done.best_loss == pytest.approx(1.0, abs=0.1)
    low, high = done.report()["tau"].interval
    assert low < 10.0 < high
    with pytest.raises(ValueError, match="without residuals"):
        least_squares(loss + (lambda m, key: m.tau), theta, build, KEY)


def test_many_starts_find_the_deeper_valley(ou):
    """As `multi_start` does, in one batch; a region where the loss is not finite is stepped around."""

    def loss(model, key):
        x = jnp.log(model.amplitude)
        return jnp.where(x < 1.5, (x**2 - 1) ** 2 + 0.3 * x, jnp.nan)

    theta, build = free(ou.Model(amplitude=np.exp(0.9)), lambda m: m.amplitude)
    ranking = many_starts(loss, theta, build, optax.adam(0.05), 150, KEY, starts=24, spread=1.5)
    assert ranking.theta[0] == pytest.approx(-1.035, abs=0.01) and float(ranking.best) == pytest.approx(
        -1.035, abs=0.01
    )
    assert 3 < ranking.agreeing < 24 and np.all(np.diff(ranking.losses[np.isfinite(ranking.losses)]) >= 0)
    assert "ended where the best did" in str(ranking)
    with pytest.raises(ValueError, match="none of 4"):
        many_starts(lambda m, key: jnp.nan * m.tau, theta, build, optax.adam(0.1), 2, KEY, starts=4)


def potential(t, y):
    return y.y1 - y.y2


@pytest.mark.slow
def test_on_a_limit_cycle_windows_keep_gradients_small(x64):
    """Jansen-Rit's alpha: the gradient of the last moment grows with time; that through windows does not."""
    theta, build = free(jnm.JansenRit(p=0.2), lambda m: m.a)
    start = jax.tree.map(lambda x: x[-1], jnm.simulate(jnm.JansenRit(p=0.2), 1000.0, 0.5, save_every=1000.0).ys)

    def long(window, duration):
        def loss(model, key):
            y = truncated(model, duration, 0.5, window, save_every=5.0, save=potential, y0=start)
            return jnp.mean(y[-20:] ** 2)

        return gradient_norm(loss, theta, build, KEY)

    assert long(4000.0, 4000.0) > 2.5 * long(1000.0, 1000.0)  # the phase drifts linearly
    assert long(1000.0, 4000.0) < long(4000.0, 4000.0) / 2
    whole = jnm.simulate(jnm.JansenRit(p=0.2), 1000.0, 0.5, y0=start, save_every=5.0).ys
    pieces = truncated(jnm.JansenRit(p=0.2), 1000.0, 0.5, 250.0, save_every=5.0, save=potential, y0=start)
    np.testing.assert_allclose(pieces, whole.y1 - whole.y2, rtol=1e-9)
    with pytest.raises(ValueError, match="do not divide"):
        truncated(jnm.JansenRit(p=0.2), 1000.0, 0.5, 300.0, save_every=5.0, save=potential)


def test_windows_hand_on_the_past_of_a_network_with_delays(x64):
    ring = jnm.Connectome(np.roll(np.eye(3), 1, axis=0), lengths=np.full((3, 3), 40.0))
    net = jnm.Network(jnm.WilsonCowan(P=[1.2, 1.5, 1.7]), ring, jnm.Linear(3.0), speed=4.0)
    whole = jnm.simulate(net, 60.0, 0.5, save_every=1.0).ys.E
    np.testing.assert_allclose(
        truncated(net, 60.0, 0.5, 15.0, save_every=1.0, save=lambda t, y: y.E), whole, rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"needs its past too.*truncated"):
        Windows.of(net, 60.0, 15.0, 0.5)
    loss = MultipleShootingLoss(whole, every=1.0, window=15.0, dt=0.5, save=lambda t, y: y.E)
    with pytest.raises(ValueError, match="needs its past too"):
        loss(Windows(net, jnp.zeros((4, 6))))


@pytest.mark.slow
def test_multiple_shooting_recovers_on_a_limit_cycle(x64):
    """Two seconds of alpha, from a rate 8 % off: twenty cycles, of which the last starts out of phase by more than one."""
    truth = jnm.JansenRit(p=0.2)
    start = jax.tree.map(lambda x: x[-1], jnm.simulate(truth, 1000.0, 0.5, save_every=1000.0).ys)
    run = jnm.simulate(truth, 2000.0, 0.5, y0=start, save_every=5.0).ys
    observed = np.asarray(run.y1 - run.y2) + 0.1 * np.random.default_rng(0).normal(size=400)
    scale = np.array([np.asarray(x).std() for x in run])
    loss = MultipleShootingLoss(
        observed, every=5.0, window=100.0, dt=0.5, save=potential, noise_sd=0.5, continuity=10.0, scale=scale
    )
    windows = Windows.of(truth, 2000.0, 100.0, 0.5, start)
    assert float(loss.parts(windows)[1]) < 1e-12
    off = Windows(jnm.JansenRit(p=0.2, a=0.108), windows.starts + 0.1 * jnp.asarray(scale)[None])
    theta, build = free(off, lambda w: (w.model.a, w.starts))
    done = fit(loss, theta, build, optax.adam(optax.cosine_decay_schedule(0.01, 600)), 600, KEY, judge_keys=1)
    assert float(done.model.model.a) == pytest.approx(0.1, rel=0.01)
    assert np.isfinite(done.gradient_norms).all()
