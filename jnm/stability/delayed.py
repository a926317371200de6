r"""Exponents of the patterns of a network at rest whose connections all have the same delay T.

The pattern of connectivity eigenvalue L then has the exponents l that solve

    M(l) v = 0,     M(l) = l - A - L e^(-l T) B C,

infinitely many, of which finitely many lie right of any line (A, B, C: `jnm.stability.modes`). What was sent during the
last T ms, at Chebyshev points, turns them into eigenvalues of a matrix (Breda, Maset & Vermiglio, SIAM J. Sci. Comput.
27:482, 2005), and Newton's method gives each all its digits.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm.network.network import Network
from jnm.stability.field import flat
from jnm.stability.fixed_point import FixedPoint
from jnm.stability.modes import Parts, parts
from jnm.stability.precision import concrete, is_traced
from jnm.stability.root import singular

_LEAST, _MOST = 24, 400  # points of the past
_NEAR = 0.05  # how far left of the line, relative to the fastest exponent, the discretisation is trusted to look
_SAME = 1e-8  # relative distance of two exponents that are one


def delay_of(network: Network) -> Float[Array, ""] | None:
    """The delay in ms of all connections of a network, if it has one.

    Raises `ValueError` for delays that differ between connections.
    """
    if network.speed is None or network.edges is None or not np.any(network.edges.lengths):
        return None
    lengths = network.edges.lengths
    if network.speed.ndim:
        raise ValueError("dispersion: connections have speeds of their own; jnm.stability.delay_spectrum takes them.")
    if np.ptp(lengths) > 1e-6 * lengths.max():
        raise ValueError(
            f"dispersion: tract lengths run from {lengths.min():.3g} to {lengths.max():.3g} mm; with delays that differ "
            "the eigenvectors of the weights are no patterns of the network. Give all connections one length, such as "
            "their mean, leave speed out, or take jnm.stability.delay_spectrum, which needs no patterns."
        )
    return lengths.mean() / network.speed


def exponents(point: FixedPoint, connectivity: Array, delay: Array, line: float) -> Complex[Array, "mode k"]:
    """Of each mode, per ms, those right of `line`, the rightmost first; -inf where a mode has fewer than another.

    Differentiable in the model's parameters and the delay under `jax.grad`, but not under jit and vmap, as their number
    is not known before. Raises `ValueError` for a line so far left that the past would need too many points.
    """
    with jax.enable_x64(True):
        delay, model = jnp.asarray(delay, float), point.model
        flow = parts(model, flat(point.state))[1]  # pyright: ignore[reportArgumentType]
        fixed, values, tau = concrete((flow, connectivity, delay), "dispersion with delays")
        known = jax.tree.map(np.asarray, fixed)
        found = [_right_of(line, known, L, float(tau)) for L in np.asarray(values)]
        rows = [jnp.asarray(roots) for roots, _, _ in found]
        if any(is_traced(leaf) for leaf in jax.tree.leaves((flow, connectivity, delay))):
            rows = [_moved(flow, L, delay, *row) for L, row in zip(connectivity, found, strict=True)]
        most = max(1, *(len(row) for row in rows))
        return jnp.stack([jnp.pad(row, (0, most - len(row)), constant_values=-jnp.inf) for row in rows])


def _right_of(line: float, flow: Parts, L: Any, tau: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The exponents right of the line, with the left and right null vector of M at each."""
    found: list[complex] = []
    fastest = np.linalg.norm(flow.A, 2) + abs(L) * np.linalg.norm(flow.B @ flow.C, 2) * np.exp(-line * tau)
    count = max(_LEAST, int(np.ceil(fastest * tau)))
    if count > _MOST:
        raise ValueError(
            f"dispersion: line = {line:g} /ms lies so far left of the exponents that delays of {tau:g} ms would have to "
            f"be cut into {count} points; wanted {_MOST} at most. Give a line further right, such as line={-1 / tau:.2g}."
        )
    for guess in np.linalg.eigvals(_with_past(flow, L, tau, count)):
        if guess.real < line - _NEAR * fastest:
            continue
        root = singular(lambda l: _matrix(flow, L, tau, l), complex(guess))
        if root is not None and root.real > line and all(abs(root - o) > _SAME * (1 + abs(root)) for o in found):
            found.append(root)
    roots = np.array(sorted(found, key=lambda l: (-round(l.real, 12), -l.imag)), complex)
    pairs = [np.linalg.svd(_matrix(flow, L, tau, root)[0]) for root in roots]
    left = np.array([u[:, -1].conj() for u, _, _ in pairs]).reshape(len(roots), len(flow.A))
    right = np.array([vh[-1].conj() for _, _, vh in pairs]).reshape(len(roots), len(flow.A))
    return roots, left, right


def _with_past(flow: Parts, L: Any, tau: float, count: int) -> np.ndarray:
    """The flow of a push and of what it sent, at Chebyshev points of the past: h' = dh/dtheta, h(0) = C z."""
    (n, sent), angle = flow.B.shape, np.pi * np.arange(count + 1) / count
    points = tau / 2 * (np.cos(angle) - 1)
    weight = np.append(2.0, np.append(np.ones(count - 1), 2.0)) * (-1.0) ** np.arange(count + 1)
    gaps = points[:, None] - points[None] + np.eye(count + 1)
    slopes = weight[:, None] / weight[None] / gaps
    slopes -= np.diag(slopes.sum(axis=1))
    matrix = np.zeros((n + sent * count, n + sent * count), complex)
    matrix[:n, :n] = flow.A
    matrix[:n, -sent:] = L * flow.B
    matrix[n:, :n] = np.kron(slopes[1:, :1], flow.C)
    matrix[n:, n:] = np.kron(slopes[1:, 1:], np.eye(sent))
    return matrix


def _matrix(flow: Parts, L: Any, tau: float, root: complex) -> tuple[np.ndarray, np.ndarray]:
    """M and dM/dl."""
    eye, heard = np.eye(len(flow.A)), L * np.exp(-root * tau) * (flow.B @ flow.C)
    return root * eye - flow.A - heard, eye + tau * heard


def _moved(flow: Parts, L: Array, tau: Array, roots: np.ndarray, left: np.ndarray, right: np.ndarray) -> Array:
    """Roots with their derivatives, dl = -(u dM v) / (u M' v)."""

    def one(root, u, v):
        heard = L * jnp.exp(-root * tau) * (flow.B @ flow.C)
        value = u @ (root * v - flow.A @ v - heard @ v)
        slope = jax.lax.stop_gradient(u @ (v + tau * (heard @ v)))
        return root - (value - jax.lax.stop_gradient(value)) / slope

    return jax.vmap(one)(jnp.asarray(roots), jnp.asarray(left), jnp.asarray(right))
