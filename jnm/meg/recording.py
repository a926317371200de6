r"""An average response beside its noise: what was measured, and in how many dimensions it can be told from noise.

Channels of different kinds meet in units of their noise. With C the noise covariance of the average (that of single trials
over their number) and U the field patterns that signal-space projectors take out,

    W = diag(lambda)^-1/2 V' P,      P = 1 - U U',      P C P = V diag(lambda) V',   lambda > 0

turns data, and the lead field alike, into `rank` numbers whose noise is white with variance one. The rank is that
of the noise, as a rule what projectors (and Maxwell filters) have left; a whitener of more dimensions divides by rounding
errors. Whether "variance one" is true is tested on the baseline, before the stimulus, where nothing but noise should be.

A part of the channels (`pick`) gets a whitener and projectors of its own, so it holds nothing of the channels left out.

Engemann DA, Gramfort A (2015) Automated model selection in covariance estimation and spatial whitening of MEG and EEG
signals. NeuroImage 108:328-342.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jnm.meg import mne as _mne
from jnm.meg.leadfield import LeadField
from jnm.meg.sensors import UNITS, count, find_channels
from jnm.meg.whitening import span, warn_of_rank, whitener

BASELINE_VARIANCE = (0.7, 1.4)
"""Whitened baselines outside this are no noise the covariance describes (chosen; 1.05-1.17 on the sample recording)."""

SITE_MM = 5.0
"""Coils whose centres are nearer than this share a site (Neuromag: the three of a chip, in one place)."""


@dataclasses.dataclass(frozen=True, eq=False)
class EvokedData:
    """An average response, its noise, and the projectors it went through; made by `EvokedData.from_mne`.

    evoked = jnm.meg.EvokedData.from_mne("sample-ave.fif", "sample-cov.fif", "sample-fwd.fif", condition="Left Auditory")
    z = evoked.whiten(evoked.data)           # [time, rank], noise of variance one
    G = evoked.whiten_lead_field(lead)       # [rank, region]
    """

    condition: str
    averages: int
    """Trials in the average."""
    times: Float[np.ndarray, " time"]
    """ms after the stimulus."""
    data: Float[np.ndarray, "time channel"]
    """fT, fT/cm, uV; low-passed, baseline subtracted."""
    covariance: Float[np.ndarray, "channel channel"]
    """Of the noise of one sample of the average."""
    patterns: Float[np.ndarray, "projector channel"]
    """What the active projectors of the recording take out."""
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    positions: Float[np.ndarray, "channel 3"]
    """Head frame, mm."""
    lowpass: float | None = None
    """Hz; decides how many samples are independent."""
    baseline: tuple[float, float] = (-np.inf, 0.0)
    """ms; where there is noise only."""
    excluded: dict[str, str] = dataclasses.field(default_factory=dict)
    """Channels left out, with the reason."""
    others: tuple[str, ...] = ()
    """Other conditions of the same file."""

    @classmethod
    def from_mne(
        cls,
        evoked: Any,
        cov: Any,
        forward: Any,
        *,
        condition: str | None = None,
        lowpass: float | None = 40.0,
        baseline: tuple[float | None, float | None] = (None, 0.0),
        stop: float = 300.0,
    ) -> "EvokedData":
        """Read an average response: the good channels that recording, covariance and forward solution have in common.

        **Arguments**

        - `evoked`: an `mne.Evoked`, a list of them, or the path of an -ave.fif; `cov`, `forward`: MNE objects or paths.
        - `condition`: its name; by default the first of the file.
        - `lowpass`: Hz; None, or a recording filtered lower already, is left as it is.
        - `baseline`: from, to in ms; None is an end of the recording.
        - `stop`: where to cut, ms.

        Raises `ValueError` for files that hold something else, an unknown condition (the known ones are listed), channels
        that covariance or forward solution lack without anyone calling them bad, and noise the covariance does not describe
        (whitened variance of the baseline outside .7-1.4). Warns if recording and covariance differ in rank; whitened
        dimensions are then as many as the covariance has.
        """
        arrays = _mne.evoked_arrays(
            evoked, cov, forward, condition=condition, lowpass=lowpass, baseline=baseline, stop=stop
        )
        values = {name: value for name, value in arrays._asdict().items() if name != "rank"}
        upper = 0.0 if baseline[1] is None else baseline[1]
        recording = cls(**values, lowpass=lowpass, baseline=(-np.inf if baseline[0] is None else baseline[0], upper))
        warn_of_rank(recording.rank, arrays.rank, recording.ch_names)
        _check_baseline(recording)
        return recording

    @functools.cached_property
    def whitener(self) -> Float[np.ndarray, "rank channel"]:
        """W: projects and whitens."""
        return whitener(self.covariance, self.patterns, self.ch_names)

    @property
    def rank(self) -> int:
        """Dimensions left to these channels."""
        return len(self.whitener)

    @functools.cached_property
    def noise_variance(self) -> float:
        """Mean square of the whitened baseline: 1 where the covariance tells the truth."""
        before = (self.times >= self.baseline[0]) & (self.times < self.baseline[1])
        return float(np.mean(self.whiten(self.data[before]) ** 2))

    def whiten(self, data: Float[np.ndarray, "... channel"]) -> Float[np.ndarray, "... rank"]:
        """From channels to whitened dimensions."""
        return np.asarray(data, dtype=float) @ self.whitener.T

    def whiten_lead_field(self, lead: LeadField) -> Float[np.ndarray, "rank region"]:
        """The lead field as the whitened data see it, by channel name: projectors included, per nA m."""
        return self.whitener @ np.asarray(lead.pick(self.ch_names).gain, dtype=float)

    def project(self, data: Float[np.ndarray, "... channel"]) -> Float[np.ndarray, "... channel"]:
        """Without the patterns of the active projectors, still in the channels' units."""
        sd = np.sqrt(np.diag(self.covariance))
        U = span(self.patterns / sd[None])
        standard = np.asarray(data, dtype=float) / sd
        return (standard - (standard @ U) @ U.T) * sd

    def at(self, times: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time rank"]:
        """Whitened data at other times (ms) by cubic splines: exact enough below a low-pass far under the sampling rate."""
        from scipy.interpolate import CubicSpline

        return CubicSpline(self.times, self.whiten(self.data))(times)

    def effective_samples(self, duration: float) -> float:
        """Independent samples in `duration` ms of a channel: 2 x bandwidth x time, 24 in 300 ms below 40 Hz."""
        nyquist = 500.0 / float(np.mean(np.diff(self.times)))
        return 2e-3 * duration * min(self.lowpass or np.inf, nyquist)

    def sites(self) -> list[list[str]]:
        """Channels by place: coils that share a site are measured together, so they are held out together."""
        sites: list[list[int]] = []
        for channel, place in enumerate(self.positions):
            near = (site for site in sites if np.linalg.norm(self.positions[site[0]] - place) < SITE_MM)
            site = next(near, None)
            if site is None:
                sites.append([channel])
            else:
                site.append(channel)
        return [[self.ch_names[channel] for channel in site] for site in sites]

    def pick(self, ch_names: Sequence[str]) -> "EvokedData":
        """Some of the channels, whitened and projected among themselves; `ValueError` lists those that are not there."""
        index = find_channels(ch_names, self.ch_names, "recording")
        return dataclasses.replace(
            self,
            data=self.data[:, index],
            covariance=self.covariance[np.ix_(index, index)],
            patterns=self.patterns[:, index],
            ch_names=tuple(self.ch_names[i] for i in index),
            ch_types=tuple(self.ch_types[i] for i in index),
            positions=self.positions[index],
        )

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each channel."""
        return tuple(UNITS[kind] for kind in self.ch_types)

    def __repr__(self) -> str:
        return (
            f"EvokedData({self.condition!r}, {self.averages} trials, {count(self.ch_types)}, rank {self.rank}, "
            f"{self.times[0]:.0f} to {self.times[-1]:.0f} ms)"
        )


def _check_baseline(recording: EvokedData) -> None:
    variance, (low, high) = recording.noise_variance, BASELINE_VARIANCE
    if not low <= variance <= high:
        raise ValueError(
            f"the whitened baseline has variance {variance:.2f}; wanted {low} to {high}, 1 being noise as the covariance over "
            f"{recording.averages} trials says. Too much: low-pass as the data behind the covariance were (lowpass=40.0), "
            "or the covariance is another recording's. Too little: trials are counted too few (evoked.nave), or the "
            "baseline was smoothed."
        )
