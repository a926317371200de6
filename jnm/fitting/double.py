"""A scalar function of a model in double precision, with its gradient, whatever the precision of the session.

Resonances are small differences: (i w - A)^-1 near a peak loses in single precision what a fit wants to know. In a float32
session value and gradient are therefore both made on the way forward, in float64, and only products and sums are left for
the way back; a batch is made of them whole, since JAX's own rules for batches would round.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jnm._param import cast


def in_double(function: Callable[[Any, Any], Array], thing: Any, data: Any) -> Float[Array, ""]:
    """function(thing, data) in float64, differentiable in `thing`, returned in the session's precision.

    First derivatives come out right in any session; second ones must be taken under `jax.enable_x64(True)`.
    """
    dtype = jnp.result_type(float)
    if dtype == jnp.dtype("float64"):
        return function(cast(thing, dtype), cast(data, dtype))
    values, rest = eqx.partition(thing, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(values)
    numbers, static = eqx.partition(data, eqx.is_inexact_array)

    def inside(some: dict[int, Array], leaves: list[Array], numbers: Any) -> Array:
        wide = [some.get(k, jnp.asarray(leaf, jnp.float64)) for k, leaf in enumerate(leaves)]
        thing = eqx.combine(jax.tree.unflatten(structure, wide), rest)
        return function(thing, eqx.combine(cast(numbers, jnp.float64), static))

    def slopes(some: dict[int, Array], leaves: list[Array], numbers: Any) -> tuple[Array, dict[int, Array]]:
        wide = {k: x.astype(jnp.float64) for k, x in some.items()}
        answer, gradient = jax.value_and_grad(inside)(wide, leaves, numbers)
        return answer.astype(dtype), {k: g.astype(some[k].dtype) for k, g in gradient.items()}

    @jax.custom_jvp
    def value(leaves, numbers):
        return _wide(lambda leaves, numbers: inside({}, leaves, numbers).astype(dtype))(leaves, numbers)

    def moved(primals, tangents):
        leaves, numbers = primals
        moving = {k: t for k, t in enumerate(tangents[0]) if type(t) is not SymbolicZero}
        answer, gradient = _wide(slopes)({k: leaves[k] for k in moving}, leaves, numbers)
        return answer, sum((jnp.sum(gradient[k] * t) for k, t in moving.items()), start=jnp.zeros((), dtype))

    value.defjvp(moved, symbolic_zeros=True)
    return value(leaves, jax.lax.stop_gradient(numbers))


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function run in double precision, one by one and in batches."""

    @custom_vmap
    def one(*args):
        with jax.enable_x64(True):
            return function(*args)

    @one.def_vmap
    def many(size, batched, *args):
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)
        with jax.enable_x64(True):
            answer = jax.vmap(function, in_axes=tuple(axes), axis_size=size)(*args)
        return answer, jax.tree.map(lambda _: True, answer)

    return one
