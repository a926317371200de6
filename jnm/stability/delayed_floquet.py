r"""Floquet exponents of the patterns of a network on a homogeneous cycle, all its connections having the same delay.

The pattern of connectivity eigenvalue L obeys, about the orbit (A, B, C: `jnm.stability.modes`),

    z'(t) = A(t) z(t) + L B(t) c(t),     c(t) = C(t - tau) z(t - tau).

One turn takes z at its beginning, and what was sent during the delay before, to the same a period later. That is a matrix
once the orbit is cut into pieces with Chebyshev points: z is solved for given c by collocation, once for all patterns, and

    z(T) = U z(0) + L V c,     sent = P z(0) + L Q c,

where Q c reaches back from each point to earlier ones; what it would need from before the beginning is what was sent in
the turn before, or in several before if the delay is longer than the period. Its eigenvalues are the multipliers.
Breda, Maset & Vermiglio, SIAM J. Numer. Anal. 50:1456 (2012), for matrices of evolution operators.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm.stability.delayed_orbit import DEGREE, SLOPES, Echo, Pieces, phases, reading, states
from jnm.stability.field import sending
from jnm.stability.modes import Parts, parts_at
from jnm.stability.precision import concrete, is_traced

_FINER = (1.0, 1.4, 2.0, 2.8)  # times more pieces than the orbit has, tried in turn: pushes bend more sharply
_SAME = 1e-8  # by which multipliers of two resolutions may differ, relative to the largest, or to one
_LEAST = 1e-4  # of the largest multiplier, below which others are lost in it
_ALONG = 1e-7  # by which the multiplier along the cycle may miss one
_SAMPLE = 4  # patterns of which the resolution is tried
_LARGEST = 3000  # rows of a matrix of which all eigenvalues are sought


class Turn(NamedTuple):
    """What becomes of a push z(0) and of what is heard at all points, in one period, per unit of connectivity."""

    U: Any
    V: Any
    P: Any
    Q: Any


def exponents(
    echo: Echo, pieces: Pieces, z: Float[Array, " unknown"], connectivity: Array, line: float
) -> Complex[Array, "mode k"]:
    """Of each mode, per ms, those right of `line`, the rightmost first; -inf where a mode has fewer than another.

    Those whose multiplier is below a ten-thousandth of the largest are left out: they are lost in it. Differentiable under
    `jax.grad`, but not under jit and vmap, as their number is not known before. Raises `ValueError` for an orbit on which
    no resolution of the pushes is enough, or of which the delay is many periods long.
    """
    given = (echo, pieces, z, connectivity)
    fixed = concrete(given, "dispersion about a cycle with delays")
    least = float(np.exp(line * float(fixed[2][-1])))
    count = _resolved(*fixed[:3], np.asarray(fixed[3]), least)
    turn, back = _turn(*fixed[:3], count)
    known, counts = _as_numpy(turn), _counts(back)
    rows = [_multipliers(_matrix(known, L, counts, np), least) for L in np.asarray(fixed[3])]
    if any(is_traced(leaf) for leaf in jax.tree.leaves(given) if eqx.is_array(leaf)):
        turn, _ = _turn(echo, pieces, z, count)
        rows = [_moved(turn, L, counts, row) for L, row in zip(connectivity, rows, strict=True)]
    most = max(1, *(len(row) for row in rows))
    values = [
        jnp.pad(jnp.log(jnp.asarray(row, complex)) / z[-1], (0, most - len(row)), constant_values=-jnp.inf)
        for row in rows
    ]
    return jnp.stack(values)


def multipliers(echo: Echo, pieces: Pieces, z: Float[Array, " unknown"]) -> Complex[np.ndarray, " k"]:
    """Those of the region by itself, the largest first; one of them is 1."""
    fixed = concrete((echo, pieces, z), "DelayedCycle.multipliers")
    unison = np.asarray(fixed[0].weight)
    turn, back = _turn(*fixed, _resolved(*fixed, unison[None], 0.0))
    return _multipliers(_matrix(_as_numpy(turn), unison, _counts(back), np), 0.0)


def _resolved(echo: Echo, pieces: Pieces, z: Array, connectivity: np.ndarray, least: float) -> int:
    """The first number of pieces of which the multipliers of some patterns are found again by the next, one of them 1."""
    order = connectivity[np.argsort(-np.abs(connectivity), kind="stable")]
    some = order[np.unique(np.linspace(0, len(order) - 1, _SAMPLE).astype(int))]
    tried = [round(finer * (len(pieces.edges) - 1)) for finer in _FINER]
    before, missed = None, np.inf
    for coarser, count in zip([0, *tried], tried, strict=False):
        turn, back = _turn(echo, pieces, z, count)
        known, counts = _as_numpy(turn), _counts(back)
        found = [_multipliers(_matrix(known, L, counts, np), least) for L in (np.asarray(echo.weight), *some)]
        missed = np.min(np.abs(found[0] - 1), initial=np.inf)
        if before is not None and missed < _ALONG and all(map(_same, before, found)):
            return coarser
        before = found
    raise ValueError(
        f"dispersion: {tried[-1]} pieces of the cycle do not resolve its pushes (the multiplier "
        f"along the cycle misses 1 by {missed:.1g}). If its parameters moved far since it was found, search it again with "
        "jnm.stability.limit_cycle(network)."
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the multipliers b are among a, but for those so small that one resolution may leave them out."""
    size = np.abs(b)
    allowed = _SAME * max(1.0, np.max(size, initial=0.0))
    sure = b[size >= min(2 * np.min(size, initial=np.inf), np.max(size, initial=0.0))]
    return all(np.min(np.abs(a - value), initial=np.inf) < allowed for value in sure)


def _multipliers(matrix: np.ndarray, least: float) -> Complex[np.ndarray, " k"]:
    """Eigenvalues of the turn, the largest first."""
    if len(matrix) > _LARGEST:
        raise ValueError(
            f"dispersion: the delay is so many periods long that the matrix of a turn has {len(matrix):,} rows; wanted "
            f"{_LARGEST:,} at most. Take a shorter delay."
        )
    values = np.linalg.eigvals(matrix).astype(complex)
    values = values[np.lexsort((-np.imag(values), -np.round(np.log(np.abs(values) + 1e-300), 12)))]
    return values[np.abs(values) > max(least, _LEAST * np.abs(values[0]))]


def _as_numpy(turn: Turn) -> Turn:
    return Turn(*(np.asarray(part) for part in turn))


def _counts(back: Array) -> list[int]:
    """How many points hear from the j-th turn before, or an earlier one: the first so many, for j = 1, 2, ..."""
    turns = np.asarray(back).astype(int)
    return [int(np.sum(turns >= j)) for j in range(1, max(2, np.max(turns) + 1))]


def _matrix(turn: Turn, L: Any, counts: list[int], xp: Any) -> Any:
    """One turn of a pattern, on z(0) and on what was sent to later turns in the last ones."""
    n, first = len(turn.U), counts[0]
    start, *sent = xp.split(xp.eye(n + sum(counts)), np.cumsum([n, *counts[:-1]]))
    early = xp.concatenate([sent[j][end:] for j, end in enumerate([*counts[1:], 0])][::-1])
    known = turn.P @ start + L * (turn.Q[:, :first] @ early)
    late = xp.linalg.solve(xp.eye(len(turn.Q) - first) - L * turn.Q[first:, first:], known[first:])
    heard = xp.concatenate([early, late])
    ahead = known[:first] + L * (turn.Q[:first, first:] @ late)
    kept = [sent[j - 1][: counts[j]] for j in range(1, len(counts))]
    return xp.concatenate([turn.U @ start + L * (turn.V @ heard), ahead, *kept])


def _moved(turn: Turn, L: Array, counts: list[int], values: np.ndarray) -> Complex[Array, " k"]:
    """Multipliers with their derivatives, u dM v / (u v)."""
    from scipy.linalg import eig

    matrix = _matrix(turn, L, counts, jnp)
    every, left, right = eig(np.asarray(jax.lax.stop_gradient(matrix)), left=True, right=True)  # pyright: ignore
    which = [int(np.argmin(np.abs(every - value))) for value in values]
    u, v = jnp.asarray(left[:, which].conj().T), jnp.asarray(right[:, which])
    change = jnp.einsum("ki,ij,jk->k", u, (matrix - jax.lax.stop_gradient(matrix)).astype(complex), v)
    return jnp.asarray(values) + change / jnp.einsum("ki,ik->k", u, v)


@eqx.filter_jit
def _turn(echo: Echo, pieces: Pieces, z: Array, count: int) -> tuple[Turn, Array]:
    """The maps of a turn that is cut into so many pieces, and how many turns before each point hears."""
    share = np.linspace(0, len(pieces.edges) - 1, count + 1)
    edges = jnp.interp(share, np.arange(len(pieces.edges)), pieces.edges)
    at, delayed = phases(edges), echo.delay / z[-1]
    A, B, C = _along(echo, states(pieces, z, at), states(pieces, z, at - delayed))
    stretch = z[-1] * jnp.diff(edges) / 2
    grown = _solved(stretch, A[1:], B[1:])
    sent = jnp.einsum("isa,iac->isc", C, grown)
    earlier = at[1:] - delayed
    back = 1 - jnp.ceil(earlier)
    index, rows = reading(edges, earlier + back)
    heard = jnp.einsum("ij,ijsc->isc", rows, sent[index]).reshape(-1, grown.shape[-1])
    n = A.shape[-1]
    return (
        Turn(grown[-1, :, :n], grown[-1, :, n:], heard[:, :n], heard[:, n:]),
        jnp.repeat(back, C.shape[1]),
    )


def _along(echo: Echo, x: Float[Array, "node n"], past: Float[Array, "node n"]) -> Parts:
    """A, B and C at all nodes."""

    def one(x, past):
        return parts_at(echo.alone, x, echo.weight * sending(echo.alone, past))[1]

    return jax.vmap(one)(x, past)


def _solved(stretch: Float[Array, " piece"], A: Float[Array, "node n n"], B: Float[Array, "node n sent"]) -> Array:
    """z at all nodes [node + 1, n, n + heard] for a unit z(0) and a unit of what is heard at each node but the first."""
    M, n, sent = len(stretch), A.shape[-1], B.shape[-1]
    eye, width = np.eye(n), DEGREE * sent

    def of_piece(half, A, B):
        within = jnp.einsum("jk,jab->jakb", np.eye(DEGREE), half * A)
        matrix = jnp.asarray(np.einsum("jk,ab->jakb", SLOPES[1:, 1:], eye)) - within
        start = jnp.asarray(np.einsum("j,ab->jab", -SLOPES[1:, 0], eye))
        push = jnp.einsum("jk,jas->jaks", np.eye(DEGREE), half * B)
        right = jnp.concatenate([start.reshape(-1, n), push.reshape(-1, width)], axis=1)
        return jnp.linalg.solve(matrix.reshape(DEGREE * n, -1), right).reshape(DEGREE, n, n + width)

    parts = jax.vmap(of_piece)(stretch, A.reshape(M, DEGREE, n, n), B.reshape(M, DEGREE, n, sent))

    def onward(start, piece):
        number, part = piece
        inside = jnp.einsum("jab,bc->jac", part[..., :n], start)
        place = (0, 0, n + number * width)
        own = jax.lax.dynamic_slice(inside, place, (DEGREE, n, width)) + part[..., n:]
        inside = jax.lax.dynamic_update_slice(inside, own, place)
        return inside[-1], inside

    begin = jnp.eye(n, n + M * width, dtype=A.dtype)
    inside = jax.lax.scan(onward, begin, (jnp.arange(M), parts))[1]
    return jnp.concatenate([begin[None], inside.reshape(M * DEGREE, n, -1)])
