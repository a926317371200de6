"""When an activity has come to repeat itself: what a search for an oscillation looks for at the end of a run.

Variables that are angles run on: what the model's `constrain` moves them back by is a full turn, and a state that comes
back but for full turns has come back.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnm._model import AbstractModel
from jnm.stability.field import flat, shaped

SAMPLES = 4096  # of a run that looks for an oscillation
TRIES = 4  # runs, each twice as long as the last
UNBOUNDED = "the activity leaves all bounds"
RESTS = "the activity comes to rest"
WANDERS = "the activity neither rests nor repeats itself"
_AMPLITUDE = 1e-4  # smallest swing, relative to the state's size, that is called an oscillation
_CLOSE = 0.01  # distance of two passages, relative to the cycle's size, below which they are one


class Lap(NamedTuple):
    """The last lap of a run."""

    states: Float[np.ndarray, "time n"]
    turns: Float[np.ndarray, " n"]
    """What it adds to variables that are angles."""
    size: Float[np.ndarray, " n"]
    """What is large for each variable."""

    @property
    def phases(self) -> Float[np.ndarray, " time"]:
        """Of the states, from 0 to below 1."""
        return np.linspace(0, 1, len(self.states), endpoint=False)

    def is_seen_in(self, z: Float[np.ndarray, " unknown"], period: float) -> bool:
        """Whether an orbit z = (states, T) has the period of the lap and swings: a fixed point, too, would repeat itself."""
        swing = (np.ptp(z[:-1].reshape(-1, len(self.size)), axis=0) + np.abs(self.turns)) / self.size
        return bool(0.5 < z[-1] / period < 2 and np.max(swing) > _AMPLITUDE)


def last_lap(model: AbstractModel, run: Float[np.ndarray, "time n"]) -> tuple[Lap | None, str]:
    """The last lap of what has settled down, or how it goes on instead."""
    if not np.all(np.isfinite(run)):
        return None, UNBOUNDED
    turn = _turns(model, run)
    size = np.where(turn > 0, turn, np.max(np.abs(run), axis=0) + 0.02 * np.max(np.abs(run)) + 1e-300)
    if np.max(np.ptp(run, axis=0) / size) < _AMPLITUDE:
        return None, RESTS
    whole = _rounded(run - run[-1], turn)
    start = _passage((run - run[-1] - whole) / size)
    if start is None:
        return None, WANDERS
    return Lap(run[start:-1] - _rounded(run[start], turn), -whole[start], size), WANDERS


def _turns(model: AbstractModel, run: Float[np.ndarray, "time n"]) -> Float[np.ndarray, " n"]:
    """A full turn of each angle: by how much `constrain` moves it back, wherever it is; zero for other variables."""

    def inside(run):
        return np.asarray(jax.vmap(lambda x: flat(model.constrain(shaped(model, x))))(jnp.asarray(run)))

    within = inside(run)
    turn = np.max(np.abs(np.diff(run - within, axis=0)), axis=0)
    undone = np.median(np.abs(inside(run + turn) - within), axis=0) < 1e-6 * turn
    return np.where(undone, turn, 0.0)


def _rounded(x: Float[np.ndarray, "... n"], turn: Float[np.ndarray, " n"]) -> Float[np.ndarray, "... n"]:
    """To full turns; zero for variables that have none."""
    return turn * np.round(x / np.where(turn > 0, turn, 1.0))


def _passage(away: Float[np.ndarray, "time n"]) -> int | None:
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
