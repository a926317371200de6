"""The figure of a fitted average response: what was measured, what the network makes of it, and how far it reaches."""

from typing import Any

import numpy as np

from jnm import plot
from jnm.meg.sensors import UNITS, flatten
from jnm.studies.evoked.report import EvokedFit, Held


def figure(result: EvokedFit) -> Any:
    """Butterflies and global field power, topographies at the peak, strengths on the regions, held-out scores."""
    import matplotlib.pyplot as plt

    panels, ax = plt.subplot_mosaic(
        [["measured", "modelled", "power"], ["map", "map of model", "regions"], ["scores", "scores", "later"]],
        figsize=(13.5, 11),
        layout="constrained",
    )
    for name in ("measured", "modelled", "power", "scores", "later"):
        plot.axes(ax[name])
    evoked, kind = result.evoked, _kind(result)
    chosen = np.array([t == kind for t in evoked.ch_types])
    after = (evoked.times > 0) & (evoked.times <= result.times[-1])
    times, measured, modelled = evoked.times[after], evoked.project(evoked.data[after]), result.modelled()
    limit = 1.05 * np.abs(measured[:, chosen]).max()
    for name, ts, signals in (("measured", times, measured), ("modelled", result.times, modelled)):
        ax[name].plot(ts, signals[:, chosen], color=plot.BLUE if name == "modelled" else plot.GREY, lw=0.4, alpha=0.6)
        ax[name].set(xlabel="time (ms)", ylabel=f"field ({UNITS[kind]})", ylim=(-limit, limit))
        ax[name].set_title(f"{name}, {chosen.sum()} {_NAMES.get(kind, kind)}", loc="left", fontsize=10)
    _power(result, ax["power"])
    peak = float(result.times[np.argmax(np.sum(evoked.at(result.times) ** 2, axis=1))])
    layout = flatten(evoked.positions[chosen])
    for name, ts, signals in (("map", times, measured), ("map of model", result.times, modelled)):
        now = signals[np.argmin(np.abs(ts - peak))][chosen]
        plot.topography(layout, now, f"field ({UNITS[kind]})", ax[name], limit=np.abs(measured[:, chosen]).max())
        ax[name].set_title(f"{'modelled' if 'model' in name else 'measured'} at {peak:.0f} ms", loc="left", fontsize=10)
    _regions(result, ax["regions"])
    _scores({s.method: s.unseen for s in result.scores}, "sites held out", ax["scores"])
    _scores(
        {s.method: s.later for s in result.scores}, f"{result.split:g}-{result.times[-1]:g} ms held out", ax["later"]
    )
    panels.suptitle(f"{evoked.condition}, {evoked.averages} trials", fontsize=11)
    return panels


_NAMES = {"mag": "magnetometers", "grad": "gradiometers", "eeg": "electrodes"}


def _kind(result: EvokedFit) -> str:
    kinds = result.evoked.ch_types
    return "mag" if "mag" in kinds else kinds[0]


def _power(result: EvokedFit, ax: Any) -> None:
    """Root mean square over whitened dimensions: noise alone is at 1."""
    z = result.evoked.at(result.times)
    ours = result.moments @ result.evoked.whiten_lead_field(result.lead).T
    for label, signal, colour in (
        ("measured", z, plot.GREY), ("modelled", ours, plot.BLUE), ("what is left", z - ours, plot.ORANGE),
    ):  # fmt: skip
        ax.plot(result.times, np.sqrt(np.mean(signal**2, axis=1)), color=colour, label=label)
    ax.axhline(np.sqrt(result.evoked.noise_variance), color="black", lw=0.8, ls=":", label="noise")
    ax.axvline(result.split, color="black", lw=0.5)
    ax.set(xlabel="time (ms)", ylabel="rms, whitened", ylim=(0, None))
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(f"all sensors, fitted to the whole window ({result.explained:.0%} explained)", loc="left", fontsize=10)


def _regions(result: EvokedFit, ax: Any) -> None:
    """Peak moments of the regions, seen from above."""
    x, y, _ = np.asarray(result.lead.region_positions).T
    peak = result.moments[np.argmax(np.abs(result.moments), axis=0), np.arange(len(x))]
    limit = np.abs(peak).max()
    dots = ax.scatter(
        x, y, c=peak, s=15 + 150 * np.abs(peak) / limit, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolor=plot.GREY
    )
    ax.set(aspect="equal", xlabel="left - right (mm)", ylabel="back - front (mm)")
    ax.figure.colorbar(dots, ax=ax, label="peak moment (nA m)", shrink=0.8)
    ax.set_title("regions, from above", loc="left", fontsize=10)


def _scores(held: dict[str, Held | None], title: str, ax: Any) -> None:
    """Held-out shares with two standard errors; what predicts worse than a quarter below nothing is cut off."""
    methods = {name: value for name, value in held.items() if value is not None and name != "nothing"}
    rows = np.arange(len(methods))[::-1]
    shares, errors = np.array([(h.share, h.error) for h in methods.values()]).T
    colours = [plot.BLUE if name == "network" else plot.GREY for name in methods]
    ax.barh(rows, shares, color=colours, height=0.6)
    ax.errorbar(shares, rows, xerr=2 * errors, fmt="none", color="black", capsize=3, lw=1)
    ax.axvline(0, color="black", lw=0.8)
    ax.set(
        yticks=rows, yticklabels=list(methods), xlabel="share of explainable variance predicted, +- 2 s.e.",
        xlim=(max(-0.25, min(0.0, (shares - 2 * errors).min())), None),
    )  # fmt: skip
    ax.set_title(title, loc="left", fontsize=10)
