"""simulate(): run any model, and terms(): hand it to diffrax."""

from collections.abc import Callable
from typing import Any, NoReturn

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jnm._model import AbstractModel, Drive, State, overrides
from jnm._version import versions
from jnm.integration.loop import Grid, Stimulus, blocked_scan, make_terms
from jnm.integration.noise import White, noisy_part
from jnm.integration.reduction import Reduction
from jnm.integration.solution import MESSAGES, NOT_FINITE, OUTSIDE_DELAYS, SUCCESSFUL, Final, Record, Solution, fingerprint

_BLOCK_BYTES = 8e6  # states of a block are kept until it ends; more than the cache of a core is slower
_BLOCK_STEPS = 1000  # best for a single run of 90 regions (spec: 1000 for one run, about 100 for 64 members by vmap)


def terms(model: AbstractModel, path: diffrax.AbstractPath | None = None, stimulus: Stimulus | None = None):
    """The diffrax terms of a model, for `diffrax.diffeqsolve` and any solver of one's own.

    `path` is the Brownian path of a noisy model, one flat vector a step (`jnm.integration.StepNoise`); `stimulus(t)` gives a
    `Drive`. Networks with delays need `simulate`, which keeps their history.
    """
    drive = (lambda t: Drive()) if stimulus is None else stimulus
    return make_terms(model, lambda t: (t, drive(t)), path)


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
    save: Callable[[Array, State], Any] | Reduction | None = None,
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
    diffrax solver (default `Heun`, or `Euler` for Ito noise); with a `controller` a deterministic model without delays is
    integrated adaptively, `dt` being the first step.

    **What is kept.** States every `save_every` ms (default every step) after `discard` ms, the start excluded;
    `save(t, y)` keeps a function of them, a `jnm.Reduction` folds them without keeping any.

    **Going on.** `final=solution.final` continues a run (same `t0`, `dt` and key) as if it had never stopped. `history`
    [time, region] gives the outputs before `t0` of a network with delays, oldest first; the default is a constant past.

    Divergence is a code in `Solution.result`; `throw` raises it as `RuntimeError` after the run, naming time, variable
    and region. Under jit and vmap nothing is raised. Raises `ValueError` for impossible arguments.
    """
    solver = _default_solver(model) if solver is None else solver
    _check_calculus(model, solver)
    first = 0 if final is None else final.step
    grid = _grid(t0, t1, dt, first, save_every, discard, block, model)
    y0 = _start(model, y0 if final is None else final.state)
    key = _check_key(model, key)
    save = _keep_state if save is None else save
    if controller is not None:
        return _adaptive(model, solver, controller, y0, stimulus, grid, save, throw)
    past = history if final is None else final.history
    report = _bar(grid.steps) if progress else None
    args = (model, solver, White() if noise is None else noise, stimulus, y0, past, key, np.int32(first), grid, save, report)
    ys, result, failed, state, past = _run(*args)
    record = _record(model, solver, key, grid, stimulus, y0)
    stats = {"steps": grid.steps, "failed": failed}
    end = Final(state, past, first + grid.steps)
    count = (grid.steps - grid.discard) // grid.stride
    begin = t0 + (first + grid.discard) * dt
    labels = _labels(model)
    solution = Solution(ys, result, stats, end, record, begin, grid.stride * dt, count, labels)
    return _raise(solution, y0, grid) if throw and not isinstance(result, jax.core.Tracer) and int(result) else solution


@eqx.filter_jit
def _run(model, solver, noise, stimulus, y0, past, key, first, grid: Grid, save, report):
    delays = model.delays(grid.dt)
    if delays is not None:
        past = delays.start(model.output(jnp.asarray(grid.t0), y0), past)
    ys, carry = blocked_scan(model, solver, noise, stimulus, y0, past, key, first, grid, save, report)
    result = jnp.where(carry.failed[0] >= 0, NOT_FINITE, SUCCESSFUL)
    if delays is not None:
        result = jnp.where(delays.within(), result, OUTSIDE_DELAYS)
    past = None if carry.past is None else carry.past.T
    return ys, result, carry.failed, carry.y, past


def _keep_state(t: Array, y: State) -> State:
    return y


def _default_solver(model: AbstractModel) -> diffrax.AbstractSolver:
    return diffrax.Euler() if model.calculus == "ito" else diffrax.Heun()


def _check_calculus(model: AbstractModel, solver: diffrax.AbstractSolver) -> None:
    name, needs_noise = type(solver).__name__, isinstance(solver, (diffrax.EulerHeun, diffrax.ItoMilstein, diffrax.StratonovichMilstein, diffrax.AbstractSRK))
    noisy = noisy_part(model) is not None
    if needs_noise and not noisy:
        raise ValueError(f"simulate: {name} is a solver for stochastic equations and the model has no noise; use diffrax.Heun().")
    if noisy and model.calculus is not None:
        wanted = diffrax.AbstractItoSolver if model.calculus == "ito" else diffrax.AbstractStratonovichSolver
        additive = isinstance(solver, diffrax.AbstractSRK) and solver.tableau.is_additive_noise()
        if not isinstance(solver, wanted) or additive:
            raise ValueError(
                f"simulate: the model's multiplicative noise is meant in the sense of {model.calculus.capitalize()}; "
                f"{name} converges to another equation. Use " + ("diffrax.Euler or ItoMilstein." if model.calculus == "ito" else "diffrax.Heun, EulerHeun or StratonovichMilstein.")
            )
    if noisy and getattr(solver, "minimal_levy_area", None) is diffrax.AbstractSpaceTimeTimeLevyArea:
        raise ValueError(f"simulate: {name} needs space-time-time Levy areas, which jnm does not draw; use diffrax.ShARK().")


def _grid(t0, t1, dt, first, save_every, discard, block, model) -> Grid:
    if not dt > 0:
        raise ValueError(f"simulate: dt = {dt} ms; the step must be positive.")
    begin = t0 + first * dt
    if not t1 > begin:
        raise ValueError(f"simulate: t1 = {t1} ms does not lie after the start at {begin} ms.")
    steps = _whole(t1 - begin, dt, "t1 - t0")
    stride = 1 if save_every is None else _whole(save_every, dt, "save_every")
    skipped = _whole(discard, dt, "discard") if discard else 0
    if not 0 < stride <= steps or not 0 <= skipped < steps or skipped % stride:
        raise ValueError(
            f"simulate: save_every = {stride * dt} ms and discard = {skipped * dt} ms over {steps * dt} ms; wanted "
            "0 < save_every <= t1 - t0, discard < t1 - t0 and discard a multiple of save_every."
        )
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(model.init)))
    most = max(1, min(block or _BLOCK_STEPS, int(_BLOCK_BYTES / max(size, 1))))
    return Grid(float(t0), float(dt), steps, stride, skipped, _block(steps, stride, most))


def _whole(span: float, dt: float, name: str) -> int:
    count = round(span / dt)
    if abs(count * dt - span) > 1e-6 * max(abs(span), dt):
        raise ValueError(f"simulate: {name} = {span} ms is no whole number of steps of dt = {dt} ms; try {count * dt} ms.")
    return count


def _block(steps: int, stride: int, most: int) -> int:
    """Steps a block: at most `most`, a multiple or a divisor of the stride, and if possible a divisor of the whole."""
    if stride > most:
        return next(size for size in range(most, 0, -1) if stride % size == 0)
    largest = most // stride
    whole = (k for k in range(largest, largest // 2, -1) if steps % (k * stride) == 0)
    return stride * next(whole, largest)


def _start(model: AbstractModel, y0: State | None) -> State:
    like = model.init()
    if y0 is None:
        return like
    if jax.tree.structure(y0) != jax.tree.structure(like):
        raise ValueError(f"simulate: y0 is {jax.tree.structure(y0)}; wanted the structure of model.init(), {jax.tree.structure(like)}.")
    y0 = jax.tree.map(lambda x, l: jnp.broadcast_to(jnp.asarray(x, l.dtype), l.shape), y0, like)
    for name, value in zip(getattr(y0, "_fields", ()), y0, strict=False):
        if value is not None and not isinstance(value, jax.core.Tracer) and not np.all(np.isfinite(np.asarray(jax.tree.leaves(value)[0]))):
            raise ValueError(f"simulate: the start is not finite in {name}; give finite numbers, or leave y0 out for model.init().")
    return y0


def _check_key(model: AbstractModel, key: PRNGKeyArray | None) -> PRNGKeyArray | None:
    noisy = noisy_part(model) is not None
    if noisy and key is None:
        raise ValueError("simulate: the model is noisy and needs key=jax.random.key(seed); a deterministic one has sigma=None.")
    return key if noisy or overrides(model, "step") else None


def _adaptive(model, solver, controller, y0, stimulus, grid: Grid, save, throw) -> Solution:
    noisy = noisy_part(model) is not None
    blocked = [
        what
        for what, present in (
            ("noise", noisy),
            ("delays", model.delays(grid.dt) is not None),
            ("a constraint or a step of its own", overrides(model, "constrain") and model.constrain(y0) is not y0),
            ("a Reduction", isinstance(save, Reduction)),
        )
        if present
    ]
    if blocked:
        raise ValueError(f"simulate: adaptive steps are for smooth deterministic models; this one has {', '.join(blocked)}.")
    count = (grid.steps - grid.discard) // grid.stride
    begin, interval = grid.t0 + grid.discard * grid.dt, grid.stride * grid.dt
    solution = diffrax.diffeqsolve(
        terms(model, stimulus=stimulus), solver, grid.t0, grid.t0 + grid.steps * grid.dt, grid.dt, y0,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=begin + interval * jnp.arange(1, count + 1), fn=lambda t, y, args: save(t, y)),
                diffrax.SubSaveAt(t1=True),
            ]
        ),
        stepsize_controller=controller, max_steps=None if not throw else 10 * grid.steps + 4096, throw=throw,
    )  # fmt: skip
    ys, last = solution.ys  # pyright: ignore[reportGeneralTypeIssues]
    state = jax.tree.map(lambda x: x[0], last)
    finite = jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(state)]).all()
    record = _record(model, solver, None, grid, stimulus, y0)
    result = jnp.where(finite, SUCCESSFUL, NOT_FINITE)
    return Solution(ys, result, dict(solution.stats), Final(state, None, grid.steps), record, begin, interval, count, _labels(model))


def _labels(model: AbstractModel) -> tuple[str, ...]:
    connectome = getattr(model, "connectome", None)
    return () if connectome is None else tuple(connectome.labels)


def _record(model, solver, key, grid: Grid, stimulus, y0) -> Record:
    traced = isinstance(key, jax.core.Tracer)
    seed = "none" if key is None else "traced" if traced else fingerprint(key)
    entries = {
        **versions(),
        "device": jax.default_backend(),
        "precision": str(jnp.result_type(*jax.tree.leaves(y0))),
        "dt_ms": grid.dt,
        "t0_ms": grid.t0,
        "steps": grid.steps,
        "solver": type(solver).__name__,
        "key": seed if key is None or traced else str(np.asarray(jax.random.key_data(key)).tolist()),
        "model": f"{type(model).__name__} {fingerprint(eqx.filter(model, eqx.is_array))}",
        "data": fingerprint(eqx.filter((stimulus, y0), eqx.is_array)),
    }
    return Record(tuple(entries.items()))


def _bar(steps: int) -> Callable[[Any], None]:
    from tqdm.auto import tqdm

    bar = tqdm(total=steps, unit="step", unit_scale=True)

    def report(done):
        bar.update(int(done))
        if bar.n >= steps:
            bar.close()

    return report


def _raise(solution: Solution, y0: State, grid: Grid) -> NoReturn:
    message = MESSAGES[int(solution.result)]
    if int(solution.result) != NOT_FINITE:
        raise RuntimeError(f"simulate: {message}.")
    step, flat = (int(x) for x in np.asarray(solution.stats["failed"]))
    leaves, _ = jax.tree_util.tree_flatten_with_path(y0)
    for path, leaf in leaves:
        if flat < leaf.size:
            index = np.unravel_index(flat, leaf.shape)
            break
        flat -= leaf.size
    name = jax.tree_util.keystr(path).lstrip(".")
    place = "" if not index else f", region {solution.labels[index[-1]] if solution.labels else index[-1]}"
    place += f", population {index[0]}" if len(index) > 1 else ""
    raise RuntimeError(f"simulate: at t = {grid.t0 + step * grid.dt:g} ms, {name}{place}: {message}.")
