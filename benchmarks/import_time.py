"""How long `import jnm` takes, beside the JAX stack it stands on.

    python benchmarks/import_time.py [--quick]

Each import runs in a fresh interpreter, in turn; the first turn, which writes and reads byte code from a cold disk, is
not counted.
"""

import argparse
import statistics
import subprocess
import sys

from _harness import report, row

STACK = "jax, equinox, diffrax, optax"
GOAL = 0.5  # seconds above the bare stack


def seconds(modules: str) -> float:
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one turn, nothing kept: does it run?")
    quick = parser.parse_args().quick
    turns = 1 if quick else 9
    times = [(seconds(STACK), seconds("jnm"), seconds(f"{STACK}, jnm")) for _ in range(turns + 1)][1:]
    stack, ours, _ = (statistics.median(column) for column in zip(*times, strict=True))
    above = statistics.median(both - bare for bare, _, both in times)
    rows = [
        row(f"import {STACK}", stack, "s"),
        row("import jnm", ours, "s"),
        row("what jnm adds to the stack", above, "s", goal=GOAL),
    ]
    report("import_time", rows, keep=not quick, turns=turns, seconds=times)


if __name__ == "__main__":
    main()
