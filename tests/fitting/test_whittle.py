"""Whittle's likelihood against SciPy's Gamma density, the information of a white and a coloured process, and fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize, stats

import jnm
from jnm.fitting.whittle import (
    SpectrumLoss,
    cramer_rao,
    deviance_residuals,
    fisher_information,
    independent_share,
    whittle_loglik,
)

F_HZ = np.linspace(1.0, 100.0, 300)


class Lowpass(eqx.Module):
    """S = power / (1 + (f / corner)^2)."""

    power: jax.Array = jnm.param(2.0, domain=jnm.Positive())
    corner: jax.Array = jnm.param(20.0, unit="Hz", domain=jnm.Positive())

    def psd(self, f_hz):
        return self.power / (1 + (f_hz / self.corner) ** 2)


def measured(averages, seed=0, count=()):
    """Spectra of `Lowpass()`, each the mean of independent periodograms."""
    S = 2.0 / (1 + (F_HZ / 20.0) ** 2)
    return S * np.random.default_rng(seed).gamma(averages, 1 / averages, (*count, len(F_HZ)))


@pytest.mark.parametrize("averages", [1.0, 7.5])
def test_log_likelihood_is_that_of_gamma_variables(x64, averages):
    I, S = measured(averages), 3.0 / (1 + (F_HZ / 15.0) ** 2)
    wanted = stats.gamma.logpdf(I, averages, scale=S / averages).sum()
    assert float(whittle_loglik(I, S, averages)) == pytest.approx(wanted, rel=1e-12)
    half = whittle_loglik(I, S, averages, correlation=(1.0, 0.5))
    assert float(half) == pytest.approx(wanted / 2, rel=1e-12)
    r = deviance_residuals(I, S, averages)
    best = stats.gamma.logpdf(I, averages, scale=I / averages).sum()
    assert float(jnp.sum(r**2) / 2) == pytest.approx(best - wanted, rel=1e-10)


@pytest.mark.parametrize(("double", "tolerance"), [(False, 2e-6), (True, 1e-13)])
def test_residuals_keep_their_digits(double, tolerance):
    """Next to I = S, where exp(u) - 1 - u cancels, and at the seam of both forms; NumPy's long double for comparison."""
    u = np.array([-3.0, -0.5, -0.4999, -1e-2, -1e-5, 0.0, 1e-6, 1e-3, 0.4999, 0.5, 3.0])
    with jax.enable_x64(double):
        r = np.asarray(deviance_residuals(jnp.exp(jnp.asarray(u)), jnp.ones(u.size), 4.0))
        slope = jax.vmap(jax.grad(lambda u: deviance_residuals(jnp.exp(u), jnp.ones(()), 4.0)))(jnp.asarray(u))
    wide = u.astype(np.longdouble)
    terms = sum(
        wide**k / np.longdouble(1.0) / np.cumprod(np.arange(1, 40, dtype=np.longdouble))[k - 1] for k in range(2, 38)
    )
    wanted = np.sign(u) * np.sqrt(8 * terms)
    np.testing.assert_allclose(r, wanted.astype(float), rtol=30 * tolerance, atol=4 * tolerance)
    assert float(slope[5]) == pytest.approx(2.0, rel=10 * tolerance)
    assert np.all(np.diff(slope) > 0)  # r is convex in u


def test_fisher_information_and_its_bound(x64):
    """log power alone: M K; of a low pass, by finite differences of log S; a scale moves with its parameter."""
    alone = fisher_information(lambda x: jnp.full(300, x[0]), jnp.zeros(1), averages=5.0, correlation=(1.0, 0.25))
    assert float(alone[0, 0]) == pytest.approx(5 * 300 / 1.5)

    def log_S(x):
        return jnp.log(x[0] / (1 + (F_HZ / x[1]) ** 2))

    F = fisher_information(log_S, jnp.array([2.0, 20.0]), 3.0)
    steps = np.array([1e-5, 1e-4])
    J = np.stack([(log_S(jnp.array([2.0, 20.0]) + h) - log_S(jnp.array([2.0, 20.0]) - h)) / 2 for h in np.diag(steps)])
    J = J / steps[:, None]
    np.testing.assert_allclose(F, 3.0 * J @ J.T, rtol=1e-7)
    np.testing.assert_allclose(cramer_rao(F), np.linalg.inv(F), rtol=1e-9)
    tiny = F * np.outer([1.0, 1e-9], [1.0, 1e-9])
    np.testing.assert_allclose(np.diag(cramer_rao(tiny)), np.diag(np.linalg.inv(F)) / [1.0, 1e-18], rtol=1e-9)


def test_what_cannot_be_told(x64):
    F = fisher_information(lambda x: jnp.log(x[0] * x[1]) + 0 * F_HZ, jnp.array([2.0, 3.0]))
    with pytest.raises(ValueError, match=r"cannot tell parameters \[0, 1\] apart"):
        cramer_rao(F)


def test_scatter_of_estimates_is_the_bound(x64):
    """300 measured spectra, SciPy's minimiser on the likelihood: covariance within its standard error of F^-1."""
    M, start = 20.0, np.log([2.0, 20.0])

    def log_S(x):
        return x[0] - jnp.log(1 + (F_HZ * jnp.exp(-x[1])) ** 2)

    value = jax.jit(jax.value_and_grad(lambda x, I: -whittle_loglik(I, jnp.exp(log_S(x)), M)))
    found = [optimize.minimize(value, start, args=(I,), jac=True).x for I in measured(M, count=(300,))]
    bound = np.diag(np.asarray(cramer_rao(fisher_information(log_S, jnp.asarray(start), M))))
    np.testing.assert_allclose(np.var(found, axis=0, ddof=1) / bound, 1.0, atol=3 * np.sqrt(2 / 299))


@pytest.mark.parametrize("averages", [1.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_fit_and_its_intervals(x64, averages):
    """jnm.fit and polish find the likelihood's maximum (SciPy's), and the report its width, for one average too."""
    I = measured(averages, seed=3)
    loss = SpectrumLoss(lambda m, f: m.psd(f), F_HZ, I, averages)
    theta, build = jnm.free(Lowpass(3.0, 12.0), lambda m: (m.power, m.corner))
    fit = jnm.fit(loss, theta, build, optax.adam(0.1), 60, jax.random.key(0), progress=False)
    fit = jnm.fitting.polish(fit, steps=8, keys=2)

    def log_S(x):
        return x[0] - jnp.log(1 + (F_HZ * jnp.exp(-x[1])) ** 2)

    best = optimize.minimize(lambda x: -float(whittle_loglik(I, jnp.exp(log_S(x)), averages)), np.log([2.0, 20.0])).x
    np.testing.assert_allclose(np.array(fit.theta), best, atol=0.02 / np.sqrt(averages))
    report = fit.report(level=0.95, keys=2)
    wide = np.array([np.ptp(np.log(report[name].interval)) for name in ("power", "corner")])
    F = fisher_information(log_S, jnp.asarray(best), averages)
    np.testing.assert_allclose(wide, 2 * 1.96 * np.sqrt(np.diag(cramer_rao(F))), rtol=0.1)


def test_correlated_bins_widen_intervals(x64):
    """Hann's correlation of a long averaged record: the covariance grows by 1 / independent_share, away from the ends."""
    along = jnm.observe.bin_correlation(1.0, 1000.0)
    assert independent_share(along) == pytest.approx(1 / (1 + 2 * np.sum(along[1:])))
    I, theta = measured(50.0), jnp.log(jnp.array([2.0, 20.0]))
    slope = np.asarray(jax.jacfwd(lambda x: x[0] - jnp.log(1 + (F_HZ * jnp.exp(-x[1])) ** 2))(theta))[:, None]
    r = np.asarray(deviance_residuals(I, np.exp(0.693) / (1 + (F_HZ / 20.0) ** 2), 50.0))[:, None]
    plain, wide = (
        SpectrumLoss(lambda m, f: m.psd(f), F_HZ, I, 50.0, rho).gradient_covariance(-slope * 50**0.5, r)[0]
        for rho in ((1.0,), along)
    )
    np.testing.assert_allclose(wide / plain * independent_share(along), 1.0, rtol=0.02)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((F_HZ, np.ones(3)), "wanted .frequency. and"),
        ((F_HZ, np.where(F_HZ > 50, 0.0, 1.0)), "densities are not positive"),
        ((F_HZ, np.ones(300), 0.0), "averages = 0"),
    ],
)
def test_what_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        SpectrumLoss(lambda m, f: m.psd(f), *given)
