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
    return jnm.fit(loss, theta, build, optax.adam(0.01), steps, jax.random.key(0), progress=False)


def test_goes_the_rest_of_the_way():
    polished = jnm.fitting.polish(fitted(), steps=12)
    assert float(polished.model.amplitude) == pytest.approx(2.0, rel=1e-3)
    assert float(polished.model.rate) == pytest.approx(3.0, rel=1e-3)
    assert "Gauss-Newton" in polished.stopped


def test_is_never_the_worse_for_it():
    once = jnm.fitting.polish(fitted(), steps=12)
    again = jnm.fitting.polish(once, steps=3)
    np.testing.assert_allclose(jax.tree.leaves(again.theta), jax.tree.leaves(once.theta), atol=1e-3)


def test_needs_residuals():
    with pytest.raises(ValueError, match="no residuals"):
        jnm.fitting.polish(fitted(loss=lambda model, key: (model.amplitude - 2.0) ** 2))
