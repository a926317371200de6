"""One step: a model as diffrax terms, and a diffrax solver's step over them."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from jnm._model import AbstractModel, Drive, State
from jnm.integration.clock import Time
from jnm.integration.noise import NoiseTerm, noisy_part
from jnm.integration.stimulus import Stimulus, drive_at

Moment = Callable[[Any], tuple[Any, Drive]]
"""From the solver's time to the model's time and its drive."""


def make_terms(model: AbstractModel, moment: Moment, path: Any | None) -> diffrax.AbstractTerm:
    """The drift of a model, and with a `path` its diffusion, in the solver's time."""

    def drift(t, y, args):
        time, drive = moment(t)
        return model.drift(time, y, drive)

    if path is None:
        return diffrax.ODETerm(drift)
    diffusion = NoiseTerm(lambda t, y: model.diffusion(moment(t)[0], y), path, noisy_part(model))
    return diffrax.MultiTerm(diffrax.ODETerm(drift), diffusion)


def plain_moment(stimulus: Stimulus | None) -> Moment:
    """The solver's time is the model's time, as in `diffrax.diffeqsolve`."""
    return lambda t: (t, Drive() if stimulus is None else drive_at(stimulus, Time(jnp.asarray(t, float))))


class Increment(eqx.Module):
    """The noise of one step, already drawn, as the control of a diffrax term."""

    drawn: Any

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return self.drawn


def needs_levy_area(solver: diffrax.AbstractSolver) -> bool:
    """Whether a solver asks for space-time Levy areas beside the increments."""
    return getattr(solver, "minimal_levy_area", None) is diffrax.AbstractSpaceTimeLevyArea


def solver_step(
    solver: diffrax.AbstractSolver, terms: diffrax.AbstractTerm, dt: float, y: State, memory: Any, jump: bool
) -> tuple[State, Any]:
    """One step of a diffrax solver from its time 0 to dt; `jump` says that y is not where its last step ended.

    Two schemes are written out, with the arithmetic unchanged. Explicit Runge-Kutta: diffrax loops over the stages
    inside the step, which costs 1.4 times as much (Heun, 90 regions). Ito's Milstein: diffrax makes a tensor of noise x
    noise x noise, 17 ms a step for 180 of them.
    """
    tableau = getattr(solver, "tableau", None)
    if isinstance(solver, diffrax.AbstractERK) and isinstance(tableau, diffrax.ButcherTableau) and not tableau.fsal:
        return _explicit_step(tableau, terms, dt, y), memory
    if isinstance(solver, diffrax.ItoMilstein):
        return _ito_milstein_step(terms, dt, y), memory
    y, _, _, memory, result = solver.step(terms, *step_ends(dt), y, None, memory, made_jump=jump)
    if isinstance(solver, diffrax.AbstractImplicitSolver):  # a root that was not found is no state
        y = jax.tree.map(lambda x: jnp.where(result == diffrax.RESULTS.successful, x, jnp.nan), y)
    return y, memory


def step_ends(dt: float) -> tuple[Array, Array]:
    """Start and end of a step in the solver's time, as arrays: implicit solvers trip over Python numbers."""
    return jnp.zeros(()), jnp.asarray(dt, float)


def _explicit_step(tableau: diffrax.ButcherTableau, terms: diffrax.AbstractTerm, dt: float, y: State) -> State:
    control = terms.contr(0.0, dt)
    slopes: list[State] = []

    def advanced(weights):
        used = [(float(w), k) for w, k in zip(weights, slopes, strict=True) if w]
        moved = [jax.tree.map(lambda k, w=w: w * k, slope) for w, slope in used]
        return jax.tree.map(lambda x, *parts: x + sum(parts), y, *moved)

    for node, weights in zip((0.0, *map(float, tableau.c)), ((), *tableau.a_lower), strict=True):
        slopes.append(terms.vf_prod(node * dt, advanced(weights), None, control))
    return advanced(tableau.b_sol)


def _ito_milstein_step(terms: Any, dt: float, y: State) -> State:
    """y + f dt + g dW + 1/2 sum_k g_k d_k g_i dW_k dW_i - 1/2 g_i d_i g_i dt: each variable has a noise of its own."""
    drift, diffusion = terms.terms
    wiener = diffusion.contr(0.0, dt)
    amplitude = diffusion.vf(0.0, y, None)
    kick = diffusion.prod(amplitude, wiener)
    _, bend = jax.jvp(lambda y: diffusion.vf_prod(0.0, y, None, wiener), (y,), (kick,))
    flat, shaped = ravel_pytree(y)
    slope = shaped(jnp.diagonal(jax.jacfwd(lambda x: ravel_pytree(diffusion.vf(0.0, shaped(x), None))[0])(flat)))

    def advanced(x, f, k, b, g, d):
        return x + f + k + 0.5 * (b - dt * g * d)

    return jax.tree.map(advanced, y, drift.vf_prod(0.0, y, None, dt), kick, bend, amplitude, slope)
