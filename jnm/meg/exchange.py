"""In and out of MNE-Python: simulated Raw and Evoked, source estimates as moments, recordings organised by BIDS."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from jnm.meg import mne as _mne
from jnm.meg.parcels import read_parcels
from jnm.meg.sensors import HEAD_POSITION


def to_raw(
    y: Float[Array, "time channel"] | Float[np.ndarray, "time channel"],
    sfreq: float,
    info: Any = "neuromag",
    *,
    ch_names: Sequence[str] | None = None,
) -> Any:
    """A simulated measurement as an `mne.io.Raw`, which MNE writes, reads and plots.

    **Arguments**

    - `y`: [time, channel] in fT, fT/cm, uV, sampled at `sfreq` Hz.
    - `info`: the Info of a recording or a forward solution, or "neuromag", "ctf151", "ctf275". Its channels, head
      position, bads and projectors go along; projectors that are active there are applied to y.
    - `ch_names`: the columns of y, such as `lead.ch_names`; by default all MEG channels of the Info.

    Raises `ValueError` for channels the Info lacks, another number of columns, and NaN.

        raw = jnm.meg.to_raw(lead(Q), 1000.0, evoked.info, ch_names=lead.ch_names)
        raw.compute_psd(fmax=100).plot()
    """
    return _mne.make_raw(np.asarray(y), _positive(sfreq), _info(info), ch_names)


def to_evoked(
    y: Float[Array, "time channel"] | Float[np.ndarray, "time channel"],
    sfreq: float,
    info: Any = "neuromag",
    *,
    ch_names: Sequence[str] | None = None,
    start: float = 0.0,
    nave: int = 1,
    comment: str = "simulated",
) -> Any:
    """A simulated average response as an `mne.Evoked`; arguments as in `to_raw`.

    `start` is the time of the first sample in ms after the stimulus, `nave` the trials it stands for.

        jnm.meg.to_evoked(y, 1000.0, "neuromag", start=-100.0).plot_topomap(times=[0.1])
    """
    return _mne.make_evoked(np.asarray(y), _positive(sfreq), _info(info), ch_names, start, nave, comment)


class Moments(NamedTuple):
    """Dipole moments over time."""

    times: Float[np.ndarray, " time"]
    """ms."""
    Q: Float[np.ndarray, "time region"]
    """nA m."""
    labels: tuple[str, ...]


def source_moments(estimate: Any, forward: Any, parcels: Mapping[str, Any] | str | Path | None = None) -> Moments:
    """The moments of an `mne.SourceEstimate` (A m, as minimum norms give them), source by source or parcel by parcel.

    The moment of a parcel is the sum over its sources. `forward` is the `mne.Forward` of the source space, `parcels` as
    in `LeadField.from_mne`. Raises `ValueError` for an estimate of another source space.
    """
    times, Q = _mne.source_arrays(estimate, forward)
    if parcels is None:
        return Moments(times, Q, tuple(f"source-{i}" for i in range(Q.shape[1])))
    labels, spread = read_parcels(parcels, np.ones(Q.shape[1]))
    return Moments(times, Q @ (spread > 0), labels)


def read_bids(root: str | Path, subject: str, **entities: Any) -> Any:
    """The `mne.io.Raw` of a BIDS data set: `read_bids(root, "01", task="rest")`; wants the package mne-bids.

    `entities` are those of BIDS: session, task, run, datatype ("meg" by default) and so on. Events and bad channels
    come with it. Raises `ImportError` with the cure where mne-bids is not installed.
    """
    return _mne.read_bids(root, subject, **entities)


def _info(info: Any) -> Any:
    """As it is, or the name of a canonical helmet with its usual head position."""
    if not isinstance(info, str):
        return info
    if info not in HEAD_POSITION:
        raise ValueError(f"unknown MEG system {info!r}; known: {', '.join(HEAD_POSITION)}, or give an mne.Info.")
    return info, HEAD_POSITION[info]


def _positive(sfreq: float) -> float:
    if not sfreq > 0:
        raise ValueError(f"sfreq = {sfreq} Hz; wanted a positive sampling frequency.")
    return float(sfreq)
