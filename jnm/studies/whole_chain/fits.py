r"""The mass fitted to measured cross-spectra of many records at once, by Fisher's scoring, a descent of exact gradients.

    log L = - sum_f w [log det S + tr(S^-1 S_measured)],    S = A S_model A^T + S_noise,

S smeared by the taper and w as in `jnm.WhittleLoss`, whose likelihood this is where the model has no shot noise. A step
is F^-1 times the gradient, F the Fisher information, with Levenberg's damping; F^-1 is also the covariance of the
estimates.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from jnm.fitting.measured_csd import Measured, Taper
from jnm.fitting.whittle import independent_share
from jnm.studies.whole_chain.places import Places, Way

_STEPS = 40  # of a fit; `Estimates.arrived` says where they were too few
_ARRIVED = 1e-2  # standard deviations: the last step of a fit that came to its end


class View(NamedTuple):
    """From moments, or what else is looked at, to the rows of the data, and the noise of these."""

    mixing: Float[Array, "row place"]
    noise: Float[Array, "frequency row row"]


class Estimates(NamedTuple):
    """Of many records: coordinates, their covariance, and whether each fit came to its end."""

    theta: Float[Array, "record coordinate"]
    covariance: Float[Array, "record coordinate coordinate"]
    arrived: Bool[Array, " record"]


class _At(NamedTuple):
    theta: Array
    score: Array
    information: Array
    misfit: Array
    damping: Array
    step: Array


class Likelihood(eqx.Module):
    """The likelihood of one way of looking, for any record seen at these frequencies, for as long and with this taper."""

    places: Places
    view: View
    taper: Taper
    weight: float = eqx.field(static=True)
    way: Way = eqx.field(static=True)
    shots: bool = eqx.field(static=True)

    @classmethod
    def of(cls, places: Places, way: Way, data: Measured, view: View, *, shots: bool = True, smear: int = 4):
        weight = data.averages * independent_share(data.correlation)
        return cls(places, view, Taper(data.bins, data.segment, "hann", smear), weight, way, shots)

    @property
    def moving(self) -> np.ndarray:
        """Which of the coordinates are fitted: of a mass without shot noise the noise has one strength alone."""
        return np.array([0, 1, 2, 3, 4, 5] if self.shots else [0, 1, 2, 3, 5])

    def spectra(self, theta: Float[Array, " coordinate"]) -> Complex[Array, "frequency row row"]:
        """What is expected of the measurement."""
        places = self.places.at(theta, self.way)
        S = self.taper.smeared(places.spectra(self.way, jnp.asarray(self.taper.fine_hz), shots=self.shots))
        A = self.view.mixing.astype(S.dtype)
        return A[None] @ S @ A.T[None] + self.view.noise

    def fits(
        self, S: Complex[Array, "record frequency row row"], starts: Float[Array, "start coordinate"]
    ) -> Estimates:
        """Maximum likelihood for each record: the best of the fits from several starts."""
        return _fits(self, S, starts)

    @eqx.filter_jit
    def bound(self, theta: Float[Array, " coordinate"]) -> tuple[Array, Array]:
        """What is expected at theta, and Fisher's information of the coordinates that are fitted."""
        S = self.spectra(theta)
        return S, self._at(theta, S)[1]

    def _at(self, theta: Array, seen: Array) -> tuple[Array, Array, Array]:
        """The gradient of log L, the Fisher information and - log L."""

        def both(x):
            S = self.spectra(theta.at[self.moving].set(x))
            return jnp.stack([S.real, S.imag]), S

        slope, S = jax.jacfwd(both, has_aux=True)(theta[self.moving])
        inverse = jnp.linalg.inv(S)
        turned = jnp.einsum("fij,fjkp->pfik", inverse, jax.lax.complex(slope[0], slope[1]))
        ratio = inverse @ seen
        score = self.weight * jnp.einsum("pfij,fji->p", turned, ratio - jnp.eye(S.shape[-1])[None]).real
        information = self.weight * jnp.einsum("pfij,qfji->pq", turned, turned).real
        log_det = jnp.linalg.slogdet(S)[1]
        return score, information, self.weight * jnp.sum(log_det + jnp.einsum("fii->f", ratio).real)


@eqx.filter_jit
def _fits(likelihood: Likelihood, S: Array, starts: Array) -> Estimates:
    moving = likelihood.moving

    def one(seen, start):
        def step(here: _At, _):
            damped = here.information + here.damping * jnp.diag(jnp.diag(here.information))
            change = jnp.linalg.solve(damped, here.score)
            theta = here.theta.at[moving].add(change)
            size = jnp.sqrt(change @ here.information @ change)
            there = _At(theta, *likelihood._at(theta, seen), here.damping / 10, size)
            back = here._replace(damping=jnp.maximum(10 * here.damping, 1e-6))
            return jax.tree.map(lambda x, y: jnp.where(there.misfit <= here.misfit, x, y), there, back), None

        none, size = jnp.zeros(len(moving)), jnp.asarray(jnp.inf)
        begin = _At(start, none, jnp.eye(len(moving)), size, jnp.asarray(1e-1), size)  # its first step is none
        return jax.lax.scan(step, begin, length=_STEPS)[0]

    def best(seen):
        ends = jax.vmap(one, in_axes=(None, 0))(seen, starts)
        end = jax.tree.map(lambda x: x[jnp.argmin(ends.misfit)], ends)
        return Estimates(end.theta, jnp.linalg.inv(end.information), end.step < _ARRIVED)

    return jax.lax.map(best, S)
