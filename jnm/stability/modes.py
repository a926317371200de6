r"""Small pushes off a homogeneous state, pattern by pattern.

A push along an eigenvector of the weights, W u = L u, keeps its pattern: with x' = F(x, h), where h = sum_j W_ij s(x_j)
is what a region hears of what the others send,

    dx_i = u_i z,     z' = (A + L B C) z,     A = dF/dx at constant h,   B = dF/dh,   C = ds/dx,

so a network of N regions with n variables falls into N problems of size n (master stability function: Pecora & Carroll,
Phys. Rev. Lett. 80:2109, 1998). Any coupling enters by its slope B at the homogeneous state. What is sent is one number,
or a complex one, which counts as two.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float

from jnm.network.network import Network
from jnm.stability.field import hearing, sending
from jnm.stability.orbit import Mesh, follow_field

_FINER = 2  # steps of a pushed orbit for each step of the orbit: pushes bend more sharply than what they are pushed off


class Parts(NamedTuple):
    """The flow of pushes at a state of one region."""

    A: Float[Array, "n n"]
    """Within a region, per ms."""
    B: Float[Array, "n sent"]
    """How the region answers to what it hears."""
    C: Float[Array, "sent n"]
    """What a push makes it send."""

    def matrix(self, connectivity: Array) -> Array:
        """A + L B C."""
        return self.A + connectivity * (self.B @ self.C)


def parts(alone: Network, x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Parts]:
    """The slope of a network of one region, and the flow of pushes at x."""
    return parts_at(alone, x, alone.connectome.weights[0, 0] * sending(alone, x))


def parts_at(network: Network, x: Float[Array, " n"], heard: Float[Array, " sent"]) -> tuple[Float[Array, " n"], Parts]:
    """The slope of a network that hears a weighted sum, and the flow of pushes at x; by jvp."""

    def twice(x, heard):
        value = hearing(network, x, heard)
        return value, value

    (A, B), value = jax.jacfwd(twice, argnums=(0, 1), has_aux=True)(x, heard)
    return value, Parts(A, B, jax.jacfwd(lambda x: sending(network, x))(x))


@eqx.filter_jit
def at_rest(alone: Network, x: Float[Array, " n"], connectivity: Array) -> Complex[Array, "mode n"]:
    """Exponents per ms of each pattern at a fixed point."""
    flow = parts(alone, x)[1]
    return descending(jnp.linalg.eigvals(jax.vmap(flow.matrix)(connectivity)))


@eqx.filter_jit
def on_cycle(
    alone: Network, mesh: Mesh, z: Float[Array, " unknown"], connectivity: Array
) -> tuple[Complex[Array, "mode n"], Array]:
    """Floquet exponents per ms of each pattern on a cycle, and what pushes have become after one period.

    Those whose multiplier is below the rounding of the largest are lost in it, far to the left.
    """
    turns = monodromies(alone, mesh, z, connectivity)
    return descending(jnp.log(jnp.linalg.eigvals(turns).astype(complex)) / z[-1]), turns


def monodromies(alone: Network, mesh: Mesh, z: Float[Array, " unknown"], connectivity: Array) -> Array:
    """z after one period for unit pushes, [mode, n, n]: the product over the arcs of the orbit."""
    starts, period = z[:-1].reshape(mesh.points.shape), z[-1]
    turned = as_rotation(connectivity)
    k, n = turned.shape[1], starts.shape[1]
    unit = jnp.zeros((len(turned), k, n, n), starts.dtype).at[:, 0].set(jnp.eye(n))

    def over(x, steps):
        begin, unravel = ravel_pytree((x, unit))

        def field(both):
            x, pushes = unravel(both)
            value, (A, B, C) = parts(alone, x)
            heard = jnp.einsum("mkl,sa,mlap->mksp", turned, C, pushes)
            within = jnp.einsum("ab,mkbp->mkap", A, pushes)
            return ravel_pytree((value, within + jnp.einsum("as,mksp->mkap", B, heard)))[0]

        return unravel(follow_field(field, begin, steps))[1]

    steps = jnp.repeat(period * mesh.fractions / _FINER, _FINER, axis=1)
    arcs = jax.vmap(over)(starts, steps)
    arcs = arcs[:, :, 0] if k == 1 else jax.lax.complex(arcs[:, :, 0], arcs[:, :, 1])
    whole = arcs[0]
    for arc in arcs[1:]:
        whole = arc @ whole
    return whole


def as_rotation(connectivity: Array) -> Float[Array, "mode k k"]:
    """Numbers as real matrices, [[re, -im], [im, re]], or [[re]] where all are real: orbits are integrated in reals."""
    if not jnp.iscomplexobj(connectivity):
        return connectivity[:, None, None]
    re, im = connectivity.real, connectivity.imag
    return jnp.stack([jnp.stack([re, -im], axis=-1), jnp.stack([im, re], axis=-1)], axis=-2)


def descending(values: Complex[Array, "mode n"]) -> Complex[Array, "mode n"]:
    """Each row by falling real part; of a conjugate pair the one that turns forwards first."""
    order = jnp.lexsort((-values.imag, -jnp.round(values.real, 12)), axis=-1)
    return jnp.take_along_axis(values, order, axis=-1)
