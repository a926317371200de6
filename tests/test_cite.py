"""Citations: a paragraph with what the record holds, and BibTeX with one name an entry."""

import jax
import numpy as np
import pytest

import jnm
from jnm._cite import cite


def test_a_network_and_its_run():
    brain = jnm.Connectome(
        np.ones((2, 2)) - np.eye(2), lengths=10 * np.ones((2, 2)), citation="Somebody, A brain, 2017."
    )
    net = jnm.Network(jnm.PING(IE=2.0, sigma=0.05), brain, jnm.Linear(gain=2.0), speed=5.0)
    run = jnm.simulate(net, 1.0, 0.1, key=jax.random.key(3))
    cited = cite(net, run, brain)
    for text in (
        "network of 2 regions with linear coupling, each one a node of PING",
        "5 mm/ms",
        "with Heun, in steps of 0.1 ms, for 10 steps, in float32, on a cpu, the random key was [0, 3]",
        f"jnm {jnm.__version__}",
        "tau_a r_a' =",
    ):
        assert text in cited.methods
    assert "@misc{somebody2017,\n  note = {Somebody, A brain, 2017.}" in cited.bibtex
    assert "@misc{montbrio2015,\n" in cited.bibtex and "@misc{clusella2023,\n" in cited.bibtex  # one entry a paper
    assert "@software{jax,\n  title = {JAX: composable" in cited.bibtex
    names = [line for line in cited.bibtex.splitlines() if line.startswith("@")]
    assert len(set(names)) == len(names)
    assert str(cited) == f"{cited.methods}\n\n{cited.bibtex}"
    own = jnm.Network(jnm.PING(), brain, jnm.Linear(), speed=np.array([[4.0, 5.0], [6.0, 4.0]]))
    assert "4 to 6 mm/ms" in cite(own).methods


def test_a_sweep_is_data_too():
    result = jnm.sweep(lambda m: m.eta, jnm.grid(jnm.ING(), lambda m: m.eta, [1.0]))
    cited = cite(jnm.ING(), result)
    assert "on a cpu" in cited.methods and "random key" not in cited.methods
    with pytest.raises(TypeError, match="wants a model"):
        cite(3.0)
