r"""Surrogate connectomes: the same weights in other places, to ask what of a network's behaviour is owed to its anatomy.

    shuffled       weights anywhere: keeps their distribution
    rewired        then scaled, so that every region keeps its strength: the sum of what it receives
    neighbourly    weights only change places with those of ways about as long: keeps how weights fall with distance
    relabelled     whole regions change places: keeps the spectrum, all else being labels

Tractography often gives A = diag(c) S with S symmetric (see `jnm.network.spectrum`). Surrogates then shuffle S and keep
c, so that their spectrum is real as that of the original is; other matrices are shuffled by pairs (A_ij, A_ji).
The diagonal stays, and so do lengths, of pairs that had no tract as well: where those are 0, give lengths of all pairs
(`jnm.datasets.tract_lengths`) before a conduction speed is set. Each surrogate of a `seed` is drawn anew, and the same
seed gives the same one.

Maslov & Sneppen, Science 296:910 (2002); Roberts et al., NeuroImage 124:379 (2016), for the role of geometry.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from jnm.network.connectome import Connectome

_SWEEPS = 2000  # of the scaling to given strengths
_EXACT = 1e-10  # largest relative error of a strength
_ALIKE = 40  # pairs of regions among which a weight changes places

Matrix = Float[np.ndarray, "to from"]


def shuffled(connectome: Connectome, seed: int) -> Connectome:
    """Weights at random places: the distribution stays, strengths and geometry go.

    >>> null = jnm.network.shuffled(jnm.datasets.connectome(), seed=0)
    """
    symmetric, receiving = _parts(connectome)
    return _with(connectome, _placed(symmetric, np.random.default_rng(seed).permutation), receiving)


def rewired(connectome: Connectome, seed: int) -> Connectome:
    """Weights at random places, scaled so that every region keeps its strength.

    With S_ij -> f_i S_ij f_j the sum of each row of S is that of the original, and so are those of A. Raises `ValueError`
    for weights that are negative or without detailed balance, where one factor a region cannot keep both sums, and if no
    factors do.
    """
    symmetric, receiving = _parts(connectome)
    if receiving is None or np.any(symmetric < 0):
        raise ValueError(
            "rewired: the weights are negative or have no detailed balance (connectome.balance() is None)."
        )
    placed = _placed(symmetric, np.random.default_rng(seed).permutation)
    diagonal, wanted = np.diag(np.diag(symmetric)), _off(symmetric).sum(axis=1)
    off, factor = _off(placed), np.ones(len(symmetric))
    with np.errstate(all="ignore"):  # factors that run away find no strengths, and that is told below
        for _ in range(_SWEEPS):
            sums = factor * (off @ factor)
            if np.max(np.abs(sums / wanted - 1)) < _EXACT:
                return _with(connectome, factor[:, None] * off * factor + diagonal, receiving)
            factor = factor * np.sqrt(wanted / sums)
    raise ValueError("rewired: no factors give every region its strength; are regions connected to one or two others?")


def neighbourly(connectome: Connectome, seed: int) -> Connectome:
    """Weights that change places among the forty pairs of regions with ways of about the same length.

    Distance is the tract length where lengths are known, else that between centres; pairs of length 0, between which no
    tract was found, count as the farthest. Raises `ValueError` where neither is known.
    """
    symmetric, receiving = _parts(connectome)
    distance, rng = _distance(connectome), np.random.default_rng(seed)
    rows, columns = np.triu_indices(len(symmetric), 1)
    ranks = np.argsort(distance[rows, columns], kind="stable")

    def among_alike(n: int) -> np.ndarray:
        order = np.arange(n)
        for first in range(0, n, _ALIKE):
            group = ranks[first : first + _ALIKE]
            order[group] = rng.permutation(group)
        return order

    return _with(connectome, _placed(symmetric, among_alike), receiving)


def relabelled(connectome: Connectome, seed: int) -> Connectome:
    """Whole regions with all their weights and lengths under each other's labels, places and orientations."""
    order = np.random.default_rng(seed).permutation(connectome.n_regions)
    pairs = np.ix_(order, order)
    lengths = None if connectome.lengths is None else connectome.lengths[pairs]
    moved = eqx.tree_at(lambda c: c.weights, connectome, connectome.weights[pairs])
    return moved if lengths is None else eqx.tree_at(lambda c: c.lengths, moved, lengths)


def _parts(connectome: Connectome) -> tuple[Matrix, Float[np.ndarray, " region"] | None]:
    """S and c of A = diag(c) S; A itself and None without detailed balance."""
    if isinstance(connectome.weights, Tracer):
        raise ValueError("surrogates: the weights are traced by jit, vmap or grad; make surrogates outside of it.")
    weights, c = np.asarray(connectome.weights, float), connectome.balance()
    if c is None:
        return weights, None
    symmetric = weights / c[:, None]
    return (symmetric + symmetric.T) / 2, c


def _placed(weights: Matrix, order: object) -> Matrix:
    """Pairs of weights in the places that `order(number of pairs)` gives them."""
    rows, columns = np.triu_indices(len(weights), 1)
    chosen = order(len(rows))  # pyright: ignore[reportCallIssue]
    moved = np.diag(np.diag(weights)).astype(float)
    moved[rows, columns], moved[columns, rows] = weights[rows, columns][chosen], weights[columns, rows][chosen]
    return moved


def _off(weights: Matrix) -> Matrix:
    return weights - np.diag(np.diag(weights))


def _distance(connectome: Connectome) -> Matrix:
    if connectome.lengths is not None:
        lengths = np.asarray(connectome.lengths, float)
        known = (lengths > 0).astype(float) + (lengths.T > 0)  # of both ways
        return np.where(known > 0, (lengths + lengths.T) / np.maximum(known, 1), np.inf)
    if connectome.centres is None:
        raise ValueError(
            "neighbourly: the connectome has neither lengths nor centres, so that nobody knows who is near."
        )
    centres = np.asarray(connectome.centres, float)
    return np.linalg.norm(centres[:, None] - centres[None], axis=-1)


def _with(connectome: Connectome, symmetric: Matrix, receiving: Float[np.ndarray, " region"] | None) -> Connectome:
    weights = symmetric if receiving is None else receiving[:, None] * symmetric
    return eqx.tree_at(lambda c: c.weights, connectome, jnp.asarray(weights, connectome.weights.dtype))
