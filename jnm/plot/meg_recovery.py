"""Figure of parameters recovered from simulated MEG: estimates against the truth, and errors with their intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jnm import plot
from jnm.studies.meg_recovery.brain import NAMES, UNITS

if TYPE_CHECKING:
    from jnm.studies.meg_recovery.result import MegRecovery

_COLOURS = (plot.GREEN, plot.BLUE, plot.RED)


def figure(recovery: "MegRecovery") -> Any:
    """Above: estimates with intervals against the truth. Below: errors of the same, subject by subject, in percent.

    Intervals that miss the truth are faint; beside them, how many hold it.
    """
    import matplotlib.pyplot as plt

    shown, ax = plt.subplots(2, len(NAMES), figsize=(3.2 * len(NAMES), 6.2), layout="constrained")
    for k, name in enumerate(NAMES):
        for view, colour in reversed(list(zip(recovery.found, _COLOURS, strict=False))):
            _against(recovery, view, k, colour, plot.axes(ax[0, k]))
        low, high = ax[0, k].get_xlim()
        ax[0, k].plot([low, high], [low, high], color=plot.GREY, lw=0.8, zorder=0)
        ax[0, k].set(xlim=(low, high), xlabel=f"true {name}{UNITS[k]}", ylabel="estimate")
        _errors(recovery, k, plot.axes(ax[1, k]))
        ax[1, k].set(xlabel=f"error of {name} (%)")
        ax[1, k].tick_params("y", length=0, labelleft=k == 0)
    for label, colour in zip(ax[1, 0].get_yticklabels(), _COLOURS, strict=False):
        label.set(color=colour)
    return shown


def _against(recovery: "MegRecovery", view: str, k: int, colour: str, ax: Any) -> None:
    truth, middle, half = recovery.truth[:, k], recovery.found[view].log_estimate[:, k], recovery.half_width(view)[:, k]
    estimate = np.exp(middle)
    ends = np.stack([estimate - np.exp(middle - half), np.exp(middle + half) - estimate])
    ax.errorbar(truth, estimate, yerr=ends, fmt="o", ms=3, lw=0.9, color=colour)


def _errors(recovery: "MegRecovery", k: int, ax: Any) -> None:
    subjects = len(recovery.log_truth)
    middles = []
    for row, (view, colour) in enumerate(zip(recovery.found, _COLOURS, strict=False)):
        y = -row * (subjects + 3.0) - np.arange(subjects)
        middles.append(y.mean())
        middle, half = recovery.error(view)[:, k], recovery.half_width(view)[:, k]
        low, error, high = (100 * np.expm1(middle + sign * half) for sign in (-1, 0, 1))
        held = recovery.covered(view)[:, k]
        for some, alpha in ((held, 0.9), (~held, 0.3)):
            ax.hlines(y[some], low[some], high[some], color=colour, lw=1.0, alpha=alpha)
        ax.plot(error, y, ".", color=colour, ms=3)
        ax.annotate(f"{held.sum()}/{subjects}", (1.0, y.mean()), xycoords=("axes fraction", "data"), color=colour)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_yticks(middles, [view.replace(", ", ",\n") for view in recovery.found])
