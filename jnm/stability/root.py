r"""Roots, and their derivatives by the implicit function theorem.

A root x(p) of F(x, p) = 0 moves by dx/dp = -F_x^-1 F_p, whatever found it. Newton's method finds it,

    x <- x - F_x^-1 F,

in NumPy where the numbers are known (a compiled F and F_x, and no compiled loop around them) and in JAX under jit and
vmap; `jax.lax.custom_root` supplies the theorem, so derivatives of every order are right and cost a linear solve.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Residual = Callable[[Any, Float[Array, " n"]], Float[Array, " m"]]
"""F(parameters, x)."""

_STEPS = 40
_DONE = 1e-12  # step, relative to 1 + |x|, at which Newton's method is done: squared, its error is below rounding
_RATTLE = 1e-9  # steps that no longer shrink but stay below this are rounding, not failure


@eqx.filter_jit
def linearise(residual: Residual, parameters: Any, x: Float[Array, " n"]) -> tuple[Array, Array]:
    """F and its Jacobian F_x."""
    return residual(parameters, x), jax.jacfwd(lambda x: residual(parameters, x))(x)


def newton(residual: Residual, parameters: Any, guess: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """The root that Newton's method reaches from a guess; None if it reaches none."""
    x, size = np.array(guess, float), np.inf
    for _ in range(_STEPS):
        value, slope = (np.asarray(part) for part in linearise(residual, parameters, x))
        change = solve(slope, value)
        if change is None:
            return None
        x = x - change
        last, size = size, np.max(np.abs(change) / (1 + np.abs(x)))
        if size < _DONE or (size < _RATTLE and size > last / 4):
            return x
    return None


def solve(matrix: Float[np.ndarray, "n n"], right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """The solution of a linear system; None if it has none that is finite."""
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(right))):
        return None
    try:
        answer = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    return answer if np.all(np.isfinite(answer)) else None


def attach(residual: Residual, parameters: Any, root: Float[Array, " n"]) -> Float[Array, " n"]:
    """A root that was found by other means, with its derivatives in the parameters."""
    return _with_derivatives(residual, parameters, root, lambda f, x: x)


def nearest(residual: Residual, parameters: Any, guess: Float[Array, " n"], lost: str) -> Float[Array, " n"]:
    """The root next to a guess, with derivatives, for use under jit and vmap; raises `lost` where there is none."""

    def improve(f, carry):
        x, _, k = carry
        change = jnp.linalg.solve(jax.jacfwd(f)(x), f(x))
        return x - change, jnp.max(jnp.abs(change) / (1 + jnp.abs(x))), k + 1

    def find(f, x):
        start = (x, jnp.asarray(jnp.inf, x.dtype), 0)
        going_on = lambda carry: (carry[1] > _DONE) & (carry[2] < _STEPS)  # noqa: E731
        x, size, _ = jax.lax.while_loop(going_on, lambda carry: improve(f, carry), start)
        return eqx.error_if(x, ~(size < _RATTLE), lost)

    return _with_derivatives(residual, parameters, guess, find)


def _with_derivatives(residual: Residual, parameters: Any, guess: Float[Array, " n"], find: Callable) -> Array:
    def solve_linear(f, y):
        return jnp.linalg.solve(jax.jacfwd(f)(y), y)

    return jax.lax.custom_root(lambda x: residual(parameters, x), jax.lax.stop_gradient(guess), find, solve_linear)
