"""Chunks as tasks of an executor: threads, processes, dask, MPI, or whatever speaks `concurrent.futures`.

A worker compiles the program at its first chunk and keeps it. Chunks go to workers as they become free, in any order,
and only the process that called `sweep` writes results down, so a worker that dies takes nothing with it but its chunk.
"""

import concurrent.futures
import dataclasses
import functools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jnm.sweeps.engine import Engine
from jnm.sweeps.task import Task

Computed = tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]  # members, their arrays, their result codes

_PIECES = 64  # chunks that chunk="auto" cuts a sweep into for workers whose number is not known
_AHEAD = 256  # chunks handed to the executor before their results are asked for


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A sweep as workers get it; equal to itself after a journey to another process."""

    task: Task
    dims: Mapping[str, Sequence[str]] | None
    microbatch: int
    name: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def chunk_for_workers(members: int, chunk: int | str, microbatch: int) -> int:
    """Members a task: those asked for, in whole microbatches."""
    wanted = -(-members // _PIECES) if chunk == "auto" else int(chunk)
    return -(-wanted // microbatch) * microbatch


def by_executor(executor: Any, job: Job, pieces: Sequence[np.ndarray]) -> Iterator[Computed]:
    """The pieces as they are finished by the executor's workers.

    Raises `RuntimeError` when the executor dies or a chunk fails in it, saying how much was done.
    """
    waiting: dict[Any, np.ndarray] = {}
    queue, done = iter(pieces), 0
    try:
        while True:
            while len(waiting) < _AHEAD and (members := next(queue, None)) is not None:
                waiting[executor.submit(work, job, members)] = members
            if not waiting:
                return
            for future in concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED).done:
                members = waiting.pop(future)
                arrays, codes = future.result()
                yield members, arrays, codes
                done += 1
    except GeneratorExit:
        raise
    except Exception as error:  # what a dead pool, cluster or worker raises is different for each kind of executor
        raise RuntimeError(
            f"sweep: the executor died, or a chunk failed in it ({type(error).__name__}: {error}). {done} of "
            f"{len(pieces)} chunks were done; with a store= they are kept, and the same sweep run again goes on. "
            "Functions for a pool of processes must be importable, not lambdas."
        ) from error
    finally:
        for future in waiting:
            future.cancel()


def work(job: Job, members: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What a worker does: arrays and result codes of some members."""
    return _engine(job)(members)


@functools.lru_cache(maxsize=1)
def _engine(job: Job) -> Engine:
    return Engine(job.task, job.task.layout(job.dims), jax.local_devices(), "auto", job.microbatch)
