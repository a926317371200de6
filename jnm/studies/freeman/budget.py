r"""Which assumption of the Freeman masses costs how much: from the network's mean potential to the mass, one by one.

    network       V, as recorded
    noise         tau_m V' = rest - V + (what is held) - sum_s <g_s (v - E_s)> / g_L - tau_m (what resets take away)
    reset         the same without the reset and without the hold of the refractory time
    correlation   <g_s (v - E_s)>  becomes  <g_s> (V - E_s)
    tau_syn       <g_s> = [tau_s D + 1]^-1 q_s Phi_s with one time constant for all kinds
    adiabatic     the filter moves from the conductance to the product q_s (V - E_s) Phi_s: the modified Freeman mass
    Vbar          V - E_s becomes Vbar - E_s: the conventional Freeman mass

A term is what the potential loses in that line, V of the line before minus V of this one, so the terms add up to the
misfit. Each line is stepped as the network is. The adiabatic step needs V slow beside g; the paper's prose says that v
follows g at once, its equation (21), kept here, the opposite.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm.spiking.lif import LIFNetwork
from jnm.spiking.lif_run import LIFRun
from jnm.studies.freeman.masses import mass_of, reconstruct

TERMS = ("noise", "reset", "correlation", "tau_syn", "adiabatic", "Vbar")


class ErrorBudget(NamedTuple):
    """What each assumption costs, in the order of TERMS."""

    mean: Float[np.ndarray, " term"]
    """Mean over time of the potential that is lost, mV."""
    sd: Float[np.ndarray, " term"]
    """Its standard deviation over time, mV."""
    potential: Float[np.ndarray, "time line"]
    """V of the network and of each line after it, mV."""


def error_budget(net: LIFNetwork, run: LIFRun, dt: float, Vbar: float, first: int, tau_syn: float = 5.0) -> ErrorBudget:
    """The error budget of a run that kept its currents every step; statistics from step `first` on.

    Raises `ValueError` for a run without currents, or that was not saved at every step of `dt` ms.
    """
    if run.currents is None or len(run.ts) < 2 or abs(run.ts[1] - run.ts[0] - dt) > 1e-6 * dt:
        raise ValueError("error_budget: wanted a run with currents=True, saved at every step.")
    V, phi = np.asarray(run.V, float), np.asarray(run.Phi, float)
    lines = [V, *_from_currents(net, run, dt), *_from_conductances(net, phi, dt, V[0], tau_syn)]
    lines += [reconstruct(mass_of(net, kind, Vbar, tau_syn), phi, dt, Vbar) for kind in ("MFM", "CFM")]
    potential = np.stack(lines, axis=1)
    lost = -np.diff(potential[first:], axis=1)
    return ErrorBudget(lost.mean(axis=0), lost.std(axis=0), potential)


def _from_currents(net: LIFNetwork, run: LIFRun, dt: float) -> list[np.ndarray]:
    """The potential that the recorded currents make, with and without reset and hold."""
    c, tau, rest = run.currents, float(net.tau_m), float(net.rest)
    assert c is not None
    synaptic, kept = (np.sum(np.asarray(x, float), axis=-1) / float(net.g_L) for x in (c.synaptic, c.synaptic_held))
    hold = np.asarray(c.held, float) * (rest - float(net.v_reset)) - kept
    with_reset = (rest - hold - synaptic) / tau - np.asarray(c.reset, float)
    without = (rest - synaptic) / tau
    decay = np.full(len(synaptic), 1 - dt / tau)
    return [_recurrence(decay, dt * slope, float(run.V[0])) for slope in (with_reset, without)]


def _from_conductances(net: LIFNetwork, phi: np.ndarray, dt: float, start: float, tau_syn: float) -> list[np.ndarray]:
    """The potential that mean conductances make, with the network's time constants and with one for all."""
    own = [float(getattr(net, f"tau_{kind}")) for kind in "EIX"]
    q, E = (np.array([float(getattr(net, f"{name}_{kind}")) for kind in "EIX"]) for name in ("q", "E"))
    leak, tau_m, rest = float(net.g_L), float(net.tau_m), float(net.rest)
    found = []
    for taus in (own, [tau_syn] * 3):
        risen = dt / np.array(taus) * q * phi
        g = [_recurrence(np.full(len(phi), 1 - dt / tau), risen[:, s], risen[0, s]) for s, tau in enumerate(taus)]
        old = np.concatenate([np.zeros((1, 3)), np.stack(g, axis=1)[:-1]])  # a step sees the conductances before it
        decay = 1 - dt / tau_m * (1 + old.sum(axis=1) / leak)
        found.append(_recurrence(decay, dt / tau_m * (rest + old @ E / leak), start))
    return found


def _recurrence(decay: np.ndarray, added: np.ndarray, start: float) -> np.ndarray:
    """V[n] = decay[n] V[n - 1] + added[n], from V[0] = start on."""
    later = _scan(jnp.asarray(decay[1:]), jnp.asarray(added[1:]), jnp.asarray(start))
    return np.concatenate([[start], np.asarray(later, float)])


@jax.jit
def _scan(decay: Array, added: Array, start: Array) -> Array:
    def one(V, x):
        V = x[0] * V + x[1]
        return V, V

    return jax.lax.scan(one, start.astype(decay.dtype), (decay, added))[1]
