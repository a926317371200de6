r"""WhittleLoss: Whittle's likelihood of the cross-spectra of a recording under a model at rest in its own weak noise.

With S_y(f) the model's cross-spectrum at the sensors (`jnm.fitting.linear_csd`) and S the measured one,

    log L = - sum_f w [log det S_y + tr(S_y^-1 S)] + const,     w = M / (1 + 2 sum_j rho_j).

- Tapers smear: the expectation of a measured spectrum is int S_y(f') |W(f - f')|^2 df', and is compared as such.
- Overlapping segments are worth M, and neighbouring frequencies are correlated by rho_j (`jnm.observe.averages`,
  `bin_correlation`). Without w, Hann segments claim standard deviations 1.4 times too small.
- Many sensors are whitened by their noise and projected on the leading left singular vectors of S_n^-1/2 G, what regions
  can reach at all; for more regions than components this leaves out what is weakest.

Whittle P (1953) Estimation and information in stationary time series. Ark Mat 2:423-434. Friston KJ et al (2012) DCM for
complex-valued data: cross-spectra, coherence and phase-delays. NeuroImage 59:439-455, for the linearised model.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float, PRNGKeyArray, PyTree

from jnm._model import AbstractModel, State
from jnm._param import cast
from jnm.fitting.double import in_double
from jnm.fitting.linear_csd import Linear, Seen, cross_spectra, growth, linear, mixing_of, parts
from jnm.fitting.loss import AbstractLikelihood
from jnm.fitting.measured_csd import Sensing, Taper, measured, projection, sensing
from jnm.fitting.resting import check_has_drift, is_known, rest
from jnm.fitting.whittle import independent_share
from jnm.meg.dipole import Dipole

_NYQUIST = np.append(np.arange(0.0, 120.0, 1.0), np.geomspace(120.0, 5000.0, 40))
"""Hz, at which exponents of a network with delays are counted: up to where nodes are deaf."""


class Prediction(NamedTuple):
    """What a model predicts for the components that are compared, and whether it may."""

    S: Complex[Array, "frequency component component"]
    growth: Float[Array, ""]
    reached: Array


class WhittleLoss(AbstractLikelihood):
    """Whittle's likelihood of measured cross-spectra under a model's linear noise-driven activity; no simulation, no key.

        >>> loss = jnm.WhittleLoss(lead, recording, dt=1.0, segment=2_000.0, band=(4.0, 40.0), noise=density**2)
        >>> fit = jnm.fit(loss, theta, build, optax.adam(1e-2), steps=300, key=jax.random.key(0))

    Called with a model (or a `Recorded` one, to free the dipole's scale and the sensor noise too) it gives the mean over
    frequencies and components of tr(S_y^-1 S) + log det S_y - log det S, about 1 where the model is right.
    `log_likelihood` gives log L.

    **Arguments**

    - `lead`: `jnm.meg.LeadField`, a matrix [channel, region], a linear function, or None: sources are measured.
    - `observed`: a recording [time, channel], sampled every `dt` ms; or (f_hz, S, averages) with one-sided cross-spectra
      S [frequency, channel, channel] (or [frequency] of one channel), as from `jnm.observe.csd`.
    - `band`: (lowest, highest) frequency in Hz that counts; `exclude`: bands that do not, such as line noise.
    - `segment`, `window`, `overlap`: of Welch's method, as in `jnm.observe.csd`, also for spectra that are given.
    - `dipole`: from sources to nA m; by default sources count as moments.
    - `noise`: one-sided density of the sensor noise, a number, [channel] or [channel, channel], or a function of f_hz
      that gives one of them. Needed for more channels than regions.
    - `components`: how many of the leading components of whitened sensors are compared.
    - `seen`: "source" (what is behind the dipole) or "output" of the regions.
    - `state`: where the search for the model's rest begins; by default its `init()`.
    - `smear`: points a bin at which the spectrum is smeared by the taper; 1 compares it unsmeared.

    **An unstable rest is refused**: the linear spectrum of a model that noise drives away means nothing. Where numbers
    are known a `ValueError` says so; under jit the loss is infinite, so that a fit does not start there and steps that
    lead there are skipped. `check(model)` says why.

    Raises `ValueError` for observations that do not fit together, are not finite or too short.
    """

    S: Float[Array, "part frequency component component"]
    """Measured cross-spectra of the components: real and imaginary part."""
    noise: Float[Array, "frequency component component"]
    view: Float[Array, "component channel"] | None
    """From channels to components; None for the channels themselves."""
    lead: Any
    dipole: Dipole | None
    state: State | None
    reference: Float[Array, ""]
    taper: Taper
    averages: float = eqx.field(static=True)
    weight: float = eqx.field(static=True)
    seen: Seen = eqx.field(static=True)

    def __init__(
        self,
        lead: Any,
        observed: Any,
        dt: float | None = None,
        *,
        band: tuple[float, float] | None = None,
        exclude: tuple[tuple[float, float], ...] = (),
        segment: float | None = None,
        window: str = "hann",
        overlap: float = 0.5,
        dipole: Dipole | None = None,
        noise: Any = None,
        components: int = 8,
        seen: Seen = "source",
        state: State | None = None,
        smear: int = 4,
    ):
        data = measured(observed, dt, band, exclude, segment, window, overlap)
        seeing: Sensing = sensing(lead, noise, data.f_hz, data.S.shape[1])
        view = projection(seeing, components)
        S = data.S if view is None else view @ data.S @ view.T
        S_n = seeing.noise if view is None else view @ seeing.noise @ view.T
        self.lead, self.dipole, self.state, self.seen = seeing.lead, dipole, state, seen
        self.view = None if view is None else jnp.asarray(view, float)
        self.S, self.noise = jnp.asarray(np.stack([np.real(S), np.imag(S)]), float), jnp.asarray(S_n, float)
        self.taper, self.averages = Taper(data.bins, data.segment, window, smear), data.averages
        self.weight = data.averages * independent_share(data.correlation)
        self.reference = jnp.asarray(_reference(S, data.averages), float)

    @property
    def f_hz(self) -> np.ndarray:
        """The frequencies that count, Hz."""
        return self.taper.f_hz

    @property
    def size(self) -> int:
        """Frequencies times components."""
        return int(self.S.shape[1] * self.S.shape[2])

    @property
    def data(self) -> float:
        """Independent data: averages, times frequencies that are not correlated by the taper, times components."""
        return self.weight * self.size

    def __call__(self, model: Any, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        value = _deviance(self, model)
        if is_known(value) and not np.isfinite(np.asarray(jax.lax.stop_gradient(value))):
            self.check(model)
        return value

    def log_likelihood(self, model: Any) -> Float[Array, ""]:
        return -self.data * self(model)

    def csd(self, model: Any) -> Complex[Array, "frequency component component"]:
        """What the model predicts for the components: smeared by the taper, with the sensor noise; double precision.

        Raises `ValueError` where the model may not be linearised.
        """
        self.check(model)
        with jax.enable_x64(True):
            return _prediction(cast(model, jnp.float64), _wide(self)).S

    def check(self, model: Any) -> None:
        """Raise `ValueError` for a model whose linear spectrum means nothing, saying why."""
        check_has_drift(parts(model)[0], "WhittleLoss")
        with jax.enable_x64(True):
            found = _prediction(cast(jax.lax.stop_gradient(model), jnp.float64), _wide(self))
        if not bool(found.reached):
            raise ValueError(
                "WhittleLoss: the model reaches no fixed point from its start; it may oscillate or run away. Give state=, "
                "from jnm.stability.fixed_points(model), or compare simulated spectra: jnm.LogSpectralLoss."
            )
        if not float(found.growth) < 0:
            raise ValueError(
                f"WhittleLoss: the fixed point is unstable (largest real part {float(found.growth):.3g} /ms): noise drives "
                "the model away from it and its linear spectrum means nothing. Change the parameters, name another fixed "
                "point by state=, or compare simulated spectra: jnm.LogSpectralLoss."
            )
        if not bool(jnp.all(jnp.isfinite(found.S))):
            raise ValueError("WhittleLoss: the model's spectrum is not finite; do its parameters lie in their domains?")
        with jax.enable_x64(True):
            singular = not bool(jnp.all(jnp.isfinite(jnp.linalg.cholesky(found.S))))
        if singular:
            raise ValueError(
                f"WhittleLoss: the model's cross-spectra of {found.S.shape[1]} components are singular: fewer noisy sources "
                "than channels. Give the sensors noise=, or fewer channels."
            )

    def scores(self, build: Any, theta: PyTree) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            J, r = _scores(_wide(self), cast(build, jnp.float64), cast(theta, jnp.float64))
        return np.asarray(J), np.asarray(r)


def _wide(loss: WhittleLoss) -> WhittleLoss:
    return cast(loss, jnp.float64)


@eqx.filter_jit
def _deviance(loss: WhittleLoss, model: Any) -> Float[Array, ""]:
    check_has_drift(parts(model)[0], "WhittleLoss")
    return in_double(_misfit, model, loss)


def _misfit(model: Any, loss: WhittleLoss) -> Float[Array, ""]:
    S, rate, reached = _prediction(model, loss)
    lower = jnp.linalg.cholesky(S)
    log_det = 2 * jnp.sum(jnp.log(jnp.einsum("fii->fi", lower).real))
    trace = jnp.einsum("fii->", _whitened(lower, jax.lax.complex(loss.S[0], loss.S[1]))).real
    misfit = (trace + log_det - loss.reference) / loss.size
    return jnp.where((rate < 0) & reached & jnp.isfinite(misfit), misfit, jnp.inf)


@eqx.filter_jit
def _prediction(model: Any, loss: WhittleLoss) -> Prediction:
    brain, own, factor = parts(model)
    dipole = loss.dipole if own is None else own
    point = rest(brain, loss.state)
    flow = linear(brain, point, loss.seen)
    mixing = _mixing(loss, dipole, flow)
    fine = cross_spectra(flow, mixing, jnp.asarray(loss.taper.fine_hz))
    S = loss.taper.smeared(fine) + factor * loss.noise
    return Prediction(S, growth(flow, _NYQUIST), point.reached)


def _mixing(loss: WhittleLoss, dipole: Dipole | None, flow: Linear) -> Float[Array, "component region"]:
    mixing = mixing_of(loss.lead, dipole, len(flow.q))
    channels = loss.S.shape[2] if loss.view is None else loss.view.shape[1]
    if len(mixing) != channels:
        raise ValueError(
            f"WhittleLoss: the model gives {len(mixing)} channels (from {len(flow.q)} sources), the recording {channels}."
        )
    return mixing if loss.view is None else loss.view @ mixing


def _whitened(lower: Complex[Array, "f k k"], S: Complex[Array, "f k k"]) -> Complex[Array, "f k k"]:
    """L^-1 S L^-H."""
    half = jax.lax.linalg.triangular_solve(lower, S, left_side=True, lower=True)
    return jax.lax.linalg.triangular_solve(lower, half, lower=True, transpose_a=True, conjugate_a=True)


@eqx.filter_jit
def _scores(loss: WhittleLoss, build: Any, theta: PyTree) -> tuple[Array, Array]:
    """sqrt(w) L^-1 dS L^-H by parameter and sqrt(w) (L^-1 S L^-H - 1), as real numbers."""
    flat, unravel = ravel_pytree(theta)

    def both(x):
        S = _prediction(build(unravel(x)), loss).S
        return jnp.stack([np.real(S), np.imag(S)])

    S, dS = both(flat), jax.jacfwd(both)(flat)
    lower = jnp.linalg.cholesky(jax.lax.complex(S[0], S[1]))
    seen = _whitened(lower, jax.lax.complex(loss.S[0], loss.S[1])) - jnp.eye(S.shape[-1])[None]
    moved = jax.vmap(lambda d: _whitened(lower, jax.lax.complex(d[0], d[1])), in_axes=-1, out_axes=-1)(dS)
    root = np.sqrt(loss.weight)
    J = root * jnp.concatenate([moved.real.reshape(-1, flat.size), moved.imag.reshape(-1, flat.size)])
    return J, root * jnp.concatenate([seen.real.ravel(), seen.imag.ravel()])


def _reference(S: Complex[np.ndarray, "f k k"], averages: float) -> float:
    """sum_f log det of the measured spectra without its bias; of their diagonals, for fewer averages than components."""
    from scipy.special import digamma

    k = S.shape[1]
    if averages <= k:
        return float(np.sum(np.log(np.einsum("fii->fi", S).real)))
    bias = np.sum(digamma(averages - np.arange(k)) - np.log(averages))
    return float(np.sum(np.linalg.slogdet(S)[1] - bias))


def stable(model: AbstractModel, state: State | None = None) -> Float[Array, ""]:
    """The largest real part of the exponents at a model's rest, per ms (with delays only its sign); below zero: stable."""
    with jax.enable_x64(True):
        wide = cast(model, jnp.float64)
        point = rest(wide, state)
        return growth(linear(wide, point, "output"), _NYQUIST)
