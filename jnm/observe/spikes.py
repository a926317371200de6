r"""Synchrony and variability of spike trains: Spike-contrast, Fano factor, pairwise correlation of counts.

Spike-contrast, for bins of width b that overlap by half, from half the record down to half the shortest interval
between two spikes, each 0.9 times the last:

    Theta_k  the spikes of all N trains in bin k           n_k  the trains that are active in it
    A(b) = (sum_k n_k Theta_k / sum_k Theta_k - 1) / (N - 1)          C(b) = sum_k |Theta_k+1 - Theta_k| / (2 spikes)
    S    = max_b A(b) C(b)

Trains are lists of times, not arrays of one shape, and the bins cut them; so this is NumPy in double precision, without
a gradient.

Ciba M, Isomura T, Jimbo Y, Bahmer A, Thielemann C (2018) Spike-contrast: A novel time scale independent and
multivariate measure of spike train synchrony. J Neurosci Methods 293:136-143.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike


class SpikeContrast(NamedTuple):
    """Synchrony of spike trains over time scales: see `spike_contrast`."""

    synchrony: float
    """S, the largest A C: 0 for none, 1 for equal regular trains."""
    bin: float
    """The width of bin at which it is largest, ms: the time scale of the synchrony."""
    bins: Float[np.ndarray, " scale"]
    """All widths, ms, descending."""
    curve: Float[np.ndarray, " scale"]
    """A C at each width."""


def spike_contrast(
    trains: Sequence[ArrayLike], t1: float, *, t0: float = 0.0, least_bin: float = 1.0, shrink: float = 0.9
) -> SpikeContrast:
    """How synchronous spike trains are, at the time scale at which they are most so; see the head of this file.

        >>> jnm.observe.spike_contrast([[10.0, 60.0, 110.0], [11.0, 60.0, 112.0]], t1=150.0).synchrony

    Equal to `elephant.spike_train_synchrony.spike_contrast` with `min_bin=1 * pq.ms` (its own default is 10 ms); like
    it, and unlike the authors' MATLAB code, silent trains count among the N.

    **Arguments**

    - `trains`: for each neuron its spike times, ms, ascending; those outside t0 to t1 are left out.
    - `t1`, `t0`: end and start of the record, ms.
    - `least_bin`: no bin is narrower, ms.
    - `shrink`: each width of bin over the last, between 0 and 1.

    Raises `ValueError` for fewer than two trains, times that are not ascending or finite, if no train has two spikes,
    or if no bin is left between `least_bin` and half the record.
    """
    inside = _check("spike_contrast", trains, t0, t1)
    intervals = [np.diff(times).min() for times in inside if len(times) > 1]
    if len(inside) < 2 or not intervals:
        raise ValueError(
            f"spike_contrast: {len(inside)} trains, {len(intervals)} of them with an interval between two spikes in "
            f"({t0:g}, {t1:g}) ms; wanted at least two trains, and two spikes in one of them."
        )
    widths = _widths((t1 - t0) / 2, max(min(intervals) / 2, least_bin), shrink)
    times, neuron = np.concatenate(inside), np.repeat(np.arange(len(inside)), [len(x) for x in inside])
    start, stop = t0 - min(intervals), t1 + min(intervals)
    curve = np.array([_contrast(times, neuron, len(inside), np.arange(start, stop + b / 2, b / 2)) for b in widths])
    best = int(np.argmax(curve))
    return SpikeContrast(float(curve[best]), float(widths[best]), widths, curve)


def spike_counts(
    trains: Sequence[ArrayLike], t1: float, window: float, *, t0: float = 0.0
) -> Int[np.ndarray, "window neuron"]:
    """How many spikes each neuron fires in each window of time.

        >>> counts = jnm.observe.spike_counts(trains, t1=10_000.0, window=50.0)
        >>> jnm.observe.functional_connectivity(counts)                            # every pair, not only their mean

    Whole windows from t0 on; `window` in ms, other arguments as in `spike_contrast`.

    Raises `ValueError` for times that are not ascending or finite, or a record shorter than two windows.
    """
    inside = _check("spike_counts", trains, t0, t1)
    if not 0 < window <= (t1 - t0) / 2 * (1 + 1e-9):
        raise ValueError(f"spike_counts: window = {window} ms; wanted two or more in a record of {t1 - t0:g} ms.")
    windows = int((t1 - t0) / window + 1e-9)
    index = [np.floor((times - t0) / window + 1e-9).astype(int) for times in inside]  # an edge belongs to its right
    return np.stack([np.bincount(i[i < windows], minlength=windows) for i in index], axis=1)


class Average(NamedTuple):
    """A statistic averaged over neurons or pairs, and how well the record fixes it."""

    mean: float
    standard_error: float
    """By leaving out one of (at most) 20 stretches of time after the other (jackknife): neurons share input and pairs
    share neurons, so that their scatter would say too little. Infinite if all hangs on one stretch."""


def fano_factor(trains: Sequence[ArrayLike], t1: float, window: float, *, t0: float = 0.0) -> Average:
    """Fano factor of the spike counts in windows, variance over mean, averaged over the neurons that fire.

        >>> jnm.observe.fano_factor(trains, t1=30_000.0, window=100.0).mean

    1 for a Poisson process, below for a regular one, above for bursts and slow changes of rate. Arguments and errors as
    in `spike_counts`; raises `ValueError` if no neuron fires.
    """

    def mean(counts):
        counts = counts[:, counts.any(axis=0)]
        return np.mean(counts.var(axis=0, ddof=1) / counts.mean(axis=0)) if counts.size else np.nan

    counts = spike_counts(trains, t1, window, t0=t0)
    if not counts.any():
        raise ValueError(f"fano_factor: no neuron fires between {t0:g} and {t1:g} ms.")
    return _jackknife(mean, counts)


def count_correlation(trains: Sequence[ArrayLike], t1: float, window: float, *, t0: float = 0.0) -> Average:
    """Pearson's correlation of the spike counts of two neurons in windows, averaged over all pairs.

        >>> jnm.observe.count_correlation(trains, t1=30_000.0, window=50.0)

    Neurons whose count never changes have no correlation and are left out. For z-scores z_n of the counts the mean over
    pairs is (var(sum_n z_n) - N) / (N (N - 1)). Arguments and errors as in `spike_counts`; raises `ValueError` if
    fewer than two neurons are left.
    """

    def mean(counts):
        counts = counts[:, np.ptp(counts, axis=0) > 0]
        n = counts.shape[1]
        if n < 2:
            return np.nan
        return (np.var(np.sum((counts - counts.mean(axis=0)) / counts.std(axis=0), axis=1)) - n) / (n * (n - 1))

    counts = spike_counts(trains, t1, window, t0=t0)
    varying = int(np.sum(np.ptp(counts, axis=0) > 0))
    if varying < 2:
        raise ValueError(f"count_correlation: the counts of {varying} neurons change; wanted two or more for a pair.")
    return _jackknife(mean, counts)


def _jackknife(statistic: Callable[[np.ndarray], float], counts: Int[np.ndarray, "window neuron"]) -> Average:
    """The statistic and its standard error; it gives NaN for counts that it cannot average."""
    blocks = np.array_split(np.arange(len(counts)), min(20, len(counts)))
    without = np.array([statistic(np.delete(counts, block, axis=0)) for block in blocks])
    error = np.inf if np.isnan(without).any() else np.sqrt((len(blocks) - 1) * np.var(without))
    return Average(float(statistic(counts)), float(error))


def _check(who: str, trains: Sequence[ArrayLike], t0: float, t1: float) -> list[np.ndarray]:
    """Each train's times between t0 and t1."""
    if not t1 > t0 or not len(trains):
        raise ValueError(f"{who}: {len(trains)} trains from t0 = {t0} to t1 = {t1} ms; wanted trains, and t1 after t0.")
    arrays = [np.asarray(times, float) for times in trains]
    for n, times in enumerate(arrays):
        if times.ndim != 1 or not np.all(np.isfinite(times)) or np.any(np.diff(times) < 0):
            raise ValueError(
                f"{who}: train {n}, of shape {times.shape}, is no list of finite times in ascending order; wanted for "
                "each neuron the times of its spikes, ms, sorted."
            )
    return [times[(times >= t0) & (times <= t1)] for times in arrays]


def _widths(widest: float, narrowest: float, shrink: float) -> np.ndarray:
    if not 0 < shrink < 1 or widest < narrowest:
        raise ValueError(
            f"spike_contrast: bins from {widest:g} ms, half the record, down to {narrowest:g} ms, each {shrink:g} "
            "times the last; wanted a longer record or a smaller least_bin, and 0 < shrink < 1."
        )
    widths = [widest]
    while widths[-1] * shrink >= narrowest:
        widths.append(widths[-1] * shrink)
    return np.array(widths)


def _contrast(times: np.ndarray, neuron: np.ndarray, neurons: int, edges: np.ndarray) -> float:
    """A C for the bins that each two neighbouring half bins make; times sorted by neuron, then by time."""
    half = np.minimum(np.searchsorted(edges, times, side="right") - 1, len(edges) - 2)
    spikes = np.bincount(half, minlength=len(edges) - 1)
    theta = spikes[:-1] + spikes[1:]
    first = np.append(True, (np.diff(half) > 0) | (np.diff(neuron) > 0))  # of its neuron in its half bin
    half, neuron = half[first], neuron[first]
    active = np.bincount(half, minlength=len(edges) - 1)
    twice = half[:-1][(np.diff(half) == 1) & (np.diff(neuron) == 0)]  # active in both halves of a bin, counted once
    n = active[:-1] + active[1:] - np.bincount(twice, minlength=len(edges) - 1)[:-1]
    together = (np.sum(n * theta) / np.sum(theta) - 1) / (neurons - 1)
    return float(together * np.sum(np.abs(np.diff(theta))) / (2 * len(times)))
