"""Figures of the whole chain: the chain in one picture, spectra by way of looking, bias and intervals side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jnm import plot

if TYPE_CHECKING:
    from jnm.meg import LeadField
    from jnm.studies.whole_chain.result import WholeChain
    from jnm.studies.whole_chain.spikes import Signals

COLOURS = (plot.BLUE, plot.RED, plot.GREEN)
"""Of the places."""
_WAYS = {"spikes": plot.BLUE, "mean V": plot.GREEN, "source": plot.ORANGE, "sensors": plot.RED}
_BIN = 5.0  # ms, of the rates
_SPAN = 1.5  # of a forest's axis, relative: what is further off is drawn at its edge


def picture(
    signals: "Signals", lead: "LeadField", field: Float[np.ndarray, "time channel"], *, names: Sequence[str] = ()
) -> Any:
    """Spikes, rates and v, moments, the field at the magnetometers, its map, and where the places lie.

    `signals` with a raster, `field` what the sensors measured in the same epoch, noise included, at any sampling rate.
    """
    import matplotlib.pyplot as plt

    whole, ax = plt.subplot_mosaic(
        "AAAM;BBBM;CCCT;DDDT", figsize=(12.0, 9.0), layout="constrained", gridspec_kw={"wspace": 0.04}
    )
    ts = signals.dt * np.arange(signals.moment.shape[1])
    _raster(signals, ts, ax["A"])
    for k, colour in enumerate(COLOURS[: signals.moment.shape[2]]):
        rate = _smooth(np.asarray(signals.rate[0, :, k]), round(_BIN / signals.dt))
        plot.axes(ax["B"]).plot(ts, 1000 * rate, color=colour, lw=0.9)
        moment = np.asarray(signals.moment[0, :, k])
        label = names[k] if names else None
        plot.axes(ax["C"]).plot(ts, moment - moment.mean(), color=colour, lw=0.9, label=label)
    ax["B"].set(ylabel="rate (Hz)", title=f"what spikes make: the rate of each place, in {_BIN:g} ms")
    ax["C"].set(ylabel="moment (nA m)", title="what synapses make of it: current dipoles, about their mean")
    mags = np.array([kind == "mag" for kind in lead.ch_types])
    when = ts[-1] * np.arange(len(field)) / len(field)
    plot.axes(ax["D"]).plot(when, (field - field.mean(axis=0))[:, mags], color=plot.GREY, lw=0.4, alpha=0.6)
    ax["D"].set(xlabel="time (ms)", ylabel="field (fT)", title="what the magnetometers see of that, with their noise")
    for panel in "ABC":
        ax[panel].set(xticklabels=[])
    for panel in "ABCD":
        ax[panel].set(xlim=(ts[0] + _BIN, ts[-1] - _BIN))
    if names:
        ax["C"].legend(frameon=False, ncols=3, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    _maps(signals, lead, mags, names, ax["M"], ax["T"])
    for panel in ax.values():
        panel.title.set(fontsize=10, ha="left", x=0.0)
    return whole


def _raster(signals: "Signals", ts: np.ndarray, ax: Any) -> None:
    fired = np.asarray(signals.raster)  # [time, cell, place]
    cells = fired.shape[1]
    for k in range(fired.shape[2]):
        when, who = np.nonzero(fired[:, :, k])
        plot.axes(ax).plot(ts[when], who + 1.1 * k * cells, ".", ms=1.5, mew=0, color=COLOURS[k])
    ax.set(yticks=[], ylabel="cells, from slow to fast", title="some of the cells of each place: a dot is a spike")


def _maps(signals: "Signals", lead: "LeadField", mags: np.ndarray, names: Sequence[str], above: Any, below: Any):
    """Places and magnetometers from above; the field of the moments where it is strongest."""
    sensors, places = np.asarray(lead.sensor_positions)[mags], np.asarray(lead.region_positions)
    above.plot(*sensors.T[:2], "o", mfc="white", color=plot.GREY, ms=4)
    for k, place in enumerate(places):
        above.plot(*place[:2], "o", color=COLOURS[k], ms=11)
        if names:
            above.annotate(names[k], place[:2], (0, 9), textcoords="offset points", ha="center", fontsize=9)
    above.set(aspect="equal", title="places and magnetometers from above, nose up")
    above.axis("off")
    clean = np.asarray(lead(signals.moment[0] - signals.moment[0].mean(axis=0, keepdims=True)))[:, mags]
    peak = clean[np.argmax(np.sum(clean**2, axis=1))]
    plot.topography(lead.layout()[mags], peak, "field (fT)", below, limit=float(np.abs(peak).max()))
    below.set(title="their field without noise, at its peak")


def _smooth(x: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(x, np.ones(width) / width, mode="same")  # its ends fall off


def spectra(chain: "WholeChain", axes: Any = None) -> Any:
    """Measured spectra (mean over records and rows, its standard error) over those that theory expects of the truth."""
    import matplotlib.pyplot as plt

    ax = plt.subplots(1, 4, figsize=(13, 3.0), layout="constrained", sharey=True)[1] if axes is None else axes
    for panel, (way, colour) in zip(ax, _WAYS.items(), strict=True):
        one = chain.seen[way]
        ratio = np.einsum("rfii->rfi", one.measured).real / np.einsum("fii->fi", one.expected).real[None]
        mean, error = ratio.mean(axis=(0, 2)), ratio.mean(axis=2).std(axis=0, ddof=1) / np.sqrt(len(ratio))
        plot.axes(panel).axhline(1.0, color=plot.GREY, lw=1)
        panel.fill_between(one.f_hz, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.3, lw=0)
        panel.plot(one.f_hz, mean, color=colour)
        panel.set(xlabel="frequency (Hz)", ylim=(0.5, 1.3))
        panel.set_title(way, loc="left", fontsize=10)
    ax[0].set(ylabel="measured / theory")
    return ax[0].figure


def forest(chain: "WholeChain") -> Any:
    """Every estimate with its 90 % interval, relative to the truth, a row of panels for the parameters.

    Points are records, bars intervals (faint where they miss the truth), the black mark the mean with its standard error.
    """
    import matplotlib.pyplot as plt

    names = [name for name in chain.truth if any(name in one.estimates for one in chain.seen.values())]
    figure, ax = plt.subplots(
        1, len(names), figsize=(2.0 * len(names), 1.1 + 0.95 * len(chain.seen)), layout="constrained", sharey=True
    )
    for panel, name in zip(ax, names, strict=True):
        for row, way in enumerate(chain.seen):
            _row(chain, way, name, -float(row), plot.axes(panel))
        panel.axvline(0.0, color="black", lw=0.8)
        panel.set(xlim=(-_SPAN, _SPAN), xlabel="error / truth", yticks=-np.arange(len(chain.seen)))
        panel.set_title(name, loc="left", fontsize=10)
    ax[0].set(yticklabels=list(chain.seen), ylim=(-len(chain.seen) + 0.45, 0.55))
    return figure


def _row(chain: "WholeChain", way: str, name: str, y: float, ax: Any) -> None:
    one, truth = chain.seen[way], chain.truth[name]
    if name not in one.estimates:
        ax.annotate("not told", (0.0, y), ha="center", va="center", fontsize=8, color=plot.GREY)
        return
    middle, low, high = (
        np.clip((x[name] - truth) / abs(truth), -_SPAN, _SPAN) for x in (one.estimates, one.low, one.high)
    )
    rows, held = y + np.linspace(0.3, -0.3, len(middle)), (low <= 0) & (high >= 0)
    colour = _WAYS.get(way, plot.GREY)
    ax.hlines(rows[held], low[held], high[held], color=colour, lw=1.0, alpha=0.7)
    ax.hlines(rows[~held], low[~held], high[~held], color=colour, lw=1.0, alpha=0.25)
    ax.plot(middle, rows, ".", color=colour, ms=3)
    bias, error = chain.bias(way, name)
    if abs(bias) < _SPAN:
        ax.errorbar(bias, y - 0.4, xerr=error, fmt="D", ms=4, color="black", capsize=2, lw=1.2)
