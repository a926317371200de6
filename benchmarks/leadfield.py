"""A lead field built and applied, beside MNE on the same geometry and sphere.

    python benchmarks/leadfield.py [--quick]

306 Neuromag channels, 1000 dipoles along x, y, z in a conducting sphere, MNE's "accurate" coils on either side. MNE
builds by `make_forward_solution` on a discrete source space, which is set up beforehand; jnm by `sphere_lead_field`,
compiled once, to which a changed position, origin or head position is no new program: the repeated geometry of a fit.
Applying takes moments of 1000 sources over 2000 samples to the sensors, by `mne.apply_forward_raw` and by the call of
a `LeadField`. Gradients are of the sum of squares of the lead field in all positions; MNE has none. Float64 throughout.
"""

import argparse
import statistics
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import mne
import numpy as np
from _harness import in_turn, ratio, report, row

import jnm

ORIGIN = np.array([0.0, 0.0, 45.0])
GOAL = 0.2  # of MNE's time


def geometry(sources: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """An Info with a head position, and tangential dipoles 30 to 75 mm from the centre of the sphere."""
    info = mne.channels.read_meg_canonical_info("neuromag", verbose="error")
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    info["dev_head_t"]["trans"][2, 3] = 0.05
    rng = np.random.default_rng(0)
    out = rng.normal(size=(sources, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    along = np.cross(out, rng.normal(size=(sources, 3)))
    return info, ORIGIN + out * rng.uniform(30, 75, (sources, 1)), along / np.linalg.norm(along, axis=1, keepdims=True)


def both(times: dict[str, list[float]], who: str) -> list[float]:
    """Seconds to build and to apply, turn by turn."""
    return [sum(turn) for turn in zip(times[f"build, {who}"], times[f"apply, {who}"], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few sources, nothing kept: does it run?")
    quick = parser.parse_args().quick
    jax.config.update("jax_enable_x64", True)
    sources, samples, turns = (20, 50, 1) if quick else (1000, 2000, 9)
    info, positions, normals = geometry(sources)
    sensors = jnm.meg.Sensors.from_info(info)
    space = mne.setup_volume_source_space(pos=dict(rr=positions / 1e3, nn=normals), sphere_units="m", verbose="error")
    sphere = mne.make_sphere_model(ORIGIN / 1e3, head_radius=None, verbose="error")

    def theirs():
        return mne.make_forward_solution(info, None, space, sphere, eeg=False, mindist=0.0, verbose="error")

    build = jax.jit(lambda p: jnm.meg.sphere_lead_field(p, sensors, ORIGIN))
    slope = jax.jit(jax.grad(lambda p: jnp.sum(jnm.meg.sphere_lead_field(p, sensors, ORIGIN) ** 2)))
    forward = theirs()
    scale = np.where(np.array(sensors.ch_types) == "mag", 1e6, 1e4)[:, None]
    wanted = scale * forward["sol"]["data"]
    error = np.linalg.norm(build(positions).reshape(wanted.shape) - wanted) / np.linalg.norm(wanted)

    # the same moments through either: radially silent sources do not matter, the fixed gain is the product with normals
    moments = np.random.default_rng(1).normal(size=(samples, sources))
    fixed = mne.convert_forward_solution(forward, force_fixed=True, surf_ori=True, use_cps=False, verbose="error")
    estimate = mne.VolSourceEstimate(1e-9 * moments.T, [space[0]["vertno"]], 0.0, 1e-3, verbose="error")
    lead = jnm.meg.LeadField.sphere(positions, normals, sensors, ORIGIN)
    apply = eqx.filter_jit(lead)
    work = {
        "build, MNE": theirs,
        "build, jnm": lambda: build(positions),
        "gradient in all positions, jnm": lambda: slope(positions),
        "apply, MNE": lambda: mne.apply_forward_raw(fixed, estimate, info, verbose="error").get_data(),
        "apply, jnm": lambda: apply(jnp.asarray(moments)),
    }
    times = in_turn(work, turns)
    rows = [row(name, 1e3 * statistics.median(t), "ms") for name, t in times.items()]
    rows += [
        row("build, jnm : MNE", ratio(times["build, jnm"], times["build, MNE"]), "", goal=GOAL),
        row("apply, jnm : MNE", ratio(times["apply, jnm"], times["apply, MNE"]), ""),
        row("build and apply, jnm : MNE", ratio(*(both(times, who) for who in ("jnm", "MNE"))), "", goal=GOAL),
        row("relative distance of the two lead fields", float(error), "", goal=1e-12),
    ]
    report("leadfield", rows, keep=not quick, turns=turns, sources=sources, samples=samples, seconds=times)


if __name__ == "__main__":
    main()
