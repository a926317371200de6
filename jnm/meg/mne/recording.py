"""Ongoing recordings of MNE, Raw and Epochs, as pieces without gaps in jnm's units."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnm.meg.mne.border import MM_PER_M, from_si, import_mne, read, sensor_positions
from jnm.meg.mne.covariance import active_patterns, rank_left

PICKS = {"meg": ("mag", "grad"), "mag": ("mag",), "grad": ("grad",), "eeg": ("eeg",)}


class RecordingArrays(NamedTuple):
    """Good channels of one kind, cut where annotations call the recording bad."""

    pieces: tuple[np.ndarray, ...]  # each [time, channel] in fT, fT/cm, uV: an epoch, or a good stretch of a Raw
    sfreq: float  # Hz
    lowpass: float  # Hz: what the recording's own filters have left
    highpass: float
    patterns: np.ndarray  # [projector, channel]: the field patterns that active projectors take out
    rank: int  # dimensions that projectors and Maxwell filters leave to these channels
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    positions: np.ndarray  # [channel, 3] mm, head frame; NaN where unknown
    left_out: float  # ms called bad


def recording_arrays(recording: Any, picks: str, bads: Sequence[str] = ()) -> RecordingArrays:
    """An `mne.io.Raw`, `mne.Epochs` or the path of one. `bads` are left out too.

    Raises `ValueError` for no such channels and for samples that are NaN.
    """
    if picks not in PICKS:
        raise ValueError(f"picks = {picks!r}; known are {', '.join(PICKS)}.")
    recording = read_recording(recording)
    names = _good_channels(recording.info, picks, {*recording.info["bads"], *bads})
    chosen = recording.copy().pick(names, verbose="error")
    info, ch_types = chosen.info, tuple(chosen.get_channel_types())
    epochs = isinstance(recording, import_mne().BaseEpochs)
    pieces, left_out = _epochs(chosen) if epochs else _stretches(chosen)
    scale = from_si(ch_types)
    return RecordingArrays(
        pieces=tuple((piece * scale[:, None]).T for piece in pieces),
        sfreq=float(info["sfreq"]),
        lowpass=float(info["lowpass"]),
        highpass=float(info["highpass"]),
        patterns=active_patterns(info, names) * scale[None],
        rank=rank_left(info, names),
        ch_names=tuple(names),
        ch_types=ch_types,
        positions=sensor_positions(info) * MM_PER_M,
        left_out=left_out,
    )


def read_recording(recording: Any) -> Any:
    """An `mne.io.Raw` or `mne.Epochs`, or what the path of one holds."""
    mne = import_mne()
    if isinstance(recording, str | Path):
        if str(recording).endswith(("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")):
            recording = read(recording, "read_epochs", "holds no epochs", "-epo.fif")
        else:
            recording = read(recording, "io.read_raw", "is no recording MNE reads", "raw recording")
    if not isinstance(recording, mne.io.BaseRaw | mne.BaseEpochs):
        raise ValueError(f"wanted an mne.io.Raw, mne.Epochs or the path of one, got {type(recording).__name__}.")
    return recording


def _good_channels(info: Any, picks: str, bads: set[str]) -> list[str]:
    kinds = dict(zip(info.ch_names, info.get_channel_types(), strict=True))
    asked = [name for name, kind in kinds.items() if kind in PICKS[picks]]
    names = [name for name in asked if name not in bads]
    if not names:
        has = ", ".join(sorted(set(kinds.values()))) or "nothing"
        raise ValueError(f"no good {picks} channel: {len(asked)} of them, all bad; the recording has {has}.")
    return names


def _epochs(epochs: Any) -> tuple[list[np.ndarray], float]:
    data = epochs.get_data(verbose="error")
    for number, piece in enumerate(data):
        check_finite(piece, np.ones(piece.shape[1], bool), epochs, f"epoch {number}, ")
    return list(data), 0.0


def _stretches(raw: Any) -> tuple[list[np.ndarray], float]:
    data, good = raw.get_data(verbose="error"), _good_times(raw)
    check_finite(data, good, raw, "")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    pieces = [data[:, start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return pieces, float(np.sum(~good)) * 1e3 / raw.info["sfreq"]


def _good_times(raw: Any) -> np.ndarray:
    """[time]: whether no annotation that begins with "bad" lies on a sample, as MNE judges it."""
    mne = import_mne()
    blank = mne.io.RawArray(
        np.zeros((1, len(raw.times))), mne.create_info(1, raw.info["sfreq"]), raw.first_samp, verbose="error"
    )
    blank.set_meas_date(raw.info["meas_date"]).set_annotations(raw.annotations, verbose="error")
    return np.isfinite(blank.get_data(reject_by_annotation="NaN", verbose="error")[0])


def check_finite(data: np.ndarray, good: np.ndarray, recording: Any, where: str) -> None:
    """Raise `ValueError` for good samples of data [channel, time] that are NaN or infinite."""
    broken = ~np.isfinite(data) & good[None]
    if broken.any():
        channel, time = np.argwhere(broken)[0]
        raise ValueError(
            f"{broken.any(axis=0).sum()} samples are NaN or infinite, the first in {recording.ch_names[channel]} ({where}"
            f"{recording.times[time]:.3f} s). Annotate the stretch as BAD, drop the epoch or mark the channel as bad."
        )
