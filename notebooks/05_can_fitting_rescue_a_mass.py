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
# # Can fitting rescue a mass?
#
# Where a mass fails (notebook 04), perhaps only its parameters are wrong. Here they are fitted by gradient to one half
# of a spiking network's record, and judged on the other half, beside methods that know no physiology.

# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import plot
from jnm.studies import freeman

short = os.environ.get("JNM_SHORT") == "1"
cells = {"out of step": (0.05, 0.8), "slow rhythm": (0.5, 0.8), "fast rhythm": (0.5, 0.95)}
n, t1 = (500, 1_200.0) if short else (2_000, 4_000.0)
STEP, BIN = 0.1, 0.5  # ms
if short:
    cells = dict(list(cells.items())[:1])

# %% [markdown]
# The three networks of notebook 04, in set B, whose neurons have membrane noise of their own; and a twin of each, with
# the same graph and external spikes and other noise: what a model could explain that does not hear the network's own
# spikes. The Freeman masses do hear them, and may do better.

# %%
targets, twins = {}, {}
for name, (p, fraction) in cells.items():
    net = jnm.spiking.LIFNetwork.preset("B", p=p, fraction_excitatory=fraction, n=n, key=jax.random.key(0))
    events = freeman.draw_events(net, jax.random.key(1), round(t1 / STEP), STEP)
    runs = [net.run(t1, STEP, key=jax.random.key(seed), events=events) for seed in (2, 3)]
    targets[name], twins[name] = (freeman.Target.of(run, STEP, BIN) for run in runs)

# %% [markdown]
# ## Fit, and judge on what was held out
#
# Free are the areas q of the three synapses, the resting potential, and both time constants. The masses still hear the
# recorded spikes. The NMM2 hears the external spikes alone, and is asked for the rates of both populations.

# %%
rows = []
fits = {}
for name, target in targets.items():
    net = jnm.spiking.LIFNetwork.preset(
        "B", p=cells[name][0], fraction_excitatory=cells[name][1], n=n, key=jax.random.key(0)
    )
    Vbar = float(target.V[400 : target.half].mean())
    V, twin = target.V[:, None], twins[name].V[:, None]
    for kind in ("CFM", "MFM"):
        found = freeman.fit_freeman(freeman.mass_of(net, kind, Vbar), target, steps=20 if short else 100)
        fits[name, kind] = found
        rows += [(name, f"{kind} as it is", found.before), (name, f"{kind} fitted", found.after)]
    mean, autoregression = freeman.baselines(V, target.half, BIN)
    ceiling = freeman.judge("twin", twin, V, target.half, BIN)
    rows += [(name, "mean", mean), (name, "AR(10), 20 ms ahead", autoregression), (name, "twin", ceiling)]
    rates = freeman.fit_nmm2(target, steps=10 if short else 150)
    fits[name, "NMM2"] = rates
    rows += [(name, "NMM2 fitted, rates", rates.after)]
print(f"{'network':14}{'method':24}{'unexplained':>12}{'chi-square':>12}")
for name, method, score in rows:
    print(f"{name:14}{method:24}{score.unexplained:12.3f}{score.chi_square:12.3f}")

# %%
methods = list(dict.fromkeys(method for _, method, _ in rows))
fig, panels = plt.subplots(
    1, len(cells), figsize=(4.2 * len(cells), 3.4), layout="constrained", sharey=True, squeeze=False
)
for name, ax in zip(cells, panels[0], strict=True):
    plot.axes(ax)
    left = [
        max(next(s.unexplained for where, m, s in rows if (where, m) == (name, method)), 1e-4) for method in methods
    ]
    colours = [plot.GREY if m[0] in "mAt" else plot.ORANGE if "as it is" in m else plot.BLUE for m in methods]
    ax.barh(methods[::-1], np.array(left[::-1]) - 1, left=1.0, color=colours[::-1])  # of 1, which is to explain nothing
    ax.axvline(1.0, color="black", lw=0.8)
    ax.set(title=name, xscale="log", xlabel="variance left unexplained, held out")
plt.close(fig)
fig

# %% [markdown]
# Orange: the masses as they are. Blue: fitted. Grey: the mean of the first half (which explains nothing: 1, and more
# where the mean has moved since), an autoregression that is told the network's own past up to 20 ms before, and the twin.

# %%
fig, panels = plt.subplots(len(cells), 1, figsize=(11, 2.1 * len(cells)), layout="constrained", squeeze=False)
for (name, target), ax in zip(targets.items(), panels[:, 0], strict=True):
    plot.axes(ax)
    window = slice(-600, None)
    t = np.arange(len(target.V))[window] * BIN
    ax.plot(t, target.V[window], color="black", label="network")
    for kind, colour in (("CFM", plot.RED), ("MFM", plot.GREEN)):
        ax.plot(t, fits[name, kind].course[window, 0], color=colour, label=f"{kind} fitted")
    ax.set(ylabel="mean V (mV)", title=name)
panels[-1, 0].set_xlabel("time (ms)")
panels[0, 0].legend(frameon=False, ncols=3)
plt.close(fig)
fig

# %% [markdown]
# ## What the fit may say of the physiology
#
# Of a conventional mass only the products q (Vbar - E) / g_L show, and its two time constants are exchangeable. In the
# desynchronised state hardly an inhibitory neuron fires, so nothing is known of its synapse: look at the interval.

# %%
first = next(iter(cells))
print(fits[first, "CFM"].fit.report())

# %% [markdown]
# A fit that lowers the misfit does not make a mass right: the areas and time constants at which it arrives make up for
# reset and refractory time, and are no longer those of the synapses. In the fast rhythm even that does not help: the
# best that a mass can do there is to stand still, while an autoregression foretells the rhythm.

# %%
print(f"{'':14}{'':6}" + "".join(f"{x:>10}" for x in ("q_E", "q_I", "q_X", "rest", "tau_m", "tau_syn")))
print(
    f"{'the network':14}{'':6}"
    + "".join(f"{float(getattr(net, x)):10.3f}" for x in ("q_E", "q_I", "q_X", "rest", "tau_m"))
    + "   3, 7, 5"
)
for (name, kind), found in fits.items():
    if kind != "NMM2":
        model = found.fit.model
        values = [getattr(model.mass, x) for x in ("q_E", "q_I", "q_X", "rest", "tau_m")] + [model.tau_syn]
        print(f"{name:14}{kind:6}" + "".join(f"{float(x):10.3f}" for x in values))
