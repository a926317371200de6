"""What a run gives back: labelled values, how it ended, and a record of how it was made."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jnm._model import AbstractModel
from jnm._optional import require
from jnm.integration.record import Record, is_traced

SUCCESSFUL, NOT_FINITE, OUTSIDE_DELAYS, GAVE_UP = 0, 1, 2, 3
MESSAGES = {
    SUCCESSFUL: "the run is complete and finite",
    NOT_FINITE: "a value stopped being finite. Usual cures: a smaller dt; no noise on r (or a small one), since r < 0 "
    "diverges",
    OUTSIDE_DELAYS: "a delay lies outside the range the network was built for. Cure: Network(..., "
    "speed_range=(slowest, fastest))",
    GAVE_UP: "the adaptive steps became too small or too many. Usual cures: a looser tolerance; a smaller t1 if the "
    "model diverges; an implicit solver (diffrax.Kvaerno5()); fixed steps",
}


class Final(eqx.Module):
    """Where a run ended: `simulate(..., final=solution.final)` goes on from here.

    The state, the outputs of the past that delays may still reach, and the number of steps of dt since t0.
    """

    state: Any
    history: Float[Array, "time region"] | None
    step: int = eqx.field(static=True)


class Axes(NamedTuple):
    """What the axes of a solution are: times, populations and regions (0 where there is no such axis)."""

    start: float
    interval: float
    times: int
    populations: int
    regions: int
    labels: tuple[str, ...]

    @classmethod
    def of(cls, model: AbstractModel, start: float, interval: float, times: int) -> "Axes":
        """The axes of a model's states, saved every `interval` ms after `start`."""
        state = jax.eval_shape(model.init)
        output = jax.eval_shape(lambda: model.output(jnp.zeros(()), model.init())).shape
        leads = [leaf.shape[: leaf.ndim - len(output)] for leaf in jax.tree.leaves(state)]
        populations = max((lead[0] for lead in leads if len(lead) == 1), default=0)
        connectome = getattr(model, "connectome", None)
        labels = () if connectome is None else tuple(connectome.labels)
        return cls(start, interval, times, populations, sum(output), labels)

    def names(self, name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Names of the axes of a saved value, time first; an axis of another length is called after the value."""
        lead, last = (
            (shape[1:-1], ("region",)) if self.regions and shape[1:][-1:] == (self.regions,) else (shape[1:], ())
        )
        if self.populations and lead == (self.populations,):
            return ("time", "population", *last)
        return ("time", *(f"{name}_{i}" for i in range(len(lead))), *last)

    def coordinates(self) -> dict[str, Any]:
        """Labels of all named axes; those of regions are the connectome's."""
        names = ["E", "I"] if self.populations == 2 else [f"P{i}" for i in range(self.populations)]
        return {"population": names, "region": list(self.labels) or np.arange(self.regions)}


class Solution(eqx.Module):
    """The result of `simulate`, a PyTree.

    `ys` is what was saved, time first, at the times `ts` in ms (NumPy float64; the start is not among them); `result` a
    code (0 is success, see `message`), `stats` counts, `final` the end, `record` how it was made.
    """

    ys: Any
    result: Int[Array, ""]
    stats: dict[str, Any]
    final: Final
    record: Record
    axes: Axes = eqx.field(static=True)

    @property
    def ts(self) -> np.ndarray:
        """Times of the saved states in ms, float64."""
        return self.axes.start + self.axes.interval * np.arange(1, self.axes.times + 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the regions, where the model has a connectome."""
        return self.axes.labels

    @property
    def message(self) -> str:
        """The result in words."""
        return MESSAGES[int(self.result)]

    def to_xarray(self):
        """An `xarray.Dataset`: dimensions time (ms), population, region (with labels), one variable a state field.

        Raises `ImportError` with the cure if xarray is absent, `ValueError` for values without a leading time axis.
        """
        xarray = require("xarray", extra="io")
        fields = {name: np.asarray(value) for name, value in _named(self.ys).items()}
        wrong = [name for name, value in fields.items() if value.shape[:1] != (self.axes.times,)]
        if wrong:
            raise ValueError(
                f"to_xarray: {', '.join(wrong)} has no time axis of {self.axes.times} states; reductions, and runs "
                "under vmap, are read directly."
            )
        variables = {name: (self.axes.names(name, value.shape), value) for name, value in fields.items()}
        used = {dim for dims, _ in variables.values() for dim in dims}
        known = {name: (name, values) for name, values in self.axes.coordinates().items() if name in used}
        time = ("time", self.ts, {"units": "ms"})
        return xarray.Dataset(variables, {"time": time, **known}, {k: str(v) for k, v in self.record.entries})


def _named(ys: Any, name: str = "y") -> dict[str, Any]:
    """The arrays of what was saved by the names of their fields, through nested states."""
    fields = ys._asdict() if hasattr(ys, "_asdict") else ys
    if isinstance(fields, tuple | list):
        fields = {f"{name}_{i}": value for i, value in enumerate(fields)}
    if not isinstance(fields, dict):
        return {} if ys is None else {name: ys}
    named = {}
    for field, value in fields.items():
        for inner, array in _named(value, field).items():
            named[inner if inner not in named else f"{field}_{inner}"] = array
    return named


def raise_failure(solution: Solution, y0: Any, t0: float, dt: float) -> Solution:
    """The solution of a success, or one not known under a transformation; else `RuntimeError` with where and when."""
    if is_traced(solution.result) or int(solution.result) == SUCCESSFUL:
        return solution
    where = ""
    if "failed" in solution.stats and int(solution.result) == NOT_FINITE:
        step, flat = (int(x) for x in np.asarray(solution.stats["failed"]))
        where = f"at t = {t0 + step * dt:g} ms, {_place(y0, flat, solution.axes)}: "
    raise RuntimeError(f"simulate: {where}{solution.message}.")


def _place(y0: Any, flat: int, axes: Axes) -> str:
    """Field, region and population of one element of a state."""
    leaves = jax.tree_util.tree_flatten_with_path(y0)[0]
    ends = np.cumsum([leaf.size for _, leaf in leaves])
    which = int(np.searchsorted(ends, flat, side="right"))
    path, leaf = leaves[which]
    index = np.unravel_index(flat - ends[which] + leaf.size, leaf.shape)
    dims, known = axes.names("axis", (0, *leaf.shape))[1:], axes.coordinates()
    places = [f"{dim} {known[dim][i] if dim in known else i}" for dim, i in zip(dims, index, strict=True)]
    return ", ".join([jax.tree_util.keystr(path).lstrip("."), *reversed(places)])
