"""A LIF network: jnm beside brian2 (C++ standalone) and beside a compiled loop.

    python benchmarks/lif.py [--quick] [--environment FOLDER]

Set A at lambda = .8, p = .2 (low rate) with 2,000 and with 10,000 neurons, and at lambda = .95, p = .5 (127 Hz) with 2,000;
dt 0.1 ms, 1 s, mean potential and rates kept at each step. jnm and the loop are in single precision, brian2 in its double.
Brian2 wants numpy < 2.4: it lives in a virtual environment in FOLDER (default: a temporary one), made here if absent, and
needs a C++ compiler. `--quick` only shows that everything runs, and keeps nothing.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import _lif_numba
import jax
import numpy as np
from _harness import ratio, report, row, seconds

import jnm

DT = 0.1  # ms
BRIAN = ("brian2==2.9.0", "numpy<2.4", "setuptools<81")


class Case(NamedTuple):
    """A network, and what jnm may take of the time of brian2 for a run and, per member, for a batch."""

    name: str
    n: int
    p: float
    fraction: float
    goals: tuple[float | None, float | None]


class Size(NamedTuple):
    """How much is run."""

    milliseconds: float
    turns: int
    members: int


CASES = (
    Case("N = 2,000, low rate", 2_000, 0.2, 0.8, (0.4, 0.2)),
    Case("N = 2,000, 127 Hz", 2_000, 0.5, 0.95, (None, None)),
    Case("N = 10,000, low rate", 10_000, 0.2, 0.8, (None, None)),
)
FULL, QUICK = Size(1_000.0, 9, 8), Size(100.0, 1, 2)


# ------------------------------------------------------------------------------------------------------ what is run


def environment(folder: Path) -> Path:
    """A Python with brian2."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *BRIAN], check=True)
    return python


def build_brian(python: Path, folder: Path, case: Case, net: jnm.spiking.LIFNetwork, size: Size) -> dict[str, Any]:
    """Compile a network; what its first run gave."""
    folder.mkdir(parents=True)
    numbers = folder / "parameters.json"
    numbers.write_text(json.dumps({name: float(getattr(net, name)) for name in _lif_numba.NAMES}))
    script = Path(__file__).with_name("_lif_brian2.py")
    asked = [str(folder / "code"), str(case.n), str(case.p), str(case.fraction), str(size.milliseconds), str(numbers)]
    told = subprocess.run([str(python), str(script), *asked], capture_output=True, text=True, check=False)
    if told.returncode:
        raise RuntimeError(f"brian2 did not build {case.name}:\n{told.stdout[-2000:]}\n{told.stderr[-2000:]}")
    return json.loads(told.stdout.splitlines()[-1])


def brian_seconds(folder: Path) -> float:
    """The time of brian2's own loop, without what comes before and after."""
    code = folder / "code"
    subprocess.run([str(code / "main")], cwd=code, capture_output=True, check=True)
    return float((code / "results" / "last_run_info.txt").read_text().split()[0])


def check_same(case: Case, ours: Any, loop: tuple[float, float], brian: dict[str, Any]) -> None:
    """All three are the same network: the rates agree to a fifth."""
    rate = 1e3 * float(np.mean(ours.rate[:, 0]))
    if not (np.isclose(rate, loop[0], rtol=0.2) and np.isclose(rate, brian["rate"], rtol=0.2)):
        raise RuntimeError(
            f"{case.name}: {rate:.3g} Hz in jnm, {loop[0]:.3g} in the loop, {brian['rate']:.3g} in brian2."
        )


def one_case(case: Case, size: Size, python: Path, folder: Path) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """All in turn, after one run of each that compiles."""
    key, steps = jax.random.key(0), round(size.milliseconds / DT)
    net = jnm.spiking.LIFNetwork.preset("A", p=case.p, fraction_excitatory=case.fraction, n=case.n, key=key)
    problem, brian = _lif_numba.problem(net), build_brian(python, folder, case, net, size)
    run = functools.partial(net.run, size.milliseconds, DT)
    works = {
        "jnm": lambda: run(key=key).V,
        "jnm, member of a batch": lambda: run(key=jax.random.split(key, size.members)).V,
        "compiled loop": lambda: _lif_numba.run(problem, steps, DT),
    }
    loop = [work() for work in works.values()][-1]
    if size.milliseconds > 500:
        check_same(case, run(key=key), loop, brian)
    times: dict[str, list[float]] = {name: [] for name in (*works, "brian2")}
    for _ in range(size.turns):
        for name, work in works.items():
            times[name].append(seconds(work) / (size.members if "batch" in name else 1))
        times["brian2"].append(brian_seconds(folder))
    rows = [row(f"{case.name}: {k}", 1e6 * statistics.median(t) / steps, "us/step") for k, t in times.items()]
    asked = (("jnm", "brian2", case.goals[0]), ("jnm, member of a batch", "brian2", case.goals[1]))
    for ours, theirs, goal in (*asked, ("jnm", "compiled loop", 2.0)):
        rows.append(row(f"{case.name}: {ours} : {theirs}", ratio(times[ours], times[theirs]), "", goal=goal))
    return rows, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    parser.add_argument("--environment", type=Path, help="the virtual environment with brian2")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    rows, times = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        python = environment(chosen.environment or Path(scratch) / "environment")
        for number, case in enumerate(CASES[:1] if chosen.quick else CASES):
            more, times[case.name] = one_case(case, size, python, Path(scratch) / str(number))
            rows += more
    report("lif", rows, keep=not chosen.quick, size=size._asdict(), seconds=times, brian2=BRIAN)


if __name__ == "__main__":
    main()
