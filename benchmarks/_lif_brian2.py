"""The LIF network in brian2, C++ standalone: run by benchmarks/lif.py in an environment that has brian2 and numpy < 2.4.

    python _lif_brian2.py FOLDER N P FRACTION_EXCITATORY MILLISECONDS PARAMETERS.json

Builds FOLDER/main, which simulates; the seconds that its loop took are in FOLDER/results/last_run_info.txt. The shared
Poisson sources are events drawn beforehand, which is cheaper than a PoissonGroup.
"""

import json
import sys
from pathlib import Path

import brian2 as b2
import numpy as np

EQUATIONS = """
dv/dt = (rest - v - current / g_L) / tau_m + sqrt(Q) / tau_m * xi : volt (unless refractory)
current = g_E * (v - E_E) + g_I * (v - E_I) + g_X * (v - E_X) : amp
dg_E/dt = -g_E / tau_E : siemens
dg_I/dt = -g_I / tau_I : siemens
dg_X/dt = -g_X / tau_X : siemens
"""
UNITS = {
    "tau": b2.ms, "g_": b2.nS, "rest": b2.mV, "v_": b2.mV, "E_": b2.mV, "q_": b2.nS * b2.ms, "Q": b2.mV**2 * b2.ms,
    "nu": 1 / b2.ms,
}  # fmt: skip


def namespace(numbers: dict[str, float]) -> dict:
    return {
        name: value * next(unit for start, unit in UNITS.items() if name.startswith(start))
        for name, value in numbers.items()
    }


def main(folder: str, n: int, p: float, fraction: float, milliseconds: float, numbers: dict[str, float]) -> None:
    b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
    b2.defaultclock.dt = 0.1 * b2.ms
    b2.seed(1)
    known, rng, sources, excitatory = namespace(numbers), np.random.default_rng(1), 10_000, round(fraction * n)
    neurons = b2.NeuronGroup(
        n, EQUATIONS, threshold="v >= v_th", reset="v = v_reset", refractory="tau_ref", method="euler", namespace=known
    )
    neurons.v = "v_reset + (v_th - v_reset) * rand()"
    objects = [neurons]
    for part, kind in ((neurons[:excitatory], "E"), (neurons[excitatory:], "I")):
        synapses = b2.Synapses(part, neurons, on_pre=f"g_{kind} += q_{kind} / tau_{kind}", namespace=known)
        synapses.connect(p=p)
        objects += [synapses, b2.PopulationRateMonitor(part)]
    steps = round(10 * milliseconds)
    number = rng.poisson(sources * numbers["nu"] * 0.1, steps)
    drawn = [np.unique(rng.integers(sources, size=k)) for k in number]  # a source fires once a step
    when = np.repeat(np.arange(steps), [len(each) for each in drawn]) * 0.1 * b2.ms
    outside = b2.SpikeGeneratorGroup(sources, np.concatenate(drawn), when)
    arrive = b2.Synapses(outside, neurons[:excitatory], on_pre="g_X += q_X / tau_X", namespace=known)
    arrive.connect(p=0.01)
    b2.Network(*objects, outside, arrive).run(milliseconds * b2.ms)
    b2.device.build(directory=folder, compile=True, run=True)
    print(json.dumps({"rate": float(np.mean(objects[2].rate / b2.Hz)), "version": b2.__version__}))


if __name__ == "__main__":
    folder, n, p, fraction, milliseconds, parameters = sys.argv[1:]
    main(folder, int(n), float(p), float(fraction), float(milliseconds), json.loads(Path(parameters).read_text()))
