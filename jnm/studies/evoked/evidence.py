r"""How well an explanation with few inputs accounts for an average response: fit, prediction, Laplace evidence.

With F(theta) [time x dimension, input] the fields of unit inputs (`closed_form.fields`, or those of a map of gamma functions)
the whitened data are z = F u + e. Inputs have the prior u_i ~ N(0, sd_i^2), theta (rates, delays, onset, scale: a dozen)
a normal one on the unconstrained line, the error e the variance v. Gauss-Newton steps with damping, the inputs solved for
exactly at each, find the most probable x = (u, theta); then

    log evidence = log p(z | x, v) + log p(x) + (k / 2) log 2 pi - (1 / 2) log det H,    H = beta J'J + 1 / prior variance,

is Laplace's, beta = (n_eff / n) / v. Samples below a low-pass are not independent: n_eff of n are, and each datum counts
n_eff / n times (spec: meg.md 5, 6). What an explanation misses counts as error: v, no less than the variance of the baseline,
is where the evidence is largest, v = sum r^2 (n_eff / n) / (n_eff - gamma), gamma = tr(H^-1 beta J'J). Data that no moments of
the regions reach are the same for all explanations and left out.

MacKay DJC (1992) Bayesian interpolation. Neural Comput 4:415-447.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from jnm._param import Interval, Real, cast
from jnm.studies.evoked.baselines import GammaMap
from jnm.studies.evoked.closed_form import SPEED, fields, in_order
from jnm.studies.evoked.fit import LOG_SCALES, ONSETS, View
from jnm.studies.evoked.model import INTERVAL, AbstractResponse, Free, StruckNetwork

THIN = 4
"""Every fourth sample is fitted, 10 ms apart: data below 40 Hz need one every 12.5 ms."""

_PAD = 12  # columns are as many as a multiple of it, some without an input: one compilation serves several entries
_TRIES = 4  # of a step, each with ten times the damping
_LONGEST = 1.0  # of a step in any element of theta
_ENOUGH = 0.5  # nats that a step must gain for another to be taken

LOG_SCALE = Free(lambda m: m.dipole.log_scale, Real(), 2.0)
NETWORK: dict[str, Free] = {
    **StruckNetwork.free,
    "speed": Free(lambda m: m.network.speed, Interval(*SPEED), 1.0),
    "log_scale": LOG_SCALE,
}
GAMMA: dict[str, Free] = {**GammaMap.free, "log_scale": LOG_SCALE}
"""What moves in a fit beside the inputs."""


class Entry(NamedTuple):
    """Where inputs may enter, and in which order their time course runs."""

    regions: Int[np.ndarray, " input"]
    order: Int[np.ndarray, " fine"] | None = None
    """None: as it is; else a rearrangement for the whole window, see `closed_form.shuffled`."""


class Fitted(NamedTuple):
    """An explanation at its most probable parameters."""

    model: AbstractResponse
    entry: Entry
    error: float
    """Variance of what is not explained, over that of the baseline."""
    log_evidence: float
    steps: int
    sd: dict[str, np.ndarray]
    """Laplace's standard deviation of each of theta, on its unconstrained line."""

    def value(self, name: str) -> float:
        """One of theta that is a single number, such as "speed"."""
        return float(_places(self.model)[name].where(self.model))

    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """Laplace's interval of it."""
        from scipy.stats import norm

        place = _places(self.model)[name]
        middle, reach = place.domain.unconstrain(place.where(self.model)), norm.ppf((1 + level) / 2) * self.sd[name]
        low, high = (float(place.domain.constrain(middle + sign * reach)) for sign in (-1, 1))
        return low, high

    def moments(self, duration: float) -> Float[np.ndarray, "time region"]:
        """What the regions do for so many ms, every `INTERVAL` ms, nA m."""
        with jax.enable_x64(True):
            wide, order = cast(self.model, jnp.float64), _order(self.entry, duration)
            return np.asarray(_moments(wide, round(duration / INTERVAL), order))


def fit_entry(model: AbstractResponse, view: View, entry: Entry, *, steps: int = 12) -> Fitted:
    """Fit an explanation to what a view shows, in at most so many Gauss-Newton steps."""
    with jax.enable_x64(True):
        task = _Task.of(model, view, entry)
        spread, centre = _prior(task)
        point, damping, taken = _start(task, spread, centre), 1e-2, 0
        while taken < steps:
            taken += 1
            new, damping = _stepped(task, point, spread, centre, damping)
            gain, before = new.log_joint - point.log_joint, point.variance
            point = _Point.of(task, new.theta, new.F, spread, centre, _error(task, new, spread))
            if gain < _ENOUGH and abs(point.variance - before) < 0.01 * before:
                break
        evidence, sd = _laplace(task, point, spread)
        found = _placed(task.model, jnp.asarray(point.theta))
    strengths = np.zeros(len(model.strength))
    strengths[entry.regions] = (np.asarray(task.sd) * point.w)[: len(entry.regions)]
    found = eqx.tree_at(lambda m: m.strength, cast(found, jnp.zeros(()).dtype), jnp.asarray(strengths, float))
    return Fitted(found, entry, point.variance / float(task.variance), evidence, taken, sd)


def silence(view: View) -> float:
    """The log evidence of no response at all: noise, of the variance that suits it best but no less than the baseline's."""
    data, weight = view.data[THIN - 1 :: THIN], _weight(view)
    v = max(float(np.mean(data**2)), view.variance)
    return -weight * float(data.size * np.log(2 * np.pi * v) + np.sum(data**2) / v) / 2


# ---------------------------------------------------------------------------------------------------------------- task


class _Task(eqx.Module):
    """Data, thinned, and what explains them."""

    model: AbstractResponse
    data: Float[Array, "time dimension"]
    gain: Float[Array, "dimension region"]
    sd: Float[Array, " input"]
    inputs: Float[Array, "region input"]
    """sd at the region of each input."""
    order: Int[Array, " fine"]
    variance: Float[Array, ""]
    weight: float = eqx.field(static=True)
    """n_eff / n."""

    @classmethod
    def of(cls, model: AbstractResponse, view: View, entry: Entry) -> "_Task":
        given = view.prior[entry.regions]
        sd = np.zeros(-(-len(given) // _PAD) * _PAD)
        sd[: len(given)] = given
        inputs = np.zeros((len(model.strength), len(sd)))
        inputs[entry.regions, np.arange(len(given))] = given
        order = _order(entry, len(view.data) * INTERVAL)
        weight = _weight(view)
        data, gain, variance = (jnp.asarray(x) for x in (view.data[THIN - 1 :: THIN], view.gain, view.variance))
        return cls(cast(model, jnp.float64), data, gain, jnp.asarray(sd), jnp.asarray(inputs), order, variance, weight)

    @property
    def independent(self) -> float:
        """n_eff."""
        return self.weight * self.data.size


def _weight(view: View) -> float:
    """n_eff / n of the thinned data."""
    return min(1.0, float(THIN * view.independent))


def _order(entry: Entry, duration: float) -> Int[Array, " fine"]:
    """Of the samples up to `duration`; a rearrangement stays one when it is cut."""
    whole = in_order(duration)
    return jnp.asarray(whole if entry.order is None else entry.order[entry.order < len(whole)])


def _places(model: AbstractResponse) -> dict[str, Free]:
    return NETWORK if isinstance(model, StruckNetwork) else GAMMA


def _prior(task: _Task) -> tuple[np.ndarray, np.ndarray]:
    """Spread and centre of theta, flat."""
    places = _places(task.model)
    like = {name: place.domain.unconstrain(place.where(task.model)) for name, place in places.items()}
    spread = {name: jnp.broadcast_to(place.spread, jnp.shape(like[name])) for name, place in places.items()}
    return np.asarray(ravel_pytree(spread)[0], float), np.asarray(ravel_pytree(like)[0], float)


def _start(task: _Task, spread: np.ndarray, centre: np.ndarray) -> "_Point":
    """The centre of the prior with the onset and the scale that make it most probable."""
    places = _places(task.model)
    like = {name: place.domain.unconstrain(place.where(task.model)) for name, place in places.items()}
    points, power = [], float(np.mean(np.asarray(task.data) ** 2))
    for onset in ONSETS:
        theta = {**like, "onset": places["onset"].domain.unconstrain(jnp.asarray(onset))}
        none, one = (np.asarray(ravel_pytree({**theta, "log_scale": jnp.asarray(x)})[0]) for x in (0.0, 1.0))
        F = np.asarray(_columns(task, jnp.asarray(none)))
        points += [  # fields are in proportion to the scale
            _Point.of(task, none + scale * (one - none), np.exp(scale) * F, spread, centre, power)
            for scale in LOG_SCALES
        ]
    return max(points, key=lambda point: point.log_joint)


def _named(model: AbstractResponse) -> Callable[[Array], dict[str, Array]]:
    """From a flat theta to its parts by name."""
    like = {name: place.domain.unconstrain(place.where(model)) for name, place in _places(model).items()}
    return ravel_pytree(like)[1]


def _placed(model: AbstractResponse, theta: Float[Array, " parameter"]) -> AbstractResponse:
    places, free = _places(model), _named(model)(theta)
    values = [place.domain.constrain(free[name]) for name, place in places.items()]
    return eqx.tree_at(lambda m: [place.where(m) for place in places.values()], model, values)


def _design(
    model: AbstractResponse, samples: int, step: float, order: Array, gain: Array, inputs: Array
) -> Float[Array, "time dimension input"]:
    if isinstance(model, StruckNetwork):
        return fields(model, samples, step, order, gain, inputs)
    each = eqx.tree_at(lambda m: m.strength, model, jnp.ones_like(model.strength)).moments(samples * step)
    every = round(step / INTERVAL)
    return jnp.einsum("tr,dr,ri->tdi", each[every - 1 :: every], gain, inputs)


@eqx.filter_jit
def _moments(model: AbstractResponse, samples: int, order: Array) -> Float[Array, "time region"]:
    all_regions, inputs = jnp.eye(len(model.strength)), model.strength[:, None]
    return _design(model, samples, INTERVAL, order, all_regions, inputs)[..., 0]


@eqx.filter_jit
def _columns(task: _Task, theta: Array) -> Float[Array, "datum input"]:
    """F, in units of the prior of the inputs."""
    F = _design(_placed(task.model, theta), len(task.data), THIN * INTERVAL, task.order, task.gain, task.inputs)
    return F.reshape(-1, F.shape[-1])


@eqx.filter_jit
def _slopes(task: _Task, theta: Array, w: Array) -> Float[Array, "datum parameter"]:
    """d (F u) / d theta: of one input, the sum of all."""

    def seen(theta: Array) -> Array:
        model, inputs = _placed(task.model, theta), (task.inputs @ w)[:, None]
        return _design(model, len(task.data), THIN * INTERVAL, task.order, task.gain, inputs).ravel()

    along = jax.linearize(seen, theta)[1]
    return jax.lax.map(along, jnp.eye(len(theta), dtype=theta.dtype)).T  # vmap would make one matrix of their columns


# ---------------------------------------------------------------------------------------------------------------- steps


class _Point(NamedTuple):
    """A theta with the best inputs there, in units of their prior."""

    theta: np.ndarray
    w: np.ndarray
    F: np.ndarray
    residual: np.ndarray
    variance: float
    log_joint: float
    """log p(z | x, v) + log p(x)."""

    @classmethod
    def at(cls, task: _Task, theta: np.ndarray, spread: np.ndarray, centre: np.ndarray, v: float) -> "_Point":
        """At theta, for an error variance v."""
        return cls.of(task, theta, np.asarray(_columns(task, jnp.asarray(theta))), spread, centre, v)

    @classmethod
    def of(
        cls, task: _Task, theta: np.ndarray, F: np.ndarray, spread: np.ndarray, centre: np.ndarray, v: float
    ) -> "_Point":
        """The same with the fields of unit inputs given."""
        z = np.asarray(task.data).ravel()
        beta = task.weight / v
        w = np.linalg.solve(beta * F.T @ F + np.eye(F.shape[1]), beta * F.T @ z)
        r, away = z - F @ w, (theta - centre) / spread
        data = task.independent * np.log(2 * np.pi * v) + beta * np.sum(r**2)
        priors = np.sum(w**2) + np.sum(away**2) + 2 * np.sum(np.log(spread)) + (len(w) + len(theta)) * np.log(2 * np.pi)
        return cls(theta, w, F, r, v, -float(data + priors) / 2)


def _curvature(task: _Task, point: _Point, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and the precision of the prior, inputs first."""
    J = np.hstack([point.F, np.asarray(_slopes(task, jnp.asarray(point.theta), jnp.asarray(point.w)))])
    return J, np.concatenate([np.ones(len(point.w)), spread**-2.0])


def _stepped(
    task: _Task, point: _Point, spread: np.ndarray, centre: np.ndarray, damping: float
) -> tuple[_Point, float]:
    """A point that is not worse, and the damping of the next step; the same point where there is none."""
    J, prior = _curvature(task, point, spread)
    beta, k = task.weight / point.variance, len(point.w)
    H = beta * J.T @ J + np.diag(prior)
    pull = beta * J.T @ point.residual - prior * np.concatenate([point.w, point.theta - centre])
    for _ in range(_TRIES):
        step = np.linalg.solve(H + damping * np.diag(np.diag(H)), pull)[k:]
        step *= min(1.0, _LONGEST / max(np.abs(step).max(), 1e-12))
        new = _Point.at(task, point.theta + step, spread, centre, point.variance)
        if new.log_joint >= point.log_joint:
            return new, damping / 5
        damping *= 10
    return point, damping


def _error(task: _Task, point: _Point, spread: np.ndarray) -> float:
    """The error variance at which the evidence is largest."""
    known = np.sum(_shares(task, point, spread))
    left = max(task.independent - known, 0.1 * task.independent)
    return max(float(task.weight * np.sum(point.residual**2) / left), float(task.variance))


def _shares(task: _Task, point: _Point, spread: np.ndarray) -> np.ndarray:
    """How much of each direction the data tell rather than the prior; gamma is their sum. Of theta a half is taken."""
    values = np.maximum(np.linalg.eigvalsh(task.weight / point.variance * point.F.T @ point.F), 0.0)
    return np.append(values / (1 + values), np.full(len(spread), 0.5))


def _laplace(task: _Task, point: _Point, spread: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Log evidence, and the standard deviations of theta."""
    J, prior = _curvature(task, point, spread)
    H = task.weight / point.variance * J.T @ J + np.diag(prior)
    evidence = point.log_joint + len(H) / 2 * np.log(2 * np.pi) - np.linalg.slogdet(H)[1] / 2
    sd = np.sqrt(np.diag(np.linalg.inv(H)))[len(point.w) :]
    return float(evidence), {name: np.asarray(x) for name, x in _named(task.model)(jnp.asarray(sd)).items()}
