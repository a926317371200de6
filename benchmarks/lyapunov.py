"""The Lyapunov spectrum of a brain network: jnm.stability.lyapunov beside a compiled loop with derivatives by hand.

    python benchmarks/lyapunov.py [--quick]

The leading k of the 540 exponents of 90 PING nodes at (IE, eps) = (12, 8), where they are hyperchaotic, in float64. Both
sides do the same: a Runge-Kutta step of fourth order every 0.05 ms, pushes made orthonormal every 1 ms, from the same
state and the same pushes. What published C programs do is written in numba (`_lyapunov_numba.py`), for one core; jnm uses
what XLA takes. Weights are those of JNM_DATA, or synthetic where that is absent. The growth of the first intervals must
agree to rounding; later, chaos leaves only the means to be compared, in standard errors.
`--quick` only shows that everything runs, and keeps nothing.
"""

import argparse
import statistics
from typing import Any, NamedTuple

import _lyapunov_numba
import jax
import jax.numpy as jnp
import numpy as np
from _harness import in_turn, ratio, report, row

import jnm
from jnm.stability.field import flat
from jnm.stability.lyapunov import LyapunovFinal, summary

DT, EVERY, STEPS = 0.05, 1.0, 20  # ms, ms, steps an interval
SAME = 20  # intervals over which both sides agree to rounding


class Size(NamedTuple):
    """How much is run: exponents, ms, ms of transient, turns."""

    k: tuple[int, ...]
    t1: float
    discard: float
    turns: int


FULL = Size((1, 3, 10, 30), 2000.0, 300.0, 5)
QUICK = Size((2,), 100.0, 20.0, 1)


def network() -> tuple[jnm.Network, str]:
    """The network, and where its weights are from."""
    try:
        brain, source = jnm.datasets.connectome("sc2017"), "sc2017"
    except FileNotFoundError:
        brain, source = jnm.datasets.connectome(), "synthetic"
    return jnm.Network(jnm.PING(IE=12.0), brain.normalised("rows"), jnm.Linear(8.0)), source


def start(net: jnm.Network, k: int) -> LyapunovFinal:
    """A state in which regions differ, and pushes."""
    y0 = flat(net.init())
    state_key, push_key = jax.random.split(jax.random.key(0))
    x = y0 * (1 + 0.1 * jax.random.normal(state_key, y0.shape))
    pushes = jnp.linalg.qr(jax.random.normal(push_key, (x.size, k)))[0]
    return LyapunovFinal(x, pushes, jnp.zeros((0, k)), "given")


def compare(net: jnm.Network, k: int, size: Size) -> list[dict[str, Any]]:
    """Times and exponents of both sides."""
    begin, key = start(net, k), jax.random.key(1)
    loop = _lyapunov_numba.problem(net)
    intervals, dropped = round(size.t1 / EVERY), round(size.discard / EVERY)

    def ours():
        found = jnm.stability.lyapunov(net, k, size.t1, DT, key, discard=size.discard, every=EVERY, final=begin)
        return found.exponents, found.standard_errors, found.final.growth

    def theirs():
        return _lyapunov_numba.growth(loop, np.asarray(begin.x), np.asarray(begin.pushes), intervals, STEPS, DT)

    exponents, errors, growth = map(np.asarray, ours())
    same = theirs()
    np.testing.assert_allclose(growth[:SAME], same[:SAME], atol=1e-8)
    others, other_errors = map(np.asarray, summary(jnp.asarray(same[dropped:]), EVERY))
    apart = np.max(np.abs(exponents - others) / np.hypot(errors, other_errors))
    times = in_turn({"jnm": ours, "numba": theirs}, size.turns)
    name = f"{k} exponents" if k > 1 else "1 exponent"
    scale = 1000 / size.t1
    return [
        row(f"{name}: jnm", scale * statistics.median(times["jnm"]), "s per simulated s"),
        row(f"{name}: numba", scale * statistics.median(times["numba"]), "s per simulated s"),
        row(f"{name}: jnm : numba", ratio(times["jnm"], times["numba"]), ""),
        row(f"{name}: largest difference", float(apart), "standard errors", goal=4.0, exponents=list(exponents[:3])),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    quick = parser.parse_args().quick
    size = QUICK if quick else FULL
    jax.config.update("jax_enable_x64", True)
    net, source = network()
    rows = [line for k in size.k for line in compare(net, k, size)]
    report("lyapunov", rows, keep=not quick, connectome=source, size=size._asdict())


if __name__ == "__main__":
    main()
