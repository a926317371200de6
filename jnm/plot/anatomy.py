"""A network against surrogates of its connectome: a panel a measure, and what emerges beside what grows."""

from typing import Any

import numpy as np

from jnm import plot
from jnm.studies.anatomy import ALONE, ITSELF, UNITS, Anatomy


def figure(result: Anatomy) -> Any:
    """Dots are surrogates, the line is the network itself, the dashed line one region alone."""
    import matplotlib.pyplot as plt

    names = list(result.measures[ITSELF])
    whole, panels = plt.subplots(
        1, len(names) + 1, figsize=(2.6 * (len(names) + 1), 3.4), layout="constrained", squeeze=False
    )
    for name, ax in zip(names, panels[0], strict=False):
        _measure(result, name, plot.axes(ax))
    _patterns(result, plot.axes(panels[0, -1]))
    return whole


def _measure(result: Anatomy, name: str, ax: Any) -> None:
    kinds = [kind for kind in result.measures if kind not in (ITSELF, ALONE)]
    for row, kind in enumerate(kinds):
        values = result.measures[kind][name]
        ax.plot(values, row + np.linspace(-0.25, 0.25, len(values)), "o", ms=3, color=plot.GREY)
        ax.plot(result.interval(kind, name), (row, row), color=plot.ORANGE, lw=2)
    ax.axvline(result.measures[ITSELF][name][0], color=plot.BLUE)
    if name in result.measures.get(ALONE, {}):
        ax.axvline(result.measures[ALONE][name][0], color="black", ls="--", lw=0.8)
    ax.set(yticks=range(len(kinds)), yticklabels=kinds, xlabel=f"{name} ({UNITS[name]})" if UNITS[name] else name)


def _patterns(result: Anatomy, ax: Any) -> None:
    eigenvalues = np.real(result.eigenvalues)
    ax.axhline(0, color="black", lw=0.8)
    ax.plot(eigenvalues, result.growth_rates, ".", color=plot.GREY)
    ax.set(xlabel="eigenvalue of the connectivity", ylabel="growth rate (1/ms)")
    if len(result.pattern):
        shares = ax.twinx()
        shares.bar(eigenvalues, result.pattern, width=0.01, color=plot.BLUE, alpha=0.6)
        shares.set(ylabel="share of the variance")
