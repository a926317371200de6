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
# # What can MEG never tell me?
#
# A fit always returns numbers. Some of them the recording has decided, others it has not touched. Four kinds of silence:
# parameters of which only a product is seen, sources without a field, neighbours that share one field, and dynamics that
# do not survive the way to the sensors. For each we ask the Fisher information, which answers before anybody records.
#
# The head, the helmet and the noise are those of a real subject (the sample data of MNE-Python, in the folder
# `JNM_DATA`); all activity is simulated.

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
from jnm.fitting import information
from jnm.fitting.linear_csd import Recorded
from jnm.meg import Dipole, LeadField, SensorNoise
from jnm.plot import neuron_number as pictures
from jnm.studies.meg_recovery import recover_from_meg, two_heads
from jnm.studies.neuron_number import neuron_number_study
from jnm.studies.neuron_number_bound import neuron_bound
from jnm.studies.neuron_number_model import Protocol
from jnm.studies.neuron_number_record import DipoleView

short = os.environ.get("JNM_SHORT") == "1"
sample = Path(os.environ.get("JNM_DATA", "../../shared/data")) / "recordings" / "sample"

# %%
cov = mne.read_cov(sample / "sample-audvis-cov.fif", verbose=False)
info = mne.read_evokeds(sample / "sample-audvis-ave.fif", verbose=False)[0].info
info = mne.pick_info(info, [i for i, name in enumerate(info["ch_names"]) if name in cov.ch_names])
forward, near = sample / "sample-oct4-meg-fwd.fif", [5, 10]  # sources that lie too near to the skull for a BEM
lead = LeadField.from_mne(forward, sample / "sample-parcels.json", info=info, omit=near)
noise = SensorNoise.from_mne(cov, info, sfreq=info["sfreq"])
lead = lead.pick(noise.ch_names)
print(lead, noise, sep="\n")

# %% [markdown]
# ## A product shows, its factors do not: how many neurons?
#
# A population of $n$ independent neurons, each unit of whose synaptic input makes a moment $g$ (nA m), fluctuates with a
# power that goes as $g^2/n$. Three populations below, a hundredfold apart in $n$, make the *same* ongoing field. A known
# weak current separates them: the answer goes as $g$. (The neurons are `jnm.Pyramidal`, seen by one parcel of the left
# temporal lobe through the subject's BEM; the sensors are combined to the one channel that loses nothing.)

# %%
view = DipoleView.of(lead, noise, "parcel-32")
cells, protocol = jnm.Pyramidal(eta=0.0, C=8.0), Protocol()
numbers, gains = np.array([1e3, 1e4, 1e5]), 1000.0 * np.sqrt([0.1, 1.0, 10.0])
f_hz = protocol.f_hz
with jax.enable_x64(True):
    exact = jnm.Pyramidal(eta=0.0, C=8.0)
    H = np.asarray(jnm.stability.transfer_function(exact, protocol.lines_hz, output="source").value)
    rate = np.asarray(jnm.stability.closed_loop_psd(exact, protocol.f_hz, 1.0).value)
heard = (15.0 * 8.0) ** 2 / (
    1 + (2 * np.pi * protocol.f_hz / 1000 * 10.0) ** 2
) ** 2  # tau_m C |H|: from rate to source

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
t = np.arange(0.0, 250.0, 1.0)
for n, g, colour, style in zip(numbers, gains, (plot.ORANGE, plot.GREEN, plot.BLUE), ("-", "--", ":"), strict=True):
    label = f"{n:,.0f} neurons of {g / n:.2g} nA m"
    plot.axes(left).plot(f_hz, np.sqrt(g**2 * heard * rate / n), style, color=colour, lw=2.2, label=label)
    wave = 2 * np.real((g * H * protocol.coefficients) @ np.exp(2j * np.pi * protocol.lines_hz[:, None] * t / 1000))
    plot.axes(right).plot(t, wave, color=colour)
left.axhline(np.sqrt(view.density(np.array([40.0]))[0]), color=plot.GREY, lw=1)
left.annotate("noise of the helmet", (4, np.sqrt(view.density(np.array([40.0]))[0])), va="bottom", color=plot.GREY)
right.axvspan(0, protocol.width_ms, color=plot.GREY, alpha=0.3, lw=0)
left.set(xlabel="frequency (Hz)", ylabel="ongoing moment (nA m/√Hz)", yscale="log", ylim=(1e-2, 20))
right.set(xlabel="time after the pulse (ms)", ylabel="evoked moment (nA m)")
left.legend(frameon=False, loc="upper left")
plt.close(figure)
figure

# %% [markdown]
# In words, for 10,000 neurons: from ongoing activity alone; with pulses whose strength in the cells nobody knows; and with
# known pulses. The number rests on the strength of the current: an error of 10 % in it is one of 20 % in $n$.

# %%
for what, options in (
    ("ongoing activity alone", {"evoked": False}),
    ("and pulses of unknown strength", {"pulse_known": False}),
    ("and known pulses", {}),
):
    print(f"{what:>32}: {neuron_bound(view, cells, 1e4, 1000.0, protocol, **options).words()}")

# %% [markdown]
# ### The effective number of neurons from MEG
#
# Records of 40 s at rest and 80 pulses are simulated and fitted, $X$, $C$, $\delta$, gain, $n$ and the level of the noise
# all free, with a 90 % interval from the profile of the likelihood. Below a signal-to-noise of about 0.2 (of densities, at
# the peak) the interval of $n$ opens upwards and the answer is "unidentified: more than ...". The records on the left are
# of spiking neurons (in short mode draws from the theory), those on the right draws from the theory.

# %%
seeds, source = (4, "theory") if short else (20, "network")
found = neuron_number_study(view, jax.random.key(0), n=numbers, seeds=seeds, source=source)
limit = neuron_number_study(
    view, jax.random.key(11), n=1e4, gain=(60.0, 130.0, 200.0, 300.0, 500.0), seeds=seeds, source="theory"
)
print(found, limit, sep="\n\n")
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
pictures.numbers(found, left)
pictures.widths(limit, right)
plt.close(figure)
figure

# %% [markdown]
# Of all recordings of spiking neurons that were made for this question, 20 each where no other number is given:
#
# | true $n$ | neurons | 90 % intervals hold | median error | identified |
# |---|---|---|---|---|
# | 1,000 | QIF network, by the theory of many neurons (40 recordings) | 72 % | | |
# | 1,000 | the same, as the study takes them (below) | 90 % | 5.5 % | 100 % |
# | 10,000 | QIF network (52 recordings) | 88 % | 4 % | 100 % |
# | 100,000 | virtual ensemble, 4,000 stand for all | 95 % | 16 % | 100 % |
# | 100,000 | the same, of 3,160 nA m | 95 % | 7 % | 100 % |
#
# Errors are small throughout. The shares have standard errors of 5 to 9 %; only for a thousand neurons is too small a one no
# chance, and for two reasons. The power of such a network lies 10 % above a theory that is of first order in $1/n$. And its
# answers to the pulses scatter two to four times as much as the theory of many neurons claims: other cells answer otherwise
# by about 10 %, which new noise to the same cells does not, as if it hung on the few that are slow. `beyond_linear` measures
# both in networks of its own, and the study takes them into account (`jnm.studies.Beyond`).
#
# None of this makes a *real* population's neurons countable by itself. The moment assumed here, 1000 nA m per unit of
# input, is that of 5 cm² of cortex driven in step; $n$ is then the number of independent groups in it. A patch whose
# 50,000 cells are all independent makes a thousandth of it, and is lost a million times over in the noise of the helmet.

# %% [markdown]
# ## Sources without a field
#
# In a sphere a dipole that points to its centre makes no field outside, whatever its strength: the gradient of everything
# with respect to it is exactly zero, and no optimiser moves its parameters. In the subject's head, which is no sphere, the
# quietest direction of each source is merely quiet.

# %%
sensors = jnm.meg.Sensors.canonical("neuromag")
place, origin = np.array([[-60.0, 0.0, 60.0]]), np.array([0.0, 0.0, 45.0])
radial = (place[0] - origin) / np.linalg.norm(place[0] - origin)
tangential = np.cross(radial, [0.0, 1.0, 0.0]) / np.linalg.norm(np.cross(radial, [0.0, 1.0, 0.0]))
tilts = np.linspace(0.0, 90.0, 46)
free_sphere = np.asarray(LeadField.sphere(place, None, sensors, origin).gain)[:, 0]
mags = np.array([kind == "mag" for kind in sensors.ch_types])


def power(log_moment, tilt):
    """Of all magnetometers, fT^2."""
    direction = jnp.cos(tilt) * jnp.asarray(tangential) + jnp.sin(tilt) * jnp.asarray(radial)
    return jnp.sum((jnp.exp(log_moment) * jnp.asarray(free_sphere[mags]) @ direction) ** 2)


gradient = [float(jax.grad(power)(jnp.log(10.0), jnp.deg2rad(tilt))) for tilt in tilts]
free = LeadField.from_mne(forward, orientation="free", info=info, omit=near).pick(noise.ch_names)
white = np.linalg.pinv(np.asarray(noise.mixing, float))
sizes = np.linalg.svd(np.einsum("wc,csx->swx", white, np.asarray(free.gain)), compute_uv=False)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
plot.axes(left).plot(tilts, np.maximum(gradient, 1e-9), color=plot.BLUE)
left.set(xlabel="tilt from tangential to radial (degrees)", ylabel="∂ power / ∂ log moment (fT²)", yscale="log")
left.set_title("a dipole of 10 nA m in a sphere", fontsize=10)
plot.axes(right).hist(100 * sizes[:, 2] / sizes[:, 0], bins=30, color=plot.BLUE)
right.set(xlabel="quietest / loudest direction (%)", ylabel=f"sources (of {len(sizes)})")
right.set_title("the subject's head, field over noise", fontsize=10)
plt.close(figure)
print(f"radial: gradient {gradient[-1]:.1e} fT^2, tangential {gradient[0]:.1e}")
figure

# %% [markdown]
# ## Neighbours share one field
#
# How alike are the fields of two parcels, once channels are weighed by their noise? The correlation falls with distance,
# slowly, and the most alike pair (red; its maps on the left) differs by hardly more than a sign and a scale, which no fit
# knows beforehand. Of 90 patterns the helmet sees the first 17 above its noise, for a nanoampere metre in each hertz.

# %%
fields = white @ np.asarray(lead.gain, float)
unit = fields / np.linalg.norm(fields, axis=0)
alike = np.abs(unit.T @ unit)
centres = np.asarray(lead.region_positions)
apart = np.linalg.norm(centres[:, None] - centres, axis=-1)
upper = np.triu_indices(90, 1)
singular = np.linalg.svd(fields, compute_uv=False)
one, twin = np.unravel_index(np.argmax(np.where(np.eye(90), 0, alike)), alike.shape)

figure, axes = plt.subplots(1, 4, figsize=(15, 3.2), layout="constrained", width_ratios=(1.2, 1.2, 1, 1))
layout = lead.layout()[np.array([kind == "mag" for kind in lead.ch_types])]
magnetometers = np.asarray(lead.gain)[[kind == "mag" for kind in lead.ch_types]]
for ax, region in zip(axes[:2], (one, twin), strict=True):
    shown = magnetometers[:, region]
    plot.topography(layout, shown, "fT per nA m", ax, limit=float(np.abs(shown).max()))
    ax.set_title(lead.labels[region], fontsize=10)
plot.axes(axes[2]).plot(apart[upper], alike[upper], ".", ms=2, color=plot.GREY)
edges = np.arange(5, 160, 15)
which = np.digitize(apart[upper], edges)
middle = [np.median(alike[upper][which == k]) if np.any(which == k) else np.nan for k in range(1, len(edges))]
axes[2].plot((edges[1:] + edges[:-1]) / 2, middle, "o-", color=plot.BLUE)
axes[2].plot(apart[one, twin], alike[one, twin], "o", color=plot.RED)
axes[2].set(xlabel="distance of parcels (mm)", ylabel="likeness of their fields")
plot.axes(axes[3]).plot(np.arange(1, 91), singular, color=plot.BLUE)
axes[3].axhline(1.0, color=plot.GREY, lw=1)
axes[3].annotate("the noise of one channel in 1 s", (1, 1.0), va="bottom", color=plot.GREY, fontsize=9)
axes[3].set(xlabel="pattern", ylabel="field over noise (per nA m/√Hz)", yscale="log")
plt.close(figure)
print(f"{lead.labels[one]} and {lead.labels[twin]}, {apart[one, twin]:.0f} mm apart: likeness {alike[one, twin]:.2f}")
print(f"patterns above the noise at 1 nA m/sqrt(Hz): {np.sum(singular > 1)} of 90")
figure

# %% [markdown]
# ## What the way to the sensors takes
#
# Three coupled columns of Jansen and Rit rest in their own weak noise, at the places of three neighbouring parcels, in
# each twenty million cells in step (2 cm² of cortex). The same parameters, a minute of the same activity: once the moments
# themselves are recorded, once the sensors. The Fisher information of the cross-spectra says in words what is left.

# %%
order = np.argsort(apart[32])
place = lead.select([lead.labels[i] for i in order[:3]])
brain = jnm.Connectome.from_centres(centres[order[:4]], seed=0).subset([0, 1, 2]).normalised("rows")
column = jnm.JansenRit(p=0.3, sigma=0.02)
network = jnm.Network(column, brain, jnm.Linear(gain=50.0), speed=2.0, speed_range=(0.5, 20.0))
recorded = Recorded(network, Dipole.psp(cells=2e7))
band, bins = np.arange(4.0, 31.0, 1.0), np.ones((27, 1, 1))


def parameters(r):
    return r.model.coupling.gain, r.model.node.C, r.model.node.a, r.model.speed, r.model.node.sigma


def told(gain, density):
    given = (band, bins * np.eye(3 if gain is None else len(gain)), 60.0)
    loss = jnm.WhittleLoss(gain, given, noise=density, components=3, smear=1, band=(5.0, 29.0))
    every = parameters if gain is None else lambda r: (*parameters(r), r.dipole.log_scale)
    relative = {
        f"model.{name}": jnm.Positive() for name in ("coupling.gain", "node.C", "node.a", "speed", "node.sigma")
    }
    theta, build = jnm.free(recorded, every, relative)
    return information(loss, build, theta)


at_source = told(None, None)
at_sensors = told(np.asarray(place.gain, float), np.asarray(noise.csd(np.array([10.0]))[0], float))
print(f" moments: {at_source}\n\n sensors: {at_sensors}")

# %%
names = ["coupling", "C", "a", "speed", "noise sigma", "dipole scale"]
roof = 100.0
figure, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
plot.axes(ax)
for k, (there, colour, label) in enumerate(
    ((at_source, plot.GREEN, "moments recorded"), (at_sensors, plot.BLUE, "sensors"))
):
    sd, shift = np.array(list(there.sd.values())), 0.38 * (k - 0.5)
    ax.bar(np.arange(len(sd)) + shift, np.minimum(sd, roof), 0.36, color=colour, label=label)
    for j in np.flatnonzero(~np.isfinite(sd)):
        ax.annotate("never", (j + shift, 8.0), rotation=90, ha="center", va="center", color="white")
ax.axhline(0.5, color=plot.RED, ls=":", lw=1)
ax.annotate("vague above", (1.9, 0.5), ha="center", va="bottom", color=plot.RED)
ax.annotate("known", (len(names) - 1.19, 1.2e-3), rotation=90, ha="center", va="bottom", color=plot.GREEN)
ax.set(yscale="log", ylim=(1e-3, roof), ylabel="least sd, relative", xticks=range(len(names)))
ax.set_xticklabels(names)
ax.legend(frameon=False, loc="upper left", ncols=2)
plt.close(figure)
figure

# %% [markdown]
# From the moments themselves five parameters are told, the level of the noise to a percent. At the sensors all are a
# little less certain, and one is gone: more noise in the cells and a larger dipole are the same field. Of the four
# silences this is the cheapest to break: fix the scale, or evoke something whose size is known, as above.
#
# The Fisher information is that of a linear model at rest and of noise that is known; a real fit does worse, not better.

# %% [markdown]
# ## What ninety regions lose on the way
#
# The same for a whole brain, and not in theory alone. Ninety columns, alike, on the cortex of the subject hear each other
# over distances. Their coupling $K$, drive $p$ (the excitability), conduction speed and noise $\sigma$ differ from one
# simulated person to the next. A minute of each person is simulated in steps of time, sent through the boundary element
# model of the head into 305 noisy sensors, and fitted in frequency, which knows of no steps, three times over: from the
# moments themselves, through the same head, and through the sphere that would be taken for it without an MRI. The level
# of the sensors' noise is fitted too; the moment of a millivolt is taken as known, since the section above says that it
# must be.

# %%
origin = mne.bem.fit_sphere_to_headshape(info, units="mm", verbose=False)[1]
heads = two_heads(forward, sample / "sample-parcels.json", info, origin)
people, seconds = (2, 20.0) if short else (20, 60.0)
recovered = recover_from_meg(*heads, noise, jax.random.key(0), subjects=people, seconds=seconds)
print(recovered)
figure = recovered.plot()
plt.close(figure)
figure

# %% [markdown]
# Green: all moments are recorded; blue: the helmet and the right head; red: the helmet and a sphere. (Full length: 20
# people, a minute each. Bars are 90 % intervals, faint where they miss.)
#
# - Where the head is right, intervals mean what they say: 95 ± 2 % of them hold the truth for moments, 92 ± 3 % for
#   sensors.
# - On the way to the sensors they grow 3.5 times wider, as if a minute had been five seconds: coupling to ± 21 %, speed to
#   ± 20 %. The strength of the noise stays known to ± 0.8 %.
# - Coupling and drive go up and down against each other. Rest and rhythm of a column know only what it receives in all,
#   $p + K S$, and that to half a percent; how much of it comes from the others is told by coherence alone, which is what
#   field spread blurs. (Its number of synapses $C$ in place of $p$ trades with $K$ just so.)
# - The sphere is no small change. A quarter of its intervals hold the truth: noise 16 % too weak, coupling 29 % too
#   strong, drive 21 % too weak, claimed with intervals as narrow as before. One sign of it is left in the data: the sensors
#   seem 7 % noisier than their covariance says.
#
# What is assumed, and is not so in a real brain: columns alike, a connectome that is known, one direction for each parcel,
# a rest that weak noise does not leave.
