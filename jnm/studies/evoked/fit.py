r"""How a response model meets an average response: strengths by ridge, physiology by gradient.

With whitened data z [time, rank], lead field G [rank, region] and noise variance s^2, a fit minimises

    sum (z - G Q)^2 / s^2  x  n_eff / n_time   +   sum_i (u_i / sd_i)^2   +   sum_k ((theta_k - start_k) / spread_k)^2,

the moments Q following from strengths u and physiology theta. Samples below a low-pass are not independent: n_eff are.
sd_i falls with the 0.8th power of a region's gain (depth weighting, as is usual), so that no region wins by being near.

**How far may the data pull?** For weak inputs Q = R u, with R by forward-mode derivatives, and the best u is a ridge. Its
one number, the dipole's log_scale, is what predicts best at sensor sites left out in turn, among those the fit sees. (The
evidence of all data is no guide: it trusts a noise model that the drifts of averages violate.)

Lin FH et al. (2006) Assessing and improving the spatial accuracy in MEG source localization by depth-weighted minimum-norm
estimates. NeuroImage 31:160-171.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jnm._param import as_parameter
from jnm.fitting import AbstractResidualLoss, Fit, TimeCourseLoss, fit, free, polish
from jnm.meg.leadfield import LeadField
from jnm.meg.recording import EvokedData
from jnm.studies.evoked.model import INTERVAL, AbstractResponse, Free, Scaled

STRENGTH_SD = 0.02
"""1/ms: the prior of an input, 20 spikes a second more (chosen; Jansen & Rit's pulses peak at 200 and more)."""

DEPTH = 0.8
LOG_SCALES = np.arange(0.0, 10.25, 0.5)
ONSETS = (25.0, 45.0, 65.0)
"""ms: where gradients start from; a late valley is not reached from an early one."""

POLISH = 8
"""Gauss-Newton steps after the descent."""


class View(NamedTuple):
    """What some channels tell of the regions: whitened data in the span of the lead field, and how much lies outside."""

    data: Float[np.ndarray, "time dimension"]
    gain: Float[np.ndarray, "dimension region"]
    outside: Float[np.ndarray, " time"]
    """Sum of squares beyond the reach of any moments."""
    noise: float
    """Expected sum of squares of noise alone, a sample, over all whitened dimensions."""
    variance: float
    """Of the noise of one dimension."""
    independent: float
    """Independent samples a sample."""

    @classmethod
    def of(cls, evoked: EvokedData, lead: LeadField, times: Float[np.ndarray, " time"]) -> "View":
        """The data at `times` (ms), evenly spaced from zero on."""
        z = evoked.at(times)
        basis, gain = np.linalg.qr(evoked.whiten_lead_field(lead))
        inside = z @ basis
        outside = np.sum(z**2, axis=1) - np.sum(inside**2, axis=1)
        independent = evoked.effective_samples(times[-1]) / len(times)
        return cls(inside, gain, outside, evoked.noise_variance * evoked.rank, evoked.noise_variance, independent)

    def until(self, samples: int) -> "View":
        """The first samples only."""
        return self._replace(data=self.data[:samples], outside=self.outside[:samples])

    def errors(self, moments: Float[np.ndarray, "time region"]) -> Float[np.ndarray, " time"]:
        """Sum of squared whitened errors of each sample."""
        return self.outside + np.sum((self.data - moments @ self.gain.T) ** 2, axis=1)

    @property
    def totals(self) -> Float[np.ndarray, " time"]:
        """Sum of squared whitened data of each sample."""
        return self.outside + np.sum(self.data**2, axis=1)

    @property
    def prior(self) -> Float[np.ndarray, " region"]:
        """Standard deviations of the strengths, smaller where the sensors see better; geometric mean `STRENGTH_SD`."""
        depth = np.linalg.norm(self.gain, axis=0) ** -DEPTH
        return STRENGTH_SD * depth / np.exp(np.mean(np.log(depth)))


class Task(NamedTuple):
    """What a fit may see, and the same cut into parts that judge one another."""

    view: View
    folds: tuple[tuple[View, View], ...]
    """Pairs of views: most sites, and those left out."""

    @classmethod
    def of(cls, evoked: EvokedData, lead: LeadField, times: np.ndarray, *, folds: int = 4, seed: int = 1) -> "Task":
        """All channels of `evoked`, with `folds` draws of sites for the inner validation."""
        pairs = (tuple(View.of(part, lead, times) for part in pair) for pair in split_sites(evoked, folds, seed))
        return cls(View.of(evoked, lead, times), tuple(pairs))  # pyright: ignore[reportArgumentType]

    @property
    def duration(self) -> float:
        """ms."""
        return len(self.view.data) * INTERVAL

    def until(self, duration: float) -> "Task":
        """The same up to `duration` ms: nothing later is seen."""
        n = round(duration / INTERVAL)
        return Task(self.view.until(n), tuple((train.until(n), test.until(n)) for train, test in self.folds))


def split_sites(evoked: EvokedData, folds: int, seed: int) -> list[tuple[EvokedData, EvokedData]]:
    """Each sensor site, with all its coils, is left out once: pairs of (the others, the left out)."""
    sites = evoked.sites()
    order = np.random.default_rng(seed).permutation(len(sites))
    pairs = []
    for fold in range(folds):
        out = {name for i in order[fold::folds] for name in sites[i]}
        names = [[n for n in evoked.ch_names if (n in out) == held] for held in (False, True)]
        pairs.append((evoked.pick(names[0]), evoked.pick(names[1])))
    return pairs


def share(errors: np.ndarray, totals: np.ndarray, noise: np.ndarray | float) -> float:
    """The explained share of the explainable variance, 1 - (errors - noise) / (totals - noise), sums over samples."""
    expected = np.sum(np.broadcast_to(noise, np.shape(totals)))
    return float(1 - (np.sum(errors) - expected) / (np.sum(totals) - expected))


# ------------------------------------------------------------------------------------------------------- linear start


@eqx.filter_jit
def linear_response(model: AbstractResponse, duration: float) -> Float[Array, "time region input"]:
    """dQ / du at u = 0: what all regions do for a weak input to each."""

    def moments(strength):
        return eqx.tree_at(lambda m: m.strength, model, strength).moments(duration)

    return jax.jacfwd(moments)(jnp.zeros_like(model.strength))


def ridge(R: Float[np.ndarray, "time region input"], view: View) -> list[Float[np.ndarray, " input"]]:
    """The strengths a view asks for, one set for each of `LOG_SCALES`."""
    weighted = R * view.prior
    fields = np.tensordot(weighted, view.gain, (1, 1))  # [time, input, dimension]
    precision = view.independent / view.variance
    H = np.einsum("tid,tjd->ij", fields, fields, optimize=True) * precision
    values, vectors = np.linalg.eigh(H)
    pull = vectors.T @ np.einsum("tid,td->i", fields, view.data) * precision
    scales = np.exp(LOG_SCALES)
    return [view.prior * (vectors @ (s * pull / (1 + s**2 * np.maximum(values, 0.0)))) for s in scales]


def validated(R: Float[np.ndarray, "time region input"], task: Task) -> Float[np.ndarray, " scale"]:
    """The share explained at left-out sites for each of `LOG_SCALES`."""
    errors, totals, noise = np.zeros(len(LOG_SCALES)), 0.0, 0.0
    for train, test in task.folds:
        moments = [np.exp(s) * (R @ u) for s, u in zip(LOG_SCALES, ridge(R, train), strict=True)]
        errors += [np.sum(test.errors(Q)) for Q in moments]
        totals, noise = totals + np.sum(test.totals), noise + test.noise * len(test.totals)
    return 1 - (errors - noise) / (totals - noise)


def start(model: AbstractResponse, task: Task) -> AbstractResponse:
    """The model with the onset, scale and strengths that predict left-out sites best."""
    candidates = []
    for onset in ONSETS:
        candidate = eqx.tree_at(lambda m: m.onset, model, as_parameter(onset))
        R = np.asarray(linear_response(candidate, task.duration), dtype=float)
        scores = validated(R, task)
        candidates.append((scores.max(), candidate, R, int(scores.argmax())))
    _, candidate, R, best = max(candidates, key=lambda c: c[0])
    found = (as_parameter(ridge(R, task.view)[best]), as_parameter(LOG_SCALES[best]))
    return eqx.tree_at(lambda m: (m.strength, m.dipole.log_scale), candidate, found)


# ------------------------------------------------------------------------------------------------------------ gradient


class Prior(AbstractResidualLoss):
    """Distances from a start, on the unconstrained line, in units of the prior's spread."""

    places: tuple[Free, ...]
    centre: tuple[Array, ...]

    def residuals(self, model, key):
        distances = [
            jnp.ravel(place.domain.unconstrain(place.where(model)) - centre) / place.spread
            for place, centre in zip(self.places, self.centre, strict=True)
        ]
        return jnp.concatenate(distances)[:, None]

    def gradient_covariance(self, jacobian, residuals):
        return np.einsum("ncp,ncq->pq", jacobian, jacobian), np.inf


class Seen(eqx.Module):
    """What whitened sensors see of a model: `TimeCourseLoss` takes it for its simulation."""

    gain: Float[Array, "dimension region"]
    duration: float = eqx.field(static=True)

    def __call__(self, model: AbstractResponse, key: Array) -> Float[Array, "time dimension"]:
        return jnp.matmul(model.moments(self.duration), self.gain.T, precision="highest")


def fit_response(model: AbstractResponse, task: Task, steps: int) -> Fit:
    """Fit strengths and physiology: by gradient descent into the valley, and by Gauss-Newton steps along it."""
    begin = start(model, task)
    sd = jnp.asarray(task.view.prior, float)
    begun = jnp.sqrt(jnp.mean((begin.strength / sd) ** 2))  # steps in proportion to the strengths there are
    places = {"strength": Free(_strength, Scaled(begun * sd), 1.0 / begun), **begin.free}
    theta, build = free(
        begin,
        {name: place.where for name, place in places.items()},
        {name: place.domain for name, place in places.items()},
    )
    centre = {**theta, "strength": jnp.zeros_like(theta["strength"])}
    view = task.view
    data = TimeCourseLoss(
        Seen(jnp.asarray(view.gain, float), task.duration), view.data, noise_sd=np.sqrt(view.variance)
    )
    prior = Prior(tuple(places.values()), tuple(centre[name] for name in places))
    size = sum(np.size(x) for x in theta.values())
    # both losses are means; n_eff samples of the data weigh as much as so many numbers of the prior
    loss = data + size / (view.independent * view.data.size) * prior
    key = jax.random.key(0)  # nothing here is random
    descended = fit(loss, theta, build, _optimiser(steps), steps, key, judge_keys=1, clip=None, progress=False)
    return polish(descended, POLISH, keys=1)


@functools.cache
def _optimiser(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(0.05, steps, alpha=0.05))  # a new one would compile every fit anew


def _strength(model: AbstractResponse) -> Array:
    return model.strength


@eqx.filter_jit
def predicted(model: AbstractResponse, duration: float) -> Float[Array, "time region"]:
    """The moments of a fitted model, compiled once for all fits."""
    return model.moments(duration)
