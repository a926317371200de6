"""A network of quadratic integrate-and-fire neurons: jnm.spiking.QIFNetwork beside a compiled loop over neurons.

    python benchmarks/qif.py [--quick]

The inhibitory ring jnm.ING() at eta = 20, all-to-all, steps of tau_m / 200, second-order synapses, a thousand to a
million neurons. The loop is what one would write by hand for numba: one neuron after the other in float64, the exact
Moebius map with a power series for its tangent, which is faster than jnm's sines and cosines as long as inputs are
small; on one core and on all. Both begin in the same state and must count the same spikes. jnm runs in float32.
`--quick` only shows that everything runs, and keeps nothing.
"""

import argparse
import functools
import math
import statistics
from typing import Any, NamedTuple

import jax
import numba
import numpy as np
from _harness import in_turn, ratio, report, row

import jnm
from jnm.spiking.moebius import lorentzian

DT = 7.5 / 200  # ms
ALIKE = 0.01  # of the spikes in the first cycle: float32 against float64


class Size(NamedTuple):
    """How much is run: numbers of neurons, neuron-steps of each run, fewest steps, turns."""

    neurons: tuple[int, ...]
    updates: float
    least: int
    turns: int


FULL = Size((1_000, 10_000, 100_000, 1_000_000), 1e8, 200, 9)
QUICK = Size((1_000, 10_000), 1e6, 100, 1)


# ---------------------------------------------------------------------------------------------------- the plain loop


def _step(V, eta, drive, h):
    """All neurons by one step of h = dt / tau_m with a common input; the number of spikes."""
    spikes = 0
    for j in numba.prange(V.size):
        x = eta[j] + drive
        y = x * h * h
        if abs(y) < 0.02:
            T = h * (1 + y * (1 / 3 + y * (2 / 15 + y * 17 / 315)))
        elif y > 0:
            w = math.sqrt(x)
            T = math.tan(w * h) / w
        else:
            w = math.sqrt(-x)
            T = math.tanh(w * h) / w
        below = 1 - V[j] * T
        if y > 2.4:  # a phase of about half a turn, w h > pi / 2, or more: several spikes may lie in it
            w = math.sqrt(x)
            spikes += int((math.atan(V[j] / w) + math.pi / 2 + w * h) / math.pi)
        elif below < 0:
            spikes += 1
        V[j] = (V[j] + x * T) / below
    return spikes


def _loop(step):
    """A run of a second-order synapse and its neurons; spikes in each step."""

    def run(V, eta, constants, synapse, steps):
        C, tau_m, tau_s, dt = constants
        s, z, r = synapse
        counts = np.empty(steps)
        for k in range(steps):
            half = dt / 2 / tau_s
            ahead = r + (s - r + (z + s - r) * half) * math.exp(-half)
            counts[k] = step(V, eta, tau_m * C * ahead, dt / tau_m)
            r = counts[k] / (V.size * dt)
            away, whole = s - r, dt / tau_s
            s, z = r + (away + (z + away) * whole) * math.exp(-whole), (z - (z + away) * whole) * math.exp(-whole)
        return counts

    return numba.njit(run)


LOOPS = {
    "numba, one core": _loop(numba.njit(_step, error_model="numpy")),
    "numba, all cores": _loop(numba.njit(_step, error_model="numpy", parallel=True)),
}


# -------------------------------------------------------------------------------------------------------- both sides


def both(neurons: int, steps: int) -> dict[str, Any]:
    """Functions that run `steps` steps and give the spikes in each, all from the same state."""
    net = jnm.spiking.QIFNetwork.of(jnm.ING(), n=neurons)
    begin = net.init(jax.random.key(0))
    V = np.asarray(begin.p[0], float) / np.asarray(begin.q[0], float)
    eta = float(net.eta) + float(net.delta) * lorentzian(neurons)
    constants = (float(net.C), float(net.tau_m), float(net.tau_s), DT)
    synapse = (float(begin.s[0]), float(begin.z[0]), float(begin.r[0]))

    def ours():
        return net.run(steps * DT, DT, start=begin).rate * neurons * DT

    def plain(loop):
        return loop(V.copy(), eta, constants, synapse, steps)

    return {"jnm": ours} | {name: functools.partial(plain, loop) for name, loop in LOOPS.items()}


def check_same() -> None:
    """The first cycle of 10,000 neurons: the same spikes."""
    counts = {name: float(np.sum(np.asarray(run()))) for name, run in both(10_000, 270).items()}
    for name, count in counts.items():
        if abs(count / counts["jnm"] - 1) > ALIKE:
            raise AssertionError(f"{name} counts {count:g} spikes, jnm {counts['jnm']:g}")


def measured(size: Size) -> list[dict[str, Any]]:
    """Nanoseconds for a neuron and step, by number of neurons, and ratios."""
    rows = []
    for neurons in size.neurons:
        steps = max(size.least, round(size.updates / neurons))
        seconds = in_turn(both(neurons, steps), size.turns)
        rows += [
            row(f"{neurons:.0e} neurons, {name}", 1e9 * statistics.median(times) / (neurons * steps), "ns", steps=steps)
            for name, times in seconds.items()
        ]
        rows += [
            row(f"{neurons:.0e} neurons, jnm : {name}", ratio(seconds["jnm"], seconds[name]), "") for name in LOOPS
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    check_same()
    threads = numba.get_num_threads()
    report("qif", measured(size), keep=not chosen.quick, size=size._asdict(), numba=numba.__version__, threads=threads)


if __name__ == "__main__":
    main()
