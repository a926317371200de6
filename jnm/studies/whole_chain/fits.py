r"""The mass fitted to measured cross-spectra of many records at once, by Fisher's scoring, a descent of exact gradients.

    log L = - sum_f w [log det S + tr(S^-1 S_measured)],    S = A S_model A^T + S_noise,

S smeared by the taper and w as in `jnm.WhittleLoss`, whose likelihood this is where the model has no shot noise.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm.fitting.measured_csd import Measured, Taper
from jnm.fitting.whittle import independent_share
from jnm.studies.batched_scoring import Found, Scores, batched_scoring
from jnm.studies.whole_chain.places import Places, Way

_STEPS = 40  # of a fit; `Found.arrived` says where they were too few
_DAMPING = 1e-2  # of the first step


class View(NamedTuple):
    """From moments, or what else is looked at, to the rows of the data, and the noise of these."""

    mixing: Float[Array, "row place"]
    noise: Float[Array, "frequency row row"]


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

    def fits(self, S: Complex[Array, "record frequency row row"], starts: Float[Array, "start coordinate"]) -> Found:
        """Maximum likelihood for each record: the best of the fits from several starts."""
        return _fits(self, S, starts)

    @eqx.filter_jit
    def bound(self, theta: Float[Array, " coordinate"]) -> tuple[Array, Array]:
        """What is expected at theta, and Fisher's information of the coordinates that are fitted."""
        S = self.spectra(theta)
        return S, self.at(theta, S).information

    def at(self, theta: Array, seen: Array) -> Scores:
        """The likelihood of what is seen, and its slopes in the coordinates that are fitted."""

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
        return Scores(score, information, self.weight * jnp.sum(log_det + jnp.einsum("fii->f", ratio).real))


@eqx.filter_jit
def _fits(likelihood: Likelihood, S: Array, starts: Array) -> Found:
    moving = likelihood.moving

    def one(seen, start):
        whole = start.at[moving].set
        return batched_scoring(lambda x: likelihood.at(whole(x), seen), start[moving], steps=_STEPS, damping=_DAMPING)

    def best(seen):
        ends = jax.vmap(one, in_axes=(None, 0))(seen, starts)
        which = jnp.argmin(ends.here.misfit)
        end = jax.tree.map(lambda x: x[which], ends)
        return end._replace(theta=starts[which].at[moving].set(end.theta))

    return jax.lax.map(best, S)
