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
# # Do delays matter?
#
# Regions that oscillate by themselves (`jnm.PING`), joined by fibres of different lengths. How fast must the fibres
# be for the brain to find a common rhythm? We sweep the conduction speed, let automatic differentiation draw the
# tangent at every point, and switch the delays off for comparison. Then we ask the phases of the regions the same.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import datasets, plot

jax.config.update("jax_enable_x64", True)  # so that the finite difference below is worth comparing with
short = os.environ.get("JNM_SHORT") == "1"
n_regions, n_speeds = (20, 9) if short else (90, 19)
DT = 0.05  # ms
SPEEDS = (4.0, 110.0)  # mm/ms

brain = datasets.connectome(n_regions=n_regions).normalised("rows")
distance = np.mean(np.sum(np.asarray(brain.weights * brain.lengths), axis=1))
print(f"{n_regions} regions; a region's input comes from {distance:.0f} mm away on average")

# %% [markdown]
# **The question as a function of one number.** Each region starts somewhere in the first third of its own cycle and
# has never heard of the others; at $t = 0$ the fibres are switched on. Synchrony is the share of the fluctuations
# that all have in common, from about $1/n$ to 1:
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
        network,
        until,
        DT,
        y0=start,
        history=history,
        save_every=0.5,
        discard=since,
        save=lambda t, y: y.r[0],
        throw=False,
    ).ys


def synchrony(speed, until=200.0):
    """S of the second half of the run; speed in mm/ms."""
    network = jnm.Network(node, brain, jnm.Linear(gain=3.0), speed=speed, speed_range=SPEEDS)
    return shared(activity(network, until, until / 2))


def shared(rates):
    return jnp.var(jnp.mean(rates, axis=1)) / jnp.mean(jnp.var(rates, axis=0))


# %% [markdown]
# Two more measures come from the phases $\theta_i(t)$ of the same runs: the Kuramoto order $R$, how far the regions stand
# together at each moment, and the mean phase locking, how constant their differences are, whatever they are:
#
# $$R = \big\langle\,\big|\langle e^{i\theta_i}\rangle_i\big|\,\big\rangle_t, \qquad
# P = \big\langle\,\big|\langle e^{i(\theta_i - \theta_j)}\rangle_t\big|\,\big\rangle_{i \ne j}.$$

# %%
EDGE = 20.0  # ms at both ends, where a Hilbert transform knows too little of what comes


def phases(rates, dt=0.5):
    """Of each region's rhythm, [time, region]; without the harmonics of its pulses, which would pull all phases together."""
    cut = int(EDGE / dt)
    return jnm.observe.phase(rates, dt, band=(500 / period, 1500 / period))[cut:-cut]


def measures(speed, until=200.0, since=60.0):
    """S of the second half of the run; R and P from `since` on."""
    network = jnm.Network(node, brain, jnm.Linear(gain=3.0), speed=speed, speed_range=SPEEDS)
    return seen(activity(network, until, since), int((until / 2 - since) / 0.5))


def seen(rates, half):
    theta = phases(rates)
    locking = jnm.observe.phase_locking(theta)
    pairs = (jnp.sum(locking) - n_regions) / (n_regions * (n_regions - 1))
    return jnp.stack([shared(rates[half:]), jnp.mean(jnm.observe.kuramoto_order(theta)), pairs])


# %% [markdown]
# All speeds at once, with their gradients (one number goes in and three come out, so forward mode is the cheap one); no
# delays at all; and two speeds close to the middle one, for the central difference that the gradient must equal.

# %%
sweep = jax.jit(jax.vmap(lambda speed: jax.jvp(measures, (speed,), (jnp.ones_like(speed),))))
speeds, step = np.geomspace(5.0, 100.0, n_speeds), 1e-4
middle = speeds[n_speeds // 2]
values, slopes = (np.asarray(x) for x in sweep(jnp.append(speeds, jnp.array([middle - step, middle + step]))))
(S, R, P), (slope, slope_R, slope_P) = values[:-2].T, slopes[:-2].T
without = np.asarray(seen(activity(jnm.Network(node, brain, jnm.Linear(gain=3.0)), 200.0, 60.0), 80))
instant = float(without[0])

difference = (values[-1] - values[-2]) / (2 * step)
print(f"S from {S.min():.3f} to {S.max():.3f}; without delays {instant:.3f}")
print(f"at {middle:.2f} mm/ms, per mm/ms:  gradient    central difference")
for name, tangent, quotient in zip("SRP", slopes[n_speeds // 2], difference, strict=True):
    print(f"{name:>28}{tangent:>14.8f}{quotient:>18.8f}")

# %% [markdown]
# ## The sweep
#
# Arrows are the gradients: they point uphill, along the tangent. Triangles mark the speeds whose activity is shown at
# the right.

# %%
shown = (6.0, 15.0, 60.0)  # mm/ms
figure, ax = plt.subplot_mosaic("AAB;AAC;AAD", figsize=(10, 5.2), layout="constrained", width_ratios=[1, 1, 1.15])
main = plot.axes(ax["A"])


def draw_sweep(ax, values, slopes, instant, label, note="no delays"):
    """Points, their tangents as arrows uphill, and what is without delays."""
    ax.axhline(instant, color=plot.GREY, lw=1.5, ls=(0, (4, 2)))
    ax.annotate(note, (5.0, instant), xytext=(0, -13), textcoords="offset points", color=plot.GREY)
    ax.plot(speeds, values, "o", color=plot.BLUE, ms=6, zorder=3)
    for x, y, g in zip(np.asarray(speeds), values, slopes, strict=True):
        rise = g * x  # per unit of log speed
        run = np.sign(rise) * 0.16 / np.hypot(1.0, rise / 0.6)
        ax.annotate(
            "", (x * np.exp(run), y + rise * run), xytext=(x, y),
            arrowprops=dict(arrowstyle="-|>", color=plot.RED, lw=1.6, shrinkA=0, shrinkB=0, mutation_scale=10),
        )  # fmt: skip
    ax.set(
        xscale="log", xlim=(3.9, 128), ylim=(-0.02, 1.06), xlabel="conduction speed (mm/ms)", ylabel=label,
        xticks=[5, 10, 20, 50, 100], xticklabels=["5", "10", "20", "50", "100"],
    )  # fmt: skip
    ax.minorticks_off()


draw_sweep(main, S, slope, instant, "synchrony S")
main.set_title("Slow fibres break the common rhythm", loc="left", fontweight="bold")
for name, speed in zip("BCD", shown[::-1], strict=True):
    network = jnm.Network(node, brain, jnm.Linear(gain=3.0), speed=speed, speed_range=SPEEDS)
    rates = 1000 * np.asarray(activity(network, 200.0, 0.0)).T
    panel = ax[name]
    image = panel.imshow(
        rates,
        aspect="auto",
        origin="lower",
        extent=(0, 200, 0, n_regions),
        cmap="magma",
        vmin=0,
        vmax=250,
        interpolation="nearest",
    )
    panel.set_title(f"{speed:g} mm/ms", loc="left", fontsize=10)
    main.plot(speed, 0.02, "^", transform=main.get_xaxis_transform(), color=plot.ORANGE, ms=8)
    panel.set(ylabel="region", xticks=[0, 100, 200], yticks=[0, n_regions])
    panel.spines[:].set_visible(False)
    if name != "D":
        panel.set_xticklabels([])
ax["D"].set_xlabel("time since the fibres were switched on (ms)")
figure.colorbar(image, ax=[ax[name] for name in "BCD"], label="rate of E (spikes/s)", shrink=0.7)
plt.close(figure)
figure

# %% [markdown]
# ## What the phases say
#
# The same runs, by their phases. Fibres of some 8 mm/ms leave the regions least in common; slower ones, whose delays come
# near to a cycle, bring some of it back. And yet each pair keeps its difference over these few cycles, at all speeds: the
# regions no longer stand together, but they have not drifted far either. A longer window would tell locking from slow
# drift; this one, short for the sake of its gradient, cannot.

# %%
figure, ax = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
draw_sweep(plot.axes(ax[0]), R, slope_R, without[1], "Kuramoto order R")
draw_sweep(plot.axes(ax[1]), P, slope_P, without[2], "mean phase locking P", note="")
unrelated = np.sqrt(np.pi / (4 * n_regions))
ax[0].axhline(unrelated, color=plot.GREY, lw=0.8, ls=":")
ax[0].annotate("unrelated phases", (5.0, unrelated), xytext=(0, -12), textcoords="offset points", color=plot.GREY)
ax[0].set_title("Do they stand together?", loc="left", fontweight="bold")
ax[1].set_title("Do they keep their differences?", loc="left", fontweight="bold")
plt.close(figure)
figure

# %% [markdown]
# The gradient is exact, but it belongs to a run of one length, and another length has another gradient. On the slope of
# the sweep its sign holds, while its size does not: as time goes on the regions find each other at 20 mm/ms too, and
# there is less left to be gained by speed. A short window keeps such a number honest.

# %%
asked = jnp.array([8.0, 20.0, 40.0])
print("dS / d log speed at" + "".join(f"{x:>8.0f} mm/ms" for x in asked))
for until in (100.0, 200.0) if short else (100.0, 200.0, 400.0, 800.0):
    grown = jax.jit(jax.vmap(jax.grad(lambda x, until=until: synchrony(x, until))))(asked) * asked
    print(f"{until / 2:>6.0f} to {until:>3.0f} ms   " + "".join(f"{g:>14.3f}" for g in grown))

# %% [markdown]
# ## When does a delay break synchrony?
#
# Let all fibres take equally long. Regions that beat as one then share a cycle, and whether they stay together need not
# be run: pushed apart along a pattern of the connectome, $W u = \Lambda u$, they part or return at a rate that depends on
# the delay and on $\Lambda$ alone. `limit_cycle` finds the common cycle of a network with a delay, and `master_stability`
# the rate (the largest Floquet exponent) at any $\Lambda$, for any connectome; ticks at the right are the $\Lambda$ of this
# one. Below are runs of it that start one per cent off the common cycle. Where patterns barely grow, a run this short
# still looks together.

# %%
delays = np.linspace(0.5, 7.5, 3) if short else np.linspace(0.5, 18.0, 15)  # ms
anywhere = np.linspace(-0.5, 0.98, 4 if short else 13)
seconds = 0.4 if short else 1.0


def joined(delay):
    return jnm.Network(node, brain.with_delays(np.full((n_regions, n_regions), delay)), jnm.Linear(3.0), speed=1.0)


cycles, growth = [], []
for delay in delays:
    network = joined(delay)
    cycles.append(cycles[-1].follow(network) if cycles else jnm.stability.limit_cycle(network))
    growth.append(1000 * np.asarray(jnm.stability.master_stability(network, anywhere, cycles[-1]).growth_rates))
growth = np.array(growth).T
own = np.real(brain.modes().eigenvalues)[1:]
worst = np.array([np.interp(own, anywhere, column).max() for column in growth.T])
early, late = (float(cycles[k].period) for k in (0, -1))
print(f"the common cycle takes {early:.1f} ms at a delay of {delays[0]:g} ms, {late:.1f} ms at {delays[-1]:g}")

# %%
longest = joined(delays[-1])
back, aside = np.arange(-int(60.0 / DT), 1) * DT, 1 + 0.01 * np.random.default_rng(1).normal(size=n_regions)


def kept(speed, y0, past):
    """S of the last 100 ms of a run."""
    network = jnm.Network(node, longest.connectome, longest.coupling, speed=speed, speed_range=(0.9, 50.0))
    run = jnm.simulate(
        network, 1000 * seconds, DT, y0=y0, history=past, save=lambda t, y: y.r[0], save_every=0.5,
        discard=1000 * seconds - 100, throw=False,
    )  # fmt: skip
    return shared(run.ys)


before = [cycle.at(back) for cycle in cycles]
begin = jax.tree.map(lambda *x: jnp.stack(x), *[jax.tree.map(lambda x: x[-1] * aside[None], y) for y in before])
pasts = jnp.stack([jnp.repeat(y.s[:, 0], n_regions, axis=1) for y in before])
stayed = np.asarray(jax.jit(jax.vmap(kept))(jnp.asarray(delays[-1] / delays), begin, pasts))

figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(8, 5.6), sharex=True, layout="constrained", gridspec_kw={"height_ratios": (2, 1)}
)
most = np.abs(growth).max()
image = top.pcolormesh(
    delays, anywhere, growth, cmap="RdBu_r", vmin=-most, vmax=most, shading="gouraud", rasterized=True
)
top.contour(delays, anywhere, growth, levels=[0.0], colors="black", linewidths=1.5)
top.plot(np.full(len(own), delays[-1] + 0.25), own, "_", color="black", ms=6, clip_on=False)
top.set(ylabel="eigenvalue Λ of the connectivity", ylim=(anywhere[0], anywhere[-1]))
top.set_title("A delay breaks synchrony, and a longer one restores it", loc="left", fontweight="bold")
figure.colorbar(image, ax=top, label="growth rate of the pattern (1/s)")
plot.axes(bottom).plot(delays, stayed, "o-", color=plot.BLUE, lw=1, clip_on=False)
bottom.fill_between(
    delays,
    0,
    1,
    where=worst > 0,
    color=plot.RED,
    alpha=0.15,
    step="mid",
    lw=0,
)
bottom.text(
    delays[worst > 0].mean(), 0.5, "a pattern of this\nconnectome grows", ha="center", va="center", color=plot.RED
)
bottom.set(xlabel="delay of all fibres (ms)", ylabel=f"synchrony S after {seconds:g} s", ylim=(0, 1.05))
bottom.set_xlim(delays[0], delays[-1])
plt.close(figure)
figure
