r"""What one channel shows beside a rhythm: white noise with a 1/f part, and how its numbers are read from a recording.

    S(f) = floor^2 (1 + (knee / f)^exponent)                  one-sided, per Hz

the shape of `jnm.meg.SensorNoise`. In a living head the 1/f part is mostly brain; nothing in one channel tells them apart.
"""

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jnm.fitting as fitting
from jnm._param import Positive, as_parameter, param
from jnm.meg.noise import SensorNoise
from jnm.observe import averages, psd
from jnm.studies.resting.likelihood import AbstractSpectrum, ChannelLikelihood

FEMTO = 1e15
LINES = tuple((50.0 * k - 4.0, 50.0 * k + 4.0) for k in (1, 2, 3))
"""Hz: mains and its harmonics, with what a Hann taper of a second smears them over."""


class Background(AbstractSpectrum):
    """White noise with a 1/f part: one channel of a `SensorNoise`."""

    floor: Float[Array, ""] = param(
        1.0, unit="unit/sqrt(Hz)", domain=Positive(), doc="amplitude density of the white part"
    )
    knee_hz: Float[Array, ""] = param(20.0, unit="Hz", domain=Positive(), doc="where the 1/f part equals the floor")
    exponent: Float[Array, ""] = param(1.0, domain=Positive(), doc="slope of the power of the 1/f part")

    def noise(self, ch_name: str = "channel", ch_type: str = "mag") -> SensorNoise:
        """The same as the noise of a sensor, to simulate with."""
        return SensorNoise(self.floor[None, None], (ch_name,), (ch_type,), self.knee_hz, self.exponent)

    def psd(self, f_hz: Float[np.ndarray, " frequency"]) -> Float[Array, " frequency"]:
        return self.noise().psd(f_hz)[:, 0]


@dataclasses.dataclass(frozen=True)
class ChannelNoise:
    """The spectrum of one channel and the background fitted to it; made by `channel_noise`, print or `plot()` it."""

    f_hz: Float[np.ndarray, " frequency"]
    density: Float[np.ndarray, " frequency"]
    """Measured, unit^2 per Hz, as far as half the sampling rate."""
    likelihood: ChannelLikelihood
    posterior: fitting.Laplace
    unit: str

    @property
    def background(self) -> Background:
        """At the most probable parameters."""
        return self.posterior.build(self.posterior.fit.theta)

    def amplitude(self, low: float, high: float) -> float:
        """Measured amplitude density between two frequencies (root of the median power), unit per sqrt(Hz)."""
        return float(np.sqrt(np.median(self.density[(self.f_hz >= low) & (self.f_hz <= high)])))

    def slope(self, low: float = 3.0, high: float = 40.0) -> float:
        """Exponent of the measured power between two frequencies: S ~ f^slope, by a line through log S."""
        band = (self.f_hz > low) & (self.f_hz < high)
        return float(np.polyfit(np.log(self.f_hz[band]), np.log(self.density[band]), 1)[0])

    def line_ratio(self, f_hz: float) -> float:
        """How far a line stands above its surroundings, 5 to 12 Hz away: the largest power within 2 Hz over their median."""
        away = np.abs(self.f_hz - f_hz)
        return float(self.density[away <= 2].max() / np.median(self.density[(away > 5) & (away < 12)]))

    def __str__(self) -> str:
        now, ends = self.background, self.posterior.interval(0.9)
        said = (
            f"{n} {float(getattr(now, n)):.3g} ({ends[n][0]:.3g} to {ends[n][1]:.3g})"
            for n in ("floor", "knee_hz", "exponent")
        )
        return (
            f"{self.amplitude(7.0, 13.0):.1f} {self.unit}/sqrt(Hz) about 10 Hz, {self.amplitude(80.0, 140.0):.1f} from 80 to "
            f"140 Hz, power ~ f^{self.slope():.2f} from 3 to 40 Hz; "
            f"lines at 50 and 150 Hz stand {self.line_ratio(50.0):.0f} and {self.line_ratio(150.0):.0f} times above what is "
            f"beside them. Background, most probable and 90 % interval: {'; '.join(said)}."
        )

    def plot(self) -> Any:
        """Measured and fitted amplitude density."""
        from jnm.plot.resting import channel

        return channel(self)


def channel_noise(
    x: Float[np.ndarray, "time epoch"],
    sfreq: float,
    *,
    unit: str = "fT",
    band: tuple[float, float] = (3.0, 140.0),
    segment: float = 650.0,
    exclude: tuple[tuple[float, float], ...] = LINES,
) -> ChannelNoise:
    """The spectrum of one channel (epochs of it, sampled at `sfreq` Hz) and a white and 1/f background fitted to it.

        >>> found = jnm.studies.resting.channel_noise(*read_epochs("tueb_meg.dat.gz", "MLC11"))

    `segment` is in ms; segments overlap by half. Priors are wide: a factor of ten for floor
    and knee, of 1.6 for the exponent. Raises `ValueError` for epochs that are not [time, epoch].
    """
    x = np.asarray(x, float)
    if x.ndim != 2 or not np.all(np.isfinite(x)):
        raise ValueError(f"channel_noise: x has shape {x.shape}; wanted finite samples [time, epoch] of one channel.")
    dt = 1e3 / sfreq
    f_hz, S = psd(jnp.asarray(x), dt, segment)
    density = np.asarray(S, float).mean(axis=1)
    worth = x.shape[1] * averages(len(x), dt, segment)
    likelihood = ChannelLikelihood((f_hz, density, worth), band=band, exclude=exclude)
    inside = (f_hz > 0.7 * band[1]) & (f_hz < band[1])
    typical = float(np.sqrt(np.median(density[inside])))
    theta, build = fitting.free(Background(floor=as_parameter(typical)), lambda m: (m.floor, m.knee_hz, m.exponent))
    prior = fitting.Priors(
        build,
        (fitting.LogNormal(typical, np.log(10)), fitting.LogNormal(20.0, np.log(10)), fitting.LogNormal(1.0, 0.5)),
    )
    return ChannelNoise(f_hz, density, likelihood, fitting.laplace(likelihood, theta, build, prior), unit)


def read_epochs(path: str | Path, channel: str) -> tuple[Float[np.ndarray, "time epoch"], float]:
    """Epochs of one magnetometer (fT) and the sampling rate (Hz), from a text export in the style of PyMVPA's sample.

    Each line is a name, a colon and numbers in SI units; "Time:" starts again with every epoch. Raises `ValueError` for a
    channel that is not there.
    """
    opened = gzip.open(path, "rt") if str(path).endswith(".gz") else open(path, encoding="utf-8")
    with opened as lines:
        rows = {
            name: np.array(rest.split(), float) for name, _, rest in (line.partition(":") for line in lines) if rest
        }
    if missing := {"Time", channel} - set(rows):
        raise ValueError(
            f"read_epochs: no line of {', '.join(sorted(missing))} in {path}; there are {', '.join(rows)}."
        )
    times = rows["Time"]
    starts = np.append(np.flatnonzero(np.diff(times, prepend=np.inf) < 0), len(times))
    length = int(np.diff(starts).min())
    epochs = np.stack([rows[channel][start : start + length] for start in starts[:-1]], axis=1)
    return FEMTO * epochs, float(1 / np.median(np.diff(times)))
