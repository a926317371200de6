"""Whether a mass is told apart from the network: against twins of the network, which share input and graph with it.

Mass and network hear the same spikes, so unrelated series are no yardstick. A twin, the same graph and external events
with other membrane noise, is as good as a model can be that does not hear the network's own spikes: the ceiling, which a
mass that is handed them may pass. A network drawn anew, the graph, the events, the noise, is the floor. A mass is
*distinguished* where it differs from the twin by more than chance, at alpha = .01 on two sides. Correlations are
compared by Fisher's z, each with the effective samples of its series and averaged over the repeats; chi-squares by
Welch's t on their logarithms over repeats, for which it takes at least three. With hardly any membrane noise (set A) the
twin is the network itself: the ceiling is then 1 and everything is distinguished.
"""

from itertools import combinations
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnm.observe import chi_square, lag


def distinguished_by_correlation(
    mass: Float[np.ndarray, " repeat"],
    twin: Float[np.ndarray, " repeat"],
    samples: Float[np.ndarray, "2 repeat"],
    alpha: float = 0.01,
) -> float:
    """Whether (1 or 0) correlations of mass and of twin with the network differ; NaN if that cannot be asked.

    `samples` are the effective samples of both, by repeat.
    """
    from scipy.stats import norm

    z = np.arctanh(np.clip([mass, twin], -1 + 1e-12, 1 - 1e-12))
    worth = np.sum(np.maximum(samples - 3, 0), axis=1)
    if not np.all(np.isfinite(z)) or np.any(worth <= 0):
        return np.nan
    error = np.sqrt(np.sum(1 / worth))
    return float(abs(z[0].mean() - z[1].mean()) / error > norm.isf(alpha / 2))


def distinguished_by_spectrum(
    mass: Float[np.ndarray, " repeat"], twin: Float[np.ndarray, " repeat"], alpha: float = 0.01
) -> float:
    """Whether (1 or 0) the chi-squares of mass and of twin against the network differ; NaN below three repeats."""
    from scipy.stats import ttest_ind

    known = np.all(np.isfinite([mass, twin])) and np.all(np.array([mass, twin]) > 0)
    if len(mass) < 3 or not known:
        return np.nan
    found: Any = ttest_ind(np.log(mass), np.log(twin), equal_var=False)
    return float(found.pvalue < alpha)


def floor(
    V: Float[np.ndarray, "time repeat"], spectra: Float[np.ndarray, "frequency repeat"], dt: float
) -> tuple[float, float]:
    """Mean correlation (at its best lag) and chi-square of networks that have nothing in common but their parameters."""
    pairs = list(combinations(range(V.shape[1]), 2))
    if not pairs:
        return np.nan, np.nan
    rho = [float(lag(jnp.asarray(V[:, i]), jnp.asarray(V[:, j]), dt).correlation) for i, j in pairs]
    chi = [float(chi_square(jnp.asarray(spectra[:, i]), jnp.asarray(spectra[:, j]))) for i, j in pairs]
    return float(np.mean(rho)), float(np.mean(chi))
