"""Which regions: parcels of a forward solution, and the connectome between them, matched by label and never by index."""

from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from jnm.meg.leadfield import LeadField
from jnm.network.connectome import Connectome

REGIONS = 90
"""Parcels made where none are given."""

CONNECTOME_SEED, PARCELS_SEED = 0, 0


def made_parcels(forward: Any) -> dict[str, Any] | None:
    """k-means of the sources of each hemisphere, where there are more than `REGIONS`."""
    from scipy.cluster.vq import kmeans2

    positions = np.asarray(LeadField.from_mne(forward).region_positions, dtype=float)
    if len(positions) <= REGIONS:
        return None
    rng, of_source, made = np.random.default_rng(PARCELS_SEED), np.zeros(len(positions), dtype=int), 0
    for side in (positions[:, 0] < 0, positions[:, 0] >= 0):
        points = positions[side]
        begin = rng.permutation(points)[: REGIONS // 2]
        if len(begin):
            nearest = kmeans2(points, begin, iter=50, minit="matrix", missing="raise")[1]
            of_source[side], made = nearest + made, made + len(begin)
    return {"parcel_of_source": of_source}


def matched(connectome: Connectome | str | Path | None, lead: LeadField) -> tuple[Connectome, LeadField]:
    """A connectome and a lead field of the same regions in the same order: by label, never by index."""
    if connectome is None:
        made = Connectome.from_centres(lead.region_positions, seed=CONNECTOME_SEED, labels=lead.labels)
        return made.without_self_connections().normalised("rows"), lead
    if not isinstance(connectome, Connectome):
        connectome = Connectome.read(connectome)
    if not connectome.labelled:
        raise ValueError(
            "the connectome has no labels, and regions are matched to parcels by label, never by index. Give "
            "Connectome(weights, labels=[...]) the names of the parcels, or leave it out to build one from their positions."
        )
    if strangers := set(connectome.labels) ^ set(lead.labels):
        raise ValueError(
            f"lead field and network of different regions: {len(strangers)} labels are not in both, such as "
            f"{', '.join(sorted(strangers)[:4])}. The parcels are {lead.labels[0]} ... {lead.labels[-1]} ({len(lead.labels)}), "
            f"the connectome's regions {connectome.labels[0]} ... ({connectome.n_regions}); connectome.subset(labels) takes "
            "some."
        )
    lead = lead.select(connectome.labels)
    # positions in the head of this subject, whatever frame the connectome's own are in
    placed = eqx.tree_at(lambda c: c.centres, connectome, lead.region_positions, is_leaf=lambda x: x is None)
    return placed.without_self_connections().normalised("rows"), lead
