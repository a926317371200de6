"""The bifurcation diagram of the inhibitory ring: jnm.stability.continuation, the first call and a warm one.

    python benchmarks/bifurcation.py [--quick]

jnm.ING() over eta from 0 to 100: the branch of fixed points with its eigenvalues, both Hopf points, and the branch of
limit cycles between them with its Floquet multipliers, in float64. The first call is that of a fresh interpreter and
compiles; a warm one has all compiled. For comparison, the diagram without continuation: at each value of eta the
equations are run to where they settle by SciPy's DOP853, which gives stable states only.

Auto-07p, by PyCoBi, would be the peer: PyCoBi 1.1.0 installs from PyPI, but works on an Auto-07p that one compiles
oneself, with a Fortran compiler, and the machine this was written on has none.
`--quick` looks at a part of the range, once, and keeps nothing.
"""

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from _harness import in_turn, ratio, report, row

import jnm

KNOWN = {"Hopf points": (5.32212100, 76.70112488), "period at eta = 20": 7.5 * 1.32426597}  # spec, rows 8, 10, 20


class Size(NamedTuple):
    """How much is run: the range of eta, values of eta without continuation, turns, fresh interpreters."""

    high: float
    values: int
    turns: int
    fresh: int


FULL = Size(100.0, 41, 5, 3)
QUICK = Size(8.0, 3, 1, 1)


def diagram(high: float, cycles: bool = True) -> Any:
    return jnm.stability.continuation(jnm.ING(), lambda m: m.eta, 0.0, high, cycles=cycles)


def settled(high: float, values: int, settle: float = 500.0) -> list[tuple[float, float]]:
    """Lowest and highest rate at each eta, from runs of `settle` ms and 50 ms to look."""
    from scipy.integrate import solve_ivp

    tau_m, tau_s, C = 7.5, 2.0, -20.0

    def slope(t, y, eta):
        r, v, s, z = y
        dr = (1 / (np.pi * tau_m) + 2 * r * v) / tau_m
        dv = (v * v + eta - (np.pi * tau_m * r) ** 2) / tau_m + C * s
        return dr, dv, z / tau_s, (r - 2 * z - s) / tau_s

    seen = []
    for eta in np.linspace(0.0, high, values):
        y0 = (0.02, -1.0, 0.02, 0.0)
        run = solve_ivp(
            slope,
            (0, settle + 50),
            y0,
            "DOP853",
            np.linspace(settle, settle + 50, 500),
            args=(eta,),
            rtol=1e-8,
            atol=1e-10,
        )
        seen.append((run.y[0].min(), run.y[0].max()))
    return seen


def check(branch: Any, high: float) -> None:
    """Hopf points and a period as in the spec's table."""
    found = [float(point.value) for point in branch.hopf_points]
    wanted = [value for value in KNOWN["Hopf points"] if value < high]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    cycles = branch.cycles[0]
    order = np.argsort(np.asarray(cycles.value))
    eta, period = np.asarray(cycles.value)[order], 1000 / np.asarray(cycles.frequency_hz)[order]
    if high > 20:
        near = np.interp(20.0, eta, period)  # between the branch's own points
        np.testing.assert_allclose(near, KNOWN["period at eta = 20"], rtol=1e-3)


def first_call(size: Size) -> float:
    """Seconds of the first diagram in a fresh interpreter, after the imports."""
    command = [sys.executable, __file__, "--first-call", str(size.high)]
    calls = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(size.fresh)]
    return statistics.median(map(float, calls))


def print_first_call(high: float) -> None:
    begin = time.perf_counter()
    diagram(high)
    print(time.perf_counter() - begin)


def measured(size: Size) -> tuple[list[dict[str, Any]], dict[str, int]]:
    whole = diagram(size.high)
    check(whole, size.high)
    works = {
        "diagram": lambda: diagram(size.high).value,
        "diagram, fixed points alone": lambda: diagram(size.high, cycles=False).value,
        f"SciPy runs at {size.values} values": lambda: settled(size.high, size.values),
    }
    seconds, names = in_turn(works, size.turns), list(works)
    rows = [row("first call", first_call(size), "s")]
    rows += [row(name, statistics.median(times), "s") for name, times in seconds.items()]
    rows.append(row(f"diagram : {names[2]}", ratio(seconds[names[0]], seconds[names[2]]), ""))
    return rows, {"fixed points": len(whole.value), "cycles": sum(len(branch.value) for branch in whole.cycles)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a part of the range, nothing kept: does it run?")
    parser.add_argument("--first-call", type=float, metavar="HIGH", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if chosen.first_call:
        return print_first_call(chosen.first_call)
    size = QUICK if chosen.quick else FULL
    rows, points = measured(size)
    report("bifurcation", rows, keep=not chosen.quick, size=size._asdict(), points=points)


if __name__ == "__main__":
    main()
