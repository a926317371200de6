"""Couplings: from what the other regions send to what a region receives.

A coupling sees the weighted sum of (possibly delayed) outputs, sum_j W_ij x_j, the region's own output x_i and its
in-strength sum_j W_ij, all one number a region. Its gain may differ from one receiving population to the next.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._param import Positive, check_domains, check_names, lift, param


class AbstractCoupling(eqx.Module):
    """From the weighted sum of outputs to the afferent activity in 1/ms."""

    gain: eqx.AbstractVar[Float[Array, "..."]]

    @abc.abstractmethod
    def afferent(
        self, total: Float[Array, " region"], own: Float[Array, " region"], strength: Float[Array, " region"]
    ) -> Float[Array, " region"]:
        """The afferent activity of a receiver with gain one."""

    def __call__(self, total, own, strength):
        """Afferent activity, [region], or [receiving population, region] when `gain` has one entry a population."""
        received = self.afferent(total, own, strength)
        return lift(self.gain, 2) * (received[None] if self.gain.ndim else received)

    def __new__(cls, *args: Any, **fields: Any):
        check_names(cls, fields)
        return super().__new__(cls)

    def __check_init__(self):
        check_domains(self)
        if self.gain.ndim > 2:
            raise ValueError(
                f"{type(self).__name__}: gain has shape {self.gain.shape}; give [], [receiving population] or "
                "[receiving population, region]."
            )


class Linear(AbstractCoupling):
    """gain * sum_j W_ij x_j."""

    gain: Float[Array, "..."] = param(1.0, doc="global coupling strength")

    def afferent(self, total, own, strength):
        return total


class Diffusive(AbstractCoupling):
    """gain * sum_j W_ij (x_j - x_i)."""

    gain: Float[Array, "..."] = param(1.0, doc="global coupling strength")

    def afferent(self, total, own, strength):
        return total - strength * own


class Sigmoidal(AbstractCoupling):
    """gain * high / (1 + exp(-slope (sum_j W_ij x_j - midpoint))): the sum of all senders saturates."""

    gain: Float[Array, "..."] = param(1.0, doc="global coupling strength")
    midpoint: Float[Array, "..."] = param(0.05, unit="1/ms", doc="input of half saturation")
    slope: Float[Array, "..."] = param(50.0, unit="ms", domain=Positive(), doc="steepness")
    high: Float[Array, "..."] = param(0.1, unit="1/ms", domain=Positive(), doc="saturated afferent activity")

    def afferent(self, total, own, strength):
        if jnp.iscomplexobj(total):
            raise ValueError("Sigmoidal: the node sends complex numbers, which have no order; use Linear or Diffusive.")
        return self.high * jax.nn.sigmoid(self.slope * (total - self.midpoint))
