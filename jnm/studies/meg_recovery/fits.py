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
from jnm.studies.meg_recovery.brain import Brain
from jnm.studies.whole_chain.fits import Estimates

_STEPS, _ARRIVED = 30, 1e-2  # at most, and in standard deviations the step of a fit that has come to its end
_LONGEST, _DAMPING = 0.7, 1e-4  # of a step, in logarithms; of the first step


class View(NamedTuple):
    """From moments to the rows of the data, and the noise of these as far as it is known (none: the moments)."""

    lead: Float[Array, "row region"]
    noise: Float[Array, "row row"] | None


class _At(NamedTuple):
    theta: Array
    score: Array
    information: Array
    misfit: Array
    damping: Array
    step: Array
    count: Array


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

    def fits(self, S: Complex[Array, "subject frequency row row"]) -> Estimates:
        """Maximum likelihood for each subject."""
        return _fits(self, S)

    def at(self, theta: Array, seen: Array) -> tuple[Array, Array, Array]:
        """The gradient of log L, F and - log L."""
        S, dS = self.slopes(theta)

        def one(each):
            S, dS, seen = each
            inverse = jnp.linalg.inv(S)
            turned, ratio = inverse[None] @ dS, inverse @ seen
            score = jnp.einsum("pij,ji->p", turned, ratio - jnp.eye(len(S))).real
            misfit = jnp.linalg.slogdet(S)[1] + jnp.trace(ratio).real
            return score, jnp.einsum("pij,qji->pq", turned, turned).real, misfit

        each = jax.lax.map(one, (S, dS, seen))
        score, information, misfit = (self.weight * jnp.sum(x, axis=0) for x in each)
        return score, information, misfit


@eqx.filter_jit
def _fits(likelihood: Likelihood, S: Array) -> Estimates:
    start = likelihood.start
    far = jnp.asarray(jnp.inf, start.dtype)

    def one(seen: Array) -> Estimates:
        def step(here: _At) -> _At:
            damped = here.information + here.damping * jnp.diag(jnp.diag(here.information))
            change = jnp.linalg.solve(damped, here.score)
            change = change * jnp.minimum(1.0, _LONGEST / jnp.max(jnp.abs(change)))
            theta, size = here.theta + change, jnp.sqrt(change @ here.information @ change)
            there = _At(theta, *likelihood.at(theta, seen), here.damping / 10, size, here.count + 1)
            back = here._replace(damping=jnp.maximum(10 * here.damping, _DAMPING), count=here.count + 1)
            return jax.tree.map(lambda x, y: jnp.where(there.misfit <= here.misfit, x, y), there, back)

        begin = _At(start, *likelihood.at(start, seen), jnp.asarray(_DAMPING, start.dtype), far, jnp.asarray(0))
        end = jax.lax.while_loop(lambda here: (here.step > _ARRIVED) & (here.count < _STEPS), step, begin)
        return Estimates(end.theta, jnp.linalg.inv(end.information), end.step <= _ARRIVED)

    return jax.lax.map(one, S)  # one by one: subjects take different numbers of steps
