r"""Periodic orbits of a region that hears its own past, by collocation.

    x'(t) = F(x(t), s(x(t - tau))),     x(t + T) = x(t) + D,     sum_i x'_ref,i . (x_i - x_ref,i) = 0.

Phases from 0 to 1 are cut into pieces, short where the orbit is sharp. On each piece x is a polynomial, given at Chebyshev
points; the equation must hold at these points, and the past is read off the polynomials wherever it falls. The last
equation holds the phase; D is zero but for variables that are angles, which a turn moves on. Pieces become more until the
equation holds between the points as well. After Engelborghs, Luzyanina, in 't Hout & Roose, SIAM J. Sci. Comput. 22:1593
(2000).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import chebyshev

from jnm.network.network import Network
from jnm.stability.field import hearing, sending
from jnm.stability.orbit import at_phases
from jnm.stability.root import newton

DEGREE = 16
_COUNTS = (9, 13, 18, 25, 34)  # pieces of a period, tried in turn
RESIDUAL = 1e-8  # between the points, relative to the fastest change of each variable

NODES = -np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)
COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(NODES, DEGREE))
"""From values at the nodes to those of Chebyshev's polynomials."""
SLOPES = chebyshev.chebval(NODES, chebyshev.chebder(COEFFICIENTS)).T
"""From values at the nodes to derivatives there."""
_BETWEEN = chebyshev.chebvander(-np.cos(np.pi * (np.arange(DEGREE) + 0.5) / DEGREE), DEGREE) @ COEFFICIENTS


class Echo(eqx.Module):
    """One region that hears what it sent a delay ago, as every region of a network does whose regions are all alike."""

    alone: Network
    """Without its delay."""
    delay: Float[Array, ""]
    """In ms."""

    @property
    def weight(self) -> Float[Array, ""]:
        """With which it hears itself: the sum of the weights of a row."""
        return self.alone.connectome.weights[0, 0]

    def slope(self, x: Float[Array, " n"], past: Float[Array, " n"]) -> Float[Array, " n"]:
        """dx/dt per ms at x, a delay after `past`."""
        return hearing(self.alone, x, self.weight * sending(self.alone, past))


class Pieces(NamedTuple):
    """How a period is cut, and the orbit that the phase is measured against."""

    edges: Float[Array, " piece+1"]
    """Phases, from 0 to 1."""
    points: Float[Array, "node n"]
    """At the nodes from phase 0 to below 1."""
    slopes: Float[Array, "node n"]
    lap: Float[Array, " n"]
    """D: what a turn adds."""


def phases(edges: Float[Array, " piece+1"]) -> Float[Array, " node+1"]:
    """Of all nodes; the last node of a piece is the first of the next."""
    inside = edges[:-1, None] + jnp.diff(edges)[:, None] * ((NODES[:-1] + 1) / 2)[None]
    return jnp.append(inside.ravel(), 1.0)


def reading(edges: Float[Array, " piece+1"], at: Float[Array, " phase"]) -> tuple[Array, Array]:
    """For phases in [0, 1]: the nodes of their piece and the weights that make the value of the polynomial."""
    piece = jnp.clip(jnp.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    u = 2 * (at - edges[piece]) / (edges[piece + 1] - edges[piece]) - 1
    T = [jnp.ones_like(u), u]
    while len(T) <= DEGREE:
        T.append(2 * u * T[-1] - T[-2])
    return DEGREE * piece[:, None] + np.arange(DEGREE + 1)[None], jnp.stack(T, axis=-1) @ COEFFICIENTS


def states(
    pieces: Pieces, z: Float[Array | np.ndarray, " unknown"], at: Float[Array, " phase"]
) -> Float[Array, "phase n"]:
    """The orbit at any phases; of angles, that of the turn from phase 0 to 1."""
    index, rows = reading(pieces.edges, at - jnp.floor(at))
    return jnp.einsum("ij,ijn->in", rows, _closed(pieces, z)[index])


def _closed(pieces: Pieces, z: Float[Array | np.ndarray, " unknown"]) -> Float[Array, "node+1 n"]:
    x = jnp.asarray(z[:-1]).reshape(pieces.points.shape)
    return jnp.concatenate([x, x[:1] + pieces.lap[None]])


def by_piece(values: Float[Array | np.ndarray, "node+1 n"]) -> Any:
    """Values at all nodes, those between two pieces given to both."""
    starts = np.arange(0, len(values) - 1, DEGREE)
    return values[starts[:, None] + np.arange(DEGREE + 1)]


class Collocated(eqx.Module):
    """What must vanish for an orbit, in z = (x at the nodes, T); args = (echo, pieces)."""

    def __call__(self, args: tuple[Echo, Pieces], z: Float[Array, " unknown"]) -> Float[Array, " equation"]:
        echo, pieces = args
        x, past, stretch = self._along(args, z)
        bends = jnp.einsum("jk,pkn->pjn", SLOPES[1:], by_piece(_closed(pieces, z))).reshape(x.shape)
        gaps = bends - stretch[:, None] * jax.vmap(echo.slope)(x, past)
        held = jnp.sum(pieces.slopes * (z[:-1].reshape(pieces.points.shape) - pieces.points))
        return jnp.append(gaps.ravel(), held)

    def with_jacobian(self, args: tuple[Echo, Pieces], z: Float[Array, " unknown"]) -> tuple[Array, Array]:
        """The equations and their Jacobian, put together from what happens at each node."""
        echo, pieces = args
        x, past, stretch = self._along(args, z)
        N, n = x.shape
        now, before = jax.vmap(jax.jacfwd(echo.slope, (0, 1)))(x, past)
        index, rows = reading(pieces.edges, self._earlier(args, z))
        node, piece = np.arange(N), np.arange(N).reshape(-1, DEGREE)
        around = np.concatenate([piece, piece[:, -1:] + 1], axis=1)
        bends = jnp.asarray(SLOPES[1:, :, None, None] * np.eye(n))
        matrix = jnp.zeros((N, n, N + 1, n)).at[piece[:, :, None], :, around[:, None], :].add(bends[None])
        matrix = matrix.at[node, :, node + 1].add(-stretch[:, None, None] * now)
        weighted = (stretch[:, None] * rows)[:, :, None, None] * before[:, None]
        matrix = matrix.at[node[:, None], :, index, :].add(-weighted)
        matrix = matrix.at[:, :, 0].add(matrix[:, :, N])[:, :, :N].reshape(N * n, N * n)
        value, by_period = jax.jvp(lambda T: self(args, jnp.append(z[:-1], T)), (z[-1],), (jnp.ones_like(z[-1]),))
        phase = jnp.append(pieces.slopes.ravel(), 0.0)
        return value, jnp.concatenate([jnp.append(matrix, by_period[:-1, None], axis=1), phase[None]])

    def _earlier(self, args: tuple[Echo, Pieces], z: Float[Array, " unknown"]) -> Float[Array, " node"]:
        """The phases a delay before the nodes."""
        echo, pieces = args
        at = phases(pieces.edges)[1:] - echo.delay / z[-1]
        return at - jnp.floor(at)

    def _along(self, args: tuple[Echo, Pieces], z: Float[Array, " unknown"]) -> tuple[Array, Array, Array]:
        """States and what they were a delay before, at the nodes but the first, and half the lengths of their pieces in ms."""
        pieces = args[1]
        stretch = jnp.repeat(z[-1] * jnp.diff(pieces.edges) / 2, DEGREE)
        return _closed(pieces, z)[1:], states(pieces, z, self._earlier(args, z)), stretch


collocated = Collocated()


@eqx.filter_jit
def residual(echo: Echo, pieces: Pieces, z: Float[Array | np.ndarray, " unknown"]) -> Float[Array, ""]:
    """By how much x' misses F between the nodes, relative to the largest F of each variable."""
    local, lengths = by_piece(_closed(pieces, z)), jnp.diff(pieces.edges)
    x = jnp.einsum("jk,pkn->pjn", _BETWEEN, local)
    moved = jnp.einsum("jk,pkn->pjn", _BETWEEN @ SLOPES, local) * (2 / (z[-1] * lengths))[:, None, None]
    centres = -np.cos(np.pi * (np.arange(DEGREE) + 0.5) / DEGREE)
    at = pieces.edges[:-1, None] + lengths[:, None] * ((centres + 1) / 2)[None]
    past = states(pieces, z, at.ravel() - echo.delay / z[-1])
    wanted = jax.vmap(echo.slope)(x.reshape(past.shape), past).reshape(x.shape)
    fastest = jnp.max(jnp.abs(wanted), axis=(0, 1), keepdims=True)
    return jnp.max(jnp.abs(moved - wanted) / (fastest + 1e-12 * jnp.max(fastest)))


def solve_orbit(echo: Echo, at: np.ndarray, rough: np.ndarray, lap: np.ndarray, period: float) -> Any:
    """The orbit next to a rough one, known at phases `at`; (pieces, unknowns), or None where none is resolved."""
    edges = _where_it_moves(at, rough, lap, _COUNTS[0])
    for count, following in zip(_COUNTS, (*_COUNTS[1:], _COUNTS[-1]), strict=True):
        nodes = np.asarray(phases(jnp.asarray(edges)))[:-1]
        guess = at_phases(at, rough, nodes, lap)
        pieces = _pieces(edges, guess, lap)
        z = newton(collocated, (echo, pieces), np.append(guess.ravel(), period))
        if z is None:
            edges = _where_it_moves(at, rough, lap, following)
            continue
        if residual(echo, pieces, z) < RESIDUAL:
            return pieces, z
        edges = _where_it_bends(edges, np.asarray(by_piece(_closed(pieces, z))), following)
        at = np.linspace(0, 1, 40 * count * DEGREE, endpoint=False)
        rough, period = np.asarray(states(pieces, jnp.asarray(z), jnp.asarray(at))), z[-1]
    return None


def _pieces(edges: np.ndarray, points: np.ndarray, lap: np.ndarray) -> Pieces:
    """Measured against the slopes of the curve through the points."""
    closed = np.concatenate([points, points[:1] + lap])
    slopes = np.einsum("jk,pkn->pjn", SLOPES[:-1], np.asarray(by_piece(closed))).reshape(points.shape)
    slopes = slopes / np.repeat(np.diff(edges), DEGREE)[:, None]
    return Pieces(*(jnp.asarray(part) for part in (edges, points, slopes / np.linalg.norm(slopes), lap)))


def _where_it_moves(at: np.ndarray, rough: np.ndarray, lap: np.ndarray, count: int) -> np.ndarray:
    """Edges between which a curve goes equally far, nowhere three times further apart than on average."""
    size = np.ptp(rough, axis=0) + 1e-12 * np.max(np.abs(rough)) + 1e-300
    steps = np.max(np.abs(np.diff(rough, axis=0, append=rough[:1] + lap)) / size, axis=1)
    share = np.diff(np.append(at, 1.0))
    return _shared_out(np.append(at, 1.0), np.maximum(steps, 0.5 * np.sum(steps) * share), count)


def _where_it_bends(edges: np.ndarray, local: np.ndarray, count: int) -> np.ndarray:
    """Edges between which the last coefficients of the polynomials become equally small."""
    size = np.max(np.abs(local), axis=(0, 1)) + 1e-300
    last = np.einsum("jk,pkn->pjn", COEFFICIENTS[-2:], local)
    errors = (np.max(np.abs(last) / size, axis=(1, 2)) + 1e-18) ** (1 / DEGREE)
    return _shared_out(edges, np.maximum(errors, 0.3 * np.sum(errors) * np.diff(edges)), count)


def _shared_out(at: np.ndarray, amounts: np.ndarray, count: int) -> np.ndarray:
    """`count` pieces with the same amount in each."""
    filled = np.append(0.0, np.cumsum(amounts))
    edges = np.interp(np.linspace(0, filled[-1], count + 1), filled, at)
    edges[[0, -1]] = 0.0, 1.0
    return edges
