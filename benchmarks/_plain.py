"""The yardstick: a network of MPR nodes as one would write it by hand for `lax.scan`, without jnm.

    tau r' = delta / (pi tau) + 2 r v
    tau v' = v^2 + eta - (pi tau r)^2 + tau (C r + gain W r) + noise

Heun with additive noise on r and v, r kept >= 0 after each step. Noise is drawn, and the backward pass rematerialised,
once a block: a first version that drew it every ten steps was more than twice slower.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TAU, DELTA, ETA, C = 10.0, 1.0, -5.0, 15.0  # jnm.MPR()
SIGMA_R, SIGMA = 1e-3, 0.05


class Problem(NamedTuple):
    """What is integrated: weights[to, from], delays in whole steps (None: instantaneous), and the static numbers."""

    weights: np.ndarray
    lags: np.ndarray | None
    dt: float
    steps: int
    block: int
    save_every: int


def drift(r, v, afferent):
    dr = (DELTA / (jnp.pi * TAU) + 2 * r * v) / TAU
    dv = (v**2 + ETA - (jnp.pi * TAU * r) ** 2) / TAU + C * r + afferent
    return dr, dv


def heun(r, v, noise, dt, afferent):
    """One step; `afferent(r)` is asked at both stages."""
    noise_r, noise_v = noise
    dr, dv = drift(r, v, afferent(r))
    r1, v1 = r + dt * dr + noise_r, v + dt * dv + noise_v
    er, ev = drift(r1, v1, afferent(r1))
    return jnp.maximum(r + dt / 2 * (dr + er) + noise_r, 0.0), v + dt / 2 * (dv + ev) + noise_v


def start(n):
    """That of jnm.MPR().init(): the branch dr/dt = 0 with v = -delta."""
    return jnp.full(n, 1 / (2 * jnp.pi * TAU)), jnp.full(n, -DELTA)


def draw(key, problem):
    amplitude = np.sqrt(problem.dt) * np.array([SIGMA_R, SIGMA], np.float32)
    return amplitude[:, None] * jax.random.normal(key, (problem.block, 2, problem.weights.shape[0]))


def saved(trajectory, problem):
    return jax.tree.map(lambda x: x[problem.save_every - 1 :: problem.save_every], trajectory)


def blocks(one_block, carry, key, problem):
    """Scan over the blocks; the saved states, time first."""
    keys = jax.random.split(key, problem.steps // problem.block)
    _, states = jax.lax.scan(jax.checkpoint(one_block, prevent_cse=False), carry, keys)
    return jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), states)


def simulate(gain, key, problem):
    """r and v, [time, region]."""
    weights = jnp.asarray(problem.weights)

    def step(carry, noise):
        new = heun(*carry, noise, problem.dt, lambda r: gain * (weights @ r))
        return new, new

    def one_block(carry, key):
        carry, trajectory = jax.lax.scan(step, carry, draw(key, problem))
        return carry, saved(trajectory, problem)

    return blocks(one_block, start(len(weights)), key, problem)


def simulate_delayed(gain, key, problem):
    """As `simulate`, with the past in a ring buffer: delays rounded to whole steps, the input held over a step."""
    weights, lags = jnp.asarray(problem.weights), jnp.asarray(problem.lags)
    n, length = len(weights), int(problem.lags.max()) + 1
    sources = jnp.arange(n)[None]

    def step(carry, noise):
        r, v, past, now = carry
        past = past.at[now % length].set(r)
        arriving = gain * jnp.sum(weights * past[(now - lags) % length, sources], axis=1)
        r, v = heun(r, v, noise, problem.dt, lambda _: arriving)
        return (r, v, past, now + 1), (r, v)

    def one_block(carry, key):
        carry, trajectory = jax.lax.scan(step, carry, draw(key, problem))
        return carry, saved(trajectory, problem)

    r, v = start(n)
    return blocks(one_block, (r, v, jnp.repeat(r[None], length, axis=0), 0), key, problem)


def simulate_vbjax(gain, key, problem):
    """As `simulate`, by vbjax (the fastest peer of this row): the same step, its own loop, all noise drawn at once."""
    import vbjax

    theta = vbjax.MPRTheta(tau=TAU, I=0.0, Delta=DELTA, J=C, eta=ETA, cr=TAU, cv=0.0)
    weights = jnp.asarray(problem.weights)
    amplitude = jnp.array([[SIGMA_R], [SIGMA]])

    def dfun(y, gain):
        return vbjax.mpr_dfun(y, (gain * (weights @ y[0]), 0.0), theta)

    _, loop = vbjax.make_sde(
        problem.dt, dfun, lambda y, gain: amplitude, adhoc=lambda y, gain: y.at[0].set(jnp.maximum(y[0], 0.0))
    )
    noise = jax.random.normal(key, (problem.steps, 2, len(weights)))
    trajectory = loop(jnp.stack(start(len(weights))), noise, gain)
    return trajectory[:, 0], trajectory[:, 1]
