"""What a run gives back: labelled values, how it ended, and a record of how it was made."""

import hashlib
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jnm._optional import require

SUCCESSFUL, NOT_FINITE, OUTSIDE_DELAYS = 0, 1, 2
MESSAGES = {
    SUCCESSFUL: "the run is complete and finite",
    NOT_FINITE: "a value stopped being finite. Usual cures: a smaller dt; no noise on r (or sigma_r small), since r < 0 diverges",
    OUTSIDE_DELAYS: "a delay lies outside the range the network was built for. Cure: Network(..., speed_range=(slowest, fastest))",
}


class Final(NamedTuple):
    """Where a run ended: `simulate(..., final=solution.final)` goes on from here."""

    state: Any
    history: Float[Array, "time region"] | None
    step: Any  # number of steps of dt since t0, an integer


class Record(eqx.Module):
    """How a result was made: enough to make it again."""

    entries: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __getitem__(self, name: str) -> Any:
        return dict(self.entries)[name]

    def keys(self) -> tuple[str, ...]:
        """The names of what is recorded."""
        return tuple(name for name, _ in self.entries)

    def __str__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self.entries)


class Solution(eqx.Module):
    """The result of `simulate`, a PyTree.

    `ts` are the times of the saved states in ms (NumPy float64; the start is not among them), `ys` what was saved, time
    first, `result` a code (0 is success, see `message`), `stats` counts, `final` the end, `record` how it was made.
    """

    ys: Any
    result: Int[Array, ""]
    stats: dict[str, Any]
    final: Final
    record: Record
    start: float = eqx.field(static=True)
    interval: float = eqx.field(static=True)
    count: int = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def ts(self) -> np.ndarray:
        """Times of the saved states in ms, float64."""
        return self.start + self.interval * np.arange(1, self.count + 1)

    @property
    def message(self) -> str:
        """The result in words."""
        return MESSAGES[int(self.result)]

    def to_xarray(self):
        """An `xarray.Dataset`: dimensions time (ms), population, region (with labels), one variable a state field.

        Raises `ImportError` with the cure if xarray is absent, `ValueError` for values without a leading time axis.
        """
        xarray = require("xarray", extra="io")
        fields = _named(self.ys)
        wrong = [name for name, value in fields.items() if np.ndim(value) == 0 or np.shape(value)[0] != self.count]
        if wrong:
            raise ValueError(f"to_xarray: {', '.join(wrong)} has no time axis of {self.count} states; reductions are read directly.")
        variables, coords = {}, {"time": ("time", self.ts, {"units": "ms"})}
        for name, value in fields.items():
            dims = self._dims(name, np.asarray(value))
            variables[name] = (dims, np.asarray(value))
            if "region" in dims:
                coords["region"] = ("region", list(self.labels) or np.arange(value.shape[-1]))
            if "population" in dims:
                coords["population"] = ("population", _populations(value.shape[1]))
        attributes = {name: str(value) for name, value in self.record.entries}
        return xarray.Dataset(variables, coords, attributes)

    def _dims(self, name: str, value: np.ndarray) -> tuple[str, ...]:
        known = {1: ("time",), 3: ("time", "population", "region")}
        if value.ndim == 2:
            return ("time", "region") if self.labels and value.shape[1] == len(self.labels) else ("time", f"{name}_axis")
        return known.get(value.ndim, ("time", *(f"{name}_axis{i}" for i in range(1, value.ndim))))


def _populations(count: int) -> list[str]:
    return ["E", "I"] if count == 2 else [f"P{i}" for i in range(count)]


def _named(ys: Any) -> dict[str, Any]:
    if hasattr(ys, "_asdict"):
        return {name: value for name, value in ys._asdict().items() if value is not None}
    return dict(ys) if isinstance(ys, dict) else {"y": ys}


def fingerprint(tree: Any) -> str:
    """A short hash of a PyTree's structure and values; "traced" inside jit, vmap and grad."""
    leaves, structure = jax.tree.flatten(tree)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return "traced"
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]
