"""One parameter to turn: what `where` selects, as a function from a number to a model."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel
from jnm._selection import Place, Where, put, select
from jnm.stability.precision import is_traced


@dataclasses.dataclass(frozen=True)
class Dial:
    """Sets the selected elements of a model to a number, all of them to the same."""

    name: str
    unit: str
    places: tuple[Place, ...]

    def __call__(self, model: AbstractModel, value: Float[Array, ""]) -> Any:
        """The model with `value` in the selected places."""
        leaves, structure = jtu.tree_flatten(model)
        for place in self.places:
            leaf = jnp.asarray(leaves[place.leaf])
            leaves[place.leaf] = put(leaf, jnp.full(place.shape, value, leaf.dtype), place)
        return jtu.tree_unflatten(structure, leaves)

    @property
    def label(self) -> str:
        """For axes: the name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def dial(model: AbstractModel, where: Where, low: float, high: float, task: str) -> Dial:
    """The dial of a `where`; raises `ValueError` for a range that is none or leaves the parameter's domain."""
    spots = jax.tree.leaves(select(model, where))
    for name, bound in (("low", low), ("high", high)):
        if is_traced(bound):
            raise ValueError(f"{task}: {name} is traced by jit, vmap or grad; the range of the search is two numbers.")
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"{task}: the range is ({low}, {high}); wanted two finite numbers, low < high.")
    for spot in spots:
        outside = [bound for bound in (low, high) if not spot.domain.contains(np.asarray(bound))]
        if outside:
            raise ValueError(
                f"{task}: {spot.name} = {outside[0]:g} is outside its domain ({spot.domain}); give low and high inside it."
            )
    return Dial(", ".join(spot.name for spot in spots), spots[0].unit, tuple(spot.place for spot in spots))
