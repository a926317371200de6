"""What several files share: the empirical connectome, and a node of which exponents are known with any delays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import jnm


class Level(NamedTuple):
    y: jax.Array


class Leak(jnm.AbstractModel):
    """y' = -rate y + what is heard."""

    rate: jax.Array

    def init(self):
        return Level(jnp.zeros_like(self.rate))

    def drift(self, t, y, drive):
        return Level(-self.rate * y.y + drive.synaptic)

    def output(self, t, y):
        return y.y

    def source(self, t, y, drive):
        return y.y


@pytest.fixture
def leaks() -> Callable[..., jnm.Network]:
    """A network of leaks: weights, lengths in mm, gain, speed in mm/ms and rate per ms."""

    def network(weights: Any, lengths: Any, gain: Any = 1.0, speed: Any = 5.0, rate: Any = 0.1) -> jnm.Network:
        brain = jnm.Connectome(weights, lengths)
        return jnm.Network(Leak(jnp.asarray(rate)), brain, jnm.Linear(gain), speed=speed, speed_range=(0.5, 50.0))

    return network


@pytest.fixture(scope="package")
def brain(data_dir) -> jnm.Connectome:
    """The connectome of the specification, of 90 regions."""
    with jax.enable_x64(True):
        return jnm.Connectome.read(data_dir / "connectome" / "sc2017.dat").normalised("rows")
