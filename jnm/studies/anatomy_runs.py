"""Runs of networks that differ in nothing but their weights, some at a time, and what is measured of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._model import State
from jnm._param import cast
from jnm.integration import simulate
from jnm.network import Connectome, Network
from jnm.stability.field import shaped
from jnm.stability.lyapunov import regions_apart
from jnm.studies.anatomy_rhythms import Waxing, pattern_shares, waxing_and_waning

Signal = Callable[[Array, State], Array]


class Protocol(NamedTuple):
    """How networks are run."""

    duration: float
    """ms."""
    settling: float
    """ms that are left out before."""
    dt: float
    """ms."""
    signal: Signal | None
    """What is looked at, of (t, y); the output by default."""


class Look(NamedTuple):
    """What a run has shown."""

    row: dict[str, float]
    pattern: Float[np.ndarray, " mode"]
    envelope_pattern: Float[np.ndarray, " mode"]
    slow_hz: Float[np.ndarray, " frequency"]
    spectrum: Float[np.ndarray, " frequency"]


def runs(
    networks: Sequence[Network], protocol: Protocol, keys: Sequence[PRNGKeyArray], chunk: int
) -> Iterator[Float[np.ndarray, "time region"]]:
    """The signal of each network, one sample a ms, in double precision; raises `RuntimeError` where one diverges."""
    chunk = min(chunk, len(networks))
    weights = np.stack([np.asarray(network.connectome.weights, float) for network in networks])
    for first in range(0, len(networks), chunk):
        index = np.arange(first, first + chunk) % len(networks)  # chunks of one size are compiled once
        with jax.enable_x64(True):
            chosen = jnp.asarray(weights[index]), jnp.stack(keys)[index]
            xs, results = map(np.asarray, _side_by_side(cast(networks[0], float), *chosen, protocol))
        if np.any(results):
            raise RuntimeError(
                f"anatomy: the activity of {np.sum(results != 0)} of {chunk} networks left all bounds; try a smaller "
                f"dt than {protocol.dt:g} ms."
            )
        yield from xs[: len(networks) - first]


@eqx.filter_jit
def _side_by_side(network: Network, weights: Array, keys: PRNGKeyArray, protocol: Protocol) -> tuple[Array, Array]:
    def one(weights, key):
        own = eqx.tree_at(lambda n: n.connectome.weights, network, weights)
        start = shaped(own, regions_apart(own, "random", key, protocol.dt))
        run = simulate(
            own, protocol.settling + protocol.duration, protocol.dt, y0=start, save_every=1.0,
            discard=protocol.settling, save=own.output if protocol.signal is None else protocol.signal, throw=False,
        )  # fmt: skip
        return run.ys, run.result

    return jax.vmap(one)(weights, keys)


def looked_at(connectome: Connectome, growth: Float[np.ndarray, " mode"], x: Float[np.ndarray, "time region"]) -> Look:
    """A run beside the growth rates of the connectome's modes."""
    from scipy.stats import spearmanr

    with jax.enable_x64(True):
        waxing = waxing_and_waning(x)
    pattern, enveloped = (pattern_shares(connectome, signal) for signal in (x, np.asarray(waxing.envelope)))
    row = named(waxing) | {
        "unison": float(pattern[0]),
        "agreement": float(spearmanr(growth[1:], enveloped[1:])[0]),  # pyright: ignore[reportArgumentType],
    }
    return Look(row, pattern, enveloped, waxing.slow_hz, waxing.spectrum)


def named(waxing: Waxing) -> dict[str, float]:
    """Its numbers under the names of the study."""
    return {
        "rhythm": waxing.rhythm,
        "envelope variation": waxing.variation,
        "envelope peak": waxing.pace,
        "slow share": waxing.slow,
        "modulation index": waxing.modulation,
    }
