"""Chunks on the devices of this machine: one program, compiled once, that fills them without overflowing them."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jnm.sweeps import memory
from jnm.sweeps.output import Layout
from jnm.sweeps.task import Task, compute, mesh_of

LANES_ON_A_PROCESSOR = 8  # members of a microbatch: the width of its vector units in single precision
_LANES_ELSEWHERE = 4096  # an accelerator wants to be filled at once


def lanes(members: int, devices: Sequence[Any]) -> int:
    """The members of a microbatch: 8 on a processor, a power of two that holds the grid, up to 4096, elsewhere."""
    if devices[0].platform == "cpu":
        return LANES_ON_A_PROCESSOR
    share = max(1, -(-members // len(devices)))
    return max(LANES_ON_A_PROCESSOR, min(_LANES_ELSEWHERE, 1 << (share - 1).bit_length()))


class Engine:
    """Computes members of a task; `chunk` is how many at once."""

    def __init__(
        self,
        task: Task,
        layout: Layout,
        devices: Sequence[Any],
        chunk: int | Literal["auto"],
        microbatch: int,
    ):
        self.task, self.layout = task, layout
        self.mesh, self.lanes = mesh_of(devices), microbatch
        self.limit = memory.device_memory(devices)
        self._wanted = chunk
        if chunk != "auto" and (isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1):
            raise ValueError(f'sweep: chunk = {chunk!r}; wanted "auto" or a number of members.')
        if isinstance(microbatch, bool) or not isinstance(microbatch, int | np.integer) or microbatch < 1:
            raise ValueError(f"sweep: microbatch = {microbatch!r}; wanted a number of members.")

    @property
    def width(self) -> int:
        """Members of one microbatch on every device."""
        return self.lanes * self.mesh.size

    @property
    def platform(self) -> str:
        """The kind of device: "cpu", "gpu"."""
        return self.mesh.devices.flat[0].platform

    @property
    def chunk(self) -> int:
        """Members computed at once."""
        return self.rows * self.width

    def __call__(self, members: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Arrays [member, ...] and result codes of some members."""
        parts, begin = [], 0
        while begin < len(members):
            part = members[begin : begin + self.chunk]
            try:
                parts.append(self._computed(part))
            except jax.errors.JaxRuntimeError as error:
                self._halve(error)
                continue
            begin += len(part)
        arrays, codes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        return self.task.finished(members, arrays), codes

    def _computed(self, members: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        rows = -(-len(members) // self.width)
        padded = np.resize(members, (self.mesh.size, rows, self.lanes))  # the rest of the last row repeats the first
        numbers = np.zeros((self.mesh.size, self.rows, self.lanes), np.int32)
        numbers[:, :rows] = padded
        filled = compute(self.task, jnp.asarray(numbers), jnp.asarray(rows, jnp.int32), self.mesh)
        whole = numbers[:, :rows].size  # not -1: a variable may have an axis of length 0
        return jax.tree.map(lambda x: np.asarray(x)[:, :rows].reshape(whole, *x.shape[3:])[: len(members)], filled)

    @functools.cached_property
    def rows(self) -> int:
        """Rows of a chunk on each device; one that does not fit is made smaller, or refused if it was asked for.

        Found when it is first needed, since the program is compiled for it.
        """
        row_bytes, auto = self.lanes * self.layout.nbytes, self._wanted == "auto"
        most = -(-len(self.task.grid) // self.width)
        rows = (
            memory.rows_by_output(len(self.task.grid), self.width, row_bytes, self.limit)
            if self._wanted == "auto"
            else min(-(-int(self._wanted) // self.width), most)
        )
        fixed, whole = memory.needed(self._compiled(rows))
        share = memory.FRACTION if auto else 1.0
        if whole <= share * self.limit:
            return rows
        fit = int((share * self.limit - fixed) / max(row_bytes, 1))
        if auto and (fit >= 1 or fixed + row_bytes <= self.limit):
            return max(1, fit)
        raise ValueError(
            f"sweep: {rows * self.width} members at once need {memory.text(whole)} on each device, which has "
            f"{memory.text(self.limit)}: at most {max(0, fit) * self.width} fit. Give a smaller chunk or microbatch, or "
            "save less (save_every, a jnm.Reduction)."
        )

    def _compiled(self, rows: int) -> Any:
        numbers = jnp.zeros((self.mesh.size, rows, self.lanes), jnp.int32)
        return compute.lower(self.task, numbers, jnp.asarray(rows, jnp.int32), self.mesh).compile().compiled

    def _halve(self, error: Exception) -> None:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        if self.rows == 1:
            raise ValueError(
                f"sweep: the device ran out of memory with {self.width} members, one microbatch; give a smaller "
                f"microbatch, or save less. It said: {error}"
            ) from error
        self.rows //= 2
        warnings.warn(f"sweep: out of memory; chunks are now of {self.chunk} members.", RuntimeWarning, stacklevel=2)
