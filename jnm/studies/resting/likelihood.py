r"""The likelihood of one channel's spectrum under anything that names its own: brain, background, or both.

    log L = - sum_f w [log S(f) + I(f) / S(f)] + const,        w = M / (1 + 2 sum_j rho_j),

Whittle's, with M independent segments behind the measured I, neighbouring frequencies correlated by the taper (rho_j),
and S the model's spectrum smeared by it. Unlike `jnm.WhittleLoss` the noise beside the brain has free parameters here.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float, PyTree

from jnm._param import cast
from jnm.fitting import AbstractLikelihood
from jnm.fitting.double import in_double
from jnm.fitting.measured_csd import Taper, measured
from jnm.fitting.whittle import independent_share

_SMEAR = 2  # points a bin at which a spectrum is smeared by the taper


class AbstractSpectrum(eqx.Module):
    """Anything that has a spectrum of one channel."""

    def psd(self, f_hz: Float[np.ndarray, " frequency"]) -> Float[Array, " frequency"]:
        """One-sided density per Hz, in squared units of the channel; infinite where it means nothing."""
        raise NotImplementedError


class ChannelLikelihood(AbstractLikelihood):
    """Whittle's likelihood of a measured spectrum (f_hz, S, averages) under a model with `psd(f_hz)`; double precision.

        >>> likelihood = ChannelLikelihood((f_hz, S, averages), band=(3.0, 45.0))
        >>> posterior = jnm.fitting.laplace(likelihood, theta, build, prior)

    `band` and `exclude` are in Hz. Raises `ValueError` for densities that do not fit together or are not positive.
    """

    I: Float[Array, " frequency"]
    taper: Taper
    averages: float = eqx.field(static=True)
    weight: float = eqx.field(static=True)

    def __init__(
        self,
        observed: tuple[Any, Any, float],
        *,
        band: tuple[float, float],
        exclude: tuple[tuple[float, float], ...] = (),
    ):
        found = measured(observed, None, band, exclude, None, "hann", 0.5, who="ChannelLikelihood")
        self.I = jnp.asarray(np.real(found.S[:, 0, 0]), float)
        self.taper, self.averages = Taper(found.bins, found.segment, "hann", _SMEAR), found.averages
        self.weight = found.averages * independent_share(found.correlation)

    @property
    def f_hz(self) -> Float[np.ndarray, " frequency"]:
        """The frequencies that count, Hz."""
        return self.taper.f_hz

    @property
    def S(self) -> Float[Array, "part frequency 1 1"]:
        """The measured density as `jnm.WhittleLoss` keeps it, for `Draws`."""
        return self.I[None, :, None, None]

    @property
    def data(self) -> float:
        return self.weight * len(self.taper.bins)

    def __call__(self, model: Any, key: Any = None) -> Float[Array, ""]:
        return in_double(_misfit, model, self)

    def log_likelihood(self, model: Any) -> Float[Array, ""]:
        return -self.data * self(model)

    def csd(self, model: Any) -> Complex[Array, "frequency 1 1"]:
        """The model's density as the taper shows it. Raises `ValueError` where it means nothing."""
        with jax.enable_x64(True):
            S = _seen(cast(model, jnp.float64), self)
        if not bool(jnp.all(jnp.isfinite(S))):
            raise ValueError("ChannelLikelihood: the model does not rest stably here, so it has no spectrum.")
        return S[:, None, None]

    def scores(self, build: Any, theta: PyTree) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            J, r = _scores(cast(self, jnp.float64), cast(build, jnp.float64), cast(theta, jnp.float64))
        return np.asarray(J), np.asarray(r)


@eqx.filter_jit
def _seen(model: Any, loss: ChannelLikelihood) -> Float[Array, " frequency"]:
    lowest = 500.0 / loss.taper.segment  # half a bin: a segment without its mean holds nothing slower
    fine = model.psd(np.maximum(np.abs(loss.taper.fine_hz), lowest))
    return loss.taper.smeared(fine.astype(complex)[:, None, None])[:, 0, 0].real


def _misfit(model: Any, loss: ChannelLikelihood) -> Float[Array, ""]:
    S = _seen(model, loss)
    value = jnp.mean(jnp.log(S) + loss.I / S)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


@eqx.filter_jit
def _scores(loss: ChannelLikelihood, build: Any, theta: PyTree) -> tuple[Array, Array]:
    flat, unravel = ravel_pytree(theta)

    def log_seen(x: Array) -> Array:
        return jnp.log(_seen(build(unravel(x)), loss))

    root = np.sqrt(loss.weight)
    return root * jax.jacfwd(log_seen)(flat), root * (loss.I * jnp.exp(-log_seen(flat)) - 1)
