"""Source estimates of MNE as dipole moments, and recordings that BIDS organises."""

from pathlib import Path
from typing import Any

import numpy as np

from jnm._optional import require
from jnm.meg.mne.border import NANOAMPERE_METRES, import_mne
from jnm.meg.mne.forward import read_forward


def source_arrays(estimate: Any, forward: Any) -> tuple[np.ndarray, np.ndarray]:
    """Times (ms) and moments [time, source] in nA m of a SourceEstimate, sources as in the forward solution.

    Sources the estimate leaves out have none. Raises `ValueError` for one of another source space or free orientation.
    """
    mne, forward = import_mne(), read_forward(forward)
    kinds = (mne.SourceEstimate, mne.VolSourceEstimate, mne.MixedSourceEstimate)
    if not isinstance(estimate, kinds):
        raise ValueError(f"wanted an mne.SourceEstimate with one number a source, got {type(estimate).__name__}.")
    vertices = estimate.vertices
    spaces = [space["vertno"] for space in forward["src"]]
    if len(vertices) != len(spaces):
        raise ValueError(f"the estimate has {len(vertices)} source spaces, the forward solution {len(spaces)}.")
    for side, (own, known) in enumerate(zip(vertices, spaces, strict=True)):
        if missing := np.setdiff1d(own, known).size:
            raise ValueError(
                f"{missing} of {len(own)} vertices of source space {side} are not in the forward solution ({len(known)} "
                "vertices there): it was made for another source space, or has dropped sources near the skull (mindist)."
            )
    offsets = np.cumsum([0, *map(len, spaces)])
    rows = [o + np.searchsorted(known, own) for o, known, own in zip(offsets, spaces, vertices, strict=False)]
    moments = np.zeros((estimate.data.shape[1], offsets[-1]))
    moments[:, np.concatenate(rows)] = estimate.data.T * NANOAMPERE_METRES
    return estimate.times * 1e3, moments


def read_bids(root: str | Path, subject: str, **entities: str | None) -> Any:
    """The `mne.io.Raw` of a BIDS data set, through MNE-BIDS."""
    bids = require("mne_bids", extra="bids")
    path = bids.BIDSPath(root=root, subject=subject, datatype=entities.pop("datatype", "meg"), **entities)
    return bids.read_raw_bids(path, verbose="error")
