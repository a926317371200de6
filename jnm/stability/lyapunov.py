r"""Lyapunov exponents: how fast nearby activity drifts apart, and in how many directions.

Beside the activity x run k pushes Q, each step by the derivative of the step itself. Again and again they are made
orthonormal, Q R = pushes, and what the diagonal of R says of their growth is kept:

    exponent_i = mean of log |R_ii| / interval,     per ms, falling

(Benettin et al., Meccanica 15:9, 1980). One exponent is 0 for each direction in which an attractor may be shifted along
itself; one above 0 is chaos, two are hyperchaos. Neighbouring intervals are alike, so that the standard error comes from
the means of long batches. These are weighted by Hann windows that overlap by half: growth that only comes and goes with
each oscillation then leaves no trace at the edges of batches.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._model import AbstractModel, State
from jnm._param import cast
from jnm.network.network import Network
from jnm.stability.field import as_vector, flat, shaped, slope
from jnm.stability.homogeneous import homogeneous, in_unison
from jnm.stability.precision import in_double, is_traced

_BATCHES = 20
_SETTLING = 1000.0  # ms of one region's run, at the end or at random moments of which the named starts lie
_NUDGE = 1e-3  # relative size of what sets the regions of a homogeneous start apart


class LyapunovFinal(eqx.Module):
    """Where a run has ended: the state, the pushes, and the growth of each interval so far."""

    x: Float[Array, " n"]
    pushes: Float[Array, "n k"]
    growth: Float[Array, "interval k"]
    start: str = eqx.field(static=True)


class Lyapunov(eqx.Module):
    """The leading Lyapunov exponents of a model's activity."""

    exponents: Float[Array, " k"]
    """Per ms, falling."""
    standard_errors: Float[Array, " k"]
    """Per ms, from the means of batches, a twentieth of the run each."""
    final: LyapunovFinal
    """For going on: `lyapunov(..., final=result.final)`."""
    every: float = eqx.field(static=True)
    """Between two orthonormalisations, in ms."""
    discard: float = eqx.field(static=True)
    """Transient left out, in ms."""
    model: AbstractModel

    @property
    def start(self) -> str:
        """Where the run began: "homogeneous", "random" or "given"."""
        return self.final.start

    @property
    def state(self) -> Any:
        """The state in which the run has ended."""
        with jax.enable_x64(True):
            return shaped(self.model, self.final.x)

    @property
    def duration(self) -> float:
        """Time over which growth was averaged, in ms."""
        return self.final.growth.shape[-2] * self.every - self.discard

    def plot(self, ax: Any = None) -> Any:
        """How the estimates settle as the run goes on; returns the Figure."""
        from jnm.stability import plots

        return plots.lyapunov(self, ax)


@in_double
def lyapunov(
    model: Any,
    k: int,
    t1: float,
    dt: float,
    key: PRNGKeyArray,
    *,
    start: str | State | None = None,
    discard: float = 300.0,
    every: float = 1.0,
    final: LyapunovFinal | None = None,
) -> Lyapunov:
    """The k largest of a model's n Lyapunov exponents.

        >>> net = jnm.Network(jnm.PING(IE=12.0), brain, jnm.Linear(8.0))
        >>> found = jnm.stability.lyapunov(net, 3, t1=2_000.0, dt=0.05, key=jax.random.key(0), start="random")
        >>> found.exponents, found.standard_errors

    **Arguments**

    - `model`: any model with a drift; its noise is left out, as exponents are those of the deterministic flow.
    - `k`: how many, from 1 to the number of variables; the cost grows in proportion.
    - `t1`, `dt`: length of the whole run and of its steps (fourth-order Runge-Kutta), in ms.
    - `key`: draws the first pushes, and the start.
    - `start`: "random" (the default): each region at a random moment of the first second of a single region's run, or
      regions that are not alike at one moment of the run of them all; "homogeneous": all like regions where such a run
      ends, set apart by a thousandth; or a state. Attractors may coexist, so the result names its start. A synchronous
      state that is not set apart would stay so, and show growth off it only.
    - `discard`: transient in ms that is run but left out.
    - `every`: ms between two orthonormalisations.
    - `final`: of an earlier result with the same `dt` and `every`: go on to `t1` as if the run had never stopped.

    **Returns** `.exponents` and `.standard_errors` per ms, and `.final`. Works under jit and vmap, so that parameters
    may be swept at once; values that diverge come out as NaN there.

    Raises `ValueError` for numbers that make no sense, a start that is none, and models without a drift to look at;
    `RuntimeError` if the activity leaves all bounds.
    """
    count = counts(model, k, t1, dt, discard, every, final)
    start_key, push_key = jax.random.split(key)
    if final is None:
        name, x = _begin(model, start, start_key, dt)
        pushes = jnp.linalg.qr(jax.random.normal(push_key, (x.size, k), float))[0]
        final = LyapunovFinal(x, pushes, jnp.zeros((0, k)), name)
    result = _run(model, cast(final, float), float(dt), count.steps, count.intervals)
    exponents, errors = summary(result.growth[count.discarded :], float(every))
    if not _sound(exponents):
        raise RuntimeError(
            f"lyapunov: the activity left all bounds on the way to {t1:g} ms; try a smaller dt than {dt:g} ms, or "
            "another start."
        )
    return Lyapunov(exponents, errors, result, float(every), float(discard), model)


class Counts(NamedTuple):
    """A run in whole numbers: steps in an interval, intervals to run, intervals that are left out."""

    steps: int
    intervals: int
    discarded: int


def counts(model, k, t1, dt, discard, every, final) -> Counts:
    """Steps and intervals of a run; raises `ValueError` for times, intervals and numbers of exponents that do not fit."""
    n = flat(model.init()).size
    if not 1 <= k <= n:
        raise ValueError(f"lyapunov: k = {k}; the model has {n} variables and so many exponents.")
    if not 0 < dt <= every:
        raise ValueError(f"lyapunov: dt = {dt} and every = {every} ms; wanted 0 < dt <= every.")
    steps = round(every / dt)
    whole, dropped = round(t1 / every), round(discard / every)
    if abs(steps * dt - every) > 1e-6 * every or abs(whole * every - t1) > 1e-6 * t1:
        raise ValueError(f"lyapunov: dt = {dt} must divide every = {every}, and that t1 = {t1} ms.")
    if whole - dropped < 2 * _BATCHES:
        raise ValueError(
            f"lyapunov: {t1:g} ms less a transient of {discard:g} ms leave {whole - dropped} intervals of {every:g} ms; "
            f"wanted {2 * _BATCHES} at least, for the standard error."
        )
    past = 0 if final is None else final.growth.shape[-2]
    if final is not None and (final.growth.shape[-1] != k or past >= whole):
        raise ValueError(
            f"lyapunov: final holds {final.growth.shape[-1]} exponents over {past * every:g} ms; wanted k = {k} and a "
            f"t1 beyond that, not {t1:g} ms."
        )
    return Counts(steps, whole - past, dropped)


def _begin(model: Any, start: Any, key: PRNGKeyArray, dt: float) -> tuple[str, Float[Array, " n"]]:
    """The name of a start and its state."""
    if start is not None and not isinstance(start, str):
        return "given", as_vector(model, start, "lyapunov: start")
    name = start or "random"
    if name not in ("random", "homogeneous") or (name == "homogeneous" and not isinstance(model, Network)):
        known = '"random", "homogeneous" or a state' if isinstance(model, Network) else '"random" or a state'
        raise ValueError(f"lyapunov: start = {name!r}; for this model wanted {known}.")
    if name == "random" and in_unison(model) is model:
        run = course(model, flat(model.init()), dt, round(_SETTLING / dt))
        return name, run[jax.random.randint(key, (), 0, len(run))]
    return name, regions_apart(model, name, key, dt)


def regions_apart(network: Network, name: str, key: PRNGKeyArray, dt: float) -> Float[Array, " n"]:
    """A start of a network of like regions from the run of one of them: "random" or "homogeneous"."""
    alone, N = homogeneous(network), network.n_regions
    run = course(alone, flat(alone.init()), dt, round(_SETTLING / dt))
    if name == "random":
        return run[jax.random.randint(key, (N,), 0, len(run))].T.ravel()
    return (run[-1][:, None] * (1 + _NUDGE * jax.random.normal(key, (run.shape[1], N)))).ravel()


@eqx.filter_jit
def course(model: AbstractModel, x: Float[Array, " n"], dt: float, steps: int) -> Float[Array, "step n"]:
    """The states after each step."""

    def one(x, _):
        x = step(model, x, dt)
        return x, x

    return jax.lax.scan(one, x, length=steps)[1]


def step(model: AbstractModel, x: Float[Array, " n"], dt: float) -> Float[Array, " n"]:
    """A step of the fourth-order Runge-Kutta method, then the model's own constraint."""
    a = slope(model, x)
    b = slope(model, x + dt / 2 * a)
    c = slope(model, x + dt / 2 * b)
    d = slope(model, x + dt * c)
    return flat(model.constrain(shaped(model, x + dt / 6 * (a + 2 * b + 2 * c + d))))


@eqx.filter_jit
def _run(model: AbstractModel, begin: LyapunovFinal, dt: float, steps: int, intervals: int) -> LyapunovFinal:
    def one(carry, _):
        return interval(model, carry[0], carry[1], dt, steps)

    (x, pushes), growth = jax.lax.scan(one, (begin.x, begin.pushes), length=intervals)
    return LyapunovFinal(x, pushes, jnp.concatenate([begin.growth, growth]), begin.start)


def interval(model: AbstractModel, x: Float[Array, " n"], pushes: Float[Array, "n k"], dt: float, steps: int):
    """((x, pushes), growth) after so many steps and one orthonormalisation."""

    def one(carry, _):
        x, rows = carry
        push_along = jax.vmap(lambda push: jax.jvp(lambda x: step(model, x, dt), (x,), (push,)), out_axes=(None, 0))
        return push_along(rows), None

    (x, rows), _ = jax.lax.scan(one, (x, pushes.T), length=steps)
    pushes, R = jnp.linalg.qr(rows.T)
    return (x, pushes), jnp.log(jnp.abs(jnp.diagonal(R)))


def summary(growth: Float[Array, "interval k"], every: float) -> tuple[Array, Array]:
    """Exponents and standard errors from the growth of each interval, falling."""
    hop = growth.shape[0] // (2 * _BATCHES)
    weights = 1 - jnp.cos(2 * jnp.pi * (jnp.arange(2 * hop) + 0.5) / (2 * hop))  # mean 1
    halves = growth[growth.shape[0] - 2 * _BATCHES * hop :].reshape(2 * _BATCHES, hop, -1)
    first, second = weights[:hop, None], weights[hop:, None]
    batches = jnp.mean(halves[:-1] * first[None] + halves[1:] * second[None], axis=1) / 2
    # Of two Hann windows that overlap by half, means of white noise correlate by 1/6.
    variance = (1 + 2 / 6) * jnp.var(batches, axis=0, ddof=1) / len(batches)
    exponents, errors = batches.mean(axis=0) / every, jnp.sqrt(variance) / every
    order = jnp.argsort(-exponents)
    return exponents[order], errors[order]


def _sound(exponents: Array) -> bool:
    return is_traced(exponents) or bool(np.all(np.isfinite(np.asarray(exponents))))
