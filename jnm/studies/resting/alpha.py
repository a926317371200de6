r"""A real alpha rhythm as the noise-driven resonance of a neural mass, up to gain.

    S(f) = e^(2 g) S_mass(f; theta) + floor^2 (1 + (knee / f)^exponent)

S_mass is the linear spectrum of the mass at its stable rest, driven by white noise of fixed strength; g the log of the gain
from its source to the electrode, which holds noise, number of cells and head together: nothing in one spectrum tells them
apart (spec: meg.md 5). The rest is what electrodes show beside the rhythm.

Intervals are those of a rhythm that stays what it is, and a living one does not: at Oz of the resting recording the
Jansen-Rit fitted to the first half of the minute resonates at 8.78 Hz (sd .06), to the second at 8.48 (.08).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jnm.fitting as fitting
from jnm._model import AbstractModel
from jnm._param import as_parameter, at, cast, param
from jnm.fitting.draws import Draws
from jnm.fitting.identifiability import Information
from jnm.fitting.linear_csd import cross_spectra, growth, linear
from jnm.fitting.resting import rest
from jnm.meg.spectral import SpectralData
from jnm.models import JansenRit
from jnm.models.nmm2 import PING
from jnm.studies.resting.background import Background
from jnm.studies.resting.likelihood import AbstractSpectrum, ChannelLikelihood

Mass = Literal["Jansen-Rit", "NMM2"]

_NYQUIST = np.zeros(0)  # a node without delays is judged by its eigenvalues, at no frequency


class Rhythm(AbstractSpectrum):
    """A noisy mass at rest, seen by one electrode over a background."""

    mass: AbstractModel
    background: Background
    log_gain: Float[Array, ""] = param(0.0, doc="log of the gain from source to electrode")

    def brain(self, f_hz: Float[np.ndarray, " frequency"]) -> Float[Array, " frequency"]:
        """The rhythm alone; infinite where the mass does not rest stably."""
        point = rest(self.mass)
        flow = linear(self.mass, point, "source")
        S = cross_spectra(flow, jnp.ones((1, 1)), jnp.asarray(f_hz))[:, 0, 0].real
        stable = (growth(flow, _NYQUIST) < 0) & point.reached
        return jnp.exp(2 * self.log_gain) * jnp.where(stable, S, jnp.inf)

    def psd(self, f_hz: Float[np.ndarray, " frequency"]) -> Float[Array, " frequency"]:
        return self.brain(f_hz) + self.background.psd(f_hz)


class _Choice(NamedTuple):
    """Where the search of one kind of mass begins, what is free, and what was known of it before (chosen, wide)."""

    make: Callable[[], AbstractModel]
    where: Callable[[Rhythm], tuple[Any, ...]]
    priors: tuple[fitting.AbstractPrior, ...]


_MASSES: dict[Mass, _Choice] = {
    # a, b, C as published 10 to 30 % off: then the rest is a focus near 8 Hz; at p = 400 /s it is stable (spec: meg.md 5)
    "Jansen-Rit": _Choice(
        lambda: JansenRit(
            a=as_parameter(0.085),
            b=as_parameter(0.04),
            C=as_parameter(110.0),
            p=as_parameter(0.4),
            sigma=as_parameter(1.0),
        ),
        lambda m: (m.mass.a, m.mass.b, m.mass.C),
        (fitting.LogNormal(0.1, 0.3), fitting.LogNormal(0.05, 0.3), fitting.LogNormal(135.0, 0.2)),
    ),
    # the preset makes gamma; membranes of 20 ms and synapses two and three times slower bring its focus to alpha
    "NMM2": _Choice(
        lambda: PING(5.5, tau_m=(20.0, 20.0), tau_s=(2.0, 15.0), sigma=as_parameter(0.05)),
        lambda m: (m.mass.tau_s, at(lambda x: x.mass.I, 0)),
        (fitting.LogNormal(5.0, 0.7), fitting.Normal(6.0, 2.0)),
    ),
}


@dataclasses.dataclass(frozen=True)
class AlphaFit:
    """A mass fitted to the spectrum of one electrode; made by `fit_alpha`, print or `plot()` it."""

    mass: Mass
    ch_name: str
    likelihood: ChannelLikelihood
    theta: Any
    prior: fitting.Priors
    posterior: fitting.Laplace
    information: Information
    """What the data alone tell, at the most probable parameters."""
    draws: Draws
    """Of the posterior: by NUTS where asked for, else of its normal approximation."""
    predicted: Float[np.ndarray, "draw frequency"]
    """Posterior-predictive spectra, uV^2 per Hz."""

    @property
    def rhythm(self) -> Rhythm:
        """At the most probable parameters."""
        return self.posterior.build(self.posterior.fit.theta)

    @property
    def peak_hz(self) -> float:
        """Where the fitted mass resonates, between 5 and 15 Hz."""
        f_hz = np.linspace(5.0, 15.0, 401)
        return float(f_hz[np.argmax(self.brain(f_hz))])

    def brain(self, f_hz: Float[np.ndarray, " frequency"]) -> Float[np.ndarray, " frequency"]:
        """The fitted rhythm without its background, uV^2 per Hz."""
        return _of_brain(self.rhythm, f_hz)

    @property
    def damping(self) -> float:
        """Of the slowest mode of the fitted mass, 1/s: its line is damping / pi Hz wide."""
        with jax.enable_x64(True):
            wide = cast(self.rhythm.mass, jnp.float64)
            return -1e3 * float(growth(linear(wide, rest(wide), "source"), _NYQUIST))

    @property
    def covered(self) -> float:
        """Share of measured frequencies inside the central 90 % of the posterior-predictive spectra."""
        low, high = np.quantile(self.predicted, (0.05, 0.95), axis=0)
        seen = np.asarray(self.likelihood.I)
        return float(np.mean((seen >= low) & (seen <= high)))

    def words(self) -> str:
        """What the data tell of the parameters, and which of them the prior had to hold."""
        build, priors = self.posterior.build, self.prior.priors
        widths = [
            _width(priors[name])
            for name, place in zip(build.names, build.places, strict=True)
            for _ in range(math.prod(place.shape))
        ]
        sd = np.sqrt(np.diag(self.posterior.covariance))
        held = [label for label, x, width in zip(build.labels, sd, widths, strict=True) if x > 0.7 * width]
        kept = f" Of {', '.join(held)} the posterior is hardly narrower than the prior." if held else ""
        return f"The data alone: {self.information.words()}{kept}"

    def __str__(self) -> str:
        now = self.posterior.build.values(self.posterior.fit.theta)
        flat = np.concatenate([np.ravel(np.asarray(now[name])) for name in self.posterior.build.names])
        ends = self.draws.interval(0.9)
        rows = [
            f"  {label:24s} {x:10.4g}   ({ends[label][0]:.4g} to {ends[label][1]:.4g})"
            for label, x in zip(self.posterior.build.labels, flat, strict=True)
        ]
        head = (
            f"{self.mass} at {self.ch_name}: resonates at {self.peak_hz:.2f} Hz, damping {self.damping:.1f} /s, log evidence "
            f"{self.posterior.log_evidence:.1f}; {self.covered:.0%} of frequencies in the predictive 90 %."
        )
        return "\n".join([head, "Most probable, 90 % interval:", *rows, self.words()])

    def plot(self) -> Any:
        """Measured spectrum, posterior-predictive band, the rhythm and the background apart."""
        from jnm.plot.resting import rhythm

        return rhythm(self)


def fit_alpha(
    recording: SpectralData,
    ch_name: str,
    mass: Mass = "Jansen-Rit",
    *,
    key: Any,
    nuts: bool = False,
    draws: int = 300,
    chains: int = 2,
) -> AlphaFit:
    """Fit a mass over a white and 1/f background to the spectrum of one electrode; posterior, prediction, words.

        >>> recording = jnm.meg.SpectralData.from_mne(raw, band=(3.0, 45.0), segment=2_000.0, picks="eeg")
        >>> print(fit_alpha(recording, "Oz", key=jax.random.key(0)))

    The posterior is normal about its maximum (Laplace), or with `nuts` drawn by `jnm.fitting.nuts` in `chains` chains of
    `draws`. Free of Jansen-Rit are a, b and C (A and B trade exactly against C and gain), of NMM2 the synaptic time constants
    and the drive of its excitatory population. Raises `ValueError` for an electrode that is not there.
    """
    channel = recording.pick((ch_name,))
    likelihood = ChannelLikelihood(
        (channel.f_hz, channel.psd[:, 0], channel.averages), band=(channel.f_hz[0], channel.f_hz[-1])
    )
    theta, build, prior = _started(_MASSES[mass], likelihood)
    posterior = fitting.laplace(likelihood, theta, build, prior)
    at_best = posterior.fit.theta
    laplace_key, nuts_key, spectra_key = jax.random.split(key, 3)
    drawn = (
        fitting.nuts(likelihood, at_best, build, prior, nuts_key, draws=draws, warmup=draws, chains=chains)
        if nuts
        else posterior.sample(laplace_key, draws * chains)
    )
    predicted = drawn.spectra(spectra_key, 200)[..., 0]
    known = fitting.information(likelihood, build, at_best)
    return AlphaFit(mass, ch_name, likelihood, theta, prior, posterior, known, drawn, predicted)


def _started(choice: _Choice, likelihood: ChannelLikelihood) -> tuple[Any, fitting.Build, fitting.Priors]:
    """theta, build and priors, the gain and the background begun so that peak and high end are about right."""
    seen, f_hz = np.asarray(likelihood.I), likelihood.f_hz
    floor = 0.7 * float(np.sqrt(np.median(seen[f_hz > 0.8 * f_hz[-1]])))
    bare = Rhythm(choice.make(), Background(floor=as_parameter(floor)))
    log_gain = 0.5 * float(np.log(seen.max() / np.max(_of_brain(bare, f_hz))))
    begun = Rhythm(bare.mass, bare.background, as_parameter(log_gain))
    theta, build = fitting.free(
        begun,
        lambda m: (*choice.where(m), m.log_gain, m.background.floor, m.background.knee_hz, m.background.exponent),
    )
    ours = (
        fitting.Normal(log_gain, 2.0), fitting.LogNormal(floor, 1.0), fitting.LogNormal(20.0, 1.0), fitting.LogNormal(1.0, 0.5),
    )  # fmt: skip
    return theta, build, fitting.Priors(build, (*choice.priors, *ours))


def _width(prior: fitting.AbstractPrior) -> float:
    """Standard deviation in theta of a normal or log-normal prior."""
    return float(prior.sd)  # pyright: ignore[reportAttributeAccessIssue]


def _of_brain(rhythm: Rhythm, f_hz: Float[np.ndarray, " frequency"]) -> Float[np.ndarray, " frequency"]:
    """In double precision, where a rest is found whatever the session's."""
    with jax.enable_x64(True):
        return np.asarray(_brain(cast(rhythm, jnp.float64), jnp.asarray(f_hz)))


@eqx.filter_jit
def _brain(rhythm: Rhythm, f_hz: Any) -> Array:
    return rhythm.brain(f_hz)
