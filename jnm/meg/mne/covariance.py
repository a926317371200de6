"""Noise covariances and projectors of MNE on given channels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jnm.meg.mne.border import check_info, from_si, import_mne, read


class CovarianceArrays(NamedTuple):
    """The covariance of one sample of single trials in jnm's units, and what active projectors take out."""

    covariance: np.ndarray  # [channel, channel] fT, fT/cm, uV
    patterns: np.ndarray  # [projector, channel]
    rank: int  # dimensions that projectors and Maxwell filters leave to these channels
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]


def covariance_arrays(cov: Any, info: Any) -> CovarianceArrays:
    """An `mne.Covariance` or its path, on the good MEG and EEG channels of an Info; `ValueError` for those it lacks."""
    check_info(info)
    cov = read_covariance(cov)
    kinds = dict(zip(info.ch_names, info.get_channel_types(), strict=True))
    bads = {*info["bads"], *cov["bads"]}
    names = [name for name, kind in kinds.items() if kind in ("mag", "grad", "eeg") and name not in bads]
    if not names:
        raise ValueError("no good MEG or EEG channel is left.")
    ch_types = tuple(kinds[name] for name in names)
    patterns = active_patterns(info, names) * from_si(ch_types)[None]
    covariance = covariance_of_channels(cov, names, ch_types)
    return CovarianceArrays(covariance, patterns, rank_left(info, names), tuple(names), ch_types)


def covariance_of_channels(cov: Any, ch_names: Sequence[str], ch_types: Sequence[str]) -> np.ndarray:
    """The covariance of one sample of these channels, in jnm's units; `ValueError` for channels it lacks."""
    cov = read_covariance(cov)
    if missing := [name for name in ch_names if name not in cov.ch_names or name in cov["bads"]]:
        raise ValueError(
            f"{len(missing)} of {len(ch_names)} good channels of the recording are not in the noise covariance: "
            f"{', '.join(missing[:8])}{', ...' * (len(missing) > 8)}. Give the one made for this recording, or mark these "
            "channels as bad (info['bads']) to go on without them."
        )
    scale = from_si(ch_types)
    return covariance_of(cov, ch_names) * scale[:, None] * scale[None]


def read_covariance(cov: Any) -> Any:
    """An `mne.Covariance`, or the path of one."""
    mne = import_mne()
    cov = read(cov, "read_cov", "is no noise covariance", "-cov.fif")
    if not isinstance(cov, mne.Covariance):
        raise ValueError(f"wanted an mne.Covariance or the path of a -cov.fif, got {type(cov).__name__}.")
    return cov


def covariance_of(cov: Any, ch_names: Sequence[str]) -> np.ndarray:
    """[channel, channel] in SI."""
    index = [cov.ch_names.index(name) for name in ch_names]
    full = np.diag(cov.data) if cov["diag"] else cov.data
    return full[np.ix_(index, index)]


def rank_left(info: Any, ch_names: Sequence[str]) -> int:
    """Dimensions that active projectors and Maxwell filters leave to these channels, as MNE counts them."""
    mne = import_mne()
    picked = mne.pick_info(info, [info.ch_names.index(name) for name in ch_names])
    # MNE counts projectors that wait too, but data and whitener go through the active ones alone
    active = mne.Info({**picked, "projs": [proj for proj in picked["projs"] if proj["active"]]})
    blank = mne.Covariance(np.ones(len(ch_names)), list(ch_names), [], [], 1)
    return sum(mne.compute_rank(blank, rank="info", info=active, verbose="error").values())


def active_patterns(info: Any, ch_names: Sequence[str]) -> np.ndarray:
    """The fields that active projectors take out, [projector, channel] in SI."""
    patterns = [np.zeros((0, len(ch_names)))]
    for proj in (proj for proj in info["projs"] if proj["active"]):
        column = {name: i for i, name in enumerate(proj["data"]["col_names"])}
        padded = np.column_stack([proj["data"]["data"], np.zeros(len(proj["data"]["data"]))])
        patterns.append(padded[:, [column.get(name, -1) for name in ch_names]])
    return np.concatenate(patterns)
