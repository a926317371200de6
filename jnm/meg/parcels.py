"""Parcels of a source space: which sources belong to one region, and what is left of their field when they are summed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def read_parcels(
    parcels: Mapping[str, Any] | str | Path, areas: np.ndarray, omit: Sequence[int] | np.ndarray = ()
) -> tuple[tuple[str, ...], np.ndarray]:
    """Labels and the matrix [source, parcel] that spreads one unit of a parcel over its sources by area.

    Sources in `omit` are in no parcel.
    """
    if not isinstance(parcels, Mapping):
        try:
            parcels = json.loads(Path(parcels).read_text())
        except ValueError as error:
            raise ValueError(f"{parcels} is no JSON file of parcels: {error}") from error
    if not isinstance(parcels, Mapping) or "parcel_of_source" not in parcels:
        raise ValueError('parcels want {"parcel_of_source": [parcel of each source], ...}; that entry is missing.')
    of_source = np.asarray(parcels["parcel_of_source"])
    if of_source.shape != areas.shape or of_source.dtype.kind not in "iu":
        raise ValueError(
            f"parcel_of_source is {of_source.dtype} of shape {of_source.shape}; wanted one whole number for each of "
            f"the {len(areas)} sources of the forward solution (-1: no parcel). Was it made for this source space? "
            "(MNE leaves out sources near the skull, see mindist.)"
        )
    member = of_source[:, None] == np.arange(of_source.max() + 1)[None]
    member[np.asarray(omit, int)] = False
    if not member.any() or not member.any(axis=0).all():
        empty = np.flatnonzero(~member.any(axis=0)).tolist() or "all"
        raise ValueError(f"parcels without a source: {empty}; number the parcels 0, 1, 2, ... without gaps.")
    labels = tuple(str(label) for label in parcels.get("label", [f"parcel-{i}" for i in range(member.shape[1])]))
    if len(labels) != member.shape[1]:
        raise ValueError(f"{len(labels)} labels for {member.shape[1]} parcels.")
    weights = member * areas[:, None]
    return labels, weights / weights.sum(axis=0)


def share_kept(gain: np.ndarray, spread: np.ndarray, ch_types: Sequence[str]) -> np.ndarray:
    """|G_r| over the mean |G_v| of its sources, a mean over channel types (their units do not compare)."""
    shares = []
    for kind in sorted(set(ch_types)):
        rows = gain[np.array([t == kind for t in ch_types])]
        shares.append(np.linalg.norm(rows @ spread, axis=0) / (np.linalg.norm(rows, axis=0) @ spread))
    return np.mean(shares, axis=0)
