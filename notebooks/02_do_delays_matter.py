# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Do delays matter?
#
# Regions that oscillate by themselves (`jnm.PING`), joined by fibres of different lengths. How fast must the fibres be for
# the brain to find a common rhythm? We sweep the conduction speed, let automatic differentiation draw the tangent at every
# point, and switch the delays off for comparison.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import datasets, plot

short = os.environ.get("JNM_SHORT") == "1"
n_regions, n_speeds = (20, 9) if short else (90, 19)
DT = 0.05  # ms
SPEEDS = (4.0, 110.0)  # mm/ms

brain = datasets.connectome(n_regions=n_regions).normalised("rows")
weights, lengths = np.asarray(brain.weights), np.asarray(brain.lengths)
print(f"{n_regions} regions; a region's input comes from {np.mean(np.sum(weights * lengths, axis=1)):.0f} mm away on average")

# %% [markdown]
# **The question as a function of one number.** Each region starts somewhere in the first third of its own cycle and has
# never heard of the others; at $t = 0$ the fibres are switched on. Synchrony is the share of the fluctuations that all have
# in common, from about $1/n$ to 1:
#
# $$S = \mathrm{var}_t\,\langle r_i \rangle_i \,/\, \langle \mathrm{var}_t\, r_i \rangle_i .$$

# %%
node = jnm.PING(IE=7.0)
alone = jnm.simulate(node, 800.0, DT, discard=600.0, save_every=DT)
cycle = np.asarray(alone.ys.r[:, 0])
peaks = np.flatnonzero((cycle[1:-1] > cycle[:-2]) & (cycle[1:-1] > cycle[2:]) & (cycle[1:-1] > cycle.mean())) + 1
period = np.mean(np.diff(peaks)) * DT
print(f"a region alone oscillates at {1000 / period:.1f} Hz (every {period:.1f} ms)")

last = len(cycle) - 1 - np.random.default_rng(0).integers(0, int(period / DT / 3), n_regions)  # each region's present
start = jax.tree.map(lambda x: x[last].T, alone.ys)
back = np.arange(-int(150.0 / DT), 1)
past = jnp.asarray(alone.ys.s[:, 0])[last[None] + back[:, None]]  # [time, region]: what each sent until now


def activity(network, until, since):
    """Rates of the excitatory populations (1/ms), [time, region]."""
    history = None if network.speed is None else past
    return jnm.simulate(
        network, until, DT, y0=start, history=history, save_every=0.5, discard=since, save=lambda t, y: y.r[0], throw=False
    ).ys


def synchrony(speed, until=200.0):
    """S of the second half of the run; speed in mm/ms."""
    network = jnm.Network(node, brain, jnm.Linear(gain=3.0), speed=speed, speed_range=SPEEDS)
    return shared(activity(network, until, until / 2))


def shared(rates):
    return jnp.var(jnp.mean(rates, axis=1)) / jnp.mean(jnp.var(rates, axis=0))


# %% [markdown]
# All speeds at once, with their gradients; and no delays at all.

# %%
speeds = jnp.geomspace(5.0, 100.0, n_speeds)
S, slope = (np.asarray(x) for x in jax.jit(jax.vmap(jax.value_and_grad(synchrony)))(speeds))
instant = float(shared(activity(jnm.Network(node, brain, jnm.Linear(gain=3.0)), 200.0, 100.0)))
print(f"without delays S = {instant:.3f}")

# %% [markdown]
# Is the gradient right? Against a central difference, in double precision:

# %%
speed, step = 25.0, 1e-3
with jax.enable_x64(True):
    small = 100.0
    ...
