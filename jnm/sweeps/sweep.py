"""sweep(): a function on every member of a grid, in chunks, on what devices and machines there are."""

import concurrent.futures
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jnm._optional import require
from jnm._progress import progress_bar, someone_watches
from jnm._version import versions
from jnm.sweeps import identity, memory, processes
from jnm.sweeps.engine import Engine, lanes
from jnm.sweeps.executor import Computed, Job, by_executor, chunk_for_workers
from jnm.sweeps.grid import Grid
from jnm.sweeps.output import Layout, message
from jnm.sweeps.result import Kept
from jnm.sweeps.store import Store, stored_microbatch
from jnm.sweeps.task import Task


def sweep(
    fn: Callable[..., Any],
    grid: Grid,
    *,
    key: PRNGKeyArray | None = None,
    chunk: int | Literal["auto"] = "auto",
    store: str | Path | None = None,
    executor: concurrent.futures.Executor | None = None,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
    on_error: Literal["record", "raise"] = "record",
    dims: Mapping[str, Sequence[str]] | None = None,
    progress: bool | None = None,
) -> Any:
    """Apply a function to every member of a grid; the result is an `xarray.Dataset` with an axis for each swept quantity.

        >>> def rate(model, key):
        ...     return jnm.simulate(model, 1_000.0, 0.1, key=key, save_every=1.0, save=lambda t, y: y.r[0])
        >>> result = jnm.sweep(rate, jnm.grid(net, lambda m: m.coupling.gain, gains), key=jax.random.key(0))
        >>> result.r.sel(gain=10.0, method="nearest")

    **What is computed.** `fn(model)`, or `fn(model, key)` with a key of its own for each member (`Grid.key`), returns
    any PyTree of arrays. A `Solution` brings its axes; those of other arrays are called after the variable, or as
    `dims={"rate": ("region",)}` says. The Dataset has `ok` and `message` for each member: one that diverges, or returns
    a number that is not finite, neither stops nor touches its neighbours; with `on_error="raise"` it stops the sweep.

    **How.** Members are computed `chunk` at a time; "auto" cuts the sweep into 16 chunks at least, and into as many as
    it takes to fill no more than half of the memory of the `devices` (default all of this process). Out of memory, chunks
    are halved. A chunk is a loop over microbatches of `microbatch` members (8 on a processor, up to 4096 elsewhere), so
    that the same keys give the same bits whatever the chunk and the number of devices.

    **Where.** `devices` share each chunk. With an `executor`, anything of the kind of `concurrent.futures` (a pool of
    threads or processes, dask's `client.get_executor()`, MPI's), chunks are its tasks. In a program of several processes
    (`jax.distributed`) each computes its share, and each gets the whole result; a store must then lie where all see it.

    **Never lost.** With `store="sweep.zarr"` each chunk is written as it finishes, wholly or not at all, and the same
    line run again computes only what is missing, also when an axis has grown at its end. The store of another sweep
    (another function, model, key, ...) is refused. The Dataset then reads its arrays from the store when they are used.

    Raises `ValueError` for a function that returns anything but arrays of one shape, or a name the sweep needs; for more
    members than memory holds; for the store of another sweep, or a damaged one; and for impossible arguments. `OSError`
    for a store that cannot be written; `RuntimeError` for a failed member with `on_error="raise"`.
    """
    _check_choices(on_error, devices)
    require("xarray", extra="io")
    task = Task.of(fn, grid, key)
    layout = task.layout(dims)
    devices = jax.local_devices() if devices is None else list(devices)
    stored = stored_microbatch(store) if store and microbatch is None else microbatch
    width = lanes(len(grid), devices) if stored is None else stored
    if store is None:
        memory.check_result(len(grid), layout.nbytes)
    engine = Engine(task, layout, devices, chunk, width)

    def size() -> int:  # asked for only when something is left to compute: the engine compiles to find it
        return engine.chunk if executor is None else chunk_for_workers(len(grid), chunk, width)

    kept = processes.first_then_others(lambda: _kept(task, layout, store, engine, size))
    pieces = processes.own_share(kept.pieces(size))
    work = _here(engine, pieces) if executor is None else by_executor(executor, Job(task, dims, width), pieces)
    shown = (someone_watches() if progress is None else progress) and jax.process_index() == 0
    missing = sum(map(len, pieces))
    with progress_bar(missing, shown, unit="member") as bar, _Writer(kept.put) as writer:
        for members, arrays, codes in work:
            status = layout.status(arrays, codes)
            if on_error == "raise":  # before the chunk is kept: run again, the sweep stops here again
                _raise_failure(grid, layout, members, status)
            writer.put(members, arrays, status)
            bar.update(len(members))
    return kept.dataset(_attributes(task, devices, width), pieces)


def _kept(
    task: Task, layout: Layout, store: str | Path | None, engine: Engine, size: Callable[[], int]
) -> Kept | Store:
    """Where results go: into memory, or into a store."""
    if store is None:
        return Kept(layout, task.grid)
    whose = identity.identity(task, layout, engine.platform, engine.lanes)
    return Store.open(store, task.grid, layout, whose, identity.axes(task), size)


def _here(engine: Engine, pieces: Sequence[np.ndarray]) -> Iterator[Computed]:
    for members in pieces:
        yield members, *engine(members)


class _Writer:
    """Keeps one chunk in a thread of its own while the next is computed."""

    def __init__(self, keep: Callable[..., None]):
        self.keep, self.pool = keep, concurrent.futures.ThreadPoolExecutor(1)
        self.written: concurrent.futures.Future[None] | None = None

    def put(self, *chunk: Any) -> None:
        """Begin to keep a chunk, once the one before is kept; what went wrong with that is raised here."""
        if self.written is not None:
            self.written.result()
        self.written = self.pool.submit(self.keep, *chunk)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.pool.shutdown()  # waits: also where the sweep is interrupted, what was computed is kept
        if self.written is not None and kind is None:
            self.written.result()


def _raise_failure(grid: Grid, layout: Layout, members: np.ndarray, status: np.ndarray) -> None:
    failed = np.flatnonzero(status)
    if len(failed):
        first, names = int(members[failed[0]]), [v.name for v in layout.variables]
        raise RuntimeError(
            f"sweep: member {first} ({grid.where(first)}): {message(int(status[failed[0]]), names)}. "
            'on_error="record" goes on and notes it in the result.'
        )


def _check_choices(on_error: str, devices: Sequence[Any] | None) -> None:
    if devices is not None and not len(devices):
        raise ValueError("sweep: devices is empty; give some of jax.devices(), or leave it out for all.")
    if on_error not in ("record", "raise"):
        raise ValueError(f'sweep: on_error = {on_error!r}; known are "record" and "raise".')


def _attributes(task: Task, devices: Sequence[Any], microbatch: int) -> dict[str, Any]:
    """How the result was made, in words and numbers that netCDF and zarr hold."""
    seed = "none" if task.key is None else str(np.asarray(jax.random.key_data(task.key)).tolist())
    return {**versions(), "device": devices[0].platform, "key": seed, "microbatch": microbatch, "function": task.name}
