"""A model cheap enough to be fitted hundreds of times: an Ornstein-Uhlenbeck process seen by three noisy sensors."""

import functools
from collections.abc import Callable
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, PRNGKeyArray

from jnm._param import Positive, param

GAINS = (1.0, 0.8, 0.5)


class OU(eqx.Module):
    """x' = -x / tau + noise, of standard deviation `amplitude`: S(f) = 4 A^2 tau / (1 + (2 pi f tau)^2)."""

    tau: Array = param(10.0, unit="ms", domain=Positive())
    amplitude: Array = param(1.0, domain=Positive())


@functools.cache
def simulation(samples: int) -> Callable[[OU, PRNGKeyArray], Array]:
    """[time, sensor] in steps of 1 ms, by the exact recursion; the sensors differ in gain and add white noise."""

    @jax.jit
    def simulate(model: OU, key: PRNGKeyArray) -> Array:
        keys = jax.random.split(key)
        keep = jnp.exp(-1.0 / model.tau)
        kicks = jax.random.normal(keys[0], (samples + 200,)) * model.amplitude * jnp.sqrt(1 - keep**2)

        def step(x, kick):
            x = keep * x + kick
            return x, x

        _, x = jax.lax.scan(step, jnp.zeros(()), kicks, unroll=8)
        return x[200:, None] * jnp.array([GAINS]) + 0.05 * jax.random.normal(keys[1], (samples, 3))

    return simulate


def decay(model: OU, key: PRNGKeyArray) -> Array:
    """A deterministic time course [time, sensor]: the response to an impulse of size `amplitude`, 100 ms long."""
    return model.amplitude * jnp.exp(-jnp.arange(100.0) / model.tau)[:, None] * jnp.array([GAINS])


@pytest.fixture(scope="session")
def ou() -> SimpleNamespace:
    """The model, its simulation by length, and its impulse response."""
    return SimpleNamespace(Model=OU, simulation=simulation, decay=decay, gains=GAINS)
