"""The figure of a fitted average response: what was measured, what the network makes of it, and how far it reaches."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jnm import plot
from jnm.meg.sensors import UNITS, flatten
from jnm.studies.evoked.report import EvokedFit
from jnm.studies.evoked.scores import Held

_NAMES = {"mag": "magnetometers", "grad": "gradiometers", "eeg": "electrodes"}


def figure(result: EvokedFit) -> Any:
    """Butterflies and power over time; topographies at the model's peak and moments of the regions; held-out scores."""
    import matplotlib.pyplot as plt

    whole = plt.figure(figsize=(12.5, 10.5), layout="constrained")
    whole.suptitle(f"{result.evoked.condition}, average of {result.evoked.averages} trials", fontsize=12)
    rows: Any = whole.subfigures(3, 1)
    signals, maps, scores = rows
    _signals(result, *signals.subplots(1, 3))
    _maps(result, *maps.subplots(1, 3))
    end, held = result.times[-1], scores.subplots(1, 2)
    _scores({s.method: s.unseen for s in result.scores}, f"held out: sensor sites, 0-{end:g} ms", held[0])
    _scores({s.method: s.later for s in result.scores}, f"held out: {result.split:g}-{end:g} ms", held[1])
    return whole


def _titled(ax: Any, title: str) -> None:
    plot.axes(ax).set_title(title, loc="left", fontsize=10)


def _signals(result: EvokedFit, data: Any, model: Any, power: Any) -> None:
    """The channels of one kind, measured and modelled; and all of them, whitened: noise alone has a power of 1."""
    kind, chosen, measured, modelled = _channels(result)
    limit = 1.05 * np.abs(measured).max()
    for ax, x, colour, name in ((data, measured, plot.GREY, "measured"), (model, modelled, plot.BLUE, "modelled")):
        ax.plot(result.times, x, color=colour, lw=0.5, alpha=0.6)
        ax.set(xlabel="time (ms)", ylabel=f"field ({UNITS[kind]})", ylim=(-limit, limit))
        _titled(ax, f"{name}, {chosen.sum()} {_NAMES.get(kind, kind)}")
    z, ours = result.evoked.at(result.times), result.moments @ result.evoked.whiten_lead_field(result.lead).T
    for name, x, colour in (("measured", z, plot.GREY), ("left", z - ours, plot.ORANGE), ("modelled", ours, plot.BLUE)):
        power.plot(result.times, np.mean(x**2, axis=1), color=colour, label=name)
    power.axhline(result.evoked.noise_variance, color="black", lw=0.8, ls=":", label="noise")
    power.set(xlabel="time (ms)", ylabel="whitened power", ylim=(0, None))
    power.legend(frameon=False, fontsize=8, ncols=2)
    _titled(power, f"all sensors: {result.explained:.0%} explained")


def _channels(result: EvokedFit) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """One kind of channel, which they are, and their signals [time, channel], measured and modelled at the same times."""
    from scipy.interpolate import CubicSpline

    evoked = result.evoked
    kind = "mag" if "mag" in evoked.ch_types else evoked.ch_types[0]
    chosen = np.array([t == kind for t in evoked.ch_types])
    measured = CubicSpline(evoked.times, evoked.project(evoked.data))(result.times)
    return kind, chosen, measured[:, chosen], result.modelled()[:, chosen]


def _maps(result: EvokedFit, data: Any, model: Any, regions: Any) -> None:
    kind, chosen, measured, modelled = _channels(result)
    peak = int(np.argmax(np.sum(modelled**2, axis=1)))
    layout, limit = flatten(result.evoked.positions[chosen]), float(np.abs(measured[peak]).max())
    for ax, x, name in ((data, measured, "measured"), (model, modelled, "modelled")):
        plot.topography(layout, x[peak], f"field ({UNITS[kind]})", ax, limit=limit)
        _titled(ax, f"{name} at {result.times[peak]:.0f} ms, where the model peaks")
    _regions(np.asarray(result.lead.region_positions), result.moments, regions)


def _regions(positions: Float[np.ndarray, "region 3"], moments: Float[np.ndarray, "time region"], ax: Any) -> None:
    """The largest moment of each region, seen from above."""
    peak = moments[np.argmax(np.abs(moments), axis=0), np.arange(len(positions))]
    limit = np.abs(peak).max()
    dots = ax.scatter(
        *positions.T[:2], c=peak, s=15 + 150 * np.abs(peak) / limit, cmap="RdBu_r", vmin=-limit, vmax=limit,
        edgecolor=plot.GREY,
    )  # fmt: skip
    ax.set(aspect="equal", xlabel="left - right (mm)", ylabel="back - front (mm)")
    ax.figure.colorbar(dots, ax=ax, label="largest moment (nA m)", shrink=0.8)
    _titled(ax, "regions from above")


def _scores(held: dict[str, Held | None], title: str, ax: Any) -> None:
    """Held-out shares with two standard errors; far below nothing is cut off."""
    methods = {name: value for name, value in held.items() if value is not None and name != "nothing"}
    rows = np.arange(len(methods))[::-1]
    shares, errors = np.array([(h.share, h.error) for h in methods.values()]).T
    ax.barh(rows, shares, color=[plot.BLUE if name == "network" else plot.GREY for name in methods], height=0.6)
    ax.errorbar(shares, rows, xerr=2 * errors, fmt="none", color="black", capsize=3, lw=1)
    ax.axvline(0, color="black", lw=0.8)
    low, high = (shares - 2 * errors).min(), (shares + 2 * errors).max()
    ax.set(
        yticks=rows, yticklabels=list(methods), xlabel="share of explainable variance predicted, +- 2 s.e.",
        xlim=(max(-0.25, min(-0.01, 1.1 * low)), max(0.05, 1.1 * high)),
    )  # fmt: skip
    _titled(ax, title)
