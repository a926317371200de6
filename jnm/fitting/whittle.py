r"""Whittle's likelihood: periodograms whose expectation a model knows in closed form.

A spectrum that is the mean of M independent periodograms scatters around its expectation S like a Gamma variable of
shape M, frequency by frequency,

    log L = sum_k M log(M / S_k) + (M - 1) log I_k - M I_k / S_k - log Gamma(M),

and the information on parameters theta is F = M sum_k (d log S_k / d theta)(d log S_k / d theta)^T, whose inverse bounds
the covariance of any unbiased estimate (Cramer-Rao). Twice the distance of log L from its largest value, S = I, is a sum
of squares, that of the deviance residuals

    r_k = sign(u_k) sqrt(2 M (exp(u_k) - 1 - u_k)),     u_k = log(I_k / S_k),

so maximum likelihood is least squares. Tapers correlate neighbouring frequencies, rho_j at j bins apart: K of them are
worth K / (1 + 2 sum_j rho_j), and overlapping segments are worth fewer than their number; `jnm.observe` knows both
(`bin_correlation`, `averages`).

Whittle P (1953) Estimation and information in stationary time series. Ark Mat 2:423-434. This file is for one channel, or
several that count by themselves; what channels say together is in their cross-spectra.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jnm.fitting.loss import AbstractResidualLoss

_NEAR = 0.5  # of u = 0: below it exp(u) - 1 - u loses its digits and its root has no derivative, so it is summed
_TERMS = 13  # what is left of that sum is 2e-16 of it
_BLIND = 1e3  # times the rounding: an eigenvalue of the scaled information below it is none


def whittle_loglik(
    observed: Float[Array, "frequency ..."],
    spectrum: Float[Array, "frequency ..."],
    averages: float = 1.0,
    correlation: tuple[float, ...] = (1.0,),
) -> Float[Array, ""]:
    """The log-likelihood of a measured spectrum, log L of the head of this file, natural logarithm.

        >>> f_hz, I = jnm.observe.psd(rate, dt=0.1, segment=500.0)
        >>> whittle_loglik(I[1:-1], model_psd, jnm.observe.averages(len(rate), 0.1, 500.0))

    **Arguments**

    - `observed`, `spectrum`: the measured densities and the model's, in the same unit, at the same frequencies; leave
      out zero and the highest, where a periodogram has half the degrees of freedom.
    - `averages`: M, how many independent periodograms the measured one is worth.
    - `correlation`: rho_0 = 1, rho_1, ... of neighbouring frequencies; log L is then divided by 1 + 2 sum_j rho_j, so
      that its curvature is the information there is.

    Differentiable. Both must be positive.
    """
    M = averages
    each = M * jnp.log(M / spectrum) + (M - 1) * jnp.log(observed) - M * observed / spectrum - gammaln(float(M))
    return jnp.sum(each) * independent_share(correlation)


def independent_share(correlation: Any) -> float:
    """1 / (1 + 2 sum_j rho_j): what share of the frequencies is independent, for rho_0 = 1, rho_1, ... of a taper.

    >>> independent_share(jnm.observe.bin_correlation(dt=1.0, segment=1_000.0))
    0.500...
    """
    return 1.0 / (2.0 * float(np.sum(np.asarray(correlation, float))) - 1.0)


def fisher_information(
    log_spectrum: Callable[[Array], Array],
    theta: Float[Array, " parameter"],
    averages: float | Array = 1.0,
    correlation: tuple[float, ...] = (1.0,),
) -> Float[Array, "parameter parameter"]:
    """What a spectrum tells about parameters: F of the head of this file, by autodiff.

    `log_spectrum(theta)` gives log S at the frequencies that are seen, T f_max of them with averages = 1 for a record of
    length T and the plain periodogram, or fewer with more averages. Differentiable, under jit and vmap.
    """
    slope = jax.jacfwd(log_spectrum)(theta).reshape(-1, theta.size)
    return averages * independent_share(correlation) * (slope.T @ slope)


def cramer_rao(fisher: Float[Array, "parameter parameter"]) -> Float[Array, "parameter parameter"]:
    """The least covariance of unbiased estimates: the inverse of F, taken with each parameter in its own scale.

    Raises `ValueError` for an F that has no inverse, naming by number the parameters that the spectrum cannot tell apart.
    """
    scale = jnp.sqrt(jnp.diag(fisher))
    scaled = fisher / jnp.outer(scale, scale)
    if not isinstance(fisher, jax.core.Tracer):  # pyright: ignore[reportAttributeAccessIssue]
        _check_curved(np.asarray(scaled))
    return jnp.linalg.inv(scaled) / jnp.outer(scale, scale)


def deviance_residuals(
    observed: Float[Array, "frequency ..."], spectrum: Float[Array, "frequency ..."], averages: float = 1.0
) -> Float[Array, "frequency ..."]:
    """r of the head of this file: sum r^2 / 2 is log L at S = I less log L; about standard normal for large M."""
    u = jnp.log(observed) - jnp.log(spectrum)
    return math.sqrt(averages) * u * jnp.sqrt(_bend(u))


class SpectrumLoss(AbstractResidualLoss):
    """The Whittle likelihood of measured spectra under spectra that a model has in closed form; no simulation, no key.

        >>> loss = SpectrumLoss(lambda m, f: jnm.stability.closed_loop_psd(m, f, 1000).value, f_hz, S, averages=20.0)
        >>> fit = jnm.fit(loss, theta, build, optax.adam(1e-2), steps=300, key=jax.random.key(0))

    Its value is the mean squared deviance residual, 2 / K (log L at S = I - log L), near 1 where the model is right;
    channels count as independent ones. The intervals of a report are those of the likelihood: the noise of a spectrum
    is known, and misfit does not widen them.

    **Arguments**

    - `spectrum`: function (model, f_hz) -> S [frequency] or [frequency, channel], one-sided per Hz.
    - `f_hz`, `observed`: frequencies, without zero and the highest, and measured densities, as `spectrum` gives them.
    - `averages`: `jnm.observe.averages` of the record; `correlation`: `jnm.observe.bin_correlation` of the taper.

    Raises `ValueError` for densities that are not positive or of another length than f_hz, and for averages <= 0.
    """

    spectrum: Callable[[Any, Array], Array]
    f_hz: Float[Array, " frequency"]
    observed: Float[Array, "frequency channel"]
    averages: float = eqx.field(static=True)
    correlation: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        spectrum: Callable[[Any, Array], Array],
        f_hz: Float[ArrayLike, " frequency"],
        observed: Float[ArrayLike, "frequency ..."],
        averages: float = 1.0,
        correlation: Any = (1.0,),
    ):
        f, seen = np.asarray(f_hz, float), np.asarray(observed, float)
        if f.ndim != 1 or seen.ndim not in (1, 2) or seen.shape[:1] != f.shape:
            raise ValueError(
                f"SpectrumLoss: f_hz has shape {f.shape} and observed {seen.shape}; wanted [frequency] and [frequency] "
                "or [frequency, channel]."
            )
        if not np.all((seen > 0) & np.isfinite(seen)):
            raise ValueError(
                f"SpectrumLoss: {np.sum(~((seen > 0) & np.isfinite(seen)))} densities are not positive; leave out "
                "silent channels and frequencies."
            )
        if not 0 < averages < np.inf:
            raise ValueError(f"SpectrumLoss: averages = {averages}; wanted a number above zero.")
        self.spectrum, self.averages = spectrum, float(averages)
        self.f_hz, self.observed = jnp.asarray(f), jnp.asarray(seen.reshape(len(f), -1))
        self.correlation = tuple(float(rho) for rho in np.asarray(correlation))

    def residuals(self, model: Any, key: PRNGKeyArray) -> Float[Array, "frequency channel"]:
        S = self.spectrum(model, self.f_hz).reshape(self.observed.shape).astype(self.observed.dtype)
        return deviance_residuals(self.observed, S, self.averages)

    def gradient_covariance(self, jacobian: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, float]:
        """Such that intervals are those of the likelihood, F^-1 G F^-1, G the covariance of its gradient.

        J^T J, which the caller inverts, is not F for few averages: J = - r'(u) d log S / d theta, r' by noise.
        """
        slope = jacobian / _steepness(residuals, self.averages)[..., None]
        F = self.averages * np.einsum("kcp,kcq->pq", slope, slope)
        lags = [np.einsum("kcp,kcq->pq", slope[: len(slope) - j], slope[j:]) for j in range(len(self.correlation))]
        G = F + self.averages * sum(
            (rho * (x + x.T) for rho, x in zip(self.correlation[1:], lags[1:], strict=True)), np.zeros_like(F)
        )
        H = np.einsum("kcp,kcq->pq", jacobian, jacobian)
        back = H @ np.linalg.pinv(F, hermitian=True)
        return back @ G @ back.T, math.inf


def _bend(u: Array) -> Array:
    """2 (exp(u) - 1 - u) / u^2, which is 1 at u = 0."""
    near = jnp.abs(u) < _NEAR
    small, large = jnp.where(near, u, 0.0), jnp.where(near, 1.0, u)
    total = jnp.zeros_like(u)
    for k in reversed(range(_TERMS)):
        total = total * small + 2.0 / math.factorial(k + 2)
    return jnp.where(near, total, 2 * (jnp.expm1(large) - large) / large**2)


def _steepness(residuals: np.ndarray, averages: float) -> np.ndarray:
    """dr/du at residuals r, sqrt(M) at r = 0: u by Newton's method, from further out."""
    target = residuals**2 / (2 * averages)
    u = np.where(residuals > 0, np.log1p(target + np.sqrt(2 * target)), -(target + np.sqrt(2 * target)))
    for _ in range(50):
        u = u - np.where(target > 1e-12, (np.expm1(u) - u - target) / np.where(target > 1e-12, np.expm1(u), 1.0), 0.0)
    near = np.abs(residuals) < 1e-4
    return np.where(near, math.sqrt(averages), averages * np.expm1(u) / np.where(near, 1.0, residuals))


def _check_curved(scaled: np.ndarray) -> None:
    values, directions = np.linalg.eigh(scaled) if np.all(np.isfinite(scaled)) else (np.zeros(1), np.ones((1, 1)))
    if values[0] <= _BLIND * np.finfo(scaled.dtype).eps:
        alike = np.flatnonzero(np.abs(directions[:, 0]) > 0.1).tolist()
        raise ValueError(
            f"cramer_rao: the information has no inverse; the spectrum cannot tell parameters {alike} apart (numbered "
            "from zero), or does not depend on one of them. Fix one, or see more frequencies."
        )
