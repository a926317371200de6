"""Figures of finitely many neurons: spectra by tier, quasi-cycles against n and distance, times between switches."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jnm import plot

if TYPE_CHECKING:
    from jnm.studies.finite_size import FiniteSizeSpectra, QuasiCycles, SwitchingTimes

_COLOURS = {"gaussian": plot.ORANGE, "nested": plot.BLUE, "network": plot.GREY}
_LABELS = {"gaussian": "Gaussian path", "nested": "nested ensemble", "network": "network"}


def spectra(seen: "FiniteSizeSpectra", ax: Any = None) -> Any:
    """n times the spectrum: the network as a grey band of two standard errors, models as points, linear theory black."""
    alone, ax = ax is None, plot.axes(ax)
    n, f = seen.n, seen.f_hz
    network = seen.network
    low = np.maximum(network.mean - 2 * network.error, 0.05 * network.mean)
    ax.fill_between(f, n * low, n * (network.mean + 2 * network.error), color=plot.GREY, alpha=0.35, lw=0)
    ax.plot(f, n * network.mean, color=plot.GREY, lw=1.2, label="network, ± 2 s.e.")
    ax.plot(f, n * seen.linear, color="black", lw=1, label="linear theory")
    for tier, marker in (("gaussian", "s"), ("nested", "o")):
        each = getattr(seen, tier)
        ax.errorbar(
            f, n * each.mean, n * each.error, fmt=marker, ms=2.5, lw=0.8, color=_COLOURS[tier], label=_LABELS[tier]
        )
    ax.axhline(n * seen.poisson, color=plot.RED, lw=0.8, ls=":", label="Poisson neurons")
    ax.set(xlabel="frequency (Hz)", ylabel="n × density of the rate\n(1/ms² per Hz)", yscale="log")
    if alone:
        ax.legend(frameon=False, fontsize=8)
    return ax.figure


def quasi_cycles(seen: "QuasiCycles", label: str = "parameter", axes: Any = None) -> Any:
    """Amplitudes relative to the mean, against n, and times sqrt(n) against the distance to the Hopf point."""
    import matplotlib.pyplot as plt

    left, right = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")[1] if axes is None else axes
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, max(len(seen.values), len(seen.n))))
    for k, value in enumerate(seen.values):
        scale = 100 / seen.mean[k]
        plot.axes(left).plot(seen.n, scale * seen.linear[k], color=shades[k], lw=1)
        left.errorbar(
            seen.n, scale * seen.amplitude[k], scale * seen.error[k], fmt="o", ms=4, color=shades[k],
            label=f"{label} = {value:g}, {seen.frequency_hz[k]:.0f} Hz",
        )  # fmt: skip
    left.set(xlabel="neurons n", ylabel="amplitude of the synapse\n(% of its mean)", xscale="log", yscale="log")
    plot.plain_numbers(left.yaxis)
    order = np.argsort(seen.distance)
    root = np.sqrt(seen.n)
    linear = (seen.linear * root)[order, 0]
    plot.axes(right).plot(1000 * seen.distance[order], linear, color="black", lw=1, label="linear theory")
    for j, n in enumerate(seen.n):
        right.errorbar(
            1000 * seen.distance[order], (seen.amplitude[:, j] * root[j])[order], (seen.error[:, j] * root[j])[order],
            fmt="o-", ms=4, lw=0.8, color=shades[j], label=f"n = {n:g}",
        )  # fmt: skip
    right.set(
        xlabel="distance to the Hopf point, −Re λ (1/s)", ylabel="√n × amplitude (1/ms)", xscale="log", yscale="log"
    )
    plot.plain_numbers(right.xaxis)
    plot.plain_numbers(right.yaxis)
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=8)
    return left.figure


def switching(seen: "dict[str, SwitchingTimes]", ax: Any = None, level: float = 0.9) -> Any:
    """Mean times before a switch against n; bars are confidence intervals, arrows those that are open above."""
    ax = plot.axes(ax)
    for k, (label, times) in enumerate(seen.items()):
        colour = (plot.BLUE, plot.GREY, plot.ORANGE, plot.GREEN)[k % 4]
        low, high = times.interval(level) / 1000
        known = times.switches > 0
        n, mean = times.n * 1.02**k, times.mean / 1000
        bars = np.stack([mean[known] - low[known], high[known] - mean[known]])
        ax.errorbar(n[known], mean[known], bars, fmt="o", ms=5, capsize=3, color=colour, label=label)
        ax.plot(n[~known], low[~known], "^", mfc="white", color=colour)
    ax.set(xlabel="neurons n", ylabel="mean time before a switch (s)", yscale="log")
    plot.plain_numbers(ax.yaxis)
    ax.legend(frameon=False)
    return ax.figure
