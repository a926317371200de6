"""What a `where` means: which arrays of a model, which of their elements, under what names.

The model is rebuilt with a `Spot` in the place of each array; `where` picks spots, and a spot knows where it came from.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PyTree

from jnm._param import Domain, domain_of, parameters

Where = Any  # a function of the model, a `jnm.at`, or a tuple, list or dict of these


class Place(NamedTuple):
    """Where in a model a selection lies: which leaf, which of its elements (None: all), in what shape."""

    leaf: int
    elements: tuple[int, ...] | None
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Spot:
    """Stands in a model for one of its arrays; indexing it, as `jnm.at` does, picks elements."""

    leaf: int
    path: tuple[Any, ...]
    value: Any
    owner: eqx.Module
    index: Any = None

    def __getitem__(self, index: Any) -> "Spot":
        if self.index is not None:
            raise TypeError(f"{self.name} is indexed twice; give one index, such as (0, 2)")
        return dataclasses.replace(self, index=np.asarray(index) if isinstance(index, jax.Array | list) else index)

    @property
    def name(self) -> str:
        """As one would write it after the model's name: "node.eta", "node.I[0]"."""
        if self.index is None:
            return _dotted(self.path)
        inside = self.index if isinstance(self.index, tuple) else (self.index,)
        return f"{_dotted(self.path)}[{', '.join(map(_index_text, inside))}]"

    @property
    def labels(self) -> tuple[str, ...]:
        """One name an element, by its place in the whole array."""
        base, shape = _dotted(self.path), np.shape(self.value)
        if not shape:
            return (base,)
        return tuple(f"{base}[{', '.join(map(str, np.unravel_index(i, shape)))}]" for i in self._elements.ravel())

    @property
    def place(self) -> Place:
        """The selection in numbers that can be compared and hashed."""
        elements = None if self.index is None else tuple(self._elements.ravel().tolist())
        return Place(self.leaf, elements, self._elements.shape)

    @property
    def domain(self) -> Domain:
        """The parameter's own domain; the whole line for an array that is no parameter."""
        return domain_of(self.owner, self._field)

    @property
    def unit(self) -> str:
        """The parameter's unit."""
        known = parameters(self.owner).get(self._field)
        return known.unit if known else ""

    @property
    def _field(self) -> str:
        return getattr(self.path[-1], "name", "")

    @property
    def _elements(self) -> np.ndarray:
        whole = np.arange(np.size(self.value)).reshape(np.shape(self.value))
        return whole if self.index is None else np.asarray(whole[self.index])


def select(model: eqx.Module, where: Where) -> PyTree:
    """The spots that `where` selects, in the structure in which it selects them.

    Raises `ValueError` for anything that is no array of real numbers of the model, naming what could be selected, and
    for an element selected twice.
    """
    leaves, structure = jtu.tree_flatten_with_path(model)
    marked = jtu.tree_unflatten(
        structure, [Spot(i, path, x, _owner(model, path)) for i, (path, x) in enumerate(leaves)]
    )

    def resolve(part: Any) -> Any:
        if isinstance(part, Spot):
            return _checked(part, model)
        if isinstance(part, tuple | list) and part:
            resolved = map(resolve, part)
            return type(part)(*resolved) if hasattr(part, "_fields") else type(part)(resolved)
        if isinstance(part, dict) and part:
            return {name: resolve(item) for name, item in part.items()}
        if isinstance(part, eqx.Module) or not callable(part):
            told = f"the whole {type(part).__name__}" if isinstance(part, eqx.Module) else repr(part)
            raise ValueError(f"where selects {told}, which is no array of the model. {_offer(model)}")
        return resolve(_looked_up(part, marked, model))

    chosen = resolve(where)
    _check_once([label for spot in jtu.tree_leaves(chosen) for label in spot.labels])
    return chosen


def take(leaf: Array, place: Place) -> Array:
    """What a selection holds in the array it lies in."""
    leaf = jnp.asarray(leaf)
    return leaf if place.elements is None else leaf.reshape(-1)[np.array(place.elements)].reshape(place.shape)


def put(leaf: Array, value: Array, place: Place) -> Array:
    """The array with another value at the selection."""
    if place.elements is None:
        return value
    return jnp.asarray(leaf).reshape(-1).at[np.array(place.elements)].set(value.reshape(-1)).reshape(leaf.shape)


def _looked_up(where: Callable[[Any], Any], marked: Any, model: eqx.Module) -> Any:
    try:
        return where(marked)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"where asks the model for something it has not: {error}. {_offer(model)}") from error


def _checked(spot: Spot, model: eqx.Module) -> Spot:
    base, shape = _dotted(spot.path), np.shape(spot.value)
    if not eqx.is_array_like(spot.value) or not jnp.issubdtype(jnp.result_type(spot.value), jnp.floating):
        raise ValueError(f"where selects {base}, which is not made of real numbers. {_offer(model)}")
    try:
        empty = 0 in spot.place.shape
    except IndexError as error:
        raise ValueError(f"where selects {spot.name}, but {base} has shape {shape}: {error}.") from error
    if empty:
        raise ValueError(f"where selects no element with {spot.name}; {base} has shape {shape}.")
    return spot


def _check_once(labels: list[str]) -> None:
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"where selects {', '.join(twice)} twice; an element of a parameter can have one value only.")


def _offer(model: eqx.Module) -> str:
    """What can be selected and what is absent, for error messages."""
    leaves, _ = jtu.tree_flatten_with_path(model, is_leaf=lambda x: x is None)
    known = [
        (_dotted(path), x) for path, x in leaves if getattr(path[-1], "name", "") in parameters(_owner(model, path))
    ]
    absent = [name for name, x in known if x is None]
    text = f"Its parameters are {', '.join(name for name, x in known if x is not None)}."
    return text + (f" Absent (None; give them a value first): {', '.join(absent)}." if absent else "")


def _owner(model: eqx.Module, path: tuple[Any, ...]) -> eqx.Module:
    """The innermost module that a path leads through: the one whose field holds the array."""
    inner, owner = model, model
    for step in path[:-1]:
        inner = _enter(inner, step)
        owner = inner if isinstance(inner, eqx.Module) else owner
    return owner


def _enter(value: Any, step: Any) -> Any:
    if isinstance(step, jtu.GetAttrKey):
        return getattr(value, step.name)
    return value[step.idx if isinstance(step, jtu.SequenceKey) else step.key]


def _dotted(path: tuple[Any, ...]) -> str:
    return jtu.keystr(path).lstrip(".")


def _index_text(index: Any) -> str:
    if isinstance(index, slice):
        parts = (index.start, index.stop, index.step)
        return ":".join("" if part is None else str(part) for part in parts[: 2 if index.step is None else 3])
    return "..." if index is Ellipsis else str(index.tolist() if isinstance(index, np.ndarray) else index)
