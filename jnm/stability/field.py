"""A model as a vector field: dx/dt = slope(model, x) on flat vectors x, without input and noise, at t = 0."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, Drive, State

NO_TIME = 0.0  # the models of jnm are autonomous: their drift does not look at the clock


def flat(y: State) -> Float[Array, " n"]:
    """A state as one vector, in the order of its fields."""
    return ravel_pytree(y)[0]


def shaped(model: AbstractModel, x: Float[Array, " n"]) -> Any:
    """A vector as a state of the model."""
    return ravel_pytree(model.init())[1](x)


def slope(model: AbstractModel, x: Float[Array, " n"], drive: Drive | None = None) -> Float[Array, " n"]:
    """dx/dt per ms."""
    return flat(model.drift(jnp.asarray(NO_TIME), shaped(model, x), Drive() if drive is None else drive))


def sending(network: Any, x: Float[Array, " n"]) -> Float[Array, " sent"]:
    """What the regions of a network send at x: one number each, or of complex ones all real parts, then all others."""
    own = network.output(jnp.asarray(NO_TIME), shaped(network, x))
    return jnp.concatenate([own.real, own.imag]) if jnp.iscomplexobj(own) else own


def hearing(network: Any, x: Float[Array, " n"], heard: Float[Array, " sent"]) -> Float[Array, " n"]:
    """dx/dt per ms where `heard` is the weighted sum of what others sent, in the order of `sending`."""

    def arrive(own):
        return jax.lax.complex(*jnp.split(heard, 2)) if jnp.iscomplexobj(own) else heard

    return slope(network, x, Drive(arrive=arrive))


def jacobian(model: AbstractModel, x: Float[Array, " n"]) -> Float[Array, "n n"]:
    """d slope / dx, per ms."""
    return jax.jacfwd(lambda x: slope(model, x))(x)


def eigenvalues(model: AbstractModel, x: Float[Array, " n"]) -> Complex[Array, " n"]:
    """Eigenvalues of the Jacobian, per ms, that of the largest real part first."""
    values = jnp.linalg.eigvals(jacobian(model, x))
    return values[jnp.lexsort((-values.imag, -jnp.round(values.real, 12)))]


def as_vector(model: AbstractModel, y: State, task: str) -> Float[Array, " n"]:
    """A user's state as a vector; raises `ValueError` where it does not fit the model."""
    like = model.init()
    if jax.tree.structure(y) != jax.tree.structure(like):
        raise ValueError(f"{task}: the state is {jax.tree.structure(y)}; wanted that of model.init().")
    for name, got, wanted in zip(like._fields, y, like, strict=True):
        if wanted is not None and jnp.shape(got) not in ((), wanted.shape):
            raise ValueError(f"{task}: {name} has shape {list(jnp.shape(got))}; wanted {list(wanted.shape)}.")
    return flat(jax.tree.map(lambda x, wanted: jnp.broadcast_to(jnp.asarray(x, wanted.dtype), wanted.shape), y, like))
