"""The study of Deschle et al. (2021) at its own size, a grid point after the other: stored, and taken up again.

    python benchmarks/validity.py --out validity-A          # 105 points, N = 10,000, 30 s, one repeat; hours on a CPU
    python benchmarks/validity.py --out validity-A --quick  # 2 points, N = 1,000, 1 s

Run it again with the same arguments after an interruption: what was done is kept. `--repeats 10` is the paper's.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from _harness import machine

import jnm
from jnm.plot.validity import maps

FRACTIONS = np.round(np.linspace(0.1, 0.95, 7), 3)
PROBABILITIES = np.round(np.linspace(0.0, 1.0, 15), 3)  # 7 x 15 = 105 points; which ones the paper took is not known


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, required=True, help="folder of the study")
    arguments.add_argument("--set", default="A", choices=("A", "B"))
    arguments.add_argument("--repeats", type=int, default=1)
    arguments.add_argument("--quick", action="store_true", help="two points of small networks")
    given = arguments.parse_args()
    size = dict(n=10_000, t1=30_000.0, discard=3_000.0)
    grid = dict(p=PROBABILITIES, fraction_excitatory=FRACTIONS)
    if given.quick:
        size, grid = dict(n=1_000, t1=1_000.0, discard=300.0), dict(p=[0.05, 0.5], fraction_excitatory=[0.8])
    begun = time.perf_counter()
    found = jnm.studies.validity(
        given.set,
        key=jax.random.key(0),
        repeats=given.repeats,
        twins=False,
        store=given.out,
        progress=True,
        **grid,
        **size,
    )
    seconds = time.perf_counter() - begun
    found.to_netcdf(given.out / "study.nc")
    maps(found).savefig(given.out / "maps.png", dpi=150)
    points = found.sizes["p"] * found.sizes["fraction_excitatory"]
    result = dict(machine=machine(), points=points, seconds=seconds, set=given.set, repeats=given.repeats, **size)
    (given.out / "time.json").write_text(json.dumps(result, indent=2))
    print(f"{points} points in {seconds:.0f} s; figures in {given.out}")


if __name__ == "__main__":
    main()
