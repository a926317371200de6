"""Sweeps: members a second and network steps a second against the size of a chunk, and what a store costs.

    python benchmarks/sweeps.py [--quick]

MPR nodes, 90 regions, jnm's synthetic connectome normalised by rows, no delays, Heun, dt 0.1 ms, with and without additive
noise on v, in single and in double precision; each member has a coupling gain and a path of noise of its own and returns
the mean rate of each region. The yardstick is one `jax.vmap` over all members (a fixed batch, no labels, no store, no
microbatches); `share_of_floor` is the least time of the project's notes on speed over the time a network step takes.

On a processor: everything again in a process bound to one thread, and weak scaling, as many members a device, in a process
with 8 forced devices (which share the cores, so that the time grows once there are more devices than cores). Where there is
a GPU: 1, 100 and 10,000 members in place of the chunks. The store is measured with states kept, in blocks of a sixteenth of
the sweep, as chunk="auto" cuts it. `--quick` only shows that everything runs, and keeps nothing.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
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
FLOOR = {"cpu": 0.5e-6, "gpu": 1 / 1.3e9}  # s a network step of 90 regions takes at least: on one core, on an H200
GOAL = 2e8  # network steps a second on a GPU with 10,000 members in single precision


class Size(NamedTuple):
    """How much is run."""

    members: int
    steps: int
    turns: int
    chunks: tuple[int, ...]
    gpu_members: tuple[int, ...]


FULL = Size(128, 5000, 3, (8, 32, 128), (1, 100, 10_000))
QUICK = Size(16, 100, 1, (8, 16), (1, 16))


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


def rate_row(name: str, members: int, steps: int, seconds: float) -> dict[str, Any]:
    """Members a second, and what follows from them."""
    rate = members / seconds
    share = FLOOR.get(jax.default_backend(), np.nan) * rate * steps
    return row(name, rate, "members/s", network_steps_per_s=rate * steps, share_of_floor=share)


def kind(noisy: bool) -> str:
    """What a row was measured with."""
    return f"{'noise' if noisy else 'no noise'}, {'x64' if jax.config.jax_enable_x64 else 'float32'}"


def of_chunks(size: Size, noisy: bool) -> list[dict[str, Any]]:
    """Each chunk beside the plain vmap."""
    grid, run, key = batch(size.members, noisy), mean_rate(size.steps), jax.random.key(0)
    plain = jax.jit(jax.vmap(lambda i: run(grid[i], grid.key(key, i))))
    numbers = jnp.arange(size.members)

    def chunk_of(chunk: Any) -> Callable[[], Any]:
        return lambda: jnm.sweep(run, grid, key=key, chunk=chunk).rate.values

    work = {"vmap": lambda: plain(numbers)} | {f"chunk {chunk}": chunk_of(chunk) for chunk in (*size.chunks, "auto")}
    times, rows = in_turn(work, size.turns), []
    for name, seconds in times.items():
        rows.append(rate_row(f"{name}, {kind(noisy)}", size.members, size.steps, statistics.median(seconds)))
        if name != "vmap":
            rows.append(row(f"{name} / vmap, {kind(noisy)}", ratio(seconds, times["vmap"]), "ratio"))
    return rows


def of_members(size: Size, noisy: bool) -> list[dict[str, Any]]:
    """So many members at once: on a GPU."""
    run, key = mean_rate(size.steps), jax.random.key(0)

    def sweep_of(members: int) -> Callable[[], Any]:
        grid = batch(members, noisy)
        return lambda: jnm.sweep(run, grid, key=key, chunk=members).rate.values

    times = in_turn({str(n): sweep_of(n) for n in size.gpu_members}, size.turns)
    rows = [rate_row(f"{n} members, {kind(noisy)}", int(n), size.steps, statistics.median(s)) for n, s in times.items()]
    steps = rows[-1]["network_steps_per_s"]
    return [*rows, row(f"goal / network steps per s, {kind(noisy)}", GOAL / steps, "ratio", 1.0)]


def longer(size: Size) -> Size:
    """For the store, which costs once what hashing the program does, whatever the sweep's length: a few seconds' sweep."""
    return size._replace(members=2 * size.members, steps=4 * size.steps)


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

    def on(n: int) -> Callable[[], Any]:
        grid = batch(n * size.members // len(devices), True)
        return lambda: jnm.sweep(run, grid, key=key, devices=devices[:n]).rate.values

    times = in_turn({str(n): on(n) for n in counts}, size.turns)
    return [row(f"{n} devices / 1, as many members each", ratio(times[n], times["1"]), "ratio") for n in times]


def of_precisions(size: Size, measure: Callable[[Size, bool], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """With and without noise, in single and in double precision."""
    rows = []
    for double in (False, True):
        with jax.enable_x64(double):
            rows += [line for noisy in (True, False) for line in measure(size, noisy)]
    return rows


def in_a_process(part: str, quick: bool, flags: str, cores: int) -> list[dict[str, Any]]:
    """The rows of a part of this script, in a process of its own with flags for XLA and on so many cores."""
    command = [sys.executable, __file__, "--part", part, *(["--quick"] if quick else [])]
    known = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(known)[:cores])  # which a new process inherits
    try:
        settings = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
    finally:
        os.sched_setaffinity(0, known)
    return json.loads(run.stdout.splitlines()[-1])


def on_a_processor(size: Size, quick: bool) -> list[dict[str, Any]]:
    """All cores, one core, and forced devices."""
    one = in_a_process("chunks", quick, "", 1)
    forced = in_a_process("devices", quick, "--xla_force_host_platform_device_count=8", os.cpu_count() or 1)
    alone = [{**line, "what": f"one thread: {line['what']}"} for line in one]
    return [*of_precisions(size, of_chunks), *alone, *of_the_store(longer(size)), *forced]


def main() -> None:
    """Run everything and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    parser.add_argument("--part", choices=("chunks", "devices"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    if chosen.part == "devices":
        return print(json.dumps(of_devices(size)))
    if chosen.part == "chunks":
        return print(json.dumps(of_precisions(size._replace(chunks=size.chunks[1:2]), of_chunks)))
    if jax.default_backend() == "cpu":
        report("sweeps", on_a_processor(size, chosen.quick), keep=not chosen.quick, size=size._asdict())
    else:
        rows = [*of_precisions(size, of_members), *of_the_store(longer(size))]
        report("sweeps_gpu", rows, keep=not chosen.quick, size=size._asdict())


if __name__ == "__main__":
    main()
