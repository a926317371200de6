"""Subjects are simulated in time and recorded twice: the moments of all regions themselves, and a helmet.

The simulation knows nothing of the fit: Heun steps in single precision, noise drawn in time, delays interpolated in a
history, all channels with noise of their measured covariance; only then cross-spectra are made, of moments, and of
the channels whitened and projected on what an analyst's own lead field says regions reach most.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from jnm import observe
from jnm._model import Drive
from jnm._param import cast
from jnm.fitting.measured_csd import projection, sensing
from jnm.integration import simulate
from jnm.meg.leadfield import LeadField
from jnm.meg.noise import SensorNoise
from jnm.studies.meg_recovery.brain import Brain

SETTLE = 2000.0  # ms, from the rest into the stationary state
SAMPLE = 2.0  # ms
_BLOCK = 100  # steps whose noise is drawn at once; best for many members

SPREAD = (0.1, 0.04, 0.15, 0.15)
"""Standard deviations of the logarithms of the parameters over subjects. Chosen: all rest for sure."""


class Recordings(NamedTuple):
    """Cross-spectra [subject, frequency, row, row] by view, and how many independent segments they are worth."""

    f_hz: Float[np.ndarray, " frequency"]
    S: dict[str, Complex[np.ndarray, "subject frequency row row"]]
    averages: float


def drawn(brain: Brain, key: PRNGKeyArray, subjects: int) -> Float[Array, "subject 4"]:
    """The logarithms of subjects' parameters: normal about those of the brain, cut at two standard deviations."""
    z = jax.random.truncated_normal(key, -2.0, 2.0, (subjects, 4), brain.theta.dtype)
    return brain.theta[None] + z * jnp.asarray(SPREAD, z.dtype)[None]


def whitened(lead: LeadField, noise: SensorNoise, components: int) -> Float[np.ndarray, "component channel"]:
    """From channels to the leading components of a lead field over the noise; their noise has the density one."""
    M = np.asarray(noise.mixing, float)
    view = projection(sensing(lead, M @ M.T, np.ones(1), len(M)), components)
    if view is None:
        raise ValueError("recover_from_meg: the sensors have no noise; wanted some, which says what they tell apart.")
    return view


def moments(
    brain: Brain, thetas: Float[Array, "subject 4"], key: PRNGKeyArray, seconds: float, dt: float
) -> Float[Array, "subject time region"]:
    """What the regions of each subject send, nA m, a sample every 2 ms.

    Raises `ValueError` for subjects whose simulation fails.
    """
    with jax.enable_x64(True):
        wide = cast(brain, jnp.float64)
        rests = jax.jit(jax.vmap(lambda theta: wide.at(theta).rest()))(cast(thetas, jnp.float64))
        starts = jax.tree.map(lambda x: jnp.tile(x, brain.network.n_regions), rests)
    keys = jax.random.split(key, len(thetas))
    ys, failed = _simulated(brain, cast(thetas, float), cast(starts, float), keys, seconds, dt)
    if np.any(failed):
        raise ValueError(
            f"recover_from_meg: the simulations of subjects {np.flatnonzero(failed).tolist()} failed at dt = {dt} ms; take "
            "a smaller step, or parameters that vary less."
        )
    return ys


@eqx.filter_jit
def _simulated(brain: Brain, thetas: Array, starts: Array, keys: Array, seconds: float, dt: float):
    def one(theta, start, key):
        here = brain.at(theta)

        def sent(t, y):
            return here.dipole(here.network.source(t, y, Drive()))

        run = simulate(
            here.network, SETTLE + 1000.0 * seconds, dt, y0=start, key=key, save_every=SAMPLE, discard=SETTLE,
            save=sent, block=_BLOCK, throw=False,
        )  # fmt: skip
        return run.ys - jnp.mean(run.ys, axis=0, keepdims=True), run.result != 0

    return jax.vmap(one)(thetas, starts, keys)


def record(
    moments: Float[Array, "subject time region"],
    lead: LeadField,
    noise: SensorNoise,
    views: dict[str, Float[np.ndarray, "component channel"]],
    key: PRNGKeyArray,
    segment: float,
    band: tuple[float, float],
) -> Recordings:
    """Cross-spectra of the moments ("source") and of the views of what the helmet measures of them."""
    step = 1000.0 / segment
    low, high = int(np.ceil(band[0] / step - 1e-9)), int(np.floor(band[1] / step + 1e-9)) + 1
    matrices = tuple(jnp.asarray(view, float) for view in views.values())
    keys = jax.random.split(key, len(moments))
    S = _spectra(moments, lead, noise, matrices, keys, segment, (low, high))
    worth = observe.averages(moments.shape[1], SAMPLE, segment)
    names = ("source", *views)
    return Recordings(step * np.arange(low, high), dict(zip(names, map(_complex, S), strict=True)), worth)


def _complex(S: Array) -> np.ndarray:
    return np.asarray(S, complex)


@eqx.filter_jit
def _spectra(moments, lead, noise, views, keys, segment: float, bins: tuple[int, int]):
    def csd(x):
        return observe.csd(x, SAMPLE, segment)[1][bins[0] : bins[1]]

    def one(each):
        Q, key = each
        y = lead(Q) + noise.sample(key, len(Q), 1000.0 / SAMPLE)
        return csd(Q), *(csd(jnp.matmul(y, view.T, precision="highest")) for view in views)

    return jax.lax.map(one, (moments, keys))
