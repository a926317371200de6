"""One network at one grid point: a run, its twin, the masses driven by its spikes, and what is observed of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from jnm.observe import lag, run_spectrum, spike_contrast
from jnm.spiking.lif import LIFNetwork
from jnm.spiking.lif_run import LIFRun
from jnm.studies.freeman.budget import ErrorBudget, error_budget
from jnm.studies.freeman.masses import mass_of, reconstruct

KINDS = ("CFM", "MFM")
SERIES = ("network", "twin", *KINDS)

_TRAINS, _LONGEST_LAG = 500, 100.0  # neurons of the spike-contrast; ms


class Repeat(NamedTuple):
    """One network, drawn anew; what is after the transient."""

    rate: Float[np.ndarray, " 2"]
    """Spikes per second of an excitatory and an inhibitory neuron."""
    mean: Float[np.ndarray, " series"]
    """Mean over time of the potential of each of SERIES, mV; NaN for one that diverged."""
    sd: Float[np.ndarray, " series"]
    """Its standard deviation over time, mV."""
    contrast: float
    """Spike-contrast of 500 neurons; NaN if they fired too little."""
    correlation: Float[np.ndarray, " 3"]
    """Of twin, CFM and MFM with the network, at the lag at which it is largest."""
    lag: Float[np.ndarray, " 3"]
    """That lag, ms: positive where they are late."""
    samples: Float[np.ndarray, " 3"]
    """How many independent samples the record is worth to that correlation."""
    euler_radius: float
    """Of the modified mass: above 1 its step is unstable under the strongest input."""
    budget_mean: Float[np.ndarray, " term"]
    budget_sd: Float[np.ndarray, " term"]
    spectrum: Float[np.ndarray, "series frequency"]
    """Hamming-window spectra of the whole record, mV^2/Hz, without 0 Hz."""
    frequency: Float[np.ndarray, " frequency"]
    """Hz."""
    V: Float[np.ndarray, " time"]
    """The mean potential of the network, mV."""


def run_repeat(
    net: LIFNetwork, key: PRNGKeyArray, *, t1: float, discard: float, dt: float, tau_syn: float, twin: bool
) -> Repeat:
    """Run a network for `t1` ms, its twin and its masses; observe what comes after `discard` ms.

    The twin has the same graph and external events, and membrane noise and start of its own.
    """
    first = round(discard / dt)
    events_key, own, other, chosen = jax.random.split(key, 4)
    events = draw_events(net, events_key, round(t1 / dt), dt)
    run = net.run(t1, dt, key=own, events=events, spikes=True, currents=True)
    again = net.run(t1, dt, key=other, events=events).V if twin else np.full(len(run.V), np.nan)
    Vbar = float(np.mean(run.V[first:], dtype=float))
    budget = error_budget(net, run, dt, Vbar, first, tau_syn)
    series = {"network": run.V, "twin": again}
    for kind in KINDS:
        series[kind] = reconstruct(mass_of(net, kind, Vbar, tau_syn), run.Phi, dt, Vbar)
    after = {name: np.asarray(V, float)[first:] for name, V in series.items()}
    return _observed(net, run, budget, after, first, dt, tau_syn, chosen)


def draw_events(net: LIFNetwork, key: PRNGKeyArray, steps: int, dt: float) -> Int[np.ndarray, "step event"]:
    """The external sources that fire in each step, the union of their Poisson trains, filled up with -1."""
    if net.external_graph is None:
        return np.full((steps, 1), -1)
    number_key, which_key = jax.random.split(key)
    number = jax.random.poisson(number_key, net.external_graph.senders * net.nu * dt, (steps,), jnp.int32)
    which = jax.random.randint(which_key, (steps, max(int(number.max()), 1)), 0, net.external_graph.senders)
    return np.asarray(jnp.where(jnp.arange(which.shape[1])[None] < number[:, None], which, -1))


def _observed(
    net: LIFNetwork,
    run: LIFRun,
    budget: ErrorBudget,
    after: dict[str, np.ndarray],
    first: int,
    dt: float,
    tau_syn: float,
    key: PRNGKeyArray,
) -> Repeat:
    network = jnp.asarray(after["network"] - after["network"].mean())
    found = [_lag(network, after[name], dt) for name in SERIES[1:]]
    spectra = [run_spectrum(jnp.asarray(V - V.mean())[:, None], dt) for V in after.values()]
    mfm: Any = mass_of(net, "MFM", 0.0, tau_syn)
    return Repeat(
        rate=1e3 * np.mean(run.rate[first:], axis=0, dtype=float),
        mean=np.array([V.mean() for V in after.values()]),
        sd=np.array([V.std() for V in after.values()]),
        contrast=_contrast(run, first, dt, key),
        correlation=np.array([each[0] for each in found]),
        lag=np.array([each[1] for each in found]),
        samples=np.array([each[2] for each in found]),
        euler_radius=mfm.euler_radius(run.Phi, dt),
        budget_mean=budget.mean,
        budget_sd=budget.sd,
        spectrum=np.stack([np.asarray(each.density) for each in spectra]),
        frequency=spectra[0].frequencies,
        V=after["network"],
    )


def _lag(network: Any, V: np.ndarray, dt: float) -> tuple[float, float, float]:
    """Largest correlation with the network, its lag, and effective samples; NaN for a series that is not there."""
    if not np.all(np.isfinite(V)) or V.std() == 0:
        return np.nan, np.nan, np.nan
    found = lag(network, jnp.asarray(V - V.mean()), dt, min(_LONGEST_LAG, len(V) * dt / 4))
    return float(found.correlation), float(found.lag), float(found.effective_samples)


def _contrast(run: LIFRun, first: int, dt: float, key: PRNGKeyArray) -> float:
    spikes: Any = run.spikes
    chosen = np.asarray(jax.random.permutation(key, spikes.n))[:_TRAINS]
    trains = [train[train > first * dt] - first * dt for train in spikes.trains(chosen)]
    if max(len(train) for train in trains) < 2 or len(trains) < 2:
        return np.nan
    return spike_contrast(trains, len(run.V[first:]) * dt).synchrony
