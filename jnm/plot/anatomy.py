"""A network against surrogates of its connectome: a panel a measure, spectra of envelopes, what emerges and what grows."""

from typing import Any

import numpy as np

from jnm import plot
from jnm.studies.anatomy import ALONE, ITSELF, UNITS, Anatomy

_COLUMNS = 5
_COLOURS = {"shuffled": plot.ORANGE, "rewired": plot.RED, "neighbourly": plot.GREEN, "relabelled": plot.GREY}


def figure(result: Anatomy) -> Any:
    """Dots are surrogates, bars their middle 90 %, the line is the network itself, the dashed line one region alone."""
    import matplotlib.pyplot as plt

    names = list(result.measures[ITSELF])
    rows = -(-(len(names) + 1 + 2 * bool(result.spectra)) // _COLUMNS)
    whole, panels = plt.subplots(
        rows, _COLUMNS, figsize=(2.9 * _COLUMNS, 2.9 * rows), layout="constrained", squeeze=False
    )
    free = iter(panels.ravel())
    for name in names:
        measure(result, name, next(free))
    dispersion(result, next(free))
    if result.spectra:
        envelopes(result, next(free))
        patterns(result, next(free))
    for ax in free:
        ax.remove()
    return whole


def measure(result: Anatomy, name: str, ax: Any = None) -> Any:
    """One measure of all surrogates, kind by kind."""
    ax = plot.axes(ax)
    kinds = [kind for kind in result.measures if kind not in (ITSELF, ALONE)]
    for row, kind in enumerate(kinds):
        values, low_high = result.measures[kind][name], result.interval(kind, name)
        ax.plot(values, row + np.linspace(-0.25, 0.25, len(values)), "o", ms=3, color=_COLOURS[kind])
        ax.plot(low_high, (row + 0.38, row + 0.38), color=_COLOURS[kind], lw=2)
    ax.axvline(result.measures[ITSELF][name][0], color=plot.BLUE)
    if name in result.measures.get(ALONE, {}):
        ax.axvline(result.measures[ALONE][name][0], color="black", ls="--", lw=0.8)
    ax.set(yticks=range(len(kinds)), yticklabels=kinds, xlabel=f"{name} ({UNITS[name]})" if UNITS[name] else name)
    ax.set_ylim(len(kinds) - 0.4, -0.5)
    return ax.figure


def envelopes(result: Anatomy, ax: Any = None, highest: float = 30.0) -> Any:
    """Spectra of envelopes up to `highest` Hz: medians of surrogates, the network itself with its range, one region alone."""
    ax = plot.axes(ax)
    shown = (result.slow_hz >= 0.5) & (result.slow_hz <= highest)
    f_hz = result.slow_hz[shown]
    for kind, members in result.spectra.items():
        if kind in _COLOURS:
            low, middle, high = np.quantile(members[:, shown], [0.05, 0.5, 0.95], axis=0)
            ax.fill_between(f_hz, low, high, color=_COLOURS[kind], alpha=0.2, lw=0)
            ax.plot(f_hz, middle, color=_COLOURS[kind], lw=1, label=kind)
    ax.plot(f_hz, result.spectra[ITSELF][0, shown], color=plot.BLUE, label=ITSELF)
    ax.plot(f_hz, result.spectra[ALONE][0, shown], color="black", ls="--", lw=0.8, label=ALONE)
    ax.set(xlabel="frequency of waxing and waning (Hz)", ylabel="relative envelope (1/Hz)", yscale="log")
    ax.legend(frameon=False, fontsize=8)
    return ax.figure


def dispersion(result: Anatomy, ax: Any = None) -> Any:
    """Growth rates of the network's modes; what lies above the line grows."""
    ax = plot.axes(ax)
    ax.axhline(0, color="black", lw=0.8)
    ax.plot(np.real(result.eigenvalues), result.growth_rates, ".", color=plot.BLUE)
    ax.set(xlabel="eigenvalue of the connectivity", ylabel="growth rate (1/ms)")
    return ax.figure


def patterns(result: Anatomy, ax: Any = None) -> Any:
    """Where the variance of the activity lies, and that of the envelopes of its rhythm: share of each mode."""
    ax = plot.axes(ax)
    eigenvalues = np.real(result.eigenvalues)
    for shares, label, colour in (
        (result.pattern, "activity", plot.BLUE), (result.envelope_pattern, "envelopes", plot.ORANGE)
    ):  # fmt: skip
        ax.plot(eigenvalues, shares, ".", color=colour, label=label)
    ax.set(xlabel="eigenvalue of the connectivity", ylabel="share of the variance", yscale="log")
    ax.legend(frameon=False, fontsize=8)
    return ax.figure
