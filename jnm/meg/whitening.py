r"""From channels of several units to numbers whose noise is white, in as many dimensions as the noise has.

With C the noise covariance, U an orthonormal basis of the field patterns that projectors take out, P = 1 - U U',

    P C P = V diag(lambda) V',  lambda > 0,      W = diag(lambda)^-1/2 V' P,      M = V diag(lambda)^1/2

W makes white numbers of data and of lead fields, M makes noise of white numbers: W M = 1. Channels are first divided by
their standard deviation, since fT, fT/cm and uV have no common scale to judge a rank by. There P takes out another
complement of the patterns than projectors do in the channels' own units, which W does not feel (it is blind to the
patterns) but noise does: M goes through the projectors of the recording last, so that M M' is its covariance.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

NOISE_FLOOR = 1e-7  # of the largest eigenvalue of the noise in standardised channels: below it, rounding of a file


def whitener(
    covariance: Float[np.ndarray, "channel channel"],
    patterns: Float[np.ndarray, "projector channel"],
    ch_names: Sequence[str],
) -> Float[np.ndarray, "rank channel"]:
    """W. Raises `ValueError` for a channel whose noise has no variance."""
    sd = _deviations(covariance, ch_names)
    values, vectors, P = _eigen(covariance, patterns, sd)
    return (vectors / np.sqrt(values)).T @ P / sd[None]


def colouring(
    covariance: Float[np.ndarray, "channel channel"],
    patterns: Float[np.ndarray, "projector channel"],
    ch_names: Sequence[str],
) -> Float[np.ndarray, "channel rank"]:
    """M, with M M' the covariance of what projectors leave."""
    sd, U = _deviations(covariance, ch_names), span(patterns)
    values, vectors, _ = _eigen(covariance, patterns, sd)
    M = sd[:, None] * vectors * np.sqrt(values)
    return M - U @ (U.T @ M)


def warn_of_rank(rank: int, left: int, ch_names: Sequence[str]) -> None:
    """Warn, on behalf of who called the caller, of a covariance of another rank than the recording has left."""
    if rank != left:
        warnings.warn(
            f"the noise covariance has rank {rank} on these {len(ch_names)} channels, projectors and Maxwell filters "
            f"leave the recording {left}: {rank} dimensions are used. Compute the covariance from data that went through "
            "the same steps, from at least five times as many samples as channels.",
            stacklevel=3,
        )


def span(patterns: Float[np.ndarray, "projector channel"]) -> Float[np.ndarray, "channel n"]:
    """An orthonormal basis of the patterns; those that hardly touch these channels fall out."""
    U, sizes, _ = np.linalg.svd(patterns.T, full_matrices=False)
    return U[:, sizes > 1e-6 * sizes.max(initial=0.0)]


def _deviations(covariance: np.ndarray, ch_names: Sequence[str]) -> np.ndarray:
    if not np.all(np.isfinite(covariance)):
        worst = ch_names[int(np.argmax((~np.isfinite(covariance)).sum(axis=0)))]
        raise ValueError(f"the noise covariance has NaN or infinite numbers for {worst}; mark it as bad.")
    sd = np.sqrt(np.diag(covariance))
    if not np.all(sd > 0):
        raise ValueError(f"the noise covariance has no variance for {ch_names[int(np.argmin(sd))]}; mark it as bad.")
    return sd


def _eigen(covariance: np.ndarray, patterns: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    U = span(patterns / sd[None])
    P = np.eye(len(sd)) - U @ U.T
    values, vectors = np.linalg.eigh(P @ (covariance / (sd[:, None] * sd[None])) @ P)
    kept = values > NOISE_FLOOR * values[-1]
    return values[kept], vectors[:, kept], P
