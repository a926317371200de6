r"""Recordings of a dipole whose neurons are counted: spikes, the moment of their synapses, a helmet, and one channel.

A run goes on at rest, then under pulses; its synapses s make the moment g tau_m C s, the head carries it to all sensors,
which add their noise. For one dipole in Gaussian noise of covariance M M' nothing is lost by looking at one channel, the
sensors weighted by the topography G that is expected,

    q = G' (M M')^-1 y / G' (M M')^-1 G = Q + noise of density 1 / |M^-1 G|^2          (nA m)^2 / Hz,

where M^-1 is the pseudo-inverse if projectors have taken dimensions out.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._param import cast
from jnm.integration import Sampled, simulate
from jnm.meg import LeadField, SensorNoise
from jnm.models import NMM2, psi
from jnm.spiking import NestedShotNoise, NestedShotNoiseState, QIFNetwork
from jnm.studies.finite_population import FinitePopulation
from jnm.studies.neuron_number_model import (
    COUNT,
    GAIN,
    KNOWN,
    LEVEL,
    PROTOCOL,
    Beyond,
    DipoleRecord,
    Expected,
    Protocol,
    Setting,
    centre,
    expected,
    setting_of,
    spread,
)

Source = Literal["network", "theory"]

LARGEST = 20_000  # neurons up to which a network is simulated itself
MEMBERS = 4000  # neurons that stand for more of them
_DT = 0.5  # ms
_PERIODS = 2  # of a run before anything counts, and of pulses before they do


class DipoleView(eqx.Module):
    """What sensors see of one dipole, `DipoleView.of(lead, noise, region)`, and the one channel that says it all."""

    topography: Float[Array, " channel"]
    """fT or fT/cm per nA m."""
    filter: Float[Array, " channel"]
    """From sensors to the moment, nA m per fT or fT/cm."""
    noise: SensorNoise

    @classmethod
    def of(cls, lead: LeadField, noise: SensorNoise, region: str) -> "DipoleView":
        """The view of a region of a lead field, on the channels of the noise. Raises `ValueError` for unknown ones."""
        gain = np.asarray(lead.pick(noise.ch_names).select([region]).gain, float)[:, 0]
        white = np.linalg.pinv(np.asarray(noise.mixing, float))
        weights = white.T @ (white @ gain)
        if not weights @ gain > 0:
            raise ValueError(f"DipoleView: no sensor sees {region}; a radial dipole in a sphere is silent.")
        return cls(jnp.asarray(gain, float), jnp.asarray(weights / (weights @ gain), float), noise)

    def moment(self, y: Float[Array, "time channel"]) -> Float[Array, " time"]:
        """The moment in nA m, with the least noise that sensors allow."""
        return jnp.asarray(y) @ self.filter

    def sensors(self, key: PRNGKeyArray, moment: Float[Array, " time"], sfreq: float) -> Float[Array, "time channel"]:
        """What sensors measure of a moment: its field and their noise."""
        return moment[:, None] * self.topography[None] + self.noise.sample(key, len(moment), sfreq)

    def louder(self, factor: float) -> "DipoleView":
        """The same under sensors whose noise has `factor` times the density."""
        return eqx.tree_at(lambda v: v.noise.mixing, self, self.noise.mixing * np.sqrt(factor))

    def density(self, f_hz: np.ndarray) -> Float[np.ndarray, " frequency"]:
        """Of the noise in `moment`, (nA m)^2 / Hz, one-sided."""
        mixing, weights = np.asarray(self.noise.mixing, float), np.asarray(self.filter, float)
        most = int(np.argmax(np.sum(mixing**2, axis=1)))
        shape = np.asarray(self.noise.psd(f_hz), float)[:, most] / np.sum(mixing[most] ** 2)
        return np.sum((weights @ mixing) ** 2) * shape


def simulator(n: float) -> str:
    """What stands for n neurons: themselves, or fewer of them."""
    return "QIFNetwork" if n <= LARGEST else "NestedShotNoise"


def drawn(key: PRNGKeyArray, middle: np.ndarray, setting: Setting, seeds: int) -> Float[np.ndarray, "seed 6"]:
    """Truths: what is known in advance is drawn from its prior, gain and n are those of `middle`."""
    sd = np.asarray(spread(setting))
    return middle + np.asarray(jax.random.normal(key, (seeds, len(sd)))) * np.where(np.isfinite(sd), sd, 0.0)


def scattered(key: PRNGKeyArray, theta: np.ndarray, setting: Setting) -> DipoleRecord:
    """A record drawn from the likelihood itself."""
    is_ = [np.asarray(x) for x in expected(jnp.asarray(theta), setting)]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))  # JAX's own Gamma variables compile for seconds
    evoked, variance, ongoing = is_
    turned = rng.standard_normal((2, len(evoked)))
    Z = evoked + np.sqrt(variance / 2) * (turned[0] + 1j * turned[1])
    M = setting.protocol.weight
    return DipoleRecord(Z, ongoing * rng.gamma(M, 1 / M, len(ongoing)))  # pyright: ignore[reportArgumentType]


def simulated(
    key: PRNGKeyArray, theta: np.ndarray, view: DipoleView, setting: Setting
) -> tuple[Float[Array, "time channel"], Float[Array, "time channel"]]:
    """What sensors measure of neurons at rest, and under pulses, whole periods of them."""
    protocol, (for_run, for_rest, for_pulsed) = setting.protocol, jax.random.split(key, 3)
    rest, pulsed = _parts(np.exp(theta[GAIN]) * _source(for_run, theta, setting), protocol)
    louder = view.louder(np.exp(theta[LEVEL]))
    sfreq = 1000 / protocol.sample_ms
    return louder.sensors(for_rest, rest, sfreq), louder.sensors(for_pulsed, pulsed, sfreq)


def beyond_linear(
    model: NMM2,
    key: PRNGKeyArray,
    *,
    n: float = 1000.0,
    draws: int = 40,
    protocol: Protocol = PROTOCOL,
    known: tuple[float, ...] = KNOWN,
) -> Beyond:
    """What networks of few neurons do beside the theory of many: ask it for cells of your own, and give it as `beyond`.

    Networks of n neurons with constants drawn as well as they are `known`, without sensors. Of the power it is the slope,
    through zero, of power / theory - 1 over the variance of the source; of the answer the most likely variance, its
    deviations taken for normal (they have longer tails, in which few draws are lost: take many).
    """
    with jax.enable_x64(True):
        silent = setting_of(FinitePopulation.of(cast(model, jnp.float64), n), np.zeros_like, protocol, known)
        thetas = drawn(key, np.asarray(centre(silent)), silent, draws)
        theory = [jax.tree.map(np.asarray, expected(jnp.asarray(theta), silent)) for theta in thetas]
    keys = jax.random.split(jax.random.fold_in(key, 1), draws)
    seen = [
        protocol.seen(*_parts(_source(one, theta, silent), protocol)) for theta, one in zip(thetas, keys, strict=True)
    ]
    found = [DipoleRecord(np.asarray(x.evoked), np.asarray(x.ongoing, float)) for x in seen]  # pyright: ignore
    return Beyond(_excess(theory, found, protocol), _scatter(theory, found, n, protocol))


def _excess(theory: list[Expected], found: list[DipoleRecord], protocol: Protocol) -> float:
    ratio = np.array([np.sum(is_.ongoing) / np.sum(wanted.ongoing) for wanted, is_ in zip(theory, found, strict=True)])
    variance = np.array([np.sum(wanted.ongoing) for wanted in theory]) * 1000 / protocol.segment_ms
    return float(np.sum((ratio - 1) * variance) / np.sum(variance**2))


def _scatter(theory: list[Expected], found: list[DipoleRecord], n: float, protocol: Protocol) -> float:
    """The `Beyond.answer` that makes the deviations of the answers most likely."""
    from scipy.optimize import minimize_scalar

    size = np.array([np.abs(wanted.evoked) ** 2 for wanted in theory])
    off = np.array([np.abs(is_.evoked - wanted.evoked) ** 2 for wanted, is_ in zip(theory, found, strict=True)]) / size
    shaken = np.array([wanted.variance for wanted in theory]) / size  # by ongoing activity

    def misfit(log_answer: float) -> float:
        variance = shaken + np.exp(log_answer) * protocol.lines_hz / n
        return float(np.sum(np.log(variance) + off / variance))

    least: Any = minimize_scalar(misfit, bounds=(-12.0, 12.0), method="bounded")
    return float(np.exp(least.x))


def _parts(
    source: Float[np.ndarray, " time"], protocol: Protocol
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """Of a run: at rest, and under pulses, both after a start."""
    settle, count, pulsed = (
        round(ms / protocol.sample_ms)
        for ms in (_PERIODS * protocol.period_ms, protocol.record_ms, protocol.trials * protocol.period_ms)
    )
    return jnp.asarray(source[settle : settle + count], float), jnp.asarray(source[-pulsed:], float)


def _source(key: PRNGKeyArray, theta: np.ndarray, setting: Setting) -> Float[np.ndarray, " time"]:
    """tau_m C s: a start, rest, a start with pulses, pulses."""
    protocol, n = setting.protocol, float(np.exp(theta[COUNT]))
    with jax.enable_x64(True):
        population = setting.population.at(jnp.asarray(theta[[0, 1, 2, COUNT]]))
        wide = population.model, psi(population.X, population.delta) / population.tau_m
    model, rate = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), float), wide)  # this rest, should it have another
    train = _train(protocol)
    length, every = len(train.values) * protocol.width_ms, protocol.sample_ms
    if simulator(n) == "QIFNetwork":
        network = QIFNetwork.of(model, n=round(n))
        synapse = network.run(length, _DT, start=network.init(key, rate), save_every=every, stimulus=train).synapse
    else:
        ensemble = NestedShotNoise(model, n=jnp.asarray(n), members=MEMBERS)
        start = ensemble.at(rate)
        synapse = simulate(ensemble, length, _DT, y0=start, key=key, save_every=every, save=_heard, stimulus=train).ys
    return np.asarray(model.tau_m * model.C * synapse, float)


def _heard(t: Array, y: NestedShotNoiseState) -> Array | None:
    return y.s


def _train(protocol: Protocol) -> Sampled:
    """Nothing for the start and the record at rest, then a pulse at the start of each period."""
    width = protocol.width_ms
    period = np.zeros(round(protocol.period_ms / width))
    period[0] = protocol.pulse
    quiet = np.zeros(round((_PERIODS * protocol.period_ms + protocol.record_ms) / width))
    values = np.concatenate([quiet, np.tile(period, _PERIODS + protocol.trials)])
    return Sampled(values=jnp.asarray(values, float), dt=width, hold=True)
