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
# # Does the gradient find the truth, or only a good spectrum?
#
# A noisy population of pyramidal cells, seen by a sensor of unknown gain. Its spectrum is fitted by gradient descent,
# once for each of many subjects with other truths. Every fit ends with a good spectrum. Which of its numbers may we
# believe?

# %%
import os

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import jnm
from jnm import fitting, observe, plot

short = os.environ.get("JNM_SHORT") == "1"
subjects = 2 if short else 20
SEGMENT, BAND = 500.0, (8.0, 240.0)  # ms, Hz
SETTLE = 1_000.0  # ms; the noise is weak, so all that is left of the start must be far weaker


# %% [markdown]
# **The subject**: a node, and the gain of the sensor that sees its rate.


# %%
class Subject(eqx.Module):
    """A node under a sensor: signal = gain * rate."""

    node: jnm.NMM2
    gain: jax.Array = jnm.param(1.0, domain=jnm.Positive(), doc="gain of the sensor")


def subject(eta, delta, sigma, gain):
    return Subject(jnm.Pyramidal(eta=eta, delta=delta, sigma=sigma), gain)


def signal(subject, key, duration=2_000.0, dt=0.1):
    """What the sensor sees, [time, channel = 1], one sample a ms."""
    run = jnm.simulate(
        subject.node, duration + SETTLE, dt, key=key, save_every=1.0, discard=SETTLE, save=lambda t, y: y.r, throw=False
    )
    return subject.gain * run.ys[:, None]


# %% [markdown]
# **The experiment.** A minute of data a subject, made with half the time step and other noise than the fit's. All
# fits start from the same place. Then once more, with the gain of the sensor known.

# %%
where = dict(
    eta=lambda m: m.node.eta, delta=lambda m: m.node.delta, sigma=lambda m: m.node.sigma, gain=lambda m: m.gain
)
start = dict(eta=10.0, delta=2.0, sigma=0.0005, gain=1.0)
steps = 40 if short else 100
adam = optax.adam(
    optax.cosine_decay_schedule(0.2 if short else 0.1, steps, alpha=0.03), b2=0.95
)  # forget the steep gradients of the start
record = jax.jit(lambda model, key: signal(model, key, 60_000.0, 0.05))


def draw(rng):
    """The truth of one subject."""
    sigma, gain = np.array([0.0005, 1.0]) * 2 ** rng.uniform(-1, 1, 2)
    return dict(eta=rng.uniform(6.0, 15.0), delta=rng.uniform(1.2, 3.6), sigma=sigma, gain=gain)


def descend(data, key, names, **known):
    """Fit the named parameters to the data; its estimates with 90 % intervals."""
    loss = fitting.LogSpectralLoss(signal, data, dt=1.0, segment=SEGMENT, band=BAND)
    chosen, domains = {name: where[name] for name in names}, {name: jnm.Positive() for name in names}
    theta, build = fitting.free(subject(**start | known), chosen, domains=domains)
    fit = fitting.fit(loss, theta, build, adam, steps, key, keys_per_step=2, judge_keys=8, progress=False)
    rows = dict(zip(sorted(names), fit.report(level=0.9).rows, strict=True))  # a dict's entries come sorted
    return fit, rows


def recover(truth, seed):
    """A subject's data, the fit of all four, and the fit of three with the gain known."""
    data_key, all_key, three_key = jax.random.split(jax.random.key(seed), 3)
    data = record(subject(**truth), data_key)
    everything = descend(data, all_key, list(where))
    calibrated = descend(data, three_key, ["eta", "delta", "sigma"], gain=truth["gain"])
    return data, everything, calibrated


rng = np.random.default_rng(0)
truths = [draw(rng) for _ in range(subjects)]
recovered = [recover(truth, seed) for seed, truth in enumerate(truths)]
print(recovered[0][1][0].report())

# %% [markdown]
# ## One figure


# %%
def against_truth(ax, name, fits, title, colour):
    """Estimates against truths, with intervals; those wider than the axes run through them."""
    ax = plot.axes(ax)
    true = np.array([truth[name] for truth in truths])
    rows = [rows[name] for _, rows in fits]
    low, high = np.array([row.interval or (0.0, np.inf) for row in rows]).T  # no interval: everything is possible
    ends = {"eta": (5, 17), "delta": (0.9, 4.8), "sigma": (0.00015, 0.0016), "gain": (0.3, 3.2)}[name]
    ax.plot(ends, ends, color=plot.GREY, lw=1, zorder=0)
    ax.vlines(true, np.clip(low, *ends), np.clip(high, *ends), color=colour, lw=1.5, alpha=0.5)
    ax.plot(true, [row.estimate for row in rows], "o", color=colour, ms=5)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="true", ylabel="recovered", aspect="equal")
    ticks = {"eta": (6, 10, 15), "delta": (1, 2, 4), "sigma": (0.0002, 0.0005, 0.001), "gain": (0.5, 1, 2)}[name]
    ax.set(xticks=ticks, yticks=ticks, xticklabels=ticks, yticklabels=ticks)
    ax.minorticks_off()
    error = 100 * np.median(np.abs(np.array([row.estimate for row in rows]) / true - 1))
    ax.set_title(f"{title}: median error {error:.2g} %", loc="left", fontsize=10)
    told = np.isfinite(high)
    held = np.sum(told & (low <= true) & (true <= high))
    print(f"{title:<14} 90 % intervals hold {held} of {told.sum()} truths; {np.sum(~told)} fits have no interval")


every, calibrated = [r[1] for r in recovered], [r[2] for r in recovered]
figure, ax = plt.subplot_mosaic("SAB;DCE", figsize=(10, 6.6), layout="constrained")
panel = plot.axes(ax["S"])
look = jax.jit(lambda model, key: observe.psd(signal(model, key, 30_000.0), 1.0, SEGMENT)[1][:, 0])
order = np.argsort([truth["eta"] for truth in truths])
for k, member in enumerate(order[np.linspace(0, subjects - 1, min(4, subjects)).astype(int)]):
    data, (fit, _), _ = recovered[member]
    f_hz, seen = observe.psd(data, 1.0, SEGMENT)
    inside = (f_hz >= BAND[0]) & (f_hz <= BAND[1])
    fitted = np.asarray(look(fit.model, jax.random.key(1)))
    lift = 10.0 ** (1.2 * k) / np.asarray(seen).max()  # one above the other
    panel.plot(f_hz[inside], lift * np.asarray(seen)[inside, 0], color="0.75", lw=5, label="data" if k == 0 else None)
    panel.plot(f_hz[inside], lift * fitted[inside], color=plot.BLUE, lw=1.4, label="fit" if k == 0 else None)
panel.set(yscale="log", xlabel="frequency (Hz)", ylabel="spectra of some subjects (shifted)", yticks=[])
panel.minorticks_off()
panel.legend(frameon=False, loc="upper right")
panel.set_title("data and fits", loc="left", fontsize=10)
figure.suptitle("Every spectrum is right; not every number is", x=0.01, ha="left", fontweight="bold")
against_truth(ax["A"], "eta", every, "drive η", plot.BLUE)
against_truth(ax["B"], "delta", every, "spread Δ", plot.BLUE)
against_truth(ax["D"], "sigma", every, "noise σ", plot.RED)
against_truth(ax["C"], "gain", every, "sensor gain", plot.RED)
against_truth(ax["E"], "sigma", calibrated, "σ, gain known", plot.GREEN)
ends, starts = (np.array([getattr(fit, name) for fit, _ in every]) for name in ("best_loss", "start_loss"))
print(f"loss, 1 being noise alone: {starts.min():.1f} to {starts.max():.1f} at the start,", end=" ")
print(f"{ends.min():.2f} to {ends.max():.2f} fitted")
plt.close(figure)
figure

# %% [markdown]
# Weak noise passes through the node linearly, so $\sigma$ and the gain enter the spectrum only as their product: the
# gradient slides into the valley and stops somewhere on its floor. The report refuses an interval, or gives one that
# is of no use. Drive and spread set the place and the width of the peak, and are found. The cure is no better
# optimiser but another measurement: with the gain known, $\sigma$ is found too.
