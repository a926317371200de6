"""Order parameter and phase locking against their definitions, closed forms and the statistics of chance."""

import jax.numpy as jnp
import numpy as np
import pytest

from jnm.observe import kuramoto_order, phase, phase_locking


def angles(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, shape)


def test_order_of_locked_split_and_spread_phases():
    t = np.arange(50.0)[:, None]
    splay = t + 2 * np.pi * np.arange(5) / 5
    np.testing.assert_allclose(kuramoto_order(t + np.zeros(5)), 1.0, atol=1e-6)
    np.testing.assert_allclose(kuramoto_order(splay), 0.0, atol=1e-5)
    np.testing.assert_allclose(kuramoto_order(t + np.array([0.0, 1.2])), np.cos(0.6), atol=1e-6)


def test_order_by_chance_is_that_of_a_random_walk():
    """The mean length of the mean of N random vectors is sqrt(pi / 4 N) for many (Rayleigh)."""
    R = np.asarray(kuramoto_order(angles(20_000, 50)))
    assert R.mean() == pytest.approx(np.sqrt(np.pi / 4 / 50), abs=4 * R.std() / np.sqrt(R.size))


def test_locking_is_its_definition_for_every_pair_and_batch(x64):
    theta = angles(100, 2, 3)
    plv = phase_locking(theta)
    for b, i, j in np.ndindex(2, 3, 3):
        wanted = abs(np.mean(np.exp(1j * (theta[:, b, i] - theta[:, b, j]))))
        assert plv[b, i, j] == pytest.approx(wanted, abs=1e-14)


def test_locking_sees_a_constant_difference_and_not_two_frequencies():
    t = np.arange(4000) * 1e-3
    x = np.stack([np.cos(2 * np.pi * 10 * t), np.cos(2 * np.pi * 10 * t + 2.0), np.cos(2 * np.pi * 12 * t)], axis=1)
    plv = phase_locking(phase(x, 1.0, (5, 20)))
    np.testing.assert_allclose(plv, [[1, 1, 0], [1, 1, 0], [0, 0, 1]], atol=1e-3)


@pytest.mark.parametrize("measure", [lambda p: jnp.sum(kuramoto_order(p)), lambda p: jnp.sum(phase_locking(p) ** 2)])
def test_gradients(check_gradient, measure):
    check_gradient(measure, angles(80, 4))


@pytest.mark.parametrize("measure", [kuramoto_order, phase_locking])
@pytest.mark.parametrize("shape", [(10,), (10, 1)])
def test_one_region_has_no_order(measure, shape):
    with pytest.raises(ValueError, match=r"\[time, ..., region\]"):
        measure(np.zeros(shape))
