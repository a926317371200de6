"""simulate(): run any model, and terms(): hand it to diffrax."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jnm._model import AbstractModel, State
from jnm.integration import checks
from jnm.integration.adaptive import adaptive_run
from jnm.integration.loop import Loop, takes_drive
from jnm.integration.noise import White, noisy_part
from jnm.integration.progress import moved_bar
from jnm.integration.record import make_record
from jnm.integration.reduction import Reduction
from jnm.integration.scheme import make_terms, plain_moment
from jnm.integration.solution import NOT_FINITE, OUTSIDE_DELAYS, SUCCESSFUL, Axes, Final, Solution, raise_failure
from jnm.integration.stepper import Stepper
from jnm.integration.stimulus import Stimulus


def terms(model: AbstractModel, path: diffrax.AbstractPath | None = None, stimulus: Stimulus | None = None):
    """The diffrax terms of a model, for `diffrax.diffeqsolve` and any solver of one's own.

    `path` is the Brownian path of a noisy model, one flat vector a step (`jnm.integration.StepNoise`); `stimulus(t)`
    gives a `Drive`. Raises `ValueError` for a noisy model without a path, a path without noise, and for networks with
    delays, which need `simulate` to keep their history.
    """
    if (noisy_part(model) is None) != (path is None):
        raise ValueError(
            "terms: a noisy model needs a path, jnm.integration.StepNoise(key, model, dt); other models have none."
        )
    if model.delays(1.0) is not None:
        raise ValueError("terms: diffrax keeps no history; a network with delays is run by jnm.simulate.")
    return make_terms(model, plain_moment(stimulus), path)


def simulate(
    model: AbstractModel,
    t1: float,
    dt: float,
    *,
    t0: float = 0.0,
    y0: State | None = None,
    key: PRNGKeyArray | None = None,
    solver: diffrax.AbstractSolver | None = None,
    save_every: float | None = None,
    discard: float = 0.0,
    save: Callable[..., Any] | Reduction | None = None,
    stimulus: Stimulus | None = None,
    noise: White | None = None,
    history: Array | None = None,
    final: Final | None = None,
    controller: diffrax.AbstractStepSizeController | None = None,
    block: int | None = None,
    throw: bool = True,
    progress: bool = False,
) -> Solution:
    """Integrate a model from `t0` to `t1` (ms) in steps of `dt` (ms); differentiable, and at home in jit and vmap.

        >>> sol = jnm.simulate(jnm.ING(), t1=200.0, dt=0.01)
        >>> sol = jnm.simulate(net, t1=2_000.0, dt=0.05, key=jax.random.key(0), save_every=1.0, discard=500.0)

    **Noise** needs a `key`; `noise=jnm.White(shared=.2)` correlates it between regions. The `solver` is any fixed-step
    diffrax solver (default `Heun`, or `Euler` for Ito noise); with a `controller` a deterministic model without delays
    is integrated adaptively, `dt` being the first step.

    **What is kept.** States every `save_every` ms (default every step) after `discard` ms, the start excluded;
    `save(t, y)` keeps a function of them, a `jnm.Reduction` folds them without keeping any. `save(t, y, drive)` also
    sees what reaches the model at that moment, stimulus and all that arrives through delays: the source of a network
    with delays is `save=lambda t, y, drive: net.source(t, y, drive)`; with `jnm.Drive()` it would hear the present.

    **Going on.** `final=solution.final` continues a run (same `t0`, `dt` and key) as if it had never stopped. `history`
    [time, region] gives the outputs before `t0` of a network with delays, one a step of dt, oldest first, the last one
    at `t0`; the default is a constant past.

    **Speed.** `block` is the number of steps whose noise is drawn at once (default up to 1000; about 100 is best for
    many members under vmap). `progress` shows a bar.

    Divergence is a code in `Solution.result`; `throw` raises it as `RuntimeError` after the run, naming time, variable
    and region. Under jit and vmap nothing is raised. Raises `ValueError` for impossible arguments.
    """
    t0, t1, dt, discard = checks.numbers(t0=t0, t1=t1, dt=dt, discard=discard)
    first = 0 if final is None else final.step
    begin = t0 + first * dt
    solver = _default_solver(model) if solver is None else solver
    checks.check_solver(model, solver, adaptive=controller is not None)
    checks.check_past(model, dt, history, final, y0)
    schedule = checks.schedule(model, begin, t1, dt, save_every, discard, block)
    checks.check_save(save, schedule.stride * dt)
    key = checks.check_key(model, key)
    y0 = checks.check_start(model, y0 if final is None else final.state)
    checks.check_precision(model, y0)
    past = history if final is None else final.history
    save = _keep_state if save is None else save
    if controller is None:
        checks.check_held(stimulus, dt)
        jumps = model.constrain(y0) is not y0 or stimulus is not None  # a stimulus may have edges
        stepper = Stepper(model, solver, stimulus, None, t0, dt, jumps, listens=takes_drive(save))
        with moved_bar(schedule.steps, progress) as report:
            loop = Loop(stepper, schedule, save, np.int32(first), key, White() if noise is None else noise, report)
            ys, result, failed, state, past = _run(loop, y0, past)
        stats = {"steps": schedule.steps, "failed": failed}
    else:
        ys, result, stats, state = adaptive_run(model, solver, controller, y0, stimulus, save, begin, dt, schedule)
    solution = Solution(
        ys,
        result,
        stats,
        Final(state, past, first + schedule.steps),
        make_record(
            model, key, (stimulus, noise, history), y0,
            t0_ms=t0, dt_ms=dt, first_step=first, steps=schedule.steps, solver=type(solver).__name__,
        ),
        Axes.of(model, schedule.discard * dt + begin, schedule.stride * dt, schedule.saved),
    )  # fmt: skip
    return raise_failure(solution, y0, t0, dt) if throw else solution


@eqx.filter_jit
def _run(loop: Loop, y0: State, past: Any):
    model, stepper = loop.stepper.model, loop.stepper
    delays = model.delays(stepper.dt)
    if delays is not None:
        past = delays.start(model.output(jnp.asarray(stepper.t0), y0), past)
        loop = eqx.tree_at(lambda l: l.stepper.delays, loop, delays, is_leaf=lambda x: x is None)
    ys, carry = loop.run(y0, past)
    result = jnp.where(carry.failed[0] >= 0, NOT_FINITE, SUCCESSFUL)
    if delays is not None:
        result = jnp.where(delays.within(), result, OUTSIDE_DELAYS)
    past = None if carry.past is None else carry.past.T
    return ys, result, carry.failed, carry.y, past


def _keep_state(t: Array, y: State) -> State:
    return y


def _default_solver(model: AbstractModel) -> diffrax.AbstractSolver:
    return diffrax.Euler() if model.calculus == "ito" else diffrax.Heun()
