r"""The spectrum of the rate of n neurons, four times: linear theory, Gaussian path, nested ensemble, network.

Each tier keeps more of the network than the one before: `jnm.stability.closed_loop_psd` takes the answer of the
populations as linear and the noise as that of the resting state; `jnm.GaussianShotNoise` lets the populations answer as
they do; in `jnm.NestedShotNoise` the noise follows its input as well; `jnm.spiking.QIFNetwork` is the referee. What
their spectra differ by, in standard errors, is where each is valid. Klinshov & Kirillov, Phys. Rev. E 106 L062302
(2022), for the question.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._model import AbstractModel
from jnm._param import as_parameter
from jnm.integration import simulate
from jnm.models import NMM2, GaussianShotNoise
from jnm.observe import psd
from jnm.spiking import NestedShotNoise, QIFNetwork
from jnm.stability import closed_loop_psd, fixed_points

TIERS = ("gaussian", "nested", "network")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A spectrum averaged over runs, one-sided, in (1/ms)^2 per Hz, with the standard error of the mean."""

    mean: Float[np.ndarray, " frequency"]
    error: Float[np.ndarray, " frequency"]

    @classmethod
    def of(cls, runs: Float[np.ndarray, "run frequency"]) -> "Estimate":
        """Mean and standard error over independent runs."""
        return cls(np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / np.sqrt(len(runs)))


@dataclasses.dataclass(frozen=True)
class FiniteSizeSpectra:
    """Spectra of the rate of n neurons by tier; made by `finite_size_spectra`."""

    n: float
    rate: float
    """At which the population rests, 1/ms."""
    f_hz: Float[np.ndarray, " frequency"]
    linear: Float[np.ndarray, " frequency"]
    """Linear theory at the same frequencies, as bins show it, one-sided, (1/ms)^2 per Hz."""
    gaussian: Estimate
    nested: Estimate
    network: Estimate

    @property
    def poisson(self) -> float:
        """The density of n independent Poisson neurons of the same rate: 2 r / n, (1/ms)^2 per Hz."""
        return 2 * self.rate / self.n / 1000

    def power(self, tier: str) -> tuple[float, float]:
        """Power of a tier ("linear" too) over that of the network, in the band of `f_hz`, with its standard error.

        Errors of neighbouring frequencies are taken as independent.
        """
        above, error = self._sum(tier)
        below, referee = self._sum("network")
        ratio = above / below
        return ratio, ratio * float(np.hypot(error / above, referee / below))

    def peak(self, tier: str) -> tuple[float, float]:
        """Density of a tier over that of the network where linear theory has its peak, with its standard error."""
        top = int(np.argmax(self.linear))
        above, error = self._at(tier)
        ratio = above[top] / self.network.mean[top]
        relative = np.hypot(error[top] / above[top], self.network.error[top] / self.network.mean[top])
        return float(ratio), float(ratio * relative)

    def plot(self, ax: Any = None) -> Any:
        """The four spectra times n, with error bars; returns the Figure."""
        from jnm.plot import finite_size

        return finite_size.spectra(self, ax)

    def _at(self, tier: str) -> tuple[np.ndarray, np.ndarray]:
        if tier == "linear":
            return self.linear, np.zeros_like(self.linear)
        if tier not in TIERS:
            raise ValueError(f"FiniteSizeSpectra: tier = {tier!r}; known are linear, {', '.join(TIERS)}.")
        return getattr(self, tier).mean, getattr(self, tier).error

    def _sum(self, tier: str) -> tuple[float, float]:
        mean, error = self._at(tier)
        return float(np.sum(mean)), float(np.sqrt(np.sum(error**2)))


def finite_size_spectra(
    model: NMM2,
    n: int,
    *,
    key: PRNGKeyArray,
    duration: float,
    dt: float,
    runs: int = 16,
    members: int = 1000,
    discard: float = 0.0,
    bin: int = 2,
    lines: int = 1,
    highest: float | None = None,
) -> FiniteSizeSpectra:
    """The spectrum of the rate of one population of n neurons by linear theory, both shot-noise models and the network.

        >>> seen = finite_size_spectra(jnm.Pyramidal(), 1000, key=jax.random.key(0), duration=1_500.0, dt=0.3)
        >>> seen.power("linear")            # over the network's, and its standard error

    **Arguments**

    - `model`: a `jnm.NMM2` of one population with one stable fixed point.
    - `n`: neurons; `members` of them in the nested ensemble.
    - `duration`, `dt`: of each run, in ms, of which one Hann window is taken; `discard` (ms) is run before it. The
      network is deterministic after its random start: near oscillations its noise may change with age.
    - `runs`: independent ones of each tier, from which the errors come.
    - `bin`: steps over which the recorded rate is a mean. Spectra are corrected for what this takes, and linear theory
      has what it folds back from above: a floor, that of Poisson neurons times 1 / sinc^2 - 1.
    - `lines`: neighbouring lines of the periodogram that are averaged.
    - `highest`: the largest frequency in Hz, by default an eighth of the sampling rate.

    Raises `ValueError` for more populations or regions than one, fewer than two runs, and what the models refuse.
    """
    if np.ndim(model.init().r):
        raise ValueError("finite_size_spectra: the model has several populations or regions; wanted one population.")
    if runs < 2:
        raise ValueError(f"finite_size_spectra: runs = {runs}; an error takes two or more.")
    record = _Record(duration, dt, discard, bin, lines, highest)
    sources = (
        _of_model(GaussianShotNoise(model, as_parameter(n)), record),
        _of_model(NestedShotNoise(model, as_parameter(n), members), record),
        _of_network(QIFNetwork.of(model, n), record),
    )
    seeds = jax.random.split(key, len(TIERS) * runs).reshape(len(TIERS), runs)
    measured = [
        Estimate.of(np.stack([record.spectrum(rate(seed)) for seed in own]))
        for rate, own in zip(sources, seeds, strict=True)
    ]
    rate = next(float(point.state.r) for point in fixed_points(model) if point.stable)
    folded = 2 * rate / n / 1000 * (1 / record.kept - 1)
    loop = closed_loop_psd(model, record.frequencies, n)  # pyright: ignore[reportArgumentType]
    linear = record.grouped(np.asarray(loop.value) + folded)
    return FiniteSizeSpectra(float(n), rate, record.grouped(record.frequencies), linear, *measured)


class _Record(NamedTuple):
    """How a rate is recorded, and its spectrum taken: one Hann window over `duration`, neighbouring lines averaged."""

    duration: float
    dt: float
    discard: float
    bin: int
    lines: int
    highest: float | None

    @property
    def interval(self) -> float:
        """Time between samples, ms."""
        return self.bin * self.dt

    @property
    def frequencies(self) -> Float[np.ndarray, " line"]:
        """Lines from the first above zero to `highest`, in Hz."""
        f_hz = np.fft.rfftfreq(round(self.duration / self.interval), self.interval / 1000)[1:]
        return f_hz[f_hz <= (125 / self.interval if self.highest is None else self.highest)]

    @property
    def kept(self) -> Float[np.ndarray, " line"]:
        """Share of the density that the mean over a bin leaves: sinc^2."""
        return np.sinc(self.frequencies * self.interval / 1000) ** 2

    def spectrum(self, rate: Float[Array, " time"]) -> Float[np.ndarray, " frequency"]:
        """Of a record in bins."""
        x = np.asarray(rate, float)
        density = np.asarray(psd(x - x.mean(), self.interval, segment=self.duration)[1])[1:]
        return self.grouped(density[: len(self.kept)] / self.kept)

    def grouped(self, values: Float[np.ndarray, " line"]) -> Float[np.ndarray, " frequency"]:
        """Means over `lines` neighbours."""
        whole = len(values) // self.lines * self.lines
        return values[:whole].reshape(-1, self.lines).mean(axis=1)


def _of_model(model: AbstractModel, record: _Record) -> Callable[[PRNGKeyArray], Array]:
    """A run of a shot-noise model from a key: its rate in bins."""

    @jax.jit
    def rate(key):
        sol = simulate(
            model,
            record.discard + record.duration,
            record.dt,
            key=key,
            save=lambda t, y: y.rate,
            discard=record.discard,
        )
        return jnp.mean(sol.ys.reshape(-1, record.bin), axis=1)

    return rate


def _of_network(network: QIFNetwork, record: _Record) -> Callable[[PRNGKeyArray], Array]:
    """The same of a network, after `discard`."""
    total = record.discard + record.duration
    samples = round(record.duration / record.interval)
    return lambda key: network.run(total, record.dt, key=key, save_every=record.interval).rate[-samples:]
