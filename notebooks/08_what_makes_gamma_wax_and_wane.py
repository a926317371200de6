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
# # What makes gamma wax and wane?
#
# In recordings, gamma comes in bursts, several a second. Ninety like circuits of pyramidal cells and interneurons
# (`jnm.PING`) on a connectome do the same without noise and without delays. Is it the circuit, the coupling, or the
# anatomy? A prediction by linear theory, a run, a control, and surrogate connectomes. (After Delicado, Huguet &
# Clusella, 2025.)

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import observe, plot
from jnm.plot import anatomy as pictures
from jnm.stability import dispersion, homogeneous, limit_cycle, master_stability, state_map

jax.config.update("jax_enable_x64", True)
short = os.environ.get("JNM_SHORT") == "1"

brain = jnm.datasets.connectome().normalised("rows")
net = jnm.Network(jnm.PING(IE=11.0), brain, jnm.Linear(gain=12.5))


def v_E(t, y):
    """Mean membrane potential of the pyramidal cells."""
    return y.v[0]


# %% [markdown]
# ## Prediction: which patterns grow?
#
# Rows of the connectome sum to one, so all regions may beat as one. Push them apart along an eigenvector of the weights,
# $W u = \Lambda u$: whether the push grows depends on $\Lambda$ alone. The curve holds for every connectome; the dots are
# where this one lies on it.

# %%
together = limit_cycle(net)
modes = dispersion(net, together)
curve = np.linspace(-1.0, 1.0, 41 if short else 401)
anywhere = master_stability(net, curve, together)
eigenvalues, growth = np.real(modes.connectivity_eigenvalues), 1000 * np.asarray(modes.growth_rates)
least = len(eigenvalues) - 1

figure, (left, *brains) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", width_ratios=(2, 1, 1))
plot.axes(left).plot(curve, 1000 * np.asarray(anywhere.growth_rates), color=plot.GREY, label="any connectome")
left.plot(eigenvalues, growth, "o", ms=4, color=plot.BLUE, label="this one")
left.axhline(0, color="black", lw=0.8)
left.set(xlabel="eigenvalue Λ of the connectivity", ylabel="growth rate (1/s)", ylim=(-60, 25))
left.legend(frameon=False)
for ax, k in zip(brains, (1, least), strict=True):
    u = np.real(modes.modes.right[:, k])
    ax.scatter(*brain.centres[:, :2].T, c=u, cmap="RdBu_r", vmin=-np.abs(u).max(), vmax=np.abs(u).max(), s=30)
    ax.set_title(f"Λ = {eigenvalues[k]:.2f}, {growth[k]:+.0f} /s\n(from above, front up)", fontsize=10)
    ax.set(aspect="equal")
    ax.axis("off")
print(f"all regions alike: a cycle of {float(together.period):.2f} ms; {modes.unstable} of 89 other patterns grow")
plt.close(figure)
figure

# %% [markdown]
# What the connectome does best, to let large regions of the brain move together (seen from above: front against back, or
# left against right, $\Lambda$ near 1), decays. What grows are patterns of small or negative $\Lambda$, in which
# regions go against their neighbours.
#
# ## The run, and its control
#
# Each region starts at a moment of its own. The control is a single region that hears itself: what all regions
# would do, if they stayed alike.

# %%
seconds = 3.0 if short else 10.0
band = (34.0, 74.0)  # Hz


def run(model, key):
    """v_E for so many seconds after a second that is left out, one sample a ms."""
    y0 = jax.tree.map(lambda y: y + 0.01 * jax.random.uniform(key, y.shape), model.init())
    T = 1000 * seconds + 1000
    return jnm.simulate(model, T, dt=0.05, y0=y0, save=v_E, save_every=1.0, discard=1000.0).ys


seen = {"network": run(net, jax.random.key(0)), "one region": run(homogeneous(net), jax.random.key(1))}
colours = {"network": plot.BLUE, "one region": "black"}

figure, panels = plt.subplots(2, 2, figsize=(11, 5.4), layout="constrained")
for ax, (name, v) in zip(panels[0], seen.items(), strict=True):
    gamma, A = (np.asarray(part(v, 1.0, band))[:, 0] for part in (observe.bandpass, observe.envelope))
    ms = np.arange(1000, 2000)
    plot.axes(ax).plot(ms / 1000, gamma[ms], color=plot.GREY, lw=0.7)
    ax.plot(ms / 1000, A[ms], color=colours[name], lw=2)
    ax.set(xlabel="time (s)", ylabel="v_E from 34 to 74 Hz", ylim=(-1.6, 1.6))
    inside = np.asarray(observe.envelope(v, 1.0, band))[250:-250]
    ax.set_title(
        f"{name}: variation {np.median(observe.coefficient_of_variation(inside)):.3f}", loc="left", fontsize=10
    )
    f_hz, S = observe.psd(v, 1.0, 1000.0)
    plot.axes(panels[1, 0]).plot(f_hz, np.median(S, axis=1), color=colours[name], label=name)
    f_hz, S = observe.psd(jnp.asarray(inside / inside.mean(axis=0)), 1.0, 1000.0)
    plot.axes(panels[1, 1]).plot(f_hz[1:], np.median(S, axis=1)[1:], color=colours[name], label=name)
panels[1, 0].set(xlabel="frequency (Hz)", ylabel="v_E (1/Hz)", yscale="log", xlim=(0, 120), ylim=(1e-6, 10))
panels[1, 1].set(xlabel="frequency of waxing and waning (Hz)", ylabel="relative envelope (1/Hz)", yscale="log")
panels[1, 1].set(xlim=(0, 40), ylim=(1e-9, 1e-1))
panels[1, 0].legend(frameon=False)
plt.close(figure)
figure

# %% [markdown]
# One region keeps its rhythm to the last digit; what is left of its envelope's spectrum is the ends of the record. It is
# the network that waxes and wanes.
#
# ## Is it the anatomy?
#
# Surrogates of four kinds: weights *shuffled*; *rewired*, so that regions keep their strengths; *neighbourly*, so that
# weights keep their fall with distance; and regions *relabelled*, which changes nothing but the start of the run. Bars
# are the middle 90 %, the blue line is this connectome, the dashed one a single region.

# %%
found = jnm.studies.anatomy(
    net, seed=0, members=2 if short else 20, seconds=2.0 if short else 24.0, settling=1.0 if short else 10.0, signal=v_E
)
names = ("growth", "envelope variation", "envelope peak", "modulation index")
figure, panels = plt.subplots(1, 4, figsize=(14, 3.2), layout="constrained", sharey=True)
for ax, name in zip(panels, names, strict=True):
    pictures.measure(found, name, ax)
plt.close(figure)
figure

# %%
kinds = [kind for kind in found.measures if kind not in ("itself", "one region")]
print(f"{'medians and middle 90 %':24}{'itself':>9}{'one region':>12}" + "".join(f"{kind:>22}" for kind in kinds))
for name in found.measures["itself"]:
    own, alone = found.measures["itself"][name][0], found.measures["one region"].get(name, [np.nan])[0]
    line = f"{name:24}{own:9.3g}{alone:12.2g}"
    for kind in kinds:
        low, high = found.interval(kind, name)
        line += f"{np.median(found.measures[kind][name]):8.3g} ({low:.3g}, {high:.3g})".rjust(22)
    print(line)

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
pictures.envelopes(found, left)
left.set(xlim=(0, 30), ylim=(1e-7, 1e-1))
pictures.patterns(found, middle)
bars = plot.axes(right)
order = np.argsort(-found.growth_rates[1:])
for shares, label, colour in (
    (found.pattern[1:], "activity", plot.BLUE),
    (found.envelope_pattern[1:], "envelopes", plot.ORANGE),
):
    bars.plot(np.cumsum(shares[order]) / shares.sum(), color=colour, label=label)
bars.plot(np.arange(1, 90) / 89, color="black", ls=":", lw=0.8, label="all patterns alike")
bars.axvline(np.sum(found.growth_rates[1:] > 0), color="black", lw=0.8)
bars.set(xlabel="patterns, fastest first (line: last that grows)", ylabel="share of what is not in unison")
bars.legend(frameon=False)
plt.close(figure)
figure

# %% [markdown]
# Envelopes live in the patterns of negative $\Lambda$: regions that are strongly connected take turns. Little is in the
# pattern of all regions together. Linear theory says which patterns take part, and the order of their shares only roughly
# ("agreement", a rank correlation): how large each becomes is settled where growth ends, beyond linear theory.
#
# ## Only these circuits?
#
# Jansen-Rit columns on the same connectome, over the plane of their drive and coupling. Each point is one run from regions
# at random moments; its state is read off two Lyapunov exponents and the differences between regions.

# %%
side = 2 if short else 12
key = jax.random.key(0)
ping_plane = np.linspace(0.0, 16.0, side), np.linspace(0.0, 30.0, side)
column_plane = np.linspace(0.04, 0.34, side), np.linspace(0.0, 60.0, side)
gain = lambda m: m.coupling.gain  # noqa: E731
columns = jnm.Network(jnm.JansenRit(), brain, jnm.Linear(20.0))
maps = {
    "PING": state_map(
        net, (jnm.at(lambda m: m.node.I, 0), gain), ping_plane,
        key=key, t1=500.0 if short else 2000.0, dt=0.025, k=2, start="random", discard=200.0, chunk=4,
    ),
    "Jansen-Rit": state_map(
        columns, (lambda m: m.node.p, gain), column_plane,
        key=key, t1=3000.0 if short else 12_000.0, dt=1.0, k=2, start="random", discard=2000.0, chunk=4,
    ),
}  # fmt: skip


def named(figure, x, y):
    """The axes of a map under the names of the equations."""
    for ax in figure.axes:
        if ax.get_xlabel():
            ax.set_xlabel(x)
    figure.axes[0].set_ylabel(y)
    plt.close(figure)
    return figure


named(maps["PING"].plot(), "drive $I_E$", "coupling ε")

# %%
named(maps["Jansen-Rit"].plot(), "drive p (1/ms)", "coupling ε")

# %%
for name, found_map in maps.items():
    states, counts = np.unique(found_map.kinds, return_counts=True)
    low, high = np.nanmin(found_map.frequencies_hz), np.nanmax(found_map.frequencies_hz)
    told = ", ".join(f"{state} {count}" for state, count in zip(states, counts, strict=True))
    print(f"{name}: {low:.0f} to {high:.0f} Hz; {told} of {side**2} points")

# %% [markdown]
# ## What this shows, and what not
#
# * Waxing and waning is made by the **coupling**: one region never does it.
# * It does not need **this anatomy**. Connectomes without any geometry make envelopes that vary as much, or more. What
#   the anatomy sets is the pace, and how much of the activity stays in unison: envelopes are faster than on any graph that
#   is not this one.
# * The modulation index, of gamma by the phase of 4 to 9 Hz in the same region, is small in all networks, and of the same
#   size in surrogates.
# * Both kinds of circuit rest, synchronise and turn chaotic. What sets PING apart is the range of its frequencies.
# * One point of the plane, one synthetic connectome, no delays, no noise. Maps this coarse show which states there are, not
#   where they end; short runs take weak chaos for quasi-periodic, and grey points amid the rhythms of Jansen-Rit are runs
#   on their way to one, with exponents not yet back at zero: runs three times as long found a rhythm there.
# * On the human average connectome (sc2017, 24 s after 10 s) the same comes out: its envelopes vary by 0.306 and peak at
#   9 Hz, those of twenty shuffled ones by 0.324 (0.322 to 0.327) at 4.5 Hz.
