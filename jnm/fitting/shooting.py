r"""Fitting what oscillates or is chaotic: windows, so that gradients stay those of a window.

On a limit cycle the derivative of y(T) in a parameter grows like T, since the phase drifts; in chaos like e^(lambda T). A
gradient through a long simulation is then right and useless. Two ways out:

- **Truncated**: simulate in windows, each from where the last one ended, and let no derivative pass between them.
- **Multiple shooting**: each window starts from a state of its own, which is free, and what the start of one window misses of
  the end of the one before is penalised,

        loss = < (y - y_observed)^2 / noise^2 > + weight < |start_(k+1) - end_k|^2 / scale^2 >.

Bock HG, Plitt KJ (1984) A multiple shooting algorithm for direct solution of optimal control problems. IFAC Proc 17:1603-1608.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from jnm._model import AbstractModel, State
from jnm._param import param
from jnm.fitting.free import Build
from jnm.fitting.loss import AbstractLoss, LossFunction, as_measurement
from jnm.integration import simulate


class Windows(eqx.Module):
    """A model and the state in which each window of a measurement starts, so that a fit can free both.

    >>> windows = Windows.of(model, duration=2_000.0, window=100.0, dt=0.1)
    >>> theta, build = jnm.free(windows, lambda w: (w.model.a, w.starts))
    """

    model: AbstractModel
    starts: Float[Array, "window n"] = param(doc="state at the start of each window, as a vector")

    @classmethod
    def of(cls, model: AbstractModel, duration: float, window: float, dt: float, y0: State | None = None) -> "Windows":
        """The windows of a simulation of the model itself, without noise; `ValueError` for a network with delays."""
        _check_no_past(model, dt)
        count = _count(duration, window)
        begin = model.init() if y0 is None else y0
        if count == 1:
            return cls(model, ravel_pytree(begin)[0][None])
        run = simulate(model, (count - 1) * window, dt, y0=begin, save_every=window)
        later = jax.vmap(lambda y: ravel_pytree(y)[0])(run.ys)
        return cls(model, jnp.concatenate([ravel_pytree(begin)[0][None], later]))


class MultipleShootingLoss(AbstractLoss):
    """The error of a deterministic time course in windows that start where they like, and what they miss of each other.

        >>> loss = MultipleShootingLoss(observed, every=2.0, window=50.0, dt=0.1, save=source, noise_sd=0.1)
        >>> fit = jnm.fit(loss, theta, build, optax.adam(0.02), 500, key)      # theta, build of a `Windows`

    **Arguments**

    - `observed`: [time, channel], one sample every `every` ms, the first at `every`.
    - `window`: length of a window, ms; `dt`: step of the simulation (ms).
    - `save`: function (t, y) -> [channel], what is observed of a state.
    - `noise_sd`: of the measurement. `continuity`: weight of the second term; `scale`: of a state, [n] or a number.

    Raises `ValueError` for windows that do not divide the measurement and, when called, for a network with delays.
    """

    observed: Float[Array, "window time channel"]
    save: Callable[[Array, State], Array]
    noise_sd: float
    continuity: float
    scale: Float[Array, "..."]
    every: float = eqx.field(static=True)
    window: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(
        self,
        observed: Float[ArrayLike, "time channel"],
        *,
        every: float,
        window: float,
        dt: float,
        save: Callable[[Array, State], Array],
        noise_sd: float = 1.0,
        continuity: float = 1.0,
        scale: Float[ArrayLike, "..."] = 1.0,
    ):
        y = as_measurement(observed, "MultipleShootingLoss")
        count = _count(len(y) * every, window)
        self.observed = y.reshape(count, -1, y.shape[1])
        self.save, self.noise_sd, self.continuity = save, float(noise_sd), float(continuity)
        self.scale, self.every, self.window, self.dt = jnp.asarray(scale, float), every, window, dt

    def __call__(self, model: Windows, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        error, gaps = self.parts(model)
        return error + self.continuity * gaps

    def parts(self, model: Windows) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The error of the time course and that of the joints."""
        _check_no_past(model.model, self.dt)
        unravel = ravel_pytree(model.model.init())[1]

        def window(start):
            run = simulate(model.model, self.window, self.dt, y0=unravel(start), save_every=self.every, throw=False)
            seen = jax.vmap(lambda y: jnp.atleast_1d(self.save(jnp.zeros(()), y)))(run.ys)
            return seen, ravel_pytree(jax.tree.map(lambda x: x[-1], run.ys))[0]

        seen, ends = jax.vmap(window)(model.starts)
        error = jnp.mean((seen - self.observed) ** 2) / self.noise_sd**2
        scale = jnp.broadcast_to(self.scale, ends.shape[1:])
        return error, jnp.mean(((model.starts[1:] - ends[:-1]) / scale[None]) ** 2) if len(ends) > 1 else jnp.zeros(())


def truncated(
    model: AbstractModel,
    duration: float,
    dt: float,
    window: float,
    *,
    save_every: float,
    save: Callable[[Array, State], Array],
    key: PRNGKeyArray | None = None,
    y0: State | None = None,
) -> Float[Array, "time ..."]:
    """What `save` sees of a simulation through whose windows no derivative passes; for losses of spectra.

        >>> simulation = lambda m, key: truncated(m, 8_000.0, 0.1, 1_000.0, save_every=2.0, save=source, key=key)

    Values are those of one long run; derivatives are those of each window from a start held fixed (and a past, with
    delays). Times are in ms. Raises `ValueError` for windows that do not divide the duration.
    """
    count = _count(duration, window)
    keys = None if key is None else jax.random.split(key, count)
    begin = model.init() if y0 is None else y0
    delays = model.delays(dt)
    past = None if delays is None else delays.start(model.output(jnp.zeros(()), begin), None).T

    def one(carry, key):
        start, past = jax.lax.stop_gradient(carry)
        run = simulate(model, window, dt, y0=start, history=past, key=key, save_every=save_every, throw=False,
                       save=lambda t, y: (save(t, y), y))  # fmt: skip
        seen, states = run.ys
        return (jax.tree.map(lambda x: x[-1], states), run.final.history), seen

    _, seen = jax.lax.scan(one, (begin, past), keys, length=count)
    return seen.reshape(-1, *seen.shape[2:])


def gradient_norm(loss: LossFunction, theta: PyTree, build: Build, key: PRNGKeyArray) -> float:
    """The norm of a loss's gradient in theta: to be looked at before a fit, as a function of the length simulated."""
    gradient = eqx.filter_jit(eqx.filter_grad(lambda x: loss(build(x), key)))(jax.tree.map(jnp.asarray, theta))
    return float(np.linalg.norm(np.asarray(ravel_pytree(gradient)[0], float)))


def _check_no_past(model: AbstractModel, dt: float) -> None:
    if model.delays(dt) is not None:
        raise ValueError(
            "multiple shooting: a window starts from a state, and a network with delays needs its past too. Leave speed "
            "out, or take jnm.fitting.truncated, which hands the past on."
        )


def _count(duration: float, window: float) -> int:
    count = round(duration / window)
    if count < 1 or not np.isclose(count * window, duration):
        raise ValueError(f"windows of {window:g} ms do not divide {duration:g} ms; give a length that does.")
    return count
