r"""How loud a source is beside its neighbours: next to the skull a boundary element method fails, and that is heard.

    loudness_s = max over channel types of  |L_s| / median_v |L_v|,      v the other sources within 30 mm of s,

with |L| the norm over channels and directions. The true field of a source hardly changes from the brain to its surface,
4 cm from the coils. That of a boundary element method grows without bound where a source comes nearer to the surface than
the triangles are large. MNE leaves such sources out of a forward solution (mindist, 5 mm as a rule), where it is asked to.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

LOUD = 4.0
"""Sources louder than this are too near to the skull. Chosen: of the sample recording's, two; all others are below 2.3."""

_NEAR_MM, _MOST, _LEAST = 30.0, 50, 5  # neighbours: how far, how many, and how few tell nothing


def loudness(
    gain: Float[np.ndarray, "channel source direction"],
    ch_types: Sequence[str],
    positions_mm: Float[np.ndarray, "source 3"],
) -> Float[np.ndarray, " source"]:
    """The loudness of each source; 1 for those with hardly a neighbour."""
    from scipy.spatial import KDTree

    _, nearest = KDTree(positions_mm).query(positions_mm, _MOST + 1, distance_upper_bound=_NEAR_MM)
    near = np.asarray(nearest)[:, 1:]
    judged = np.sum(near < len(positions_mm), axis=1) >= _LEAST
    loudest = np.ones(len(positions_mm))
    for kind in sorted(set(ch_types)):
        size = np.linalg.norm(gain[np.array([t == kind for t in ch_types])], axis=(0, 2))
        around = np.append(size, np.nan)[near[judged]]  # who is missing has the number of sources for a number
        loudest[judged] = np.maximum(loudest[judged], size[judged] / np.nanmedian(around, axis=1))
    return loudest


def warn_of_loud(loudness: Float[np.ndarray, " source"], homes: Mapping[int, str]) -> None:
    """Warn, on behalf of who called the caller, of loud sources that are in use; `homes` says of each of these where."""
    loud = [i for i in np.argsort(-loudness).tolist() if loudness[i] > LOUD and i in homes]
    if loud:
        names = ", ".join(f"source {i}{homes[i]} {loudness[i]:.2g}" for i in loud[:8])
        warnings.warn(
            f"sources too near to the skull: {names}{', ...' * (len(loud) > 8)} times as loud as others within "
            f"{_NEAR_MM:g} mm. A boundary element method fails there. Leave them out, omit={sorted(loud)}, or make "
            "the forward solution with mindist=5.0.",
            stacklevel=3,
        )
