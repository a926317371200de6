"""grid(), zipped(), sample(): a batch of models that differ in some parameters, with named axes.

A `Grid` holds one model and the values of each axis; a member is built when it is asked for, also inside jit and vmap,
so a million members cost no more memory than the values themselves. `where` means what it means in `jnm.free`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from jnm._selection import Place, Where, put
from jnm.sweeps.design import Design, points
from jnm.sweeps.selected import SEED, Selected, check_base, check_edges, pairs

_LARGEST_SEED = 2**31 - 1


class Axis(NamedTuple):
    """One swept quantity: its name, the dimension it varies along, and where in the model it lies (None: the seed).

    An axis without a name varies along with others and is no coordinate; one with labels shows them for its values.
    """

    name: str
    dim: str
    path: str
    unit: str
    place: Place | None
    labels: tuple[str, ...] = ()


class Grid(eqx.Module):
    """Models that differ in some parameters; made by `jnm.grid`, `jnm.zipped` or `jnm.sample`.

    `len(grid)` members, `grid[i]` the model of one of them (built on demand; i may be traced), numbered in C order over
    the dimensions `dims`: the last one moves fastest.

        >>> grid = jnm.grid(net, lambda m: m.coupling.gain, [1.0, 5.0, 10.0])
        >>> rates = jax.vmap(lambda i: mean_rate(grid[i]))(jnp.arange(len(grid)))
    """

    model: Any
    """The model with which the others agree in everything that is not swept."""
    values: tuple[Any, ...]
    """For each axis its values, [value] or [value, ...] for arrays; float64 numbers as they were given."""
    axes: tuple[Axis, ...] = eqx.field(static=True)

    @property
    def dims(self) -> dict[str, int]:
        """Name and length of each dimension."""
        return {axis.dim: len(values) for axis, values in zip(self.axes, self.values, strict=True)}

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.dims.values())

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, member: int | Int[Array, ""]) -> Any:
        """The model of one member. Raises `IndexError` for a number that is none."""
        at = self.index(member)
        leaves, structure = jtu.tree_flatten(self.model)
        for axis, values in zip(self.axes, self.values, strict=True):
            if axis.place is not None:
                leaf = jnp.asarray(leaves[axis.place.leaf])
                value = jnp.asarray(values, leaf.dtype)[at[axis.dim]]
                leaves[axis.place.leaf] = put(leaf, jnp.broadcast_to(value, axis.place.shape), axis.place)
        return jtu.tree_unflatten(structure, leaves)

    def index(self, member: int | Int[Array, ""]) -> dict[str, Any]:
        """Where a member lies along each dimension."""
        if isinstance(member, int | np.integer):
            if not -len(self) <= member < len(self):
                raise IndexError(f"grid[{member}]: there are {len(self)} members, counted from 0.")
            member = int(member) % len(self)
        return dict(zip(self.dims, _unravel(member, self.shape), strict=True))

    def key(self, key: PRNGKeyArray, member: int | Int[Array, ""]) -> PRNGKeyArray:
        """The random key of a member: `key` with its index along each dimension folded in, first dimension first.

        It does not depend on how long the axes are, so an axis may grow. With an axis of seeds only the seed is folded
        in: members of one seed share their noise (common random numbers).
        """
        at = self.index(member)
        seeds = [
            jnp.asarray(v, jnp.int32)[at[a.dim]] for a, v in zip(self.axes, self.values, strict=True) if a.path == SEED
        ]
        for number in seeds or at.values():
            key = jax.random.fold_in(key, number)
        return key

    def coordinates(self) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
        """Dimension, values and attributes (unit, place in the model) of each axis, as xarray takes coordinates."""
        known: dict[str, tuple[str, np.ndarray, dict[str, str]]] = {}
        for axis, values in zip(self.axes, self.values, strict=True):
            if not axis.name:
                continue
            numbers = np.arange(len(values)) if np.ndim(values) > 1 else np.asarray(axis.labels or values)
            unit = {"units": axis.unit} if axis.unit and np.ndim(values) == 1 else {}
            known[axis.name] = (axis.dim, numbers, unit | {"parameter": axis.path})
        return known

    def where(self, member: int) -> str:
        """A member in words: "gain = 5, speed = 3 mm/ms"."""
        at = self.index(member)
        told = []
        for name, (dim, values, attributes) in self.coordinates().items():
            unit = f" {attributes['units']}" if "units" in attributes else ""
            value = values[at[dim]]
            told.append(f"{name} = {value if isinstance(value, str) else f'{value:g}'}{unit}")
        return ", ".join(told)

    def __repr__(self) -> str:
        sides = " x ".join(f"{dim} ({length})" for dim, length in self.dims.items())
        return f"Grid of {type(self.model).__name__}: {sides} = {len(self)} members"


def grid(model: eqx.Module, where: Where, values: Any) -> Grid:
    """All combinations of values of some parameters: a batch of models with an axis for each parameter.

        >>> jnm.grid(net, lambda m: m.coupling.gain, np.linspace(0.0, 20.0, 21))
        >>> jnm.grid(net, (lambda m: m.coupling.gain, lambda m: m.speed), (gains, speeds))
        >>> jnm.grid(net, {"IE": jnm.at(lambda m: m.node.I, 0), "seed": "seed"}, {"IE": [2.0, 4.0], "seed": range(10)})

    **Arguments**

    - `where`: a function of the model that returns a parameter or any other array of real numbers in it (weights, a
      stimulus), or a tuple, list or dict of them; `jnm.at(...)` for some elements of one; or a tuple, list or dict of
      these. The word "seed" makes an axis of random seeds (see `Grid.key`). Axes are named after the fields, or by the
      keys of a dict.
    - `values`: in the same structure, the values of each: [value], or [value, ...] where the parameter is an array; one
      number for an array fills it.
    - `model`: one module, or a tuple or dict of modules, such as (network, stimulus), which the swept function gets.

    Raises `ValueError` where `where` selects nothing, or a field that is fixed when the model is built, for values
    outside a parameter's domain, of another shape or structure, and for two axes of one name.
    """
    chosen = pairs(check_base(model), where, values, "values")
    return _grid(model, chosen, [one.name for one in chosen])


def zipped(model: eqx.Module, where: Where, values: Any) -> Grid:
    """Parameters that move together: member i has the i-th value of each; one axis, called "point".

        >>> jnm.zipped(net, (lambda m: m.coupling.gain, lambda m: m.speed), ([1.0, 5.0], [3.0, 4.0]))

    Arguments and errors are those of `grid`; `ValueError` too for values of different length.
    """
    chosen = pairs(check_base(model), where, values, "values")
    return _grid(model, chosen, ["point"] * len(chosen))


def sample(
    model: eqx.Module,
    where: Where,
    domains: Any = None,
    n: int = 64,
    design: Design = "sobol",
    *,
    seed: int = 0,
) -> Grid:
    """`n` members spread over intervals of some parameters; one axis, called "sample".

        >>> jnm.sample(net, (lambda m: m.coupling.gain, lambda m: m.speed), (jnm.Interval(0, 20), jnm.Interval(2, 8)), 64)

    **Arguments**

    - `domains`: in the structure of `where`, a `jnm.Interval` or (low, high) for each; None takes a parameter's own
      domain, which must be an interval (a speed's is its `speed_range`).
    - `design`: "sobol", a scrambled low-discrepancy sequence, even when cut short, evenest for powers of two; "latin", a
      Latin hypercube, even in each parameter alone; "random", independent uniform numbers.
    - `seed`: of the design; the same seed gives the same points.

    Raises `ValueError` as `grid`, for another design, for n < 1 and for a domain that is no interval.
    """
    chosen = pairs(check_base(model), where, domains, "domains")
    drawn = points(chosen, n, design, seed)
    return _grid(
        model, [one._replace(given=column) for one, column in zip(chosen, drawn, strict=True)], ["sample"] * len(chosen)
    )


def _grid(model: Any, chosen: Sequence[Selected], dims: Sequence[str]) -> Grid:
    values = tuple(_seeds(one.given) if one.spot is None else _values(one) for one in chosen)
    _check_names([one.name for one in chosen])
    axes = tuple(
        Axis(one.name, dim, SEED, "", None)
        if one.spot is None
        else Axis(one.name, dim, one.spot.name, one.spot.unit, one.spot.place)
        for one, dim in zip(chosen, dims, strict=True)
    )
    lengths = {one.name: len(v) for one, v in zip(chosen, values, strict=True)}
    if len(set(dims)) < len(dims) and len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise ValueError(f"zipped: the values move together and must be equally many; got {told}.")
    for one, v in zip(chosen, values, strict=True):
        check_edges(model, one.spot, v)
    return Grid(model, values, axes)


def _values(one: Selected) -> np.ndarray:
    """The values of one axis, [value, ...], inside the parameter's domain."""
    spot = one.spot
    assert spot is not None
    try:
        array = np.asarray(one.given, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"grid: the values of {one.name} must be real numbers; got {one.given!r} ({error})."
        ) from error
    wanted = spot.place.shape
    if array.ndim == 0 or not len(array):
        raise ValueError(f"grid: {one.name} is given {one.given!r}; wanted a list of values, one or more.")
    if array.ndim > 1 and array.shape[1:] != wanted:
        told = "numbers, one a member" if not wanted else f"numbers, or arrays of shape {list(wanted)}, one a member"
        raise ValueError(f"grid: the values of {one.name} have shape {list(array.shape)}; wanted {told}.")
    stored = array.astype(jnp.result_type(spot.value))
    inside = spot.domain.contains(stored)
    outside = [] if inside else [i for i, v in enumerate(stored) if not spot.domain.contains(v)]
    if outside:
        told = ", ".join(f"{v:g}" for v in array[outside[:3]]) if array.ndim == 1 else f"arrays {outside[:3]}"
        unit = f" (in {spot.unit})" if spot.unit else ""
        raise ValueError(
            f"grid: {len(outside)} of {len(array)} values of {one.name}{unit} lie outside its domain "
            f"({spot.domain}): {told}."
        )
    return array


def _seeds(given: Any) -> np.ndarray:
    seeds = np.asarray(list(given) if isinstance(given, range) else given)
    whole = seeds.ndim == 1 and len(seeds) and np.issubdtype(seeds.dtype, np.integer)
    if not whole or seeds.min() < 0 or seeds.max() > _LARGEST_SEED:
        raise ValueError(f"grid: seeds are whole numbers from 0 to 2^31 - 1, such as range(10); got {given!r}.")
    return seeds.astype(np.int64)


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"grid: two axes are called {', '.join(twice)}; name them by a dict: where={{'name': ...}}.")


def _unravel(member: Any, shape: tuple[int, ...]) -> list[Any]:
    """C order, as `np.unravel_index`, also for traced numbers."""
    at = []
    for length in reversed(shape):
        at.append(member % length)
        member = member // length
    return at[::-1]
