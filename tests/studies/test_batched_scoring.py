"""Fisher's scoring against SciPy's minimum of the same likelihood, from near and far, side by side and where nothing fits."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from jnm.studies.batched_scoring import Scores, batched_scoring

X = np.stack([np.ones(40), np.linspace(-1, 1, 40)], axis=1)
COUNTS = np.random.default_rng(0).poisson(np.exp(X @ [1.0, 0.7]), (3, 40)).astype(float)


def counted(counts):
    """Poisson counts of the mean exp(X theta)."""

    def at(theta):
        mean = jnp.exp(X @ theta)
        return Scores(X.T @ (counts - mean), (X.T * mean[None]) @ X, jnp.sum(mean - counts * (X @ theta)))

    return at


def test_the_most_likely_of_counts(x64):
    start = jnp.array([4.0, -3.0])
    fits = jax.jit(jax.vmap(lambda counts: batched_scoring(counted(counts), start, steps=40, longest=1.0)))(COUNTS)
    for k, counts in enumerate(COUNTS):
        wanted = minimize(lambda theta, n=counts: np.sum(np.exp(X @ theta) - n * (X @ theta)), [1.0, 0.7], tol=1e-12)
        sd = np.sqrt(np.diag(fits.covariance[k]))
        np.testing.assert_array_less(np.abs(fits.theta[k] - wanted.x), 1e-4 * sd)
        np.testing.assert_allclose(fits.covariance[k], np.linalg.inv((X.T * np.exp(X @ wanted.x)) @ X), rtol=1e-3)
    assert bool(np.all(fits.arrived)) and int(np.max(fits.steps)) < 20


def test_steps_are_limited_and_counted(x64):
    start = jnp.array([4.0, -3.0])
    short = batched_scoring(counted(jnp.asarray(COUNTS[0])), start, steps=2, longest=0.25)
    assert not short.arrived and int(short.steps) == 3  # the first turn looks at the start
    np.testing.assert_allclose(np.abs(short.theta - start).max(), 0.5)
    nowhere = batched_scoring(lambda theta: Scores(theta, jnp.eye(2), jnp.asarray(jnp.nan)), start, steps=5)
    assert not nowhere.arrived and np.array_equal(nowhere.theta, start)
