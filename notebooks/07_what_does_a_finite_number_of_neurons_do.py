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
# # What does a finite number of neurons do?
#
# A neural mass is the limit of infinitely many neurons, and in it a population at rest is silent in the spectrum. A
# cortical column has some ten thousand neurons, a simulated one a thousand. Their spikes come one at a time, and what
# they add to the mean field is *shot noise*. It is not white noise, and it is not weak where the population resonates
# (after Klinshov & Kirillov, 2022). Here it is taken in four ways, from a formula to the network itself.

# %%
import os
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import plot
from jnm.plot import finite_size
from jnm.stability import fixed_points
from jnm.studies import (
    FinitePopulation,
    finite_size_spectra,
    fit_finite_size,
    quasi_cycles,
    spectrum_bound,
    switching_times,
)

warnings.filterwarnings("ignore", message=".*made in float32")  # single precision is enough for noise
short = os.environ.get("JNM_SHORT") == "1"
key = jax.random.key(0)

# %% [markdown]
# ## The noise of clocks
#
# Uncoupled neurons with a constant input are clocks: of random phase, but regular. The spectrum of a population of them
# (`jnm.shot_noise_psd`, a closed form) falls as $f^3$ at low frequencies, five orders of magnitude below that of Poisson
# neurons of the same rate, and peaks at the rates at which most neurons fire.

# %%
f = np.geomspace(0.01, 4.0, 600)
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for (X, delta), colour in zip(((1.0, 0.3), (4.0, 0.2), (-1.0, 0.5)), (plot.BLUE, plot.ORANGE, plot.GREEN), strict=True):
    plot.axes(ax).plot(f, jnm.shot_noise_psd(f, X, delta, 1), color=colour, label=f"X = {X:g}, Δ = {delta:g}")
    ax.axhline(float(jnm.models.psi(X, delta)), color=colour, ls=":", lw=1)
ax.set(
    xscale="log", yscale="log", xlabel="frequency (cycles per τm)", ylabel="n × spectrum of the rate", ylim=(1e-7, 9)
)
ax.legend(frameon=False, title="dotted: Poisson neurons")
plt.close(figure)
figure

# %% [markdown]
# ## Four ways to the same spectrum
#
# | tier | what it keeps | cost of a step |
# |---|---|---|
# | linear theory, `jnm.stability.closed_loop_psd` | linear answer, noise of the resting state | none |
# | Gaussian path, `jnm.ShotNoise(model, n)` | the nonlinear mean field | that of a mass |
# | nested ensemble, `jnm.ShotNoise(model, n, members=1000)` | the noise follows its input, too | a thousand neurons |
# | network, `jnm.spiking.QIFNetwork` | everything | n neurons |
#
# Five populations: two of uncoupled neurons, one with instantaneous inhibition, the pyramidal population, and ING short
# of its Hopf point at $\eta = 5.32$.

# %%
cases = {
    "uncoupled, X = 1, Δ = 0.3": (jnm.NMM2(10.0, 5.0, 0.3, 1.0, 0.0), 1000, 250.0),
    "uncoupled, X = 4, Δ = 0.2": (jnm.NMM2(10.0, 5.0, 0.2, 4.0, 0.0), 1000, 250.0),
    "inhibition, order 0, C = −5": (jnm.NMM2(10.0, 5.0, 1.0, 5.0, -5.0, order=0), 1000, 250.0),
    "pyramidal, C = η = 10": (jnm.Pyramidal(), 1000, 260.0),
    "ING, η = 4.5": (jnm.ING(eta=4.5), 4000, 160.0),
}
if short:
    cases = {name: cases[name] for name in ("pyramidal, C = η = 10", "ING, η = 4.5")}


def measure(model, n, highest, age=20.0):
    """Runs of 100 tau_m, `age` of them after the random start; frequencies to `highest` Hz."""
    tau = float(model.tau_m)
    return finite_size_spectra(
        model, n, key=key, duration=(40 if short else 100) * tau, dt=0.02 * tau, discard=age * tau,
        runs=4 if short else 12, members=250 if short else 1000, lines=1 if short else 2, highest=highest,
    )  # fmt: skip


spectra = {name: measure(*case) for name, case in cases.items()}

# %%
figure, axes = plt.subplots(2, 3, figsize=(13, 6.4), layout="constrained")
for ax, (name, seen) in zip(axes.flat, spectra.items(), strict=False):
    finite_size.spectra(seen, ax)
    low = seen.n * seen.linear.min()
    ax.set_ylim(0.5 * max(low, 1e-4 * seen.n * seen.linear.max()), None)
    ax.set_title(f"{name}, n = {seen.n:g}", loc="left", fontsize=10)
for ax in axes[0, 1:], axes[1, 1:2]:
    for each in ax:
        each.set_ylabel("")
axes[1, 2].axis("off")
axes[1, 2].legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, loc="center", fontsize=11)
plt.close(figure)
figure

# %% [markdown]
# The power of each tier over that of the network, and the density at the peak over the network's, with one standard
# error. A tier is valid where both are 1.

# %%
for name, seen in spectra.items():
    print(f"{name}, n = {seen.n:g}")
    for tier in ("linear", "gaussian", "nested"):
        (power, s), (peak, e) = seen.power(tier), seen.peak(tier)
        print(f"    {tier:9s} power {power:5.2f} ± {s:4.2f}    peak {peak:5.2f} ± {e:4.2f}")

# %% [markdown]
# Far from oscillation all four agree in power within their errors, a few percent, and the cheapest is as good as the
# network. Close to the Hopf point linear theory and Gaussian paths promise too much: they miss that the fluctuating
# input modulates the noise. The nested ensemble has that. (Linear theory is not smeared by the Hann window, which costs
# a narrow peak some of its height.)

# %% [markdown]
# ## The network ages
#
# The phases of a network of deterministic neurons are random at its start only. Later its noise in common is weaker than
# that of independent clocks: presumably neurons that inhibit each other arrange their phases, which was not looked at
# here. So a number for "the spectrum of the network" must state its age, and a nested ensemble need not age as fast.

# %%
ing = "ING, η = 4.5"
ages = {20.0: spectra[ing]} | {age: measure(*cases[ing], age=age) for age in (() if short else (200.0, 1000.0))}
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained", sharey=True)
for (age, seen), colour in zip(ages.items(), (plot.BLUE, plot.GREEN, plot.RED), strict=False):
    for ax, estimate in ((left, seen.network), (right, seen.nested)):
        plot.axes(ax).errorbar(
            seen.f_hz, seen.n * estimate.mean, seen.n * estimate.error, color=colour, lw=1, label=f"after {age:g} τm"
        )
for ax, name in ((left, "network of 4,000"), (right, "nested ensemble for 4,000")):
    ax.plot(seen.f_hz, seen.n * seen.linear, color="black", lw=1, label="linear theory")
    ax.set(xlabel="frequency (Hz)", xlim=(20, 90))
    ax.set_title(name, loc="left", fontsize=10)
left.set_ylabel("n × density of the rate\n(1/ms² per Hz)")
left.legend(frameon=False, fontsize=9)
plt.close(figure)
figure

# %%
to_dimensionless = 7.5 * 1000 / 2  # from one-sided per Hz in 1/ms^2 to two-sided per cycle per tau_m in 1/tau_m^2
for age, seen in ages.items():
    top = np.argmax(seen.linear)
    scale = seen.n * to_dimensionless
    print(f"after {age:g} tau_m: n S at the peak, by linear theory {scale * seen.linear[top]:.2f}", end="")
    for name, each in (("network", seen.network), ("nested ensemble", seen.nested)):
        print(f", {name} {scale * each.mean[top]:.2f} ± {scale * each.error[top]:.2f}", end="")
    ratio, error = seen.power("nested")
    print(f"; power of the ensemble over the network's {ratio:.2f} ± {error:.2f}")

# %% [markdown]
# ## Weak noise matters: quasi-cycles
#
# Short of its Hopf point ING rests, yet n neurons of it show a rhythm: noise rings the bell. The amplitude falls as
# $1/\sqrt{n}$ and grows towards the Hopf point; the lines are linear theory, the points nested ensembles. Linear theory
# ends where the rhythm is a sizeable part of the mean.

# %%
etas = (2.0, 3.5, 4.5, 5.0)
sizes = (500.0, 2000.0, 8000.0) if short else (500.0, 2000.0, 8000.0, 32000.0)
rhythms = quasi_cycles(
    jnm.ING(), lambda m: m.eta, etas[1:3] if short else etas, sizes, key=key, dt=0.15, discard=150.0,
    duration=750.0 if short else 1500.0, members=100 if short else 500, runs=2 if short else 4,
)  # fmt: skip
figure = rhythms.plot("η")
plt.close(figure)
figure

# %% [markdown]
# ## Switching between two states
#
# An excitatory population can rest at two rates (MPR, $\eta = -5$, $C = 15$). Infinitely many neurons stay where they
# are; a few tens do not: their noise carries them over the saddle between. Runs that had not switched at the end are counted
# as such (censored), bars are 90 % intervals.

# %%
model = jnm.MPR()
low, saddle, high = (float(point.state.r) for point in fixed_points(model))
print("rates at rest (spikes/s):", [round(1000 * r, 1) for r in (low, saddle, high)])
common = dict(key=key, dt=0.2, window=20.0, duration=1000.0 if short else 3000.0, runs=8 if short else 20)
down = dict(start=high, border=(low + saddle) / 2)
up = dict(start=low, border=(saddle + high) / 2)
few = (12, 28) if short else (12, 16, 20, 28, 40)
networks = switching_times(model, few, **down, **common)
nested = switching_times(model, few, **down, members=200, **common)
back = switching_times(model, few[:1], **up, **common)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
finite_size.switching({"nested ensemble of 200": nested, "network": networks}, left)
t = np.linspace(0.0, common["duration"], 200)
for k, colour in zip((0, len(few) // 2, -1)[-len(few) :], (plot.ORANGE, plot.BLUE, plot.GREEN), strict=False):
    plot.axes(right).step(t / 1000, networks.survival(k, t), color=colour, label=f"n = {few[k]}")
    right.plot(t / 1000, np.exp(-t / networks.mean[k]), color=colour, ls=":", lw=1)
right.set(xlabel="time (s)", ylabel="share still in the upper state", ylim=(0, 1.02))
right.legend(frameon=False, title="network; dotted: exponential")
plt.close(figure)
figure

# %%
print(f"from the lower state, n = {few[0]}: {back.switches[0]} switches in {np.sum(back.times) / 1000:.0f} s;", end=" ")
print(f"the mean time is above {back.interval(0.9)[0, 0] / 1000:.0f} s (95 %)")

# %% [markdown]
# The way back was not taken once: in the lower state few neurons fire, and these as clocks, which make next to no slow
# noise. Two things limit what such times can say. For tens of neurons the nested ensemble stays much longer than the
# network, whose mean is no longer that of infinitely many neurons and whose single spikes are large, which 200 small ones
# do not replace: it is not valid there. And survival is not exponential where runs switch at once or hardly ever, as for
# n = 40 (the first, while phases are still random): the interval, which takes a constant risk, is then too narrow.

# %% [markdown]
# ## In a network, and by gradient
#
# Both models are nodes like any other. The number of neurons is a parameter, and the synapse of a noisy run can be
# differentiated with respect to it.

# %%
brain = jnm.Connectome((1 - jnp.eye(3)) / 2)


def spread(n):
    """Variance of the synapses of three coupled regions of n neurons."""
    network = jnm.Network(jnm.ShotNoise(jnm.Pyramidal(C=5.0), n), brain, jnm.Linear(1.0))
    s = jnm.simulate(network, 600.0, 0.3, key=key, save=lambda t, y: y.s, discard=150.0).ys
    return jnp.mean(jnp.var(s, axis=0))


value, slope = jax.value_and_grad(spread)(1000.0)
print(f"Var s = {value:.3g} /ms², d log Var s / d log n = {1000 * slope / value:.2f} (linear theory: -1)")

# %% [markdown]
# ## What can be read from a spectrum of finite size
#
# Turn it round: from the rate of 1000 pyramidal cells alone, what are they? The closed-loop spectrum has four unknowns,
# the effective drive $X = \eta + C R$, the weight $C$, the spread $\delta$ and the number of cells $n$. They are fitted
# by maximum likelihood (Whittle's), record by record, and their scatter is compared with the Cramér-Rao bound, which no
# unbiased estimate can beat. Records are 1.5 s long, a hundred membrane time constants.

# %%
cells = FinitePopulation.of(jnm.Pyramidal(), n=1000)
fits = fit_finite_size(cells, record_ms=1500.0, key=key, replicates=40 if short else 200)
figure = fits.plot()
print(fits)
plt.close(figure)
figure

# %% [markdown]
# The place of the peak gives $X$ to half a percent. Spread and number are told to a tenth each, their ratio to three
# percent. The weight, and with it $\eta = X - C R$, is not told at all: it speaks mostly at the slow end of the spectrum,
# where the density is a millionth of the peak's. How long would one have to listen?

# %%
lengths = np.geomspace(1.5, 3000.0, 12)
bounds = [spectrum_bound(cells, 1000 * seconds) for seconds in lengths]
figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
for name, colour in zip(
    ("eta", "C", "delta", "n", "X"), (plot.RED, plot.ORANGE, plot.GREEN, plot.BLUE, plot.GREY), strict=True
):
    plot.axes(ax).plot(lengths, [one.sd[name] for one in bounds], color=colour, label=name)
ax.axhline(0.05, color="black", ls=":", lw=1)
ax.set(xlabel="length of the record (s)", ylabel="least s.d. / value", xscale="log", yscale="log")
ax.legend(frameon=False, ncols=2)
plt.close(figure)
figure

# %% [markdown]
# To be known to 5 % (dotted), number and spread take some six seconds, the weight seven minutes, the drive nearly twenty.
# And that is for spectra that scatter as theory says. Cells of a network have each a drive of their own that stays, so
# each has lines of its own; at the slow end of the spectrum there are too few of them to make one. Fits to a network
# begin where lines are dense, at one cycle per $\tau_m$ (67 Hz), and there the estimates scatter as the bound says.

# %%
network = fit_finite_size(cells, 1500.0, key, replicates=4 if short else 24, source="network", band=(1.0, 6.0))
print(network)
