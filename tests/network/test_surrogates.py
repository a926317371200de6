"""Surrogate connectomes: what each kind keeps, and what it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.network import neighbourly, relabelled, rewired, shuffled


@pytest.fixture
def brain(x64) -> jnm.Connectome:
    """Thirty regions with detailed balance: c_i S_ij, and lengths."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3)) * 40
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    log_s = -distance / 20 + 0.5 * rng.normal(size=(30, 30))
    s = np.exp(log_s + log_s.T) * (1 - np.eye(30))
    return jnm.Connectome(rng.lognormal(size=30)[:, None] * s, distance, points)


def off(matrix):
    return np.asarray(matrix)[~np.eye(len(matrix), dtype=bool)]


def symmetric(connectome):
    return np.asarray(connectome.weights) / connectome.balance()[:, None]


@pytest.mark.parametrize("surrogate", [shuffled, rewired, neighbourly, relabelled])
def test_every_surrogate_is_its_seeds_and_has_a_real_spectrum(brain, surrogate):
    once, again, other = (surrogate(brain, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once.weights, again.weights)
    assert np.max(np.abs(once.weights - other.weights)) > 0.1
    assert not np.iscomplexobj(once.normalised("rows").eigenvalues())
    assert (once.labels, once.source) == (brain.labels, brain.source)
    np.testing.assert_array_equal(np.diag(once.weights), 0)


def test_shuffling_keeps_the_distribution(brain):
    s, moved = symmetric(brain), symmetric(shuffled(brain, 0))
    scale = np.sort(off(moved))[-1] / np.sort(off(s))[-1]  # the factors c are known up to one number
    np.testing.assert_allclose(np.sort(off(moved)), scale * np.sort(off(s)), rtol=1e-6)
    assert abs(np.corrcoef(np.log(off(s)), np.log(off(moved)))[0, 1]) < 0.15


def test_rewiring_keeps_strengths(brain):
    moved = rewired(brain, 0)
    np.testing.assert_allclose(np.sum(moved.weights, axis=1), np.sum(brain.weights, axis=1), rtol=1e-9)
    assert abs(np.corrcoef(np.log(off(brain.weights)), np.log(off(moved.weights)))[0, 1]) < 0.9


def test_neighbours_keep_weight_against_distance(brain):
    distance, s = off(brain.lengths), np.log(off(symmetric(brain)))
    near = np.corrcoef(distance, np.log(off(symmetric(neighbourly(brain, 0)))))[0, 1]
    far = np.corrcoef(distance, np.log(off(symmetric(shuffled(brain, 0)))))[0, 1]
    assert near == pytest.approx(np.corrcoef(distance, s)[0, 1], abs=0.05)
    assert abs(far) < 0.2


def test_pairs_without_a_tract_are_far(brain):
    """In files of tractography their length is 0; strong short connections must not move there."""
    there = symmetric(brain) > 1.01 * np.median(off(symmetric(brain)))
    weights, lengths = (np.where(there, x, 0.0) for x in (brain.weights, brain.lengths))
    moved = symmetric(neighbourly(jnm.Connectome(weights, lengths, brain.centres), 0))
    assert 0 < moved[~there].sum() < 0.01 * moved.sum()


def test_labels_change_nothing_spectral(brain):
    moved = relabelled(brain, 0)
    np.testing.assert_allclose(
        moved.normalised("rows").eigenvalues(), brain.normalised("rows").eigenvalues(), atol=1e-12
    )
    weight, length = off(brain.weights), off(brain.lengths)
    assert set(zip(off(moved.weights), off(moved.lengths), strict=True)) == set(zip(weight, length, strict=True))


def test_without_detailed_balance_pairs_stay_together():
    weights = np.random.default_rng(1).uniform(0.1, 1.0, (6, 6))
    moved = np.asarray(shuffled(jnm.Connectome(weights), 0).weights)
    upper = np.triu_indices(6, 1)
    pairs = {tuple(pair) for pair in np.float32(np.stack([weights[upper], weights.T[upper]], axis=1))}
    assert {tuple(pair) for pair in np.stack([moved[upper], moved.T[upper]], axis=1)} == pairs


def test_bad_input_is_named():
    weights = np.random.default_rng(1).uniform(0.1, 1.0, (6, 6))
    with pytest.raises(ValueError, match="no detailed balance"):
        rewired(jnm.Connectome(weights), 0)
    with pytest.raises(ValueError, match="neither lengths nor centres"):
        neighbourly(jnm.Connectome(weights + weights.T), 0)
    chain = np.zeros((3, 3))
    chain[[0, 1, 1, 2], [1, 0, 2, 1]] = [1.0, 1.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="no factors give every region its strength"):
        for seed in range(6):
            rewired(jnm.Connectome(chain), seed)
    with pytest.raises(ValueError, match="traced"):
        jax.jit(lambda w: shuffled(jnm.Connectome(w), 0).weights)(jnp.asarray(weights))
