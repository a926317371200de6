"""How well a method explains what it was shown, and predicts what it was not: later time, and whole sensor sites."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jnm.studies.evoked.fit import Task, View, share
from jnm.studies.evoked.model import INTERVAL

BLOCK = 25.0
"""ms: one independent sample below 40 Hz is 12.5 ms; standard errors of later time are over blocks of two."""


class Method(NamedTuple):
    """One way to explain an average response."""

    numbers: int
    """How many it may choose freely."""
    predict: Callable[[Task, float], Float[np.ndarray, "time region"]]
    """From what a task shows to moments for so many ms."""
    looks_ahead: bool = True
    """Whether it has anything to say of times it was not shown."""


class Held(NamedTuple):
    """Data a prediction never saw, in blocks (stretches of time or groups of sites): sums of squares of each."""

    errors: Float[np.ndarray, " block"]
    totals: Float[np.ndarray, " block"]
    noise: Float[np.ndarray, " block"]

    @property
    def share(self) -> float:
        """The explained share of the explainable variance, over all blocks."""
        return share(self.errors, self.totals, self.noise)

    @property
    def without_each(self) -> Float[np.ndarray, " block"]:
        """The same without each block in turn."""
        return np.array([share(*(np.delete(x, i) for x in self)) for i in range(len(self.errors))])

    @property
    def error(self) -> float:
        """Standard error of the share."""
        return jackknife(self.without_each)

    @property
    def predicts(self) -> bool:
        """Whether the share is above zero by more than two standard errors."""
        return self.share > 2 * self.error


def jackknife(without_each: Float[np.ndarray, " block"]) -> float:
    """The standard error of a statistic, from its values without each block in turn."""
    n = len(without_each)
    return float(np.sqrt((n - 1) / n * np.sum((without_each - without_each.mean()) ** 2)))


class Score(NamedTuple):
    """How well one method explains what it was fitted to, and predicts what it was not."""

    method: str
    numbers: int
    """How many it may choose freely."""
    early: float
    """Share of 0 to `split` ms, to which it was fitted."""
    later: Held | None
    """Time after that; None: the method predicts none."""
    seen: float
    """Share at the sites to which it was fitted."""
    unseen: Held
    """The other sites."""


class Contrast(NamedTuple):
    """The true connectome's share minus that of permuted ones, on the same held-out blocks."""

    difference: float
    error: float

    @classmethod
    def of(cls, true: Held, permuted: list[Held]) -> "Contrast":
        """Averaged over permutations; the error is over blocks, with the spread over permutations in it."""
        differences = np.array([true.share - other.share for other in permuted])
        over_blocks = jackknife(np.mean([true.without_each - other.without_each for other in permuted], axis=0))
        spread = np.std(differences, ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
        return cls(float(differences.mean()), float(np.hypot(over_blocks, spread)))

    @property
    def beats(self) -> bool:
        """Whether the true connectome is better by more than two standard errors."""
        return self.difference > 2 * self.error


def judge(name: str, method: Method, whole: Task, sites: list[tuple[Task, View]], split: float, bar: Any) -> Score:
    """Fit a method to the time before `split` (ms), and to each of `sites`' larger parts; judge it on what it did not see."""
    bar.set_postfix_str(name, refresh=False)
    seen = round(split / INTERVAL)
    ahead = method.predict(whole.until(split), whole.duration if method.looks_ahead else split)
    bar.update()
    early = whole.view.until(seen)
    later = _blocks(whole.view, ahead, seen) if method.looks_ahead else None
    fitted, held = [], []
    for task, unseen in sites:
        moments = method.predict(task, whole.duration)
        fitted.append(_sums(task.view, moments))
        held.append(_sums(unseen, moments))
        bar.update()
    return Score(
        name, method.numbers, share(early.errors(ahead[:seen]), early.totals, early.noise), later,
        Held(*np.transpose(fitted)).share, Held(*np.transpose(held)),
    )  # fmt: skip


def _blocks(view: View, moments: np.ndarray, seen: int) -> Held:
    """What comes after the samples seen, in blocks of `BLOCK` ms."""
    size = round(BLOCK / INTERVAL)
    errors, totals = (x[seen:].reshape(-1, size).sum(axis=1) for x in (view.errors(moments), view.totals))
    return Held(errors, totals, np.full(len(totals), view.noise * size))


def _sums(view: View, moments: np.ndarray) -> tuple[float, float, float]:
    return float(view.errors(moments).sum()), float(view.totals.sum()), view.noise * len(view.data)


def nothing(like: Score) -> Score:
    """No model: explains nothing, by definition."""
    later, unseen = (None if held is None else held._replace(errors=held.totals) for held in (like.later, like.unseen))
    assert unseen is not None
    return Score("nothing", 0, 0.0, later, 0.0, unseen)


def _permuted(scores: list[Score]) -> list[Score]:
    return [score for score in scores if score.method.startswith("permuted ")]


def mean_permuted(scores: list[Score]) -> Score:
    """One row for all permuted connectomes: sums of squares averaged."""
    all_of = _permuted(scores)

    def mean(held: list[Held]) -> Held:
        return Held(*(np.mean([getattr(h, name) for h in held], axis=0) for name in Held._fields))

    return Score(
        f"network, permuted ({len(all_of)})", all_of[0].numbers, float(np.mean([s.early for s in all_of])),
        mean([s.later for s in all_of if s.later is not None]), float(np.mean([s.seen for s in all_of])),
        mean([s.unseen for s in all_of]),
    )  # fmt: skip


def contrasts(scores: list[Score]) -> dict[str, Contrast]:
    """Does anatomy matter? The network's shares against those of permuted ones, on later time and unseen sites.

    How permutations scatter is known from two of them on; the error of one alone is infinite.
    """
    ours, others = next(score for score in scores if score.method == "network"), _permuted(scores)
    assert ours.later is not None
    found = {
        "later time": Contrast.of(ours.later, [s.later for s in others if s.later is not None]),
        "unseen sites": Contrast.of(ours.unseen, [s.unseen for s in others]),
    }
    return found if len(others) > 1 else {name: c._replace(error=np.inf) for name, c in found.items()}
