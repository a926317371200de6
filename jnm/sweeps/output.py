"""What a swept function gives: any PyTree of arrays, taken apart into named variables with named axes.

A `Solution` gives what it saved, on the axes it knows (time, population, region), and its result code; everything else
gives its arrays, named after the fields and keys that lead to them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Int

from jnm.integration.solution import MESSAGES, SUCCESSFUL, Axes, Solution

BAD_START, STUCK = 8, 9  # of a fit; the result codes of simulate are lower
NOT_FINITE_FROM = 16  # a status of 16 + k: the k-th variable is not finite
NOT_COMPUTED = -1
RESERVED = ("ok", "message", "status")

_MESSAGES = {
    **MESSAGES,
    SUCCESSFUL: "",
    NOT_COMPUTED: "not computed yet",
    BAD_START: "the loss at the start is not finite",
    STUCK: "the fit ended where steps were no longer finite; the best place before is kept",
}

Coordinate = tuple[str, Any, dict[str, str]]  # dimension, values, attributes


class Outcome(eqx.Module):
    """Arrays by name with a result code; for those that have one a unit, and which of them need not be finite."""

    values: dict[str, Array]
    code: Int[Array, ""]
    units: tuple[tuple[str, str], ...] = ()
    unchecked: tuple[str, ...] = ()


class Variable(NamedTuple):
    """One array a member: name, named axes, shape and dtype, unit, and whether the member fails if it is not finite."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    unit: str = ""
    checked: bool = True

    @property
    def nbytes(self) -> int:
        """Of one member."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def attributes(self) -> dict[str, str]:
        """As xarray and zarr take them."""
        return {"units": self.unit} if self.unit else {}


class Layout(NamedTuple):
    """All variables of a member, the coordinates of their axes, and the traced program that gives them."""

    variables: tuple[Variable, ...]
    coordinates: dict[str, Coordinate]
    program: Any

    @property
    def nbytes(self) -> int:
        """Of one member."""
        return sum(variable.nbytes for variable in self.variables)

    def status(self, arrays: Mapping[str, np.ndarray], codes: np.ndarray) -> np.ndarray:
        """For each member 0, or the code of what went wrong: the run's own, or the first variable that is not finite."""
        status = np.asarray(codes, np.int32)
        for k, variable in reversed(list(enumerate(self.variables))):
            values = arrays[variable.name]
            if variable.checked and np.issubdtype(values.dtype, np.inexact):
                finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
                status = np.where((codes == SUCCESSFUL) & ~finite, NOT_FINITE_FROM + k, status)
        return status


def message(status: int, variables: Sequence[str]) -> str:
    """A status in words; "" for success."""
    if status >= NOT_FINITE_FROM:
        return f"{variables[status - NOT_FINITE_FROM]} is not finite"
    return _MESSAGES[status]


class _Part(NamedTuple):
    name: str
    value: Any
    axes: Axes | None
    unit: str = ""
    checked: bool = True


def collect(out: Any, root: str) -> tuple[dict[str, Array], Int[Array, ""]]:
    """The arrays of what a function returned, by name, and the largest result code of the solutions in it.

    Raises `ValueError` for what is no array of numbers: words, functions, ragged lists.
    """
    parts, codes = _parts(out, root)
    arrays = {part.name: _array(part) for part in parts}
    code = jnp.max(jnp.stack(codes)) if codes else jnp.zeros((), jnp.int32)
    return arrays, code.astype(jnp.int32)


def layout(
    call: Callable[[Any], Any],
    inputs: Any,
    root: str,
    taken: Sequence[str],
    dims: Mapping[str, Sequence[str]],
    labels: Sequence[str],
) -> Layout:
    """What `call(inputs)` will give, found by tracing it once; nothing is computed.

    `inputs` are the arrays of one member, `taken` the names of the sweep's own axes, `dims` those the user gives to the axes
    of single variables, `labels` the regions of the model. Raises `ValueError` as `collect`, for names that clash, and where
    the shapes of the result depend on the values of a member.
    """
    found: list[_Part] = []

    def member(inputs):
        out = call(inputs)
        found.extend(_parts(out, root)[0])
        return collect(out, root)

    try:
        program = jax.jit(member).trace(inputs)
    except (jax.errors.ConcretizationTypeError, jax.errors.NonConcreteBooleanIndexError) as error:
        raise ValueError(
            "sweep: what fn does depends on the numbers of a member in a way that cannot be batched (a Python if, a "
            f"float(), an array whose length varies). Use jnp.where, and one shape for all. JAX says: {error}"
        ) from error
    shapes, _ = program.out_info
    if not shapes:
        raise ValueError("sweep: fn returned nothing; wanted arrays, a NamedTuple or dict of them, or a Solution.")
    unknown = sorted(set(dims) - set(shapes))
    if unknown:
        raise ValueError(f"sweep: dims names {', '.join(unknown)}, but fn returns {', '.join(shapes)}.")
    clash = sorted(set(shapes) & {*taken, *RESERVED})
    if clash:
        raise ValueError(f"sweep: fn returns {', '.join(clash)}, a name the sweep itself needs; rename it in a dict.")
    _check_names("fn returns", shapes)
    _check_names("the grid has an axis", taken)
    namer = _Namer(taken, labels)
    variables = namer.variables({part.name: part for part in found}, shapes, dims)
    return Layout(variables, namer.coordinates, program)


def _check_names(who: str, names: Iterable[str]) -> None:
    """Raise `ValueError` for names that a folder of arrays cannot hold, and those that the sweep gives itself."""
    wrong = [name for name in names if name in RESERVED or "/" in name or not name.strip(".")]
    if wrong:
        raise ValueError(f"sweep: {who} {wrong[0]!r}; wanted a name without '/', other than {', '.join(RESERVED)}.")


class _Namer:
    """Gives axes their names: each name has one length, and its coordinate if one is known."""

    def __init__(self, taken: Sequence[str], labels: Sequence[str]):
        self.lengths: dict[str, int] = dict.fromkeys(taken, -1)
        self.coordinates: dict[str, Coordinate] = {}
        self.labels = labels

    def variables(
        self, parts: Mapping[str, _Part], shapes: Mapping[str, Any], dims: Mapping[str, Sequence[str]]
    ) -> tuple[Variable, ...]:
        variables = []
        for name, like in shapes.items():
            part, shape = parts[name], like.shape
            own = self.given(name, shape, dims[name]) if name in dims else self.own(name, shape, part.axes)
            variables.append(Variable(name, own, shape, np.dtype(like.dtype), part.unit, part.checked))
        return tuple(variables)

    def own(self, name: str, shape: tuple[int, ...], axes: Axes | None) -> tuple[str, ...]:
        """By what a solution knows of its axes; of other arrays by the name of the variable and a number."""
        if axes is None:
            return tuple(self.claim(f"{name}_{i}", length, name) for i, length in enumerate(shape))
        timed = shape[:1] == (axes.times,)
        names = axes.names(name, shape) if timed else axes.names(name, (0, *shape))[1:]
        times = axes.start + axes.interval * np.arange(1, axes.times + 1)
        known = {"time": times, **axes.coordinates()}
        return tuple(self.claim(dim, n, name, known.get(dim)) for dim, n in zip(names, shape, strict=True))

    def given(self, name: str, shape: tuple[int, ...], dims: Sequence[str]) -> tuple[str, ...]:
        if isinstance(dims, str) or len(dims) != len(shape) or len(set(dims)) < len(dims):
            raise ValueError(
                f"sweep: dims of {name} are {dims!r}; its shape is {list(shape)}: give one name an axis, each its own."
            )
        _check_names(f"dims of {name} name", dims)
        clash = [dim for dim, length in zip(dims, shape, strict=True) if self.lengths.get(dim, length) != length]
        if clash:
            raise ValueError(f"sweep: dims of {name}: {', '.join(clash)} already names an axis of another length.")
        regions = {"region": self.labels} if self.labels else {}
        return tuple(self.claim(dim, n, name, regions.get(dim)) for dim, n in zip(dims, shape, strict=True))

    def claim(self, dim: str, length: int, variable: str, values: Any = None) -> str:
        """The name, with the variable's before it if another axis, of other length or values, has it already."""
        values = values if values is not None and len(values) == length else None
        other = values is not None and dim in self.coordinates and not np.array_equal(self.coordinates[dim][1], values)
        if other or self.lengths.get(dim, length) != length:
            return self.claim(f"{variable}_{dim}", length, variable, values)
        self.lengths[dim] = length
        if values is not None:
            self.coordinates[dim] = (dim, np.asarray(values), {"units": "ms"} if dim.endswith("time") else {})
        return dim


def _parts(out: Any, root: str, path: tuple[str, ...] = ()) -> tuple[list[_Part], list[Array]]:
    parts, codes = [], []
    for steps, leaf in jtu.tree_flatten_with_path(out, is_leaf=lambda x: isinstance(x, Solution | Outcome))[0]:
        here = path + tuple(map(_word, steps))
        if isinstance(leaf, Solution):
            parts += [part._replace(axes=leaf.axes) for part in _parts(leaf.ys, root, here)[0]]
            codes.append(leaf.result)
        elif isinstance(leaf, Outcome):
            units = dict(leaf.units)
            parts += [
                _Part(name, value, None, units.get(name, ""), name not in leaf.unchecked)
                for name, value in leaf.values.items()
            ]
            codes.append(leaf.code)
        else:
            parts.append(_Part("_".join(here if here and not here[0].isdigit() else (root, *here)), leaf, None))
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"sweep: fn returns two arrays of one name among {', '.join(names)}; return a dict.")
    return parts, codes


def _array(part: _Part) -> Array:
    value = part.value
    if isinstance(value, str | bytes) or callable(value):
        raise ValueError(f"sweep: fn returned {value!r} as {part.name}; wanted arrays of numbers.")
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sweep: fn returned {part.name}, which makes no array of numbers ({error}).") from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.number, jnp.bool_)):
        raise ValueError(f"sweep: fn returned {part.name} of dtype {array.dtype}; wanted numbers.")
    return array


def _word(step: Any) -> str:
    return str(getattr(step, "name", getattr(step, "key", getattr(step, "idx", ""))))
