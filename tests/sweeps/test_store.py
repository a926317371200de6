"""Nothing computed is ever lost: stores that are interrupted, damaged, full, read-only, extended, or another sweep's."""

import errno
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jnm
from jnm.sweeps import arrays, engine, grid, open_store, store as stores, sweep

SCRIPT = Path(__file__).with_name("sweep_in_child.py")


def eta(m):
    return m.eta


def double(m):
    return {"double": 2 * m.eta, "row": m.eta * jnp.arange(3.0)}


@pytest.fixture(scope="module")
def child(script):
    return script("sweep_in_child")


@pytest.fixture(scope="module")
def uninterrupted(child):
    return sweep(child.run, child.members(), key=child.KEY, chunk=3, microbatch=3)


@pytest.fixture
def counted(monkeypatch):
    """The members that are computed."""
    done, real = [], engine.Engine.__call__

    def call(self, members):
        done.extend(members.tolist())
        return real(self, members)

    monkeypatch.setattr(engine.Engine, "__call__", call)
    return done


def markers(path):
    return {p.name: p.read_bytes() for p in (path / ".sweep" / "blocks").glob("*.json")} if path.exists() else {}


def interrupt(path, rng, inside):
    """Start the sweep in a process of its own and kill it -9, inside a write or anywhere; returns what it had told."""
    which = rng.randint(1, 4)
    command = [sys.executable, str(SCRIPT), str(path), "0.3" if inside else "0.0", str(which)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(which):
            while (line := process.stdout.readline()) and line != "begin\n":
                pass
        time.sleep(rng.uniform(0.0, 1.5 if inside else 0.02))  # that write dwells 0.3 s at each of seven places
        process.kill()
        return line + process.stdout.read()


def check_interruptions(path, child, uninterrupted, counted, kills):
    rng, within = random.Random(len(kills)), 0
    for inside in kills:
        before = markers(path)
        told = interrupt(path, rng, inside)
        within += told.strip().endswith("begin")
        after = markers(path)
        assert {name: after[name] for name in before} == before, "a finished block was lost"
    left = 60 - 3 * len(markers(path))
    result = sweep(child.run, child.members(), key=child.KEY, store=path)
    assert len(counted) == left < 60
    for name in ("r", "v", "s", "z", "late"):
        variable = name if name == "late" else f"run_{name}"
        np.testing.assert_array_equal(result[variable], uninterrupted[variable])
    assert result.ok.all()
    return within


def test_killed_inside_a_write(tmp_path, child, uninterrupted, counted):
    assert check_interruptions(tmp_path / "s.zarr", child, uninterrupted, counted, [True]) == 1


@pytest.mark.slow
def test_killed_twenty_times(tmp_path, child, uninterrupted, counted):
    assert check_interruptions(tmp_path / "s.zarr", child, uninterrupted, counted, [True] * 14 + [False] * 6) >= 10


@pytest.fixture
def half(tmp_path):
    """A store in which the disk filled up after two blocks of five."""
    path, write = tmp_path / "s.zarr", arrays.write

    def full(where, begin, values):
        if begin[0] >= 16:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(where, begin, values)

    members = grid(jnm.ING(), eta, np.arange(40.0))
    arrays.write = full
    try:
        with pytest.raises(OSError, match=r"could not be written .No space left.*2 finished blocks are kept"):
            sweep(double, members, store=path, chunk=8)
    finally:
        arrays.write = write
    return path, members


def test_a_full_disk_keeps_what_was_written(half, counted):
    path, members = half
    partly = open_store(path)
    assert list(partly.ok.values) == [True] * 16 + [False] * 24
    assert set(partly.message.values) == {"", "not computed yet"}
    result = sweep(double, members, store=path)
    assert counted == list(range(16, 40)) and result.ok.all()
    np.testing.assert_array_equal(result.row, np.arange(40.0)[:, None] * np.arange(3.0))


def test_a_finished_store_is_read_and_nothing_is_computed(half, counted, monkeypatch):
    path, members = half
    sweep(double, members, store=path)
    counted.clear()
    monkeypatch.setattr(stores, "_try_to_write", lambda *_: pytest.fail("nothing is to be written"))
    again = sweep(double, members, store=path)
    assert not counted and again.double[-1] == 78.0 and again.attrs["jnm"] == jnm.__version__
    assert again.attrs["key"] == "none" and "random key" not in jnm.cite(jnm.ING(), again).methods
    plain = xarray.open_zarr(path, consolidated=True, decode_timedelta=False)
    assert plain.row.dims == ("eta", "row_0") and plain.status.dtype == np.int32


def test_a_store_that_cannot_be_written(half, counted, monkeypatch, tmp_path):
    path, members = half

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(stores.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match="Read-only file system"):
        sweep(double, members, store=path)
    assert not counted and len(markers(path)) == 2
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="could not be written"):
        sweep(double, members, store=tmp_path / "file" / "s.zarr")
    with pytest.raises(ValueError, match="no store of jnm.sweep"):
        sweep(double, members, store=tmp_path)
    with pytest.raises(ValueError, match="no store of jnm.sweep"):
        open_store(tmp_path)


def test_a_corrupt_block_is_told_and_computed_anew(half, counted):
    path, members = half
    damaged = path / "row" / "c" / "1" / "0"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"row/c/1/0 is damaged.*delete .*1\.json"):
        sweep(double, members, store=path)
    (path / ".sweep" / "blocks" / "1.json").unlink()
    result = sweep(double, members, store=path)
    assert counted == list(range(8, 40))
    np.testing.assert_array_equal(result.row[:, 1], np.arange(40.0))
    damaged.unlink()
    with pytest.raises(ValueError, match="row/c/1/0 is missing"):
        sweep(double, members, store=path)
    (path / "status" / "c" / "0").write_bytes(b"no chunk")
    with pytest.raises(ValueError, match="is damaged .* it names the block"):
        open_store(path)
    (path / ".sweep" / "record.json").write_text("{")
    with pytest.raises(ValueError, match="record of the store"):
        sweep(double, members, store=path)


def test_the_store_of_another_sweep_is_refused(half):
    path, members = half
    factor = jnp.asarray(2.0)

    def held(m):
        return {"double": factor * m.eta, "row": m.eta * jnp.arange(3.0)}

    for fn, other, options, told in (
        (lambda m: {"double": 3 * m.eta, "row": m.eta * jnp.arange(3.0)}, members, {}, "differs in the function"),
        (held, members, {}, "differs in the function"),
        (lambda m: {"other": 3 * m.eta}, members, {}, "what the function returns"),
        (double, grid(jnm.ING(tau_s=3.0), eta, np.arange(40.0)), {}, "differs in the model"),
        (double, grid(jnm.ING(), eta, np.arange(40.0) + 1), {}, "the axis eta has other values"),
        (double, grid(jnm.ING(), eta, np.arange(30.0)), {}, "the axis eta has 40 values, here 30"),
        (double, grid(jnm.ING(), lambda m: m.tau_s, 1 + np.arange(40.0)), {}, "its axes are eta, here tau_s"),
        (double, members, {"microbatch": 16}, "the width of the microbatch"),
    ):
        with pytest.raises(ValueError, match=told):
            sweep(fn, other, store=path, **options)
    assert len(markers(path)) == 2
    record = path / ".sweep" / "record.json"
    content = json.loads(record.read_text())
    content["identity"]["jnm"] = "0.0.9"
    record.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"jnm .0.0.9, here"):
        sweep(double, members, store=path)


def test_what_a_function_holds_decides_and_its_source_does_not(half, counted):
    path, members = half

    def otherwise_written(m):
        """The same numbers."""
        parameter = m.eta  # under another name
        doubled, row = 2 * parameter, parameter * jnp.arange(3.0)
        return dict(row=row, double=doubled)

    assert sweep(otherwise_written, members, store=path).ok.all()
    assert counted == list(range(16, 40))


def test_another_key_is_refused(tmp_path):
    def draw(m, key):
        return jax.random.normal(key) + m.eta

    members = grid(jnm.ING(), eta, np.arange(4.0))
    sweep(draw, members, key=jax.random.key(0), store=tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="differs in the key"):
        sweep(draw, members, key=jax.random.key(1), store=tmp_path / "s.zarr")


def test_grown_axes_are_extended(tmp_path, counted):
    def draw(m, key):
        return {"x": jax.random.normal(key, (2,)) + m.eta + m.tau_s}

    def members(rows, columns):
        return grid(jnm.ING(), (eta, lambda m: m.tau_s), (np.arange(rows) + 0.0, np.arange(columns) + 1.0))

    path, key = tmp_path / "s.zarr", jax.random.key(0)
    sweep(draw, members(3, 8), key=key, store=path, chunk=8)
    counted.clear()
    longer = sweep(draw, members(5, 8), key=key, store=path)
    assert counted == list(range(24, 40))
    counted.clear()
    wider = sweep(draw, members(5, 10), key=key, store=path)
    assert len(counted) == 10 and wider.sizes == {"eta": 5, "tau_s": 10, "x_0": 2}
    fresh = sweep(draw, members(5, 10), key=key)
    np.testing.assert_array_equal(wider.x, fresh.x)
    np.testing.assert_array_equal(longer.x, fresh.x[:, :8])
    np.testing.assert_array_equal(wider.tau_s, np.arange(10) + 1.0)


@pytest.mark.parametrize(
    ("shape", "chunk", "block"),
    [
        ((100, 7), 64, (9, 7)),
        ((3, 4, 5), 7, (1, 1, 5)),
        ((3, 4, 5), 200, (3, 4, 5)),
        ((10,), 4, (4,)),
        ((3, 4, 5), 41, (2, 4, 5)),
    ],
)
def test_blocks_are_contiguous(shape, chunk, block):
    assert stores.block_shape(shape, chunk) == block


def test_region_labels_and_times_survive(tmp_path):
    brain = jnm.Connectome(jnp.ones((2, 2)) - jnp.eye(2), labels=["left", "right"])
    members = grid(jnm.Network(jnm.PING(), brain), lambda m: m.coupling.gain, [0.0, 1.0])

    def run(m):
        return jnm.simulate(m, 1.0, 0.1)

    kept = sweep(run, members, store=tmp_path / "s.zarr")
    xarray.testing.assert_equal(kept.load(), sweep(run, members))
    assert kept.region.values.tolist() == ["left", "right"] and kept.time.units == "ms"
    assert os.listdir(tmp_path) == ["s.zarr"]
