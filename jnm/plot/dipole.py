"""Action potentials against synapses: one event of each, and the two parts of a population's moment as bands."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jnm import plot

if TYPE_CHECKING:
    from jnm.meg.action_potential import Contribution

_TITLES = {
    "morphology": "by the cell's morphology",
    "convergence": "by convergence K",
    "polarity": "by net polarity p",
    "synchrony": "by synchrony s of spikes",
}
_COLOURS = {"morphology": plot.BLUE, "convergence": plot.ORANGE, "polarity": plot.GREEN, "synchrony": plot.RED}


def figure(seen: "Contribution") -> Any:
    """Left: moments of single events over frequency. Right: how much spikes add to synapses, and why nobody knows."""
    import matplotlib.pyplot as plt

    whole = plt.figure(figsize=(11.5, 5.4), layout="constrained")
    columns: Any = whole.subfigures(1, 2, width_ratios=(0.8, 1))
    left, right = columns
    events(seen, left.subplots())
    panels = right.subplots(2, 2, sharex=True, sharey=True)
    for ax, name in zip(panels.flat, _TITLES, strict=True):
        band(seen, name, ax)
    right.supylabel("moment of spikes / of synapses", fontsize=10)
    right.supxlabel("frequency (Hz)", fontsize=10)
    return whole


def events(seen: "Contribution", ax: Any = None) -> Any:
    """|Q(f)| of one action potential and of one PSP, a band over morphologies with a line for each."""
    ax = plot.axes(ax)
    for spectra, colour, name in ((seen.spike, plot.RED, "an action potential"), (seen.psp, plot.BLUE, "a PSP")):
        ax.fill_between(seen.f_hz, spectra.min(axis=0), spectra.max(axis=0), color=colour, alpha=0.18, lw=0)
        for spectrum, cell, style in zip(spectra, seen.names, ("-", "--", ":", "-."), strict=False):
            ax.plot(seen.f_hz, spectrum, style, color=colour, lw=1.4, label=f"{name}, {cell}")
    ax.set(xscale="log", yscale="log", xlabel="frequency (Hz)", ylabel="moment of one event (fA m ms)")
    _ticks(ax, seen.f_hz)
    ax.set_title("one event in one cell", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax.figure


def band(seen: "Contribution", name: str, ax: Any = None) -> Any:
    """The part of one range in the whole band: coloured with all else at its middle, grey with all ranges open."""
    ax = plot.axes(ax)
    ax.fill_between(seen.f_hz, *seen.bands["all"], color=plot.GREY, alpha=0.22, lw=0)
    ax.fill_between(seen.f_hz, *seen.bands[name], color=_COLOURS[name], alpha=0.75, lw=0)
    ax.axhline(1.0, color="black", lw=0.8, ls=":")
    ax.annotate("as much", (seen.f_hz[0], 1.0), (3, 3), textcoords="offset points", fontsize=8)
    ax.set(xscale="log", yscale="log")
    _ticks(ax, seen.f_hz)
    low, high = seen.ranges.get(name, (None, None))
    ax.set_title(_TITLES[name] + ("" if low is None else f", {low:g} to {high:g}"), loc="left", fontsize=10)
    return ax.figure


def _ticks(ax: Any, f_hz: np.ndarray) -> None:
    """Frequencies people name, as plain numbers."""
    shown = [f for f in (1, 3, 10, 40, 80, 150, 300, 1000) if f_hz[0] <= f <= f_hz[-1]]
    ax.set_xlim(f_hz[0], f_hz[-1])
    ax.set_xticks(shown, [str(f) for f in shown])
    ax.minorticks_off()
