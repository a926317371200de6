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
# # Is an interrupted sweep the same science?
#
# Power fails, clusters preempt, laptops close. A sweep that is taken up again is worth having only if nobody can tell
# from its result that it was ever interrupted: not to within an error bar, but to the last bit, noise included. We
# run a sweep in a process of its own, kill it in the middle of its work (`kill -9`, which no program can answer), start
# it again, kill it again, and compare what comes out with a sweep that was left alone.

# %%
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import plot

short = os.environ.get("JNM_SHORT") == "1"
n_drives, n_taus, kills = (12, 8, 2) if short else (48, 32, 5)
duration = 200.0 if short else 500.0  # ms

# %% [markdown]
# **The sweep**, as a script that any process can run: a noisy inhibitory population for many drives and membrane time
# constants, each with noise of its own, and the size of its rhythm.

# %%
SCRIPT = f'''
import sys
import jax, jax.numpy as jnp, numpy as np
import jnm

members = jnm.grid(
    jnm.ING(sigma=0.05),
    (lambda m: m.eta, lambda m: m.tau_m),
    (np.linspace(2.0, 90.0, {n_drives}), np.linspace(5.0, 12.0, {n_taus})),
)

def rhythm(model, key):
    """The swing of the rate over the second half of a run, spikes/s."""
    run = jnm.simulate(model, {duration}, 0.02, key=key, save_every=0.2, discard={duration} / 2, save=lambda t, y: y.r)
    return {{"swing": 1000 * jnp.std(run.ys)}}

if __name__ == "__main__":
    jnm.sweep(rhythm, members, key=jax.random.key(2), store=sys.argv[1], chunk={n_taus})
'''
folder = Path(tempfile.mkdtemp())
script, store = folder / "rhythm.py", folder / "rhythm.zarr"
script.write_text(SCRIPT)
sys.path.insert(0, str(folder))
from rhythm import members, rhythm  # the same function and grid here

print(members)

# %% [markdown]
# **Life after life.** Each process gets a random part of the work done before it is killed; what it had finished
# stays, what it was just writing does not count. We note in which life each block was computed.


# %%
def finished():
    """The blocks that are wholly in the store."""
    markers = store / ".sweep" / "blocks"
    return {tuple(map(int, path.stem.split("."))) for path in markers.glob("*.json")} if markers.exists() else set()


rng = random.Random(1)
life = np.zeros((n_drives, n_taus), int)
known = set()
environment = os.environ | {"PYTHONPATH": str(Path(jnm.__file__).parents[1])}
for number in range(1, kills + 2):
    process = subprocess.Popen([sys.executable, str(script), str(store)], env=environment)
    last = number == kills + 1
    until = n_drives if last else len(known) + rng.randint(1, max(1, 2 * n_drives // (2 * kills + 1)))
    while len(finished()) < until and process.poll() is None:
        time.sleep(0.002)
    if not last:
        process.kill()
    process.wait()
    new = finished() - known
    for drive, _ in new:
        life[drive] = number
    known |= new
    print(f"life {number}: {len(new):2d} of {n_drives} blocks{'' if last else ', killed'}")

# %% [markdown]
# **The comparison.** The store, read as anybody would, against a sweep that was left alone, in another process, in
# memory, with another chunk. As a control the same sweep with another key: that difference is what chance alone makes.

# %%
interrupted = jnm.sweeps.open_store(store)
alone = jnm.sweep(rhythm, members, key=jax.random.key(2))
other = jnm.sweep(rhythm, members, key=jax.random.key(3))
difference = interrupted.swing - alone.swing
chance = other.swing - alone.swing
assert interrupted.ok.all() and not difference.any()

# %% [markdown]
# ## One figure

# %%
figure, ax = plt.subplot_mosaic("AB;CD", figsize=(10, 7), layout="constrained")
colours = plt.get_cmap("cividis", kills + 1)
x, y = interrupted.tau_m.values, interrupted.eta.values
image = plot.axes(ax["A"]).pcolormesh(x, y, life, cmap=colours, vmin=0.5, vmax=kills + 1.5)
figure.colorbar(image, ax=ax["A"], label="computed in life", ticks=range(1, kills + 2), pad=0.02)
plot.sweep(interrupted.swing, ax["B"], kind="map", label="swing of the rate (spikes/s)", cmap="magma")
limit = float(np.abs(chance).max())
for name, values in (("C", chance), ("D", difference)):
    image = plot.axes(ax[name]).pcolormesh(x, y, values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=ax[name], label="difference (spikes/s)", pad=0.02)
ax["D"].text(0.5, 0.5, "exactly 0", transform=ax["D"].transAxes, ha="center", va="center", fontsize=15, color=plot.GREY)
titles = {
    "A": f"killed {kills} times",
    "B": "the result",
    "C": "control: another key, chance alone",
    "D": "interrupted minus left alone",
}
for name, title in titles.items():
    ax[name].set(xlabel="membrane time constant τ (ms)", ylabel="drive η")
    ax[name].set_title(title, loc="left", fontweight="bold", fontsize=10)
plt.close(figure)
figure

# %% [markdown]
# What the picture says, in numbers:

# %%
print(f"members: {len(members)}; largest difference to the sweep left alone: {float(np.abs(difference).max())}")
print(f"largest difference to a sweep with another key: {limit:.2g} spikes/s")
print(jnm.sweeps.verify(store, rhythm, members, key=jax.random.key(2), members=16))
try:
    jnm.sweep(
        lambda model, key: {"swing": 2 * rhythm(model, key)["swing"]}, members, key=jax.random.key(2), store=store
    )
except ValueError as error:
    print(f"Another function is refused: ...{str(error).split(store.name)[1]}")

# %% [markdown]
# ## Fits too
#
# A fit from many starts is a sweep of fits: a gradient finds the nearest valley, not the deepest. The drive and the
# membrane time constant of a population are to be found from its noisy response; `jnm.fit_sweep` descends from 24
# starts side by side. We press ctrl-C as soon as the first fits are in the store, run the same line again, and
# compare with fits that were left alone.

# %%
import _thread
import threading

import optax

truth = jnm.ING(eta=20.0, tau_m=8.0)


def response(model, key):
    """The rate over the first 12 ms, spikes/s, a sample every 0.25 ms."""
    return 1000 * jnm.simulate(model, 12.0, 0.05, save_every=0.25, save=lambda t, y: y.r, throw=False).ys


clean = np.asarray(response(truth, None))
noise = 0.1 * clean.std()
seen = clean + noise * np.random.default_rng(0).normal(size=clean.shape)
loss = jnm.TimeCourseLoss(response, seen, noise_sd=noise)


def free(model):
    return model.eta, model.tau_m


_, build = jnm.free(jnm.ING(), free)
starts = jnm.grid(jnm.ING(), free, (np.linspace(5.0, 40.0, 6), np.linspace(5.0, 14.0, 4)))
steps, fits_store = 20 if short else 120, folder / "fits.zarr"


def fits(**options):
    return jnm.fit_sweep(loss, starts, build, adam, steps, jax.random.key(0), errors=True, **options)


def press_ctrl_c():
    while not list(fits_store.glob(".sweep/blocks/*.json")):
        time.sleep(0.002)
    _thread.interrupt_main()


adam = optax.adam(0.05)
threading.Thread(target=press_ctrl_c, daemon=True).start()
try:
    fits(store=fits_store, chunk=8)
except KeyboardInterrupt:
    before = jnm.sweeps.open_store(fits_store)
    first_life = (before.message != "not computed yet").values
    print(f"interrupted with {first_life.sum()} of {len(starts)} fits done")
taken_up, left_alone = fits(store=fits_store), fits()
apart = {name: float(np.abs(taken_up[name] - left_alone[name]).max()) for name in ("eta", "tau_m", "loss")}
assert not any(apart.values())

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
left, right = plot.axes(left), plot.axes(right)
etas, taus = np.meshgrid(taken_up.start_eta, taken_up.start_tau_m, indexing="ij")
for life, colour in ((True, colours(0)), (False, colours(kills))):
    chosen = first_life == life
    ends = taken_up.eta.values[chosen], taken_up.tau_m.values[chosen]
    left.plot([etas[chosen], ends[0]], [taus[chosen], ends[1]], color=colour, lw=0.8, alpha=0.6)
    left.plot(*ends, "o", color=colour, ms=5, label="before ctrl-C" if life else "after it")
left.plot(20.0, 8.0, "+", color="k", ms=14, label="truth")
left.set(xlabel="drive η", ylabel="membrane time constant τ (ms)")
left.legend(frameon=False, fontsize=8)
names = ("eta", "tau_m")
for i, name in enumerate(names):
    scale = taken_up[f"{name}_se"].min().item()
    right.plot(
        np.ravel(taken_up[name] - left_alone[name]) / scale, np.full(len(starts), i), "o", color=colours(0), ms=5
    )
right.set(
    yticks=range(2), yticklabels=("η", "τ"), ylim=(-0.6, 1.6), xlim=(-1, 1), xlabel="difference (standard errors)"
)
right.text(0.03, 0.5, "exactly 0, all 24", color=plot.GREY, fontsize=11)
left.set_title("where 24 descents ended", loc="left", fontweight="bold", fontsize=10)
right.set_title("interrupted minus left alone", loc="left", fontweight="bold", fontsize=10)
plt.close(figure)
figure

# %%
best = taken_up.isel(taken_up.loss.argmin(...))
for name, true in (("eta", 20.0), ("tau_m", 8.0)):
    print(f"{name} = {best[name].item():.4g} ± {best[f'{name}_se'].item():.2g} (truth {true:g})")
print(f"largest difference to the fits left alone: {max(apart.values())}")

# %% [markdown]
# The fits differ by nothing, and neither do their standard errors. The left panel is a warning of another kind: a slower
# membrane with more drive responds much alike, so most descents end along a line, far from the truth and with a
# larger loss. One start would have told nothing of this.
