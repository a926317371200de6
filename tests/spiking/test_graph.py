"""Graph: bits against dense products, draws against their distribution, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnm.spiking import Graph, bits

KEY = jax.random.key(0)


def square(n, p):
    return Graph.draw(KEY, n, n, p, loops=False)


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (7, 0.0), (33, 1.0), (517, 0.3)])
def test_arrivals_are_the_dense_product(n, p):
    """No spike, few, most and all, which is more than one turn of the loop takes."""
    graph, rng = square(n, p), np.random.default_rng(0)
    fired = rng.random((4, n)) < np.array([0.0, 0.03, 0.7, 1.0])[:, None]
    words = bits.pack(jnp.asarray(fired), np.uint32)
    wanted = fired.astype(int) @ graph.dense().T.astype(int)
    one = eqx.filter_jit(graph.arrivals)
    np.testing.assert_array_equal(np.stack([one(w) for w in words]), wanted)
    np.testing.assert_array_equal(jax.vmap(graph.arrivals)(words), wanted)
    np.testing.assert_array_equal(Graph.of(graph.dense()).dense(), graph.dense())
    np.testing.assert_array_equal(bits.unpack(words, n), fired)


def test_an_accelerator_finds_and_counts_as_a_processor_does():
    graph, rng = square(300, 0.4), np.random.default_rng(1)
    for find in (bits.in_turn, bits.by_rank):

        @jax.jit
        def listed(words, find=find):
            number, at = find(words)
            return number, at(0, 384)

        for share in (0.0, 0.02, 0.6, 1.0):
            fired = rng.random(300) < share
            number, found = listed(bits.pack(fired, np.uint32))
            assert number == fired.sum() and np.all(np.asarray(found)[number:] == -1)
            np.testing.assert_array_equal(np.sort(found[:number]), np.flatnonzero(fired))
    index = jnp.asarray(np.r_[np.arange(60), -np.ones(4)], jnp.int32)
    in_turn, at_once = jax.jit(bits._add_in_turn)(graph.rows, index), bits._add_at_once(graph.rows, index)
    np.testing.assert_array_equal(in_turn, at_once)
    np.testing.assert_array_equal(in_turn.reshape(-1)[:300], graph.dense()[:, :60].sum(axis=1))


@pytest.mark.parametrize("size", [1, 33, 2047])
def test_sums_over_a_list(size):
    x = np.random.default_rng(2).integers(0, 100, size)
    assert bits.total(jnp.asarray(x)) == x.sum()
    assert bits.mean(jnp.asarray(x, jnp.float32)) == pytest.approx(x.mean(), rel=1e-6)
    for one in (np.arange(size) == 0, np.arange(size) == size - 1, np.zeros(size, bool)):
        assert bits.some(8 * jnp.asarray(one, jnp.uint32)) == one.any()


def test_a_list_of_senders_may_name_one_twice():
    graph = Graph.draw(KEY, 20, 12, 0.5)
    listed = bits.listed(jnp.array([3, 3, 19, -1, 0, -1]))
    wanted = graph.dense()[:, [3, 3, 19, 0]].sum(axis=1)
    np.testing.assert_array_equal(graph.arrivals_of(jnp.asarray(6), listed), wanted)


@pytest.mark.parametrize("number", [0, 1, 37, 63, 64, 70, 100])
def test_the_first_ones(number):
    np.testing.assert_array_equal(bits.unpack(bits.first_ones(jnp.asarray(number), 100), 100), np.arange(100) < number)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_every_pair_is_connected_with_probability_p(p):
    """Connections in all, senders of a neuron and receivers of a neuron are binomial; none reaches itself."""
    n = 1200
    dense = square(n, p).dense()
    assert not dense.diagonal().any()
    pairs = n * (n - 1)
    assert dense.sum() == pytest.approx(p * pairs, abs=4 * np.sqrt(pairs * p * (1 - p)))
    for degrees in (dense.sum(axis=0), dense.sum(axis=1)):
        variance = (n - 1) * p * (1 - p)
        assert np.var(degrees) == pytest.approx(variance, abs=4 * variance * np.sqrt(2 / n))
    both = np.mean(dense & dense.T) * n / (n - 1)
    assert both == pytest.approx(p**2, abs=4 * np.sqrt(2 * p**2 * (1 - p**2) / pairs))


def test_reach_and_keys():
    graph = Graph.draw(KEY, 300, 100, 1.0, reach=20)
    np.testing.assert_array_equal(graph.dense(), (np.arange(100) < 20)[:, None] & np.ones(300, bool))
    same, other = Graph.draw(KEY, 300, 100, 0.5), Graph.draw(jax.random.key(1), 300, 100, 0.5)
    np.testing.assert_array_equal(Graph.draw(KEY, 300, 100, 0.5).rows, same.rows)
    assert 0.45 < np.mean(same.dense() != other.dense()) < 0.55


def test_under_jit_p_may_be_anything():
    drawn = jax.jit(lambda p: Graph.draw(KEY, 60, 60, p, loops=False).rows)
    np.testing.assert_array_equal(drawn(0.3), square(60, 0.3).rows)
    assert not np.any(drawn(0.0))
    np.testing.assert_array_equal(Graph(drawn(1.0), 60, 60).dense(), square(60, 1.0).dense())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: square(10, 1.2), r"p = 1.2"),
        (lambda: square(10, -0.1), r"p = -0.1"),
        (lambda: square(10, np.nan), r"p = nan"),
        (lambda: square(0, 0.5), "at least one"),
        (lambda: Graph.draw(KEY, 3, 4, 0.5, loops=False), "same neurons"),
        (lambda: Graph.of(np.ones(5)), "matrix"),
        (lambda: square(10**7, 0.5), r"12,500\.0 GB"),
    ],
)
def test_what_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
