"""Whittle's likelihood and its gradient, per evaluation and to the end of a fit.

    python benchmarks/whittle.py [--quick]

One Jansen-Rit column, 176 frequencies, four parameters (a, b, C, sigma): beside the same by hand in NumPy and SciPy
(`_whittle_numpy.py`), and beside the gradient of a loss that simulates eight seconds of the column (Heun, steps of 0.2 ms)
to compare spectra. Then 90 columns with conduction delays seen by 306 sensors in eight components, the gradient in the
coupling, C, a, speed and sigma. Spectra are those expected, as if measured without end, so both fits end in the truth.
Float64 throughout.
"""

import argparse
import statistics
from typing import Any

import equinox as eqx
import jax
import numpy as np
from _harness import in_turn, ratio, report, row, seconds
from _whittle_numpy import density, fitted, gradient

import jnm
from jnm.fitting import scoring

TRUTH = np.log([0.1, 0.05, 135.0, 0.1 / np.sqrt(1000)])
START = np.log([0.11, 0.046, 128.0, 0.004])


def column(theta: np.ndarray) -> jnm.JansenRit:
    """A column at p = 400 /s, which rests stably, next to an oscillation of 11 Hz."""
    a, b, C, sigma = np.exp(theta)
    return jnm.JansenRit(p=0.4, a=a, b=b, C=C, sigma=sigma)


def parameters(m: Any) -> tuple[Any, ...]:
    """Those that are fitted."""
    return m.a, m.b, m.C, m.sigma


def brain(regions: int, bins: int) -> tuple[Any, Any, Any]:
    """The likelihood of a delayed network behind a helmet, and its free parameters."""
    connectome = jnm.datasets.connectome(n_regions=regions).normalised("rows")
    helmet = jnm.meg.Sensors.canonical(translation_mm=(0.0, 0.0, 50.0))
    lead = jnm.meg.LeadField.sphere(connectome.centres, connectome.orientations, helmet, (0.0, 0.0, 45.0))
    node = jnm.JansenRit(p=0.3, sigma=0.02)
    network = jnm.Network(node, connectome, jnm.Linear(gain=30.0), speed=5.0, speed_range=(0.5, 20.0))
    f_hz, channels = np.linspace(2.0, 40.0, bins), lead.gain.shape[0]
    noise = np.full(channels, 9.0)  # fT^2/Hz and (fT/cm)^2/Hz: about what SQUIDs have
    measured = (f_hz, np.broadcast_to(np.diag(noise), (bins, channels, channels)), 60.0)
    loss = jnm.WhittleLoss(lead, measured, dipole=jnm.meg.Dipole.psp(cells=1e6), noise=noise, smear=1)
    theta, build = jnm.free(
        network, lambda m: (m.coupling.gain, m.node.C, m.node.a, m.speed, m.node.sigma), (jnm.Positive(),) * 5
    )
    return loss, theta, build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    quick = parser.parse_args().quick
    jax.config.update("jax_enable_x64", True)
    turns, span, regions, bins = (1, 1_000.0, 6, 5) if quick else (9, 8_000.0, 90, 77)

    f_hz = np.arange(1.0, 45.01, 0.25)
    S = density(TRUTH, f_hz)
    loss = jnm.WhittleLoss(None, (f_hz, S, 100.0), smear=1)
    f_hz, S = f_hz[:-1], S[:-1]  # the loss leaves out the last, which may be Nyquist's
    theta, build = jnm.free(column(START), parameters, (jnm.Positive(),) * 4)
    slope = eqx.filter_jit(lambda theta: jax.value_and_grad(lambda x: loss(build(x)))(theta))

    def simulated(model: Any, key: Any) -> Any:
        run = jnm.simulate(
            model, span + 1000, 0.2, key=key, save_every=4.0, discard=1000.0,
            save=lambda t, y: model.source(t, y, jnm.Drive())[None],
        )  # fmt: skip
        return run.ys

    key = jax.random.key(0)
    spectral = jnm.LogSpectralLoss(simulated, simulated(column(TRUTH), key), dt=4.0, segment=1_000.0, band=(1.0, 45.0))
    through_time = eqx.filter_jit(lambda x: jax.value_and_grad(lambda x: spectral(build(x), key))(x))
    large, many, network = brain(regions, bins)
    whole = eqx.filter_jit(lambda x: jax.value_and_grad(lambda x: large(network(x)))(x))

    first = seconds(lambda: scoring(loss, theta, build).theta)
    work = {
        "value and gradient, one column: jnm": lambda: slope(theta),
        "value and gradient, one column: NumPy, differences": lambda: gradient(START, f_hz, S),
        "gradient through 8 s of simulation: jnm": lambda: through_time(theta),
        f"value and gradient, {regions} delayed regions, 306 sensors: jnm": lambda: whole(many),
        "fit, one column: jnm, Fisher scoring": lambda: scoring(loss, theta, build).theta,
        "fit, one column: SciPy, L-BFGS-B": lambda: fitted(START, f_hz, S)[0],
    }
    times = in_turn(work, turns)
    ours, theirs, run, _, fit, rival = times.values()
    error, far = (
        float(np.abs(np.asarray(found) - TRUTH).max())
        for found in (jax.tree.leaves(scoring(loss, theta, build).theta), fitted(START, f_hz, S)[0])
    )
    slopes = slope(theta)[1]
    by_hand = gradient(START, f_hz, S)[1]
    rows = [row(name, 1e3 * statistics.median(t), "ms") for name, t in times.items()]
    rows += [
        row("first fit, compilation included: jnm", first, "s"),
        row("gradient, jnm : NumPy", ratio(ours, theirs), ""),
        row("gradient, Whittle : simulation", ratio(ours, run), ""),
        row("fit, jnm : SciPy", ratio(fit, rival), ""),
        row("fit, jnm: largest error of a logarithm", error, "", goal=1e-3),
        row("fit, SciPy: largest error of a logarithm", far, ""),
        row(
            "relative distance of the gradients",
            float(np.linalg.norm(np.array(slopes) - by_hand) / np.linalg.norm(by_hand)), "", goal=1e-3,
        ),
    ]  # fmt: skip
    report("whittle", rows, keep=not quick, turns=turns, frequencies=len(f_hz), bins=bins, seconds=times)


if __name__ == "__main__":
    main()
