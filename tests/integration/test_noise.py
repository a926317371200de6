"""White noise: the cipher, the normal law, independence along every axis, and the variance a scheme makes of it."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

import jnm
from jnm._model import AbstractModel
from jnm._threefry import threefry
from jnm.integration import StepNoise
from jnm.integration.noise import noisy_part, normals

KEY = jax.random.key(42)


class Two(NamedTuple):
    x: jax.Array
    y: jax.Array


class Linear(AbstractModel):
    """x' = -theta x + noise, y noiseless, for every population and region given in `amplitude`."""

    theta: jax.Array = jnm.param(0.1)
    amplitude: jax.Array = jnm.param(1.0)

    def init(self):
        zero = jnp.zeros(self.amplitude.shape, self.amplitude.dtype)
        return Two(zero, zero)

    def drift(self, t, y, drive):
        return Two(-self.theta * y.x, y.x)

    def diffusion(self, t, y):
        return Two(jnp.broadcast_to(self.amplitude, y.x.shape), None)

    def output(self, t, y):
        return y.x if y.x.ndim < 2 else y.x[0]

    def source(self, t, y, drive):
        return self.output(t, y)


def increments(shape, steps=20_000, key=KEY, levy=False, white=None, start=0):
    """What `White` draws for a state of this shape, for steps of 1 ms: a standard normal each."""
    white = jnm.White() if white is None else white
    like = noisy_part(Linear(amplitude=jnp.ones(shape)))
    return jax.jit(lambda key, start: white.draw(key, start, steps, 1.0, like, levy))(key, jnp.int32(start))


def test_the_cipher_is_jax_s_own(x64):
    words = jax.random.bits(jax.random.key(1), (2,), np.uint32)
    counters = jax.random.bits(jax.random.key(2), (2000,), np.uint32)
    x, y = threefry(words, counters[:1000], counters[1000:])
    assert jnp.array_equal(jnp.concatenate([x, y]), threefry_2x32(words, counters))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["single", "double"])
def test_draws_are_standard_normal(x64, dtype):
    x = np.asarray(normals(KEY, jnp.int32(0), 4000, 251, dtype), np.float64).ravel()
    n = x.size
    assert abs(x.mean()) < 4 / np.sqrt(n)
    assert abs(x.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(x)) < 4 * np.sqrt(6 / n) and abs(stats.kurtosis(x)) < 4 * np.sqrt(24 / n)
    assert stats.kstest(x, "norm").pvalue > 1e-3
    tail = np.sum(np.abs(x) > 4)
    assert stats.poisson.sf(tail - 1, n * 2 * stats.norm.sf(4)) > 1e-4 and tail > 20
    repeats = n - np.unique(x).size
    assert repeats < (5 if dtype == jnp.float64 else 2**17)  # 23 random bits repeat themselves, 53 do not


def test_no_step_element_or_pair_of_them_knows_of_another():
    x = np.asarray(increments((6,)), np.float64)
    n = x.shape[0]
    bound = 5 / np.sqrt(n)
    for lag in (1, 2, 3, 7, 100, 1000):
        assert np.all(np.abs((x[:-lag] * x[lag:]).mean(axis=0)) < bound), lag
        assert np.all(np.abs((x[:-lag] * np.roll(x, 1, axis=1)[lag:]).mean(axis=0)) < bound), lag
    off_diagonal = np.corrcoef(x.T) - np.eye(6)
    assert np.all(np.abs(off_diagonal) < bound)
    squares = np.corrcoef((x**2).T) - np.eye(6)
    assert np.all(np.abs(squares) < bound)
    spectrum = (np.abs(np.fft.rfft(x[:, 0])) ** 2 / n)[1:-1]
    assert stats.kstest(spectrum, "expon").pvalue > 1e-3


def test_keys_streams_and_neighbouring_seeds_are_independent():
    first = np.asarray(increments((50,), 4000))
    draws = [np.asarray(increments((50,), 4000, key=jax.random.key(seed))) for seed in (41, 43)]
    draws.append(np.asarray(increments((50,), 4000, key=jax.random.fold_in(KEY, 1))))
    draws.append(np.sqrt(12) * np.asarray(increments((50,), 4000, levy=True).H))
    for other in draws:
        assert abs(np.mean(first * other)) < 5 / np.sqrt(first.size)
        assert not np.any(first == other)


def test_the_levy_area_has_a_twelfth_of_the_variance():
    drawn = increments((50,), 8000, levy=True)
    W, H = np.asarray(drawn.W), np.asarray(drawn.H)
    assert np.array_equal(W, np.asarray(increments((50,), 8000)))
    assert abs(12 * H.var() - 1) < 4 * np.sqrt(2 / H.size)
    assert abs(np.corrcoef(W.ravel(), H.ravel())[0, 1]) < 4 / np.sqrt(H.size)


def test_an_increment_depends_on_its_step_alone():
    whole = increments((7,), 100)
    assert jnp.array_equal(increments((7,), 30, start=45), whole[45:75])
    assert jnp.array_equal(increments((7,), 1, start=99), whole[99:])
    wider = increments((9,), 100)
    assert jnp.array_equal(wider[:, :4], whole[:, :4])  # both words of a counter are used: low ones come first


def test_a_long_run_has_steps_of_its_own():
    late = increments((3,), 10, start=2_000_000_000)
    assert not np.any(np.isin(np.asarray(late), np.asarray(increments((3,), 20_000))))


def test_members_of_a_batch_are_independent():
    model = Linear(amplitude=jnp.ones(40))
    run = jax.vmap(lambda key: jnm.simulate(model, 200.0, 1.0, key=key, solver=diffrax.Euler()).ys.x)
    x = np.asarray(run(jax.random.split(KEY, 30))).reshape(30, -1)
    r = np.corrcoef(x)[np.triu_indices(30, 1)]
    assert np.abs(r).max() < 6 * np.sqrt(10 / x.shape[1])  # the samples of an OU process are correlated over 10 ms


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
def test_shared_noise_is_the_correlation_between_regions(shared):
    x = np.asarray(increments((2, 5), white=jnm.White(shared=shared))).reshape(-1, 2, 5)
    n = x.shape[0]
    assert np.all(np.abs(x.var(axis=0) - 1) < 5 * np.sqrt(2 / n))
    within = np.stack([np.corrcoef(x[:, p].T)[np.triu_indices(5, 1)] for p in range(2)])
    assert np.all(np.abs(within - shared) < 5 * (1 - shared**2) / np.sqrt(n))
    across = np.corrcoef(x[:, 0].T, x[:, 1].T)[:5, 5:]
    assert np.all(np.abs(across) < 5 / np.sqrt(n))  # populations have paths of their own


class Mixed(Linear):
    """A noisy field with populations beside one without them, over three regions; or one region's two populations."""

    regions: bool = eqx.field(default=True, static=True)

    def init(self):
        return Two(jnp.zeros((2, 3)), jnp.zeros(3)) if self.regions else Two(jnp.zeros(2), jnp.zeros(()))

    def drift(self, t, y, drive):
        return jax.tree.map(jnp.zeros_like, y)

    def diffusion(self, t, y):
        return jax.tree.map(jnp.ones_like, y)

    def output(self, t, y):
        return y.y


@pytest.mark.parametrize("regions", [True, False])
def test_regions_share_noise_and_populations_do_not(regions):
    """Whatever fields have populations: three paths over three regions, or three fields of a single node."""
    y = jnm.simulate(Mixed(regions=regions), 4000.0, 1.0, key=KEY, noise=jnm.White(shared=0.8)).ys
    x = np.concatenate([np.asarray(leaf).reshape(4000, -1) for leaf in y], axis=1)
    wanted = np.kron(np.eye(3), np.full((3, 3), 0.8)) + 0.2 * np.eye(9) if regions else np.eye(3)
    np.testing.assert_allclose(np.corrcoef(np.diff(x, axis=0).T), wanted, atol=5 / np.sqrt(4000))


@pytest.mark.parametrize("shared", [-0.1, 1.0, 1.5])
def test_a_share_outside_its_range_is_named(shared):
    with pytest.raises(ValueError, match=rf"shared = {shared}; the common share"):
        jnm.White(shared=shared)


def test_each_element_gets_its_own_amplitude():
    amplitude = jnp.array([[0.1, 0.2, 0.4], [1.0, 2.0, 4.0]])
    model = Linear(theta=0.0, amplitude=amplitude)
    x = np.asarray(jnm.simulate(model, 20_000.0, 1.0, key=KEY, solver=diffrax.Euler()).ys.x, np.float64)
    sd = np.diff(x, axis=0).std(axis=0)
    np.testing.assert_allclose(sd, amplitude, rtol=4 / np.sqrt(2 * x.shape[0]))


def discrete_variance(scheme, theta, dt):
    """Stationary variance of the scheme's own recursion x <- A x + B sqrt(dt) xi for dx = -theta x dt + dW."""
    a = theta * dt
    A, B = (1 - a, 1.0) if scheme == "Euler" else (1 - a + a**2 / 2, 1 - a / 2)
    return B**2 * dt / (1 - A**2)


@pytest.mark.parametrize(("solver", "bias"), [(diffrax.Euler(), 0.11), (diffrax.Heun(), -0.011)], ids=["Euler", "Heun"])
def test_stationary_variance_is_the_scheme_s_own_at_every_step(solver, bias):
    theta, limit = 0.1, 5.0
    ratios = {}
    for dt in (0.2, 2.0, 8.0):
        model = Linear(theta=theta, amplitude=jnp.ones(600))
        mean_square = jnm.Reduction(
            lambda y: (jnp.zeros_like(y.x), 0.0), lambda f, t, y: (f[0] + y.x**2, f[1] + 1), lambda f: f[0] / f[1]
        )
        steps = round(3000.0 / dt)
        run = jnm.simulate(
            model, steps * dt + 104.0, dt, key=KEY, solver=solver, save=mean_square, discard=104.0, save_every=dt
        )
        each = np.asarray(run.ys, np.float64)
        error = each.std() / np.sqrt(each.size)
        expected = discrete_variance(type(solver).__name__, theta, dt)
        assert error / expected < 0.005
        assert abs(each.mean() - expected) < 4 * error, dt
        ratios[dt] = expected / limit - 1
    assert abs(ratios[0.2]) < 0.011 and ratios[2.0] == pytest.approx(bias, rel=0.02)  # what the test can tell apart


def test_variance_at_the_default_of_a_network():
    """The same for a noise amplitude per population and region through a whole Network, against its exact law."""
    rng = np.random.default_rng(0)
    W = rng.random((4, 4)) / 10
    net = jnm.Network(
        Linear(theta=0.5, amplitude=jnp.array([1.0, 2.0, 0.5, 1.0])), jnm.Connectome(W, labels=list("abcd"))
    )
    x = np.asarray(jnm.simulate(net, 40_000.0, 0.1, key=KEY, save_every=1.0, discard=100.0).ys.x, np.float64)
    expected = np.diag([1.0, 4.0, 0.25, 1.0]) / (2 * 0.5)  # Linear ignores its drive: the regions stay independent
    n_eff = 40_000 * 0.5
    np.testing.assert_allclose(np.cov(x.T), expected, atol=5 * 4 * np.sqrt(2 / n_eff))


def test_step_noise_is_what_the_loop_draws():
    model = jnm.PING(IE=2.0, sigma=0.3)
    path = StepNoise(KEY, model, 0.1)
    drawn = jnm.White().draw(KEY, jnp.int32(0), 50, 0.1, noisy_part(model), True)
    for step in (0, 1, 49):
        assert jnp.array_equal(path.evaluate(step * 0.1, (step + 1) * 0.1), drawn.W[step])
        area = path.evaluate(step * 0.1, (step + 1) * 0.1, use_levy=True)
        assert jnp.array_equal(area.H, drawn.H[step]) and jnp.array_equal(area.W, drawn.W[step])
    assert drawn.W.std() == pytest.approx(np.sqrt(0.1), rel=0.3)


def test_a_noise_of_one_s_own(x64):
    class Same(eqx.Module):
        """The same increment at every step."""

        def draw(self, key, step, count, dt, like, levy):
            return jnp.full((count, sum(leaf.size for leaf in jax.tree.leaves(like))), 0.25)

    run = jnm.simulate(Linear(theta=0.0, amplitude=jnp.ones(3)), 10.0, 1.0, key=KEY, noise=Same())
    np.testing.assert_allclose(run.ys.x[:, 1], 0.25 * np.arange(1, 11))
