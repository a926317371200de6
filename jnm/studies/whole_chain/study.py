"""The whole chain, there and back: cells spike on the cortex, a mass is fitted to what is seen of them in four ways.

Records are made by spiking cells in time, fits are made to them by the closed form of the mass in frequency: they share
nothing but the theory that is tested. Each record is seen in all ways at once, so that what a way of looking costs is
not mixed with the luck of a record.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from jnm import observe
from jnm._param import cast
from jnm.fitting.measured_csd import measured, projection, sensing
from jnm.meg.leadfield import LeadField
from jnm.meg.noise import SensorNoise
from jnm.studies.whole_chain.fits import Likelihood, View
from jnm.studies.whole_chain.places import WAYS, Places, Way
from jnm.studies.whole_chain.result import Seen, WholeChain
from jnm.studies.whole_chain.spikes import Signals, record

BLIND = "sensors, no shots"
"""The sensors, fitted by a mass that knows of no shot noise."""
OFF = ((1.15, 0.6, 1.5, 1.3, 0.7, 1.4), (0.9, 1.5, 0.6, 0.8, 1.4, 0.7), (1.0, 1.3, 1.3, 1.3, 1.4, 1.4))
"""Where fits begin: X, C, K, delta, sigma sqrt(n) and the level, times these (chosen). There are other optima."""


class Look(NamedTuple):
    """Cross-spectra of a record by way of looking, and how many independent segments they are worth."""

    f_hz: Float[np.ndarray, " frequency"]
    S: dict[Way, Complex[np.ndarray, "frequency row row"]]
    averages: float


def whole_chain(
    truth: Places,
    lead: LeadField,
    noise: SensorNoise,
    key: PRNGKeyArray,
    *,
    records: int = 20,
    epochs: int = 10,
    epoch_ms: float = 2000.0,
    dt: float = 0.16,
    band: tuple[float, float] = (6.0, 100.0),
    segment: float = 500.0,
    blind: bool = True,
) -> WholeChain:
    """Simulate records of spiking cells, look at each in four ways, and fit the mass to each by gradient.

        >>> chain = whole_chain(places, lead, SensorNoise.white(sensors), jax.random.key(0))
        >>> print(chain)

    **Arguments**

    - `truth`: the places. `lead`: what the sensors see of them, a region for each place. `noise`: of these sensors.
    - `records`: how many, each of `epochs` epochs of `epoch_ms`, simulated in steps of `dt`, ms.
    - `band`: frequencies that are fitted, Hz; `segment`: of Welch's method, ms.
    - `blind`: also fit a mass to the sensors that knows of no shot noise.

    Raises `ValueError` for fewer than two records, a lead field of another number of regions, a noise of other channels,
    and places whose rest is unstable.
    """
    if lead.gain.ndim != 2 or lead.gain.shape[1] != len(truth.links) or lead.ch_names != noise.ch_names:
        raise ValueError(
            f"whole_chain: {lead} and {noise} for {len(truth.links)} places; wanted a region of fixed orientation for "
            "each place and the noise of the same channels: lead.select(labels), lead.pick(noise.ch_names)."
        )
    if records < 2:
        raise ValueError(f"whole_chain: records = {records}; a bias takes two or more.")
    if not truth.growth < 0:
        raise ValueError(
            f"whole_chain: the rest of these places is unstable (a mode grows by {1e3 * truth.growth:.3g} /s), so that they "
            "have no spectrum there; take weaker weights C and K, or a larger drive X or width delta."
        )
    sensors, own = projected(lead, noise)
    looks = []
    for one in jax.random.split(key, records):
        for_cells, for_sensors = jax.random.split(one)
        looks.append(look(record(truth, epochs, epoch_ms, for_cells, dt=dt), sensors, own, for_sensors, segment))
    return fitted(truth, looks, sensors, own, band, 1e-3 * epochs * epoch_ms, blind=blind)


def projected(lead: LeadField, noise: SensorNoise) -> tuple[Float[np.ndarray, "row place"], SensorNoise]:
    """Sensors whitened and projected on what the places reach: what they see of moments, and their noise."""
    M = np.asarray(noise.mixing, float)  # in float32 M M' would be noise where projectors left none
    view = projection(sensing(lead, M @ M.T, np.ones(1), len(M)), lead.gain.shape[1])
    if view is None:
        raise ValueError("whole_chain: the sensors have no noise; wanted some, which says what they tell apart.")
    half = np.linalg.cholesky(view @ M @ M.T @ view.T)
    names, kinds = tuple(f"component {k}" for k in range(len(view))), ("mag",) * len(view)
    return view @ np.asarray(lead.gain, float), SensorNoise(
        jnp.asarray(half), names, kinds, noise.knee_hz, noise.exponent
    )


def look(
    signals: Signals, sensors: Float[np.ndarray, "row place"], noise: SensorNoise, key: PRNGKeyArray, segment: float
) -> Look:
    """The spectra of a record, its sensors with noise; the mean over its epochs."""
    clean = jnp.matmul(signals.moment, jnp.asarray(sensors.T, signals.moment.dtype), precision="highest")
    epochs, samples = clean.shape[:2]
    keys = jax.random.split(key, epochs)
    y = clean + jnp.stack([noise.sample(one, samples, 1000.0 / signals.dt) for one in keys])
    seen = zip(WAYS, (signals.rate, signals.v, signals.moment, y), strict=True)
    f_hz = np.fft.rfftfreq(round(segment / signals.dt), signals.dt / 1000)
    worth = epochs * observe.averages(samples, signals.dt, segment)
    return Look(f_hz, {way: np.asarray(_mean_csd(x, signals.dt, segment), complex) for way, x in seen}, worth)


@eqx.filter_jit
def _mean_csd(x: Float[Array, "epoch time row"], dt: float, segment: float) -> Complex[Array, "frequency row row"]:
    def one(epoch):
        return observe.csd(epoch - jnp.mean(epoch, axis=0, keepdims=True), dt, segment)[1]

    return jnp.mean(jax.lax.map(one, x), axis=0)


def fitted(
    truth: Places,
    looks: list[Look],
    sensors: Float[np.ndarray, "row place"],
    noise: SensorNoise,
    band: tuple[float, float],
    record_s: float,
    *,
    blind: bool = True,
) -> WholeChain:
    """The fits to all records, in double precision; `truth` says where they begin and what does not move."""
    with jax.enable_x64(True):
        truth, found = cast(truth, jnp.float64), {}
        for way in WAYS:
            found[way] = _fits(truth, way, looks, sensors, noise, band)
        if blind:
            found[BLIND] = _fits(truth, "sensors", looks, sensors, noise, band, shots=False)
        values = {name: float(x) for name, x in truth.values().items()}
    return WholeChain(values, found, record_s)


def _fits(
    truth: Places, way: Way, looks: list[Look], sensors: np.ndarray, noise: SensorNoise, band: tuple, *, shots=True
) -> Seen:
    data = [measured((one.f_hz, one.S[way], one.averages), None, band, (), None, "hann", 0.5) for one in looks]
    count, f_hz = len(truth.links), data[0].f_hz
    view = View(jnp.eye(count), jnp.zeros((len(f_hz), count, count)))
    if way == "sensors":
        view = View(jnp.asarray(sensors, float), jnp.asarray(np.asarray(noise.csd(f_hz), float)))
    likelihood = Likelihood.of(truth, way, data[0], view, shots=shots)
    here, which = np.asarray(truth.free(way)), np.arange(6)
    away = np.where(which < 3, here * (np.array(OFF) - 1), np.log(OFF))  # the others are logarithms
    starts = here + away * np.isin(which, likelihood.moving)
    S = jnp.asarray(np.stack([one.S for one in data]))
    return Seen.of(likelihood, likelihood.fits(S, jnp.asarray(starts)), jnp.asarray(here), S)
