"""Numbers by which connectomes are compared."""

import numpy as np

from jnm.datasets.synthetic import Matrix, Twins, distance, homotopic, off_diagonal
from jnm.network.connectome import Connectome


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
            s, there = _symmetric_part(connectome), off_diagonal(a) & (a > 0)
            result["correlation_log_weight_distance"] = _correlation(np.log(s[there]), distance(centres)[there])
    return {name: value for name, value in result.items() if np.isfinite(value)}


def _weight_statistics(a: Matrix) -> dict[str, float]:
    weights = a[off_diagonal(a) & (a > 0)]
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
    connected = off_diagonal(a) & (a > 0)
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


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])
