"""Executors: threads, processes and dask compute the same sweep; one that dies takes only its chunk with it."""

import concurrent.futures
import functools
import multiprocessing
import operator
import os
import signal
import threading
import warnings

import jax
import numpy as np
import pytest

import jnm
from jnm.sweeps import grid, sweep

RUN = functools.partial(jnm.simulate, t1=2.0, dt=0.1)  # importable by any process, unlike what a test defines


@pytest.fixture(scope="module")
def members():
    return grid(jnm.ING(), lambda m: m.eta, np.linspace(1.0, 40.0, 40))


def test_threads(members):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        result = sweep(RUN, members, executor=pool, chunk=8)
    np.testing.assert_array_equal(result.r, sweep(RUN, members).r)


def test_a_dead_executor_is_told(members, tmp_path):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"executor died.*shutdown.*0 of 5 chunks were done"):
        sweep(RUN, members, executor=pool, chunk=8)


class DiesAtThird(concurrent.futures.ThreadPoolExecutor):
    """A pool that breaks while it works."""

    def submit(self, fn, /, *args):
        if args[1][0] >= 16:
            raise concurrent.futures.BrokenExecutor("a worker was lost")
        return super().submit(fn, *args)


def test_what_was_done_before_is_kept(members, tmp_path, monkeypatch):
    monkeypatch.setattr("jnm.sweeps.executor._AHEAD", 1)
    with DiesAtThird(1) as pool, pytest.raises(RuntimeError, match=r"BrokenExecutor.*2 of 5 chunks were done"):
        sweep(RUN, members, executor=pool, chunk=8, store=tmp_path / "s.zarr")
    assert len(list((tmp_path / "s.zarr" / ".sweep" / "blocks").iterdir())) == 2
    result = sweep(RUN, members, store=tmp_path / "s.zarr")
    np.testing.assert_array_equal(result.r, sweep(RUN, members).r)


@pytest.mark.slow
def test_processes_of_which_one_is_killed(members, tmp_path):
    path = tmp_path / "s.zarr"
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        whole = sweep(RUN, members, executor=pool, chunk=8)
        np.testing.assert_array_equal(whole.r, sweep(RUN, members).r)
        os.kill(next(iter(pool._processes)), signal.SIGKILL)
        with pytest.raises(RuntimeError, match="executor died, or a chunk failed in it .Broken"):
            for _ in range(50):
                sweep(RUN, members, executor=pool, chunk=8, store=path)
                path = path.with_name(path.name + "x")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        with pytest.raises(RuntimeError, match="must be importable"):
            sweep(lambda m: m.eta, members, executor=pool)
        assert np.array_equal(sweep(operator.attrgetter("eta"), members, executor=pool).value, members.values[0])


@pytest.mark.slow
def test_dask_goes_on_when_a_worker_is_killed(members, tmp_path):
    import distributed

    warnings.simplefilter("ignore")  # what dask says of ports and of the worker it loses

    def noisy(model, key):
        return jnm.simulate(model, 2_000.0, 0.1, key=key, save_every=100.0)

    batch = grid(jnm.ING(sigma=0.05), lambda m: m.eta, np.linspace(1.0, 40.0, 160))
    key = jax.random.key(2)
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
        progress = tmp_path / "s.zarr" / ".sweep" / "blocks"
        killed = threading.Event()

        def kill():
            while not killed.wait(0.02):
                if progress.exists() and any(progress.iterdir()):
                    os.kill(victim, signal.SIGKILL)
                    killed.set()

        threading.Thread(target=kill).start()
        result = sweep(noisy, batch, key=key, executor=client.get_executor(), chunk=8, store=tmp_path / "s.zarr")
        assert killed.is_set()
        assert victim not in client.run(os.getpid).values()
    np.testing.assert_array_equal(result.r, sweep(noisy, batch, key=key).r)


def test_an_error_in_the_function_comes_out_before_any_worker(members):
    def broken(model):
        return model.nothing

    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(AttributeError, match="nothing"):
        sweep(broken, members, executor=pool)
