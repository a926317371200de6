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
# # When is the classical neural mass wrong at real synapses?
#
# A classical neural mass (`jnm.NMM1`) lets the firing rate follow the input at once, through a static transfer function,
# and leaves all dynamics to the synapse. The exact mean field of the same neurons (`jnm.NMM2`) has a membrane as well.
# The two agree when synapses are slow against the membrane, $\tau_s / \tau_m \to \infty$, and they always rest at the
# same rates. Real synapses have $\tau_s / \tau_m$ between 0.2 and 2. What is lost there? (After Clusella,
# Köksal-Ersöz, Garcia-Ojalvo & Ruffini, 2023.)

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import plot
from jnm.plot.weak_field import departure, locking
from jnm.stability import (
    continuation,
    fixed_points,
    hopf_curves,
    hopf_points,
    limit_cycle,
    resonances,
    transfer_function,
)
from jnm.studies import entrainment, phase_response

jax.config.update("jax_enable_x64", True)
short = os.environ.get("JNM_SHORT") == "1"

# %% [markdown]
# ## Oscillation: one population that inhibits itself
#
# The exact model makes gamma between two Hopf points. In the classical one none is found, and none can be: the
# divergence of its flow is $-2/\tau_s$ everywhere, which excludes any closed orbit (Bendixson).

# %%
exact = jnm.ING()
classical = jnm.NMM1.of(exact)
found = hopf_points(exact, lambda m: m.eta, 0.0, 100.0)
print([f"eta = {float(point.value):.4f}, {float(point.frequency_hz):.2f} Hz" for point in found])
print(hopf_points(classical, lambda m: m.eta, 0.0, 100.0))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
branch = continuation(exact, lambda m: m.eta, 0.0, 100.0)
branch.plot(lambda t, y: 1000 * y.r, "rate (spikes/s)", left)
rest = continuation(classical, lambda m: m.eta, 0.0, 100.0)
left.plot(rest.value[::4], 1000 * np.asarray(rest.state.s)[::4], ".", color=plot.RED, label="classical: rest, stable")
left.legend(frameon=False, fontsize=8)
left.set(xlabel="drive η", ylim=(-40, 1300))
(border,) = hopf_curves(exact, lambda m: m.eta, 0.0, 80.0, lambda m: m.tau_s, 0.1, 7.0)
border.plot(border.other / 7.5, "τs / τm", right)
right.set(xlabel="drive η")
right.set_title("where oscillation begins", loc="left", fontsize=10)
plt.close(figure)
figure

# %% [markdown]
# ## Resonance: one pyramidal population
#
# Pyramidal cells that excite each other never oscillate by themselves, but they resonate: a weak field of the right
# frequency moves them most. The classical model only damps.

# %%
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
f_hz = np.linspace(0.5, 250.0, 500)
for C, colour in zip((0.0, 10.0, 20.0), (plot.GREEN, plot.BLUE, plot.ORANGE), strict=True):
    model = jnm.Pyramidal(C=C)
    plot.axes(ax).plot(f_hz, transfer_function(model, f_hz).gain, color=colour, label=f"C = {C:g}")
    (peak,) = resonances(model, 20.0, 250.0)
    ax.plot(float(peak.frequency_hz), float(peak.gain), "o", color=colour)
    static = jnm.NMM1.of(model)
    ax.plot(f_hz, transfer_function(static, f_hz).gain, color=colour, ls=":")
    print(
        f"C = {C:g}: {float(peak.frequency_hz):.1f} Hz in the exact model; in the classical,",
        resonances(static, 1, 250),
    )
ax.set(xlabel="frequency of the field (Hz)", ylabel="synaptic activity (1/ms)\nper unit of current", yscale="log")
ax.legend(frameon=False, title="solid: exact, dotted: classical")
plt.close(figure)
figure

# %% [markdown]
# ## The map
#
# For every ratio of time constants and every weight at $\eta = 10$: how far are the synaptic activities of the two
# models from each other, after a step of the input and for weak sines of all frequencies? Both are relative to the
# largest answer of the classical model. Where the exact model oscillates there is no weak answer to compare; that
# region is bounded by its Hopf points in C, drawn in black. The green bar spans real synapses.

# %%
tau_m, eta, push = 15.0, 10.0, 1.0
ratios = np.geomspace(0.1, 10.0, 5 if short else 17)
weights = np.linspace(-40.0, 20.0, 5 if short else 16)
waves = np.geomspace(0.02, 20.0, 120)  # frequencies, in units of 1 / (2 pi tau_m)


def pair(ratio, C, eta=eta):
    """Both models of one population."""
    values = dict(tau_m=tau_m, tau_s=ratio * tau_m, delta=1.0, eta=eta, C=C, order=2)
    return jnm.NMM2(**values), jnm.NMM1(**values)


def synapse(t, y):
    """What both models have in common."""
    return y.s


def answers(ratio, C):
    """Largest relative distance between the answers to weak sines; the exact model's resonance over its DC gain."""
    exact, classical = pair(ratio, C)
    rest = fixed_points(exact)[0]
    if not rest.stable:
        return np.nan, np.nan
    f_hz = np.append(0.0, 1000 * waves / (2 * np.pi * tau_m))
    H = [transfer_function(m, f_hz, output=synapse).value for m in (exact, classical)]
    gain = transfer_function(exact, f_hz, output=lambda t, y: y.r).gain
    return np.max(np.abs(H[0] - H[1])) / np.max(np.abs(H[1])), np.max(gain) / gain[0]


@jax.jit
@jax.vmap
def step(ratio, C, r):
    """Largest relative distance between the two after a step of the current, from rest at the rate r."""
    exact, classical = pair(ratio, C, eta + push)
    v = -1.0 / (2 * jnp.pi * tau_m * r)
    zero = jnp.zeros_like(r)
    starts = (exact.init()._replace(r=r, v=v, s=r, z=zero), classical.init()._replace(s=r, z=zero))
    runs = [
        jnm.simulate(m, 600.0, dt=0.05, y0=y, save=synapse, save_every=0.5).ys
        for m, y in zip((exact, classical), starts, strict=True)
    ]
    return jnp.max(jnp.abs(runs[0] - runs[1])) / jnp.max(jnp.abs(runs[1] - r))


grid = [(ratio, C) for C in weights for ratio in ratios]
linear, quality = np.array([answers(*at) for at in grid]).T.reshape(2, len(weights), len(ratios))
rates = jnp.array([fixed_points(pair(*at)[0])[0].state.r for at in grid])
transient = np.asarray(step(*np.array(grid).T, rates)).reshape(linear.shape)

# %%
(edge,) = hopf_curves(pair(0.5, -20.0)[0], lambda m: m.C, -60.0, -1.0, lambda m: m.tau_s, 0.05 * tau_m, 12 * tau_m)
figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained", sharey=True)
maps = (
    ("error of NMM1 after a step", transient, 1.0),
    ("error of NMM1 for weak sines", linear, 1.0),
    ("resonance of the exact model, peak / DC", quality, 30.0),
)
for ax, (title, values, high) in zip(axes, maps, strict=True):
    norm = "log" if high > 1 else None
    shown = ax.pcolormesh(ratios, weights, values, cmap="magma", norm=norm, vmin=1 if high > 1 else 0, vmax=high)
    ax.plot(edge.other / tau_m, edge.value, color="black", lw=2)
    ax.axvspan(0.2, 2.0, ymax=0.02, color=plot.GREEN)
    ax.set(xscale="log", xlabel="τs / τm", xlim=(ratios[0], ratios[-1]), ylim=(weights[0], weights[-1]))
    ax.set_title(title, loc="left", fontsize=10)
    ax.set_facecolor(plot.GREY)
    figure.colorbar(shown, ax=ax)
axes[0].set_ylabel("weight C")
plt.close(figure)
figure

# %%
real = (ratios >= 0.2) & (ratios <= 2.0)
slow = ratios >= 9.0
print("Relative error of the classical model, where the exact one rests, medians over all weights:")
for name, values in (("step", transient), ("weak sines", linear)):
    steady = np.where(np.isnan(linear), np.nan, values)
    print(
        f"  {name}: {np.nanmedian(steady[:, real]):.2f} at real synapses, {np.nanmedian(steady[:, slow]):.3f} at slow ones"
    )
print(f"Share of the map at real synapses in which the exact model oscillates: {np.isnan(linear[:, real]).mean():.0%}")

# %% [markdown]
# ## In an electric field
#
# A field along the cells' axis polarises their membranes, which is as good as a current, $I(t) = I + \lambda E(t)$. A
# constant field of 1 V/m shifts the soma of a resting pyramidal cell by about 0.12 mV (Bikson et al., 2004); with 15 mV
# from rest to threshold, which is our choice, $\lambda$ = 0.008 per V/m. (Fast fields polarise a cell less. Read the
# strengths as what reaches the membrane.) Every dot is a simulation read by a lock-in, every line linear theory.
# At the right the exact model alone; dashed is 5 %.

# %%
population = jnm.Pyramidal()
pairs = {"exact": population, "classical": jnm.NMM1.of(population)}
(peak,) = resonances(population, 20.0, 250.0)
f_hz = np.sort(np.append(np.linspace(20.0, 200.0, 10 if short else 37), float(peak.frequency_hz)))
fields = np.array([1.0, 10.0, 100.0, 200.0])
driven = {name: entrainment(model, f_hz, fields) for name, model in pairs.items()}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for (name, seen), colour in zip(driven.items(), (plot.BLUE, plot.ORANGE), strict=True):
    plot.axes(left).plot(f_hz, np.abs(seen.linear), color=colour, label=f"{name}, linear theory")
    for strength, mark in ((1.0, "."), (200.0, "x")):
        k = list(fields).index(strength)
        left.plot(f_hz, seen.amplitude[:, k] / strength, mark, color=colour, label=f"{name}, {strength:g} V/m")
left.set(xlabel="frequency of the field (Hz)", ylabel="synaptic activity (1/ms) per V/m", yscale="log")
left.legend(frameon=False, fontsize=8)
departure(driven["exact"], right)
plt.close(figure)
figure

# %%
for name, seen in driven.items():
    top, least = int(np.argmax(seen.amplitude[:, 0])), seen.linear_until(0.05).min()
    ratio = seen.amplitude[top, 0] / seen.amplitude[0, 0]
    until = f"up to {least:.0f} V/m" if np.isfinite(least) else f"at all strengths up to {fields[-1]:g} V/m"
    print(f"{name}: follows a weak field most at {f_hz[top]:.1f} Hz, {ratio:.2f} times its answer at {f_hz[0]:g} Hz;")
    print(f"  within 5 % of linear theory at every frequency {until}")

# %% [markdown]
# Fields that are used on people stay near 1 V/m, so a population at rest answers them linearly, and the exact one
# most at its resonance. A rhythm that runs by itself is another matter: a field pulls it along only in a band around
# its own frequency, which grows in proportion to the strength, its Arnold tongue. Here that of the inhibitory
# population, as if its cells were aligned with the field like pyramidal ones; dashed is what the phase response of its
# cycle predicts.

# %%
own = 1000 / float(limit_cycle(exact).period)
tongue_hz = own + np.linspace(-1.2, 1.2, 13 if short else 41)
strong = np.linspace(10.0, 60.0, 3 if short else 11)
pulled = entrainment(exact, tongue_hz, strong, settle=2000.0, duration=2000.0 if short else 6000.0)
figure, ax = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
locking(pulled, ax)
for edge in phase_response(exact).tongue(strong).T:
    ax.plot(edge, strong, color=plot.GREEN, ls="--")
widths = np.diff(pulled.tongue())[:, 0]
print(
    f"alone {own:.2f} Hz; locked over {widths[0]:.2f} Hz at {strong[0]:g} V/m, {widths[-1]:.2f} Hz at {strong[-1]:g} V/m"
)
plt.close(figure)
figure
