"""The phase diagram of a network: the state at each point of a plane, its largest exponent and its frequency."""

from typing import Any

import numpy as np

from jnm import plot
from jnm.stability.state_map import KINDS, StateMap

_COLOURS = ("#DDDDDD", plot.BLUE, "#56B4E9", plot.GREEN, plot.ORANGE, plot.RED, "black")
_FLAT = 1e-3  # per ms: exponents below this are coloured in proportion, larger ones by their logarithm


def figure(result: StateMap) -> Any:
    """Three panels over the same plane; the names of the states that occur stand beside the first."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import SymLogNorm

    whole, panels = plt.subplots(1, 3, figsize=(12.5, 3.6), sharey=True, layout="constrained")
    kinds, largest, frequency = panels
    _kinds(result, kinds)
    exponents = result.exponents[..., 0]
    scale = float(np.nanmax(np.abs(exponents), initial=10 * _FLAT))
    norm = SymLogNorm(_FLAT, vmin=-scale, vmax=scale)  # chaos is weak beside the return to rest
    _image(result, largest, exponents, "largest exponent (1/ms)", dict(cmap="RdBu_r", norm=norm))
    _image(result, frequency, result.frequencies_hz, "frequency (Hz)", dict(cmap="viridis"))
    kinds.set_ylabel(result.labels[1])
    return whole


def _kinds(result: StateMap, ax: Any) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    codes = result.codes
    ax.pcolormesh(
        *result.values, codes.T, cmap=ListedColormap(_COLOURS), vmin=-0.5, vmax=len(KINDS) - 0.5, shading="nearest"
    )
    handles = [Patch(color=_COLOURS[code], label=KINDS[code]) for code in np.unique(codes)]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8)
    ax.set_xlabel(result.labels[0])


def _image(result: StateMap, ax: Any, values: np.ndarray, label: str, style: dict[str, Any]) -> None:
    image = ax.pcolormesh(*result.values, values.T, shading="nearest", **style)
    ax.figure.colorbar(image, ax=ax)
    ax.set_title(label, fontsize=10)  # beside the colours it would seem to name the next panel
    ax.set_xlabel(result.labels[0])
