"""The Freeman masses beside a LIF network: with its parameters, and driven by the spikes that it recorded.

The masses are handed the network's own spikes, so what they make is a reconstruction of its mean potential and not a
prediction. One time constant `tau_syn` stands for all synapses, as in the paper, unless None leaves each its own.
"""

from typing import Literal

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jnm._param import as_parameter
from jnm.integration.simulate import simulate
from jnm.integration.stimulus import Sampled
from jnm.models.freeman import AbstractFreeman, FreemanCFM, FreemanMFM
from jnm.spiking.lif import LIFNetwork

Kind = Literal["CFM", "MFM"]

_SHARED = ("tau_m", "g_L", "rest", "q_E", "q_I", "q_X", "E_E", "E_I", "E_X")


def mass_of(net: LIFNetwork, kind: Kind, Vbar: float, tau_syn: float | None = 5.0) -> AbstractFreeman:
    """The conventional or modified Freeman mass with the parameters of a network, and one `tau_syn` (ms) or its own.

    `Vbar` (mV) is the mean potential over time, from which the conventional mass reckons its driving forces. Raises
    `ValueError` for another kind, and for a network whose neurons differ in these parameters.
    """
    if kind not in ("CFM", "MFM"):
        raise ValueError(f"mass_of: kind = {kind!r}; wanted 'CFM' or 'MFM'.")
    shared = {name: getattr(net, name) for name in (*_SHARED, "tau_E", "tau_I", "tau_X")}
    differ = [name for name, value in shared.items() if value.ndim]
    if differ:
        raise ValueError(f"mass_of: neurons differ in {', '.join(differ)}; a mass has one value for all.")
    if tau_syn is not None:
        shared |= {name: tau_syn for name in ("tau_E", "tau_I", "tau_X")}
    return FreemanCFM(Vbar=as_parameter(Vbar), **shared) if kind == "CFM" else FreemanMFM(**shared)


def reconstruct(mass: AbstractFreeman, phi: ArrayLike, dt: float, start: float) -> Float[np.ndarray, " time"]:
    """The potential (mV) of a mass after each step of `dt` (ms), driven by recorded inputs `phi` [time, 3] (1/ms).

    Explicit Euler with the step of the record, as in the paper, from standing still at `start` (mV). Where the modified
    mass diverges the rest of the series is NaN: ask for it with `np.isfinite`, and see `FreemanMFM.euler_radius`.

    Raises `ValueError` for inputs of another shape or that are not finite.
    """
    inputs = np.asarray(phi, float)
    if inputs.ndim != 2 or inputs.shape[1] != 3 or not np.all(np.isfinite(inputs)):
        raise ValueError(
            f"reconstruct: phi has shape {list(inputs.shape)}; wanted finite [time, 3]: Phi_E, Phi_I, Phi_X."
        )
    V = np.asarray(_potential(mass, jnp.asarray(inputs), float(dt), jnp.asarray(start)), float)
    good = np.cumprod(np.isfinite(V)).astype(bool)
    return np.where(good, V, np.nan)


@eqx.filter_jit
def _potential(mass: AbstractFreeman, phi: Array, dt: float, start: Array) -> Array:
    inputs = Sampled(values=phi, dt=dt, into="synaptic", hold=True)
    run = simulate(
        mass,
        t1=phi.shape[0] * dt,
        dt=dt,
        y0=mass.start(start),
        solver=diffrax.Euler(),
        stimulus=inputs,
        save=lambda t, y: y.V,
        throw=False,
    )
    return run.ys
