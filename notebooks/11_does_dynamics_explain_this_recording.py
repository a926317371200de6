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
# One resting EEG: can a neural mass be the source of its alpha rhythm, and what would we then know of the mass? Evoked
# responses of a whole helmet: do a network and an input in a certain place explain them better than nothing?
#
# The recordings are in the folder `JNM_DATA` (PyMVPA's CTF channel, transfreq's EEG, the sample subject of MNE-Python).
# In the short mode (`JNM_SHORT=1`) there is one mass and its posterior is Laplace's, and of the evoked responses one is
# asked, about two places of entry, in few steps.

# %%
import json
import os
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import mne
import numpy as np

import jnm
from jnm import plot
from jnm.studies import resting
from jnm.studies.evoked.fit import View
from jnm.studies.evoked.model import INTERVAL

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
# has; a linear resonance cannot make it. Where the band sags below the peak (NMM2; in short mode Jansen-Rit), Laplace's
# posterior is straight where the true one, along which the peak stays, is bent: draws leave it. Those of NUTS do not. The
# NMM2 circuit is known for gamma; with membranes of 20 ms (its authors' have 8) it rings at 8.7 Hz only with inhibitory
# synapses of some 26 ms (5).

# %%
raw = mne.io.read_raw_fif(data / "transfreq_sample_resting.fif", verbose="error")
electrodes = jnm.meg.SpectralData.from_mne(raw, band=(3.0, 45.0), segment=2_000.0, picks="eeg")
fits = [resting.fit_alpha(electrodes, "Oz", "Jansen-Rit", key=jax.random.key(0), nuts=not short, draws=150)]
if not short:
    fits.append(resting.fit_alpha(electrodes, "Oz", "NMM2", key=jax.random.key(1)))
for fit in fits:
    print(fit, end="\n\n")

# %%
from jnm.plot.resting import rhythm

figure, axes = plt.subplots(1, len(fits), figsize=(5.5 * len(fits), 3.8), layout="constrained", squeeze=False)
for fit, ax in zip(fits, axes[0], strict=True):
    rhythm(fit, ax)
plt.close(figure)
figure

# %% [markdown]
# ## Evoked responses: where does the input come in?
#
# Averages of few trials: tones in the left or the right ear, a checkerboard to the right (the file has no fourth). Ninety
# columns with conduction delays rest; a brief input strikes those about a place, both auditory cortices, visual cortex or,
# where none of these stimuli should enter, the hand area. Its strengths are solved for, a dozen more numbers (rates, speed,
# onset, scale) found by Gauss-Newton. Each hypothesis stands trial three ways: by Laplace's evidence, which counts 24
# independent samples a channel in 300 ms, beside silence, that is no response at all; at sensor sites the fit did not see
# (one fifth in turn); and in later time (fitted up to 150 ms). Its rivals have the same regions of entry: the network
# without connections, with those of other regions, with the input's time course in shuffled blocks; and gamma functions
# instead of neurons. The minimum norm has neither dynamics nor an entry.

# %%
sample = data / "sample"
evoked, cov, forward = (sample / f"sample-{name}.fif" for name in ("audvis-ave", "audvis-cov", "oct4-meg-fwd"))
parcels = json.loads((sample / "sample-parcels.json").read_text())
parcels["parcel_of_source"][5] = parcels["parcel_of_source"][10] = -1  # they lie too near to the skull for a BEM
few = {"conditions": "Right Auditory", "entries": ("auditory", "visual"), "folds": 2, "permutations": 1, "steps": 2}
found = jnm.studies.compare_entries(evoked, forward, cov, parcels=parcels, progress=False, **(few if short else {}))
print(found)

# %%
figure = found.plot()
plt.close(figure)
figure

# %%
lead = jnm.meg.LeadField.from_mne(forward, parcels)
times = np.arange(1, round(300 / INTERVAL) + 1) * INTERVAL
figure, axes = plt.subplots(
    1, len(found.conditions), figsize=(4 * len(found.conditions), 3.3), layout="constrained", squeeze=False
)
for condition, ax in zip(found.conditions, axes[0], strict=True):
    average = jnm.meg.EvokedData.from_mne(evoked, cov, forward, condition=condition)
    view = View.of(average, lead, times)
    plot.axes(ax).plot(times, view.totals / average.rank, color="black", label="measured")
    asked = (score for score in found.scores if score.condition == condition)
    for score, colour in zip(asked, (plot.BLUE, plot.ORANGE, plot.GREEN), strict=False):
        left = view.errors(score.fitted.moments(300.0)) / average.rank
        ax.plot(times, left, color=colour, label=f"left by {score.entry}")
    ax.axhline(average.noise_variance, color="black", lw=0.8, ls=":", label="noise")
    ax.set(xlabel="time after the stimulus (ms)", ylabel="whitened power", ylim=(0, None), title=condition)
figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=5, loc="outside lower center")
plt.close(figure)
figure

# %% [markdown]
# **What this shows:** the checkerboard's response enters at visual cortex: that hypothesis is the most probable by far, and
# the other two are no better than silence. For the tones it is not so. To the left ear no entry beats silence; to the right
# ear the hand area wins, the hypothesis that was there to lose, and that is a warning, not a finding. Half to two thirds of
# what there is to explain is one straight drift of each channel, which no brief input makes. With each channel's line taken
# out beforehand (`detrend(1)` of MNE's averages, in a run of its own that had all sources in) the same hypotheses win,
# checkerboard and right ear by 58 and 23 nats to silence, and of the left ear still nothing is told: the drift hides the
# evidence, it does not make it.
#
# **What it does not:** dynamics. Of later time no hypothesis predicts anything: the fitted responses are over when it
# begins. With its input in shuffled blocks the winner of the right ear would be more probable still (by 6 nats), that of the
# checkerboard as probable: where it enters is told, its course in time is not. Gamma functions at the same regions do as well
# or better, so nor are neurons told. Connections add nothing that others, or none, would not (weak ones: strong ones ring,
# which the bounds of the fit exclude), so neither the coupling nor the speed is told, whose interval is that of its prior; of
# a simulated response with two of twelve regions struck (in the tests) the entry is found as surely as here, and the coupling
# no better. The minimum norm explains six times more of unseen sites, for it may follow the drift.
#
# **Amplitudes.** The largest moments, 55 to 155 nA m, are above the 10 of a usual evoked source, yet possible: hundreds of
# thousands of cells in step, a square centimetre or two at the highest density known (1 nA m/mm²). Two things make them
# large: opposite walls cancel in a parcel, of whose sources' gain a median of 59 % (10 at least) is kept; and where one fixed
# orientation a parcel is off, amplitude buys back what it misses. The search ends where a step gains less than half a
# nat; going on to a hundredth moves the leading evidences by .5 at most (one loser's, -12 to -1, by eleven).
