"""One fit as a function of arrays, so that many are one program: what a batch of fits (`jnm.fitting.fit_sweep`) computes.

The steps are those of `jnm.fit`, taken in a `lax.scan` instead of a Python loop, on the same noise keys. A fit that has come
to where no step is finite stands still there, while those beside it go on.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from jnm.fitting.fit import HOPELESS
from jnm.fitting.free import Build
from jnm.fitting.least_squares import solved
from jnm.fitting.loss import AbstractLikelihood
from jnm.fitting.step import Plan, losses, one_step
from jnm.fitting.uncertainty import of_likelihood, uncertainty
from jnm.integration.solution import SUCCESSFUL

_STEP_KEYS = 1  # folded into the key for the noise that Levenberg and Marquardt's steps share, as in `least_squares`
_REPORT_KEYS = 16  # noise keys over which standard errors are averaged, as in `Fit.report`


class Case(eqx.Module):
    """What is fitted in one member: the model it starts from, its own arrays of the loss, the seed of its noise."""

    model: Any
    data: tuple[Array, ...]
    seed: Int[Array, ""] | None


class Descent(eqx.Module):
    """A fit of one case: `descent(case)` gives its estimates by name, its losses and how it ended."""

    loss: Any
    data: tuple[int, ...] = eqx.field(static=True)
    """Which leaves of the loss are each case's own."""
    build: Build
    optimiser: Any
    steps: int = eqx.field(static=True)
    key: PRNGKeyArray
    keys_per_step: int = eqx.field(static=True)
    redraw_every: int | None = eqx.field(static=True)
    clip: float | None = eqx.field(static=True)
    judge_every: int = eqx.field(static=True)
    judge_keys: int = eqx.field(static=True)
    errors: bool = eqx.field(static=True)

    def __call__(self, case: Case) -> Any:
        from jnm.sweeps.output import BAD_START, STUCK, Outcome  # a fit alone does not need sweeps

        build = dataclasses.replace(self.build, model=case.model)
        parts = (self.loss_of(case), build, self.optimiser, self.key_of(case))
        plan = Plan(*parts, self.keys_per_step, self.redraw_every, self.clip, self.judge_every, self.judge_keys)
        run = _squares if is_solver(self.optimiser) else _descend
        start = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), build.start())  # a weak type would change in the loop
        theta, start_loss, loss, stuck, told = run(plan, start, self.steps)
        values = build.values(theta)
        failed = jnp.isnan(start_loss)
        estimates = {name: jnp.where(failed, jnp.nan, value) for name, value in values.items()}
        spreads = {f"{name}_se": jnp.full_like(value, jnp.nan) for name, value in values.items() if self.errors}
        units = {**build.units, **{f"{name}_se": unit for name, unit in build.units.items()}}
        return Outcome(
            {**estimates, **spreads, "loss": loss, "start_loss": start_loss, **told},
            jnp.where(failed, BAD_START, jnp.where(stuck, STUCK, SUCCESSFUL)),
            tuple(units.items()),
            (*spreads, "start_loss", "gradient_norm"),
        )

    def loss_of(self, case: Case) -> Any:
        """The loss with the arrays of a case in it."""
        leaves, structure = jtu.tree_flatten(self.loss)
        for leaf, own in zip(self.data, case.data, strict=True):
            leaves[leaf] = own
        return jtu.tree_unflatten(structure, leaves)

    def key_of(self, case: Case) -> PRNGKeyArray:
        """The key of a case's noise: common to all, but for an axis of seeds."""
        return self.key if case.seed is None else jax.random.fold_in(self.key, case.seed)

    def finish_members(self, inputs: list[tuple[Case, None]], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """With the standard errors of all finite estimates, if they are asked for; they are no part of the program."""
        if not self.errors:
            return arrays
        names = self.build.names
        filled = {**arrays, **{f"{name}_se": arrays[f"{name}_se"].copy() for name in names}}
        for i, (case, _) in enumerate(inputs):
            for name, spread in self.spread(case, {name: arrays[name][i] for name in names}).items():
                filled[f"{name}_se"][i] = spread
        return filled

    def spread(self, case: Case, estimates: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Standard errors of the estimates of a case, in their units; NaN where the loss tells nothing of one.

        Those of theta (`jnm.fitting.uncertainty`) times the slope of each parameter's bijection.
        """
        build = dataclasses.replace(self.build, model=case.model)
        nothing = {name: np.full(np.shape(value), np.nan) for name, value in estimates.items()}
        if not all(np.isfinite(value).all() for value in estimates.values()):
            return nothing
        theta = {name: build.domains[name].unconstrain(jnp.asarray(value)) for name, value in estimates.items()}
        sd = _sd(self.loss_of(case), build, jtu.tree_unflatten(build.structure, theta.values()), self.key_of(case))
        if sd is None:
            return nothing
        pieces = np.split(sd, np.cumsum([np.size(x) for x in theta.values()])[:-1])
        ones = jax.tree.map(jnp.ones_like, theta)
        slopes = {name: jax.jvp(build.domains[name].constrain, (theta[name],), (ones[name],))[1] for name in theta}
        return {
            name: np.abs(np.asarray(slopes[name])) * piece.reshape(np.shape(theta[name]))
            for name, piece in zip(theta, pieces, strict=True)
        }


def is_solver(optimiser: Any) -> bool:
    """Whether it is one of optimistix for least squares, and not an optax optimiser."""
    import optimistix

    return isinstance(optimiser, optimistix.AbstractLeastSquaresSolver)


def _judged(plan: Any, theta: PyTree) -> tuple[Array, Array]:
    """The mean loss on the keys for judging, infinite if one of them is not finite; whether any is."""
    keys = jax.random.split(jax.random.fold_in(plan.key, 0), plan.judge_keys)
    found = losses(plan.loss, plan.build, theta, keys)
    return jnp.where(jnp.isfinite(found).all(), jnp.mean(found), jnp.inf), jnp.isfinite(found).any()


def _descend(plan: Any, start: PyTree, steps: int) -> Any:
    """Steps of an optimiser from optax: the best theta, first and best judged loss, whether it got stuck, what to tell."""
    dtype = jnp.result_type(*jtu.tree_leaves(start))
    inf, zero = jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)

    def judge(now):
        judged, any_finite = _judged(plan, now["theta"])
        first = jnp.where(any_finite, judged, jnp.nan).astype(dtype)
        better = judged < now["loss"]
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), now["theta"], now["best"])
        at = jnp.where(better, now["step"], now["best_step"])
        loss = jnp.where(better, judged, now["loss"]).astype(dtype)
        start_loss = jnp.where(now["step"] == 0, first, now["start_loss"])
        return {**now, "best": best, "loss": loss, "best_step": at, "start_loss": start_loss}

    def step(now, number):
        old = (now["theta"], now["memory"])
        new, _, norm, good = one_step(plan, *old, plan.step_keys(number))
        stuck = now["in_a_row"] >= HOPELESS
        theta, memory = jax.tree.map(lambda a, b: jnp.where(stuck, a, b), old, new)
        skipped = ~good & ~stuck
        return {
            **now,
            "theta": theta,
            "memory": memory,
            "step": now["step"] + ~stuck,
            "skipped": now["skipped"] + skipped,
            "in_a_row": jnp.where(good & ~stuck, 0, now["in_a_row"] + skipped),
            "gradient_norm": jnp.where(stuck, now["gradient_norm"], norm).astype(dtype),
        }

    def turn(now, number):
        due = (number % plan.judge_every == 0) | (number == steps)
        now = jax.lax.cond(due, judge, lambda now: now, now)
        return jax.lax.cond(number < steps, lambda now: step(now, number), lambda now: now, now), None

    begin = dict(theta=start, memory=plan.optimiser.init(start), best=start, loss=inf, start_loss=inf)
    counts = dict.fromkeys(("step", "best_step", "skipped", "in_a_row"), zero)
    end, _ = jax.lax.scan(turn, {**begin, **counts, "gradient_norm": inf}, jnp.arange(steps + 1))
    told = {name: end[name] for name in ("step", "best_step", "skipped", "gradient_norm")}
    return end["best"], end["start_loss"], end["loss"], end["in_a_row"] >= HOPELESS, told


def _squares(plan: Any, start: PyTree, steps: int) -> Any:
    """Steps of a least-squares solver from optimistix on noise keys that stay the same; as `_descend`."""
    terms = plan.loss.terms()
    keys = jax.random.split(jax.random.fold_in(plan.key, _STEP_KEYS), plan.keys_per_step)
    judged, any_finite = _judged(plan, start)
    found, taken, arrived = solved(plan.optimiser, terms, plan.build, start, keys, steps)
    loss, _ = _judged(plan, found)
    told = {"step": jnp.asarray(taken, jnp.int32), "arrived": arrived}
    return found, jnp.where(any_finite, judged, jnp.nan), loss, jnp.asarray(False), told


def _sd(loss: Any, build: Any, theta: PyTree, key: PRNGKeyArray) -> np.ndarray | None:
    """Standard deviations of the flattened theta, NaN for what is not identified; None where there are none."""
    keys = jax.random.split(jax.random.fold_in(key, np.uint32(2**32 - 1)), _REPORT_KEYS)
    known = (
        of_likelihood(loss, build, theta)
        if isinstance(loss, AbstractLikelihood)
        else uncertainty(loss.terms(), build, theta, keys)
    )
    if not np.all(np.isfinite(known.covariance)) or known.freedom <= 0:
        return None
    sd = np.sqrt(np.maximum(np.diag(known.covariance), 0.0))
    sd[sorted({i for group in known.blind for i in group})] = np.nan
    return sd
