"""A 90-region network: jnm beside a hand-written `lax.scan`, and that scan beside vbjax.

    python benchmarks/network.py [--quick]

MPR nodes, Heun with additive noise on r and v, dt 0.1 ms, 10,000 steps, float32, every state kept (every tenth with 64
members). Weights are the empirical connectome of JNM_DATA normalised by rows, or jnm's synthetic one where that is
absent; lengths are synthetic, 5 to 240 mm, at 5 mm/ms. Gradients are of the mean rate in the coupling gain.
The block of either side is tuned first. `--quick` only shows that everything runs, and keeps nothing.
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
Work = Callable[[], Any]


class Size(NamedTuple):
    """How much is run."""

    steps: int
    turns: int
    members: int
    blocks: tuple[int, ...]
    member_blocks: tuple[int, ...]
    long: int  # steps of the gradient whose memory is asked for: 10 s


FULL = Size(10_000, 15, 64, (250, 500, 1000, 2000), (50, 100, 200, 500), 100_000)
QUICK = Size(200, 1, 2, (50, 100), (50,), 1_000)


# ------------------------------------------------------------------------------------------------------ what is run


def connectome() -> tuple[jnm.Connectome, str]:
    """Weights with synthetic lengths, and where the weights are from."""
    path = Path(os.environ.get("JNM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "connectome" / "sc2017.dat"
    source, name = (jnm.Connectome.read(path), path.name) if path.exists() else (jnm.datasets.connectome(), "synthetic")
    weights = np.asarray(source.normalised("rows").weights)
    lengths = np.random.default_rng(0).gamma(3.0, 25.0, weights.shape)
    return jnm.Connectome(weights, lengths=np.clip((lengths + lengths.T) / 2, 5.0, 240.0)), name


def network(brain: jnm.Connectome, speed: float | None = None) -> jnm.Network:
    node = jnm.MPR(sigma_r=_plain.SIGMA_R, sigma=_plain.SIGMA)
    return jnm.Network(node, brain, jnm.Linear(gain=GAIN), speed=speed)


def ours(net: jnm.Network, steps: int, block: int | None = None, every: int = 1) -> Run:
    def run(gain, key):
        model = eqx.tree_at(lambda m: m.coupling.gain, net, jnp.asarray(gain, float))
        return jnm.simulate(model, steps * DT, DT, key=key, save_every=every * DT, block=block).ys.r

    return run


def yardstick(simulate: Callable[..., Any], brain: jnm.Connectome, steps: int, block: int, every: int = 1) -> Run:
    lags = np.round(np.asarray(brain.lengths) / SPEED / DT).astype(int)
    problem = _plain.Problem(np.asarray(brain.weights), lags, DT, steps, block, every)
    return lambda gain, key: simulate(gain, key, problem)[0]


def forward(run: Run) -> Work:
    return functools.partial(jax.jit(run), GAIN, jax.random.key(0))


def mean_gradient(run: Run) -> Callable[..., Any]:
    return jax.jit(jax.grad(lambda gain, key: jnp.mean(run(gain, key))))


def gradient(run: Run) -> Work:
    return functools.partial(mean_gradient(run), GAIN, jax.random.key(0))


def batch(run: Run, members: int) -> Work:
    """Members with gains and noise of their own."""
    gains = jnp.linspace(0.5 * GAIN, 1.5 * GAIN, members)
    return functools.partial(jax.jit(jax.vmap(run)), gains, jax.random.split(jax.random.key(0), members))


# ---------------------------------------------------------------------------------------------------- what is asked


class Times:
    """Seconds of workloads run in turn, read as microseconds per step and as ratios."""

    def __init__(self, workloads: dict[str, Work], size: Size):
        self.steps, self.seconds = size.steps, in_turn(workloads, size.turns)

    def row(self, name: str) -> dict[str, Any]:
        return row(name, 1e6 * statistics.median(self.seconds[name]) / self.steps, "us/step")

    def ratio(self, name: str, reference: str, goal: float | None = None) -> dict[str, Any]:
        return row(f"{name} : {reference}", ratio(self.seconds[name], self.seconds[reference]), "", goal=goal)


def fastest(workloads: dict[Any, Work], turns: int) -> tuple[Any, dict[str, float]]:
    """The block that takes the least time, and the seconds of all."""
    times = {block: statistics.median(t) for block, t in in_turn(workloads, turns).items()}
    return min(times, key=times.__getitem__), {str(block): seconds for block, seconds in times.items()}


def tune(run_of_block: Callable[[Any], Run], blocks: tuple[Any, ...], work: Callable[[Run], Work], turns: int):
    return fastest({block: work(run_of_block(block)) for block in blocks}, max(1, turns // 3))


def check_same(brain: jnm.Connectome) -> None:
    """All integrate the same equations: without noise their rates agree."""
    silent = eqx.tree_at(lambda m: (m.node.sigma_r, m.node.sigma), network(brain), (jnp.zeros(()), jnp.zeros(())))
    amplitudes, (_plain.SIGMA_R, _plain.SIGMA) = (_plain.SIGMA_R, _plain.SIGMA), (0.0, 0.0)
    runs = [yardstick(simulate, brain, 1000, 500) for simulate in (_plain.simulate, _plain.simulate_vbjax)]
    rates = [np.asarray(forward(run)()) for run in (*runs, ours(silent, 1000))]
    _plain.SIGMA_R, _plain.SIGMA = amplitudes
    for rate in rates:
        np.testing.assert_allclose(rate, rates[0], rtol=1e-4)


def one_network(brain: jnm.Connectome, size: Size) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Forward and gradient, with and without delays."""
    net, delayed = network(brain), network(brain, SPEED)
    plain = functools.partial(yardstick, _plain.simulate, brain, size.steps)
    late = functools.partial(yardstick, _plain.simulate_delayed, brain, size.steps)
    tuned = {
        "plain": tune(plain, size.blocks, forward, size.turns),
        "plain, delays": tune(late, size.blocks, forward, size.turns),
        "jnm": tune(lambda block: ours(net, size.steps, block), (None, *size.blocks), forward, size.turns),
    }
    best = {name: block for name, (block, _) in tuned.items()}
    runs = {
        "plain": plain(best["plain"]),
        "vbjax": yardstick(_plain.simulate_vbjax, brain, size.steps, size.steps),
        "jnm": ours(net, size.steps, best["jnm"]),
        "plain, delays": late(best["plain, delays"]),
        "jnm, delays": ours(delayed, size.steps),
    }
    works = {f"forward {name}": forward(run) for name, run in runs.items()}
    works |= {f"gradient {name}": gradient(run) for name, run in runs.items()}
    works["forward jnm, default block"] = forward(ours(net, size.steps))
    times = Times(works, size)
    rows = [times.row(name) for name in works] + [
        times.ratio("forward plain", "forward vbjax", goal=1.2),
        times.ratio("forward jnm", "forward plain", goal=1.15),
        times.ratio("forward jnm, default block", "forward plain"),
        times.ratio("gradient jnm", "forward jnm", goal=3.2),
        times.ratio("gradient jnm", "gradient plain"),
        times.ratio("forward jnm, delays", "forward jnm", goal=3.5),
        times.ratio("forward jnm, delays", "forward plain, delays"),
        times.ratio("gradient jnm, delays", "forward jnm, delays"),
        times.ratio("gradient jnm, delays", "gradient plain, delays"),
    ]
    return rows, {"blocks": best, "seconds by block": {name: seconds for name, (_, seconds) in tuned.items()}}


def many_members(brain: jnm.Connectome, size: Size) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A batch by vmap, each member with its own noise."""
    every, net = 10, network(brain)
    work = functools.partial(batch, members=size.members)
    sides = {
        "plain": lambda block: yardstick(_plain.simulate, brain, size.steps, block, every),
        "jnm": lambda block: ours(net, size.steps, block, every),
    }
    tuned = {name: tune(run, size.member_blocks, work, size.turns) for name, run in sides.items()}
    works = {f"{size.members} members {name}": work(run(tuned[name][0])) for name, run in sides.items()}
    works[f"{size.members} members jnm, default block"] = work(ours(net, size.steps, None, every))
    times, names = Times(works, size), list(works)
    rows = [times.row(name) for name in works]
    rows += [times.ratio(names[1], names[0], goal=1.15), times.ratio(names[2], names[0])]
    best = {name: block for name, (block, _) in tuned.items()}
    return rows, {
        "member blocks": best,
        "member seconds by block": {name: seconds for name, (_, seconds) in tuned.items()},
    }


def noise_alone(brain: jnm.Connectome, size: Size) -> list[dict[str, Any]]:
    """The normals of one run, which are most of its cost."""
    net, key = network(brain), jax.random.key(0)
    like = net.diffusion(jnp.zeros(()), net.init())
    count = sum(leaf.size for leaf in jax.tree.leaves(like))
    white = jax.jit(lambda key: jnm.White().draw(key, jnp.int32(0), size.steps, DT, like, False))
    theirs = jax.jit(lambda key: jax.random.normal(key, (size.steps, count)))
    times = Times({"noise jnm": lambda: white(key), "noise jax.random.normal": lambda: theirs(key)}, size)
    return [times.row("noise jnm"), times.row("noise jax.random.normal")]


def memory(brain: jnm.Connectome, size: Size) -> list[dict[str, Any]]:
    """Temporaries and output of a gradient, by XLA's own analysis."""
    rows = []
    for name, net in (("", network(brain)), (", delays", network(brain, SPEED))):
        compiled = mean_gradient(ours(net, size.long)).lower(GAIN, jax.random.key(0)).compile()
        used = compiled.memory_analysis()
        megabytes = (used.temp_size_in_bytes + used.output_size_in_bytes) / 1e6
        rows.append(row(f"memory of a gradient over {size.long * DT / 1000:g} s{name}", megabytes, "MB", goal=500.0))
    return rows


def first_call(size: Size) -> list[dict[str, Any]]:
    """The first `simulate` of a fresh interpreter: trace, compile, run."""
    command = [sys.executable, __file__, "--first-call", str(size.steps)]
    calls = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    return [row("first call", statistics.median(map(float, calls)), "s", goal=2.0)]


def print_first_call(steps: int) -> None:
    net, key = network(connectome()[0]), jax.random.key(0)
    begin = time.perf_counter()
    jax.block_until_ready(jnm.simulate(net, steps * DT, DT, key=key).ys.r)
    print(time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    parser.add_argument("--first-call", type=int, metavar="STEPS", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.first_call:
        return print_first_call(chosen.first_call)
    size = QUICK if chosen.quick else FULL
    brain, source = connectome()
    check_same(brain)
    single, blocks = one_network(brain, size)
    batched, member_blocks = many_members(brain, size)
    rows = single + batched + noise_alone(brain, size) + memory(brain, size) + first_call(size)
    report("network", rows, keep=not chosen.quick, connectome=source, size=size._asdict(), **blocks, **member_blocks)


if __name__ == "__main__":
    main()
