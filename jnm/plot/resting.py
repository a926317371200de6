"""Figures of ongoing activity: a rhythm and its background at one electrode, and the noise of one channel."""

from typing import Any

import numpy as np

from jnm import plot
from jnm.studies.resting.alpha import AlphaFit
from jnm.studies.resting.background import LINES, ChannelNoise


def rhythm(result: AlphaFit, ax: Any = None) -> Any:
    """Measured amplitude density, the middle 90 % of the posterior-predictive spectra, the mass and the background."""
    ax, f_hz = plot.axes(ax), result.likelihood.f_hz
    low, high = np.sqrt(np.quantile(result.predicted, (0.05, 0.95), axis=0))
    ax.fill_between(f_hz, low, high, color=plot.BLUE, alpha=0.25, lw=0, label="posterior predictive, 90 %")
    ax.plot(f_hz, np.sqrt(np.asarray(result.likelihood.I)), color="black", lw=1.2, label="measured")
    fine = np.linspace(f_hz[0], f_hz[-1], 400)
    for part, colour, label in (
        (result.brain(fine), plot.ORANGE, result.mass),
        (result.rhythm.background.psd(fine), plot.GREY, "background"),
    ):
        ax.plot(fine, np.sqrt(np.asarray(part)), color=colour, ls="--", lw=1, label=label)
    ax.set(
        xlabel="frequency (Hz)",
        ylabel="amplitude density (μV/√Hz)",
        yscale="log",
        ylim=(0.5 * low.min(), 1.5 * high.max()),
    )
    plot.plain_numbers(ax.yaxis)
    ax.set_title(f"{result.ch_name}: {result.mass}, resonates at {result.peak_hz:.1f} Hz", loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax.figure


def channel(result: ChannelNoise, ax: Any = None) -> Any:
    """Measured amplitude density on logarithmic axes, the fitted background, and the bands of mains that were left out."""
    ax, f_hz, keep = plot.axes(ax), result.f_hz, result.f_hz > 1.0
    for low, high in LINES:
        ax.axvspan(low, high, color=plot.GREY, alpha=0.15, lw=0)
    ax.plot(f_hz[keep], np.sqrt(result.density[keep]), color="black", lw=1, label="measured")
    fitted = result.likelihood.f_hz
    ax.plot(
        fitted, np.sqrt(np.asarray(result.background.psd(fitted))), color=plot.BLUE, lw=2, label="white and 1/f, fitted"
    )
    floor = float(result.background.floor)
    ax.axhline(floor, color=plot.BLUE, lw=1, ls=":", label=f"floor {floor:.1f} {result.unit}/√Hz")
    ax.set(xlabel="frequency (Hz)", ylabel=f"amplitude density ({result.unit}/√Hz)", xscale="log", yscale="log")
    plot.plain_numbers(ax.xaxis)
    plot.plain_numbers(ax.yaxis)
    ax.legend(frameon=False, fontsize=8)
    return ax.figure
