"""The closed loop beside a network: Freeman masses of both populations that make their spikes themselves."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnm._param import as_parameter
from jnm.integration.simulate import simulate
from jnm.models.freeman_loop import FreemanLoop
from jnm.observe import run_spectrum
from jnm.spiking.lif import LIFNetwork
from jnm.studies.freeman.masses import mass_of


class LoopResult(NamedTuple):
    """What the closed loop predicts; NaN if it diverged."""

    rate: Float[np.ndarray, " 2"]
    """Spikes per second of excitatory and inhibitory neurons."""
    mean: float
    """Mean potential over all neurons and time, mV."""
    sd: float
    """Its standard deviation over time, mV: next to nothing at rest."""
    peak_hz: float
    """Where its spectrum is largest; NaN at rest."""


def closed_loop(net: LIFNetwork, p: float, fraction_excitatory: float, p_external: float = 0.01) -> FreemanLoop:
    """The closed loop of modified Freeman masses with a network's parameters, its own synaptic time constants included."""
    k = net.n * p
    assert net.external_graph is not None
    return FreemanLoop(
        mass_of(net, "MFM", 0.0, tau_syn=None),
        k_E=as_parameter(max(k * fraction_excitatory, 1e-9)),
        k_I=as_parameter(max(k * (1 - fraction_excitatory), 1e-9)),
        phi_X=p_external * net.external_graph.senders * net.nu,
        Q=jnp.maximum(net.Q, 1e-9),
        threshold=net.v_th,
        reset=net.v_reset,
        refractory=net.tau_ref,
    )


def run_loop(loop: FreemanLoop, fraction_excitatory: float, t1: float, discard: float, dt: float) -> LoopResult:
    """Let the loop run from rest for `t1` ms; what it does after `discard` ms."""
    run = simulate(loop, t1, dt, save_every=1.0, discard=discard, save=lambda t, y: (loop.rate(y), y.V), throw=False)
    rate, V = (np.asarray(x, float) for x in run.ys)
    if not np.all(np.isfinite(V)):
        return LoopResult(np.full(2, np.nan), np.nan, np.nan, np.nan)
    potential = V @ [fraction_excitatory, 1 - fraction_excitatory]
    moving = potential.std() > 1e-2
    spectrum = run_spectrum((potential - potential.mean())[:, None], 1.0)
    peak = spectrum.frequencies[int(np.argmax(spectrum.density))] if moving else np.nan
    return LoopResult(1e3 * rate.mean(axis=0), float(potential.mean()), float(potential.std()), float(peak))
