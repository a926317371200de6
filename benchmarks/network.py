"""A 90-region network: jnm beside a hand-written `lax.scan`, and that scan beside vbjax.

    python benchmarks/network.py [--quick]

MPR nodes, Heun with additive noise on r and v, dt 0.1 ms, 10,000 steps, every state kept (every tenth with 64 members),
float32. Weights are the empirical connectome of JNM_DATA normalised by rows, or jnm's synthetic one where that is absent;
lengths are synthetic, 5 to 240 mm, at 5 mm/ms. Gradients are of the mean rate with respect to the coupling gain. Blocks of
both are tuned first. `--quick` only shows that everything runs, and keeps nothing.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import _plain
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _harness import in_turn, ratio, report, row

import jnm

GAIN, SPEED, DT = 5.0, 5.0, 0.1  # no unit, mm/ms, ms
Run = Callable[[Any, Any], Any]  # (gain, key) -> r, [time, region]


class Size(NamedTuple):
    """How much is run."""

    steps: int
    turns: int
    members: int
    blocks: tuple[int, ...]
    member_blocks: tuple[int, ...]
    memory_steps: int  # 10 s


FULL = Size(10_000, 15, 64, (250, 500, 1000, 2000), (50, 100, 200, 500), 100_000)
QUICK = Size(200, 1, 2, (50, 100), (50,), 1_000)


def connectome() -> tuple[jnm.Connectome, str]:
    """The empirical connectome with synthetic lengths, or the synthetic one; and where it is from."""
    path = Path(os.environ.get("JNM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "connectome" / "sc2017.dat"
    source = jnm.Connectome.read(path) if path.exists() else jnm.datasets.connectome()
    weights = np.asarray(source.normalised("rows").weights)
    half = np.random.default_rng(0).gamma(3.0, 25.0, weights.shape)
    return jnm.Connectome(weights, lengths=np.clip((half + half.T) / 2, 5.0, 240.0)), path.name if path.exists() else "synthetic"


def ours(net: jnm.Network, steps: int, save_every: int, block: int | None) -> Run:
    def run(gain, key):
        model = eqx.tree_at(lambda m: m.coupling.gain, net, jnp.asarray(gain, float))
        sol = jnm.simulate(model, steps * DT, DT, key=key, save_every=save_every * DT, block=block, throw=False)
        return sol.ys.r

    return run


def plain(simulate: Callable[..., Any], brain: jnm.Connectome, steps: int, save_every: int, block: int) -> Run:
    lags = np.round(np.asarray(brain.lengths) / SPEED / DT).astype(int)
    problem = _plain.Problem(np.asarray(brain.weights), lags, DT, steps, block, save_every)
    return lambda gain, key: simulate(gain, key, problem)[0]


def forward(run: Run) -> Callable[[], Any]:
    return functools.partial(jax.jit(run), GAIN, jax.random.key(0))


def gradient(run: Run) -> Callable[[], Any]:
    return functools.partial(jax.jit(jax.grad(lambda gain, key: jnp.mean(run(gain, key)))), GAIN, jax.random.key(0))


def batch(run: Run, members: int) -> Callable[[], Any]:
    """Members with gains and noise of their own."""
    gains, keys = jnp.linspace(0.5 * GAIN, 1.5 * GAIN, members), jax.random.split(jax.random.key(0), members)
    return functools.partial(jax.jit(jax.vmap(run)), gains, keys)


def fastest(runs: dict[Any, Callable[[], Any]], turns: int) -> tuple[Any, dict[str, float]]:
    """The block that takes the least time, and the seconds of all."""
    times = {str(block): statistics.median(t) for block, t in in_turn(runs, turns).items()}
    return min(runs, key=lambda block: times[str(block)]), times


def check_same(pairs: dict[str, Run]) -> None:
    """All integrate the same equations: without noise their rates agree."""
    rates = {name: np.asarray(jax.jit(run)(GAIN, jax.random.key(0))) for name, run in pairs.items()}
    for name, rate in rates.items():
        np.testing.assert_allclose(rate, rates["plain"], rtol=1e-4, err_msg=f"{name} solves another problem than plain")


def megabytes(run: Run) -> float:
    """Temporaries and output of a gradient, by XLA's own analysis."""
    step = jax.jit(jax.grad(lambda gain, key: jnp.mean(run(gain, key))))
    analysis = step.lower(GAIN, jax.random.key(0)).compile().memory_analysis()
    return (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e6


def first_call(size: Size) -> float:
    """Seconds of the first `simulate` in a fresh interpreter: trace, compile, run."""
    command = [sys.executable, __file__, "--first-call", str(size.steps)]
    times = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    return statistics.median(times)


def print_first_call(steps: int) -> None:
    net, key = network(connectome()[0]), jax.random.key(0)
    begin = time.perf_counter()
    jax.block_until_ready(jnm.simulate(net, steps * DT, DT, key=key).ys.r)
    print(time.perf_counter() - begin)


def network(brain: jnm.Connectome, speed: float | None = None, noise: bool = True) -> jnm.Network:
    amplitudes = dict(sigma_r=_plain.SIGMA_R, sigma=_plain.SIGMA) if noise else {}
    return jnm.Network(jnm.MPR(**amplitudes), brain, jnm.Linear(gain=GAIN), speed=speed)
