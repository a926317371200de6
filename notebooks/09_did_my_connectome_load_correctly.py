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
# # Did my connectome load correctly?
#
# A matrix of numbers loads without complaint when it is transposed, when its right hemisphere is in another order, or
# when its lengths are in metres. What is built on it then runs as well, and is wrong. Six looks, each at a mistake that
# cannot be seen in the file.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jnm
from jnm import datasets, plot

jax.config.update("jax_enable_x64", True)  # eigenvalues and small answers to all digits

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "mine.npz"
    datasets.connectome().write(file)
    brain = jnm.Connectome.read(file)
n = brain.n_regions
W = np.asarray(brain.normalised("rows").weights)
brain

# %% [markdown]
# ## 1. Look at it
#
# In jnm `weights[to, from]`: row $i$ is what region $i$ receives. With the left regions first, the hemispheres are two
# dark blocks along the diagonal. The brain should be about 14 cm wide, with the front at the top of the view from above
# and blue on the left.

# %%
figure = brain.plot()
plt.close(figure)
figure

# %% [markdown]
# ## 2. Which way round?
#
# Tractography has no direction, but a matrix of streamline shares has: $A_{ij}$ is divided by something that belongs to
# $i$, or to $j$. Divide the rows by their sums and look at the eigenvalues, which decide to what patterns activity can
# grow. Reading the transpose changes them; so does averaging the matrix with it, the usual cure for its asymmetry.

# %%
readings = {
    "as it should be": brain.weights,
    "transposed": brain.weights.T,
    "averaged": (brain.weights + brain.weights.T) / 2,
}
spectra = {name: np.real(jnm.Connectome(a).normalised("rows").eigenvalues()) for name, a in readings.items()}
for name, values in spectra.items():
    print(f"{name:16} second eigenvalue {values[1]:.4f}, smallest {values[-1]:.4f}")

# %% [markdown]
# If the asymmetry is only a division, $A = \mathrm{diag}(c)\,S$ with $S$ symmetric, then all eigenvalues are real and
# `balance()` finds $c$; `None` says that it is something else, such as a matrix of effective connectivity.

# %%
c = brain.balance()
print(
    "a division by region" if c is not None else "really directed",
    "" if c is None else f"c from {c.min():.2f} to {c.max():.2f}",
)

# %% [markdown]
# ## 3. Ask the network
#
# The safest test of direction needs no convention: push one region and see who answers. For ten milliseconds region
# $k$ gets a current, and what the others gained then must follow the column $W_{ik}$, not the row $W_{ki}$.

# %%
k = int(np.argmax(np.std(np.log(W + 1e-9) - np.log(W.T + 1e-9), axis=0)))  # the least symmetric region
net = jnm.Network(jnm.WongWang(), brain.normalised("rows"), jnm.Linear(gain=0.3))
push = jnm.Pulse(onset=0.0, duration=10.0, amplitude=jnp.zeros(n).at[k].set(0.2))
answers = [jnm.simulate(net, 10.0, 0.1, stimulus=s, save_every=10.0).ys.S[-1] for s in (push, None)]
gained = np.asarray(answers[0] - answers[1])
others = np.arange(n) != k


def agreement(weights):
    there = others & (weights > 0)
    return np.corrcoef(np.log(gained[there]), np.log(weights[there]))[0, 1]


print(
    f"pushing {brain.labels[k]}: agreement with its column {agreement(W[:, k]):.4f}, with its row {agreement(W[k]):.4f}"
)

# %% [markdown]
# ## 4. Left, right, and in which order?
#
# Homotopic regions are strongly connected, and what holds on one side holds on the other. Whether the file has the
# right hemisphere reversed, or in the order of the left, shows in two numbers: the weight of supposed twins relative
# to the median, and the correlation of each weight with its mirror image.

# %%
bare = jnm.Connectome(brain.weights)  # without positions, as most files come
half = np.arange(n // 2)
orders = {"right reversed": np.arange(n)[::-1], "right as left": np.concatenate([half + n // 2, half])}
for name, twin in orders.items():
    found = datasets.statistics(bare, twin=twin)
    print(
        f"{name:16} twins {found['homotopic_ratio']:5.1f} x the median, mirror correlation {found['mirror_correlation']:.2f}"
    )

# %% [markdown]
# ## 5. In what unit are the lengths?
#
# Weights fall with distance, and fibres are longer than straight lines, but not by much.

# %%
pairs = np.triu_indices(n, 1)
lengths = np.asarray(brain.lengths)[pairs]
centres = np.asarray(brain.centres)
straight = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[pairs]
print(
    f"fibres of {lengths.min():.0f} to {lengths.max():.0f} mm, {np.median(lengths / straight):.2f} x the straight line"
)
print(f"at 5 mm/ms the median delay is {np.median(lengths) / 5.0:.1f} ms")

# %% [markdown]
# Three of these looks in one picture.

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.7), layout="constrained")
for (name, values), colour in zip(spectra.items(), (plot.BLUE, plot.ORANGE, plot.GREY), strict=True):
    plot.axes(left).plot(np.arange(1, 13), values[:12], "o-", ms=4, color=colour, label=name)
left.set(xlabel="mode", ylabel="eigenvalue", title="2. which way round?", xticks=(1, 4, 8, 12))
left.legend(frameon=False)
there = others & (W[:, k] > 0) & (W[k] > 0)
plot.axes(middle).loglog(W[there, k], gained[there], ".", color=plot.BLUE, label="column: to others")
middle.loglog(W[k, there], gained[there], ".", color=plot.ORANGE, label="row: from others")
middle.set(xlabel=f"weight of {brain.labels[k]}", ylabel="S gained in 10 ms", title="3. who answers?")
middle.legend(frameon=False)
strength = (np.asarray(brain.weights) + np.asarray(brain.weights).T)[pairs] / 2
plot.axes(right).semilogy(lengths[strength > 0], strength[strength > 0], ".", ms=2, color=plot.GREY)
right.set(xlabel="fibre length (mm)", ylabel="weight", title="5. do weights fall with distance?")
plt.close(figure)
figure

# %% [markdown]
# ## 6. Is it a brain?
#
# Beside the average of sixteen people (AAL90, Deco et al. 2017), your matrix should be of the same kind. Numbers far
# off are not wrong, but want a reason: another parcellation, a threshold, a logarithm already taken.

# %%
human = {
    "density": 0.991,
    "log_weight_sd": 1.947,
    "strength_cv": 0.239,
    "second_eigenvalue": 0.7393,
    "smallest_eigenvalue": -0.2567,
    "interhemispheric_share": 0.196,
    "homotopic_ratio": 8.6,
    "mirror_correlation": 0.86,
}
mine = datasets.statistics(brain)
print(f"{'':28}{'human':>8}{'mine':>8}")
for name, value in human.items():
    print(f"{name.replace('_', ' '):28}{value:8.3f}{mine[name]:8.3f}")

# %% [markdown]
# And if rows are not normalised, regions cannot be alike: jnm refuses what needs a homogeneous state, and says why.

# %%
try:
    jnm.stability.homogeneous(jnm.Network(jnm.PING(IE=2.0), brain))
except ValueError as error:
    print(error)
