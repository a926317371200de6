"""Two lead fields of the same parcels: the subject's own, and what would be taken for it without an MRI, a sphere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jnm.meg.conductor import sphere_lead_field
from jnm.meg.leadfield import LeadField
from jnm.meg.loudness import LOUD
from jnm.meg.mne import forward_arrays
from jnm.meg.mne.covariance import active_patterns
from jnm.meg.parcels import read_parcels
from jnm.meg.sensors import Numbers, Sensors
from jnm.meg.whitening import span


def two_heads(
    forward: Any, parcels: Mapping[str, Any] | str | Path, info: Any, origin_mm: Numbers
) -> tuple[LeadField, LeadField]:
    """The lead field of a forward solution's parcels, and that of the same sources and normals in a sphere.

        >>> head, sphere = two_heads("fwd.fif", "parcels.json", info, (0.0, 0.0, 40.0))

    A boundary element method fails next to its boundary: sources that are more than four times as loud as others around
    them (`jnm.meg.loudness`) are left out of their parcels in both heads.

    **Arguments**

    - `forward`: an `mne.Forward` of free orientation, or its path; `parcels`: as in `LeadField.from_mne`.
    - `info`: of the recording, whose good channels and active projectors are taken; `origin_mm`: centre of the sphere,
      head frame, such as that of `mne.bem.fit_sphere_to_headshape(info)`.
    """
    along, free = (forward_arrays(forward, fixed=fixed, info=info) for fixed in (True, False))
    here = Sensors.from_info(info).pick(along.ch_names)
    U = span(active_patterns(info, along.ch_names))
    round_ = np.asarray(sphere_lead_field(along.source_positions, here, origin_mm), float)
    round_ = round_ - np.tensordot(U, np.tensordot(U.T, round_, 1), 1)
    loud = np.flatnonzero(along.loudness > LOUD)
    normals = [
        np.linalg.lstsq(L, y, rcond=None)[0] for L, y in zip(free.gain.swapaxes(0, 1), along.gain.T, strict=True)
    ]
    head = LeadField.from_mne(forward, parcels, info=info, omit=loud)
    gain = np.einsum("csx,sx->cs", round_, np.stack(normals)) @ read_parcels(parcels, along.source_areas, loud)[1]
    names = along.ch_names, along.ch_types, head.labels
    return head, LeadField(jnp.asarray(gain, float), here.positions, head.region_positions, None, *names)
