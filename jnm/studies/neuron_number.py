r"""How many neurons make this field? The effective number of a population, from what sensors see of its dipole.

A mass of n independent neurons with the moment g per unit of source answers a known current with a field that grows as
g, and goes on by itself with a power that grows as g^2 / n. Ongoing activity alone cannot tell many neurons of large
moment from few of small; with the evoked response the likelihood of both (`jnm.studies.neuron_number_model`) can. n is
an effective number: neurons that fire as one count as one.

**How far the intervals hold.** Drawn from the likelihood itself they hold the truth as often as they say (tests). Of spiking
cells, 1,000 of them, 90 % intervals of the theory of many neurons hold it in 65 % of 60 recordings, for two reasons, each
found by taking a record apart at the true parameters. Ongoing power is 10 % larger at its peak, by the next order in 1 / n
(n comes out 9 % low), while it scatters less than claimed: cells are clocks. And the answer to the pulses scatters: at 4 to
16 Hz, where most of the gain is told, its deviation has 2.4 to 4 times the claimed power; a record without pulses does not
(.7 to 1.6), nor do the frequencies beside the lines, and new phases of the same cells change little, other cells much. It
hangs on the few slow cells. `Beyond` holds both, measured in networks without sensors; then 95 % hold in these 60
recordings. In 40 fresh ones through the helmet 90 % do (standard error 5 %; 72 % without it), bias 1 %, median error 6 %.
Of 10,000 and of 100,000 cells (moments of 1000 and 3160 nA m), where it matters little, 19 of 20 do.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._optional import require
from jnm._param import cast
from jnm.models import NMM2, Pyramidal
from jnm.studies.finite_population import FinitePopulation
from jnm.studies.neuron_number_fit import estimate
from jnm.studies.neuron_number_model import (
    COUNT,
    GAIN,
    KNOWN,
    MANY,
    PROTOCOL,
    Beyond,
    DipoleRecord,
    Protocol,
    Setting,
    centre,
    expected,
    setting_of,
)
from jnm.studies.neuron_number_record import DipoleView, Source, drawn, scattered, simulated, simulator

ETA, WEIGHT = 0.0, 8.0  # chosen: pyramidal cells that resonate at 55 Hz, where sensors are quiet, and have one rest
GAIN_NA_M = 1000.0  # chosen: nA m per unit of I, 5 cm^2 of cortex whose cells are driven in step (1 per 5e4 cells)
BEYOND = Beyond(
    power=200.0, answer=2.9
)  # of these cells, as `beyond_linear` measures it (s.e. 4, .3; 60 networks of 1000)
WIDEST = 10.0  # chosen: from which ratio of its ends on an interval says "unidentified"


@dataclasses.dataclass(frozen=True)
class NeuronNumber:
    """How many neurons, as far as a recording tells: print it."""

    n: float
    """The most likely number; infinite where ongoing activity has no more power than the noise."""
    low: float
    high: float
    level: float
    widest: float
    gain: float
    """Most likely moment, nA m per unit of I."""

    @property
    def identified(self) -> bool:
        """Whether the interval has two ends that are not further apart than `widest`."""
        return bool(self.low > 1 and self.high <= self.widest * self.low)

    def __str__(self) -> str:
        sure = f"({100 * self.level:g} %)"
        if self.identified:
            return f"{self.n:.3g} neurons, {self.low:.3g} to {self.high:.3g} {sure}"
        if self.low > 1 and np.isinf(self.high):
            return f"unidentified: more than {self.low:.3g} neurons {sure}; ongoing activity is lost in the noise"
        if self.low <= 1 and np.isfinite(self.high):
            return (
                f"unidentified: fewer than {self.high:.3g} neurons {sure}; the answer to the pulse is lost in the noise"
            )
        return f"unidentified: {self.low:.3g} to {self.high:.3g} neurons {sure}"


def neuron_number(
    rest: Float[Array, "time channel"],
    pulsed: Float[Array, "time channel"],
    view: DipoleView,
    model: NMM2,
    protocol: Protocol = PROTOCOL,
    *,
    known: tuple[float, ...] = KNOWN,
    beyond: Beyond = MANY,
    level: float = 0.9,
    widest: float = WIDEST,
) -> NeuronNumber:
    """The effective number of neurons of a dipole, from a record at rest and one under pulses of a known weak current.

        >>> view = jnm.studies.DipoleView.of(lead, noise, "L17")
        >>> print(jnm.studies.neuron_number(rest, pulsed, view, jnm.Pyramidal(eta=0.0, C=8.0)))

    **Arguments**

    - `rest`: sensors without pulses; `pulsed`: whole periods of the protocol, the first pulse at their start. Sampled
      every `protocol.sample_ms`, a sample standing at the end of its interval.
    - `model`: a `jnm.NMM2` of one population: what is thought of the cells. `known`: how well, standard deviations of
      X, C (relative), delta, gain, n and the level of the noise (of the logarithm).
    - `beyond`: what few neurons do that the theory of many lacks, from `beyond_linear`; without it intervals are too
      narrow for a few thousand neurons and fewer.
    - `level`: of the interval, from the profile of the likelihood. `widest`: the largest ratio of its ends that still
      counts as an answer.

    Raises `ValueError` for records of other lengths, a model of several populations or rests, and a level outside (0, 1).
    """
    wanted = round(protocol.trials * protocol.period_ms / protocol.sample_ms)
    if len(pulsed) != wanted or len(rest) < protocol.segment_ms / protocol.sample_ms:
        raise ValueError(
            f"neuron_number: {len(pulsed)} samples under pulses and {len(rest)} at rest; the protocol has "
            f"{protocol.trials} periods of {protocol.period_ms:g} ms, {wanted} samples, and wants a segment at rest."
        )
    with jax.enable_x64(True):
        setting = setting_of(FinitePopulation.of(cast(model, jnp.float64), 1e4), view.density, protocol, known, beyond)
    return _numbers([_seen(rest, pulsed, view, protocol)], setting, level, widest)[0]


@dataclasses.dataclass(frozen=True)
class NeuronNumbers:
    """Estimates from many simulated recordings, [condition, seed]; made by `neuron_number_study`."""

    truth: Float[np.ndarray, " condition"]
    gain: Float[np.ndarray, " condition"]
    signal_to_noise: Float[np.ndarray, " condition"]
    """Largest density of the ongoing moment over that of the noise at the same frequency, of the cells as thought."""
    found: tuple[tuple[NeuronNumber, ...], ...]
    simulated: tuple[str, ...]
    """What stood for the neurons: "QIFNetwork", "NestedShotNoise" or "theory"."""
    protocol: Protocol

    def _each(self, what: Any) -> np.ndarray:
        return np.array([[float(what(one)) for one in row] for row in self.found])

    @property
    def n(self) -> Float[np.ndarray, "condition seed"]:
        """The most likely numbers."""
        return self._each(lambda one: one.n)

    @property
    def ends(self) -> Float[np.ndarray, "condition seed end"]:
        """Lower and upper ends of the intervals."""
        return np.stack([self._each(lambda one: one.low), self._each(lambda one: one.high)], axis=-1)

    @property
    def coverage(self) -> Float[np.ndarray, " condition"]:
        """The share of intervals that hold the truth."""
        low, high = self.ends[..., 0], self.ends[..., 1]
        return np.mean((low <= self.truth[:, None]) & (self.truth[:, None] <= high), axis=1)

    @property
    def median_error(self) -> Float[np.ndarray, " condition"]:
        """Median of |n / truth - 1|, of all recordings, identified or not."""
        return np.median(np.abs(self.n / self.truth[:, None] - 1), axis=1)

    @property
    def identified(self) -> Float[np.ndarray, " condition"]:
        """The share of recordings that tell n."""
        return np.mean(self._each(lambda one: one.identified), axis=1)

    def __str__(self) -> str:
        level = f"{100 * self.found[0][0].level:g} % holds"
        rows = [f"{'n':>8}{'gain':>9}{'S/N':>9}{level:>12}{'median error':>14}{'identified':>12}  neurons"]
        for k, neurons in enumerate(self.simulated):
            error = f"{100 * self.median_error[k]:.0f} %" if np.isfinite(self.median_error[k]) else "infinite"
            rows.append(
                f"{self.truth[k]:>8.3g}{self.gain[k]:>9.3g}{self.signal_to_noise[k]:>9.2g}{100 * self.coverage[k]:>10.0f} %"
                f"{error:>14}{100 * self.identified[k]:>10.0f} %  {neurons}"
            )
        return "\n".join(rows)

    def to_xarray(self):
        """Estimates and intervals as a labelled Dataset."""
        xarray = require("xarray", extra="io")
        low, high = np.moveaxis(self.ends, -1, 0)
        axes = ("condition", "seed")
        return xarray.Dataset(
            {"n": (axes, self.n), "low": (axes, low), "high": (axes, high)},
            {
                "truth": ("condition", self.truth),
                "gain": ("condition", self.gain, {"units": "nA m"}),
                "signal_to_noise": ("condition", self.signal_to_noise),
                "simulated": ("condition", list(self.simulated)),
            },
            dataclasses.asdict(self.protocol),
        )

    def plot(self) -> Any:
        """Estimates with intervals beside the truth; how wide intervals are against signal-to-noise; the Figure."""
        from jnm.plot import neuron_number

        return neuron_number.figure(self)


def neuron_number_study(
    view: DipoleView,
    key: PRNGKeyArray,
    *,
    n: Any = (1e3, 1e4, 1e5),
    gain: Any = GAIN_NA_M,
    seeds: int = 20,
    model: NMM2 | None = None,
    protocol: Protocol = PROTOCOL,
    source: Source = "network",
    known: tuple[float, ...] = KNOWN,
    beyond: Beyond | None = None,
    level: float = 0.9,
    widest: float = WIDEST,
) -> NeuronNumbers:
    """Record populations of known numbers through the helmet, ask each recording for its number, and keep score.

        >>> print(jnm.studies.neuron_number_study(view, jax.random.key(0), seeds=20))

    Each recording has cells of its own: X, C, delta and the level of the noise are drawn as well as they are `known`.

    **Arguments**

    - `n`, `gain`: true numbers and moments (nA m per unit of I), one condition each; a single one is for all.
    - `source`: "network" simulates the spikes, `QIFNetwork` up to 20,000 neurons and beyond it `NestedShotNoise`, in which
      4,000 neurons stand for all, and sends their moment through all sensors; "theory" draws from the likelihood itself.
    - `model`: the cells as they are thought to be (a `jnm.NMM2` of one population); by default pyramidal cells that
      resonate at 55 Hz. `beyond`: by default for these `BEYOND`, for others nothing. Others as in `neuron_number`.

    Raises `ValueError` for an unknown source and fewer than one seed.
    """
    if source not in ("network", "theory") or seeds < 1:
        raise ValueError(
            f"neuron_number_study: source = {source!r}, seeds = {seeds}; wanted 'network' or 'theory', 1 up."
        )
    truth, gains = np.broadcast_arrays(np.atleast_1d(np.asarray(n, float)), np.atleast_1d(np.asarray(gain, float)))
    beyond = beyond if beyond is not None else BEYOND if model is None else MANY
    model = Pyramidal(eta=ETA, C=WEIGHT) if model is None else model
    with jax.enable_x64(True):
        setting = setting_of(FinitePopulation.of(cast(model, jnp.float64), 1e4), view.density, protocol, known, beyond)
    found, ratios = [], []
    for k, (count, moment) in enumerate(zip(truth, gains, strict=True)):
        for_truths, *keys = jax.random.split(jax.random.fold_in(key, k), seeds + 1)
        with jax.enable_x64(True):
            middle = np.array(centre(setting))
            middle[[GAIN, COUNT]] = np.log(moment), np.log(count)
            ratios.append(_signal_to_noise(middle, setting))
            thetas = drawn(for_truths, middle, setting, seeds)
        records = [_record(theta, one, view, setting, source) for theta, one in zip(thetas, keys, strict=True)]
        found.append(_numbers(records, setting, level, widest))
    by = tuple(simulator(count) if source == "network" else "theory" for count in truth)
    return NeuronNumbers(truth, gains, np.array(ratios), tuple(found), by, protocol)


def _record(theta: np.ndarray, key: Any, view: DipoleView, setting: Setting, source: Source) -> DipoleRecord:
    if source == "network":
        return _seen(*simulated(key, theta, view, setting), view, setting.protocol)
    with jax.enable_x64(True):
        return scattered(key, theta, setting)


def _seen(rest: Array, pulsed: Array, view: DipoleView, protocol: Protocol) -> DipoleRecord:
    with jax.enable_x64(True):
        return protocol.seen(*(jnp.asarray(np.asarray(view.moment(x), float)) for x in (rest, pulsed)))


def _signal_to_noise(theta: np.ndarray, setting: Setting) -> float:
    ongoing = np.asarray(expected(jnp.asarray(theta), setting).ongoing)
    return float(np.max(ongoing / np.asarray(setting.noise)[: len(ongoing)])) - 1


def _drop(level: float) -> float:
    """By how much log L falls to the ends of an interval."""
    from scipy.stats import chi2

    if not 0 < level < 1:
        raise ValueError(f"neuron_number: level = {level}; wanted a share between 0 and 1, such as 0.9.")
    return float(chi2.ppf(level, 1)) / 2


def _numbers(records: list[DipoleRecord], setting: Setting, level: float, widest: float) -> tuple[NeuronNumber, ...]:
    with jax.enable_x64(True):
        stacked = DipoleRecord(*(jnp.asarray(np.stack(x)) for x in zip(*records, strict=True)))
        is_ = estimate(stacked, setting, _drop(level))
    with np.errstate(over="ignore"):
        columns = (is_.theta[:, COUNT], np.maximum(is_.low, 0.0), is_.high, is_.theta[:, GAIN])
        rows = np.exp(np.stack(columns, axis=1)).tolist()
    return tuple(NeuronNumber(n, low, high, level, widest, gain) for n, low, high, gain in rows)
