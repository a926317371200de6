"""Reductions against NumPy and SciPy over the samples that the same run saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import welch

import jnm
from jnm.integration import running_covariance, running_welch

KEY = jax.random.key(0)


def network():
    weights = np.random.default_rng(0).random((3, 3)) * (1 - np.eye(3))
    return jnm.Network(jnm.PING(IE=2.0, sigma=0.2), jnm.Connectome(weights), jnm.Linear(2.0))


def saved(steps=20_000, every=1, discard=0, block=None, save=None):
    return jnm.simulate(
        network(), 0.1 * steps, 0.1, key=KEY, save=save, save_every=0.1 * every, discard=0.1 * discard, block=block
    )


@pytest.mark.parametrize(
    ("every", "discard", "block"), [(1, 0, None), (5, 2000, None), (7, 700, 333), (2500, 5000, 500)]
)
def test_running_covariance_is_numpy_s(x64, every, discard, block):
    """Also where strides are longer than a block, and do not divide the run."""
    reduction = running_covariance(lambda y: y.r[0])
    moments = saved(every=every, discard=discard, block=block, save=reduction).ys
    x = np.asarray(saved(every=every, discard=discard).ys.r[:, 0])
    assert moments.count == len(x)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-8, atol=1e-16)


def test_running_covariance_survives_a_large_mean():
    """Sums of squares in float32 would lose all digits: the standard deviation is a thousandth of the mean."""
    reduction = running_covariance(lambda y: 300 + y.r[0])
    x = np.asarray(saved(discard=2000).ys.r[:, 0], np.float64)
    assert x.std() < 0.3
    np.testing.assert_allclose(saved(discard=2000, save=reduction).ys.covariance, np.cov(x.T), rtol=0.02, atol=1e-7)


@pytest.mark.parametrize("segment", [256, 1000])
def test_running_welch_is_scipy_s(x64, segment):
    reduction = running_welch(lambda y: y.v, dt=0.5, segment=segment)
    spectrum = saved(every=5, discard=1000, save=reduction).ys
    x = np.asarray(saved(every=5, discard=1000).ys.v)
    f, psd = welch(x, 1000 / 0.5, nperseg=segment, axis=0)
    np.testing.assert_allclose(spectrum.f_hz, f, rtol=1e-12)
    np.testing.assert_allclose(spectrum.psd, psd, rtol=1e-9)
    assert spectrum.n_segments == len(x) // (segment // 2) - 1
    variance = np.sum(psd, axis=0) * f[1]
    np.testing.assert_allclose(variance, x.var(axis=0), rtol=0.3)  # one-sided, per Hz


def test_running_welch_in_single_precision():
    reduction = running_welch(lambda y: y.v[0], dt=0.5, segment=512)
    x = np.asarray(saved(every=5).ys.v[:, 0])
    np.testing.assert_allclose(saved(every=5, save=reduction).ys.psd, welch(x, 2000, nperseg=512, axis=0)[1], rtol=2e-4)


def test_a_reduction_of_one_s_own_sees_the_saved_states_and_no_others():
    reduction = jnm.Reduction(
        init=lambda y: (jnp.full_like(y.r, -jnp.inf), jnp.zeros(()), jnp.zeros((), int)),
        update=lambda f, t, y: (jnp.maximum(f[0], y.r), f[1] + t, f[2] + 1),
        finish=lambda f: {"largest": f[0], "mean time": f[1] / f[2], "count": f[2]},
    )
    run = saved(steps=5003, every=10, discard=100, save=reduction)
    states = saved(steps=5003, every=10, discard=100)
    assert run.ys["count"] == states.ts.size == 490
    np.testing.assert_allclose(run.ys["largest"], states.ys.r.max(axis=0))
    np.testing.assert_allclose(run.ys["mean time"], states.ts.mean(), rtol=1e-4)
    np.testing.assert_array_equal(run.final.state.r, states.final.state.r)


def test_reductions_differentiate_and_batch(x64):
    def spread(sigma, key):
        model = jnm.PING(IE=2.0, sigma=sigma)
        return jnm.simulate(model, 20.0, 0.1, key=key, save=running_covariance(lambda y: y.v), block=50).ys.covariance[
            0, 0
        ]

    both = jax.jit(jax.value_and_grad(spread))
    difference = float(both(0.1 + 1e-5, KEY)[0] - both(0.1 - 1e-5, KEY)[0]) / 2e-5
    assert float(both(0.1, KEY)[1]) == pytest.approx(difference, rel=1e-6)
    keys = jax.random.split(KEY, 3)
    members = jax.jit(jax.vmap(lambda k: spread(0.1, k)))(keys)
    np.testing.assert_allclose(members, [both(0.1, k)[0] for k in keys], rtol=1e-9)


def test_bad_reductions_are_named():
    for segment in (7, 100.5, 6):
        with pytest.raises(ValueError, match=r"running_welch: segment = .* samples; wanted an even number"):
            running_welch(lambda y: y.v, dt=1.0, segment=segment)
    with pytest.raises(ValueError, match=r"made for samples every 1 ms, but save_every = 0.5 ms"):
        saved(every=5, save=running_welch(lambda y: y.v, dt=1.0, segment=64))
    with pytest.raises(ValueError, match=r"observe gives shape \[2, 3\]; wanted a vector"):
        saved(steps=10, save=running_covariance(lambda y: y.r))
