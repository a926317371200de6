"""check(): finds the conclusion that a coarse time step made, and lets stand those that it did not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.sweeps import check


def test_a_coarse_step_is_found():
    """x' = -x by Euler with dt = 1 ends at once; at 1 / 2 it does not. The exponential itself does not move."""

    def simulation(dt=1.0, n=10, seed=0):
        drawn = jax.random.normal(jax.random.key(seed), (200_000,))
        return {
            "euler": (1 - dt) ** round(2 / dt) + 0.1,
            "exact": jnp.exp(-2.0),
            "mean": 1.0 + drawn.mean(),
            "one_number": 1.0 + 0.5 * drawn[0],
            "size": 1.0 + 2.0 / n,
            "word": "rest",
            "wide": bool(jnp.zeros(()).dtype == jnp.float64),
        }

    table = check(simulation)
    assert table.moved == ("euler", "one_number", "size", "wide")
    assert (
        table["euler"].moved == ("dt / 2",) and table["size"].moved == ("2 n",) and table["wide"].moved == ("float64",)
    )
    np.testing.assert_allclose(table["euler"].changes["dt / 2"], 0.0625 / 0.1, rtol=1e-6)
    np.testing.assert_allclose(table["size"].others["2 n"], 1.1)
    assert "new seeds" in table["one_number"].moved
    told = str(table)
    assert (
        "float64" in told
        and "Moved: euler, one_number, size, wide." in told
        and "<th>dt / 2</th>" in table._repr_html_()
    )


def test_a_simulation_of_a_mass():
    def simulation(dt=0.1):
        rate = jnm.simulate(jnm.ING(), 100.0, dt, save_every=1.0, discard=50.0).ys.r
        return {"mean": rate.mean()}

    table = check(simulation, tolerance=0.1)
    assert set(table["mean"].changes) == {"dt / 2", "float64"} and not table.moved
    assert table["mean"].others["float64"].dtype == float


def test_both_parts_of_a_complex_conclusion_count():
    table = check(lambda dt=0.1: {"z": 1.0 + 10j * jnp.asarray(dt)})
    assert table.moved == ("z",) and "1+1j" in str(table)
    assert table["z"].changes["dt / 2"] == pytest.approx(0.5 / np.sqrt(2), rel=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"takes model without a default"):
        check(lambda model, dt=0.1: 1.0)
    with pytest.raises(ValueError, match=r"takes only nothing"):
        check(lambda: 1.0)
    with pytest.raises(ValueError, match="returned b; at first a"):
        check(lambda dt=0.1: {"a" if dt == 0.1 else "b": 1.0})
    with pytest.raises(ValueError, match=r"dt / 2: a has shape \[20\], at first \[10\]"):
        check(lambda dt=0.1: {"a": jnp.ones(round(1 / dt))})
    with pytest.raises(ValueError, match="default of dt is None"):
        check(lambda dt=None: 1.0)
    with pytest.raises(KeyError, match="no conclusion"):
        check(lambda dt=0.1: {"a": dt / dt})["b"]
