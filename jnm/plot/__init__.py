"""Pictures: each function draws on `ax` (or a new figure) and returns the Figure.

Colours are told apart by readers with colour-blindness (Okabe & Ito 2008), labels carry units, nothing is shown: in
Jupyter the returned Figure appears by itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jnm.plot.connectome import connectome as connectome
from jnm.plot.sweep import sweep as sweep

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8A8A"


def colours(count: int) -> list[Any]:
    """So many different colours: jnm's own and black while they last, else along viridis."""
    from matplotlib import colormaps

    own = [BLUE, ORANGE, GREEN, RED, GREY, "black"]
    return own[:count] if count <= len(own) else list(colormaps["viridis"](np.linspace(0.0, 0.9, count)))


def axes(ax: Any = None, size: tuple[float, float] = (6.0, 3.5)) -> Any:
    """The given axes, or those of a new figure."""
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plain_numbers(axis: Any) -> None:
    """Write 1, 2 and 5 of each decade on a logarithmic axis, as people do: 0.5, 20."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def activity(ts: Float[np.ndarray, " time"], x: Float[np.ndarray, "time region"], label: str, ax: Any = None):
    """A network's activity as an image, regions upwards, time in ms; `label` names the quantity and its unit."""
    ax = axes(ax)
    spread = np.percentile(np.abs(x - x.mean(axis=0)), 99)
    image = ax.pcolormesh(
        ts, np.arange(x.shape[1]), (x - x.mean(axis=0)).T, cmap="RdBu_r", vmin=-spread, vmax=spread, rasterized=True
    )
    ax.set(xlabel="time (ms)", ylabel="region")
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.01)
    return ax.figure


def spectra(
    f_hz: Float[np.ndarray, " frequency"],
    densities: dict[str, Float[np.ndarray, "frequency channel"]],
    unit: str,
    ax: Any = None,
):
    """Median and middle half over channels of one-sided densities, as amplitude densities in `unit`/sqrt(Hz)."""
    ax = axes(ax)
    shades = (GREY, ORANGE, BLUE, GREEN, RED) if len(densities) <= 5 else colours(len(densities))
    for (name, density), colour in zip(densities.items(), shades, strict=False):
        low, middle, high = np.sqrt(np.percentile(density, [25, 50, 75], axis=1))
        ax.fill_between(f_hz, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(f_hz, middle, color=colour, label=name)
    ax.set(xlabel="frequency (Hz)", ylabel=f"amplitude density ({unit}/√Hz)", yscale="log", xlim=(f_hz[0], f_hz[-1]))
    ax.legend(frameon=False)
    return ax.figure


def topography(
    layout: Float[np.ndarray, "channel 2"],
    values: Float[np.ndarray, " channel"],
    label: str,
    ax: Any = None,
    limit: float | None = None,
):
    """A map over the helmet seen from above, nose up; channels are dots, values in between are interpolated.

    With a `limit` the colours are signed and run from -limit to limit.
    """
    from matplotlib.ticker import MaxNLocator
    from matplotlib.tri import Triangulation

    ax = axes(ax, size=(3.6, 3.2))
    levels = 24 if limit is None else np.linspace(-limit, limit, 24)
    colours = "viridis" if limit is None else "RdBu_r"
    image = ax.tricontourf(Triangulation(*layout.T), values, levels=levels, cmap=colours, extend="both")
    ax.plot(*layout.T, ".", color="black", ms=1.5)
    span = np.ptp(layout, axis=0).max() / 2
    centre = layout.mean(axis=0)
    ax.plot(
        centre[0] + span * np.array([-0.08, 0, 0.08]),
        layout[:, 1].max() + span * np.array([0.05, 0.15, 0.05]),
        color="black",
        lw=1,
    )
    ax.set(aspect="equal")
    ax.axis("off")
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8, ticks=MaxNLocator(6))
    return ax.figure


def losses(values: Sequence[float], ax: Any = None):
    """A loss against the step of the fit."""
    ax = axes(ax)
    ax.plot(np.asarray(values), color=BLUE)
    ax.set(xlabel="step", ylabel="loss", yscale="log")
    return ax.figure


def recovery(
    names: Sequence[str],
    truth: np.ndarray,
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    estimate: np.ndarray,
    ax: Any = None,
):
    """Estimates with intervals beside starts, relative to the truth."""
    ax = axes(ax)
    rows = np.arange(len(names))[::-1]
    ax.axvline(1.0, color=GREY, lw=1)
    ax.plot(start / truth, rows, "o", mfc="white", color=ORANGE, label="start")
    ax.errorbar(
        estimate / truth,
        rows,
        xerr=np.abs(np.stack([estimate - low, high - estimate])) / truth,
        fmt="o",
        color=BLUE,
        capsize=3,
        label="fit, 90 % interval",
    )
    ax.set(yticks=rows, yticklabels=list(names), xlabel="value / truth", ylim=(-1.3, len(names) - 0.4))
    ax.legend(frameon=False, loc="lower center", ncols=2)
    return ax.figure
