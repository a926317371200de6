r"""Roots, and their derivatives by the implicit function theorem.

A root x(p) of F(x, p) = 0 moves by dx/dp = -F_x^-1 F_p, whatever found it. Newton's method finds it,

    x <- x - F_x^-1 F,

in NumPy where the numbers are known (a compiled F and F_x, and no compiled loop around them) and in JAX under jit and
vmap. The derivative is a rule of its own, made of F_x and F_p at the root: the search is never differentiated, and
derivatives of every order are right.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

Residual = Any
"""A function F(parameters, x), perhaps with a method `with_jacobian(parameters, x)`."""

_STEPS = 40
_DONE = 1e-12  # step, relative to 1 + |x|, at which Newton's method is done: squared, its error is below rounding
_RATTLE = 1e-9  # steps that no longer shrink but stay below this are rounding, not failure


@eqx.filter_jit
def linearise(residual: Residual, parameters: Any, x: Float[Array | np.ndarray, " n"]) -> tuple[Array, Array]:
    """F and its Jacobian F_x, by the residual's own `with_jacobian` if it has one."""
    if hasattr(residual, "with_jacobian"):
        return residual.with_jacobian(parameters, x)
    return residual(parameters, x), jax.jacfwd(lambda x: residual(parameters, x))(x)


def newton(
    residual: Residual, parameters: Any, guess: Float[Array | np.ndarray, " n"]
) -> Float[np.ndarray, " n"] | None:
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


def singular(matrix: Callable[[complex], tuple[Any, Any]], guess: complex) -> complex | None:
    """Where M(l) becomes singular next to a guess; None if Newton's method reaches no such place.

    `matrix` gives M and dM/dl; the step on det M is 1 / trace(M^-1 dM/dl). Multiple roots come slowly, and to half the
    digits.
    """
    root, step = guess, np.inf
    for _ in range(_STEPS):
        value, slope = matrix(root)
        try:
            step = 1 / np.trace(np.linalg.solve(value, slope))
        except np.linalg.LinAlgError:  # singular to the last digit
            return root
        root = root - step
        if abs(step) < _DONE * (1 + abs(root)):
            return root
    return root if abs(step) < np.sqrt(_DONE) * (1 + abs(root)) else None


def attach(residual: Residual, args: Any, root: Float[Array | np.ndarray, " n"]) -> Float[Array, " n"]:
    """A root that was found by other means, with its derivatives in the model: `args`, or the first of them.

    The matrix dx/dp is made on the way forward. What is left for the way back are products and sums, which keep double
    precision even where a float32 session differentiates; matrix products and fresh arrays would not.
    """
    model, others = (args[0], args[1:]) if type(args) is tuple else (args, None)
    values, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(values)
    numbers, static = eqx.partition(others, eqx.is_array_like)

    def equations(x, leaves, numbers):
        model = eqx.combine(jax.tree.unflatten(structure, leaves), rest)
        return residual(model if others is None else (model, *eqx.combine(numbers, static)), x)

    @jax.custom_jvp
    def at(leaves, root, numbers):
        return root

    def moved(primals, tangents):
        leaves, _, numbers = primals
        x = at(*primals)
        by_x, move = jax.jacfwd(equations)(x, leaves, numbers), jnp.zeros_like(x)
        for k, tangent in enumerate(tangents[0]):
            if type(tangent) is not SymbolicZero:  # parameters that are not differentiated cost nothing
                leaf = leaves[k].ravel()
                by_p = _jacobian(lambda p, k=k: equations(x, _with(leaves, k, p), numbers), leaf, x.size)
                move = move - jnp.sum(jnp.linalg.solve(by_x, by_p) * tangent.ravel()[None], axis=1)
        return x, move

    at.defjvp(moved, symbolic_zeros=True)
    return at(leaves, jax.lax.stop_gradient(jnp.asarray(root)), jax.lax.stop_gradient(numbers))


def _with(leaves: list[Array], k: int, flat: Array) -> list[Array]:
    return [flat.reshape(leaf.shape) if i == k else leaf for i, leaf in enumerate(leaves)]


def _jacobian(function: Any, p: Float[Array, " p"], rows: int) -> Float[Array, "n p"]:
    """By columns or by rows, whichever are fewer."""
    return (jax.jacfwd if p.size < rows else jax.jacrev)(function)(p)


def nearest(residual: Residual, args: Any, guess: Float[Array, " n"], lost: str) -> Float[Array, " n"]:
    """The root next to a guess, with derivatives, for use under jit and vmap; raises `lost` where there is none."""
    fixed = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, args)

    def improve(carry):
        x, _, k = carry
        value, slope = linearise(residual, fixed, x)
        change = jnp.linalg.solve(slope, value)
        return x - change, jnp.max(jnp.abs(change) / (1 + jnp.abs(x))), k + 1

    def going_on(carry):
        return (carry[1] > _DONE) & (carry[2] < _STEPS)

    start = jax.lax.stop_gradient(guess)
    x, size, _ = jax.lax.while_loop(going_on, improve, (start, jnp.asarray(jnp.inf, start.dtype), 0))
    return attach(residual, args, eqx.error_if(x, ~(size < _RATTLE), lost))
