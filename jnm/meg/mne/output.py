"""Simulated measurements as recordings of MNE, which writes, reads and plots them."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from jnm.meg.mne.border import check_info, from_si, import_mne
from jnm.meg.mne.sensors import canonical_info


def make_raw(data: np.ndarray, sfreq: float, info: Any, ch_names: Sequence[str] | None) -> Any:
    """An `mne.io.RawArray` of data [time, channel] in fT, fT/cm, uV."""
    info, active, inactive = _info(info, ch_names, sfreq, data.shape)
    raw = import_mne().io.RawArray(_si(data, info), info, verbose="error")
    return _projected(raw, active, inactive)


def make_evoked(
    data: np.ndarray, sfreq: float, info: Any, ch_names: Sequence[str] | None, start: float, nave: int, comment: str
) -> Any:
    """An `mne.EvokedArray` of data [time, channel] in fT, fT/cm, uV; `start` in ms."""
    info, active, inactive = _info(info, ch_names, sfreq, data.shape)
    evoked = import_mne().EvokedArray(_si(data, info), info, start / 1e3, comment, nave, verbose="error")
    return _projected(evoked, active, inactive)


def _info(info: Any, ch_names: Sequence[str] | None, sfreq: float, shape: tuple[int, ...]) -> tuple[Any, list, list]:
    """The channels asked for, at another sampling rate and without filters; active and inactive projectors apart."""
    mne = import_mne()
    info = canonical_info(*info) if isinstance(info, tuple) else info
    check_info(info)
    kinds = info.get_channel_types()
    modelled = [name for name, kind in zip(info.ch_names, kinds, strict=True) if kind in ("mag", "grad", "eeg")]
    names = (
        [name for name in modelled if name not in _electrodes(info)] or modelled if ch_names is None else list(ch_names)
    )
    if missing := [name for name in names if name not in modelled]:
        raise ValueError(f"{len(missing)} of {len(names)} channels are not in the Info: {', '.join(missing[:8])}.")
    if len(shape) != 2 or shape[1] != len(names):
        raise ValueError(
            f"data have shape {list(shape)} for {len(names)} channels; wanted [time, channel]. Name the columns "
            "(ch_names=lead.ch_names) where they are not all MEG channels of the Info."
        )
    picked = mne.pick_info(info, [info.ch_names.index(name) for name in names], verbose="error")
    if not picked["comps"] and any(int(ch["coil_type"]) >> 16 for ch in picked["chs"]):  # the grade of compensation
        warnings.warn(
            "the recording of the Info is compensated by reference channels, which are not simulated: MNE makes forward "
            "solutions for the simulated one as if it were not. Make them from the Info itself.",
            stacklevel=4,
        )
    states = [[proj for proj in picked["projs"] if bool(proj["active"]) is state] for state in (True, False)]
    active, inactive = [[mne.Projection(**{**p, "active": False}) for p in projs] for projs in states]
    filters = {"sfreq": float(sfreq), "lowpass": sfreq / 2, "highpass": 0.0}
    return mne.Info({**picked, **filters, "projs": []}), active, inactive


def _electrodes(info: Any) -> set[str]:
    return {name for name, kind in zip(info.ch_names, info.get_channel_types(), strict=True) if kind == "eeg"}


def _si(data: np.ndarray, info: Any) -> np.ndarray:
    if not np.all(np.isfinite(data)):
        raise ValueError("the data hold NaN or infinite numbers: did the simulation diverge?")
    return np.asarray(data, float).T / from_si(info.get_channel_types())[:, None]


def _projected(recording: Any, active: list, inactive: list) -> Any:
    """Projectors that were active have been applied; the others wait, as in the recording the Info comes from."""
    if active:
        recording = recording.add_proj(active, verbose="error").apply_proj(verbose="error")
    return recording.add_proj(inactive, verbose="error") if inactive else recording
