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
# # Who makes the field?
#
# A magnetometer beside the head measures some hundred femtotesla. We follow them back: to currents along dendrites, to
# the synapses that drive them (or the spikes?), to how many cells agree, and to how the head carries their field to the
# helmet. (The idea of the formalism: Garcia-Rodriguez & Destexhe, arXiv 2112.02024; the derivations are ours.)
#
# The data are in the folder `JNM_DATA`: dipole moments of detailed pyramidal cells (computed with hnn-core and NEURON)
# and a real subject's forward solution (the sample data of MNE-Python).

# %%
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import mne
import numpy as np

import jnm
from jnm import plot
from jnm.meg import Dipole, LeadField, SensorNoise, Sensors, cable, contribution, region_rms

short = os.environ.get("JNM_SHORT") == "1"
data = Path(os.environ.get("JNM_DATA", "../../shared/data"))

# %% [markdown]
# ## A synapse on a dendrite
#
# The moment of a dendrite is its synaptic current times a lever, $q = I\,L_{\mathrm{eff}}(x_0, f)$. Half-way along the
# dendrite the lever is zero, beyond it has the other sign, and fast currents have shorter levers. The cable is passive and
# unbranched: what branches and active channels do is not in this picture.

# %%
places, f_hz = np.linspace(0.0, 1.0, 101), np.geomspace(1.0, 1000.0, 100)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for f, colour in zip((0.0, 40.0, 100.0, 300.0), (plot.BLUE, plot.GREEN, plot.ORANGE, plot.RED), strict=True):
    lever = cable.effective_length(places, f)
    plot.axes(left).plot(places, 1e3 * jnp.real(lever), color=colour, label=f"{f:g} Hz")
for length, colour in zip((0.5, 1.0, 1.5), (plot.GREY, plot.BLUE, plot.GREEN), strict=True):
    lever = cable.effective_length(0.0, f_hz, length_mm=length)
    plot.axes(right).plot(f_hz, 1e3 * jnp.abs(lever), color=colour, label=f"{length:g} mm long")
left.axhline(0.0, color="black", lw=0.8)
left.set(xlabel="place of the synapse (mm from the soma)", ylabel="lever, part in phase (μm)")
right.set(xlabel="frequency (Hz)", ylabel="lever of a synapse at the end (μm)", xscale="log", ylim=(0, None))
left.legend(frameon=False)
right.legend(frameon=False)
plt.close(figure)
figure

# %% [markdown]
# ## Synapses or spikes?
#
# One action potential makes a larger moment than one postsynaptic potential, but it is short, its lobes nearly cancel,
# and each comes with hundreds or thousands of synaptic events. The bands show what is not known: the cell, the number K of
# inputs behind each spike, how much of their polarity cancels, how well spikes are in step compared with the inputs.
# The event of layer 5 is a calcium burst of three spikes. At the middle of the ranges spikes are a small part below some
# tens of hertz and the larger one above 100 Hz; with everything open nearly anything is possible. "Action potentials
# contribute nothing" is not what this says.

# %%
events = np.load(data / "meg" / "hnn_unit_dipoles.npz")
cells = {
    name: (events[f"{key}_pyramidal_ap_fAm"], events[f"{key}_pyramidal_epsp_prox_0.1nS_fAm"])
    for name, key in (("L2/3", "L2"), ("L5", "L5"))
}
seen = contribution(np.geomspace(5.0, 300.0, 80), cells, dt=0.025)
for f in (10, 40, 80):
    low, high = (np.interp(f, seen.f_hz, edge) for edge in seen.bands["morphology"])
    print(f"{f} Hz: spikes make {low:.1%} to {high:.1%} of what synapses make, by morphology alone")
figure = seen.plot()
plt.close(figure)
figure

# %% [markdown]
# ## A spiking network
#
# A network of conductance-based LIF neurons keeps the mean current of each kind of synapse into its excitatory cells: the
# mean of the product $g\,(E - V)$, not the product of means. This one fires in step, ten times a second, as no healthy
# cortex does: an upper bound. With one lever for all synapses excitation and inhibition cancel in part; inhibition at the
# soma and excitation at the apical dendrite add. Placement decides sign, size and shape.

# %%
size, long = (200, 150.0) if short else (1_000, 600.0)
net = jnm.spiking.LIFNetwork.preset("A", p=0.5, fraction_excitatory=0.6, key=jax.random.key(1), n=size)
run = net.run(long, 0.1, key=jax.random.key(2), currents=True)
currents = -jnp.asarray(run.currents.excitatory)[..., None]  # [time, kind, region], pA into a pyramidal cell
levers = {
    "all at the soma": {"E": 0.3, "I": 0.3, "external": 0.3},
    "excitation apical": {"E": -0.3, "I": 0.3, "external": -0.3},
}
moments = {name: Dipole.conductance(lever)(currents)[:, 0] for name, lever in levers.items()}

window = run.ts > run.ts[-1] - 250.0
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for kind, colour in zip((0, 1, 2), (plot.BLUE, plot.RED, plot.GREY), strict=True):
    label = ("excitatory", "inhibitory", "external")[kind]
    plot.axes(left).plot(run.ts[window], currents[window, kind, 0], color=colour, label=label)
left.set(xlabel="time (ms)", ylabel="mean current into\nan excitatory cell (pA)")
for (name, Q), colour in zip(moments.items(), (plot.BLUE, plot.ORANGE), strict=True):
    plot.axes(right).plot(run.ts[window], Q[window] - Q.mean(), color=colour, label=name)
right.set(xlabel="time (ms)", ylabel="moment of 50,000 cells\nabout its mean (nA m)")
for ax in (left, right):
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0))
plt.close(figure)
figure

# %% [markdown]
# ## From a column to a region
#
# A region of 20 cm² is two thousand patches of 1 mm² (drawn are 900 of 1.5 mm by 1.5 mm). If all of them moved together
# they would make a hundred times what is measured; if none agreed, $\sqrt{n}$ of one. The moment of a region is a
# statement about how far activity agrees. How far it does in a brain the curve does not say; and the region is flat here,
# while opposite walls of a fold cancel besides.

# %%
step = 3.0 if short else 1.5  # mm
side = np.arange(step / 2, np.sqrt(2000.0), step)
patches = np.stack([*np.meshgrid(side, side), np.zeros((len(side),) * 2)], axis=-1).reshape(-1, 3)
one = 0.75 * step**2  # nA m: 0.5 to 1 nA m per mm^2 is the ceiling of the literature
coherence = np.geomspace(0.3, 300.0, 25)
region = jax.jit(jax.vmap(lambda xi: region_rms(one, patches, xi)))(coherence)
figure, ax = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
plot.axes(ax).plot(coherence, region, color=plot.BLUE)
for limit, label in ((one * np.sqrt(len(patches)), "independent"), (one * len(patches), "all in step")):
    ax.axhline(limit, color=plot.GREY, ls=":", lw=1)
    ax.annotate(label, (300.0, limit), (0, 3), textcoords="offset points", fontsize=8, ha="right")
ax.axhspan(1.0, 100.0, color=plot.GREEN, alpha=0.12, lw=0)
ax.annotate("what brain responses make", (0.3, 6.0), fontsize=8, color=plot.GREEN)
ax.set(xscale="log", yscale="log", xlabel="coherence length (mm)", ylabel="rms moment of 20 cm² (nA m)", ylim=(1, 3000))
plt.close(figure)
figure

# %% [markdown]
# ## Through the head
#
# The same source, 10 nA m along the normal of the cortex, through a real subject's head (a boundary-element model),
# through the sphere that fits it and through an infinite medium without return currents. The sphere is a fair
# approximation where the source is tangential, as this one was chosen to be; the infinite medium is not. Of radial sources,
# of which a sphere shows nothing, these maps say nothing.

# %%
sample = data / "recordings" / "sample"
forward = mne.read_forward_solution(sample / "sample-oct4-meg-fwd.fif", verbose="error")
info = mne.read_evokeds(sample / "sample-audvis-ave.fif", 0, verbose="error").info
radius, origin = (1e3 * x for x in mne.bem.fit_sphere_to_headshape(info, units="m", verbose="error")[:2])
near = [5, 10]  # sources that lie too near to the skull for a BEM
normals = np.delete(mne.convert_forward_solution(forward, force_fixed=True, verbose="error")["source_nn"], near, axis=0)

lead = LeadField.from_mne(forward, omit=near)
mags = [name for name, kind in zip(lead.ch_names, lead.ch_types, strict=True) if kind == "mag"]
head, sensors = lead.pick(mags), Sensors.from_info(info).pick(mags)
out = np.asarray(head.region_positions) - origin
radial = np.abs(np.sum(out * normals, axis=1)) / np.linalg.norm(out, axis=1)
strength = np.linalg.norm(head.gain, axis=0)
usual = (strength > np.percentile(strength, 75)) & (strength < np.percentile(strength, 95))
source = int(np.argmin(np.where(usual, radial, 1.0)))  # the most tangential of the sources that are well seen
place, along = np.asarray(head.region_positions)[source][None], normals[source][None]
models = {
    "the subject's head": head.gain[:, source],
    "a sphere": LeadField.sphere(place, along, sensors, origin).gain[:, 0],
    "an infinite medium": LeadField.infinite(place, along, sensors).gain[:, 0],
}
truth = np.asarray(models["the subject's head"])
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
limit = 10 * np.abs(truth).max()
for ax, (name, gain) in zip(axes, models.items(), strict=True):
    plot.topography(sensors.layout(), 10 * np.asarray(gain), "field (fT)", ax, limit=limit)
    off = np.linalg.norm(gain - truth) / np.linalg.norm(truth)
    ax.set_title(name + (f", {off:.0%} off" if off > 0 else ""), loc="left", fontsize=10)
plt.close(figure)
figure

# %% [markdown]
# ## At the sensors
#
# The network's moment through the subject's head to the best magnetometer, against the noise of the instrument. Even in
# step a single column is lost in it at higher frequencies. A region of such columns that agree over 3 mm would be far
# above it, and far above what is measured: some 25 fT/√Hz at 10 Hz in a real recording at rest (one CTF
# channel), brain and surroundings together. Cells in cortex are far less in step than in this network.

# %%
best = int(np.argmax(np.abs(truth)))
Q = moments["excitation apical"][run.ts > 50.0]
f, column = jnm.observe.psd(Q * truth[best], dt=0.1, segment=50.0 if short else 200.0)
noise = SensorNoise.white(sensors.pick([mags[best]]), knee_hz=5.0).psd(f[1:])[:, 0]
figure, ax = plt.subplots(figsize=(5.8, 3.5), layout="constrained")
shown = (f > 0) & (f < 300)
gain = float(region_rms(1.0, patches, 3.0))  # patches of a region that agrees over 3 mm
plot.axes(ax).plot(f[shown], np.sqrt(column[shown]), color=plot.BLUE, label="one column, 50,000 cells")
ax.plot(
    f[shown], gain * np.sqrt(column[shown]), color=plot.ORANGE, label=f"{len(patches)} columns in agreement over 3 mm"
)
ax.plot(f[1:][shown[1:]], np.sqrt(noise)[shown[1:]], color="black", ls=":", label="noise of the magnetometer")
ax.set(xlabel="frequency (Hz)", ylabel="amplitude density (fT/√Hz)", yscale="log", xlim=(0, 300))
ax.legend(frameon=False, fontsize=8)
plt.close(figure)
figure
