"""The picture of a connectome: its matrix, and where the brain is known its regions seen from three sides."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jnm import plot
from jnm.network.connectome import Connectome
from jnm.network.regions import FRAMES

_SIDES = {"from above": (0, 1), "from the right": (1, 2), "from behind": (0, 2)}
_NAMES = ("left - right (mm)", "back - front (mm)", "down - up (mm)")
_AXES = ("x (mm)", "y (mm)", "z (mm)")
_MARGIN = 1.12  # of the outline around the outermost regions


def connectome(brain: Connectome, strongest: float = 0.04) -> Any:
    """The weights, rows receiving; and, with centres, the regions from above, from the right and from behind.

        >>> jnm.plot.connectome(jnm.datasets.connectome())

    Dots are regions, blue on the left and orange on the right (grey where neither name nor place tells), their area the
    weight that they receive; lines are the `strongest` share of the pairs. Coordinates are those of heads, x to the right,
    y to the front, z up; in a frame of another name nobody knows the sides, and the axes are called x, y and z.

    Raises `ValueError` for a share that is not between 0 and 1.
    """
    import matplotlib.pyplot as plt

    if not 0 <= strongest <= 1:
        raise ValueError(f"plot.connectome: strongest = {strongest}; wanted a share of the pairs, 0 to 1.")
    placed = brain.centres is not None
    size, widths = ((15.5, 3.9), (1.3, 1.0, 1.0, 1.0)) if placed else ((4.8, 3.9), (1.0,))
    whole, panels = plt.subplots(1, len(widths), figsize=size, width_ratios=widths, layout="constrained", squeeze=False)
    matrix(brain, panels[0, 0])
    for side, ax in zip(_SIDES, panels[0, 1:], strict=False):
        anatomy(brain, side, strongest, ax)
    return whole


def matrix(brain: Connectome, ax: Any = None) -> Any:
    """The weights on a logarithmic scale, [to, from] as an image; what is not connected stays white."""
    from matplotlib.colors import LogNorm, SymLogNorm

    ax = plot.axes(ax, size=(4.8, 3.9))
    weights = np.asarray(brain.weights, float)
    there = np.abs(weights[weights != 0])
    low, high = (np.percentile(there, 1), there.max()) if there.size else (0.1, 1.0)
    signed = bool(np.any(weights < 0))
    norm = SymLogNorm(low, vmin=-high, vmax=high) if signed else LogNorm(low, max(high, low * 1.001))
    shown = np.ma.masked_where(weights == 0, weights)
    image = ax.imshow(shown, norm=norm, cmap="RdBu_r" if signed else "magma_r", interpolation="nearest")
    ax.set(xlabel="from region", ylabel="to region")
    if brain.labelled:
        at = np.unique(np.linspace(0, brain.n_regions - 1, min(brain.n_regions, 8)).round().astype(int))
        names = [brain.labels[i] for i in at]
        ax.set_xticks(at, names, rotation=90, fontsize=7)
        ax.set_yticks(at, names, fontsize=7)
    ax.spines[["top", "right"]].set_visible(True)
    ax.figure.colorbar(image, ax=ax, label="weight", shrink=0.85)
    ax.set_title("weights", loc="left", fontsize=10)
    return ax.figure


def anatomy(brain: Connectome, side: str, strongest: float = 0.04, ax: Any = None) -> Any:
    """The regions seen from one side: "from above", "from the right" or "from behind".

    Raises `ValueError` for another side, and for a connectome without centres.
    """
    if side not in _SIDES or brain.centres is None:
        told = f"side = {side!r}; wanted one of {', '.join(_SIDES)}" if brain.centres is not None else "no centres"
        raise ValueError(f"plot.anatomy: {told}.")
    ax, columns, centres = plot.axes(ax, size=(3.6, 3.6)), list(_SIDES[side]), np.asarray(brain.centres, float)
    points = centres[:, columns]
    depth = np.argsort(centres[:, next(k for k in range(3) if k not in columns)] * (-1 if side == "from behind" else 1))
    _outline(points, ax)
    _lines(np.asarray(brain.weights, float), points, strongest, ax)
    received = np.abs(np.asarray(brain.weights, float)).sum(axis=1)
    colour = {"L": plot.BLUE, "R": plot.ORANGE, "": plot.GREY}
    colours, known = np.array([colour[side] for side in _sides(brain)]), brain.frame in FRAMES
    names = [(_NAMES if known else _AXES)[k] for k in columns]
    ax.scatter(
        *points[depth].T, s=8 + 42 * (received / max(received.max(), 1e-300))[depth], c=colours[depth], zorder=3,
        edgecolor="white", linewidth=0.5,
    )  # fmt: skip
    middle, half = (points.max(axis=0) + points.min(axis=0)) / 2, 0.6 * np.ptp(centres, axis=0).max()
    limits = [(m - half, m + half) for m in middle]  # one scale for all sides
    ax.set(aspect="equal", xlim=limits[0], ylim=limits[1], xlabel=names[0], ylabel=names[1])
    ax.set_title(side if known else f"frame {brain.frame!r}", loc="left", fontsize=10)
    return ax.figure


def _sides(brain: Connectome) -> tuple[str, ...]:
    try:
        return brain.hemispheres
    except ValueError:  # no name tells, and the frame is unknown
        return ("",) * brain.n_regions


def _outline(points: Float[np.ndarray, "region 2"], ax: Any) -> None:
    """A soft shape behind the regions: the hull of them all, a little wider."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # fewer than three regions, or all on a line
        return
    middle = corners.mean(axis=0)
    wide = middle + _MARGIN * (corners - middle)
    along = np.concatenate([wide, wide[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(along, axis=0), axis=1))])
    fine = np.linspace(0, length[-1], 400, endpoint=False)
    curve = np.stack([np.interp(fine, length, axis) for axis in along.T], axis=1)
    for _ in range(3):  # rounds the corners
        curve = np.stack([np.convolve(np.tile(x, 3), np.ones(31) / 31, "same")[400:800] for x in curve.T], axis=1)
    ax.fill(*curve.T, color="#F1F1F1", zorder=0, lw=0)


def _lines(weights: np.ndarray, points: Float[np.ndarray, "region 2"], strongest: float, ax: Any) -> None:
    from matplotlib.collections import LineCollection

    both = (np.abs(weights) + np.abs(weights.T)) / 2
    rows, columns = np.triu_indices(len(both), 1)
    count = round(strongest * rows.size)
    order = np.argsort(both[rows, columns])[rows.size - count :]
    kept = order[both[rows, columns][order] > 0]
    if not kept.size:
        return
    share = both[rows, columns][kept] / both[rows, columns][kept].max()
    segments = np.stack([points[rows[kept]], points[columns[kept]]], axis=1)
    colours = np.stack([np.full(kept.size, 0.25)] * 3 + [0.12 + 0.6 * share], axis=1)
    ax.add_collection(LineCollection(list(segments), linewidths=0.5 + 2.0 * share, colors=colours, zorder=1))
