"""Several devices and several processes compute the same bits as one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jnm.sweeps import sweep

SCRIPT = Path(__file__).with_name("devices_in_child.py")
ROOT = str(Path(__file__).parents[2])


def start(*arguments):
    environment = os.environ | {"PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def told(child, seconds=120):
    """What a process wrote; one that waits for another that died is ended."""
    try:
        return child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.communicate()


@pytest.mark.parametrize("counts", [(1, 2), pytest.param((1, 4, 8), marks=pytest.mark.slow)])
def test_several_devices(counts):
    with start("devices", *counts) as child:
        differ, errors = told(child, 300)
    assert child.returncode == 0, errors
    assert differ.strip() == "[]"


@pytest.mark.slow
def test_two_processes(tmp_path, script):
    known = script("devices_in_child")
    np.save(tmp_path / "r.npy", sweep(known.run, known.members(), key=jax.random.key(5)).r)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    store = tmp_path / "s.zarr"
    with start(address, 0, store, tmp_path / "r.npy") as one, start(address, 1, store, tmp_path / "r.npy") as two:
        ends = [told(child) for child in (one, two)]
    assert one.returncode == two.returncode == 0, ends
    assert [out.strip().splitlines()[-1] for out, _ in ends] == ["equal", "equal"]
