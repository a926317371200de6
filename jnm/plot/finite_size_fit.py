"""The figure of fits to finite-size spectra: a record beside the truth, and the scatter of estimates beside its bound."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jnm import plot

if TYPE_CHECKING:
    from jnm.studies.finite_size_fit import SpectrumFits


def figure(fits: "SpectrumFits") -> Any:
    """Left the spectrum of the first record and the true one, right the errors of the estimates."""
    import matplotlib.pyplot as plt

    whole, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    spectrum(fits, left)
    errors(fits, right)
    return whole


def spectrum(fits: "SpectrumFits", ax: Any = None) -> Any:
    """The spectrum of one record and the one it scatters around."""
    ax = plot.axes(ax)
    ax.plot(
        fits.f_hz, fits.observed[0], color=plot.GREY, lw=0.8, label=f"a record of {fits.bound.record_ms / 1000:.3g} s"
    )
    ax.plot(fits.f_hz, fits.expected, color=plot.BLUE, label="closed loop, truth")
    ax.set(xlabel="frequency (Hz)", ylabel="density of the rate (1/ms² per Hz)", yscale="log")
    ax.legend(frameon=False)
    return ax.figure


def errors(fits: "SpectrumFits", ax: Any = None) -> Any:
    """Scatter over records of each estimate, relative, with its own standard error, and the Cramer-Rao bound."""
    ax = plot.axes(ax)
    rows, names = np.arange(len(fits.estimates))[::-1], list(fits.estimates)
    scatter = np.array([fits.scatter[name] for name in names])
    count = len(fits.estimates[names[0]])
    ax.errorbar(
        scatter, rows, xerr=scatter / np.sqrt(2 * (count - 1)), fmt="o", color=plot.BLUE, label="scatter, ± s.e."
    )
    ax.plot([fits.bound.sd[name] for name in names], rows, "|", ms=18, color="black", label="Cramér-Rao bound")
    ax.axvline(1.0, color=plot.GREY, ls=":", lw=1)
    ax.set(
        yticks=rows, yticklabels=names, xscale="log", xlabel="standard deviation / value", ylim=(-0.6, len(names) - 0.4)
    )
    ax.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))  # marks inside look like data
    return ax.figure
