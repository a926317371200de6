"""Every model of jnm, in every variant that has its own code path, against the contract."""

from functools import partial

import jax.numpy as jnp
import pytest

import jnm
from jnm.testing import check_model

WEIGHTS = ((0.0, 0.5, 0.2), (0.3, 0.0, 0.4), (0.1, 0.6, 0.0))
LENGTHS = ((0.0, 20.0, 40.0), (20.0, 0.0, 30.0), (40.0, 30.0, 0.0))


def network(node, coupling=None, **speed):
    return jnm.Network(node(), jnm.Connectome(jnp.array(WEIGHTS), lengths=jnp.array(LENGTHS)), coupling, **speed)


MODELS = {
    "MPR": lambda: jnm.MPR(),
    "ING": lambda: jnm.ING(),
    "Pyramidal": lambda: jnm.Pyramidal(),
    "PING": lambda: jnm.PING(IE=2.0),
    "PINGSecondOrder": lambda: jnm.PINGSecondOrder(),
    "JansenRit": lambda: jnm.JansenRit(),
    "FreemanCFM": lambda: jnm.FreemanCFM(),
    "FreemanMFM": lambda: jnm.FreemanMFM(),
    "WilsonCowan": lambda: jnm.WilsonCowan(sigma=0.1),
    "WongWang": lambda: jnm.WongWang(sigma=0.1),
    "WongWangEI": lambda: jnm.WongWangEI(sigma=0.1),
    "StuartLandau": lambda: jnm.StuartLandau(sigma=0.1),
    "Kuramoto": lambda: jnm.Kuramoto(sigma=0.1),
    "Epileptor": lambda: jnm.Epileptor(sigma=0.1),
    "network of phases": lambda: network(jnm.Kuramoto, jnm.Linear(gain=0.05)),
    "FreemanLoop": lambda: jnm.FreemanLoop(jnm.FreemanCFM(Vbar=-58.0)),
    "order 1": lambda: jnm.ING(order=1),
    "noise on v": lambda: jnm.PING(sigma=(0.1, 0.2)),
    "noise on r": lambda: jnm.MPR(sigma_r=0.01),
    "noise on p": lambda: jnm.JansenRit(sigma=0.1),
    "I hears others": lambda: jnm.PING(receive=1),
    "I sends": lambda: jnm.PINGSecondOrder(send=1),
    "three populations": lambda: jnm.NMM2(tau_m=(8.0, 9.0, 10.0), tau_s=2.0, delta=1.0, eta=1.0, C=jnp.eye(3), order=2),
    "own regions": lambda: jnm.PING(IE=jnp.linspace(0.0, 2.0, 3)),
    "network": lambda: network(partial(jnm.PING, IE=2.0, sigma=0.1), jnm.Linear(gain=10.0)),
    "network with delays": lambda: network(jnm.ING, jnm.Diffusive(), speed=5.0),
    "network of different regions": lambda: network(
        partial(jnm.JansenRit, p=jnp.array([0.1, 0.2, 0.3])), jnm.Sigmoidal()
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    check_model(MODELS[name]())
