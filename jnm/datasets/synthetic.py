"""Synthetic connectomes: latent-space graphs with the statistics of a human average.

Every region has a position in the head and a hidden position near it (real tracts do not follow distance alone), drawn
nearly alike in both hemispheres; with D_ij the distance between hidden positions,

    log S_ij = -D_ij / scale + sociability_i + sociability_j + noise_ij - interhemispheric + homotopic,

the weakest connections left out. The strongest are bent down, for else a few pairs of regions would hear little but each
other: by a share of what both receive, S_ij / (1 + S_ij / (crowding sqrt(r_i r_j))) with r_i = sum_j S_ij (recipe
"crowded"), or above the 90th percentile (recipe "saturated", that of jnm's first connectomes). S is symmetric, and
A = diag(c) S with c chosen so that the row strengths are log-normal: exact detailed balance, hence a real spectrum, as in
the human average of Deco et al. (2017). The constants were fitted to that average's statistics (`jnm.datasets.statistics`;
shared/spec/brain-network.md 4); no weight of it is stored here. The misfit that remains: 17 or 18 eigenvalues above 0.1
instead of 20; more of them cost a smallest eigenvalue below -0.3 instead of -0.26.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jnm.network.connectome import Connectome

Matrix = Float[np.ndarray, "region region"]
Points = Float[np.ndarray, "region 3"]
Twins = Int[np.ndarray, " region"]


class Recipe(NamedTuple):
    """Constants of a latent-space graph. Distances in mm, the rest in logs."""

    scale: float
    hidden_shift: float
    """sd of the hidden position about the real one, per axis"""
    sociability: float
    """sd over regions"""
    noise: float
    """sd over pairs"""
    mirrored: float
    """correlation of every random draw with that of its mirror image"""
    interhemispheric: float
    homotopic: float
    crowding: float = np.inf
    """no weight gets above this share of what its regions receive (their geometric mean)"""
    saturation: float = np.inf
    """log weights above the 90th percentile end this much above it"""


# Fitted by simplex searches over the mean statistics of twelve ("crowded") and eight seeds, then rounded.
RECIPES = {
    "crowded": Recipe(21.7, 30.4, 0.14, 0.39, 0.863, 0.93, 1.06, crowding=0.2),
    "saturated": Recipe(21.0, 23.0, 0.32, 0.6, 0.85, 0.8, 1.2, saturation=1.4),
}
DEFAULT_RECIPE = "crowded"
ABSENT = 0.009  # share of pairs without a connection
STRENGTH_MEAN, STRENGTH_SD = 3.39, 0.235  # of the afferent strength; sd of its logarithm (brain-network.md 4)

# The head: cortex 60-75 mm from a centre such as MEG sphere models have; nothing below the temporal poles. Chosen.
HEAD_CENTRE = (0.0, 5.0, 48.0)
CORTEX_RADIUS = (60.0, 75.0)
LOWEST = -0.45  # of the radius
MIDLINE_GAP = 6.0  # mm: no region is nearer to the midline than this
RIGHT_JITTER = 2.0  # mm: the right hemisphere is not the mirror image of the left

ORIENTATIONS_ALIKE = 0.85  # correlation of the tilts of homotopic regions. Chosen.

# Tracts: some 30 % longer than the chord, none shorter than the way down to white matter and up again. Chosen.
TORTUOSITY = 1.3
SHORTEST_TRACT = 5.0
CALLOSUM_Y, CALLOSUM_Z = (-35.0, 40.0), 65.0  # mm, head frame: its extent and its height

# Of the seeds 0-399 the one nearest to the statistics of the human average, all of them weighed together.
DEFAULT_SEED = 15


def synthetic(n_regions: int, seed: int, recipe: str) -> Connectome:
    """The synthetic connectome: see `jnm.datasets.connectome`."""
    if n_regions < 4:
        raise ValueError(f"n_regions = {n_regions}; wanted at least 4, two in each hemisphere.")
    if n_regions % 2:
        return synthetic(n_regions + 1, seed, recipe).subset(range(n_regions))
    half = n_regions // 2
    rng = np.random.default_rng(seed)
    centres = _cortex(half, rng)
    width = max(2, len(str(half)))
    left = [f"{k + 1:0{width}d}" for k in range(half)]
    return Connectome(
        latent_weights(centres, rng, recipe),
        tract_lengths(centres),
        centres,
        _orientations(centres, rng),
        labels=[f"L{k}" for k in left] + [f"R{k}" for k in reversed(left)],
        frame="head",
        source="synthetic (jnm.datasets.connectome)",
    )


def _cortex(half: int, rng: np.random.Generator) -> Points:
    """Centres spread evenly over two hemispheres: a golden-angle spiral, equal steps of height being equal areas."""
    height = LOWEST + (1 - LOWEST) * (np.arange(half) + 0.5) / half
    golden = (1 + np.sqrt(5)) / 2
    azimuth = np.pi / 2 + np.pi * (np.arange(half) / golden % 1)
    across = np.sqrt(1 - height**2)
    radius = rng.uniform(*CORTEX_RADIUS, half)[:, None]
    left = radius * np.stack([across * np.cos(azimuth), across * np.sin(azimuth), height], axis=1)
    left = left[np.argsort(-left[:, 1])]
    right = left * [-1, 1, 1] + rng.normal(0, RIGHT_JITTER, (half, 3))
    right *= np.linalg.norm(left, axis=1, keepdims=True) / np.linalg.norm(right, axis=1, keepdims=True)
    left[:, 0] = np.minimum(left[:, 0], -MIDLINE_GAP)
    right[:, 0] = np.maximum(right[:, 0], MIDLINE_GAP)
    return np.concatenate([left, right[::-1]]) + HEAD_CENTRE


def _orientations(centres: Points, rng: np.random.Generator) -> Points:
    """Outward plus a tangential part of Rayleigh length: tilt atan(1.18) = 50 degrees in the median, never inward.

    The mean normals of 90 parcels of the MNE sample subject are tilted by 50 degrees in the median (quartiles 21, 82).
    """
    outward = centres - HEAD_CENTRE
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    step = _mirrored_vectors(rng.normal(size=centres.shape), homotopic(centres), ORIENTATIONS_ALIKE)
    tangential = step - np.sum(step * outward, axis=1, keepdims=True) * outward
    direction = outward + tangential
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


def tract_lengths(centres: Points) -> Matrix:
    """Tract lengths [to, from] in mm from centres: 1.3 times the distance, or the way through the corpus callosum.

    Tracts between the hemispheres cross the midline plane (x = 0) at z = 65 mm, at the mean y of the two regions within
    the extent of the callosum (-35 to 40 mm). None is shorter than 5 mm; the diagonal is zero. A model, not a
    measurement: tortuosity and callosum are chosen. `centres` are [region, 3] in mm in head coordinates.
    """
    centres = np.asarray(centres, dtype=float)
    chord = distance(centres)
    y = centres[:, 1]
    crossing_y = np.clip((y[:, None] + y[None, :]) / 2, *CALLOSUM_Y)
    to_callosum = np.sqrt(centres[:, :1] ** 2 + (y[:, None] - crossing_y) ** 2 + (centres[:, 2:] - CALLOSUM_Z) ** 2)
    way = np.where(_between_hemispheres(centres), to_callosum + to_callosum.T, chord)
    lengths = np.maximum(TORTUOSITY * way, SHORTEST_TRACT)
    np.fill_diagonal(lengths, 0.0)
    return lengths


def latent_weights(centres: Points, rng: np.random.Generator, recipe: str = DEFAULT_RECIPE) -> Matrix:
    """Synthetic weights [to, from] for centres in mm (x to the right of the midline), by one of `RECIPES`.

    Raises `ValueError` for an unknown recipe.
    """
    if recipe not in RECIPES:
        raise ValueError(f"no recipe {recipe!r} of a connectome; known are {', '.join(map(repr, RECIPES))}.")
    centres = np.asarray(centres, dtype=float)
    s = _bent_and_thinned(_log_affinity(centres, rng, RECIPES[recipe]), RECIPES[recipe])
    strength = STRENGTH_MEAN * np.exp(STRENGTH_SD * rng.normal(size=len(s)) - STRENGTH_SD**2 / 2)
    return s * (strength / s.sum(axis=1))[:, None]


def _log_affinity(centres: Points, rng: np.random.Generator, recipe: Recipe) -> Matrix:
    n, twin, alike = len(centres), homotopic(centres), recipe.mirrored
    hidden = centres + recipe.hidden_shift * _mirrored_vectors(rng.normal(size=(n, 3)), twin, alike)
    noise = np.triu(rng.normal(size=(n, n)))
    noise = noise + np.triu(noise, 1).T
    sociability = recipe.sociability * _mirrored(rng.normal(size=n), twin, alike)
    log_s = sociability[:, None] + sociability[None, :] + recipe.noise * _mirrored_pairs(noise, twin, alike)
    log_s -= distance(hidden) / recipe.scale
    log_s += recipe.homotopic * _homotopic_pairs(centres) - recipe.interhemispheric * _between_hemispheres(centres)
    return (log_s + log_s.T) / 2  # symmetric to the last bit, or the threshold below could leave out one direction


def _bent_and_thinned(log_s: Matrix, recipe: Recipe) -> Matrix:
    """exp, with the strongest bent down and the weakest pairs left out; the diagonal is zero."""
    between = off_diagonal(log_s)
    knee, floor = np.quantile(log_s[between], [0.9, ABSENT])
    strongest = np.max(np.where(between, log_s, -np.inf), axis=1)  # is kept, so that every region receives something
    kept = between & (log_s >= np.minimum(floor, np.minimum(strongest[:, None], strongest[None, :])))
    if np.isfinite(recipe.saturation):
        bent = knee - recipe.saturation * np.expm1(-np.maximum(log_s - knee, 0.0) / recipe.saturation)
        log_s = np.minimum(log_s, bent)
    s = np.where(kept, np.exp(log_s), 0.0)
    received = np.sqrt(s.sum(axis=1))
    return s / (1 + s / (recipe.crowding * np.outer(received, received)))


def homotopic(centres: Points) -> Twins | None:
    """For each region the one across the midline nearest to its mirror image (x to -x); None if one side is empty."""
    left = centres[:, 0] < 0
    if left.all() or not left.any():
        return None
    apart = np.linalg.norm(centres[:, None, :] * [-1, 1, 1] - centres[None, :, :], axis=-1)
    return np.argmin(np.where(left[:, None] == left[None, :], np.inf, apart), axis=1)


def _mirror_shares(alike: float) -> tuple[float, float]:
    """a, b with a^2 + b^2 = 1, 2ab = alike: a x + b x' keeps the variance and correlates so with its mirror."""
    plus, minus = np.sqrt(1 + alike), np.sqrt(1 - alike)
    return (plus + minus) / 2, (plus - minus) / 2


def _mirrored(draws: Float[np.ndarray, " region"], twin: Twins | None, alike: float) -> Float[np.ndarray, " region"]:
    a, b = _mirror_shares(alike)
    return draws if twin is None else a * draws + b * draws[twin]


def _mirrored_vectors(draws: Points, twin: Twins | None, alike: float) -> Points:
    a, b = _mirror_shares(alike)
    return draws if twin is None else a * draws + b * draws[twin] * [-1, 1, 1]


def _mirrored_pairs(draws: Matrix, twin: Twins | None, alike: float) -> Matrix:
    a, b = _mirror_shares(alike)
    return draws if twin is None else a * draws + b * draws[np.ix_(twin, twin)]


def _homotopic_pairs(centres: Points) -> np.ndarray:
    """True for pairs of regions that are each other's twin."""
    twin, region = homotopic(centres), np.arange(len(centres))
    if twin is None:
        return np.zeros((len(centres), len(centres)), dtype=bool)
    return (twin[:, None] == region[None, :]) & (twin[None, :] == region[:, None])


def _between_hemispheres(centres: Points) -> np.ndarray:
    left = centres[:, 0] < 0
    return left[:, None] != left[None, :]


def distance(points: Points) -> Matrix:
    """mm between every two points."""
    return np.linalg.norm(points[:, None, :] - points[None, :, :], axis=-1)


def off_diagonal(a: Matrix) -> np.ndarray:
    """True between different regions."""
    return ~np.eye(len(a), dtype=bool)
