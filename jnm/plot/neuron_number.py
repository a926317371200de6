"""Pictures of the effective number of neurons: estimates beside the truth, and where the answer is "unidentified"."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jnm import plot

if TYPE_CHECKING:
    from jnm.studies.neuron_number import NeuronNumbers


def figure(study: "NeuronNumbers") -> Any:
    """Left the estimates of all recordings with their intervals, right how wide these are; the Figure."""
    import matplotlib.pyplot as plt

    whole, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    numbers(study, left)
    widths(study, right)
    return whole


def numbers(study: "NeuronNumbers", ax: Any = None) -> Any:
    """Each recording's estimate over the truth with its interval, by condition; orange where it misses the truth."""
    ax = plot.axes(ax)
    low, high = np.moveaxis(study.ends, -1, 0)
    truth = study.truth[:, None]
    ratio, low, high = study.n / truth, low / truth, high / truth
    floor, roof = 0.1, 10.0  # chosen: a factor of ten to either side is drawn
    for k in range(len(truth)):
        order = np.argsort(study.n[k])
        places = k + np.linspace(-0.35, 0.35, len(order)) if len(order) > 1 else np.array([k])
        hit = ((low[k] <= 1) & (high[k] >= 1))[order]
        ends = np.clip(np.stack([low[k], high[k]])[:, order], floor, roof)
        for shown, colour in ((hit, plot.BLUE), (~hit, plot.ORANGE)):
            ax.vlines(places[shown], *ends[:, shown], color=colour, lw=1.5, alpha=0.6)
            inside = shown & (ratio[k][order] < roof) & (ratio[k][order] > floor)
            ax.plot(places[inside], ratio[k][order][inside], "o", ms=3.5, color=colour)
        ax.annotate(
            f"{100 * study.coverage[k]:.0f} % hold", (k, roof), xytext=(0, 3), textcoords="offset points", ha="center"
        )
    ax.axhline(1.0, color="black", lw=0.8)
    ax.set(yscale="log", ylim=(floor, roof), ylabel="neurons, estimate / truth")
    ax.set_xticks(
        range(len(truth)), [f"{x:,.0f}\nS/N {s:.2g}" for x, s in zip(study.truth, study.signal_to_noise, strict=True)]
    )
    ax.set_xlabel("true number, and signal to noise at the peak")
    return ax.figure


def widths(study: "NeuronNumbers", ax: Any = None) -> Any:
    """Share of recordings that tell the number, and the ratio of the ends of their intervals, by signal to noise."""
    ax = plot.axes(ax)
    order = np.argsort(study.signal_to_noise)
    ratio = study.signal_to_noise[order]
    with np.errstate(invalid="ignore", divide="ignore"):
        width = (study.ends[..., 1] / study.ends[..., 0])[order]
    shown = np.where(np.isfinite(width), width, np.nan)
    widest = study.found[0][0].widest
    ax.plot(np.repeat(ratio, width.shape[1]), shown.ravel(), ".", color=plot.GREY, ms=4)
    ax.axhline(widest, color=plot.RED, ls=":", lw=1.2)
    ax.annotate("unidentified above", (ratio[-1], widest), ha="right", va="bottom", color=plot.RED)
    ax.set(xscale="log", yscale="log", ylim=(1, 1e3), xlabel="signal to noise at the peak")
    ax.set_ylabel("upper / lower end of the interval", color=plot.GREY)
    share = ax.twinx()
    share.spines["top"].set_visible(False)
    share.plot(ratio, 100 * study.identified[order], "o-", color=plot.BLUE)
    share.set(ylim=(-3, 103))
    share.set_ylabel("recordings that tell the number (%)", color=plot.BLUE)
    return ax.figure
