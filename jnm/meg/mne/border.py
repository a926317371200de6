"""What all of this folder needs: MNE-Python itself, its units and frames, and its files."""

import operator
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jnm._optional import require

MM_PER_M = 1e3
PER_NANOAMPERE_METRE = {"mag": 1e6, "grad": 1e4, "eeg": 1e-3}
"""T, T/m and V per A m times these are fT, fT/cm and uV per nA m."""

NANOAMPERE_METRES = 1e9
"""In an A m."""

DEVICE_FRAME, HEAD_FRAME = 1, 4  # FIFFV_COORD_DEVICE and FIFFV_COORD_HEAD of the FIF standard


def import_mne() -> ModuleType:
    """MNE-Python; `ImportError` with the cure where it is absent."""
    return require("mne", extra="mne")


def read(given: Any, reader: str, kind: str, wanted: str, **options: Any) -> Any:
    """What MNE's function `reader` reads from a path; anything else as it is. `ValueError` for a file of another kind."""
    if not isinstance(given, str | Path):
        return given
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not conform to MNE naming conventions")
            return operator.attrgetter(reader)(import_mne())(given, verbose="error", **options)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{given} {kind} (wanted a {wanted}): {error}") from error


def from_si(ch_types: Sequence[str]) -> np.ndarray:
    """[channel]: what takes T, T/m and V to fT, fT/cm and uV."""
    return np.array([PER_NANOAMPERE_METRE[kind] * NANOAMPERE_METRES for kind in ch_types])


def check_info(info: Any) -> None:
    """Raise `ValueError` for anything but an mne.Info."""
    if not isinstance(info, import_mne().Info):
        raise ValueError(f"wanted an mne.Info (raw.info, epochs.info, evoked.info), got {type(info).__name__}.")


def sensor_positions(info: Any) -> np.ndarray:
    """[channel, 3] in m, head frame: electrodes are stored so, coils in the frame of the device."""
    device_to_head = info["dev_head_t"]["trans"] if info["dev_head_t"] is not None else np.full((4, 4), np.nan)
    position = np.array([ch["loc"][:3] for ch in info["chs"]], dtype=float)
    in_device = np.array([ch["coord_frame"] == DEVICE_FRAME for ch in info["chs"]])[:, None]
    return np.where(in_device, position @ device_to_head[:3, :3].T + device_to_head[:3, 3], position)
