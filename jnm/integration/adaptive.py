"""Adaptive steps: a smooth deterministic model handed to `diffrax.diffeqsolve`."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from jnm._model import AbstractModel, State, overrides
from jnm.integration.loop import Schedule, takes_drive
from jnm.integration.noise import noisy_part
from jnm.integration.reduction import Reduction
from jnm.integration.scheme import make_terms, plain_moment
from jnm.integration.solution import GAVE_UP, NOT_FINITE, SUCCESSFUL
from jnm.integration.stimulus import Stimulus


def adaptive_run(
    model: AbstractModel,
    solver: diffrax.AbstractSolver,
    controller: diffrax.AbstractStepSizeController,
    y0: State,
    stimulus: Stimulus | None,
    save: Callable[..., Any] | Reduction,
    begin: float,
    dt: float,
    schedule: Schedule,
) -> tuple[Any, jax.Array, dict[str, Any], State]:
    """Saved values, result, statistics and last state; raises `ValueError` for what adaptive steps cannot do."""
    _refuse(model, y0, dt, save)
    moment = plain_moment(stimulus)
    keep: Any = (lambda t, y: save(t, y, moment(t)[1])) if takes_drive(save) else save  # pyright: ignore[reportCallIssue]
    interval, end = schedule.stride * dt, begin + schedule.steps * dt
    times = begin + schedule.discard * dt + interval * jnp.arange(1, schedule.saved + 1)
    times = jnp.minimum(times, jnp.asarray(end, times.dtype))  # the last one, rounded, may lie behind the end
    solution = diffrax.diffeqsolve(
        make_terms(model, moment, None),
        solver, begin, end, dt, y0,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=times, fn=lambda t, y, args: keep(t, y)),
                diffrax.SubSaveAt(t1=True),
            ]
        ),
        stepsize_controller=controller, max_steps=10 * schedule.steps + 4096, throw=False,
    )  # fmt: skip
    ys, last = solution.ys  # pyright: ignore[reportGeneralTypeIssues]
    state = jax.tree.map(lambda x: x[0], last)
    done = solution.result == diffrax.RESULTS.successful
    finite = jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(state)]).all()
    result = jnp.where(done, jnp.where(finite, SUCCESSFUL, NOT_FINITE), GAVE_UP)
    return ys, result, dict(solution.stats), state


def _refuse(model: AbstractModel, y0: State, dt: float, save: Any) -> None:
    reasons = {
        "noise": noisy_part(model) is not None,
        "delays": model.delays(dt) is not None,
        "a constraint": model.constrain(y0) is not y0,
        "a step of its own": overrides(model, "step"),
        "a Reduction to fold": isinstance(save, Reduction),
    }
    found = [reason for reason, present in reasons.items() if present]
    if found:
        raise ValueError(
            f"simulate: adaptive steps are for smooth deterministic models; this one has {' and '.join(found)}. Leave "
            "controller= out for fixed steps."
        )
