"""Sweeps: members a second and network steps a second against the size of a chunk, and what a store costs.

    python benchmarks/sweeps.py [--quick] [--members 10000]

MPR nodes, 90 regions, jnm's synthetic connectome normalised by rows, no delays, Heun, dt 0.1 ms, float32, with and
without additive noise on v; each member has a coupling gain and a path of noise of its own and returns the mean rate of
each region. The yardstick is one `jax.vmap` over all members (a fixed batch, no labels, no store, no microbatches). The
store is measured with blocks that are a sixteenth of the sweep, as chunk="auto" cuts it. On forced devices
(XLA_FLAGS=--xla_force_host_platform_device_count=4) each number of devices gets as many members a device (weak scaling).
`--quick` only shows that everything runs, and keeps nothing.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _harness import in_turn, ratio, report, row

import jnm

DT = 0.1  # ms
FLOOR = 0.5e-6  # seconds a network step of 90 regions takes at least on one core (see the project's notes on speed)


class Size(NamedTuple):
    """How much is run."""

    members: int
    steps: int
    turns: int
    chunks: tuple[int, ...]


FULL = Size(256, 10_000, 7, (8, 16, 64, 256))
QUICK = Size(16, 200, 1, (8, 16))


def batch(members: int, noisy: bool) -> jnm.sweeps.Grid:
    """A network for each of so many coupling gains."""
    brain = jnm.datasets.connectome().normalised("rows")
    net = jnm.Network(jnm.MPR(sigma=0.05) if noisy else jnm.MPR(), brain)
    return jnm.grid(net, lambda m: m.coupling.gain, np.linspace(0.0, 5.0, members))


def mean_rate(steps: int) -> Callable[[Any, Any], Any]:
    """The swept function: no trajectory is kept."""

    def rate(model: Any, key: Any) -> Any:
        fold = jnm.Reduction(
            lambda y: jnp.zeros_like(y.r), lambda total, t, y: total + y.r, lambda total: total / steps
        )
        return jnm.simulate(model, steps * DT, DT, key=key, save=fold, block=100, throw=False).ys

    return rate


def of_chunks(size: Size, noisy: bool) -> list[dict[str, Any]]:
    """Each chunk beside the plain vmap."""
    grid, run, key = batch(size.members, noisy), mean_rate(size.steps), jax.random.key(0)
    plain = jax.jit(jax.vmap(lambda i: run(grid[i], grid.key(key, i))))
    numbers = jnp.arange(size.members)

    def chunk_of(chunk: Any) -> Callable[[], Any]:
        return lambda: jnm.sweep(run, grid, key=key, chunk=chunk).rate.values

    chosen = [*size.chunks, "auto"]
    work = {"vmap": lambda: plain(numbers), **{f"chunk {chunk}": chunk_of(chunk) for chunk in chosen}}
    times = in_turn(work, size.turns)
    noise = "noise" if noisy else "no noise"
    rows = []
    for name, seconds in times.items():
        rate = size.members / statistics.median(seconds)
        share = FLOOR * rate * size.steps
        rows.append(
            row(f"{name}, {noise}", rate, "members/s", network_steps_per_s=rate * size.steps, share_of_floor=share)
        )
        if name != "vmap":
            rows.append(row(f"{name} / vmap, {noise}", ratio(seconds, times["vmap"]), "ratio"))
    return rows


def of_the_store(size: Size) -> list[dict[str, Any]]:
    """The same sweep into memory and into a store, with states kept: what writing costs."""
    grid, key, folder = batch(size.members, True), jax.random.key(0), Path(tempfile.mkdtemp())

    def kept(model: Any, key: Any) -> Any:
        return jnm.simulate(
            model, size.steps * DT, DT, key=key, save_every=10 * DT, save=lambda t, y: y.r, block=100, throw=False
        )

    def stored() -> Any:
        shutil.rmtree(folder, ignore_errors=True)
        return jnm.sweep(kept, grid, key=key, store=folder / "sweep.zarr").ok.values

    work = {"memory": lambda: jnm.sweep(kept, grid, key=key).ok.values, "store": stored}
    times = in_turn(work, size.turns)
    shutil.rmtree(folder, ignore_errors=True)
    size_mb = size.members * size.steps / 10 * 90 * 4 / 1e6
    return [row("store / memory", ratio(times["store"], times["memory"]), "ratio", 1.05, megabytes=size_mb)]


def of_devices(size: Size) -> list[dict[str, Any]]:
    """As many members a device on 1, 2, 4, ... devices: the time should not grow, where devices do not share cores."""
    devices, run, key = jax.local_devices(), mean_rate(size.steps), jax.random.key(0)
    counts = [n for n in (1, 2, 4, 8) if n <= len(devices)]
    if len(counts) == 1:
        return []

    def on(n: int) -> Callable[[], Any]:
        grid = batch(n * size.members // len(devices), True)
        return lambda: jnm.sweep(run, grid, key=key, devices=devices[:n]).rate.values

    times = in_turn({str(n): on(n) for n in counts}, size.turns)
    return [row(f"{n} devices / 1, as many members each", ratio(times[n], times["1"]), "ratio") for n in times]


def main() -> None:
    """Run everything and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    parser.add_argument("--members", type=int, help="another number of members")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    size = size._replace(members=chosen.members) if chosen.members else size
    rows = [*of_chunks(size, True), *of_chunks(size, False), *of_the_store(size), *of_devices(size)]
    report("sweeps", rows, keep=not chosen.quick, size=size._asdict())


if __name__ == "__main__":
    main()
