"""Maps of `jnm.studies.validity`: where Freeman masses stand for a spiking network, and what each assumption costs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jnm import plot


class _Map(NamedTuple):
    """One panel: a map over the grid, its name, colours and range or scale; `marks` are cells to circle."""

    values: np.ndarray
    label: str
    colours: str = "viridis"
    low: float | None = None
    high: float | None = None
    marks: np.ndarray | None = None
    scale: str = "linear"


def maps(found: Any) -> Any:
    """Network, conventional and modified mass driven by its spikes, and the closed loop, over p and lambda.

    Circled in the rows of the masses are the cells in which the mass cannot be told from a twin of the network at
    alpha = .01. Grey cells are not defined, because a mass diverged or hardly anyone fired.
    """
    import matplotlib.pyplot as plt

    rows = {
        "the network of spiking neurons": _network(found),
        "conventional mass (CFM), driven by the network's spikes: reconstruction, not prediction": _mass(found, "CFM"),
        "modified mass (MFM), driven by the network's spikes: reconstruction, not prediction": _mass(found, "MFM"),
        "closed loop: modified masses that make their spikes themselves": _loop(found),
    }
    whole = plt.figure(figsize=(13.0, 12.5), layout="constrained")
    a = found.attrs
    whole.suptitle(
        f"set {a['preset']}: {a['n']} neurons, {a['t1'] / 1e3:g} s of which {a['discard'] / 1e3:g} s are left out, "
        f"{a['repeats']} networks a cell"
    )
    parts: Any = whole.subfigures(len(rows), 1)
    for part, (title, row) in zip(parts, rows.items(), strict=True):
        part.suptitle(title, fontsize=11, ha="left", x=0.04)
        for ax, each in zip(part.subplots(1, len(row), sharey=True), row, strict=True):
            _draw(ax, each, found)
    return whole


def budget(found: Any, cells: Sequence[tuple[float, float]]) -> Any:
    """What each assumption costs at some cells (p, lambda): the mean potential lost, and how it moves in time."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10.5, 3.6), layout="constrained", sharey=True)
    terms = [str(name) for name in found.term.values]
    colours = (plot.BLUE, plot.ORANGE, plot.GREEN, plot.RED, plot.GREY)
    height, rows = 0.8 / len(cells), np.arange(len(terms))[::-1]
    for name, ax, label in (("budget_mean", panels[0], "mean"), ("budget_sd", panels[1], "standard deviation")):
        plot.axes(ax)
        for k, (p, fraction) in enumerate(cells):
            here = found[name].sel(p=p, fraction_excitatory=fraction, method="nearest")
            values, spread = here.mean("repeat").values, here.std("repeat").values
            place = rows + 0.4 - height * (k + 0.5)
            ax.barh(place, values, height, xerr=spread, color=colours[k % 5], label=f"p = {p:g}, λ = {fraction:g}")
        ax.axvline(0, color="black", lw=0.8)
        ax.set(xlabel=f"{label} of the potential that is lost (mV)", yticks=rows, yticklabels=terms)
    panels[1].legend(frameon=False)
    return figure


def _network(found: Any) -> list[_Map]:
    mean = found["mean"].sel(series="network").mean("repeat")
    return [
        _Map(found.rate.sel(population="E").mean("repeat").values, "excitatory rate (Hz)", scale="log"),
        _Map(found.contrast.mean("repeat").values, "Spike-contrast", low=0, high=1),
        _Map(found.median_frequency.sel(series="network").values, "median frequency (Hz)", scale="log"),
        _Map(mean.values, "mean potential (mV)"),
    ]


def _mass(found: Any, kind: str) -> list[_Map]:
    marks = {name: found[f"distinguished_by_{name}"].sel(mass=kind).values == 0 for name in ("spectrum", "correlation")}
    lag = found.lag.sel(model=kind).mean("repeat").values
    return [
        _Map(found.chi_square.sel(model=kind).values, "χ² of the spectra", "magma_r", 0, None, marks["spectrum"]),
        _Map(
            found.correlation.sel(model=kind).mean("repeat").values, "correlation", "magma", 0, 1, marks["correlation"]
        ),
        _signed(lag, "lag of the mass (ms)"),
        _signed(_error(found, found["mean"].sel(series=kind).mean("repeat")), "error of the mean (mV)"),
    ]


def _loop(found: Any) -> list[_Map]:
    return [
        _Map(found.loop_rate.sel(population="E").values, "excitatory rate (Hz)", scale="log"),
        _Map(found.loop_peak_frequency.values, "frequency of its rhythm (Hz)", scale="log"),
        _Map(found.loop_sd.values, "amplitude of its rhythm, sd (mV)", low=0),
        _signed(_error(found, found.loop_mean), "error of the mean (mV)"),
    ]


def _error(found: Any, mean: Any) -> np.ndarray:
    return (mean - found["mean"].sel(series="network").mean("repeat")).values


def _signed(values: np.ndarray, label: str) -> _Map:
    limit = float(np.nanmax(np.abs(values), initial=1e-12)) if np.any(np.isfinite(values)) else 1.0
    scale = (
        "symlog" if limit > 20 else "linear"
    )  # a conventional mass may be hundreds of mV off, a lag is 100 ms at most
    return _Map(values, label, "RdBu_r", -limit, limit, scale=scale)


def _norm(each: _Map) -> Any:
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    if each.scale == "symlog":
        return SymLogNorm(1.0, vmin=each.low, vmax=each.high)
    known = each.values[np.isfinite(each.values) & (each.values > 0)]
    if each.scale == "log" and known.size:
        return LogNorm(known.min(), max(known.max(), 1.01 * known.min()))
    return Normalize(each.low, each.high)


def _draw(ax: Any, each: _Map, found: Any) -> None:
    import matplotlib.pyplot as plt

    colours = plt.get_cmap(each.colours).with_extremes(bad="0.85")
    image = ax.imshow(
        each.values, origin="lower", aspect="auto", cmap=colours, norm=_norm(each), interpolation="nearest"
    )
    if each.marks is not None:
        y, x = np.nonzero(each.marks)
        ax.plot(x, y, "o", mfc="none", mec=plot.GREEN, mew=1.8, ms=9)
    p, fraction = found.p.values, found.fraction_excitatory.values
    ax.set(
        xticks=range(len(p)),
        xticklabels=[f"{x:g}" for x in p],
        yticks=range(len(fraction)),
        yticklabels=[f"{x:g}" for x in fraction],
        xlabel="connection probability p",
    )
    if ax.get_subplotspec().is_first_col():
        ax.set_ylabel("excitatory fraction λ")
    ax.set_title(each.label, fontsize=10)  # beside the colours it would seem to name the next panel
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    if each.scale == "log":
        plot.plain_numbers(bar.ax.yaxis)
