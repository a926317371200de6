# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When does one node rest or oscillate?
#
# One population of inhibitory neurons that inhibit each other (`jnm.ING`), driven by $\eta$. Too little drive and it
# rests; too much and it rests again. In between it makes gamma. We draw the fixed points, ask the Jacobian of the
# model where they lose their stability, and lay simulations over the answer.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import plot

short = os.environ.get("JNM_SHORT") == "1"

# %% [markdown]
# **Theory.** `jnm.stability.continuation` follows the fixed point as the drive turns, asks the Jacobian of the model where
# it loses its stability, and follows the oscillations that are born there.

# %%
with jax.enable_x64(True):  # a model made here has its parameters to all digits
    branch = jnm.stability.continuation(jnm.ING(), lambda m: m.eta, 0.5, 98.0)
hopfs = [(float(p.value), float(p.state.r), float(p.frequency_hz)) for p in branch.hopf_points]
for eta, rate, f_hz in hopfs:
    print(f"Hopf point: eta = {eta:.6f}, resting rate {1000 * rate:.4f} spikes/s, born at {f_hz:.2f} Hz")


def rest(drives):
    """The fixed points at some drives, off the branch."""
    return jax.tree.map(lambda y: jnp.asarray(np.interp(drives, branch.value, np.asarray(y)), float), branch.state)


# %% [markdown]
# **Simulation.** All drives at once, by `jax.vmap`: a quiet start, a long wait, then the extremes of the last 50 ms.
# Each drive runs a second time from within 2 % of its rest: where rest and oscillation are both stable, the two would
# differ.

# %%
drives = np.linspace(1.0, 97.0, 17 if short else 97)
wait, watch = (500.0, 50.0) if short else (5_000.0, 50.0)  # ms


def late(eta, start):
    """The rate (1/ms) over the last milliseconds of a long run."""

    def rate(t, y):
        return y.r

    node = jnm.ING(eta=eta)
    return jnm.simulate(node, wait + watch, dt=0.01, y0=start, save_every=0.05, discard=wait, save=rate).ys


quiet = jax.tree.map(lambda x: jnp.full(drives.shape, x), jnm.ING().init())
resting = rest(drives)
run = jax.jit(jax.vmap(late))
settled = 1000 * np.asarray(run(jnp.asarray(drives), quiet))  # spikes/s
from_rest = 1000 * np.asarray(run(jnp.asarray(drives), resting._replace(r=1.02 * resting.r)))

# %% [markdown]
# ## One figure

# %%
figure, ax = plt.subplot_mosaic("AAA;BCD", figsize=(9, 6.4), height_ratios=[2.6, 1], layout="constrained")
main = plot.axes(ax["A"])
resting_rate = 1000 * np.asarray(branch.state.r)
main.plot(branch.value, np.ma.masked_where(~branch.stable, resting_rate), color="black", lw=2.4, label="stable rest")
main.plot(
    branch.value, np.ma.masked_where(branch.stable, resting_rate), color="black", lw=1.5, ls=(0, (4, 2)),
    label="unstable rest",
)  # fmt: skip
for cycles in branch.cycles:
    orbits = 1000 * np.asarray(cycles.orbits.r)
    main.plot(cycles.value, orbits.max(axis=1), color=plot.BLUE, lw=1, label="oscillation, continued")
    main.plot(cycles.value, orbits.min(axis=1), color=plot.BLUE, lw=1)
main.fill_between(drives, settled.min(axis=1), settled.max(axis=1), color=plot.BLUE, alpha=0.10, lw=0)
main.plot(drives, settled.max(axis=1), "o", color=plot.BLUE, ms=3.2, label="simulated: highest and lowest rate")
main.plot(drives, settled.min(axis=1), "o", color=plot.BLUE, ms=3.2)
for (eta, rate, f_hz), place in zip(hopfs, ((13.0, 260.0), (80.5, 70.0)), strict=True):
    main.plot(eta, 1000 * rate, "o", ms=9, mfc="white", mec=plot.RED, mew=2, zorder=5)
    main.annotate(
        f"Hopf at η = {eta:.3f}\n{f_hz:.1f} Hz", (eta, 1000 * rate), xytext=place, color=plot.RED,
        arrowprops=dict(arrowstyle="-", color=plot.RED, shrinkB=6),
    )  # fmt: skip
main.set(xlabel="drive η", ylabel="rate (spikes/s)", xlim=(0, 98), ylim=(0, None))
main.set_title("One inhibitory population: rest, gamma, rest", loc="left", fontweight="bold")

for name, eta in zip("BCD", (3.0, 20.0, 95.0), strict=True):
    at_rest = rest(eta)
    pushed = at_rest._replace(r=1.5 * at_rest.r)
    trace = jnm.simulate(jnm.ING(eta=eta), 100.0, dt=0.01, y0=pushed, save_every=0.05, save=lambda t, y: y.r)
    panel = plot.axes(ax[name])
    panel.plot(trace.ts, 1000 * np.asarray(trace.ys), color=plot.BLUE, lw=1.2)
    panel.set(xlabel="time (ms)", ylim=(0, None), xlim=(0, 100))
    panel.set_title(f"pushed off its rest at η = {eta:g}", loc="left", fontsize=10)
    main.plot(eta, 0.025, "^", transform=main.get_xaxis_transform(), color=plot.ORANGE, ms=8, clip_on=False)
main.plot([], [], "^", color=plot.ORANGE, ms=8, label="pushed off its rest below")
main.legend(frameon=False, loc="upper right")
ax["B"].set_ylabel("spikes/s")
plt.close(figure)
figure

# %% [markdown]
# What the picture does not show, in numbers:

# %%
amplitude, other = np.ptp(settled, axis=1), np.ptp(from_rest, axis=1)
inside = (drives > hopfs[0][0]) & (drives < hopfs[1][0])
near = np.min(np.abs(drives[:, None] - np.array([eta for eta, _, _ in hopfs])), axis=1) < 3.0
slowest = np.interp(drives[near], branch.value, np.abs(branch.eigenvalues.real.max(axis=1))).min()
print(f"Away from the Hopf points (more than 3 off), {wait / 1000:g} s after the start:")
print(f"  outside them, the largest swing left is {amplitude[~inside & ~near].max():.2g} spikes/s;")
print(f"  between them, the smallest swing is {amplitude[inside & ~near].min():.3g} spikes/s;")
print(f"  the two starts differ by at most {np.abs(amplitude - other)[~near].max():.2g} spikes/s in their swing.")
print(f"Close to them everything is slow: at one of the drives shown, disturbances last {0.001 / slowest:.2g} s.")
