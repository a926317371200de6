"""read_spikes: spikes of one's own as targets, from npz or csv, and from Neo or NWB where those libraries are there.

A file holds pairs of time and neuron. Nothing in it is executed: npz is read without pickles, csv as numbers, NWB and
what Neo reads by those libraries.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from jnm._optional import require


class Spikes(NamedTuple):
    """Spikes of n neurons in the order of time."""

    times: Float[np.ndarray, " spike"]
    """ms."""
    neurons: Int[np.ndarray, " spike"]
    """0 to n - 1."""
    n: int

    def trains(self) -> list[Float[np.ndarray, " spike"]]:
        """The times of each neuron, as `jnm.observe.spike_contrast` and its like take them."""
        order = np.argsort(self.neurons, kind="stable")
        ends = np.searchsorted(self.neurons[order], np.arange(self.n + 1))
        return [self.times[order][a:b] for a, b in pairwise(ends)]

    def rate(self, t1: float, dt: float, neurons: ArrayLike | None = None) -> Float[np.ndarray, " time"]:
        """Spikes a neuron and ms in bins of `dt` from 0 to `t1` (ms), mean over `neurons` (indices; default all).

        Raises `ValueError` for bins that do not fill the time, and neurons that do not exist.
        """
        bins = round(t1 / dt)
        chosen = np.arange(self.n) if neurons is None else np.atleast_1d(np.asarray(neurons))
        if bins < 1 or abs(bins * dt - t1) > 1e-6 * t1:
            raise ValueError(f"Spikes.rate: t1 = {t1}, dt = {dt} ms; wanted a whole number of bins.")
        if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= self.n:
            raise ValueError(f"Spikes.rate: neurons {chosen}; there are 0 to {self.n - 1}.")
        wanted = self.times[np.isin(self.neurons, chosen)]
        counts, _ = np.histogram(wanted, bins, (0.0, t1))
        return counts / (chosen.size * dt)


def as_spikes(
    times: ArrayLike, neurons: ArrayLike, n: int | None = None, *, unit: str = "ms", sort: bool = False
) -> Spikes:
    """Spikes from pairs of time and neuron, checked.

    `unit` of the times is "ms" or "s"; `n` counts silent neurons too (default: up to the last one that fires). With
    `sort` pairs may come in any order, such as neuron by neuron.

    Raises `ValueError` for no spikes, lists of different length, times that are not finite, are negative or go back, and
    neurons that are not whole numbers from 0 to n - 1.
    """
    if unit not in ("ms", "s"):
        raise ValueError(f"spikes: unit = {unit!r}; times are in 'ms' or 's'.")
    t, who = np.asarray(times, float), np.asarray(neurons)
    if t.ndim != 1 or t.shape != who.shape or not t.size:
        raise ValueError(
            f"spikes: times {list(t.shape)}, neurons {list(who.shape)}; wanted two lists of one length, not empty."
        )
    wrong = ~np.isfinite(t) | (t < 0)
    if np.any(wrong):
        raise ValueError(f"spikes: time {t[wrong][0]} is negative or not finite; count from the start of the record.")
    if not np.all(who == np.floor(who)) or who.min() < 0 or (n is not None and who.max() >= n):
        raise ValueError(
            f"spikes: neurons {who.min()} to {who.max()}; wanted whole numbers from 0 to n - 1 = {n and n - 1}."
        )
    back = np.flatnonzero(np.diff(t) < 0)
    if back.size and not sort:
        k = back[0]
        raise ValueError(
            f"spikes: times go back {len(back)} times, first from {t[k]:g} to {t[k + 1]:g} {unit} at entry {k + 2}; wanted "
            "the order of time, since disorder may be two records in one. If it is meant (neuron by neuron), give sort=True."
        )
    order = np.argsort(t, kind="stable")
    index = who.astype(int)[order]
    return Spikes(t[order] * (1.0 if unit == "ms" else 1e3), index, int(who.max()) + 1 if n is None else n)


def read_spikes(path: str | Path, *, n: int | None = None, unit: str = "ms", sort: bool = False) -> Spikes:
    """Read spikes from a file: .npz (arrays `times`, `neurons`), .csv or .txt (two columns), .nwb, or any file of Neo.

        >>> spikes = jnm.spiking.read_spikes("spikes.csv", n=10_000)
        >>> target = spikes.rate(t1=10_000.0, dt=1.0)

    `unit` is that of the times in npz and csv files, "ms" or "s"; Neo and NWB bring their own. A csv may have one line
    of headings. Files whose times are not in order, such as those written neuron by neuron, are read with `sort=True`.

    Raises `ValueError` for files that hold something else, `FileNotFoundError`, and `ImportError` with the pip line if a
    format needs a library that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"read_spikes: there is no file {path}.")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return as_spikes(*_npz(path), n, unit=unit, sort=sort)
    if suffix in (".csv", ".txt"):
        return as_spikes(*_csv(path), n, unit=unit, sort=sort)
    trains = _nwb(path) if suffix == ".nwb" else _neo(path)
    return of_trains(trains, n)


def of_trains(trains: Sequence[ArrayLike], n: int | None = None) -> Spikes:
    """Spikes from a list of times (ms) for each neuron; silent ones count. Raises as `as_spikes` does."""
    times = [np.asarray(train, float).ravel() for train in trains]
    who = np.repeat(np.arange(len(times)), [len(train) for train in times])
    return as_spikes(np.concatenate([*times, np.zeros(0)]), who, len(times) if n is None else n, sort=True)


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            found = sorted(file.files)
            if not {"times", "neurons"} <= set(found):
                raise ValueError(
                    f"read_spikes: {path.name} holds {', '.join(found) or 'nothing'}; wanted times and neurons."
                )
            return file["times"], file["neurons"]
    except (OSError, ValueError, BadZipFile) as error:
        if str(error).startswith("read_spikes"):
            raise
        raise ValueError(
            f"read_spikes: {path.name} is no npz of plain arrays ({error}); pickles are not read."
        ) from error


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    text = path.read_text(encoding="utf-8", errors="replace").replace(",", " ").replace(";", " ").splitlines()
    lines = [line.split() for line in text if line.strip() and not line.startswith("#")]
    if lines and not all(_is_number(word) for word in lines[0]):
        lines = lines[1:]  # headings
    for number, words in enumerate(lines, 1):
        if len(words) != 2 or not all(map(_is_number, words)):
            raise ValueError(
                f"read_spikes: {path.name}, entry {number}: {' '.join(words)!r}; wanted a time and a neuron."
            )
    table = np.array(lines, float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _nwb(path: Path) -> list[np.ndarray]:
    pynwb: Any = require("pynwb", "spikes")
    with pynwb.NWBHDF5IO(str(path), "r") as file:
        units = file.read().units
        if units is None:
            raise ValueError(f"read_spikes: {path.name} has no table of units, and so no spikes.")
        return [1e3 * np.asarray(units["spike_times"][k], float) for k in range(len(units))]


def _neo(path: Path) -> list[np.ndarray]:
    neo: Any = require("neo", "spikes")
    try:
        block = neo.io.get_io(str(path)).read_block()
    except Exception as error:  # Neo raises whatever its many readers raise
        raise ValueError(f"read_spikes: Neo cannot read {path.name}: {error}") from error
    trains = [train for segment in block.segments for train in segment.spiketrains]
    if not trains:
        raise ValueError(f"read_spikes: {path.name} holds no spike trains.")
    return [np.asarray(train.rescale("ms").magnitude, float) for train in trains]
