"""What is known of every periodic orbit once its states can be told at any time."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel
from jnm.stability import plots
from jnm.stability.precision import concrete

_FINER = 16  # places between two of `times` at which extremes are sought
_EVENLY = 4096  # places of a period of which the mean is that of the period to the last digits


class AbstractCycle(eqx.Module):
    """A periodic orbit. Variables that are angles may run on: a period then adds full turns to them."""

    period: eqx.AbstractVar[Float[Array, ""]]
    model: eqx.AbstractVar[AbstractModel]

    @property
    @abc.abstractmethod
    def times(self) -> Float[Array, " time"]:
        """Times in ms at which `orbit` is given, from 0 to below the period; dense where the orbit is sharp."""

    @property
    @abc.abstractmethod
    def multipliers(self) -> Any:
        """Floquet multipliers, the largest first; one of them is 1."""

    @abc.abstractmethod
    def at(self, times: Any) -> Any:
        """The states at any times in ms, time first; angles are those of the turn from 0 to the period."""

    @property
    def frequency_hz(self) -> Float[Array, ""]:
        """1000 / period."""
        return 1000 / self.period

    @property
    def orbit(self) -> Any:
        """The states along one period, time first."""
        return self.at(self.times)

    @property
    def stable(self) -> bool:
        """Whether the cycle attracts what starts near it; of a network's regions in unison, as long as they are alike."""
        values = np.asarray(concrete(self.multipliers, f"{type(self).__name__}.stable"))
        others = np.delete(values, np.argmin(np.abs(values - 1)))
        return bool(np.max(np.abs(others), initial=0.0) < 1)

    @property
    def smallest(self) -> Any:
        """The smallest value of each variable along the orbit, as a state."""
        return jax.tree.map(lambda x: jnp.min(x, axis=0), self._densely)

    @property
    def largest(self) -> Any:
        """The largest value of each variable along the orbit, as a state."""
        return jax.tree.map(lambda x: jnp.max(x, axis=0), self._densely)

    @property
    def mean(self) -> Any:
        """The time average of each variable over one period, as a state."""
        with jax.enable_x64(True):
            evenly = self.at(np.arange(_EVENLY) / _EVENLY * self.period)
            return jax.tree.map(lambda x: jnp.mean(x, axis=0), evenly)

    @property
    def _densely(self) -> Any:
        """States that are dense where the orbit is sharp."""
        with jax.enable_x64(True):
            times = jnp.append(self.times, self.period)
            return self.at((times[:-1, None] + jnp.diff(times)[:, None] * (np.arange(_FINER) / _FINER)[None]).ravel())

    def plot(self, output: plots.Output = None, label: str = "output (1/ms)", ax: Any = None) -> Any:
        """One period of a function of (t, y), by default of the model's output; returns the Figure."""
        return plots.one_period(self, output, label, ax)
