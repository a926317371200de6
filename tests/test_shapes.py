"""The shapes in jnm's annotations are true: jaxtyping and beartype check them along the chain, from a node to a fit.

In an interpreter of its own, since the check is woven in while jnm is imported; in other tests it would come before the
messages that jnm itself gives for wrong input.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHAIN = """
from jaxtyping import install_import_hook

with install_import_hook("jnm", "beartype.beartype"):
    import jnm
    from jnm import datasets, fitting, meg, observe
import jax

key = jax.random.key(0)
trace = jax.eval_shape  # shapes are known without compiling or computing anything
for node in (jnm.MPR(), jnm.ING(), jnm.Pyramidal(), jnm.PING(), jnm.PINGSecondOrder(), jnm.JansenRit()):
    trace(lambda: jnm.simulate(node, t1=1.0, dt=0.1).ys)

brain = datasets.connectome(n_regions=10).normalised("rows")
node = jnm.PING(IE=3.0, sigma=0.2)
for coupling in (jnm.Linear(10.0), jnm.Diffusive(1.0), jnm.Sigmoidal(1.0)):
    delayed = jnm.Network(node, brain, coupling, speed=5.0)
    trace(lambda key: jnm.simulate(delayed, t1=4.0, dt=0.1, key=key, save_every=1.0).ys, key)

net = jnm.Network(node, brain, jnm.Linear(10.0))
helmet = meg.Sensors.canonical()
lead = meg.LeadField.sphere(brain.centres, brain.orientations, helmet, (0.0, 0.0, 45.0))
dipole = meg.Dipole.qif()


def recorded(model, key):
    run = jnm.simulate(model, 64.0, 0.5, key=key, save_every=1.0,
                       save=lambda t, y: lead(dipole(model.source(t, y, jnm.Drive()))))
    return run.ys + helmet.noise(key, 64, 1000.0)


field = jax.random.normal(key, trace(recorded, net, key).shape)
trace(lambda: observe.csd(field[:, :3], dt=1.0, segment=32.0)[1])
theta, build = fitting.free(net, lambda m: (m.node.eta, m.coupling.gain))
spectral = fitting.LogSpectralLoss(recorded, field, dt=1.0, segment=32.0)
course = fitting.TimeCourseLoss(recorded, field, noise_sd=1.0)
trace(jax.grad(lambda theta, key: (spectral + 0.1 * course)(build(theta), key)), theta, key)
print("held")
"""


@pytest.mark.slow
def test_annotated_shapes_hold_along_the_chain(tmp_path):
    script = tmp_path / "chain.py"
    script.write_text(CHAIN, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(script)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.stdout == "held\n", run.stderr
