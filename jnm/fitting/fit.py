"""fit(): gradient descent on a noisy loss that shows where it is, survives what goes wrong, and can be taken up again.

One loop over the steps of `jnm.fitting.step`, with a bar, checkpoints and reasons to stop.
"""

import dataclasses
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray, PyTree

from jnm._progress import progress_bar, someone_watches
from jnm.fitting import checkpoint as _checkpoint
from jnm.fitting.free import Build
from jnm.fitting.loss import LossFunction
from jnm.fitting.step import Plan, State

if TYPE_CHECKING:
    from jnm.fitting.report import Report

HOPELESS = 20  # skipped steps in a row: with fresh keys each time, theta itself is beyond repair


@dataclasses.dataclass(frozen=True)
class Fit:
    """What `jnm.fit` returns: the best theta, how the fit went, and `report()`."""

    theta: PyTree
    """The best theta found, as judged on keys that no step used."""
    best_loss: float
    """Its judged loss; after `jnm.fitting.polish` that of the polished theta, on the same keys."""
    best_step: int
    """After how many steps of descent it was found; 0 is the start."""
    start: PyTree
    start_loss: float
    last: PyTree
    """The theta of the last step."""
    losses: np.ndarray
    """The loss of each step, before the step was taken."""
    gradient_norms: np.ndarray
    """Of each step, before clipping."""
    skipped: np.ndarray
    """Which steps were skipped because something in them was not finite."""
    stopped: str
    """Why the fit ended."""
    loss: LossFunction
    build: Build
    key: PRNGKeyArray
    judge_keys: int
    """On how many keys theta was judged."""
    starts: tuple["Fit", ...] = ()
    """All fits of `multi_start`, this one among them; else empty."""

    @property
    def model(self) -> Any:
        """The fitted model."""
        return self.build(self.theta)

    def report(self, level: float = 0.9, keys: int = 16) -> "Report":
        """The estimates with their intervals at `level`, averaged over `keys` fresh noise keys; print it or show it."""
        from jnm.fitting.report import report

        return report(self, level, keys)

    def __repr__(self) -> str:
        names = ", ".join(self.build.names)
        return (
            f"Fit of {names}: loss {self.start_loss:.4g} -> {self.best_loss:.4g} in {len(self.losses)} steps "
            f"({int(self.skipped.sum())} skipped); {self.stopped}. report() gives estimates and intervals."
        )


def fit(
    loss: LossFunction,
    theta: PyTree,
    build: Build,
    optimiser: optax.GradientTransformation,
    steps: int,
    key: PRNGKeyArray,
    *,
    keys_per_step: int = 1,
    redraw_every: int | None = 1,
    clip: float | None = 1.0,
    patience: int | None = None,
    judge_every: int = 10,
    judge_keys: int = 4,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 50,
    progress: bool = True,
) -> Fit:
    """Fit a model's free parameters by gradient descent on `loss(model, key)`.

        >>> theta, build = jnm.free(net, where=lambda m: (m.node.eta, m.coupling.gain))
        >>> fit = jnm.fit(loss, theta, build, optax.adam(0.03), steps=300, key=jax.random.key(0), keys_per_step=4)
        >>> fit.report()

    **Arguments**

    - `loss`: `jnm.TimeCourseLoss`, `jnm.LogSpectralLoss`, a weighted sum of losses, or any function (model, key) ->
      scalar.
    - `theta`, `build`: from `jnm.free`. `optimiser`: from optax.
    - `steps`: in all, those of a checkpoint among them. `key`: for all noise of the fit.
    - `keys_per_step`: noise keys over which each step's gradient is averaged (a batch: memory grows with it).
    - `redraw_every`: steps after which new keys are drawn; None keeps the first ones, and fits that noise too.
    - `clip`: largest norm of the gradient a step uses; None for no limit.
    - `patience`: stop when the judged loss has not improved for so many steps.
    - `judge_every`, `judge_keys`: how often theta is judged, on how many keys (see `jnm.fitting.step`).
    - `checkpoint`: a file to resume from if it exists, written every `checkpoint_every` steps, at the end, and on
      ctrl-C, which ends the fit and returns what was done.

    Steps whose loss or gradient is not finite leave theta alone and are counted; 20 in a row end the fit.

    Raises `ValueError` before the first step if the loss at the start is not finite, the checkpoint belongs to
    another fit, or its path cannot be written.
    """
    _check_counts(
        steps=steps, keys_per_step=keys_per_step, redraw_every=redraw_every, patience=patience, judge_every=judge_every,
        judge_keys=judge_keys, checkpoint_every=checkpoint_every,
    )  # fmt: skip
    if clip is not None and not clip > 0:
        raise ValueError(f"fit: clip = {clip}; wanted a positive number, or None for no limit.")
    plan = Plan(loss, build, optimiser, key, keys_per_step, redraw_every, clip, judge_every, judge_keys)
    state, save = _begin(plan, theta, None if checkpoint is None else Path(checkpoint))
    state, stopped = _loop(plan, state, steps, patience, save, checkpoint_every, progress)
    save(state)
    state = plan.best_of(state)
    return Fit(
        theta=state.best_theta,
        best_loss=state.best_loss,
        best_step=state.best_step,
        start=theta,
        start_loss=state.start_loss,
        last=state.theta,
        losses=state.losses,
        gradient_norms=state.gradient_norms,
        skipped=state.skipped,
        stopped=stopped,
        loss=loss,
        build=build,
        key=key,
        judge_keys=judge_keys,
    )


def _begin(plan: Plan, theta: PyTree, path: Path | None) -> tuple[State, Callable[[State], None]]:
    """The state to start from, new or from a checkpoint, and how to save one."""
    if path is None:
        return plan.start(theta), lambda state: None
    _checkpoint.check_writable(path)
    settings = (plan.keys_per_step, plan.redraw_every, plan.clip, plan.judge_every, plan.judge_keys)
    whose = _checkpoint.identity(
        model=plan.build, loss=plan.loss, start=theta, key=plan.key, settings=settings,
        optimiser=str(jax.tree.structure(plan.optimiser.init(theta))),
    )  # fmt: skip

    def save(state: State) -> None:
        _checkpoint.write(path, whose, state.step, state)

    if path.exists():
        return _checkpoint.read(path, whose, lambda steps: plan.empty(theta, steps=steps)), save
    return plan.start(theta), save


def _loop(plan: Plan, state: State, steps, patience, save, save_every, progress) -> tuple[State, str]:
    with progress_bar(steps, progress and someone_watches(), initial=state.step, unit="step") as bar:
        try:
            while not (reason := _reason_to_stop(state, steps, patience)):
                state = plan.advance(state)
                bar.update()
                bar.set_postfix_str(
                    f"loss {state.losses[-1]:.4g}, best {state.best_loss:.4g}, skipped {state.skipped.sum()}",
                    refresh=False,
                )
                if state.step % save_every == 0:
                    save(state)
        except KeyboardInterrupt:
            reason = "interrupted by the user"
    return state, reason


def _reason_to_stop(state: State, steps: int, patience: int | None) -> str:
    if state.step >= steps:
        return "all steps done"
    if len(state.skipped) >= HOPELESS and state.skipped[-HOPELESS:].all():
        return f"{HOPELESS} steps in a row were not finite"
    if patience is not None and state.step - state.best_step >= patience:
        return f"no improvement in {patience} steps"
    return ""


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        optional = name in ("redraw_every", "patience")
        if not (count is None and optional) and not (isinstance(count, Integral) and count >= 1):
            raise ValueError(
                f"fit: {name} = {count!r}; wanted a whole number, at least 1{', or None' if optional else ''}."
            )
