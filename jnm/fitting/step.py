"""One step of a fit: what stays the same (`Plan`), what a fit needs to go on (`State`), and from one state to the next.

Nothing depends on anything but the plan, the state and the number of the step, so a fit resumed from a checkpoint
equals one that never stopped bit for bit.

**Which theta is best?** The loss of a step is noisy, and its lowest value belongs to the luckiest noise, not to the
best theta. So every `judge_every` steps theta is judged on `judge_keys` keys of its own, the same throughout, which no
step ever sees: the noise is then common to all that are compared.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jnm.fitting.free import Build
from jnm.fitting.loss import LossFunction


class State(eqx.Module):
    """All that a fit needs to go on; what a checkpoint holds."""

    theta: PyTree
    optimiser: PyTree
    best_theta: PyTree
    best_loss: float
    best_step: int
    start_loss: float
    losses: np.ndarray
    gradient_norms: np.ndarray
    skipped: np.ndarray

    @property
    def step(self) -> int:
        """Steps done, the skipped ones among them."""
        return len(self.losses)


class Plan(eqx.Module):
    """What stays the same throughout a fit."""

    loss: LossFunction
    build: Build
    optimiser: optax.GradientTransformation
    key: PRNGKeyArray
    keys_per_step: int
    redraw_every: int | None
    clip: float | None
    judge_every: int
    judge_keys: int

    def start(self, theta: PyTree) -> State:
        theta = jax.tree.map(jnp.asarray, theta)
        judged = self.judged(theta)
        if not np.isfinite(judged).any():
            raise ValueError(
                f"fit: the loss at the start is not finite ({judged[0]}). Usual causes: a start where the simulation "
                "diverges, too large a dt, a measurement in other units. Try loss(build(theta), key) by hand."
            )
        return self.empty(theta, judgement(judged))

    def empty(self, theta: PyTree, judged: float = 0.0, steps: int = 0) -> State:
        memory = self.optimiser.init(theta)
        return State(theta, memory, theta, judged, 0, judged, np.zeros(steps), np.zeros(steps), np.zeros(steps, bool))

    def advance(self, state: State) -> State:
        """One step, judged if it is due."""
        keys = self.step_keys(state.step)
        (theta, memory), value, norm, good = one_step(self, state.theta, state.optimiser, keys)
        state = dataclasses.replace(
            state,
            theta=theta,
            optimiser=memory,
            losses=np.append(state.losses, float(value)),
            gradient_norms=np.append(state.gradient_norms, float(norm)),
            skipped=np.append(state.skipped, not bool(good)),
        )
        return state if state.step % self.judge_every else self.best_of(state)

    def best_of(self, state: State) -> State:
        """The state with its theta as the best one, if it is."""
        judged = judgement(self.judged(state.theta))
        if judged >= state.best_loss:
            return state
        return dataclasses.replace(state, best_theta=state.theta, best_loss=judged, best_step=state.step)

    def judged(self, theta: PyTree) -> np.ndarray:
        """The loss on each of the keys for judging."""
        return judged(self.loss, self.build, theta, self.key, self.judge_keys)

    def step_keys(self, step: int) -> PRNGKeyArray:
        drawn = 1 if self.redraw_every is None else 1 + step // self.redraw_every  # 0 is for judging
        return jax.random.split(jax.random.fold_in(self.key, drawn), self.keys_per_step)


def judged(loss: LossFunction, build: Build, theta: PyTree, key: PRNGKeyArray, judge_keys: int) -> np.ndarray:
    """The loss on each of the keys of a fit with this `key` that are for judging alone."""
    keys = jax.random.split(jax.random.fold_in(key, 0), judge_keys)
    return np.asarray(losses(loss, build, theta, keys), float)


def judgement(judged: np.ndarray) -> float:
    """One number from the losses on the keys for judging: infinite if one of them is not finite."""
    return float(judged.mean()) if np.isfinite(judged).all() else np.inf


@eqx.filter_jit
def losses(loss: LossFunction, build: Build, theta: PyTree, keys: PRNGKeyArray) -> Float[Array, " key"]:
    """The loss at theta for each of several noise keys."""
    model = build(theta)
    return jax.vmap(lambda key: loss(model, key))(keys)


@eqx.filter_jit
def one_step(plan: Plan, theta: PyTree, memory: PyTree, keys: PRNGKeyArray) -> tuple[Any, Array, Array, Array]:
    """(theta, optimiser memory), the old ones if anything is not finite; loss, gradient norm, whether all was."""
    value, gradient = jax.value_and_grad(lambda x: jnp.mean(losses(plan.loss, plan.build, x, keys)))(theta)
    norm = _norm(gradient)
    if plan.clip is not None:
        shrink = jnp.minimum(1.0, plan.clip / norm)
        gradient = jax.tree.map(lambda g: g * shrink.astype(g.dtype), gradient)
    updates, new_memory = plan.optimiser.update(gradient, memory, theta)
    new_theta = optax.apply_updates(theta, updates)
    good = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(_norm(new_theta))
    kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), (new_theta, new_memory), (theta, memory))
    return kept, value, norm, good


def _norm(tree: PyTree) -> Array:
    return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(tree)))
