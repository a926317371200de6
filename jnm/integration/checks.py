"""What `simulate` refuses, each with the cure."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jnm._model import AbstractModel, State, overrides
from jnm.integration.loop import Schedule
from jnm.integration.noise import noisy_part
from jnm.integration.record import is_traced
from jnm.integration.reduction import Reduction
from jnm.integration.stimulus import Sampled

_BLOCK_BYTES = 8e6  # states of a block are kept until it ends; more than the cache of a core is slower
_BLOCK_STEPS = 1000  # best for a single run of 90 regions (spec: 1000 for one run, about 100 for 64 members by vmap)
_FOR_NOISE = (diffrax.EulerHeun, diffrax.ItoMilstein, diffrax.StratonovichMilstein, diffrax.AbstractSRK)
_FOR_PARTS = (diffrax.SemiImplicitEuler, diffrax.AbstractFosterLangevinSRK)


def check_solver(model: AbstractModel, solver: diffrax.AbstractSolver, adaptive: bool) -> None:
    """Raise `ValueError` for a solver that does not solve this model's equation."""
    noisy, tableau = noisy_part(model) is not None, getattr(solver, "tableau", None)
    tolerance = getattr(getattr(solver, "root_finder", None), "rtol", 0.0)
    levy_area = getattr(solver, "minimal_levy_area", None)
    reasons = {
        "needs space-time-time Levy areas, which jnm does not draw; use diffrax.ShARK()": (
            levy_area is diffrax.AbstractSpaceTimeTimeLevyArea
        ),
        "is for equations in two parts, and a model is one; use diffrax.Heun()": (
            isinstance(solver, _FOR_PARTS) or isinstance(tableau, diffrax.MultiButcherTableau)
        ),
        "is for stochastic equations, and the model has no noise; use diffrax.Heun()": (
            isinstance(solver, _FOR_NOISE) and not noisy
        ),
        "remembers when its last step was, which the loop does not keep; use diffrax.Heun()": (
            isinstance(solver, diffrax.LeapfrogMidpoint) and not adaptive
        ),
        "needs tolerances of its own for fixed steps: root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-9)": (
            not isinstance(tolerance, float | jax.Array) and not adaptive
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(f"simulate: {type(solver).__name__} {reason}.")
    if noisy and model.calculus is not None:
        _check_calculus(model.calculus, solver)


def check_held(stimulus: Any, dt: float) -> None:
    """Raise `ValueError` for held samples of another interval than a whole number of steps."""
    if isinstance(stimulus, Sampled) and stimulus.hold:
        steps = stimulus.dt / dt
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps:
            raise ValueError(
                f"simulate: the stimulus holds each sample for {stimulus.dt:g} ms and dt = {dt:g} ms, so that steps would "
                "miss samples or see two; wanted a whole number of steps to a sample. Take another dt, or bins of it."
            )


def _check_calculus(calculus: str, solver: diffrax.AbstractSolver) -> None:
    kinds = {
        "ito": (diffrax.AbstractItoSolver, "diffrax.Euler() or ItoMilstein()"),
        "stratonovich": (diffrax.AbstractStratonovichSolver, "diffrax.Heun(), EulerHeun() or StratonovichMilstein()"),
    }
    kind, cure = kinds[calculus]
    additive = isinstance(solver, diffrax.AbstractSRK) and solver.tableau.is_additive_noise()
    if not isinstance(solver, kind) or additive:
        raise ValueError(
            f"simulate: the model's multiplicative noise is in the sense of {calculus.capitalize()}; "
            f"{type(solver).__name__} {'is for additive noise' if additive else 'does not converge'}. Use {cure}."
        )


def numbers(**times: Any) -> list[float]:
    """Times as Python floats; raises `ValueError` for those that are traced or no numbers."""
    for name, value in times.items():
        if is_traced(value):
            raise ValueError(
                f"simulate: {name} is traced by jit, vmap or grad; it fixes the number of steps: give a number."
            )
        if np.ndim(value) or not np.isrealobj(value) or isinstance(value, str):
            raise ValueError(f"simulate: {name} = {value!r}; wanted a number of ms.")
    return [float(value) for value in times.values()]


def schedule(
    model: AbstractModel, begin: float, t1: float, dt: float, save_every: Any, discard: float, block: int | None
) -> Schedule:
    """The run in steps; raises `ValueError` for times that are none."""
    if not 0 < dt < np.inf:
        raise ValueError(f"simulate: dt = {dt} ms; the step must be positive and finite.")
    if not begin < t1 < np.inf:
        raise ValueError(f"simulate: t1 = {t1} ms does not lie after the start at {begin} ms.")
    steps = _whole(t1 - begin, dt, "t1 - t0")
    stride = 1 if save_every is None else _whole(numbers(save_every=save_every)[0], dt, "save_every")
    skipped = _whole(discard, dt, "discard")
    if not 0 < stride <= steps or not 0 <= skipped <= steps - stride or skipped % stride:
        raise ValueError(
            f"simulate: save_every = {stride * dt:g} ms and discard = {skipped * dt:g} ms over {steps * dt:g} ms; "
            "wanted 0 < save_every <= t1 - t0 - discard and discard a multiple of save_every."
        )
    if block is not None and block < 1:
        raise ValueError(f"simulate: block = {block}; a block has one step or more.")
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(model.init)))
    most = max(1, min(block or _BLOCK_STEPS, int(_BLOCK_BYTES / max(size, 1)), steps))
    return Schedule(steps, stride, skipped, _block_length(steps, stride, most))


def _whole(span: float, dt: float, name: str) -> int:
    count = round(span / dt)
    if abs(count * dt - span) > 1e-3 * dt:
        raise ValueError(
            f"simulate: {name} = {span:g} ms is no whole number of steps of dt = {dt:g} ms; try {count * dt:g} ms."
        )
    return count


def _block_length(steps: int, stride: int, most: int) -> int:
    """Steps a block: at most `most`, a multiple or a divisor of the stride, and if possible a divisor of the whole."""
    if stride <= most:
        largest = most // stride
        whole = (k for k in range(largest, largest // 2, -1) if steps % (k * stride) == 0)
        return stride * next(whole, largest)
    divisors = [k for k in range(1, stride + 1) if stride % k == 0]
    below, above = max(k for k in divisors if k <= most), min(k for k in divisors if k > most)
    return above if 8 * below < most and above <= 8 * most else below  # a prime stride would leave blocks of one step


def check_start(model: AbstractModel, y0: State | None) -> State:
    """`y0` in the model's shapes and dtypes, or the model's own; raises `ValueError` where it does not fit."""
    like = model.init()
    if y0 is None:
        return like
    if jax.tree.structure(y0) != jax.tree.structure(like):
        raise ValueError(
            f"simulate: y0 is a {jax.tree.structure(y0)}; wanted the structure of model.init(), "
            f"{jax.tree.structure(like)}."
        )
    values, structure = jax.tree_util.tree_flatten_with_path(y0)
    return jax.tree.unflatten(
        structure, [_value(path, x, wanted) for (path, x), wanted in zip(values, jax.tree.leaves(like), strict=True)]
    )


def _value(path: Any, x: Any, like: jax.Array) -> jax.Array:
    name = jax.tree_util.keystr(path).lstrip(".")
    if jnp.shape(x) not in ((), like.shape):
        raise ValueError(f"simulate: y0.{name} has shape {list(jnp.shape(x))}; wanted {list(like.shape)}, or a number.")
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(
            f"simulate: the start is not finite in {name}; give finite numbers, or leave y0 out for model.init()."
        )
    return jnp.broadcast_to(jnp.asarray(x, like.dtype), like.shape)


def check_precision(model: AbstractModel, y0: State) -> None:
    """Raise `ValueError` for a model of which parts are in single and parts in double precision."""
    kinds = {str(x.dtype) for x in jax.tree.leaves((model, y0)) if eqx.is_inexact_array(x)}
    if len(kinds) > 1:
        raise ValueError(
            f"simulate: the model mixes {' and '.join(sorted(kinds))}; build its parts under one jax_enable_x64."
        )


def check_key(model: AbstractModel, key: PRNGKeyArray | None) -> PRNGKeyArray | None:
    """The key where the model uses one, None where it does not; raises `ValueError` for a missing one."""
    noisy, own_step = noisy_part(model) is not None, overrides(model, "step")
    if key is None and noisy:
        raise ValueError(
            "simulate: the model is noisy and needs key=jax.random.key(seed); a deterministic one has sigma=None."
        )
    if key is not None and not isinstance(key, jax.Array):
        raise ValueError(f"simulate: key = {key!r}; wanted jax.random.key(seed).")
    return key if noisy or own_step else None


def check_save(save: Any, save_every: float) -> None:
    """Raise `ValueError` for a reduction that counts on another sampling interval."""
    if isinstance(save, Reduction) and save.dt is not None and abs(save.dt - save_every) > 1e-6 * save.dt:
        raise ValueError(
            f"simulate: the reduction was made for samples every {save.dt:g} ms, but save_every = {save_every:g} ms."
        )


def check_past(model: AbstractModel, dt: float, history: Any, final: Any, y0: Any) -> None:
    """Raise `ValueError` for a past that would be ignored, or for two of them."""
    if final is not None and (history is not None or y0 is not None):
        raise ValueError("simulate: final= brings its own state and history; leave y0= and history= out.")
    if history is not None and model.delays(dt) is None:
        raise ValueError("simulate: history= is for networks with delays; this model has none (Network(..., speed=)).")
    if history is not None and not is_traced(history) and not np.all(np.isfinite(np.asarray(history))):
        raise ValueError("simulate: history= has values that are not finite.")
