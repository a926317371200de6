"""Where the input of an average response may enter the network: hypotheses about regions, by place in the head.

Regions are parcels of one subject's sources without names, so an entry is all parcels about a landmark. `LANDMARKS` are for
the sample subject of MNE: coordinates in MNI space (Heschl's gyrus (+-49, -19, 7), calcarine sulcus (+-11, -87, 3), hand knob
(+-42, -26, 54)) in the head frame of fsaverage (MNE's fsaverage-trans), turned by 21 degrees about the axis through the ears'
direction in the middle of the brain, by which the occipital pole of this subject lies higher than that of fsaverage. That is
right to a centimetre or two; the radius forgives it, and tells neighbours apart no better. Other heads want their own.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

RADIUS = 25.0
"""mm about a landmark."""

LANDMARKS: dict[str, tuple[float, float, float]] = {
    "auditory left": (-50.0, 5.0, 50.0),
    "auditory right": (48.0, 8.0, 49.0),
    "visual left": (-12.0, -54.0, 73.0),
    "visual right": (10.0, -52.0, 73.0),
    "central left": (-44.0, 19.0, 95.0),
    "central right": (40.0, 19.0, 95.0),
}
"""Head frame, mm: to the right, front, top."""

ENTRIES: dict[str, tuple[str, ...]] = {
    "auditory left": ("auditory left",),
    "auditory right": ("auditory right",),
    "auditory": ("auditory left", "auditory right"),
    "visual": ("visual left", "visual right"),
    "central": ("central left", "central right"),
}
"""The hypotheses: one or both auditory cortices, visual cortex, and sensorimotor cortex, where nothing should enter."""

EVERYWHERE = "everywhere"


def entries(
    positions: Float[np.ndarray, "region 3"], landmarks: Mapping[str, tuple[float, float, float]] = LANDMARKS
) -> dict[str, Int[np.ndarray, " input"]]:
    """The regions of each hypothesis, for regions at `positions` (head frame, mm); the last is all of them.

    `landmarks` has the names of `LANDMARKS`. Raises `ValueError` where a landmark has no region about it.
    """
    positions = np.asarray(positions, float)
    found = {
        name: np.flatnonzero(_near(positions, [landmarks[place] for place in places]))
        for name, places in ENTRIES.items()
    }
    if empty := [name for name, regions in found.items() if not len(regions)]:
        raise ValueError(
            f"no region within {RADIUS:g} mm of {', '.join(empty)}. Are the positions in mm of the head frame? They run from "
            f"{positions.min(axis=0).round()} to {positions.max(axis=0).round()}."
        )
    return {**found, EVERYWHERE: np.arange(len(positions))}


def _near(positions: np.ndarray, places: list[tuple[float, float, float]]) -> np.ndarray:
    distances = [np.linalg.norm(positions - np.array(place), axis=1) for place in places]
    return np.min(distances, axis=0) < RADIUS
