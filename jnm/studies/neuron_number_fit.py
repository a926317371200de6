"""The most likely number of neurons of a dipole, and the interval in which its likelihood does not fall too far.

Fisher's scoring with Levenberg's damping, from several starts, finds the maximum; the interval of log n is where the
profile of the likelihood (its maximum over everything else at that n) lies less than a given depth below it, so it may
be open above, where ongoing activity is lost in the noise, or below, where the evoked response is.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm.studies.neuron_number_model import (
    COUNT,
    GAIN,
    DipoleRecord,
    Expected,
    Setting,
    centre,
    expected,
    spread,
)

INFINITE = 40.0  # log n of a population without shot noise
_STEPS, _HALVED = 25, 13  # of a fit; halvings of the way to the end of an interval
_ALIKE = 1e-6  # of a curvature: what is added to it where there is none
_LEAST = 1e-9  # nA m per unit of I: where a fit begins that finds no answer at all
_X_STARTS = (0.85, 0.95, 1.05, 1.15)  # chosen: from which X fits begin, in terms of the one thought; four, as in `_end`


def misfit(is_: Expected, theta: Array, record: DipoleRecord, setting: Setting) -> Float[Array, ""]:
    """The negative log-likelihood and log-prior, up to a constant, of what is expected with theta."""
    rest = jnp.sum(jnp.log(is_.ongoing) + record.ongoing / is_.ongoing)
    answer = jnp.sum(jnp.log(is_.variance) + jnp.abs(record.evoked - is_.evoked) ** 2 / is_.variance)
    away = jnp.sum(((theta - centre(setting)) / spread(setting)) ** 2)
    return setting.protocol.weight * rest + answer + away / 2


def _curvature(is_: Expected, slope: Expected, setting: Setting) -> Float[Array, "6 6"]:
    """Fisher information of evoked and ongoing activity, and of the prior; `slope` are derivatives by theta."""
    moved = slope.evoked / jnp.sqrt(is_.variance)[:, None]
    told = slope.variance / is_.variance[:, None]
    rest = slope.ongoing / is_.ongoing[:, None]
    answer = 2 * (moved.real.T @ moved.real + moved.imag.T @ moved.imag) + told.T @ told
    return answer + setting.protocol.weight * rest.T @ rest + jnp.diag(spread(setting) ** -2)


def _score(is_: Expected, slope: Expected, theta: Array, record: DipoleRecord, setting: Setting) -> Float[Array, " 6"]:
    """Minus the gradient of the misfit."""
    off = record.evoked - is_.evoked
    answer = 2 * jnp.real(jnp.conj(off) / is_.variance @ slope.evoked)
    told = (jnp.abs(off) ** 2 / is_.variance - 1) / is_.variance @ slope.variance
    rest = setting.protocol.weight * (record.ongoing / is_.ongoing - 1) / is_.ongoing @ slope.ongoing
    return answer + told + rest - (theta - centre(setting)) / spread(setting) ** 2


class Estimates(NamedTuple):
    """Of each record: the most likely theta, and the interval of log n."""

    theta: Float[np.ndarray, "record 6"]
    low: Float[np.ndarray, " record"]
    high: Float[np.ndarray, " record"]


def estimate(records: DipoleRecord, setting: Setting, drop: float) -> Estimates:
    """The most likely theta of each record, and where the profile of log n has risen by `drop`; infinite if nowhere."""
    theta, least = (np.asarray(x) for x in _fits(_starts(records, setting), jnp.ones(6), records, setting))
    low, high = (_end(theta, least + drop, sign, records, setting) for sign in (-1.0, 1.0))
    return Estimates(theta, low, high)


def _end(theta: np.ndarray, level: np.ndarray, sign: float, records: DipoleRecord, setting: Setting) -> np.ndarray:
    """Where the profile of log n crosses a level below or above the estimate, by halving; looked for from 0 to INFINITE."""
    free = np.ones(6)
    free[COUNT] = 0.0
    inner = np.zeros(len(theta))
    outer = np.maximum(sign * ((INFINITE if sign > 0 else 0.0) - theta[:, COUNT]), 0.0)
    near, far, ends = theta.copy(), theta.copy(), np.ones(len(theta), bool)
    for k in range(_HALVED + 1):
        away = outer if k == 0 else (inner + outer) / 2
        shift = np.zeros_like(theta)
        shift[:, GAIN] = sign * away / 2  # as likely to the ongoing power as before
        starts = np.stack([theta, theta + shift, near, far], axis=1)
        starts[:, :, COUNT] = (theta[:, COUNT] + sign * away)[:, None]
        there, loss = (np.asarray(x) for x in _fits(jnp.asarray(starts), jnp.asarray(free), records, setting))
        out = loss > level
        if k == 0:
            ends, far = out, there
            continue
        inner, outer = np.where(out, inner, away), np.where(out, away, outer)
        near, far = np.where(out[:, None], near, there), np.where(out[:, None], there, far)
    return np.where(ends, theta[:, COUNT] + sign * (inner + outer) / 2, sign * np.inf)


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(0, None))
def _starts(record: DipoleRecord, setting: Setting) -> Float[Array, "start 6"]:
    """The population as thought, with the gain that the answer and the n that the power ask for; X also off by more."""

    def at(X):
        theta = centre(setting).at[0].set(X).at[COUNT].set(INFINITE)
        silent = expected(theta, setting)
        gain = jnp.real(jnp.vdot(silent.evoked, record.evoked)) / jnp.sum(jnp.abs(silent.evoked) ** 2)
        theta = theta.at[GAIN].set(jnp.log(jnp.maximum(jnp.abs(gain), _LEAST)))
        one = expected(theta.at[COUNT].set(0.0), setting).ongoing / silent.ongoing - 1  # of a single cell
        size = jnp.sum(one**2)
        power = jnp.sum(one * (record.ongoing / silent.ongoing - 1)) / size
        feigned = 1 / jnp.sqrt(setting.protocol.weight * size)  # by the scatter of the noise
        return theta.at[COUNT].set(-jnp.log(jnp.maximum(power, feigned)))

    return jax.vmap(at)(setting.population.X * jnp.asarray(_X_STARTS))


@eqx.filter_jit
def _fits(starts: Array, free: Array, records: DipoleRecord, setting: Setting) -> tuple[Array, Array]:
    """For each record the best of Fisher scorings, with Levenberg's damping, in the coordinates that are free."""

    def at(theta, record):
        def both(x):
            is_ = expected(x, setting)
            return is_, is_

        slope, is_ = jax.jacfwd(both, has_aux=True)(theta)
        curved = _curvature(is_, slope, setting) * jnp.outer(free, free) + jnp.diag(1 - free)
        return misfit(is_, theta, record, setting), _score(is_, slope, theta, record, setting) * free, curved

    def one(start, record):
        def step(here, _):
            theta, damping, (loss, score, curved) = here
            change = jnp.linalg.solve(curved + jnp.diag((damping + _ALIKE) * jnp.diag(curved)), score)
            theta_there = theta + jnp.clip(change, -1.0, 1.0)  # a factor of e at most, where the likelihood is flat
            there = at(theta_there, record)
            moved = (theta_there, damping / 10, there)
            stayed = (theta, jnp.maximum(10 * damping, 1e-6), (loss, score, curved))
            return jax.tree.map(lambda x, y: jnp.where(there[0] <= loss, x, y), moved, stayed), None

        (theta, _, (loss, *_)), _ = jax.lax.scan(step, (start, jnp.asarray(1e-3), at(start, record)), length=_STEPS)
        return theta, loss

    def best(starts, record):
        theta, loss = jax.vmap(lambda start: one(start, record))(starts)
        chosen = jnp.nanargmin(loss)
        return theta[chosen], loss[chosen]

    return jax.vmap(best)(starts, records)
