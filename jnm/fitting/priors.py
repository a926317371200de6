r"""Priors: what was known of parameters before, in their own units.

A fit moves theta on the whole line, a prior speaks of the parameter x = phi(theta) in its domain, so

    log p(theta) = log p(x) + log |phi'(theta)|.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jnm._param import Domain, Positive, Real
from jnm.fitting.free import Build


class AbstractPrior(eqx.Module):
    """A distribution of one parameter, all its elements alike and independent."""

    @abc.abstractmethod
    def log_density(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """log p of each element."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent draws."""

    @abc.abstractmethod
    def fits(self, domain: Domain) -> str:
        """Why the prior does not fit a domain; "" if it does."""


class Normal(AbstractPrior):
    """Normal with `mean` and `sd`; for parameters that may be any real number."""

    mean: float = eqx.field(converter=float, static=True)
    sd: float = eqx.field(converter=float, static=True)

    def __check_init__(self):
        _check_positive("Normal", sd=self.sd)

    def log_density(self, value):
        return -(((value - self.mean) / self.sd) ** 2) / 2 - np.log(self.sd * np.sqrt(2 * np.pi))

    def sample(self, key, shape):
        return self.mean + self.sd * jax.random.normal(key, shape)

    def fits(self, domain):
        return "" if isinstance(domain, Real) else "reaches all real numbers"


class LogNormal(AbstractPrior):
    """The logarithm is normal: `median`, and `sd` of the logarithm (0.1 is about 10 %); for positive parameters."""

    median: float = eqx.field(converter=float, static=True)
    sd: float = eqx.field(converter=float, static=True)

    def __check_init__(self):
        _check_positive("LogNormal", median=self.median, sd=self.sd)

    def log_density(self, value):
        z = (jnp.log(value) - np.log(self.median)) / self.sd
        return -(z**2) / 2 - np.log(self.sd * np.sqrt(2 * np.pi)) - jnp.log(value)

    def sample(self, key, shape):
        return self.median * jnp.exp(self.sd * jax.random.normal(key, shape))

    def fits(self, domain):
        return "" if isinstance(domain, Positive) else "reaches all positive numbers"


class Uniform(AbstractPrior):
    """Equal density between `low` and `high`, none outside."""

    low: float = eqx.field(converter=float, static=True)
    high: float = eqx.field(converter=float, static=True)

    def __check_init__(self):
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Uniform wants finite low < high, got low={self.low}, high={self.high}.")

    def log_density(self, value):
        inside = (value >= self.low) & (value <= self.high)
        return jnp.where(inside, -np.log(self.high - self.low), -jnp.inf)

    def sample(self, key, shape):
        return jax.random.uniform(key, shape, minval=self.low, maxval=self.high)

    def fits(self, domain):
        edge = 1e-6 * (self.high - self.low)  # an interval's own ends do not lie in it
        inside = domain.contains(np.array([self.low + edge, self.high - edge]))
        return "" if inside else f"reaches from {self.low:g} to {self.high:g}"


class Priors(eqx.Module):
    """The joint prior of free parameters, in theta.

        >>> theta, build = jnm.free(column, lambda m: (m.a, m.C))
        >>> prior = jnm.fitting.Priors(build, {"a": LogNormal(0.1, 0.3), "C": LogNormal(135.0, 0.2)})
        >>> prior.log_density(theta), prior.sample(jax.random.key(0))

    `priors` is a dict by the names of `build.names`, or has the structure of `where`; parameters left out of the dict
    (or None) have no prior, which for a sampler means an improper one, flat in theta.

    Raises `ValueError` for unknown names, another structure, and priors that reach beyond the domain of their parameter.
    """

    build: Build
    priors: dict[str, AbstractPrior]

    def __init__(self, build: Build, priors: Any):
        self.build = build
        named = priors if isinstance(priors, dict) and set(priors) <= set(build.names) else _by_structure(build, priors)
        self.priors = {name: prior for name, prior in named.items() if prior is not None}
        for name, prior in self.priors.items():
            why = prior.fits(build.domains[name])
            if why:
                raise ValueError(
                    f"Priors: the {type(prior).__name__} of {name} {why}, but its domain is ({build.domains[name]}). Take "
                    "LogNormal for positive parameters, Normal for real ones, Uniform inside an interval, or give the "
                    "parameter another domain in jnm.free."
                )

    def log_density(self, theta: PyTree) -> Float[Array, ""]:
        """log p(theta), the change of variables included."""
        values, free = self.build.values(theta), dict(zip(self.build.names, jtu.tree_leaves(theta), strict=True))
        total = jnp.zeros(())
        for name, prior in self.priors.items():
            stretch = jax.jvp(self.build.domains[name].constrain, (free[name],), (jnp.ones_like(free[name]),))[1]
            total = total + jnp.sum(prior.log_density(values[name]) + jnp.log(jnp.abs(stretch)))
        return total

    def sample(self, key: PRNGKeyArray) -> PyTree:
        """A theta drawn from the prior. Raises `ValueError` where a parameter has none."""
        if missing := [name for name in self.build.names if name not in self.priors]:
            raise ValueError(f"Priors: {', '.join(missing)} have no prior to draw from.")
        keys = jax.random.split(key, len(self.build.names))
        drawn = [
            self.build.domains[name].unconstrain(self.priors[name].sample(one, place.shape))
            for one, name, place in zip(keys, self.build.names, self.build.places, strict=True)
        ]
        return jtu.tree_unflatten(self.build.structure, drawn)


def _by_structure(build: Build, priors: Any) -> dict[str, Any]:
    leaves, structure = jtu.tree_flatten(priors, is_leaf=lambda x: x is None or isinstance(x, AbstractPrior))
    if structure != build.structure or not all(x is None or isinstance(x, AbstractPrior) for x in leaves):
        raise ValueError(
            f"Priors: wanted the structure of where, {build.structure}, or a dict by name of some of "
            f"{', '.join(build.names)}; got {priors!r}."
        )
    return dict(zip(build.names, leaves, strict=True))


def _check_positive(who: str, **numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{who}: {name} = {value}; wanted a positive number.")
