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
# # Where in a sweep is the interesting regime, and would MEG see it?
#
# A sweep draws a map of states, and it is tempting to call its most colourful corner interesting. But a state that
# leaves no trace at the sensors cannot be told from silence by any recording. We sweep the drive and the coupling of
# a brain network, and lay beside the map of its states the map of what a helmet would see of them.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import meg, observe, plot
from jnm.studies import recovery  # for the helmet and the head of the demonstration

short = os.environ.get("JNM_SHORT") == "1"
n_regions, n_drives, n_gains = (20, 6, 6) if short else (90, 18, 16)
burn_in, watch = (200.0, 500.0) if short else (500.0, 1_000.0)  # ms

# %% [markdown]
# **The network and the helmet.** PING nodes on the synthetic connectome, a canonical Neuromag helmet, a sphere for the
# head. A PING node alone rests below a drive of 5.993 and makes gamma above.

# %%
brain = jnm.datasets.connectome(n_regions=n_regions).normalised("rows")
net = jnm.Network(jnm.PING(IE=2.0, sigma=0.05), brain, jnm.Linear(gain=1.0))
sensors = meg.Sensors.canonical("neuromag", translation_mm=recovery.HELMET_SHIFT)
magnetometers = sensors.pick([name for name, unit in zip(sensors.ch_names, sensors.units, strict=True) if unit == "fT"])
lead = meg.LeadField.sphere(brain.centres, brain.orientations, magnetometers, jnp.asarray(recovery.FIT_CENTRE))
dipole = meg.Dipole.qif(tau_m=8.0)  # the default: 50,000 pyramidal cells a region, half of them aligned
FLOOR = 3.0  # fT/sqrt(Hz): the white noise of these magnetometers

# %% [markdown]
# **One function of a model.** It returns the state of the network (rate, swing, common rhythm) and the spectrum of the
# field, without the noise of the sensors, which we know and add in our heads.


# %%
def seen(model, key):
    """What the network does, and what reaches the magnetometers."""

    def keep(t, y):
        return y.r[0], lead(dipole(model.source(t, y, jnm.Drive())))

    run = jnm.simulate(
        model, burn_in + watch, 0.05, key=key, save_every=1.0, discard=burn_in, save=keep, block=100, throw=False
    )
    rate, field = run.ys  # [time, region] in 1/ms, [time, channel] in fT
    f_hz, density = observe.psd(field, 1.0, segment=250.0)
    band = (f_hz >= 8) & (f_hz <= 100)
    together = jnp.var(rate.mean(axis=1)) / jnp.mean(jnp.var(rate, axis=0))
    return {
        "rate": 1000 * rate.mean(),
        "swing": 1000 * jnp.mean(jnp.std(rate, axis=0)),
        "synchrony": together,
        "psd": density[band],
    }


where = {"drive": jnm.at(lambda m: m.node.I, 0), "gain": lambda m: m.coupling.gain}
values = {"drive": np.linspace(0.0, 10.0, n_drives), "gain": np.linspace(0.0, 12.0, n_gains)}
grid = jnm.grid(net, where, values)
result = jnm.sweep(seen, grid, key=jax.random.key(0), dims={"psd": ("frequency", "channel")}, progress=False)
f_hz = np.fft.rfftfreq(250, 1e-3)
result = result.assign_coords(frequency=("frequency", f_hz[(f_hz >= 8) & (f_hz <= 100)], {"units": "Hz"}))
print(f"{grid}: {int(result.ok.sum())} are complete and finite")

# %% [markdown]
# **Would MEG see it?** Take the best magnetometer at its best frequency. In a minute, Welch's method averages enough
# segments for an excess of power over the noise to stand out by five of its standard deviations once it is
# $5/\sqrt{\text{averages}}$ of the noise power: that is the weakest rhythm a minute of recording shows.

# %%
amplitude = np.sqrt(result.psd.max(("channel", "frequency")))  # fT/sqrt(Hz)
peak_hz = result.psd.max("channel").idxmax("frequency")
averages = observe.averages(60_000, 1.0, segment=250.0)
minute = FLOOR * np.sqrt(5 / np.sqrt(averages))
visible = amplitude > minute
print(f"a minute gives {averages:.0f} averages: visible from {minute:.2f} fT/sqrt(Hz) on, half the noise")
shares = float(visible.mean()), float((amplitude > FLOOR).mean())
print(f"{shares[0]:.0%} of the members would be seen in a minute, {shares[1]:.0%} exceed the noise")

# %% [markdown]
# ## One figure

# %%
figure, ax = plt.subplot_mosaic("ABC;DEF", figsize=(11.5, 6.6), layout="constrained", height_ratios=[1.25, 1])
synchrony = result.synchrony.where(result.swing > 0.05 * result.swing.max())  # of what swings at all
plot.sweep(result.swing, ax["A"], kind="map", label="swing of a region's rate (spikes/s)", cmap="magma")
plot.sweep(synchrony, ax["B"], kind="map", label="share common to all regions", cmap="cividis")
plot.sweep(amplitude.rename("amplitude"), ax["C"], kind="map", label="best magnetometer (fT/√Hz)", log=True)
drives, gains = result.drive.values, result.gain.values
for name, title in zip(
    "ABC", ("how strongly it swings", "how much it swings as one", "what a helmet would see"), strict=True
):
    ax[name].set(xlabel="coupling gain", ylabel="drive to E" if name == "A" else "")
    ax[name].set_title(title, loc="left", fontweight="bold", fontsize=10)
levels = dict(levels=[minute, FLOOR], colors="white", linestyles=["--", "-"], linewidths=1.4)
ax["C"].contour(gains, drives, amplitude, **levels)
handles = [plt.Line2D([], [], color="white", ls=ls, lw=1.4) for ls in ("--", "-")]
look = dict(fontsize=8, facecolor="black", framealpha=0.55, edgecolor="none")
legend = ax["C"].legend(handles, ["seen in a minute", "sensor noise"], loc="lower left", **look)
plt.setp(legend.get_texts(), color="white")

at = {"D": (0.2, 0.35), "E": (0.5, 0.55), "F": (0.95, 0.85)}  # where in the map, as shares of its sides
noise = np.full(result.frequency.size, FLOOR)
for name, colour, number in zip("DEF", (plot.ORANGE, plot.GREEN, plot.RED), "123", strict=True):
    i, j = (round(share * (n - 1)) for share, n in zip(at[name], (n_drives, n_gains), strict=True))
    member, panel = result.isel(drive=i, gain=j), plot.axes(ax[name])
    spectrum = np.sqrt(member.psd.max("channel"))
    total = np.sqrt(member.psd.max("channel") + FLOOR**2)
    panel.fill_between(result.frequency, 0, noise, color=plot.GREY, alpha=0.25, lw=0, label="sensor noise")
    panel.plot(result.frequency, total, color=plot.GREY, lw=1, label="brain and noise")
    panel.plot(result.frequency, spectrum, color=colour, lw=1.8, label="brain")
    panel.set(xlabel="frequency (Hz)", yscale="log", xlim=(8, 100), ylim=(0.03, 1_000))
    panel.set_title(f"{number}: drive {drives[i]:.1f}, gain {gains[j]:.1f}", loc="left", fontsize=10)
    for map_ in "ABC":
        ax[map_].plot(gains[j], drives[i], "o", ms=13, mfc=colour, mec="white", mew=1.2)
        ax[map_].annotate(number, (gains[j], drives[i]), color="white", ha="center", va="center", fontsize=8)
ax["D"].set_ylabel("amplitude density (fT/√Hz)")
ax["F"].legend(frameon=False, fontsize=8)
plt.close(figure)
figure

# %% [markdown]
# What the picture says, in numbers:

# %%
loudest = amplitude.argmax(("drive", "gain"))
best = result.isel(loudest)
print(f"strongest at the sensors: drive {float(best.drive):.1f}, gain {float(best.gain):.1f}:")
print(f"  {float(amplitude.max()):.0f} fT/sqrt(Hz) at {float(peak_hz.isel(loudest)):.0f} Hz")
strong = result.swing > 0.5 * result.swing.max()
for name, chosen in (("as one", strong & (synchrony > 0.9)), ("each for itself", strong & (synchrony < 0.5))):
    seen_per_swing = float((amplitude / result.swing).where(chosen).median()) if chosen.any() else np.nan
    print(
        f"{int(chosen.sum()):3d} members swing strongly, {name}: {seen_per_swing:.2f} fT/sqrt(Hz) per spike/s of swing"
    )
edge = (amplitude > minute) & (result.swing < 0.05 * result.swing.max())
print(f"{int(edge.sum())} members hardly swing (below 5 % of the strongest), and would yet be seen in a minute")
