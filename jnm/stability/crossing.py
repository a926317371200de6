r"""Hopf points and folds: where a fixed point loses its stability, as roots of extended systems.

At a Hopf point a pair of eigenvalues crosses the imaginary axis at +- i w, and an oscillation of w / (2 pi) is born.
With the eigenvector a + i b, normalised by a fixed vector c,

    drift(x, p) = 0,    J a + w b = 0,    J b - w a = 0,    c . (a + i b) = 1.

At a fold, where two fixed points meet and end, J a = 0 and c . a = 1. Solved for x, the parameter p, w and the vectors,
these have isolated roots with the derivatives of the implicit function theorem.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import AbstractModel
from jnm.stability.dial import Dial
from jnm.stability.field import shaped, slope
from jnm.stability.precision import in_double
from jnm.stability.root import attach, nearest


class HopfPoint(eqx.Module):
    """Where an oscillation is born: the parameter's value, the frequency and the state."""

    value: Float[Array, ""]
    """Of the parameter that was turned."""
    frequency_hz: Float[Array, ""]
    state: Any
    name: str = eqx.field(static=True)
    """The parameter that was turned."""
    _unknowns: Float[Array, " unknown"]
    _reference: Float[Array, "2 n"]
    _dial: Dial = eqx.field(static=True)

    def follow(self, model: AbstractModel) -> "HopfPoint":
        """The same Hopf point of a model with other parameters; works under jit, vmap and grad."""
        return _follow_hopf(model, self._dial, self._unknowns, self._reference)


class Fold(eqx.Module):
    """Where two fixed points meet and end."""

    value: Float[Array, ""]
    """Of the parameter that was turned."""
    state: Any
    name: str = eqx.field(static=True)
    """The parameter that was turned."""
    _unknowns: Float[Array, " unknown"]
    _reference: Float[Array, " n"]
    _dial: Dial = eqx.field(static=True)

    def follow(self, model: AbstractModel) -> "Fold":
        """The same fold of a model with other parameters; works under jit, vmap and grad."""
        return _follow_fold(model, self._dial, self._unknowns, self._reference)


def hopf_residual(args: Any, z: Float[Array, " unknown"]) -> Float[Array, " unknown"]:
    """The extended system of a Hopf point in z = (x, a, b, w, p); args = (model, dial, c)."""
    model, dial, (c_real, c_imag) = args
    n = (z.size - 2) // 3
    x, a, b, w, p = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[-2], z[-1]
    drift, Ja, Jb = _along(dial(model, p), x, a, b)
    norm = jnp.stack([c_real @ a + c_imag @ b - 1, c_real @ b - c_imag @ a])
    return jnp.concatenate([drift, Ja + w * b, Jb - w * a, norm])


def fold_residual(args: Any, z: Float[Array, " unknown"]) -> Float[Array, " unknown"]:
    """The extended system of a fold in z = (x, a, p); args = (model, dial, c)."""
    model, dial, c = args
    n = (z.size - 1) // 2
    x, a, p = z[:n], z[n : 2 * n], z[-1]
    return jnp.concatenate([*_along(dial(model, p), x, a), (c @ a - 1)[None]])


def _along(model: AbstractModel, x: Float[Array, " n"], *directions: Float[Array, " n"]) -> tuple[Array, ...]:
    """The drift, and its derivatives along directions: products with a Jacobian that is never built."""
    drift, push = jax.linearize(lambda x: slope(model, x), x)
    return drift, *map(push, directions)


def hopf_guess(J: Float[np.ndarray, "n n"], z: Float[np.ndarray, " n+1"]) -> tuple[np.ndarray, np.ndarray]:
    """Unknowns and reference vector at a fixed point z = (x, p) where a pair of eigenvalues of J is nearly neutral."""
    values, vectors = np.linalg.eig(J)
    growth, turn = np.real(values), np.imag(values)
    k = int(np.argmin(np.where(turn > 1e-9 * np.max(np.abs(values)), np.abs(growth), np.inf)))
    vector = np.stack([np.real(vectors[:, k]), np.imag(vectors[:, k])])
    return np.concatenate([z[:-1], *vector, [turn[k], z[-1]]]), vector


def fold_guess(J: Float[np.ndarray, "n n"], z: Float[np.ndarray, " n+1"]) -> tuple[np.ndarray, np.ndarray]:
    """Unknowns and reference vector at a fixed point z = (x, p) where J is nearly singular."""
    vector = np.linalg.svd(J)[2][-1]
    return np.concatenate([z[:-1], vector, [z[-1]]]), vector


@eqx.filter_jit
def hopf_at(model: AbstractModel, dial: Dial, root: Array | np.ndarray, reference: Array | np.ndarray) -> HopfPoint:
    """The Hopf point of a root that was found, with its derivatives."""
    return _hopf(model, dial, attach(hopf_residual, (model, dial, reference), root), reference)


@eqx.filter_jit
def fold_at(model: AbstractModel, dial: Dial, root: Array | np.ndarray, reference: Array | np.ndarray) -> Fold:
    """The fold of a root that was found, with its derivatives."""
    return _fold(model, dial, attach(fold_residual, (model, dial, reference), root), reference)


@in_double
@eqx.filter_jit
def _follow_hopf(model: AbstractModel, dial: Dial, guess: Array, reference: Array) -> HopfPoint:
    lost = "HopfPoint.follow: no Hopf point next to the old one. Search again with hopf_points."
    return _hopf(model, dial, nearest(hopf_residual, (model, dial, reference), guess, lost), reference)


@in_double
@eqx.filter_jit
def _follow_fold(model: AbstractModel, dial: Dial, guess: Array, reference: Array) -> Fold:
    lost = "Fold.follow: no fold next to the old one. Search again with fold_points."
    return _fold(model, dial, nearest(fold_residual, (model, dial, reference), guess, lost), reference)


def _hopf(model: AbstractModel, dial: Dial, z: Array, reference: Any) -> HopfPoint:
    x, w, p = z[: (z.size - 2) // 3], z[-2], z[-1]
    hertz = 1000 * jnp.abs(w) / (2 * jnp.pi)
    return HopfPoint(p, hertz, shaped(model, x), dial.name, jax.lax.stop_gradient(z), reference, dial)


def _fold(model: AbstractModel, dial: Dial, z: Array, reference: Any) -> Fold:
    state = shaped(model, z[: (z.size - 1) // 2])
    return Fold(z[-1], state, dial.name, jax.lax.stop_gradient(z), reference, dial)
