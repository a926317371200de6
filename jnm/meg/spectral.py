r"""The cross-spectral density of a recording: what a likelihood compares with G S_Q(f) G' + noise.

    S_ij(f) = 2 / (f_s sum w^2) < X_i(f) conj(X_j(f)) >             one-sided, per Hz (Welch, as `jnm.observe.csd`)

over the good stretches of a Raw or over Epochs, each weighted by the number of independent segments it is worth. The
band must lie inside what sampling and filters of the recording have left. Channels of several units meet only in units
of their noise: with a noise covariance data and lead field both go through the same whitener.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from jnm.meg import mne as _mne
from jnm.meg.leadfield import LeadField
from jnm.meg.sensors import UNITS, count, find_channels
from jnm.meg.whitening import span, warn_of_rank, whitener
from jnm.observe import averages as effective_averages

_BLOCK = 16  # segments

_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "boxcar": (1.0,)}


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralData:
    """The cross-spectral density of a recording, for likelihoods; made by `SpectralData.from_mne`.

    data = jnm.meg.SpectralData.from_mne(raw, band=(2.0, 40.0), segment=2000.0, picks="mag")
    data.f_hz, data.csd, data.averages
    G = data.gain(lead)                      # the lead field as these data see it: projected, whitened
    """

    f_hz: Float[np.ndarray, " frequency"]
    csd: Complex[np.ndarray, "frequency row row"]
    """Squared units of the channels per Hz; of whitened dimensions, 1/Hz."""
    averages: float
    """Independent segments behind it."""
    transform: Float[np.ndarray, "row channel"]
    """From channels to rows: the whitener, or the active projectors."""
    whitened: bool
    segment: float
    """ms; frequencies are 1000 / segment Hz apart."""
    overlap: float
    window: str
    sfreq: float
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    positions: Float[np.ndarray, "channel 3"]
    """Head frame, mm."""

    @classmethod
    def from_mne(
        cls,
        recording: Any,
        *,
        band: tuple[float, float] = (2.0, 40.0),
        segment: float = 2000.0,
        picks: str = "meg",
        cov: Any = None,
        overlap: float = 0.5,
        window: str = "hann",
    ) -> "SpectralData":
        """Of an `mne.io.Raw`, `mne.Epochs` or the path of one; bad channels are left out, stretches annotated BAD too.

        **Arguments**

        - `band`: lowest and highest frequency, Hz; `segment`: ms, 1000 / segment Hz is the resolution.
        - `picks`: "meg", "mag", "grad" or "eeg".
        - `cov`: noise covariance, an `mne.Covariance` or its path, to whiten with; needed where units are mixed.
        - `overlap`, `window`: as in `jnm.observe.csd`.

        Raises `ValueError` for a band beyond sampling rate or filters, no stretch as long as a segment, samples that
        are NaN, mixed units without `cov`, and channels that `cov` lacks. Warns if recording and covariance differ in
        rank; the rows are then as many as the covariance has dimensions.
        """
        cov = None if cov is None else _mne.read_covariance(cov)
        arrays = _mne.recording_arrays(recording, picks, bads=() if cov is None else cov["bads"])
        length = _check_band(arrays, band, segment)
        W = _transform(arrays, cov)
        if cov is not None:
            warn_of_rank(len(W), arrays.rank, arrays.ch_names)
        f_hz, density, worth = _welch(arrays, W, band, length, overlap, window)
        return cls(
            f_hz=f_hz,
            csd=density,
            averages=worth,
            transform=W,
            whitened=cov is not None,
            segment=1e3 * length / arrays.sfreq,
            overlap=overlap,
            window=window,
            sfreq=arrays.sfreq,
            ch_names=arrays.ch_names,
            ch_types=arrays.ch_types,
            positions=arrays.positions,
        )

    @property
    def psd(self) -> Float[np.ndarray, "frequency row"]:
        """Power spectral densities, the diagonal."""
        return np.real(np.diagonal(self.csd, axis1=1, axis2=2))

    @property
    def units(self) -> tuple[str, ...]:
        """Of the rows: fT, fT/cm, uV, or "noise" where whitened."""
        return ("noise",) * len(self.transform) if self.whitened else tuple(UNITS[kind] for kind in self.ch_types)

    @property
    def observed(self) -> tuple[np.ndarray, np.ndarray, float]:
        """(f_hz, csd, averages), as `jnm.WhittleLoss` takes them, beside `gain(lead)` and `segment`."""
        return self.f_hz, self.csd, self.averages

    def gain(self, lead: LeadField) -> Float[np.ndarray, "row region"]:
        """The lead field as these data see it, by channel name, per nA m. Raises `ValueError` for channels it lacks."""
        return np.tensordot(self.transform, np.asarray(lead.pick(self.ch_names).gain, float), 1)

    def noise(self, covariance: Float[np.ndarray, "channel channel"]) -> Float[np.ndarray, "row row"]:
        """A noise covariance or density of these channels, in the rows of the data.

        Noise that is white as the whitener's covariance says has the density 2 / sfreq in every row, sfreq being that
        of the covariance's samples.
        """
        return self.transform @ covariance @ self.transform.T

    def pick(self, ch_names: Sequence[str]) -> "SpectralData":
        """Some channels of data that are not whitened; whitened, choose channels before (`raw.pick`)."""
        if self.whitened:
            raise ValueError("SpectralData.pick: rows of whitened data mix channels; pick channels of the recording.")
        index = find_channels(ch_names, self.ch_names, "recording")
        return dataclasses.replace(
            self,
            csd=self.csd[:, index][:, :, index],
            transform=self.transform[np.ix_(index, index)],
            ch_names=tuple(ch_names),
            ch_types=tuple(self.ch_types[i] for i in index),
            positions=self.positions[index],
        )

    def __repr__(self) -> str:
        rows = f"whitened to {len(self.transform)}" if self.whitened else f"{len(self.transform)} rows"
        return (
            f"SpectralData({count(self.ch_types)}, {rows}; {self.f_hz[0]:g}-{self.f_hz[-1]:g} Hz every "
            f"{1e3 / self.segment:g} Hz, {self.averages:.1f} averages)"
        )


def _check_band(arrays: Any, band: tuple[float, float], segment: float) -> int:
    """Samples of a segment; `ValueError` where the band cannot be had."""
    (low, high), sfreq = band, arrays.sfreq
    if not 0 <= low < high:
        raise ValueError(f"band = ({low:g}, {high:g}) Hz; wanted 0 <= lowest < highest.")
    if high > sfreq / 2:
        raise ValueError(
            f"band up to {high:g} Hz, but the recording is sampled at {sfreq:g} Hz, which ends at {sfreq / 2:g} Hz."
        )
    if high > arrays.lowpass * (1 + 1e-6) or low < arrays.highpass * (1 - 1e-6):
        raise ValueError(
            f"band = ({low:g}, {high:g}) Hz, but the recording was filtered to {arrays.highpass:g}-{arrays.lowpass:g} Hz: "
            "outside it there is the filter, no brain. Take a band inside."
        )
    length = round(segment * 1e-3 * sfreq)
    longest = max((len(piece) for piece in arrays.pieces), default=0)
    if not 2 <= length <= longest:
        raise ValueError(
            f"segments of {segment:g} ms ({1e3 / segment:g} Hz resolution), but the longest good stretch lasts "
            f"{1e3 * longest / sfreq:g} ms ({len(arrays.pieces)} of them, {arrays.left_out:g} ms annotated as bad); take "
            "shorter segments, and with them a coarser resolution."
        )
    if high - low < sfreq / length:
        raise ValueError(f"the band ({low:g}, {high:g}) Hz is narrower than the resolution, {sfreq / length:g} Hz.")
    return length


def _transform(arrays: Any, cov: Any) -> Float[np.ndarray, "row channel"]:
    if cov is None:
        if len(kinds := sorted(set(arrays.ch_types))) > 1:
            raise ValueError(
                f"channels of different units ({count(arrays.ch_types)}: {', '.join(UNITS[kind] for kind in kinds)}) do "
                'not add up in one loss: whiten them (cov=...) or take one kind (picks="mag").'
            )
        U = span(arrays.patterns)
        return np.eye(len(arrays.ch_names)) - U @ U.T
    noise = _mne.covariance_of_channels(cov, arrays.ch_names, arrays.ch_types)
    return whitener(noise, arrays.patterns, arrays.ch_names)


def _welch(
    arrays: Any, W: np.ndarray, band: tuple[float, float], length: int, overlap: float, window: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Frequencies, density and independent segments; in double precision and for the band alone."""
    dt, total = 1e3 / arrays.sfreq, 0.0
    f_hz = np.fft.rfftfreq(length, 1 / arrays.sfreq)
    inside = (f_hz >= band[0] * (1 - 1e-9)) & (f_hz <= band[1] * (1 + 1e-9))
    density = np.zeros((inside.sum(), len(W), len(W)), complex)
    for piece in (piece for piece in arrays.pieces if len(piece) >= length):
        worth = effective_averages(len(piece), dt, length * dt, overlap=overlap, window=window)
        density += worth * _mean_product(piece @ W.T, _taper(window, length), overlap, inside)
        total += worth
    sides = np.where((f_hz == 0) | (f_hz == arrays.sfreq / 2), 1.0, 2.0)[inside]
    scale = sides / (arrays.sfreq * np.sum(_taper(window, length) ** 2)) / total
    return f_hz[inside], density * scale[:, None, None], total


def _mean_product(x: np.ndarray, taper: np.ndarray, overlap: float, inside: np.ndarray) -> np.ndarray:
    """< X_i conj(X_j) > over segments, [frequency, row, row]; some segments at a time, since all of them may be GB."""
    length, total = len(taper), np.zeros((inside.sum(), x.shape[1], x.shape[1]), complex)
    starts = np.arange(0, len(x) - length + 1, length - int(overlap * length + 1e-9))
    for some in np.array_split(starts, -(-len(starts) // _BLOCK)):
        pieces = x[some[:, None] + np.arange(length)[None]]  # [segment, time, row]
        tapered = (pieces - pieces.mean(axis=1, keepdims=True)) * taper[:, None]
        X = np.fft.rfft(tapered, axis=1)[:, inside].transpose(1, 2, 0)
        total += np.matmul(X, X.conj().swapaxes(1, 2))
    return total / len(starts)


def _taper(window: str, length: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(length) / length
    return sum((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(_COSINES[window])) * np.ones(length)
