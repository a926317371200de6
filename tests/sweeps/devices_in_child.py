"""Sweeps on so many devices, in a process that has them: prints what is not equal. With an address: two processes."""

import os
import sys

if __name__ == "__main__" and sys.argv[1] == "devices":
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[-1]}"

import jax
import numpy as np

import jnm


def run(model, key):
    """A short noisy run."""
    return jnm.simulate(model, 5.0, 0.1, key=key, save_every=1.0)


def members():
    """As many as fill no whole number of chunks."""
    return jnm.grid(jnm.ING(sigma=0.05), lambda m: m.eta, np.linspace(1.0, 40.0, 150))


def on_devices(*counts):
    """Prints the numbers of devices on which the result is another one than on the first number of them."""
    assert len(jax.devices()) == int(counts[-1])
    key = jax.random.key(5)
    results = [jnm.sweep(run, members(), key=key, devices=jax.devices()[: int(n)], chunk=70) for n in counts]
    print([n for n, result in zip(counts, results, strict=True) if not np.array_equal(result.r, results[0].r)])


def in_one_of_two_processes(address, number, store, oracle):
    """With and without a store."""
    jax.distributed.initialize(address, num_processes=2, process_id=int(number))
    for options in ({}, {"store": store}):
        result = jnm.sweep(run, members(), key=jax.random.key(5), chunk=8, **options)
        assert np.array_equal(result.r, np.load(oracle)) and bool(result.ok.all())
    print("equal")


if __name__ == "__main__":
    on_devices(*sys.argv[2:]) if sys.argv[1] == "devices" else in_one_of_two_processes(*sys.argv[1:])
