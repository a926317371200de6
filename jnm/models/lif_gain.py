r"""The firing rate of leaky integrate-and-fire neurons in noise: Siegert's formula, with the correction for synapses.

A potential of mean mu and standard deviation s that forgets in tau and sees white noise fires at the rate

    1 / nu = tau_ref + tau sqrt(pi) int_a^b exp(x^2) (1 + erf x) dx,
    a = (reset - mu) / (sqrt(2) s) + k,     b = (threshold - mu) / (sqrt(2) s) + k

with k = 0. Noise that synapses have filtered for tau_s moves both ends: k = |zeta(1/2)| / sqrt(2) sqrt(tau_s / tau), to
first order in sqrt(tau_s / tau). Siegert, Phys. Rev. 81:617 (1951); Fourcaud & Brunel, Neural Comput. 14:2057 (2002).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

FILTERED = 1.4603545088095868 / np.sqrt(2)  # |zeta(1/2)| / sqrt(2): the shift of both ends for sqrt(tau_s / tau) = 1

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@jax.jit
def siegert_rate(
    mean: Float[Array, "..."],
    sd: Float[Array, "..."],
    *,
    tau: Float[Array, "..."] | float,
    threshold: Float[Array, "..."] | float,
    reset: Float[Array, "..."] | float,
    refractory: Float[Array, "..."] | float,
    shift: Float[Array, "..."] | float = 0.0,
) -> Float[Array, "..."]:
    """Rate (1/ms) of LIF neurons whose potential without threshold has this mean and standard deviation (mV).

    `tau` and `refractory` are in ms, `threshold` and `reset` in mV; `shift` is k (head of this file), FILTERED times
    sqrt(tau_s / tau) for synapses of tau_s. All are broadcast. Smooth and without overflow from silence, where the rate
    underflows to zero, to the refractory limit.
    """
    low, high = ((level - mean) / (np.sqrt(2) * sd) + shift for level in (reset, threshold))
    log_passage = jnp.log(tau) + 0.5 * np.log(np.pi) + _log_integral(low, high)
    return jnp.exp(-jnp.logaddexp(jnp.log(refractory), log_passage))


def _log_integral(low: Array, high: Array) -> Array:
    """log int_low^high exp(x^2) (1 + erf x) dx by quadrature, with the nodes crowded where it grows: below `high`."""
    w = (_POINTS + 1) / 2  # in [0, 1]; x = high - (high - low) w^3
    column = (-1, *(1,) * jnp.ndim(high - low))
    inward, weight = (v.reshape(column).astype(jnp.result_type(high)) for v in (w**3, 1.5 * w**2 * _WEIGHTS))
    x = high[None] - (high - low)[None] * inward
    return jnp.log(high - low) + jax.nn.logsumexp(_log_value(x), axis=0, b=weight)


def _log_value(x: Array) -> Array:
    """log exp(x^2) (1 + erf x); far below zero by its asymptotic series, where the two factors would cancel."""
    far = x < -10
    near = jnp.where(far, -10.0, x)
    tail = 1 / jnp.where(far, x, -10.0) ** 2
    series = -tail * (1 / 2 - tail * (3 / 4 - tail * (15 / 8 - tail * (105 / 16 - tail * 945 / 32))))
    asymptotic = 0.5 * jnp.log(tail / np.pi) + jnp.log1p(series)
    return jnp.where(far, asymptotic, np.log(2) + near**2 + log_ndtr(np.sqrt(2) * near))
