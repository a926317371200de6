"""The border to MNE-Python: the only file of jnm that imports it, and the only one that knows SI units.

What comes in are MNE's own objects (Info, Forward, projectors) in metres, tesla and ampere metres; what goes out are
plain NumPy arrays in mm, fT, fT/cm, uV and nA m. MNE is imported inside functions, since it is an optional dependency.

Gramfort A et al. (2013) MEG and EEG data analysis with MNE-Python. Front Neurosci 7:267.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

MM_PER_M = 1e3
PER_NANOAMPERE_METRE = {"mag": 1e6, "grad": 1e4, "eeg": 1e-3}
"""T, T/m and V per A m times these are fT, fT/cm and uV per nA m."""

_PLANAR, _ACCURATE = 3, 2  # coil class and accuracy in MNE's coil definitions


class Coils(NamedTuple):
    """MEG channels as integration points in head-frame mm; channels come first, reference coils after them."""

    points: np.ndarray  # [coil, point, 3] mm
    normals: np.ndarray  # [coil, point, 3]
    weights: np.ndarray  # [coil, point]; 1/cm for planar gradiometers; 0 fills up short coils
    coil_types: tuple[int, ...]  # MNE's coil type of each channel
    coil_classes: tuple[int, ...]  # 1 magnetometer, 2 axial gradiometer, 3 planar gradiometer, 4 second order
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]  # "mag" or "grad"
    compensation: np.ndarray | None  # [channel, reference]


class ForwardArrays(NamedTuple):
    """A forward solution in jnm's units, head frame."""

    gain: np.ndarray  # [channel, source] or [channel, source, 3]
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]  # "mag", "grad", "eeg"
    sensor_positions: np.ndarray  # [channel, 3] mm
    source_positions: np.ndarray  # [source, 3] mm
    source_areas: np.ndarray  # [source], cortical area a source stands for (relative), or ones


def import_mne() -> ModuleType:
    """MNE-Python; `ImportError` with the cure where it is absent."""
    try:
        import mne
    except ImportError as error:
        raise ImportError('Recordings and sensors need MNE-Python: pip install "jnm[mne]"') from error
    return mne


# ---------------------------------------------------------------------------------------------------------- sensors


def canonical_info(system: str, translation_mm: Sequence[float]) -> Any:
    """MNE's canonical helmet with the head put into it: head = device + translation_mm."""
    mne = import_mne()
    known = ("neuromag", "ctf151", "ctf275")
    if system not in known:
        raise ValueError(f"unknown MEG system {system!r}; known: {', '.join(known)}. Others: Sensors.from_info(info).")
    info = mne.channels.read_meg_canonical_info(system, verbose="error")
    device_to_head = np.eye(4)
    device_to_head[:3, 3] = np.asarray(translation_mm, dtype=float) / MM_PER_M
    # the canonical transform is the identity, which would put the head's origin at the helmet's
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", device_to_head)
    return info


def coils(info: Any) -> Coils:
    """The MEG channels of an Info as integration points, at MNE's accuracy "accurate" (2), in the head frame."""
    mne = import_mne()
    if not isinstance(info, mne.Info):
        raise ValueError(f"wanted an mne.Info (raw.info, epochs.info, evoked.info), got {type(info).__name__}.")
    channels = _channels(info, mne.pick_types(info, meg=True, ref_meg=False, exclude=()))
    if not channels:
        raise ValueError("no MEG channels: the Info has " + (str(mne.pick_info(info, []).ch_names) if 0 else "none."))
    return channels
