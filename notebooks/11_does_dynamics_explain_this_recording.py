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
# # Does dynamics explain this recording?
#
# Three real recordings, three questions of growing weight. One MEG channel: are the units right, and how low is the floor?
# One resting EEG: can a neural mass be the source of its alpha rhythm, and what would we then know of the mass? One evoked
# response of a whole helmet: do a network and an input in a certain place explain it better than nothing?
#
# The recordings are in the folder `JNM_DATA` (PyMVPA's CTF channel, transfreq's EEG, the sample subject of MNE-Python).
# In the short mode (`JNM_SHORT=1`) posteriors are Laplace's alone and two places of entry are compared instead of four.

# %%
import os
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import mne
import numpy as np

import jnm
from jnm import plot
from jnm.studies import resting
from jnm.studies.evoked.closed_form import with_delays
from jnm.studies.evoked.evidence import Entry, fit_entry
from jnm.studies.evoked.fit import View, share
from jnm.studies.evoked.hypotheses import entries
from jnm.studies.evoked.model import INTERVAL, StruckNetwork
from jnm.studies.evoked.regions import matched

short = os.environ.get("JNM_SHORT") == "1"
data = Path(os.environ.get("JNM_DATA", "../../shared/data")) / "recordings"

# %% [markdown]
# ## One channel: units and noise
#
# A CTF gradiometer of a living head, 5 s in four epochs. The fit is a white floor and a 1/f part, the model of
# `jnm.meg.SensorNoise`. **What this shows:** some tens of fT/√Hz at 10 Hz and about 5 above 80 Hz, so units are femtotesla
# and nothing is off by a power of ten. **What it does not:** where the floor of the instrument is. The spectrum still falls
# at the end of the band, so floor and knee trade against each other, and their intervals span factors of several.

# %%
channel = resting.channel_noise(*resting.read_epochs(data / "tueb_meg.dat.gz", "MLC11"))
print(channel)
figure = channel.plot()
plt.close(figure)
figure

# %% [markdown]
# ## Resting EEG: two masses, one spectrum
#
# A Jansen-Rit column and an exactly reduced pair of populations (NMM2), each at a stable rest in white noise, over a
# background. The band is the posterior prediction, the dashed lines are the parts of the most probable model.
#
# **What this shows:** either mass resonates where the rhythm is. **What it does not:** which of them is right (their
# evidence differs by about as much as the choice of priors would change it), or that alpha is a damped resonance at all: a
# spectrum alone does not tell one from a limit cycle in noise. The bump near 17 Hz, twice the alpha frequency, neither model
# has; a linear resonance cannot make it. Where the band sags below the peak (NMM2; in short mode both), Laplace's posterior
# is straight where the true one, along which the peak stays, is bent: draws leave it. Those of NUTS do not. The NMM2
# circuit is known for gamma; with membranes of 20 ms (its authors' have 8) it rings at 8.7 Hz only with inhibitory synapses
# of some 26 ms (5).

# %%
raw = mne.io.read_raw_fif(data / "transfreq_sample_resting.fif", verbose="error")
electrodes = jnm.meg.SpectralData.from_mne(raw, band=(3.0, 45.0), segment=2_000.0, picks="eeg")
fits = [
    resting.fit_alpha(electrodes, "Oz", "Jansen-Rit", key=jax.random.key(0), nuts=not short, draws=150),
    resting.fit_alpha(electrodes, "Oz", "NMM2", key=jax.random.key(1)),
]
for fit in fits:
    print(fit, end="\n\n")

# %%
from jnm.plot.resting import rhythm

figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for fit, ax in zip(fits, axes, strict=True):
    rhythm(fit, ax)
plt.close(figure)
figure

# %% [markdown]
# ## An evoked response: where does the input come in?
#
# Six trials of a tone in the right ear. Ninety columns with conduction delays rest; a brief input strikes those about a
# place. Its strengths are solved for, a dozen more numbers (rates, delays, onset, scale) found by Gauss-Newton; Laplace's
# evidence counts 24 independent samples a channel in 300 ms. The yardstick is silence: no response at all.

# %%
sample = data / "sample"
files = [sample / f"sample-{name}.fif" for name in ("audvis-ave", "audvis-cov", "oct4-meg-fwd")]
evoked = jnm.meg.EvokedData.from_mne(*files, condition="Right Auditory")
connectome, lead = matched(None, jnm.meg.LeadField.from_mne(files[2], sample / "sample-parcels.json"))
times = np.arange(1, round(300 / INTERVAL) + 1) * INTERVAL
view, brain = View.of(evoked, lead, times), with_delays(StruckNetwork.of(connectome))
places = entries(np.asarray(lead.region_positions))
names = ("auditory", "visual") if short else ("auditory left", "auditory", "visual", "everywhere")
found = {name: fit_entry(brain, view, Entry(places[name])) for name in names}
silence = fit_entry(brain, view._replace(gain=0 * view.gain + 1e-12), Entry(places["visual"]), steps=1)
for name, fit in found.items():
    moments = fit.moments(300.0)
    print(
        f"{name:15s} {len(places[name]):3d} regions: log evidence {fit.log_evidence - silence.log_evidence:+6.1f} to silence, "
        f"explains {share(view.errors(moments), view.totals, view.noise):6.3f} (fitted), largest moment "
        f"{np.abs(moments).max():.0f} nA m"
    )

# %%
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
plot.axes(ax).plot(times, view.totals / evoked.rank, color="black", label="measured")
for (name, fit), colour in zip(found.items(), (plot.BLUE, plot.ORANGE, plot.GREEN, plot.RED), strict=False):
    ax.plot(times, view.errors(fit.moments(300.0)) / evoked.rank, color=colour, label=f"left by {name}")
ax.axhline(evoked.noise_variance, color="black", lw=0.8, ls=":", label="noise")
ax.set(xlabel="time after the tone (ms)", ylabel="whitened power", ylim=(0, None))
ax.legend(frameon=False, fontsize=8)
plt.close(figure)
figure

# %% [markdown]
# **What this shows:** no place of entry earns its parameters; what they leave is nearly what was measured (three starts of
# the search, which ends where a step gains less than half a nat, so a better valley may have been missed). **What it does
# not:** that the response comes from nowhere near auditory cortex. The parcels are k-means clusters with one fixed
# orientation each, which keeps 12 to 99 % of their sources' gain, so a place may be right and its field still wrong; the
# averages of six trials drift, and the errors are taken for independent. Moments of tens of nA m and more, where evoked
# sources have 1 to 10, say the same: the fit buys back by amplitude what cancels within a parcel. Held-out sites and later
# time, and baselines without dynamics, are in `jnm fit` (one hypothesis: input everywhere).
