"""Pictures of this room: solid is stable and dashed is not; filled points are Hopf points, open ones folds.

Each function draws on `ax`, or a new figure, and returns the Figure; results call them by `.plot()`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel, State
from jnm.stability.field import NO_TIME

if TYPE_CHECKING:
    from jnm.stability.abstract_cycle import AbstractCycle
    from jnm.stability.continuation import Branch
    from jnm.stability.cycle_branch import CycleBranch
    from jnm.stability.hopf_curve import HopfCurve
    from jnm.stability.linear_response import LinearSpectrum, TransferFunction
    from jnm.stability.lyapunov import Lyapunov
    from jnm.stability.transverse import Dispersion

Output = Callable[[Array, State], Array] | None


def bifurcations(branch: "Branch", output: Output = None, label: str = "output (1/ms)", ax: Any = None) -> Any:
    """The bifurcation diagram: rest, and the largest and smallest value of each oscillation, against the parameter."""
    from jnm import plot

    ax = plot.axes(ax)
    seen = _seen(branch.model, output)
    _line(ax, branch.value, seen(branch.state), branch.stable, "black", "rest")
    for k, cycles in enumerate(branch.cycles):
        values = _seen(branch.model, output, 2)(cycles.orbits)
        for j, extreme in enumerate((values.max(axis=1), values.min(axis=1))):
            _line(ax, cycles.value, extreme, cycles.stable, plot.BLUE, "" if k or j else "oscillation, extremes")
        _mark(ax, cycles, values.max(axis=1), plot)
    for name, points, style in (
        ("Hopf point", branch.hopf_points, dict(marker="o", color=plot.ORANGE)),
        ("fold", branch.folds, dict(marker="o", mfc="white", color=plot.ORANGE)),
    ):
        at = [(float(p.value), float(_one(branch.model, output, p.state))) for p in points]
        if at:
            ax.plot(*zip(*at, strict=True), ls="", zorder=3, label=name, **style)
    ax.set(xlabel=branch.name, ylabel=label)
    ax.legend(frameon=False)
    return ax.figure


def frequencies(cycles: "CycleBranch", ax: Any = None) -> Any:
    """The frequency of the oscillations along a branch, against the parameter."""
    from jnm import plot

    ax = plot.axes(ax)
    _line(ax, cycles.value, cycles.frequency_hz, cycles.stable, plot.BLUE, "")
    ax.autoscale(axis="y")  # over what was drawn here before, too
    ax.set(xlabel=cycles.name, ylabel="frequency (Hz)")
    ax.set_ylim(bottom=0)
    return ax.figure


def one_period(cycle: "AbstractCycle", output: Output = None, label: str = "output (1/ms)", ax: Any = None) -> Any:
    """The output along one period."""
    from jnm import plot

    ax = plot.axes(ax)
    times, values = np.asarray(cycle.times), _seen(cycle.model, output)(cycle.orbit)
    period = float(cycle.period)
    ax.plot(np.append(times, period), np.concatenate([values, values[:1]]), color=plot.BLUE)
    ax.set(xlabel="time (ms)", ylabel=label, xlim=(0, period), title=f"{1000 / period:.4g} Hz")
    return ax.figure


def bode(response: "TransferFunction", label: str = "gain", axes: Any = None) -> Any:
    """Gain and phase against frequency, one line for each number of the output; `axes` is a pair."""
    import matplotlib.pyplot as plt

    from jnm import plot

    top, bottom = plt.subplots(2, 1, figsize=(6.0, 4.5), sharex=True, layout="constrained")[1] if axes is None else axes
    f_hz = np.asarray(response.f_hz)
    gain, phase = (np.asarray(x).reshape(len(f_hz), -1) for x in (response.gain, response.phase_deg))
    for k, colour in enumerate(plot.colours(gain.shape[1])):
        plot.axes(top).plot(f_hz, gain[:, k], color=colour)
        plot.axes(bottom).plot(f_hz, phase[:, k], color=colour)
    top.set(ylabel=label, yscale="log", xlim=(f_hz[0], f_hz[-1]))
    bottom.set(xlabel="frequency (Hz)", ylabel="phase (degrees)")
    return top.figure


def spectrum(spectrum: "LinearSpectrum", label: str = "density (unit²/Hz)", ax: Any = None) -> Any:
    """A one-sided density against frequency, one line for each number of the output."""
    from jnm import plot

    ax, f_hz = plot.axes(ax), np.asarray(spectrum.f_hz)
    density = np.asarray(spectrum.value).reshape(len(f_hz), -1)
    for k, colour in enumerate(plot.colours(density.shape[1])):
        ax.plot(f_hz, density[:, k], color=colour)
    ax.set(xlabel="frequency (Hz)", ylabel=label, yscale="log", xlim=(f_hz[0], f_hz[-1]))
    return ax.figure


def border(curve: "HopfCurve", other: Any = None, other_label: str | None = None, ax: Any = None) -> Any:
    """A Hopf curve in the plane of its parameters, coloured by the frequency that is born there.

    `other` are values to show in place of the second parameter, such as its ratio to another, under `other_label`.
    """
    from matplotlib.collections import LineCollection

    from jnm import plot

    ax = plot.axes(ax)
    points = np.stack([curve.value, np.asarray(curve.other if other is None else other)], axis=1)
    pieces = LineCollection(np.stack([points[:-1], points[1:]], axis=1), cmap="viridis", lw=2.5)  # pyright: ignore[reportArgumentType]
    pieces.set_array((curve.frequency_hz[:-1] + curve.frequency_hz[1:]) / 2)
    ax.add_collection(pieces)
    ax.autoscale_view()
    ax.figure.colorbar(pieces, ax=ax, label="frequency born there (Hz)")
    ax.set(xlabel=curve.names[0], ylabel=other_label or curve.names[1])
    return ax.figure


def dispersion(found: "Dispersion", ax: Any = None) -> Any:
    """Growth rates against the real part of the connectivity's eigenvalues, coloured by frequency; above 0 it grows."""
    from jnm import plot

    ax = plot.axes(ax)
    eigenvalues, growth = np.real(found.connectivity_eigenvalues), np.asarray(found.growth_rates)
    ax.axhline(0, color="black", lw=0.8)
    ax.plot(eigenvalues, growth, color=plot.GREY, lw=0.8, zorder=1)
    dots = ax.scatter(eigenvalues, growth, c=np.asarray(found.frequencies_hz), cmap="viridis", s=22, zorder=2)
    ax.figure.colorbar(dots, ax=ax, label="frequency (Hz)")
    title = "" if len(growth) == 1 else f"{found.unstable} of {len(growth) - 1} transverse modes grow"
    ax.set(xlabel="eigenvalue of the connectivity", ylabel="growth rate (1/ms)", title=title)
    return ax.figure


def lyapunov(found: "Lyapunov", ax: Any = None) -> Any:
    """How the estimates settle: the mean growth up to each time, and two standard errors at the end."""
    from jnm import plot

    ax = plot.axes(ax)
    growth = np.asarray(found.final.growth)[round(found.discard / found.every) :] / found.every
    time = (found.discard + found.every * np.arange(1, len(growth) + 1)) / 1000
    settling = np.cumsum(growth, axis=0) / np.arange(1, len(growth) + 1)[:, None]
    ax.axhline(0, color="black", lw=0.8)
    ax.plot(time, settling, color=plot.BLUE, lw=1.2)
    ends, errors = np.asarray(found.exponents), np.asarray(found.standard_errors)
    ax.errorbar(np.full(len(ends), time[-1]), ends, 2 * errors, fmt="o", color=plot.ORANGE, capsize=3)
    late = settling[len(settling) // 20 :]
    ax.set(
        xlabel="time (s)", ylabel="Lyapunov exponents (1/ms)", title=f"start: {found.start}",
        ylim=(min(late.min(), (ends - 3 * errors).min()), max(late.max(), (ends + 3 * errors).max())),
    )  # fmt: skip
    return ax.figure


def _line(ax: Any, x: np.ndarray, y: np.ndarray, stable: np.ndarray, colour: str, label: str) -> None:
    """One line a number of y, [point, ...], solid where stable and dashed elsewhere."""
    y = np.asarray(y).reshape(len(x), -1)
    change = np.flatnonzero(np.diff(stable.astype(int))) + 1
    for first, last in zip([0, *change], [*change, len(x)], strict=True):
        piece, style = slice(first, last + 1), dict(ls="-" if stable[first] else (0, (4, 2)), color=colour, lw=1.5)
        ax.plot(x[piece], y[piece], **style, label=label if stable[first] else None)
        label = "" if stable[first] else label


def _mark(ax: Any, cycles: "CycleBranch", height: np.ndarray, plot: Any) -> None:
    """Limit points and period doublings, on the upper line."""
    for name, points, marker in (
        ("limit point of cycles", cycles.limit_points, "s"),
        ("period doubling", cycles.period_doublings, "D"),
    ):
        for point in points:
            gap = np.abs(cycles.value - point.value) / np.ptp(cycles.value) + np.abs(cycles.period / point.period - 1)
            ax.plot(point.value, height[np.argmin(gap)], marker, color=plot.GREEN, ls="", label=name, zorder=3)
            name = ""


def _seen(model: AbstractModel, output: Output, axes: int = 1) -> Callable[[State], Float[np.ndarray, "point ..."]]:
    """The output of states with so many leading axes."""

    def see(y: State) -> Array:
        return _one(model, output, y)

    for _ in range(axes):
        see = jax.vmap(see)
    return lambda states: np.asarray(jax.jit(see)(states))


def _one(model: AbstractModel, output: Output, y: State) -> Array:
    return (model.output if output is None else output)(jnp.asarray(NO_TIME), y)
