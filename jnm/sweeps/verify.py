"""verify(): compute members of a stored sweep again, and say by how much they differ from what is stored."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jnm._optional import require
from jnm.sweeps import identity
from jnm.sweeps.engine import Engine
from jnm.sweeps.grid import Grid
from jnm.sweeps.store import open_store, read_record
from jnm.sweeps.task import Task


class Verification(NamedTuple):
    """How many members were computed again, the largest difference of each variable, and what is not as it was then."""

    members: int
    differences: dict[str, float]
    changed: list[str]

    @property
    def same(self) -> bool:
        """Whether every number is equal, bit for bit."""
        return not any(self.differences.values())

    def __str__(self) -> str:
        rows = [f"{name:<16} largest difference {value:.3g}" for name, value in self.differences.items()]
        told = f"Not as it was: {', '.join(self.changed)}." if self.changed else "Same function, model and versions."
        end = "Every number is the same." if self.same else "The numbers are not the same."
        return "\n".join([f"{self.members} members computed again. {told}", *rows, end])


def verify(
    store: str | Path,
    fn: Callable[..., Any],
    grid: Grid,
    *,
    key: PRNGKeyArray | None = None,
    members: int = 64,
    dims: Mapping[str, Sequence[str]] | None = None,
) -> Verification:
    """Compute up to `members` evenly spaced members of a stored sweep again and compare them with the store.

        >>> print(jnm.sweeps.verify("sweep.zarr", rate, grid, key=jax.random.key(0)))

    `fn`, `grid`, `key` and `dims` are those of the sweep; what differs from the record is told, not refused. Members
    that are not computed yet, or failed, are left out. Raises `ValueError` if there is no store, none of its members is
    computed, or its axes or variables are others, or a block is damaged, and for members < 1.
    """
    if members < 1:
        raise ValueError(f"verify: members = {members}; wanted one or more.")
    record, data, task = read_record(store), open_store(store), Task.of(fn, grid, key)
    layout = task.layout(dims)
    if record["axes"] != json.loads(json.dumps(identity.axes(task))):
        raise ValueError(f"verify: {store} was swept over other axes or values; give the grid it was made with.")
    width = record["identity"]["microbatch"]
    here = json.loads(json.dumps(identity.identity(task, layout, jax.default_backend(), width)))
    if here["variables"] != record["identity"]["variables"]:
        raise ValueError(f"verify: {store} holds {_names(record['identity'])}; the function returns {_names(here)}.")
    computed = np.flatnonzero(data["ok"].values)
    if not len(computed):
        raise ValueError(f"verify: {store} has no member that is computed and finite.")
    chosen = computed[np.unique(np.linspace(0, len(computed) - 1, min(members, len(computed))).astype(int))]
    arrays, _ = Engine(task, layout, jax.local_devices(), "auto", width)(chosen)
    at = dict(zip(grid.dims, np.unravel_index(chosen, grid.shape), strict=True))
    stored = data.isel(
        {dim: require("xarray", extra="io").DataArray(index, dims="member") for dim, index in at.items()}
    )
    try:
        different = {name: _largest(new, stored[name].values) for name, new in arrays.items()}
    except (RuntimeError, OSError) as error:  # of what decodes a chunk
        raise ValueError(
            f"verify: {store} is damaged ({error}). Run the same sweep again: it names the block, and how to mend it."
        ) from error
    return Verification(len(chosen), different, identity.differences(record["identity"], here))


def _largest(new: np.ndarray, old: np.ndarray) -> float:
    """Zero only for equal bits of value; what is finite in one alone is infinitely far."""
    if np.array_equal(new, old):
        return 0.0
    with np.errstate(invalid="ignore"):
        distance = np.abs(np.asarray(new, np.result_type(new, float)) - old)
    return float(np.max(np.where(np.isnan(distance), np.inf, distance)))


def _names(whose: dict[str, Any]) -> str:
    return ", ".join(f"{name} {shape}" for name, _, shape, _ in whose["variables"])
