"""Can fitting rescue a mass? Freeman masses and an NMM2 fitted to a LIF network, and judged on a stretch held out.

The Freeman masses are given the spikes that arrive and explain the mean potential; their synaptic areas, resting
potential, membrane and synaptic time constant are free. Of a conventional mass only c_s = q_s (Vbar - E_s) / g_L shows,
and tau_m and tau_syn are exchangeable, so Vbar is taken from the data and the pair of time constants is unordered. The
NMM2 is given the external spikes alone, as a current, and explains the rates of both populations.

Judged is the share of variance left unexplained in the second half of the record, beside the mean, an autoregression
that is told the network's own past up to 20 ms before, and a twin of the network.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jnm._param import Positive, as_parameter, param
from jnm.fitting import Fit, LogSpectralLoss, TimeCourseLoss, fit, free, polish
from jnm.integration.simulate import simulate
from jnm.integration.stimulus import Sampled
from jnm.models.freeman import AbstractFreeman
from jnm.models.nmm2 import NMM2
from jnm.observe import chi_square, run_spectrum
from jnm.spiking.lif_record import LIFRun

Losses = Literal["time course", "spectrum", "both"]

TAU_X = 5.0  # ms: the network's external synapses
AHEAD = 20.0  # ms: how far before the autoregression's knowledge of the network ends


class Target(NamedTuple):
    """What a network did, in bins of `dt` ms: mean potential (mV), rates (1/ms), arriving spikes (1/ms)."""

    V: Float[np.ndarray, " time"]
    rate: Float[np.ndarray, "time 2"]
    phi: Float[np.ndarray, "time 3"]
    dt: float

    @classmethod
    def of(cls, run: LIFRun, step: float, dt: float = 0.5) -> "Target":
        """The means over bins of `dt` ms of a run kept every `step` ms; V is taken at their ends."""
        width = round(dt / step)
        if width < 1 or abs(width * step - dt) > 1e-6 * dt:
            raise ValueError(f"Target: bins of {dt} ms are no multiple of the run's interval, {step} ms.")
        bins = len(run.V) // width

        def mean(x):
            return np.asarray(x[: bins * width], float).reshape(bins, width, -1).mean(axis=1)

        return cls(np.asarray(run.V, float)[width - 1 :: width][:bins], mean(run.rate), mean(run.Phi), dt)

    @property
    def half(self) -> int:
        """Where training ends and judging begins."""
        return len(self.V) // 2


class DrivenFreeman(eqx.Module):
    """A Freeman mass with one synaptic time constant, driven by recorded spikes."""

    mass: AbstractFreeman
    tau_syn: Float[Array, ""] = param(5.0, unit="ms", domain=Positive(), doc="time constant of all synapses")

    @property
    def whole(self) -> AbstractFreeman:
        """The mass with this time constant."""
        return eqx.tree_at(lambda m: (m.tau_E, m.tau_I, m.tau_X), self.mass, (self.tau_syn,) * 3)

    def potential(self, phi: Array, dt: float, start: Any) -> Float[Array, " time"]:
        """V (mV) at the ends of the bins, by Heun's method, from standing still at `start`."""
        inputs = Sampled(values=phi, dt=dt, into="synaptic", hold=True)
        mass = self.whole
        run = simulate(
            mass, phi.shape[0] * dt, dt, y0=mass.start(start), stimulus=inputs, save=lambda t, y: y.V, throw=False
        )
        return run.ys


class DrivenNMM2(eqx.Module):
    """Two QIF populations that hear the external spikes as a current into the first.

    I = drive x, with tau_X x' = Phi_X / mean Phi_X - x: the spikes behind their synapses.
    """

    mass: NMM2
    drive: Float[Array, ""] = param(5.0, doc="current made by the mean external input")

    def rates(self, phi: Array, dt: float) -> Float[Array, "time population"]:
        """Rates (1/ms) of both populations at the ends of the bins."""
        keep = jnp.exp(-dt / TAU_X)
        heard = phi[:, 2] / jnp.mean(phi[:, 2])

        def filtered(x: Array, now: Array) -> tuple[Array, Array]:
            x = keep * x + (1 - keep) * now
            return x, x

        _, x = jax.lax.scan(filtered, jnp.ones_like(heard[0]), heard)
        current = self.drive * jnp.stack([x, jnp.zeros_like(x)], axis=1)
        stimulus = Sampled(values=current, dt=dt, hold=True)
        return simulate(
            self.mass, phi.shape[0] * dt, dt / 2, save_every=dt, stimulus=stimulus, save=lambda t, y: y.r, throw=False
        ).ys


class Score(NamedTuple):
    """How a method does on the held-out half."""

    method: str
    unexplained: float
    """Mean square error over variance: 1 is what the mean of the training half does, about."""
    chi_square: float
    """Of the spectra; 2 where nothing fits, NaN for a constant."""


class Rescue(NamedTuple):
    """A fit, the scores before and after it on the held-out half, and the predicted course."""

    fit: Fit
    before: Score
    after: Score
    course: Float[np.ndarray, "time channel"]


def fit_freeman(
    mass: AbstractFreeman, target: Target, *, loss: Losses = "time course", steps: int = 60, settle: float = 200.0
) -> Rescue:
    """Fit areas, resting potential and both time constants of a Freeman mass to the mean potential of a network.

    The area of a kind of which no spike arrives while it trains is not free: nothing tells it. The first `settle` ms are
    left out; descent for `steps` steps is followed by Gauss-Newton. Raises `ValueError` for a record shorter than four
    times `settle`.
    """
    start = DrivenFreeman(mass)
    arrives = np.any(target.phi[: target.half] > 0, axis=0)
    names = (*(f"q_{kind}" for kind, some in zip("EIX", arrives, strict=True) if some), "rest", "tau_m")
    first = float(target.V[0])

    def where(m):
        return (*(getattr(m.mass, name) for name in names), m.tau_syn)

    def course(model, phi):
        return model.potential(phi, target.dt, first)[:, None]

    return _rescued(start, where, course, target.V[:, None], target, loss, steps, settle)


def fit_nmm2(target: Target, *, loss: Losses = "both", steps: int = 150, settle: float = 200.0) -> Rescue:
    """Fit an NMM2 of two populations, driven by the external spikes alone, to the rates of a network's populations.

    Free are the centres and widths of excitability, four weights, the membrane time constants and the drive. Starts
    from a quiet circuit. A population that is silent while it trains is left out. Arguments and errors as in
    `fit_freeman`; raises `ValueError` too if both are silent.
    """
    quiet: Any = dict(tau_m=(20.0, 20.0), tau_s=(3.0, 7.0), delta=(1.0, 1.0), eta=(-5.0, -5.0), order=1)
    mass = NMM2(C=as_parameter(((5.0, -5.0), (5.0, -5.0))), **quiet)

    def where(m):
        return (m.mass.eta, m.mass.delta, m.mass.C, m.mass.tau_m, m.drive)

    skip = round(settle / target.dt)
    fires = np.flatnonzero(target.rate[skip : target.half].std(axis=0) > 0)
    if fires.size == 0:
        raise ValueError("rescue: no neuron fires in the training half; there is no rate to fit.")

    def course(model, phi):
        return model.rates(phi, target.dt)[:, fires]

    return _rescued(DrivenNMM2(mass), where, course, target.rate[:, fires], target, loss, steps, settle)


def _rescued(
    start: Any,
    where: Any,
    course: Callable[[Any, Array], Array],
    observed: np.ndarray,
    target: Target,
    kind: Losses,
    steps: int,
    settle: float,
) -> Rescue:
    skip, half = round(settle / target.dt), target.half
    if half < 2 * skip:
        raise ValueError(
            f"rescue: a record of {len(target.V) * target.dt:g} ms; wanted four times settle = {settle} ms."
        )
    phi = jnp.asarray(target.phi, float)
    theta, build = free(start, where)
    loss = _loss(kind, lambda model, key: course(model, phi[:half])[skip:], observed[skip:half], target.dt)
    found = fit(loss, theta, build, optax.adam(0.05), steps, jax.random.key(0), progress=False)
    if kind == "time course":
        found = polish(found, steps=10, keys=1)
    whole = eqx.filter_jit(course)
    before, after = (np.asarray(whole(model, phi), float) for model in (start, found.model))
    scores = [judge(name, x, observed, half, target.dt) for name, x in (("before", before), ("after", after))]
    return Rescue(found, scores[0], scores[1], after)


def _loss(kind: Losses, simulation: Any, observed: np.ndarray, dt: float) -> Any:
    sd = np.maximum(observed.std(axis=0), 1e-6 * (1 + np.abs(observed).max()))
    if kind == "time course":
        return TimeCourseLoss(simulation, observed, noise_sd=sd)
    segment = max(len(observed) // 4, 2) * dt
    spectral = LogSpectralLoss(simulation, observed, dt=dt, segment=segment, band=(4e3 / len(observed) / dt, 200.0))
    if kind == "spectrum":
        return spectral
    if kind == "both":
        return TimeCourseLoss(simulation, observed, noise_sd=sd) + spectral
    raise ValueError(f"rescue: loss = {kind!r}; wanted 'time course', 'spectrum' or 'both'.")


def judge(method: str, course: np.ndarray, observed: np.ndarray, half: int, dt: float) -> Score:
    """The share of variance that a course [time, channel] leaves unexplained from sample `half` on, and chi-square."""
    x, y = observed[half:], course[half:]
    left = np.mean((x - y) ** 2, axis=0) / np.maximum(x.var(axis=0), 1e-300)
    flat = not np.all(np.isfinite(y)) or np.any(y.std(axis=0) < 1e-9) or np.any(x.std(axis=0) < 1e-12)
    if flat:
        return Score(method, float(np.mean(left)), np.nan)
    P, Q = (run_spectrum(jnp.asarray(each - each.mean(axis=0))[:, None], dt).density for each in (x, y))
    return Score(method, float(np.mean(left)), float(jnp.mean(chi_square(P, Q))))


def baselines(observed: np.ndarray, half: int, dt: float, order: int = 10) -> tuple[Score, Score]:
    """The mean of the training half, and an autoregression of that order, told all that is older than AHEAD ms.

    The autoregression has steps of AHEAD / 4 ms, is fitted on the training half and forecasts four of its steps.
    """
    stride = max(round(AHEAD / 4 / dt), 1)
    constant = np.broadcast_to(observed[:half].mean(axis=0), observed.shape)
    forecast = np.stack([_autoregression(x, half, order, stride) for x in observed.T], axis=1)
    return judge("mean", constant, observed, half, dt), judge(f"AR({order})", forecast, observed, half, dt)


def _autoregression(x: np.ndarray, half: int, order: int, stride: int) -> np.ndarray:
    """x forecast four strides ahead from `order` values, a stride apart, by direct least squares on the first half."""
    ago = stride * (4 + np.arange(order))
    rows = np.arange(ago[-1], len(x))
    design = np.concatenate([np.ones((len(rows), 1)), x[rows[:, None] - ago[None]]], axis=1)
    train = rows < half
    weights = np.linalg.lstsq(design[train], x[rows[train]], rcond=None)[0]
    forecast = np.full(len(x), x[:half].mean())
    forecast[rows] = design @ weights
    return forecast
