"""The cells are simulated and looked at: rates, mean V and dipole moments while they spike, in epochs.

Cells without noise of their own are clocks that do not forget. In a long run the phases of cells of nearly one rate
settle beside each other, and shot noise, which theory has from random phases, ages within some n tau_m: at n = 2000,
X = 2, C = 4, K = 2, delta = 1 the power at 20-30 Hz was within a tenth of theory in the first 7 s and after 35 s twice
theory without drive, and at 30-70 Hz a fourth to a third below it with sigma = .03. So a record is made of epochs, each
with phases drawn anew, as noise of their own does to real cells all the time.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jnm._model import Drive
from jnm.spiking import QIFNetwork
from jnm.spiking.qif import QIFState
from jnm.studies.whole_chain.places import Places

SETTLE = 320.0  # ms, twenty tau_m: what is left of the start has faded


class Signals(NamedTuple):
    """What was recorded of the cells, a sample every dt ms."""

    dt: float
    rate: Float[Array, "epoch time place"]
    """1/ms, of the cells of each place."""
    v: Float[Array, "epoch time place"]
    """That of the circle z of their V (head of `places`)."""
    moment: Float[Array, "epoch time place"]
    """nA m, of their synaptic currents."""
    raster: Bool[Array, "time cell place"] | None
    """Who fired in each step of the first epoch, for some cells."""


def record(
    places: Places, epochs: int, epoch_ms: float, key: PRNGKeyArray, *, dt: float = 0.16, raster: int = 0
) -> Signals:
    """Simulate epochs of a `QIFNetwork` under noise currents; `raster` says of how many cells a place spikes are kept.

        >>> signals = record(places, epochs=10, epoch_ms=2_000.0, key=jax.random.key(0))

    Raises `ValueError` for epochs without a step.
    """
    steps = round(epoch_ms / dt)
    if epochs < 1 or steps < 1:
        raise ValueError(f"record: {epochs} epochs of {epoch_ms} ms in steps of {dt} ms; wanted one or more of each.")
    net, before = places.cells, round(SETTLE / dt)
    for_start, for_noise = jax.random.split(key)
    start = jax.vmap(net.init)(jax.random.split(for_start, epochs))
    spread = places.sigma * places.tau_m / np.sqrt(dt)  # of a current that lasts a step
    noise = spread * jax.random.normal(for_noise, (before + steps, epochs, len(places.links)), net.tau_m.dtype)
    rate, v, s, spikes = _run(net, start, noise, dt, raster)
    source = places.tau_m * jnp.matmul(s, places.weights.T, precision="highest")
    rate, v, moment = (jnp.swapaxes(x[before:], 0, 1) for x in (rate, v, places.dipole(source)))
    return Signals(dt, rate, v, moment, spikes[before:, 0] if raster else None)


@eqx.filter_jit
def _run(net: QIFNetwork, start: QIFState, noise: Array, dt: float, raster: int) -> tuple[Array, ...]:
    quantiles = net._quantiles()
    some = [np.linspace(0, n - 1, raster).astype(int) for n in net.sizes]

    def one(y, current):
        now = net._step(y, quantiles, Drive(current=current), dt, "spikes")
        fired = jnp.stack([each[index] > 0 for each, index in zip(now.spikes, some, strict=True)], axis=-1)
        return now.y, (now.rate, mean_v(now.y), now.y.s, fired)

    return jax.lax.scan(jax.vmap(one), start, noise)[1]


def mean_v(y: QIFState) -> Float[Array, " place"]:
    """v of the cells, -Im (1 - Z) / (1 + Z) at the mean Z of z = (1 + i V) / (1 - i V), V = p / q."""

    def one(p, q):
        square = p**2 + q**2
        Z = jax.lax.complex(jnp.mean((q**2 - p**2) / square), jnp.mean(2 * p * q / square))
        return -((1 - Z) / (1 + Z)).imag

    return jnp.stack([one(p, q) for p, q in zip(y.p, y.q, strict=True)])
