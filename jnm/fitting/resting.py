r"""Where a model rests while its parameters move: found without a search, inside jit, with its derivatives.

From the model's own start the flow is followed by implicit Euler steps that grow,

    x <- x + (1 / h - A)^-1 F(x),     A = dF/dx,     h = 1, 1.5, 2.25, ... ms,

at first the relaxation into the rest that the model would reach, at last Newton's method (pseudo-transient
continuation: Kelley CT, Keyes DE (1998) Convergence analysis of pseudo-transient continuation. SIAM J Numer Anal
35:508-523). Derivatives follow from the implicit function theorem (`jnm.stability.root.attach`).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel, State, overrides
from jnm.stability.field import as_vector, flat, jacobian, slope
from jnm.stability.root import attach

_GROWTH, _LONG = 1.5, 1e6  # of the steps, and a step (ms) that is as good as infinite: Newton's
_STEPS = 80
_DONE = 1e-11  # last step, relative to 1 + |x|


class Rest(NamedTuple):
    """A fixed point as a vector, and whether it was reached."""

    x: Float[Array, " n"]
    reached: Array


def rest(model: AbstractModel, start: State | None = None) -> Rest:
    """The state in which a model comes to rest from `start` (default its `init()`), in double precision."""
    begin = flat(model.init()) if start is None else as_vector(model, start, "rest")
    fixed = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, model)

    def improve(carry):
        x, h, _, k = carry
        matrix = jnp.eye(x.size, dtype=x.dtype) / h - jacobian(fixed, x)
        change = jnp.linalg.solve(matrix, slope(fixed, x))
        size = jnp.max(jnp.abs(change) / (1 + jnp.abs(x)))
        return x + change, h * _GROWTH, size, k + 1

    def going_on(carry):
        x, h, size, k = carry
        return (k < _STEPS) & ((size > _DONE) | (h < _LONG)) & jnp.all(jnp.isfinite(x))

    first = jax.lax.stop_gradient(begin)
    x, _, size, _ = jax.lax.while_loop(going_on, improve, (first, jnp.asarray(1.0, first.dtype), jnp.inf, 0))
    return Rest(attach(slope, model, x), (size <= _DONE) & jnp.all(jnp.isfinite(x)))


def check_has_drift(model: AbstractModel, task: str) -> None:
    """Raise `ValueError` for what has no drift to linearise, or no noise to make a spectrum of."""
    if not isinstance(model, AbstractModel):
        raise ValueError(f"{task}: wanted a jnm model (or a Recorded one); got a {type(model).__name__}.")
    if overrides(model, "step"):
        raise ValueError(f"{task}: {type(model).__name__} brings its own step and has no drift to linearise.")
    if model.diffusion(jnp.zeros(()), model.init()) is None:
        raise ValueError(f"{task}: {type(model).__name__} has no noise, so no spectrum; give it some: sigma=0.1.")


def is_known(*values: Array) -> bool:
    """Whether numbers are known: not while jit or vmap traces."""
    stopped = (jax.lax.stop_gradient(value) for value in values)
    return not any(isinstance(x, jax.core.Tracer) for x in stopped)  # pyright: ignore[reportAttributeAccessIssue]


def number(value: Array) -> float:
    """A known scalar as a Python float."""
    return float(np.asarray(jax.lax.stop_gradient(value)))
