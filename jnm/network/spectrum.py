"""Eigenvalues of connectomes, which decide to what patterns of activity a network can lose its synchrony.

Tractography often gives A = diag(c) S with S symmetric (detailed balance, A_ij / A_ji = c_i / c_j); then
A = C^1/2 (C^1/2 S C^1/2) C^-1/2 has a real spectrum, and a symmetric eigensolver finds it. Reading A transposed, or
averaging it with its transpose, gives other eigenvalues (shared/spec/brain-network.md section 4).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Complex, Float

BALANCE_TOLERANCE = 2e-5  # text files carry six digits, which leaves a ratio of two weights uncertain by 1e-5
MOST_SKEWED = 1e12  # condition number beyond which double precision cannot tell eigenvectors apart

Spectrum = Float[np.ndarray, " mode"] | Complex[np.ndarray, " mode"]


class Modes(NamedTuple):
    """Eigenvalues by descending real part; `right[:, k]` and `left[k]` belong to the k-th; left @ right = 1."""

    eigenvalues: Spectrum
    right: Float[np.ndarray, "region mode"] | Complex[np.ndarray, "region mode"]
    left: Float[np.ndarray, "mode region"] | Complex[np.ndarray, "mode region"]


def balance(weights: Float[Array, "to from"]) -> Float[np.ndarray, " region"] | None:
    """The factors c (geometric mean 1) for which A = diag(c) S with S symmetric, or None if there are none.

    With A_ij / A_ji = c_i / c_j on every connection, log c is the potential of log(A_ij / A_ji): a least-squares
    problem on the graph, exact up to the digits that a file carries (2e-5).
    """
    a = np.asarray(weights, dtype=float)
    if np.any(np.sign(a) != np.sign(a.T)):
        return None
    both = (a != 0) & ~np.eye(len(a), dtype=bool)
    size = np.abs(np.where(both, a, 1.0))
    log_ratio = np.log(size) - np.log(size.T)
    laplacian = np.diag(both.sum(axis=1)) - both.astype(float)
    potential = np.linalg.lstsq(laplacian, log_ratio.sum(axis=1), rcond=None)[0]
    misfit = np.abs(log_ratio - (potential[:, None] - potential[None, :]))[both]
    return np.exp(potential) if misfit.max(initial=0.0) < BALANCE_TOLERANCE else None


def modes(weights: Float[Array, "to from"]) -> Modes:
    """Eigenvalues with right (length one) and left eigenvectors; `ValueError` where they do not span the space."""
    balanced = _balanced(weights)
    if balanced is None:
        values, right = np.linalg.eig(np.asarray(weights, dtype=float))
        if np.linalg.cond(right) > MOST_SKEWED:
            raise ValueError("modes: these weights have no full set of eigenvectors; use eigenvalues() alone.")
        left = np.linalg.inv(right)
    else:
        symmetric, root = balanced
        values, vectors = np.linalg.eigh(symmetric)
        right, left = vectors * root[:, None], vectors.T / root[None, :]
    order = np.argsort(-np.real(values), kind="stable")
    length = np.linalg.norm(right[:, order], axis=0)
    return Modes(values[order], right[:, order] / length[None, :], left[order] * length[:, None])


def eigenvalues(weights: Float[Array, "to from"]) -> Spectrum:
    """Eigenvalues by descending real part, in double precision; real under detailed balance."""
    balanced = _balanced(weights)
    if balanced is None:
        values = np.linalg.eigvals(np.asarray(weights, dtype=float))
    else:
        values = np.linalg.eigvalsh(balanced[0])
    return values[np.argsort(-np.real(values), kind="stable")]


def real(values: np.ndarray, weights: Float[Array, "to from"]) -> Float[np.ndarray, "..."]:
    """Eigenvalues or eigenvectors as real numbers; `ValueError` where they are not, saying what may be done."""
    if not np.iscomplexobj(values):
        return values
    if not np.any(np.imag(values)):
        return np.real(values)
    a = np.asarray(weights, dtype=float)
    alone = int(np.sum((a != 0) & (a.T == 0)))
    raise ValueError(
        f"the weights have no real spectrum: without detailed balance (A_ij = c_i S_ij, S symmetric; {alone} connections go "
        "one way only) eigenvalues may be complex. Where the asymmetry is an error of measurement, symmetrise before the "
        "rows are normalised: Connectome((w + w.T) / 2).normalised('rows'); where it is meant, take the complex ones."
    )


def _balanced(
    weights: Float[Array, "to from"],
) -> tuple[Float[np.ndarray, "region region"], Float[np.ndarray, " region"]] | None:
    c = balance(weights)
    if c is None:
        return None
    root = np.sqrt(c)
    symmetric = np.asarray(weights, dtype=float) * (root[None, :] / root[:, None])  # C^-1/2 A C^1/2
    return (symmetric + symmetric.T) / 2, root  # equal up to the digits of the file


def radius(weights: Float[Array, "to from"]) -> Float[Array, ""]:
    """The largest modulus of an eigenvalue; in double precision where values are known, else traced and differentiable."""
    if isinstance(weights, Tracer):
        return jnp.max(jnp.abs(jnp.linalg.eigvals(weights)), axis=-1, keepdims=True)[..., None]
    values = np.linalg.eigvals(np.asarray(weights, dtype=float))
    return jnp.asarray(np.max(np.abs(values), axis=-1, keepdims=True)[..., None], dtype=weights.dtype)
