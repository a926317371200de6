"""Every model of jnm, in every variant that has its own code path, against the contract."""

import jax.numpy as jnp
import pytest

import jnm
from jnm.testing import check_model

MODELS = {
    "MPR": lambda: jnm.MPR(),
    "ING": lambda: jnm.ING(),
    "Pyramidal": lambda: jnm.Pyramidal(),
    "PING": lambda: jnm.PING(IE=2.0),
    "PINGSecondOrder": lambda: jnm.PINGSecondOrder(),
    "JansenRit": lambda: jnm.JansenRit(),
    "order 1": lambda: jnm.ING(order=1),
    "noise on v": lambda: jnm.PING(sigma=(0.1, 0.2)),
    "noise on r": lambda: jnm.MPR(sigma_r=0.01),
    "noise on p": lambda: jnm.JansenRit(sigma=0.1),
    "I hears others": lambda: jnm.PING(receive=1),
    "I sends": lambda: jnm.PINGSecondOrder(send=1),
    "three populations": lambda: jnm.NMM2(tau_m=(8.0, 9.0, 10.0), tau_s=2.0, delta=1.0, eta=1.0, C=jnp.eye(3), order=2),
    "own regions": lambda: jnm.PING(IE=jnp.linspace(0.0, 2.0, 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    check_model(MODELS[name]())
