"""Sweeps: labelled results, the same bits whatever the chunk, failures that stay where they are, and what is refused."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.sweeps import engine as engines, grid, memory, sweep, zipped


def eta(m):
    return m.eta


@pytest.fixture(scope="module")
def noisy():
    """Eighteen noisy nodes over 100 ms: not a multiple of the microbatch."""

    def run(model, key):
        return jnm.simulate(model, 100.0, 0.1, key=key, save_every=1.0)

    return run, grid(jnm.ING(sigma=0.05), (eta, lambda m: m.tau_s), (np.linspace(2.0, 40.0, 6), [1.5, 2.0, 2.5]))


@pytest.fixture(scope="module")
def key():
    return jax.random.key(7)


@pytest.fixture(scope="module")
def whole(noisy, key):
    return sweep(*noisy, key=key, chunk=1000)


def test_a_labelled_dataset(whole, noisy):
    assert whole.r.dims == ("eta", "tau_s", "time") and whole.sizes == {"eta": 6, "tau_s": 3, "time": 100}
    assert set(whole.data_vars) == {"r", "v", "s", "z", "ok", "message"}
    assert whole.tau_s.units == "ms" and whole.time.units == "ms" and whole.time[-1] == 100.0
    np.testing.assert_array_equal(whole.eta, np.linspace(2.0, 40.0, 6))
    assert whole.ok.all() and (whole.message == "").all()
    assert whole.attrs["jnm"] == jnm.__version__


def test_the_bits_do_not_depend_on_the_chunk(noisy, key, whole):
    for chunk in (8, 16, "auto"):
        again = sweep(*noisy, key=key, chunk=chunk)
        assert all(np.array_equal(again[name], whole[name]) for name in ("r", "v", "s", "z"))


def test_equal_to_a_plain_loop(noisy, key, whole):
    run, members = noisy
    for i in (0, 7, 17):
        alone = run(members[i], members.key(key, i)).ys.r
        a, b = np.unravel_index(i, members.shape)
        np.testing.assert_allclose(whole.r[a, b], alone, rtol=1e-5, atol=1e-7)


def test_double_precision(x64):
    members = grid(jnm.ING(sigma=0.05), eta, [5.0, 20.0])

    def run(model, key):
        return jnm.simulate(model, 10.0, 0.1, key=key)

    key = jax.random.key(7)
    result = sweep(run, members, key=key)
    assert result.r.dtype == np.float64
    np.testing.assert_allclose(result.r[1], run(members[1], members.key(key, 1)).ys.r, rtol=1e-12)


def test_a_key_that_is_given_is_heard():
    """Also by a function that has one by default; seeds that no function hears would all give the same."""
    members, key = grid(jnm.ING(), (eta, "seed"), ([1.0, 2.0], range(3))), jax.random.key(7)
    usual = jax.random.key(0)

    def draw(model, key=usual):
        return {"x": jax.random.uniform(key)}

    drawn = sweep(draw, members, key=key).x
    np.testing.assert_array_equal(drawn[0], [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(3)])
    for fn, options in ((eta, {}), (eta, {"key": key}), (draw, {})):
        with pytest.raises(ValueError, match="members of all seeds would be the same"):
            sweep(fn, members, **options)


def test_one_compilation_for_all_chunks():
    traces = []

    def count(model):
        traces.append(1)
        return model.eta**2

    members = grid(jnm.ING(), eta, np.arange(40.0))
    result = sweep(count, members, chunk=8)
    np.testing.assert_array_equal(result["count"], np.arange(40.0) ** 2)
    first = len(traces)
    assert first < 5  # chunks: neither layout nor program is traced for each
    sweep(count, members, chunk=8)
    assert len(traces) - first < first  # the layout is traced anew, the program is not


class Both(NamedTuple):
    power: jax.Array
    pair: tuple


def test_any_tree_of_arrays_gets_names():
    members = zipped(jnm.ING(), (eta, lambda m: m.tau_m), ([1.0, 2.0], [5.0, 6.0]))
    result = sweep(lambda m: {"a": Both(m.eta * jnp.ones(4), (m.tau_m, 3)), "n": True}, members)
    assert set(result.data_vars) == {"a_power", "a_pair_0", "a_pair_1", "n", "ok", "message"}
    assert result.a_power.dims == ("point", "a_power_0")
    assert result.eta.dims == ("point",) and result.tau_m.units == "ms"
    named = sweep(lambda m: m.eta * jnp.ones(4), members, dims={"value": ("sensor",)})
    assert named.value.dims == ("point", "sensor")


def test_regions_carry_their_labels():
    brain = jnm.Connectome(jnp.ones((2, 2)) - jnp.eye(2), labels=["left", "right"])
    members = grid(jnm.Network(jnm.PING(), brain), lambda m: m.coupling.gain, [0.0, 1.0])
    result = sweep(lambda m: jnm.simulate(m, 1.0, 0.1), members)
    assert result.r.dims == ("gain", "time", "population", "region")
    assert list(result.region.values) == ["left", "right"] and list(result.population.values) == ["E", "I"]
    rates = sweep(lambda m: {"rate": m.coupling.gain * jnp.ones(2)}, members, dims={"rate": ("region",)})
    assert list(rates.region.values) == ["left", "right"]


def test_a_diverging_member_stays_alone():
    members = grid(jnm.ING(), eta, [10.0, 1e30, 20.0])

    def run(model):
        return jnm.simulate(model, 5.0, 0.1)

    result = sweep(run, members)
    alone = sweep(run, grid(jnm.ING(), eta, [10.0, 20.0]))
    assert list(result.ok.values) == [True, False, True]
    assert "smaller dt" in str(result.message[1].values) and str(result.message[0].values) == ""
    np.testing.assert_array_equal(result.r[[0, 2]], alone.r)
    with pytest.raises(RuntimeError, match=r"member 1 .eta = 1e\+30.: a value stopped being finite"):
        sweep(run, members, on_error="raise")
    log = sweep(lambda m: {"one": m.eta, "log": jnp.log(m.eta)}, grid(jnm.ING(), eta, [1.0, -1.0]))
    assert list(log.message.values) == ["", "log is not finite"]


def test_out_of_memory_halves_the_chunk(monkeypatch):
    real, sizes = engines.compute, []

    class Tight:
        lower = staticmethod(real.lower)

        def __call__(self, task, numbers, rows, mesh):
            sizes.append(numbers.shape[1])
            if numbers.shape[1] > 2:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
            return real(task, numbers, rows, mesh)

    monkeypatch.setattr(engines, "compute", Tight())
    with pytest.warns(RuntimeWarning, match="out of memory") as told:
        result = sweep(lambda m: 2 * m.eta, grid(jnm.ING(), eta, np.arange(70.0)), chunk=64)
    np.testing.assert_array_equal(result.value, 2 * np.arange(70.0))
    assert sizes[:3] == [8, 4, 2]
    assert [str(w.message).split()[-2] for w in told] == ["32", "16"]


def test_more_members_than_memory_is_told_with_the_number(monkeypatch):
    members = grid(jnm.ING(), eta, np.arange(1000.0))

    def large(model):
        return model.eta * jnp.ones(1000)

    monkeypatch.setattr(memory, "host_memory", lambda: 2e6)
    with pytest.raises(ValueError, match=r"1000 members of 4 kB are 4 MB.*has 2 MB: at most 500 members fit"):
        sweep(large, members)
    monkeypatch.setattr(memory, "check_result", lambda *_: None)
    with pytest.raises(ValueError, match=r"1000 members at once need .* MB .* at most \d+ fit"):
        sweep(large, members, chunk=1000)
    assert sweep(large, members).large.shape == (1000, 1000)  # auto takes smaller chunks


def test_auto_fills_a_fraction_of_the_device(monkeypatch):
    members = grid(jnm.ING(), eta, np.arange(4000.0))
    task = engines.Task.of(lambda m: m.eta * jnp.ones(1000), members, None)
    monkeypatch.setattr(memory, "host_memory", lambda: 1e6)
    engine = engines.Engine(task, task.layout(), jax.devices()[:1], "auto", 8)
    fixed, needed = memory.needed(engine._compiled(engine.rows))
    assert 0.3e6 < needed <= 0.5e6 and fixed < needed


@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (lambda m: "high", "returned 'high' as value"),
        (lambda m: {"a": m.eta, "b": "word"}, "returned 'word' as b"),
        (lambda m: np.array([[1.0], [1.0, 2.0]], dtype=object), "makes no array of numbers"),
        (lambda m: jnp.arange(5)[jnp.arange(5) < m.eta], "one shape for all"),
        (lambda m: 1.0 if m.eta > 3 else 2.0, "a Python if"),
        (lambda m: None, "returned nothing"),
        (lambda m: {"a/b": m.eta}, "fn returns 'a/b'; wanted a name without '/'"),
        (lambda m: {"": m.eta}, "fn returns ''"),
        (lambda m: {"eta": m.eta}, "a name the sweep itself needs"),
        (lambda m: {"ok": m.eta}, "a name the sweep itself needs"),
        (lambda m: m, "name the sweep itself needs"),
        (lambda m, key: m.eta, "give key="),
        (3.0, "wanted a function"),
    ],
)
def test_functions_that_are_refused(fn, told):
    with pytest.raises(ValueError, match=told):
        sweep(fn, grid(jnm.ING(), eta, [1.0, 5.0]))


def test_arguments_that_are_refused():
    members = grid(jnm.ING(), eta, [1.0])
    for options, told in (
        ({"chunk": 0}, "chunk = 0"),
        ({"on_error": "ignore"}, "known are"),
        ({"dims": {"power": ("f",)}}, "dims names power"),
        ({"dims": {"value": ("f",)}}, "one name an axis"),
        ({"dims": {"row": ("to", "to")}}, "one name an axis, each its own"),
        ({"dims": {"row": ("ok", "to")}}, "dims of row name 'ok'"),
        ({"key": 3}, "key = 3"),
        ({"devices": []}, "devices is empty"),
        ({"microbatch": -1}, "microbatch = -1"),
        ({"microbatch": 0}, "microbatch = 0"),
    ):
        with pytest.raises(ValueError, match=told):
            sweep(lambda m: {"value": m.eta, "row": m.eta * jnp.ones((2, 2))}, members, **options)
    with pytest.raises(ValueError, match="grid has an axis 'ok'"):
        sweep(lambda m: m.eta, grid(jnm.ING(), {"ok": eta}, {"ok": [1.0]}))
    with pytest.raises(ValueError, match=r"jnm.grid\(model"):
        sweep(lambda m: m.eta, [jnm.ING()])


def test_no_bar_where_nobody_watches(capsys):
    members = grid(jnm.ING(), eta, np.arange(16.0))
    sweep(lambda m: m.eta, members)
    assert capsys.readouterr().err == ""
    with warnings.catch_warnings():
        sweep(lambda m: m.eta, members, progress=True)
    assert "16/16" in (told := capsys.readouterr().err) and "member/s" in told
