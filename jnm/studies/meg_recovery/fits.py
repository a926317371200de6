r"""Maximum likelihood for many subjects at once, by Fisher's scoring on the cross-spectra of each.

    log L = - sum_f w [log det S + tr(S^-1 S_measured)],    S = smeared(S_brain) + c S_noise,

as in `jnm.WhittleLoss`, with w the number of independent segments times the share of independent frequencies. A step is
(F + mu diag F)^-1 d log L / d theta, F_pq = sum_f w tr(S^-1 dS_p S^-1 dS_q); F^-1 is the covariance of the estimates. For
sensors c, the level of their noise, is one more unknown.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jnm.fitting.measured_csd import Measured, Taper
from jnm.fitting.whittle import independent_share
from jnm.studies.batched_scoring import Found, Scores, batched_scoring
from jnm.studies.meg_recovery.brain import Brain

_STEPS, _LONGEST, _DAMPING = 30, 0.7, 1e-4  # steps at most; how far one goes, in logarithms; of the first one


class View(NamedTuple):
    """From moments to the rows of the data, and the noise of these as far as it is known (none: the moments)."""

    lead: Float[Array, "row region"]
    noise: Float[Array, "row row"] | None


class Likelihood(eqx.Module):
    """The likelihood of one view of a brain: `theta` is that of the brain and, with noise, the log of its level."""

    brain: Brain
    view: View
    leak: Float[Array, "frequency fine"]
    fine_hz: Float[Array, " fine"]
    weight: float = eqx.field(static=True)

    @classmethod
    def of(cls, brain: Brain, view: View, data: Measured, smear: int = 2) -> "Likelihood":
        """For data seen at these frequencies through a Hann taper, for so long."""
        taper = Taper(data.bins, data.segment, "hann", smear)
        unit = jnp.eye(len(taper.fine_hz), dtype=complex)
        leak = taper.smeared(unit[:, :, None])[:, :, 0].real
        weight = data.averages * independent_share(data.correlation)
        return cls(brain, view, leak, jnp.asarray(taper.fine_hz), weight)

    @property
    def start(self) -> Float[Array, " parameter"]:
        """Theta of the brain, and noise as it is thought to be."""
        return jnp.append(self.brain.theta, 0.0) if self.view.noise is not None else self.brain.theta

    def spectra(self, theta: Float[Array, " parameter"]) -> Complex[Array, "frequency row row"]:
        """What is expected of the measurement."""
        return self.slopes(theta)[0]

    def slopes(
        self, theta: Float[Array, " parameter"]
    ) -> tuple[Complex[Array, "frequency row row"], Complex[Array, "frequency parameter row row"]]:
        """The same, with its derivatives."""
        S, dS = self.brain.at(theta[:4]).slopes(self.view.lead, self.fine_hz)
        leak = self.leak.astype(S.dtype)
        S, dS = jnp.tensordot(leak, S, 1), jnp.tensordot(leak, dS, 1)
        if self.view.noise is None:
            return S, dS
        noise = jnp.broadcast_to(jnp.exp(theta[4]) * self.view.noise.astype(S.dtype), S.shape)
        return S + noise, jnp.concatenate([dS, noise[:, None]], axis=1)

    def fits(self, S: Complex[Array, "subject frequency row row"]) -> Found:
        """Maximum likelihood for each subject."""
        return _fits(self, S)

    def at(self, theta: Array, seen: Array) -> Scores:
        """The likelihood of what is seen, and its slopes."""
        S, dS = self.slopes(theta)

        def one(each):
            S, dS, seen = each
            inverse = jnp.linalg.inv(S)
            turned, ratio = inverse[None] @ dS, inverse @ seen
            score = jnp.einsum("pij,ji->p", turned, ratio - jnp.eye(len(S))).real
            misfit = jnp.linalg.slogdet(S)[1] + jnp.trace(ratio).real
            return score, jnp.einsum("pij,qji->pq", turned, turned).real, misfit

        each = jax.lax.map(one, (S, dS, seen))
        return Scores(*(self.weight * jnp.sum(x, axis=0) for x in each))


@eqx.filter_jit
def _fits(likelihood: Likelihood, S: Array) -> Found:
    def one(seen: Array) -> Found:
        def at(theta: Array) -> Scores:
            return likelihood.at(theta, seen)

        return batched_scoring(at, likelihood.start, steps=_STEPS, damping=_DAMPING, longest=_LONGEST)

    return jax.lax.map(one, S)  # one by one: subjects take different numbers of steps
