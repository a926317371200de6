"""When an activity has come to repeat itself: what a search for an oscillation looks for at the end of a run."""

import numpy as np
from jaxtyping import Float

SAMPLES = 4096  # of a run that looks for an oscillation
TRIES = 4  # runs, each twice as long as the last
AMPLITUDE = 1e-4  # smallest swing, relative to the state's size, that is called an oscillation
_CLOSE = 0.01  # distance of two passages, relative to the cycle's size, below which they are one


def sizes(states: Float[np.ndarray, "time n"]) -> Float[np.ndarray, " n"]:
    """What is large for each variable; those that hardly move are measured by the others."""
    return np.max(np.abs(states), axis=0) + 0.02 * np.max(np.abs(states)) + 1e-300


def last_lap(away: Float[np.ndarray, "time n"]) -> int | None:
    """Where the last passage close to the end was, from the ways there; None if it never came back."""
    gap = np.linalg.norm(away, axis=1)
    far = np.flatnonzero(gap > 0.5 * np.max(gap))
    if not len(far):
        return None
    before = gap[: far[-1]]
    dips = 1 + np.flatnonzero(
        (before[1:-1] <= before[:-2]) & (before[1:-1] < before[2:]) & (before[1:-1] < 0.1 * gap.max())
    )
    # Of a cycle that goes round twice, the passage before the last comes less close: by parabolas between samples.
    left, middle, right = (before[dips + k] ** 2 for k in (-1, 0, 1))
    closest = np.sqrt(np.maximum(middle - (left - right) ** 2 / (8 * (left - 2 * middle + right) + 1e-300), 0.0))
    close = dips[closest < np.maximum(3 * np.min(closest, initial=np.inf), _CLOSE * gap.max())]
    return int(close[-1]) if len(close) else None
