r"""What a network has to beat: explanations of an average response that hold no dynamics, or the wrong network.

- `gamma_map`: Q_i(t) = q_i k_i(t), a spatial map times a gamma function that sets in, widens and changes shape as a
  network's response may, with as many free numbers and the same prior, but without neurons.
- `minimum_norm`: the ridge solution of every sample by itself. It explains any moment and predicts no other; carried on,
  its last estimate can be held, or decay.
- `without_coupling`, `with_permuted_regions`: the same network with no connections, or with those of other regions.
- `reach`, `drift`, `best_courses`: what no model on this lead field can exceed.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._param import Interval, Positive, as_parameter, param
from jnm.meg.dipole import Dipole
from jnm.meg.recording import EvokedData
from jnm.studies.evoked.fit import LOG_SCALES, STRENGTH_SD, Task, View
from jnm.studies.evoked.model import INTERVAL, AbstractResponse, Free, Scaled, StruckNetwork, pulse, sweeping

DECAYS = (12.5, 25.0, 50.0, 100.0, 200.0, np.inf)
"""ms: time constants that are tried for carrying on a minimum-norm estimate."""


class GammaMap(AbstractResponse):
    """q_i (x e^(1 - x))^shape with x = (t - onset_i) / width_i: onset and log width change steadily over the head."""

    dipole: Dipole
    positions: Float[Array, "region 3"]
    strength: Float[Array, " region"] = param(
        unit="nA m", doc="peak moment of each region, before the scale of the dipole"
    )
    onset: Float[Array, ""] = param(45.0, unit="ms", doc="when the response sets in, at the middle of the head")
    sweep: Float[Array, "3"] = param(
        (0.0, 0.0, 0.0), unit="ms/mm", doc="how much later per mm to the right, front and top"
    )
    width: Float[Array, ""] = param(40.0, unit="ms", domain=Positive(), doc="from onset to peak")
    stretch: Float[Array, "3"] = param((0.0, 0.0, 0.0), unit="1/mm", doc="how much the log of the width changes per mm")
    shape: Float[Array, ""] = param(2.0, domain=Positive(), doc="how steep the rise is")

    @classmethod
    def of(cls, network: StruckNetwork) -> "GammaMap":
        """Over the regions of a network."""
        return cls(
            dipole=Dipole(as_parameter(1.0)),
            positions=network.positions,
            strength=jnp.zeros_like(network.strength),
        )

    free: ClassVar = {
        "onset": Free(lambda m: m.onset, Interval(0.0, 120.0), 1.0),
        "sweep": Free(lambda m: m.sweep, Scaled(0.3), 1.0),
        "width": Free(lambda m: m.width, Interval(5.0, 150.0), 1.0),
        "stretch": Free(lambda m: m.stretch, Scaled(0.01), 1.0),
        "shape": Free(lambda m: m.shape, Interval(0.5, 8.0), 1.0),
    }

    def moments(self, duration: float) -> Float[Array, "time region"]:
        times = jnp.arange(1, round(duration / INTERVAL) + 1) * INTERVAL
        onset = sweeping(self.onset, self.sweep, self.positions)
        width = self.width * jnp.exp(sweeping(jnp.zeros(()), self.stretch, self.positions))
        return self.dipole(self.strength[None] * pulse((times[:, None] - onset[None]) / width[None], self.shape))


def without_coupling(network: StruckNetwork) -> StruckNetwork:
    """The same columns, none of which hears another."""
    return eqx.tree_at(lambda m: m.network.connectome.weights, network, replace_fn=jnp.zeros_like)


def with_permuted_regions(network: StruckNetwork, seed: int) -> StruckNetwork:
    """The same graph with its regions in other places: all that is not anatomy stays."""
    order = np.random.default_rng(seed).permutation(network.network.n_regions)
    return eqx.tree_at(lambda m: m.network.connectome.weights, network, replace_fn=lambda W: W[order][:, order])


def unfitted(network: StruckNetwork) -> StruckNetwork:
    """The network as it starts, each region struck alike, by one standard deviation of the prior; the dipole of one column."""
    return eqx.tree_at(lambda m: m.strength, network, jnp.full_like(network.strength, STRENGTH_SD))


def minimum_norm(task: Task) -> tuple[Float[np.ndarray, "time region"], float]:
    """The minimum-norm estimate of the moments, weighted by depth; its log scale predicts left-out sites best."""
    errors = np.zeros(len(LOG_SCALES))
    for train, test in task.folds:
        errors += [np.sum(test.errors(_minimum_norm(train, scale))) for scale in LOG_SCALES]
    scale = float(LOG_SCALES[np.argmin(errors)])
    return _minimum_norm(task.view, scale), scale


def _minimum_norm(view: View, log_scale: float) -> Float[np.ndarray, "time region"]:
    prior = np.exp(log_scale) * view.prior
    fields = view.gain * prior
    H = fields.T @ fields / view.variance + np.eye(len(prior))
    return prior * np.linalg.solve(H, fields.T @ view.data.T / view.variance).T


def decaying(task: Task, duration: float) -> Float[np.ndarray, "time region"]:
    """The minimum-norm estimate, carried on to `duration` ms by the decay that does best within what the task shows."""
    moments, _ = minimum_norm(task)
    later = round((duration - task.duration) / INTERVAL)
    return np.concatenate([moments, carried_on(moments, later, best_decay(task, moments))])


def carried_on(
    moments: Float[np.ndarray, "time region"], samples: int, decay: float
) -> Float[np.ndarray, "later region"]:
    """The last moments, decaying with time constant `decay` ms (infinite: held), for the samples that follow."""
    after = INTERVAL * np.arange(1, samples + 1)
    return moments[-1] * np.exp(-after / decay)[:, None]


def best_decay(task: Task, moments: Float[np.ndarray, "time region"]) -> float:
    """The decay that carries the first two thirds of what a task sees best over the last third."""
    seen = 2 * len(moments) // 3
    rest = len(moments) - seen
    return min(
        DECAYS, key=lambda decay: _later_error(task.view, moments[:seen], carried_on(moments[:seen], rest, decay))
    )


def _later_error(view: View, before: np.ndarray, after: np.ndarray) -> float:
    return float(np.sum(view.errors(np.concatenate([before, after]))[len(before) :]))


def reach(view: View) -> float:
    """The share of the explainable variance that any moments of these regions can explain, noise in their span deducted."""
    dimensions = view.gain.shape[0]
    within = np.sum(view.data**2) - dimensions * view.variance * len(view.data)
    return float(within / (np.sum(view.totals) - view.noise * len(view.data)))


def drift(evoked: EvokedData, times: Float[np.ndarray, " time"]) -> float:
    """The share of the explainable variance that is a straight line in each dimension, zero amid the baseline."""
    z, middle = evoked.at(times), float(np.mean(evoked.times[evoked.times < 0]))
    line = times - middle
    line /= np.linalg.norm(line)
    dependent = len(times) / evoked.effective_samples(
        times[-1]
    )  # low-passed noise is that much louder along a slow line
    explained = np.sum((line @ z) ** 2) - evoked.noise_variance * evoked.rank * dependent
    return float(explained / (np.sum(z**2) - evoked.noise_variance * z.size))


def best_courses(view: View, before: Float[np.ndarray, "time region"], patterns: int = 3) -> float:
    """The share of a view that the first `patterns` field patterns of earlier moments explain, given any time course.

    No dynamics that keeps to these patterns can predict more; those fitted courses also fit noise, which is deducted.
    """
    fields = np.linalg.svd(before @ view.gain.T, full_matrices=False)[2][:patterns]
    kept = np.sum((view.data @ fields.T) ** 2) - patterns * view.variance * len(view.data)
    return float(kept / (np.sum(view.totals) - view.noise * len(view.data)))
