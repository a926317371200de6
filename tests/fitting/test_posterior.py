"""Priors, information in words, Laplace, profiles, NUTS and DataTrees: against SciPy, against each other, and calibrated."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from jax.flatten_util import ravel_pytree

from jnm._param import Interval, Positive, param
from jnm.fitting import (
    AbstractLikelihood,
    LogNormal,
    Normal,
    Priors,
    Uniform,
    free,
    information,
    laplace,
    nuts,
    profile,
    scoring,
)

KEY = jax.random.key(0)
F = np.arange(2.0, 60.0, 1.0)
M = 20.0


class Lorentz(eqx.Module):
    """S(f) = level / (1 + (f / corner)^2) + floor: a model small enough to be fitted a thousand times."""

    level: jax.Array = param(2.0, domain=Positive())
    corner: jax.Array = param(15.0, unit="Hz", domain=Positive())
    twin: jax.Array = param(1.0, domain=Positive())
    idle: jax.Array = param(0.0)

    def spectrum(self):
        return self.twin * self.level / (1 + (F / self.corner) ** 2) + 0.02


class Spectral(AbstractLikelihood):
    """Its Whittle likelihood."""

    seen: jax.Array
    data = M * len(F)

    def __call__(self, model, key=None):
        return -self.log_likelihood(model) / self.data

    def log_likelihood(self, model):
        S = model.spectrum()
        return -M * jnp.sum(jnp.log(S) + self.seen.astype(S.dtype) / S)

    def scores(self, build, theta):
        return tuple(np.sqrt(M) * np.asarray(x, float) for x in _scores(self, build, theta))


@eqx.filter_jit
def _scores(likelihood, build, theta):
    flat, unravel = ravel_pytree(theta)

    def log_S(x):
        return jnp.log(build(unravel(x)).spectrum())

    return jax.jacfwd(log_S)(flat), likelihood.seen / jnp.exp(log_S(flat)) - 1


def both(m):
    return m.level, m.corner


def data(model, seed=0):
    S = np.asarray(model.spectrum(), float)
    return Spectral(jnp.asarray(np.random.default_rng(seed).gamma(M, S / M)))


def test_priors_are_densities_of_theta(x64):
    """log p(theta) is SciPy's density of the parameter times the slope of the bijection; draws follow it."""
    _, build = free(Lorentz(), lambda m: (m.level, m.corner, m.idle), domains=(None, Interval(5.0, 40.0), None))
    prior = Priors(build, {"level": LogNormal(2.0, 0.3), "corner": Uniform(5.0, 40.0), "idle": Normal(1.0, 2.0)})
    away = (jnp.asarray(0.4), jnp.asarray(0.7), jnp.asarray(-1.0))
    x, slope = np.exp(0.4), 35.0
    p = 1 / (1 + np.exp(-0.7))
    wanted = (
        scipy.stats.lognorm(0.3, scale=2.0).logpdf(x) + np.log(x) + np.log(1 / slope) + np.log(slope * p * (1 - p))
        + scipy.stats.norm(1.0, 2.0).logpdf(-1.0)
    )  # fmt: skip
    assert float(prior.log_density(away)) == pytest.approx(wanted, rel=1e-12)
    drawn = jax.vmap(lambda key: build.values(prior.sample(key)))(jax.random.split(KEY, 2000))
    for name, law in {"level": scipy.stats.lognorm(0.3, scale=2.0), "corner": scipy.stats.uniform(5, 35)}.items():
        assert scipy.stats.kstest(np.asarray(drawn[name]), law.cdf).pvalue > 1e-3
    assert Priors(build, (None, None, Normal(1.0, 2.0))).priors.keys() == {"idle"}
    with pytest.raises(ValueError, match="level, corner have no prior"):
        Priors(build, {"idle": Normal(1.0, 2.0)}).sample(KEY)
    for wrong, message in [({"level": Normal(0.0, 1.0)}, "reaches all real"), ({"wrong": Normal(0.0, 1.0)}, "structure"),
                           ({"corner": Uniform(1.0, 50.0)}, "from 1 to 50")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Priors(build, wrong)
    with pytest.raises(ValueError, match="sd = -1"):
        Normal(0.0, -1.0)


def test_information_in_words(x64):
    loss = data(Lorentz())
    theta, build = free(Lorentz(), lambda m: (m.level, m.corner, m.twin, m.idle))
    known = information(loss, build, theta)
    assert set(known.blind) == {("idle",), ("level", "twin")}
    assert "level and twin cannot be told apart: fix one" in known.words()
    assert "idle has no influence that is seen" in str(known) and np.isinf(known.condition)
    assert np.isinf(known.sd["level"]) and known.sd["corner"] < 0.2
    theta, build = free(Lorentz(), both)
    known = information(loss, build, theta)
    np.testing.assert_allclose(known.covariance, np.linalg.inv(known.matrix), rtol=1e-9)
    assert not known.blind and known.words().startswith("told")
    with pytest.raises(ValueError, match=r"laplace: .*cannot be told apart"):
        laplace(loss, *free(Lorentz(), lambda m: (m.level, m.twin)))
    with pytest.raises(ValueError, match=r"nuts: prior = None; wanted jnm.fitting.Priors"):
        nuts(loss, theta, build, None, KEY)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="wanted a likelihood"):
        information(lambda m, key: 0.0, build, theta)


def test_posteriors_agree(x64):
    """Scoring finds SciPy's maximum; Laplace, profile and a grid of the exact posterior tell the same."""
    loss, (theta, build) = data(Lorentz(), seed=3), free(Lorentz(level=1.0, corner=30.0), both)
    fit = scoring(loss, theta, build)
    log_L = jax.jit(lambda x: loss.log_likelihood(build((x[0], x[1]))))
    best = scipy.optimize.minimize(
        lambda x: -float(log_L(x)), [0.0, 3.4], method="Nelder-Mead", options={"xatol": 1e-7}
    )
    np.testing.assert_allclose(fit.theta, best.x, atol=1e-4)
    report = fit.report()
    assert "Fisher information with eigenvalues" in str(report)
    prior = Priors(build, {"level": LogNormal(2.0, 0.2), "corner": LogNormal(15.0, 0.2)})
    normal = laplace(loss, theta, build, prior)
    axes = [
        m + np.linspace(-6, 6, 121) * s for m, s in zip(normal.mean, np.sqrt(np.diag(normal.covariance)), strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    density = jax.jit(jax.vmap(lambda x: loss.log_likelihood(build((x[0], x[1]))) + prior.log_density((x[0], x[1]))))
    log_p = np.asarray(density(grid.reshape(-1, 2))).reshape(121, 121)
    p = np.exp(log_p - log_p.max())
    cell = np.prod([a[1] - a[0] for a in axes])
    assert normal.log_evidence == pytest.approx(np.log(p.sum() * cell) + log_p.max(), abs=0.03)
    marginal = p.sum(axis=1) / p.sum()
    np.testing.assert_allclose(
        np.sqrt(marginal @ (axes[0] - marginal @ axes[0]) ** 2), np.sqrt(normal.covariance[0, 0]), rtol=0.05
    )
    low, high = profile(loss, fit.theta, build, "corner").interval(0.9)
    np.testing.assert_allclose((low, high), report["corner"].interval, rtol=0.01)
    with pytest.raises(ValueError, match="'idle' is not free"):
        profile(loss, fit.theta, build, "idle")


@pytest.mark.slow
def test_nuts_draws_the_same_posterior_and_arviz_reads_it(x64):
    loss, (theta, build) = data(Lorentz(), seed=3), free(Lorentz(level=1.0, corner=30.0), both)
    prior = Priors(build, {"level": LogNormal(2.0, 0.2), "corner": LogNormal(15.0, 0.2)})
    drawn = nuts(loss, theta, build, prior, KEY, draws=800, warmup=200, chains=2)
    normal = laplace(loss, theta, build, prior)
    flat = drawn.theta.reshape(-1, 2)
    sd = np.sqrt(np.diag(normal.covariance))
    np.testing.assert_allclose((flat.mean(axis=0) - normal.mean) / sd, 0.0, atol=0.15)
    np.testing.assert_allclose(np.cov(flat.T), normal.covariance, rtol=0.25, atol=0.1 * sd[0] * sd[1])
    assert drawn.stats["diverging"].mean() < 0.01
    for name, ends in normal.interval(0.9).items():
        np.testing.assert_allclose(drawn.interval(0.9)[name], ends, rtol=0.05)
    tree = drawn.to_datatree()
    assert tree["posterior"].ds["corner"].dims == ("chain", "draw") and tree["posterior"].ds["corner"].units == "Hz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ 0.23 announces its successor when it is imported
        arviz = pytest.importorskip("arviz", reason="ArviZ comes with the extra bayes")
        summary = arviz.summary(arviz.from_datatree(tree) if hasattr(arviz, "InferenceData") else tree)
    assert float(summary.loc["level", "r_hat"]) < 1.02


def ranks_of(count, halved=1.0):
    """Simulation-based calibration: the rank of the true value among 63 draws of its posterior, for each parameter."""
    theta, build = free(Lorentz(), both)
    prior = Priors(build, {"level": LogNormal(2.0, 0.3), "corner": LogNormal(15.0, 0.3)})
    ranks = []
    for i in range(count):
        true = prior.sample(jax.random.fold_in(KEY, i))
        posterior = laplace(data(build(true), seed=i), theta, build, prior)
        z = np.random.default_rng(10_000 + i).normal(size=(63, 2))
        draws = posterior.mean + halved * z @ np.linalg.cholesky(posterior.covariance).T
        ranks.append((draws < np.array(true)).sum(axis=0))
    return np.array(ranks)


@pytest.mark.slow
def test_simulation_based_calibration(x64):
    """500 draws from the prior: ranks are uniform; with half the posterior's sd they are not.

    Talts S et al (2018) Validating Bayesian inference algorithms with simulation-based calibration. arXiv 1804.06788.
    """
    for halved, calibrated in [(1.0, True), (0.5, False)]:
        ranks = ranks_of(500, halved)
        for column in ranks.T:
            counts = np.bincount(column // 4, minlength=16)
            assert (scipy.stats.chisquare(counts).pvalue > 1e-3) == calibrated, (halved, counts)
