"""The work of a sweep: a function on every member of a grid, in microbatches of one fixed width.

A chunk is a loop over microbatches, each a vmap over the same number of members. XLA compiles the body of the loop by
itself, so the numbers of a member do not depend on how many others are computed with it, or on how many devices.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int, PRNGKeyArray

from jnm.sweeps import output
from jnm.sweeps.grid import Grid
from jnm.sweeps.selected import SEED

MEMBERS = "members"  # the axis of the mesh


class Task(eqx.Module):
    """What is computed for each member: `fn(grid[i])`, or `fn(grid[i], grid.key(key, i))`."""

    fn: Callable[..., Any]
    grid: Grid
    key: PRNGKeyArray | None

    @classmethod
    def of(cls, fn: Callable[..., Any], grid: Grid, key: PRNGKeyArray | None) -> "Task":
        """Raises `ValueError` for what is no function, no grid or no key, for a function that needs a key, and for seeds
        that none hears of.
        """
        if not isinstance(grid, Grid):
            raise ValueError(f"sweep: the grid is a {type(grid).__name__}; make one by jnm.grid(model, where, values).")
        if not callable(fn):
            raise ValueError(f"sweep: fn = {fn!r}; wanted a function of a model, fn(model) or fn(model, key).")
        needs, takes = _use_of_key(fn)
        if needs and key is None:
            raise ValueError("sweep: fn takes a key as well as a model; give key=jax.random.key(seed).")
        if key is not None and not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
            raise ValueError(f"sweep: key = {key!r}; wanted jax.random.key(seed).")
        task = cls(fn, grid, key if takes else None)
        unheard = any(
            axis.path == SEED and axis.place is None for axis in grid.axes
        )  # a fit keeps its seed in the model
        if task.key is None and unheard:
            raise ValueError(
                "sweep: the grid has an axis of seeds, and fn gets no key, so that members of all seeds would be the same. "
                "Write fn(model, key) and give key=jax.random.key(seed)."
            )
        return task

    @property
    def name(self) -> str:
        """What a bare array that fn returns is called."""
        name = getattr(self.fn, "__name__", "")
        return name if name.isidentifier() else "value"

    def apply(self, model: Any, key: PRNGKeyArray | None) -> tuple[dict[str, Array], Int[Array, ""]]:
        """The arrays and the result code of one model."""
        return output.collect(self.call(model, key), self.name)

    def call(self, model: Any, key: PRNGKeyArray | None) -> Any:
        """What fn returns for one model."""
        return self.fn(model) if key is None else self.fn(model, key)

    def finished(self, members: np.ndarray, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of some members with what a function computes outside the compiled program, by its `finish_members`."""
        finish = getattr(self.fn, "finish_members", None)
        return arrays if finish is None else finish([self.inputs(int(i)) for i in members], arrays)

    def inputs(self, i: Any) -> tuple[Any, PRNGKeyArray | None]:
        """Model and key of a member."""
        return self.grid[i], None if self.key is None else self.grid.key(self.key, i)

    def layout(self, dims: Mapping[str, Sequence[str]] | None = None) -> output.Layout:
        """Names, shapes and axes of what one member gives."""
        taken = dict.fromkeys([*self.grid.dims, *(axis.name for axis in self.grid.axes if axis.name)])
        arrays, rest = eqx.partition(self.inputs(0), eqx.is_array)

        def call(arrays):
            return self.call(*eqx.combine(arrays, rest))

        return output.layout(call, arrays, self.name, list(taken), dims or {}, _labels(self.grid.model))


@eqx.filter_jit
def compute(task: Task, members: Int[Array, "device row lane"], rows: Int[Array, ""], mesh: Mesh) -> Any:
    """Arrays [device, row, lane, ...] and codes of some members; only the first `rows` rows of each device are computed."""

    def own_share(members, rows):
        like = jax.eval_shape(lambda i: task.apply(*task.inputs(i)), members[0, 0, 0])
        empty = jax.tree.map(lambda x: jnp.zeros((*members.shape[1:], *x.shape), x.dtype), like)

        def one_row(row, filled):
            new = jax.vmap(lambda i: task.apply(*task.inputs(i)))(members[0, row])
            return jax.tree.map(lambda whole, x: whole.at[row].set(x), filled, new)

        # The number of rows is not known to the compiler, which would otherwise unroll a loop over a single one.
        return jax.tree.map(lambda x: x[None], jax.lax.fori_loop(0, rows, one_row, empty))

    share = PartitionSpec(MEMBERS)
    return jax.shard_map(
        _traced_outside(own_share, members[:1], rows),
        mesh=mesh, in_specs=(share, PartitionSpec()), out_specs=share, check_vma=False,
    )(members, rows)  # fmt: skip


def _traced_outside(function: Callable[..., Any], *like: Array) -> Callable[..., Any]:
    """The function, traced before it is mapped over devices.

    Inside, shapes carry their sharding, and lineax (roots, least squares) takes equal ones for different: lineax#185.
    """
    program, out = jax.make_jaxpr(function, return_shape=True)(*like)
    structure, run = jax.tree.structure(out), jaxpr_as_fun(program)
    return lambda *arrays: jax.tree.unflatten(structure, run(*arrays))


def mesh_of(devices: Sequence[Any]) -> Mesh:
    """The devices in a row."""
    return Mesh(np.array(devices), (MEMBERS,))


def _use_of_key(fn: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether a function needs a key after its model, and whether it takes one: also as `key` with a default."""
    try:
        given = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return False, False  # a compiled or built-in function: taken for one of the model alone
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [p for p in given if p.kind in positional]
    needs = sum(p.default is inspect.Parameter.empty for p in taken) > 1
    return needs, needs or (len(taken) > 1 and taken[1].name == "key")


def _labels(model: Any) -> tuple[str, ...]:
    parts = jax.tree.leaves(model, is_leaf=lambda x: hasattr(x, "connectome"))
    return next((tuple(part.connectome.labels) for part in parts if hasattr(part, "connectome")), ())
