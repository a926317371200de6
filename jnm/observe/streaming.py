"""Histograms and extremes folded inside the loop, and several reductions in one run: memory does not grow with time.

They join `jnm.integration.running_covariance` and `running_welch`. Results are those of the same statistic over the
samples that the run would have saved.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jnm._model import State
from jnm.integration.reduction import Reduction


class Extremes(NamedTuple):
    """Smallest and largest value [...] and the times in ms at which they were first reached."""

    low: Array
    high: Array
    time_low: Array
    time_high: Array


def running_extremes(observe: Callable[[State], Array]) -> Reduction:
    """Smallest and largest value of `observe(y)`, element by element, and when; the result is an `Extremes`.

        >>> sol = jnm.simulate(net, 10_000.0, 0.1, key=key, save=running_extremes(lambda y: y.r), discard=500.0)

    A value that is not a number makes both extremes of its element not a number.
    """

    def init(y):
        x = jnp.asarray(observe(y))
        large = jnp.full(x.shape, jnp.inf, x.dtype)
        return Extremes(large, -large, jnp.zeros_like(x), jnp.zeros_like(x))

    def update(folded, t, y):
        x = observe(y)
        time = jnp.asarray(t, folded.time_low.dtype)
        return Extremes(
            jnp.minimum(folded.low, x),
            jnp.maximum(folded.high, x),
            jnp.where(x < folded.low, time, folded.time_low),
            jnp.where(x > folded.high, time, folded.time_high),
        )

    return Reduction(init, update, lambda folded: folded)


class Histogram(NamedTuple):
    """Edges [bin + 1], counts [bin, ...], and how many samples lay outside [...]."""

    edges: Float[Array, " edge"]
    counts: Int[Array, "bin ..."]
    below: Int[Array, "..."]
    above: Int[Array, "..."]


def running_histogram(observe: Callable[[State], Array], edges: Any) -> Reduction:
    """How often each element of `observe(y)` lay in each bin; the result is a `Histogram`.

        >>> sol = jnm.simulate(net, 10_000.0, 0.1, key=key, save=running_histogram(lambda y: y.r, np.linspace(0, 0.5, 51)))

    Bins hold their left edge and the last one its right edge too, as in `numpy.histogram`; what lies outside is counted
    in `below` and `above`, what is not a number nowhere. Raises `ValueError` for edges that do not increase.
    """
    edges = np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"running_histogram: edges must increase, two or more of them; got {edges}.")
    bins = len(edges) - 1

    def init(y):
        none = jnp.zeros(jnp.shape(observe(y)), jnp.int32)
        return jnp.zeros((bins, *none.shape), jnp.int32), none, none

    def update(folded, t, y):
        counts, below, above = folded
        x = jnp.asarray(observe(y))
        own = jnp.asarray(edges, x.dtype)
        place = jnp.where(x == own[-1], bins - 1, jnp.searchsorted(own, x, side="right") - 1)
        numbers = jnp.arange(bins).reshape(-1, *(1,) * x.ndim)
        hit = (numbers == place[None]) & ~jnp.isnan(x)[None]
        return counts + hit, below + (x < own[0]), above + (x > own[-1])

    return Reduction(init, update, lambda folded: Histogram(jnp.asarray(edges, float), *folded))


def together(**reductions: Reduction) -> Reduction:
    """Several reductions in one run; the result is a dict of theirs.

        >>> save = together(moments=running_covariance(lambda y: y.r[0]), range=running_extremes(lambda y: y.r))

    Raises `ValueError` for none, and for reductions made for different sampling intervals.
    """
    intervals = {r.dt for r in reductions.values() if r.dt is not None}
    if not reductions or len(intervals) > 1:
        told = f"for samples every {' and '.join(f'{dt:g} ms' for dt in sorted(intervals))}" if reductions else "none"
        raise ValueError(f"together: wanted one or more reductions for one sampling interval; got {told}.")

    def each(method: str, folded: dict[str, Any], *args: Any) -> dict[str, Any]:
        return {name: getattr(r, method)(folded[name], *args) for name, r in reductions.items()}

    return Reduction(
        lambda y: {name: r.init(y) for name, r in reductions.items()},
        lambda folded, t, y: each("update", folded, t, y),
        lambda folded: each("finish", folded),
        intervals.pop() if intervals else None,
    )
