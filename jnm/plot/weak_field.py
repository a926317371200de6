"""The figure of a population in a weak field: resonance, where linear theory ends, and what keeps step with the field."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jnm import plot

if TYPE_CHECKING:
    from jnm.studies.weak_field import Entrainment

_LOCKED = 0.999  # a model at rest without noise follows the field everywhere: a picture of that says nothing
_LINES = 6  # as many as a legend can name


def figure(seen: "Entrainment", label: str = "amplitude (1/ms)") -> Any:
    """Resonance curves; how far a model that rests departs from linear theory; locking, unless all is locked."""
    import matplotlib.pyplot as plt

    rests = seen.linear is not None
    loose = not rests or bool(np.min(seen.locking) < _LOCKED)
    whole, panels = plt.subplots(
        1, 1 + rests + loose, figsize=(4.4 * (1 + rests + loose), 3.6), layout="constrained", squeeze=False
    )
    resonance(seen, label, panels[0, 0])
    if rests:
        departure(seen, panels[0, 1])
    if loose:
        locking(seen, panels[0, -1])
    return whole


def resonance(seen: "Entrainment", label: str = "amplitude (1/ms)", ax: Any = None) -> Any:
    """The answer at the field's frequency per V/m, for up to six of the strengths; linear theory in black."""
    ax = plot.axes(ax)
    count = len(seen.strength)
    shown = np.unique(np.linspace(0, count - 1, min(count, _LINES)).round().astype(int))
    for k, colour in zip(shown, _shades(len(shown)), strict=True):
        strength = seen.strength[k]
        ax.plot(seen.f_hz, seen.amplitude[:, k] / strength, color=colour, label=f"{strength:.3g} V/m")
    if seen.linear is not None:
        ax.plot(seen.f_hz, np.abs(seen.linear), color="black", ls=":", label="linear theory")
    ax.set(xlabel="frequency of the field (Hz)", ylabel=f"{label} per V/m", yscale="log")
    ax.set_title("answer at the field's frequency", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax.figure


def departure(seen: "Entrainment", ax: Any = None, tolerance: float = 0.05) -> Any:
    """How far the answer is from the linear one, against strength, for some frequencies; the tolerance is dashed."""
    ax = plot.axes(ax)
    peak = int(np.argmax(np.abs(seen.linear))) if seen.linear is not None else 0
    chosen = sorted({0, peak, len(seen.f_hz) - 1})
    for k, colour in zip(chosen, (plot.GREEN, plot.BLUE, plot.ORANGE), strict=False):
        ax.plot(seen.strength, np.abs(seen.relative[k] - 1), "o-", ms=3, color=colour, label=f"{seen.f_hz[k]:.4g} Hz")
    ax.axhline(tolerance, color=plot.GREY, ls="--", lw=1)
    ax.set(xlabel="strength (V/m)", ylabel="distance from linear theory\n(relative)", xscale="log", yscale="log")
    ax.set_title("where linear theory ends", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax.figure


def locking(seen: "Entrainment", ax: Any = None) -> Any:
    """Locking as an image over frequency and strength: where a rhythm is pulled along, its Arnold tongue."""
    ax = plot.axes(ax)
    ax.set_yscale("log" if seen.strength[-1] > 30 * seen.strength[0] else "linear")
    image = ax.pcolormesh(seen.f_hz, seen.strength, seen.locking.T, vmin=0, vmax=1, cmap="magma", rasterized=True)
    n, m = seen.ratio
    ax.set(xlabel="frequency of the field (Hz)", ylabel="strength (V/m)")
    ax.set_title(f"locking, {n}:{m}", loc="left", fontsize=10)
    ax.figure.colorbar(image, ax=ax, label="phase-locking value")
    return ax.figure


def _shades(count: int) -> Any:
    import matplotlib as mpl

    return mpl.colormaps["viridis"](np.linspace(0.0, 0.85, count))
