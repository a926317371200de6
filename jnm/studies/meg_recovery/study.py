"""A network's parameters from simulated MEG, and what the way to the sensors takes from them.

Every subject's network is simulated in time and fitted in frequency, three times over: from the moments of all regions,
from a helmet with the head that the fields went through, and from the same helmet with a sphere in place of the head.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._param import cast
from jnm.fitting.measured_csd import measured
from jnm.meg.leadfield import LeadField
from jnm.meg.noise import SensorNoise
from jnm.network import Connectome
from jnm.studies.meg_recovery.brain import Brain
from jnm.studies.meg_recovery.fits import Likelihood, View
from jnm.studies.meg_recovery.record import SAMPLE, Recordings, drawn, moments, record, whitened
from jnm.studies.meg_recovery.result import BEM, SOURCE, SPHERE, Found, MegRecovery


def recover_from_meg(
    lead: LeadField,
    sphere: LeadField,
    noise: SensorNoise,
    key: PRNGKeyArray,
    *,
    connectome: Connectome | None = None,
    subjects: int = 20,
    seconds: float = 60.0,
    dt: float = 0.5,
    components: int = 40,
    band: tuple[float, float] = (4.0, 30.0),
    segment: float = 1000.0,
    level: float = 0.9,
) -> MegRecovery:
    """Simulate subjects whose parameters differ, record them, and fit each record in three views.

        >>> found = recover_from_meg(lead, sphere, SensorNoise.from_mne(cov, info, sfreq=600.0), jax.random.key(0))
        >>> print(found)

    **Arguments**

    - `lead`: through which the fields go, such as the subject's BEM; `sphere`: what is taken for it in the third view, of
      the same regions; `noise`: of these sensors.
    - `connectome`: with lengths; by default a synthetic one of the lead field's regions. Its labels are regions of the
      lead field.
    - `subjects`, each recorded for `seconds` and simulated in steps of `dt` ms.
    - `components`: of the sensors, leading ones, that are compared. `band`: Hz, `segment`: ms, of Welch's method.
    - `level`: of the intervals.

    Raises `ValueError` for fewer than two subjects, lead fields of other regions or sensors, a connectome without lengths,
    a record shorter than two segments, and a band that its samples do not hold.
    """
    if subjects < 2 or 1000.0 * seconds < 2 * segment:
        raise ValueError(
            f"recover_from_meg: subjects = {subjects} of {seconds:g} s, segments of {segment:g} ms; wanted two or more of "
            "each, for a bias takes two subjects and a spectrum two segments."
        )
    if not 1000.0 / segment <= band[0] < band[1] < 500.0 / SAMPLE:
        raise ValueError(
            f"recover_from_meg: band = {band} Hz; wanted {1000.0 / segment:g} Hz (one period a segment) or more, lowest "
            f"first, and less than {500.0 / SAMPLE:g} Hz."
        )
    brain = Brain.on(_synthetic(lead) if connectome is None else connectome)
    labels = brain.network.connectome.labels
    heads = {BEM: lead.select(labels).pick(noise.ch_names), SPHERE: sphere.select(labels).pick(noise.ch_names)}
    views = {name: whitened(head, noise, components) for name, head in heads.items()}
    for_truth, for_brain, for_sensors = jax.random.split(key, 3)
    truth = drawn(brain, for_truth, subjects)
    sent = moments(brain, truth, for_brain, seconds, dt)
    seen = record(sent, heads[BEM], noise, views, for_sensors, segment, band)
    with jax.enable_x64(True):
        brain, truth = cast(brain, jnp.float64), jnp.asarray(np.asarray(truth, float))
        found = {SOURCE: fitted(brain, seen, SOURCE, None)}
        for name, view in views.items():
            found[name] = fitted(brain, seen, name, view @ np.asarray(heads[name].gain, float))
        told = np.asarray(_told(brain, truth)[0])
    return MegRecovery(told, found, seconds, level)


def fitted(brain: Brain, seen: Recordings, view: str, lead: np.ndarray | None) -> Found:
    """The fits of one view, through what its analyst takes for the lead field of the components; in double precision."""
    data = [measured((seen.f_hz, S, seen.averages), None, (0.0, np.inf), (), None, "hann", 0.5) for S in seen.S[view]]
    regions = jnp.eye(brain.network.n_regions)
    through = View(regions, None) if lead is None else View(jnp.asarray(lead), jnp.eye(len(lead)))
    is_ = Likelihood.of(brain, through, data[0]).fits(jnp.asarray(np.stack([one.S for one in data])))
    value, slope = (np.asarray(x) for x in _told(brain, is_.theta))
    sd = np.sqrt(np.einsum("spi,sij,spj->sp", slope, np.asarray(is_.covariance), slope))
    noise = None if lead is None else np.exp(np.asarray(is_.theta[:, 4]))
    return Found(value, sd, np.asarray(is_.arrived), noise)


@eqx.filter_jit
def _told(brain: Brain, thetas: Float[Array, "subject free"]) -> tuple[Array, Array]:
    """The logarithms of what is looked for, and their derivatives by theta."""

    def one(theta):
        return brain.at(theta[:4]).told

    return jax.vmap(one)(thetas), jax.vmap(jax.jacfwd(one))(thetas)


def _synthetic(lead: LeadField) -> Connectome:
    """Weights and lengths between the lead field's regions by the recipe of the default connectome."""
    from jnm.datasets import DEFAULT_RECIPE, DEFAULT_SEED  # a room further right

    return Connectome.from_centres(lead.region_positions, seed=DEFAULT_SEED, labels=lead.labels, recipe=DEFAULT_RECIPE)
