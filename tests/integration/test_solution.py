"""What a run gives back: times, labels, the end, and the record of how it was made."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm._model import AbstractModel
from jnm.integration import running_covariance

KEY = jax.random.key(5)


def brain():
    weights = np.random.default_rng(0).random((3, 3)) * (1 - np.eye(3))
    return jnm.Connectome(weights, labels=["V1", "V2", "MT"])


def run(node=None, **options):
    net = jnm.Network(jnm.PING(IE=2.0, sigma=0.1) if node is None else node, brain(), jnm.Linear(2.0))
    return jnm.simulate(net, 10.0, 0.05, **{"key": KEY, "save_every": 0.5, **options})


def test_times_are_exact_and_leave_the_start_out():
    sol = run(discard=2.0, t0=-3.0)
    assert sol.ts.dtype == np.float64
    np.testing.assert_allclose(sol.ts, np.arange(-0.5, 10.1, 0.5), atol=1e-12)
    late = jnm.simulate(jnm.ING(), 600_000.5, 0.1, t0=600_000.0)
    np.testing.assert_allclose(late.ts, [600_000.1, 600_000.2, 600_000.3, 600_000.4, 600_000.5], rtol=0, atol=1e-9)


def test_xarray_names_time_population_and_region():
    sol = run()
    data = sol.to_xarray()
    assert set(data.data_vars) == {"r", "v", "s"}
    assert data.r.dims == ("time", "population", "region")
    assert data.time.attrs["units"] == "ms"
    assert data.population.values.tolist() == ["E", "I"] and data.region.values.tolist() == ["V1", "V2", "MT"]
    np.testing.assert_array_equal(data.v.sel(population="I", region="MT"), sol.ys.v[:, 1, 2])
    np.testing.assert_array_equal(data.r.sel(time=5.0, region="V2"), sol.ys.r[9, :, 1])
    assert data.attrs["solver"] == "Heun" and "jax" in data.attrs


@pytest.mark.parametrize(
    ("model", "dims"),
    [
        (lambda: jnm.ING(), ("time",)),
        (lambda: jnm.ING(eta=jnp.ones(4)), ("time", "region")),
        (lambda: jnm.PING(), ("time", "population")),
        (lambda: jnm.PING(IE=jnp.ones(4)), ("time", "population", "region")),
        (lambda: jnm.Network(jnm.ING(), brain()), ("time", "region")),
        (lambda: jnm.Network(jnm.JansenRit(), brain()), ("time", "region")),
    ],
)
def test_axes_of_nodes_and_networks(model, dims):
    data = jnm.simulate(model(), 1.0, 0.1).to_xarray()
    first = next(iter(data.data_vars.values()))
    assert first.dims == dims
    assert dict(data.sizes) == dict(zip(dims, first.shape, strict=True))


def test_xarray_of_saved_functions_and_nested_states():
    sol = run(save=lambda t, y: {"mean": y.r.mean(), "rate": y.r[0], "sensors": jnp.ones((7, 2)), "all": y})
    data = sol.to_xarray()
    assert data["mean"].dims == ("time",) and data["rate"].dims == ("time", "region")
    assert data["sensors"].dims == ("time", "sensors_0", "sensors_1")
    assert data["r"].dims == ("time", "population", "region")
    assert run(save=lambda t, y: y.r[0]).to_xarray()["y"].dims == ("time", "region")
    pair = run(save=lambda t, y: (y.r, y.v[0])).to_xarray()
    assert pair["y_0"].dims == ("time", "population", "region") and pair["y_1"].dims == ("time", "region")
    twice = run(save=lambda t, y: {"a": y, "b": y._replace(s=None)}).to_xarray()
    assert set(twice.data_vars) == {"r", "v", "s", "b_r", "b_v"}


def test_values_without_a_time_axis_are_named():
    with pytest.raises(ValueError, match=r"covariance.* has no time axis of 20 states; reductions"):
        run(save=running_covariance(lambda y: y.r[0])).to_xarray()
    members = jax.vmap(lambda k: run(key=k))(jax.random.split(KEY, 2))
    with pytest.raises(ValueError, match=r"has no time axis of 20 states.*vmap"):
        members.to_xarray()


def test_a_missing_xarray_names_its_cure(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install"):
        run().to_xarray()


def test_netcdf_and_back(tmp_path):
    import xarray

    data = run().to_xarray()
    data.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as back:
        xarray.testing.assert_identical(data, back.load())


def test_the_record_says_how_the_run_was_made():
    record = run(t0=1.0).record
    wanted = "jnm jax diffrax equinox device precision dt_ms t0_ms steps solver key model data"
    assert set(wanted.split()) <= set(record.keys())
    assert (record["dt_ms"], record["t0_ms"], record["steps"], record["solver"]) == (0.05, 1.0, 180, "Heun")
    assert record["key"] == str(np.asarray(jax.random.key_data(KEY)).tolist())
    assert (
        record["precision"] == "float32"
        and record["device"] == jax.default_backend()
        and record["jnm"] == jnm.__version__
    )
    assert record["model"].startswith("Network ") and len(str(record).splitlines()) == len(record.keys())


def test_hashes_follow_the_numbers_of_model_and_data():
    first = run().record
    assert run().record.entries == first.entries
    other_model = run(node=jnm.PING(IE=2.0, sigma=0.1, eta=-5.0 + 1e-6)).record
    assert (
        other_model["model"] != first["model"]
        and other_model["data"] == run(node=jnm.PING(IE=2.0, sigma=0.1)).record["data"]
    )
    assert run(node=jnm.PING(IE=2.0, sigma=0.1, receive=1)).record["model"] != first["model"]  # static fields too
    driven = run(stimulus=jnm.Constant(0.1)).record
    assert driven["model"] == first["model"] and driven["data"] != first["data"]
    assert run(stimulus=jnm.Constant(0.2)).record["data"] != driven["data"]
    assert run(key=jax.random.key(6)).record["key"] != first["key"]


def test_the_record_knows_when_it_cannot_know():
    sol = eqx.filter_jit(lambda eta: jnm.simulate(jnm.ING(eta=eta), 1.0, 0.1))(jnp.array(3.0))
    assert sol.record["model"] == "NMM2 traced" and sol.record["dt_ms"] == 0.1
    members = jax.vmap(lambda key: run(key=key))(jax.random.split(KEY, 2))
    assert members.record["key"] == "traced" and members.record["model"] == run().record["model"]
    net = jnm.Network(jnm.PING(sigma=0.1), brain())
    assert eqx.filter_jit(lambda: jnm.simulate(net, 1.0, 0.1, key=KEY))().record["key"].startswith("[")


def test_a_solution_is_a_pytree_of_arrays():
    sol = run()
    doubled = jax.tree.map(lambda x: 2 * x, sol)
    np.testing.assert_array_equal(doubled.ys.r, 2 * sol.ys.r)
    assert doubled.ts.tolist() == sol.ts.tolist() and sol.message == "the run is complete and finite"
    assert int(sol.result) == 0 and sol.stats["steps"] == 200 and sol.labels == ("V1", "V2", "MT")
    np.testing.assert_array_equal(sol.final.state.r, sol.ys.r[-1])
    assert sol.final.history is None and sol.final.step == 200


class Odd(NamedTuple):
    x: jax.Array
    neurons: jax.Array


class OddAxes(AbstractModel):
    """A state with an axis that is neither population nor region."""

    def init(self):
        return Odd(jnp.zeros(()), jnp.zeros((5, 4)))

    def drift(self, t, y, drive):
        return y

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


def test_axes_without_a_name_are_called_after_their_variable():
    data = jnm.simulate(OddAxes(), 1.0, 0.1).to_xarray()
    assert data["neurons"].dims == ("time", "neurons_0", "neurons_1")
