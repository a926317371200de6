"""On which side of the head a region lies, by its name or, where no name tells, by its place."""

import re
from collections.abc import Sequence

import numpy as np

# "lh_insula", "Left-Thalamus", "7Networks_LH_Vis_1"; "L.BSTS"; "Insula_L"; "R07"; "lA1"; "SFG_L_7_1"
_NAMED = (
    re.compile(r"(?:^|[-_. ])(?:(?P<left>lh|left)|(?P<right>rh|right))(?:[-_. ]|$)", re.IGNORECASE),
    re.compile(r"^(?:(?P<left>l)|(?P<right>r))[-_. ]", re.IGNORECASE),
    re.compile(r"[-_. ](?:(?P<left>l)|(?P<right>r))$", re.IGNORECASE),
    re.compile(r"^(?:(?P<left>[lL])|(?P<right>[rR]))\d+$"),
    re.compile(r"^(?:(?P<left>l)|(?P<right>r))[A-Z]"),
    re.compile(r"[-_. ](?:(?P<left>L)|(?P<right>R))[-_. ]"),
)
FRAMES = ("head", "mni")  # x to the right


def hemispheres(labels: Sequence[str], centres: np.ndarray | None, frame: str) -> tuple[str, ...]:
    """ "L", "R", or "" for the midline and for names that tell no side.

    Names come first: data sets differ in which axis leads to the right. Raises `ValueError` where neither names nor
    centres in a known frame tell of any region.
    """
    sides = tuple(_side(label) for label in labels)
    if any(sides):
        return sides
    if centres is None or frame not in FRAMES:
        raise ValueError(
            f"hemispheres: labels such as {labels[0]!r} tell no side, and centres in a frame of {' or '.join(FRAMES)} "
            "coordinates are not there; name the regions lh_... and rh_..., or give centres and frame."
        )
    return tuple("" if x == 0 else "L" if x < 0 else "R" for x in centres[:, 0])


def _side(label: str) -> str:
    for pattern in _NAMED:
        if found := pattern.search(label):
            return "L" if found["left"] else "R"
    return ""
