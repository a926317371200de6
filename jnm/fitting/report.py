"""report(): estimates with their intervals, or the reason why there is none, and how the fit went.

Intervals are computed for theta (`jnm.fitting.uncertainty`) and mapped through each parameter's domain, so they never
leave it and need not be symmetric.
"""

import dataclasses
import html
from typing import Any, NamedTuple

import jax
import jax.tree_util as jtu
import numpy as np
from jax.flatten_util import ravel_pytree

from jnm._param import Domain, Interval
from jnm.fitting.fit import Fit
from jnm.fitting.identifiability import information
from jnm.fitting.loss import AbstractLikelihood, AbstractLoss, AbstractResidualLoss
from jnm.fitting.uncertainty import Uncertainty, of_likelihood, uncertainty

_AT_BOUND = 0.01  # of an interval's width: nearer than this the logistic function hardly lets theta move the parameter
_REPORT_KEYS = 2**32 - 1  # folded into the fit's key: keys that neither its steps nor its judging used
_WORD_FOR_FAR = 1.0  # standard deviations still to go that are worth a word


class Row(NamedTuple):
    """One parameter, or one element of it."""

    name: str
    unit: str
    start: float
    estimate: float
    interval: tuple[float, float] | None
    """At the report's level; None with the `reason` why there is none."""
    reason: str
    at_bound: bool
    """Whether the estimate lies within a hundredth of its domain's width of an end of it."""
    spread: tuple[float, float] | None
    """Lowest and highest estimate over several starts."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What `fit.report()` returns: print it, show it in Jupyter, or use `rows` and `report["node.eta"]`."""

    rows: tuple[Row, ...]
    level: float
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r} was not fitted; there are {', '.join(row.name for row in self.rows)}.")

    def __str__(self) -> str:
        lines = self._cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*table, *self.notes])

    def _repr_html_(self) -> str:
        def line(tag: str, cells: tuple[str, ...]) -> str:
            marked = (f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells)
            return f"<tr>{''.join(marked)}</tr>"

        head, *body = self._cells()
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<table>{line('th', head)}{''.join(line('td', cells) for cells in body)}</table>{notes}"

    def _cells(self) -> list[tuple[str, ...]]:
        several = any(row.spread for row in self.rows)
        head = ("parameter", "unit", "start", "estimate", f"{self.level:.0%} interval")
        return [head + ("over starts",) * several, *(_cells(row, several) for row in self.rows)]


def report(fit: Fit, level: float, keys: int) -> Report:
    """The report of a fit; see `Fit.report`. Raises `ValueError` unless 0 < level < 1 and keys >= 2."""
    if not 0 < level < 1 or keys < 2:
        raise ValueError(f"report: level = {level}, keys = {keys}; wanted 0 < level < 1 and at least 2 keys.")
    known, reason = _uncertainty(fit, keys)
    intervals = [(None, reason)] * len(fit.build.labels) if known is None else _intervals(fit, known, level)
    bounds, units = _by_element(fit, fit.build.domains), _by_element(fit, fit.build.units)
    columns = (
        fit.build.labels,
        units,
        _values(fit, fit.start),
        _values(fit, fit.theta),
        intervals,
        bounds,
        _spread(fit),
    )
    rows = (
        Row(label, unit, start, estimate, interval, why, _at_bound(domain, estimate), spread)
        for label, unit, start, estimate, (interval, why), domain, spread in zip(*columns, strict=True)
    )
    return Report(tuple(rows), level, tuple(_notes(fit, known)))


def _uncertainty(fit: Fit, keys: int) -> tuple[Uncertainty | None, str]:
    """The uncertainty of the estimates, or why there is none."""
    if isinstance(fit.loss, AbstractLikelihood) and np.isfinite(fit.best_loss):
        return of_likelihood(fit.loss, fit.build, fit.theta), ""
    terms = fit.loss.terms() if isinstance(fit.loss, AbstractLoss) else ((1.0, fit.loss),)
    if not all(isinstance(term, AbstractResidualLoss) for _, term in terms):
        return None, "the loss has a term without residuals"
    if not np.isfinite(fit.best_loss):
        return None, "the loss is not finite"
    known = uncertainty(terms, fit.build, fit.theta, jax.random.split(jax.random.fold_in(fit.key, _REPORT_KEYS), keys))
    if not np.all(np.isfinite(known.covariance)):
        return None, "a simulation or its gradient at the estimate is not finite"
    if known.freedom <= 0:
        return None, "fewer independent data than parameters"
    return known, ""


def _intervals(fit: Fit, known: Uncertainty, level: float) -> list[tuple[tuple[float, float] | None, str]]:
    from scipy.special import stdtrit

    half = stdtrit(known.freedom, (1 + level) / 2) * np.sqrt(np.maximum(np.diag(known.covariance), 0.0))
    flat, unravel = ravel_pytree(fit.theta)
    low, high = (_values(fit, unravel(flat + sign * half.astype(flat.dtype))) for sign in (-1, 1))
    reasons = dict.fromkeys(np.flatnonzero(~np.isfinite(np.add(low, high))), "not identified") | _blind(fit, known)
    return [(None, reasons[i]) if i in reasons else (ends, "") for i, ends in enumerate(zip(low, high, strict=True))]


def _blind(fit: Fit, known: Uncertainty) -> dict[int, str]:
    """Why parameters that the loss cannot tell get no interval."""
    labels, reasons = fit.build.labels, {}
    for group in known.blind:
        for i in group:
            others = [labels[j] for j in group if j != i]
            reasons[i] = f"not told apart from {', '.join(others)}" if others else "no influence on the loss is seen"
    return reasons


def _values(fit: Fit, theta: Any) -> list[float]:
    """The parameters that theta stands for, element by element, in the order of the flattened theta."""
    values = fit.build.values(theta)
    return [float(x) for name in fit.build.names for x in np.ravel(values[name])]


def _by_element(fit: Fit, by_name: dict[str, Any]) -> list[Any]:
    sizes = [np.size(x) for x in jtu.tree_leaves(fit.theta)]
    return [by_name[name] for name, size in zip(fit.build.names, sizes, strict=True) for _ in range(size)]


def _at_bound(domain: Domain, value: float) -> bool:
    if not isinstance(domain, Interval):
        return False
    place = (value - domain.low) / (domain.high - domain.low)
    return not _AT_BOUND <= place <= 1 - _AT_BOUND


def _spread(fit: Fit) -> list[tuple[float, float] | None]:
    if not fit.starts:
        return [None] * len(fit.build.labels)
    estimates = np.array([_values(one, one.theta) for one in fit.starts])
    return [(float(x.min()), float(x.max())) for x in estimates.T]


def _notes(fit: Fit, known: Uncertainty | None) -> list[str]:
    norms = fit.gradient_norms[~fit.skipped]
    notes = [
        f"loss {fit.start_loss:.4g} -> {fit.best_loss:.4g}, best after step {fit.best_step} of {len(fit.losses)}; "
        f"{fit.stopped}",
        f"steps skipped because something was not finite: {int(fit.skipped.sum())}",
    ]
    if norms.size:
        notes.append(f"gradient norm {norms[0]:.3g} at the start, {norms[-1]:.3g} at the end")
    if known is not None and known.remaining > _WORD_FOR_FAR:
        notes.append(
            f"NOT ARRIVED: the best point lies about {known.remaining:.1f} standard deviations further, which the "
            "intervals allow for; take more steps, a step size that decays, or more keys"
        )
    if isinstance(fit.loss, AbstractLikelihood) and known is not None:
        notes.append(str(information(fit.loss, fit.build, fit.theta)))
    if fit.starts:
        ends = sorted(one.best_loss for one in fit.starts)
        notes.append(f"{len(fit.starts)} starts ended at losses {ends[0]:.4g} to {ends[-1]:.4g}")
    return notes


def _cells(row: Row, several: bool) -> tuple[str, ...]:
    interval = (
        f"no interval: {row.reason}" if row.interval is None else f"{row.interval[0]:.4g} to {row.interval[1]:.4g}"
    )
    over = (f"{row.spread[0]:.4g} to {row.spread[1]:.4g}" if row.spread else "",) if several else ()
    bound = " (at a bound)" if row.at_bound else ""
    return (row.name, row.unit, f"{row.start:.4g}", f"{row.estimate:.4g}{bound}", interval, *over)
