"""A sweep that a test interrupts: run as a script with the path of a store, how long to dwell, and in which write."""

import sys
import time

import jax
import numpy as np

import jnm

KEY = jax.random.key(11)


def members():
    """Sixty noisy nodes."""
    return jnm.grid(
        jnm.ING(sigma=0.05), (lambda m: m.eta, lambda m: m.tau_s), (np.linspace(2.0, 40.0, 20), [1.5, 2.0, 2.5])
    )


def run(model, key):
    """A short run of each, and a number."""
    solution = jnm.simulate(model, 5.0, 0.1, key=key, save_every=0.5)
    return {"run": solution, "late": solution.ys.r[-1]}


def dwell(seconds, which):
    """Lets each write tell when it begins and ends, and one of them take its time."""
    from jnm.sweeps import arrays, store

    write, mark = arrays.write, store._write_whole
    begun = 0

    def slow_write(path, begin, values):
        nonlocal begun
        begun += 1
        print("begin", flush=True)
        for name, array in values.items():
            write(path, begin, {name: array})
            time.sleep(seconds * (begun == which))

    def slow_mark(path, text):
        path.with_name(path.name + ".part").write_text(text[: len(text) // 2])
        time.sleep(seconds * (begun == which))
        mark(path, text)
        print("end", flush=True)

    arrays.write, store._write_whole = slow_write, slow_mark


if __name__ == "__main__":
    dwell(float(sys.argv[2]), int(sys.argv[3]))
    jnm.sweep(run, members(), key=KEY, store=sys.argv[1], chunk=3, microbatch=3)
