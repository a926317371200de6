"""Reductions in the loop against NumPy over the samples that the same run saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.integration import running_covariance, running_welch
from jnm.observe import running_extremes, running_histogram, together

EDGES = np.linspace(0.005, 0.05, 10)


def run(save=None):
    weights = np.random.default_rng(0).random((3, 3)) * (1 - np.eye(3))
    net = jnm.Network(jnm.PING(IE=2.0, sigma=0.2), jnm.Connectome(weights), jnm.Linear(2.0))
    return jnm.simulate(net, 1_000.0, 0.1, key=jax.random.key(0), save=save, save_every=0.5, discard=200.0)


def test_extremes_histogram_and_all_together_are_those_of_what_is_stored():
    stored = run()
    rate = np.asarray(stored.ys.r)
    folded = run(
        together(
            extremes=running_extremes(lambda y: y.r),
            histogram=running_histogram(lambda y: y.r, EDGES),
            moments=running_covariance(lambda y: y.r[0]),
            spectrum=running_welch(lambda y: y.r[0], dt=0.5, segment=256),
        )
    ).ys
    low, high, when_low, when_high = folded["extremes"]
    np.testing.assert_array_equal(low, rate.min(axis=0))
    np.testing.assert_array_equal(high, rate.max(axis=0))
    np.testing.assert_allclose(when_low, stored.ts[rate.argmin(axis=0)], rtol=1e-6)
    np.testing.assert_allclose(when_high, stored.ts[rate.argmax(axis=0)], rtol=1e-6)
    edges, counts, below, above = folded["histogram"]
    single = EDGES.astype(np.float32)
    for index in np.ndindex(2, 3):
        x = rate[(slice(None), *index)]
        np.testing.assert_array_equal(counts[(slice(None), *index)], np.histogram(x, single)[0])
        assert (below[index], above[index]) == ((x < single[0]).sum(), (x > single[-1]).sum())
    np.testing.assert_array_equal(counts.sum(axis=0) + below + above, len(rate))
    np.testing.assert_allclose(edges, EDGES, rtol=1e-6)
    np.testing.assert_allclose(folded["moments"].mean, rate[:, 0].mean(axis=0), rtol=1e-4)
    assert folded["spectrum"].psd.shape == (129, 3)


def test_edges_belong_to_bins_as_in_numpy():
    reduction = running_histogram(lambda y: y, [0.0, 1.0, 2.0])
    folded = reduction.init(jnp.zeros(6))
    counts, below, above = reduction.update(folded, jnp.zeros(()), jnp.array([0.0, 1.0, 2.0, 2.5, -1.0, jnp.nan]))
    np.testing.assert_array_equal(counts, [[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(below, [0, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(above, [0, 0, 0, 1, 0, 0])


def test_what_is_refused():
    for edges in ([1.0], [1.0, 0.5], [[0.0, 1.0]]):
        with pytest.raises(ValueError, match="edges must increase"):
            running_histogram(lambda y: y, edges)
    with pytest.raises(ValueError, match="got none"):
        together()
    with pytest.raises(ValueError, match="every 0.5 ms and 1 ms"):
        together(a=running_welch(lambda y: y.r, 0.5, 64), b=running_welch(lambda y: y.r, 1.0, 64))
