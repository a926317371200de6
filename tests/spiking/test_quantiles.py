"""The table normals of the membrane noise: moments, distribution, independence, and blocks that may be cut anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jnm.spiking.quantiles import quantile_normals

KEY = jax.random.key(3)


def test_they_are_standard_normals():
    """A million: the first four moments within four standard errors, and Kolmogorov and Smirnov find nothing."""
    x = np.asarray(quantile_normals(KEY, jnp.asarray(0), 1000, 1002, jnp.float32), float)
    n = x.size
    assert abs(x.mean()) < 4 / np.sqrt(n)
    assert abs(x.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(x, axis=None)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(x, axis=None)) < 4 * np.sqrt(24 / n) + 8e-4
    assert stats.kstest(x.ravel()[::7], "norm").pvalue > 1e-3


def test_they_are_independent():
    """Between steps, neighbours, the four normals of one pair of words, and keys; also their squares."""
    x = np.asarray(quantile_normals(KEY, jnp.asarray(0), 1000, 400, jnp.float32), float)
    other = np.asarray(quantile_normals(jax.random.key(4), jnp.asarray(0), 1000, 400, jnp.float32), float)
    pairs = [(x[:-1], x[1:]), (x[:, :-1], x[:, 1:]), (x, other)]
    pairs += [(x[:, 100 * i : 100 * i + 100], x[:, 100 * j : 100 * j + 100]) for i in range(4) for j in range(i)]
    for a, b in pairs:
        for power in (1, 2):
            assert abs(np.corrcoef(a.ravel() ** power, b.ravel() ** power)[0, 1]) < 4.5 / np.sqrt(a.size)


def test_a_step_has_its_numbers_in_every_block(x64):
    whole = quantile_normals(KEY, jnp.asarray(5), 20, 30, jnp.float64)
    np.testing.assert_array_equal(whole[7:11], quantile_normals(KEY, jnp.asarray(12), 4, 30, jnp.float64))
    assert whole.dtype == jnp.float64
