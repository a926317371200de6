"""The LIF network as a compiled loop over steps, neurons and spikes: the yardstick of benchmarks/lif.py.

Connections are lists of targets; normals come from a table of 65,536 quantiles indexed by the bits of a xorshift
generator, four to a word, which costs about what the counter-based normals of jnm cost.
"""

from statistics import NormalDist
from typing import Any, NamedTuple

import numba
import numpy as np

import jnm


class Problem(NamedTuple):
    """A network as the loop wants it."""

    starts: np.ndarray
    targets: np.ndarray
    outer_starts: np.ndarray
    outer_targets: np.ndarray
    n_excitatory: int
    numbers: np.ndarray  # the parameters in the order of NAMES


NAMES = (
    *("tau_m", "tau_ref", "g_L", "rest", "v_th", "v_reset", "E_E", "E_I", "E_X", "tau_E", "tau_I", "tau_X"),
    *("q_E", "q_I", "q_X", "Q", "nu"),
)
TABLE = np.array([NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(65536)], np.float32)


def problem(net: jnm.spiking.LIFNetwork) -> Problem:
    assert net.external_graph is not None
    numbers = np.array([float(getattr(net, name)) for name in NAMES])
    return Problem(*_lists(net.graph), *_lists(net.external_graph), int(net.n_excitatory), numbers)


def _lists(graph: jnm.spiking.Graph) -> tuple[np.ndarray, np.ndarray]:
    """Targets of each sender, and where each list begins."""
    sender, target = np.nonzero(graph.dense().T)
    return np.searchsorted(sender, np.arange(graph.senders + 1)), target.astype(np.int32)


def run(network: Problem, steps: int, dt: float, seed: int = 1) -> tuple[float, float]:
    """Mean rate of excitatory neurons (Hz) and mean potential (mV)."""
    n = len(network.starts) - 1
    v = np.random.default_rng(seed).uniform(-60, -50, n).astype(np.float32)
    spikes, V = _loop(v, *network, TABLE, steps, np.float32(dt), np.uint64(seed))
    return spikes / network.n_excitatory / (steps * dt) * 1e3, V


@numba.njit(fastmath=True)
def _loop(
    v: Any, starts: Any, targets: Any, outer_starts: Any, outer_targets: Any, n_e: int, numbers: Any, table: Any,
    steps: int, dt: Any, seed: Any,
) -> tuple[int, float]:  # fmt: skip
    numbers = numbers.astype(np.float32)
    tau_m, tau_ref, g_L, rest, v_th, v_reset, E_E, E_I, E_X, tau_E, tau_I, tau_X, q_E, q_I, q_X, Q, nu = numbers
    n, sources = v.size, outer_starts.size - 1
    g_E, g_I, g_X = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)
    held, fired, kick = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n + 4, np.float32)
    keep_E, keep_I, keep_X = 1 - dt / tau_E, 1 - dt / tau_I, 1 - dt / tau_X
    amplitude, leak, hold = np.sqrt(Q * dt) / tau_m, dt / tau_m, round(tau_ref / dt)
    quiet = np.exp(-sources * nu * dt)
    state, number, total, V = seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1), 0, 0, 0.0
    for _ in range(steps):
        for i in range(0, n, 4):
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            for j in range(4):
                kick[i + j] = amplitude * table[(state >> np.uint64(16 * j)) & np.uint64(0xFFFF)]
        V_now = np.float32(0)
        new = 0
        before = fired[:number].copy()
        for i in range(n):
            inward = g_E[i] * (v[i] - E_E) + g_I[i] * (v[i] - E_I) + g_X[i] * (v[i] - E_X)
            moved = v[i] + leak * (rest - v[i] - inward / g_L) + kick[i]
            if held[i] > 0:
                held[i] -= 1
                moved = v_reset
            elif moved >= v_th:
                held[i] = hold
                fired[new] = i
                new += 1
                moved = v_reset
            v[i] = moved
            V_now += v[i]
            g_E[i] *= keep_E
            g_I[i] *= keep_I
            g_X[i] *= keep_X
        for m in before:
            for k in range(starts[m], starts[m + 1]):
                if m < n_e:
                    g_E[targets[k]] += q_E / tau_E
                else:
                    g_I[targets[k]] += q_I / tau_I
        for k in range(new):
            total += fired[k] < n_e
        number = new
        product = np.random.random()  # noqa: NPY002, numba compiles no other
        while product > quiet:
            source = np.random.randint(sources)  # noqa: NPY002
            for k in range(outer_starts[source], outer_starts[source + 1]):
                g_X[outer_targets[k]] += q_X / tau_X
            product *= np.random.random()  # noqa: NPY002
        V += V_now / n
    return total, V / steps
