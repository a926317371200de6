r"""One dipole of n QIF neurons: what a pulse evokes, what goes on without one, and how likely both are for each n.

The moment is Q = g tau_m C s, with s the synapses of a population of n cells and g in nA m per unit of I. A current
I(f) moves it by g C H A(f) I(f), and the shots of n cells shake it with the density g^2 (tau_m C)^2 |H|^2 S_r / n at
n = 1, where with R, G, H of `jnm.studies.FinitePopulation`

    A = G / (1 - C G H),    S(f) = g^2 (tau_m C)^2 |H|^2 S_r(f; n) + w S_noise(f).

Pulses come once a period T, K of them, and the mean of K periods has the Fourier coefficients c_k of the pulse train,

    Z_k ~ N(g C H A(f_k) c_k, S(f_k) / (2 K T)),    f_k = k / T;    the spectrum of the rest ~ S(f) Gamma(M) / M.

That is the theory of many neurons; in few, two things are otherwise (`Beyond`). The power S_r is of first order in 1 / n,
and what the next adds grows with the variance of the source. And cells are clocks of fixed rates, few of which are slow:
the answer at low frequencies hangs on the handful next to their threshold, and differs from network to network by

    |Z_k / <Z_k> - 1|^2 = answer f_k / n

on average, the same at every pulse, so that no average over pulses shows it. It is added to the variance of Z_k.

The evoked response knows g, the ongoing power g^2 / n, both together n. The constants X, C, delta and the level w of the
noise are known as well as they were before (a normal prior), g and n are not at all.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm import observe
from jnm.fitting.whittle import independent_share
from jnm.models import psi
from jnm.studies.finite_population import FinitePopulation

NAMES = ("X", "C", "delta", "gain", "n", "noise")
KNOWN = (0.1, 0.1, 0.2, np.inf, np.inf, 0.1)  # chosen: sd of the prior on each, relative (X, C) or of its logarithm
GAIN, COUNT, LEVEL = 3, 4, 5  # places in theta


@dataclasses.dataclass(frozen=True)
class Protocol:
    """K pulses of a known weak current, one a period, and a record without pulses."""

    pulse: float = 0.1
    """Strength of the current in units of I. It is known, as that of an electrode or a coil: n counts as its square."""
    width_ms: float = 10.0
    period_ms: float = 250.0
    trials: int = 80
    record_ms: float = 40_000.0
    """Length of the record without pulses."""
    segment_ms: float = 500.0
    band: tuple[float, float] = (4.0, 100.0)
    """Frequencies that count, Hz."""
    sample_ms: float = 2.0

    def __post_init__(self):
        if not (self.pulse != 0 and 0 < self.width_ms < self.period_ms and self.trials >= 1):
            raise ValueError(
                f"Protocol: {self.trials} pulses of {self.pulse} for {self.width_ms} ms, one in {self.period_ms} ms; wanted "
                "one or more, of a strength other than zero, each shorter than the period."
            )
        if not 0 < self.band[0] < self.band[1] < 500.0 / self.sample_ms:
            raise ValueError(f"Protocol: band = {self.band} Hz; wanted 0 < lowest < highest < 500 / sample_ms.")
        whole = (self.period_ms / self.width_ms, self.period_ms / self.sample_ms, self.record_ms / self.period_ms)
        if any(abs(ratio - round(ratio)) > 1e-9 for ratio in whole):
            raise ValueError(
                "Protocol: wanted a period of a whole number of pulse widths and of samples, and a record of whole periods."
            )

    @property
    def f_hz(self) -> np.ndarray:
        """Frequencies of the spectrum."""
        return self._inside(1000.0 / self.segment_ms)

    @property
    def lines_hz(self) -> np.ndarray:
        """Frequencies of the evoked response, the multiples of one a period."""
        return self._inside(1000.0 / self.period_ms)

    @property
    def coefficients(self) -> np.ndarray:
        """c_k of the train of pulses, which begin at t = 0: (1/T) int I(t) exp(-i w t) dt."""
        turn = 2j * np.pi * self.lines_hz / 1000
        return self.pulse * (1 - np.exp(-turn * self.width_ms)) / (turn * self.period_ms)

    @property
    def averages(self) -> float:
        """How many independent spectra the record is worth."""
        return observe.averages(round(self.record_ms / self.sample_ms), self.sample_ms, self.segment_ms)

    @property
    def weight(self) -> float:
        """The same, times the share of neighbouring frequencies that is independent."""
        return self.averages * independent_share(observe.bin_correlation(self.sample_ms, self.segment_ms))

    def seen(self, rest: Float[Array, " time"], pulsed: Float[Array, " time"]) -> "DipoleRecord":
        """What is fitted, from moments in nA m: a record without pulses and `trials` periods with them."""
        _, S = observe.psd(jnp.asarray(rest), self.sample_ms, self.segment_ms)
        mean = jnp.mean(jnp.asarray(pulsed).reshape(self.trials, -1), axis=0)
        since = self.sample_ms * np.arange(1, len(mean) + 1)  # a sample is taken at the end of its interval
        Z = jnp.exp(-2j * np.pi / 1000 * self.lines_hz[:, None] * since) @ mean / len(mean)
        return DipoleRecord(Z, S[np.rint(self.f_hz * self.segment_ms / 1000).astype(int)])

    def _inside(self, step: float) -> np.ndarray:
        return step * np.arange(np.ceil(self.band[0] / step - 1e-9), np.floor(self.band[1] / step + 1e-9) + 1)


PROTOCOL = Protocol()


class Beyond(NamedTuple):
    """What few neurons do that many do not, by `beyond_linear`; zero is the theory of many."""

    power: float = 0.0
    """By how much ongoing power is larger, per variance of the source (in units of I^2)."""
    answer: float = 0.0
    """Relative variance of the answer, times n and over the frequency in Hz."""


MANY = Beyond()


class DipoleRecord(NamedTuple):
    """What was seen of a dipole: Fourier coefficients of its mean answer (nA m), density of the rest ((nA m)^2 / Hz)."""

    evoked: Complex[Array, "... line"]
    ongoing: Float[Array, "... frequency"]


class Setting(NamedTuple):
    """What does not change from record to record: the population as it was thought to be, and the noise."""

    population: FinitePopulation
    noise: Float[Array, " place"]
    """Its density at the frequencies of the spectrum and, after them, of the lines."""
    protocol: Protocol
    known: tuple[float, ...]
    beyond: Beyond = MANY


def setting_of(
    population: FinitePopulation,
    density: Callable[[np.ndarray], np.ndarray],
    protocol: Protocol,
    known: tuple[float, ...],
    beyond: Beyond = MANY,
) -> Setting:
    """The setting under noise of a density (nA m)^2 / Hz by frequency in Hz."""
    noise = density(np.concatenate([protocol.f_hz, protocol.lines_hz]))
    return Setting(population, jnp.asarray(noise), protocol, known, beyond)


class Expected(NamedTuple):
    """Mean of the evoked coefficients, their variance, and the density of the rest."""

    evoked: Complex[Array, " line"]
    variance: Float[Array, " line"]
    ongoing: Float[Array, " frequency"]


def centre(setting: Setting) -> Float[Array, " 6"]:
    """Where the prior has its middle: theta of the population, log gain and log noise 0."""
    X, C, log_delta, log_n = setting.population.free()
    return jnp.stack([X, C, log_delta, jnp.zeros_like(X), log_n, jnp.zeros_like(X)])


def spread(setting: Setting) -> Float[Array, " 6"]:
    """Standard deviations of the prior in theta."""
    p = setting.population
    one = jnp.ones_like(p.X)
    return jnp.stack([abs(p.X), abs(p.C), one, one, one, one]) * jnp.asarray(setting.known)


@eqx.filter_jit
def expected(theta: Float[Array, " 6"], setting: Setting) -> Expected:
    """What a population with theta = (X, C, log delta, log gain, log n, log noise) makes of the protocol."""
    protocol, gain = setting.protocol, jnp.exp(theta[GAIN])
    population = setting.population.at(theta[jnp.array([0, 1, 2, COUNT])])
    lines, count = jnp.asarray(protocol.lines_hz), len(protocol.f_hz)
    f_hz = jnp.concatenate([jnp.asarray(protocol.f_hz), lines])
    moved = population.tau_m * population.C * jnp.abs(_synapse(population, f_hz))
    source = moved**2 * population.psd(f_hz)
    variance = jnp.sum(source[:count]) * (1000 / protocol.segment_ms)
    density = gain**2 * source * (1 + setting.beyond.power * variance) + jnp.exp(theta[LEVEL]) * setting.noise
    answer = gain * population.C * _synapse(population, lines) * _answer(population, lines) * protocol.coefficients
    seconds = protocol.trials * protocol.period_ms / 1000
    few = setting.beyond.answer * lines / jnp.exp(theta[COUNT]) * (answer.real**2 + answer.imag**2)
    return Expected(answer, density[count:] / (2 * seconds) + few, density[:count])


@eqx.filter_jit
def slopes(theta: Float[Array, " 6"], setting: Setting) -> Expected:
    """Derivatives of what is expected by theta, on a last axis."""
    return jax.jacfwd(lambda x: expected(x, setting))(theta)


def _synapse(population: FinitePopulation, f_hz: Array) -> Array:
    return (1 + 2j * jnp.pi * f_hz / 1000 * population.tau_s) ** -population.order


def _answer(population: FinitePopulation, f_hz: Array) -> Array:
    """A, the answer of tau_m r to a weak current."""
    turning, R = 2j * jnp.pi * f_hz / 1000 * population.tau_m, psi(population.X, population.delta)
    G = 2 * R / ((turning + population.delta / (jnp.pi * R)) ** 2 + (2 * jnp.pi * R) ** 2)
    return G / (1 - population.C * G * _synapse(population, f_hz))
