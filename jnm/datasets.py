"""Connectomes to start from: a synthetic one, a measured one read from the data folder, and what they are compared by.

The synthetic connectome is a latent-space graph. Every region has a position in the head and a hidden position near it
(real tracts do not follow distance alone), drawn nearly alike in both hemispheres; with D_ij the distance between
hidden positions,

    log S_ij = -D_ij / scale + sociability_i + sociability_j + noise_ij - interhemispheric + homotopic,

saturated above its 90th percentile, the weakest connections left out. S is symmetric, and A = diag(c) S with c chosen
so that the row strengths are log-normal: exact detailed balance, hence a real spectrum, as in the human average of Deco
et al. (2017). The constants were fitted to that average's statistics (`statistics`; shared/spec/brain-network.md 4); no
weight of it is stored here. Misfits that remain: 16 or 17 eigenvalues above 0.1 instead of 20 (more of them cost a
smallest eigenvalue near -0.35 instead of -0.26), and weights that follow distance more closely (correlation -0.66
instead of -0.56).
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from jnm.network.connectome import Connectome

Matrix = Float[np.ndarray, "region region"]
Points = Float[np.ndarray, "region 3"]
Twins = Int[np.ndarray, " region"]

# Fitted by a simplex search over the mean statistics of eight seeds, then rounded. Distances in mm, the rest in logs.
SCALE = 21.0
HIDDEN_SHIFT = 23.0  # sd, mm, of the hidden position about the real one, per axis
SOCIABILITY = 0.32  # sd over regions
NOISE = 0.6  # sd over pairs
MIRRORED = 0.85  # correlation of every random draw with that of its mirror image
INTERHEMISPHERIC = 0.8
HOMOTOPIC = 1.2
SATURATION = 1.4  # log weights above the 90th percentile end this much above it
ABSENT = 0.009  # share of pairs without a connection
STRENGTH_MEAN, STRENGTH_SD = 3.39, 0.235  # of the afferent strength; sd of its logarithm (brain-network.md 4)

# The head: cortex 60-75 mm from a centre such as MEG sphere models have; nothing below the temporal poles. Chosen.
HEAD_CENTRE = (0.0, 5.0, 48.0)
CORTEX_RADIUS = (60.0, 75.0)
LOWEST = -0.45  # of the radius
MIDLINE_GAP = 6.0  # mm: no region is nearer to the midline than this
RIGHT_JITTER = 2.0  # mm: the right hemisphere is not the mirror image of the left

# Tracts: some 30 % longer than the chord, none shorter than the way down to white matter and up again. Chosen.
TORTUOSITY = 1.3
SHORTEST_TRACT = 5.0
CALLOSUM_Y, CALLOSUM_Z = (-35.0, 40.0), 65.0  # mm, head frame: its extent and its height

# Of the seeds 0-199 the one nearest to the statistics of the human average, all of them weighed together.
DEFAULT_SEED = 25

SC2017_CITATION = (
    "Deco et al. 2017, doi 10.1016/j.neuroimage.2017.03.023; Clusella et al. 2023, doi 10.1371/journal.pcbi.1010781"
)


def connectome(name: str = "synthetic", *, n_regions: int = 90, seed: int = DEFAULT_SEED) -> Connectome:
    """A connectome by name: "synthetic" (ships with jnm) or "sc2017" (human, AAL90, read from `data_dir()`).

    The synthetic one is the same on every machine: the left hemisphere from front to back (L01, L02, ...), then the
    right one in reversed order, so that regions i and n - 1 - i are homotopic; tract lengths in mm; centres in mm in
    MEG head coordinates (x right, y front, z up); unit orientations, outward but tilted, as the mean normals of
    cortical parcels are (exactly radial dipoles in a sphere make no magnetic field).

    **Arguments:** `n_regions` is even and at least 4; another `seed` is another brain of the same kind. "sc2017" takes
    neither: it has 90 regions, no lengths and no centres.

    Raises `ValueError` for an unknown name, an odd number of regions, or a seed or number for an empirical connectome.

    >>> jnm.datasets.connectome().normalised("rows").eigenvalues()[0]
    1.0
    """
    if name == "synthetic":
        return _synthetic(n_regions, seed)
    if name == "sc2017":
        if n_regions != 90 or seed != DEFAULT_SEED:
            raise ValueError("'sc2017' is one measurement of 90 regions; only 'synthetic' has n_regions and seed.")
        path = data_dir() / "connectome" / "sc2017.dat"
        return Connectome.read(path, source="human average of 16, AAL90", citation=SC2017_CITATION)
    raise ValueError(f"No connectome {name!r}; known are 'synthetic' and 'sc2017'. For a file: Connectome.read.")


def data_dir() -> Path:
    """The folder of recordings and oracles: environment variable JNM_DATA, else shared/data in a folder above this one.

    Raises `FileNotFoundError` when there is none: these data are not part of the package.
    """
    named = os.environ.get("JNM_DATA")
    here = Path.cwd()
    candidates = [Path(named)] if named else [above / "shared" / "data" for above in here.parents]
    for folder in candidates:
        if folder.is_dir():
            return folder
    tried = f"JNM_DATA={named} is no folder" if named else f"JNM_DATA is not set; no shared/data lies above {here}"
    raise FileNotFoundError(f"No data: {tried}. Set JNM_DATA to the folder of connectome/, meg/ and recordings/.")


def _synthetic(n_regions: int, seed: int) -> Connectome:
    if n_regions < 4 or n_regions % 2:
        raise ValueError(f"n_regions = {n_regions}; wanted an even number, at least 4: both hemispheres are alike.")
    half = n_regions // 2
    rng = np.random.default_rng(seed)
    centres = _cortex(half, rng)
    width = max(2, len(str(half)))
    left = [f"{k + 1:0{width}d}" for k in range(half)]
    return Connectome(
        latent_weights(centres, rng),
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
    step = _mirrored_vectors(rng.normal(size=centres.shape), homotopic(centres))
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
    chord = _distance(centres)
    y = centres[:, 1]
    crossing_y = np.clip((y[:, None] + y[None, :]) / 2, *CALLOSUM_Y)
    to_callosum = np.sqrt(centres[:, :1] ** 2 + (y[:, None] - crossing_y) ** 2 + (centres[:, 2:] - CALLOSUM_Z) ** 2)
    way = np.where(_between_hemispheres(centres), to_callosum + to_callosum.T, chord)
    lengths = np.maximum(TORTUOSITY * way, SHORTEST_TRACT)
    np.fill_diagonal(lengths, 0.0)
    return lengths


def latent_weights(centres: Points, rng: np.random.Generator) -> Matrix:
    """Synthetic weights [to, from] for centres in mm (x to the right of the midline), by the recipe above."""
    centres = np.asarray(centres, dtype=float)
    s = _saturated_and_thinned(_log_affinity(centres, rng))
    strength = STRENGTH_MEAN * np.exp(STRENGTH_SD * rng.normal(size=len(s)) - STRENGTH_SD**2 / 2)
    return s * (strength / s.sum(axis=1))[:, None]


def _log_affinity(centres: Points, rng: np.random.Generator) -> Matrix:
    n, twin = len(centres), homotopic(centres)
    hidden = centres + HIDDEN_SHIFT * _mirrored_vectors(rng.normal(size=(n, 3)), twin)
    noise = np.triu(rng.normal(size=(n, n)))
    noise = noise + np.triu(noise, 1).T
    sociability = SOCIABILITY * _mirrored(rng.normal(size=n), twin)
    log_s = sociability[:, None] + sociability[None, :] + NOISE * _mirrored_pairs(noise, twin)
    log_s -= _distance(hidden) / SCALE
    log_s += HOMOTOPIC * _homotopic_pairs(centres) - INTERHEMISPHERIC * _between_hemispheres(centres)
    return (log_s + log_s.T) / 2  # symmetric to the last bit, or the threshold below could leave out one direction


def _saturated_and_thinned(log_s: Matrix) -> Matrix:
    """exp, with what lies above the 90th percentile bent down and the weakest pairs left out; the diagonal is zero."""
    between = _off_diagonal(log_s)
    knee, floor = np.quantile(log_s[between], [0.9, ABSENT])
    strongest = np.max(np.where(between, log_s, -np.inf), axis=1)  # is kept, so that every region receives something
    kept = between & (log_s >= np.minimum(floor, np.minimum(strongest[:, None], strongest[None, :])))
    bent = knee - SATURATION * np.expm1(-np.maximum(log_s - knee, 0.0) / SATURATION)
    return np.where(kept, np.exp(np.minimum(log_s, bent)), 0.0)


def homotopic(centres: Points) -> Twins | None:
    """For each region the one across the midline nearest to its mirror image (x to -x); None if one side is empty."""
    left = centres[:, 0] < 0
    if left.all() or not left.any():
        return None
    apart = np.linalg.norm(centres[:, None, :] * [-1, 1, 1] - centres[None, :, :], axis=-1)
    return np.argmin(np.where(left[:, None] == left[None, :], np.inf, apart), axis=1)


def _mirror_shares() -> tuple[float, float]:
    """a, b with a^2 + b^2 = 1, 2ab = MIRRORED: a x + b x' keeps the variance and correlates so with its mirror."""
    plus, minus = np.sqrt(1 + MIRRORED), np.sqrt(1 - MIRRORED)
    return (plus + minus) / 2, (plus - minus) / 2


def _mirrored(draws: Float[np.ndarray, " region"], twin: Twins | None) -> Float[np.ndarray, " region"]:
    a, b = _mirror_shares()
    return draws if twin is None else a * draws + b * draws[twin]


def _mirrored_vectors(draws: Points, twin: Twins | None) -> Points:
    a, b = _mirror_shares()
    return draws if twin is None else a * draws + b * draws[twin] * [-1, 1, 1]


def _mirrored_pairs(draws: Matrix, twin: Twins | None) -> Matrix:
    a, b = _mirror_shares()
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


def _distance(points: Points) -> Matrix:
    return np.linalg.norm(points[:, None, :] - points[None, :, :], axis=-1)


def statistics(connectome: Connectome, twin: Twins | None = None) -> dict[str, float]:
    """Numbers by which connectomes are compared; those of the human average: shared/spec/brain-network.md section 4.

    Density; distribution of the weights that are not zero and of row and column sums; spectrum of the weights
    normalised by rows; and, where homotopic regions are known, shares and ratios between the hemispheres. Numbers that
    are not defined, such as the kurtosis of weights that are all equal, are left out.

    **Arguments:** `twin[i]` is the region homotopic to region i, where the left ones come first; without it the centres
    tell (see `homotopic`), and without centres the numbers that need it are left out.

    Raises `ValueError` for negative weights, for regions that receive nothing, and for fewer than three regions.

    >>> human = jnm.datasets.connectome("sc2017")
    >>> jnm.datasets.statistics(human, twin=np.arange(90)[::-1])["second_eigenvalue"]
    0.7393...
    """
    a = np.asarray(connectome.weights, dtype=float)
    if len(a) < 3 or np.any(a < 0):
        raise ValueError(f"statistics: {len(a)} regions, smallest weight {a.min():g}; wanted at least 3, none below 0.")
    centres = None if connectome.centres is None else np.asarray(connectome.centres, dtype=float)
    if twin is None and centres is not None:
        twin = homotopic(centres)
    result = {"density": connectome.density} | _spectral_statistics(connectome)
    with np.errstate(divide="ignore", invalid="ignore"):
        result |= _weight_statistics(a)
        if twin is not None:
            left = np.arange(len(a)) < twin if centres is None else centres[:, 0] < 0
            result |= _hemispheric_statistics(connectome, np.asarray(twin), left)
        if centres is not None:
            s, there = _symmetric_part(connectome), _off_diagonal(a) & (a > 0)
            result["correlation_log_weight_distance"] = _correlation(np.log(s[there]), _distance(centres)[there])
    return {name: value for name, value in result.items() if np.isfinite(value)}


def _weight_statistics(a: Matrix) -> dict[str, float]:
    weights = a[_off_diagonal(a) & (a > 0)]
    log = np.log(weights)
    strongest = np.sort(weights)[::-1][: round(len(weights) / 10)]
    received, sent = a.sum(axis=1), a.sum(axis=0)
    return {
        "weight_min": float(weights.min()),
        "weight_median": float(np.median(weights)),
        "weight_max": float(weights.max()),
        "log_weight_sd": float(log.std()),
        "log_weight_kurtosis": float(np.mean((log - log.mean()) ** 4) / log.var() ** 2),
        "top_tenth_share": float(strongest.sum() / weights.sum()),
        "strength_min": float(received.min()),
        "strength_median": float(np.median(received)),
        "strength_mean": float(received.mean()),
        "strength_max": float(received.max()),
        "strength_cv": float(received.std() / received.mean()),
        "sent_strength_cv": float(sent.std() / sent.mean()),
    }


def _spectral_statistics(connectome: Connectome) -> dict[str, float]:
    eigenvalues = connectome.normalised("rows").eigenvalues()
    values = np.real(eigenvalues)
    return {
        "second_eigenvalue": float(values[1]),
        "third_eigenvalue": float(values[2]),
        "smallest_eigenvalue": float(values[-1]),
        "positive_eigenvalues": int(np.sum(values > 0)),
        "eigenvalues_above_a_tenth": int(np.sum(values > 0.1)),
        "sum_of_squared_eigenvalues": float(np.sum(np.abs(eigenvalues) ** 2)),
    }


def _hemispheric_statistics(connectome: Connectome, twin: Twins, left: np.ndarray) -> dict[str, float]:
    a, s = np.asarray(connectome.weights, dtype=float), _symmetric_part(connectome)
    connected = _off_diagonal(a) & (a > 0)
    mirrored = s[np.ix_(twin, twin)]
    both = connected & (mirrored > 0)
    return {
        "interhemispheric_share": float(a[left[:, None] != left[None, :]].sum() / a.sum()),
        "homotopic_ratio": float(np.median(s[np.arange(len(a)), twin]) / np.median(s[connected])),
        "mirror_correlation": _correlation(np.log(s[both]), np.log(mirrored[both])),
    }


def _symmetric_part(connectome: Connectome) -> Matrix:
    """S of A = diag(c) S; without detailed balance the weights themselves."""
    a, c = np.asarray(connectome.weights, dtype=float), connectome.balance()
    return a if c is None else a / c[:, None]


def _off_diagonal(a: Matrix) -> np.ndarray:
    return ~np.eye(len(a), dtype=bool)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])
