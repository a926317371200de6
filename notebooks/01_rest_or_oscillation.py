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
from jax.flatten_util import ravel_pytree

import jnm
from jnm import plot

short = os.environ.get("JNM_SHORT") == "1"

# %% [markdown]
# **Theory.** At rest $v = -\Delta / 2\pi R$, $s = r$, $z = 0$ with $R = \tau_m r$, and
#
# $$\eta = \pi^2 R^2 - \frac{\Delta^2}{4 \pi^2 R^2} - C R :$$
#
# every $R$ is the rest of one $\eta$. Automatic differentiation of `model.drift` says whether it is stable.


# %%
def rest(rate):
    """The drive eta (dimensionless) that makes a resting rate (1/ms), and the state there."""
    node = jnm.ING()
    R, v = node.tau_m * rate, -node.delta / (2 * jnp.pi * node.tau_m * rate)
    return (jnp.pi * R) ** 2 - v**2 - node.C * R, node.init()._replace(r=rate, v=v, s=rate)


def jacobian(rate):
    """The Jacobian of the drift (1/ms) at the rest with this rate."""
    eta, state = rest(rate)
    flat, unravel = ravel_pytree(state)

    def drift(x):
        return ravel_pytree(jnm.ING(eta=eta).drift(jnp.zeros(()), unravel(x), jnm.Drive()))[0]

    return jax.jacfwd(drift)(flat)


def growth(rate):
    """The leading eigenvalue (1/ms) at the rest with this rate: it grows where the real part is positive."""
    eigenvalues = np.linalg.eigvals(np.asarray(jax.jit(jacobian)(rate)))
    return eigenvalues[np.argmax(eigenvalues.real)]


def hopf(below, above):
    """The rate (1/ms) between two others at which the real part of the leading eigenvalue changes sign."""
    while above - below > 1e-14:
        middle = (below + above) / 2
        below, above = (middle, above) if growth(middle).real * growth(below).real > 0 else (below, middle)
    return (below + above) / 2


with jax.enable_x64(True):
    rates = np.linspace(0.012, 0.32, 400)
    etas = np.array([float(rest(rate)[0]) for rate in rates])
    stable = np.array([growth(rate).real < 0 for rate in rates])
    crossings = [hopf(rates[k], rates[k + 1]) for k in np.flatnonzero(np.diff(stable))]
    hopfs = [(float(rest(r)[0]), r, abs(growth(r).imag) * 1000 / (2 * np.pi)) for r in crossings]

for eta, rate, f_hz in hopfs:
    print(f"Hopf point: eta = {eta:.6f}, resting rate {1000 * rate:.4f} spikes/s, born at {f_hz:.2f} Hz")

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
_, resting = jax.vmap(rest)(jnp.asarray(np.interp(drives, etas, rates)))
run = jax.jit(jax.vmap(late))
settled = 1000 * np.asarray(run(jnp.asarray(drives), quiet))  # spikes/s
from_rest = 1000 * np.asarray(run(jnp.asarray(drives), resting._replace(r=1.02 * resting.r)))

# %% [markdown]
# ## One figure

# %%
figure, ax = plt.subplot_mosaic("AAA;BCD", figsize=(9, 6.4), height_ratios=[2.6, 1], layout="constrained")
main = plot.axes(ax["A"])
unstable = np.ma.masked_where(stable, 1000 * rates)
main.plot(etas, np.ma.masked_where(~stable, 1000 * rates), color="black", lw=2.4, label="stable rest")
main.plot(etas, unstable, color="black", lw=1.5, ls=(0, (4, 2)), label="unstable rest")
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
main.legend(frameon=False, loc="upper right")
main.set_title("One inhibitory population: rest, gamma, rest", loc="left", fontweight="bold")

for name, eta in zip("BCD", (3.0, 20.0, 95.0), strict=True):
    _, at_rest = rest(jnp.asarray(np.interp(eta, etas, rates)))
    pushed = at_rest._replace(r=1.5 * at_rest.r)
    trace = jnm.simulate(jnm.ING(eta=eta), 100.0, dt=0.01, y0=pushed, save_every=0.05, save=lambda t, y: y.r)
    panel = plot.axes(ax[name])
    panel.plot(trace.ts, 1000 * np.asarray(trace.ys), color=plot.BLUE, lw=1.2)
    panel.set(xlabel="time (ms)", ylim=(0, None), xlim=(0, 100))
    panel.set_title(f"pushed off its rest at η = {eta:g}", loc="left", fontsize=10)
    main.plot(eta, 0.025, "^", transform=main.get_xaxis_transform(), color=plot.ORANGE, ms=8, clip_on=False)
ax["B"].set_ylabel("spikes/s")
plt.close(figure)
figure

# %% [markdown]
# What the picture does not show, in numbers:

# %%
amplitude, other = np.ptp(settled, axis=1), np.ptp(from_rest, axis=1)
inside = (drives > hopfs[0][0]) & (drives < hopfs[1][0])
near = np.min(np.abs(drives[:, None] - np.array([eta for eta, _, _ in hopfs])), axis=1) < 3.0
with jax.enable_x64(True):
    slowest = min(abs(growth(rate).real) for rate in np.interp(drives[near], etas, rates))
print(f"Away from the Hopf points (more than 3 off), {wait / 1000:g} s after the start:")
print(f"  outside them, the largest swing left is {amplitude[~inside & ~near].max():.2g} spikes/s;")
print(f"  between them, the smallest swing is {amplitude[inside & ~near].min():.3g} spikes/s;")
print(f"  the two starts differ by at most {np.abs(amplitude - other)[~near].max():.2g} spikes/s in their swing.")
print(f"Close to them everything is slow: at one of the drives shown, disturbances last {0.001 / slowest:.2g} s.")
