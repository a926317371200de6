"""Gauss-Newton steps from where descent ended."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jnm

T = np.linspace(0.0, 1.0, 40)
OBSERVED = np.exp(-T * 3.0)[:, None] * 2.0


class Decay(jnm.Constant):
    """amplitude and rate that trade off at short times."""

    rate: jax.Array = jnm.param(1.0, domain=jnm.Positive())


def course(model, key):
    noise = 1e-4 * jax.random.normal(key, (T.size, 1))
    return (model.amplitude * jnp.exp(-model.rate * T))[:, None] + noise


def fitted(steps=1, loss=None):
    loss = jnm.TimeCourseLoss(course, OBSERVED, noise_sd=0.01) if loss is None else loss
    theta, build = jnm.free(Decay(1.0, rate=1.0), lambda m: (m.amplitude, m.rate))
    return jnm.fit(loss, theta, build, optax.adam(0.01), steps, jax.random.key(0), judge_keys=3, progress=False)


def test_goes_the_rest_of_the_way():
    polished = jnm.fitting.polish(fitted(), steps=12)
    assert float(polished.model.amplitude) == pytest.approx(2.0, rel=1e-3)
    assert float(polished.model.rate) == pytest.approx(3.0, rel=1e-3)
    assert "Gauss-Newton" in polished.stopped


def test_is_never_the_worse_for_it():
    once = jnm.fitting.polish(fitted(), steps=12)
    again = jnm.fitting.polish(once, steps=3)
    np.testing.assert_allclose(jax.tree.leaves(again.theta), jax.tree.leaves(once.theta), atol=1e-3)


def test_the_polished_point_is_judged_on_the_keys_of_the_fit():
    before = fitted()
    polished = jnm.fitting.polish(before, steps=12)
    keys = jax.random.split(jax.random.fold_in(before.key, 0), 3)
    by_hand = np.mean([before.loss(polished.model, key) for key in keys])
    assert polished.best_loss == pytest.approx(by_hand, rel=1e-3) and polished.best_loss < 1e-3 * before.best_loss
    first = polished.report(keys=2).notes[0]
    assert f"{polished.start_loss:.4g} -> {polished.best_loss:.4g}" in first and "Gauss-Newton" in first
    assert f"-> {polished.best_loss:.4g}" in repr(polished)


def test_where_no_step_is_better_the_judgement_stays():
    once = jnm.fitting.polish(fitted(), steps=30)
    again = jnm.fitting.polish(once, steps=0)
    assert again.best_loss == once.best_loss and "then 0 Gauss-Newton" in again.stopped


def test_needs_residuals():
    with pytest.raises(ValueError, match="without residuals"):
        jnm.fitting.polish(fitted(loss=lambda model, key: (model.amplitude - 2.0) ** 2))


def test_a_sum_is_polished_by_its_weights():
    """Two measurements of one decay, told apart by their weights: the least-squares answer in closed form."""
    loss = 0.25 * jnm.TimeCourseLoss(course, OBSERVED, noise_sd=0.01) + 0.75 * jnm.TimeCourseLoss(
        course, 2 * OBSERVED, noise_sd=0.01
    )
    theta, build = jnm.free(Decay(3.9, rate=3.0), lambda m: m.amplitude)
    fit = jnm.fit(loss, theta, build, optax.adam(0.01), 1, jax.random.key(0), progress=False)
    polished = jnm.fitting.polish(fit, steps=12)
    assert float(polished.model.amplitude) == pytest.approx(0.25 * 2.0 + 0.75 * 4.0, rel=1e-3)
