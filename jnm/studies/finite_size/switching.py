r"""How long do n neurons stay in one of two states before their own noise carries them to the other?

Infinitely many neurons stay for ever. Runs that have not switched when they end say that the time is longer: they are
censored, not left out. If switching is a Poisson process, d switches in a total time at risk T give

    mean = T / d,     interval  2 T / chi2_{2 d + 2}(1 - a/2)  to  2 T / chi2_{2 d}(a/2),

and whether it is one is seen from the share of runs that have not switched, by Kaplan and Meier, which here, with one
common end, is the share itself. Epstein & Sobel, J. Am. Stat. Assoc. 48:486 (1953), for the interval.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from jnm._param import as_parameter
from jnm.integration import simulate
from jnm.models import NMM2
from jnm.spiking import NestedShotNoise


@dataclasses.dataclass(frozen=True)
class SwitchingTimes:
    """Times in a state by number of neurons; made by `switching_times`."""

    n: Float[np.ndarray, " size"]
    times: Float[np.ndarray, "size run"]
    """When each run switched, ms after the start; of those that did not, when it ended."""
    switched: Bool[np.ndarray, "size run"]

    @property
    def switches(self) -> np.ndarray:
        """How many runs of each size switched."""
        return np.sum(self.switched, axis=1)

    @property
    def mean(self) -> Float[np.ndarray, " size"]:
        """Mean time before a switch, ms: the time at risk over the number of switches; infinite where there is none."""
        at_risk = np.sum(self.times, axis=1)
        return np.divide(at_risk, self.switches, out=np.full(len(self.n), np.inf), where=self.switches > 0)

    def interval(self, level: float = 0.9) -> Float[np.ndarray, "2 size"]:
        """Bounds of the mean time at a confidence level, ms; without a switch the upper one is infinite."""
        from scipy.stats import chi2

        at_risk, d, tail = np.sum(self.times, axis=1), self.switches, (1 - level) / 2
        low = 2 * at_risk / chi2.ppf(1 - tail, 2 * d + 2)
        below = chi2.ppf(tail, np.maximum(2 * d, 1))
        return np.array([low, np.where(d > 0, 2 * at_risk / below, np.inf)])

    def survival(self, size: int, t: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        """Share of the runs of one size that have not switched by the times t, ms."""
        gone = np.sort(self.times[size][self.switched[size]])
        return 1 - np.searchsorted(gone, t, side="right") / self.times.shape[1]

    def plot(self, label: str = "nested ensemble", ax: Any = None) -> Any:
        """Mean times against n with their intervals, which arrows leave open; returns the Figure."""
        from jnm.plot import finite_size

        return finite_size.switching({label: self}, ax)


def switching_times(
    model: NMM2,
    sizes: Sequence[int],
    *,
    start: float,
    border: float,
    key: PRNGKeyArray,
    duration: float,
    dt: float,
    window: float,
    members: int | None = None,
    runs: int = 32,
) -> SwitchingTimes:
    """How long populations of n neurons that start in one state take to leave it for another.

    A run has switched when its rate, mean over `window`, is for the first time on the other side of `border`.

        >>> switching_times(jnm.MPR(), (20, 30), start=.103, border=.03, key=key, duration=4e3, dt=.2, window=20.)

    **Arguments**

    - `model`: a `jnm.NMM2` of one population.
    - `sizes`: numbers of neurons. Without `members` each is run as a network, with a nested ensemble that is all of it
      and has the quantiles of `jnm.spiking.QIFNetwork`; else by nested ensembles of so many, excitabilities jittered.
    - `start`, `border`: rates in 1/ms; phases are drawn in the stationary density around `start`.
    - `duration`, `dt`, `window`: in ms, of each of the `runs`.

    Raises `ValueError` for several populations, a window that is no whole number of steps, and rates that are not
    positive.
    """
    stride = round(window / dt)
    if np.ndim(model.init().r):
        raise ValueError("switching_times: the model has several populations or regions; wanted one population.")
    if stride < 1 or abs(stride * dt - window) > 1e-3 * dt:
        raise ValueError(f"switching_times: window = {window:g} ms is no whole number of steps of {dt:g} ms.")
    if not (start > 0 and border > 0):
        raise ValueError(f"switching_times: start = {start:g}, border = {border:g} per ms; wanted rates above zero.")

    def rates(nested, key):
        sol = simulate(nested, duration, dt, y0=nested.at(start), key=key, save=lambda t, y: y.rate)
        whole = sol.ys.shape[0] // stride * stride
        return jnp.mean(sol.ys[:whole].reshape(-1, stride), axis=1)

    together = jax.jit(jax.vmap(rates, (None, 0)))
    keys = jax.random.split(key, len(sizes) * runs).reshape(len(sizes), runs)
    crossed = []
    for n, own in zip(sizes, keys, strict=True):
        nested = NestedShotNoise(model, as_parameter(n), members or n, jitter=members is not None)
        seen = np.asarray(together(nested, own))
        crossed.append(seen < border if start > border else seen > border)
    switched = np.any(crossed, axis=2)
    times = np.where(switched, window * (1 + np.argmax(crossed, axis=2)), duration)
    return SwitchingTimes(np.asarray(sizes, float), times, switched)
