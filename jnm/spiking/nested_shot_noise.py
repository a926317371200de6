r"""NestedShotNoise: NMM2 with the shot noise of n neurons, taken from an ensemble of fewer of them.

M neurons of each population (see `jnm.spiking.qif`) and the mean field see the same input. What the M fire beyond it,

    chi = sqrt(M / n) (r_M - r),

is noise of the size of n neurons, which follows every transient, rhythm and field as theirs does. The synapses hear
r + chi. With M = n the mean field drops out, and this is the network. At order 2 every spike enters the synapse at its
own moment, s is continuous in all parameters, and gradients are exact; at orders 0 and 1, where a spike makes s jump,
the spikes of a step are spread over it and gradients miss the crossings of steps. Ours; the idea of shot noise in
NMM2 is that of Klinshov & Kirillov, Phys. Rev. E 106 L062302 (2022).
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jnm._model import AbstractModel, Drive
from jnm._param import Positive, check_domains, fill, lift, param, share
from jnm.models import circuit
from jnm.models.finite import check_finite, shaken, state_shape
from jnm.models.gaussian_shot_noise import GaussianShotNoise
from jnm.models.nmm2 import NMM2, NMM2State
from jnm.models.rest import resting_rates, state_at
from jnm.spiking.moebius import at_phase, lorentzian, mean_field_step, qif_step, stationary, until_spike


class NestedShotNoiseState(NamedTuple):
    """Mean field r, v; neurons V = p / q with their excitability, [neuron, population, region]; what n of them do."""

    r: Array
    """Rate of the mean field, 1/ms."""
    v: Array
    rate: Array
    """What n neurons fired in the last step, r + chi, in 1/ms."""
    p: Array
    q: Array
    quantile: Array
    """Where a neuron's eta lies in the Lorentzian, in units of delta from its centre."""
    fresh: Array
    """Above zero until the first step has drawn phases and quantiles."""
    before: Array | None = None
    """Order 0: the rate one step ago; order 2: the synapse one step ago."""
    s: Array | None = None
    z: Array | None = None

    @property
    def chi(self) -> Array:
        """The shot noise, beside the mean field at the end of the step; 1/ms."""
        return self.rate - self.r


class NestedShotNoise(AbstractModel):
    """A circuit of P populations of n neurons each, whose shot noise M of them stand for (head of this file).

        >>> model = jnm.NestedShotNoise(jnm.ING(eta=4.5), n=16_000, members=1000)
        >>> sol = jnm.simulate(model, t1=1_000.0, dt=0.075, key=jax.random.key(0), save=lambda t, y: (y.rate, y.s))

    The key of the first step draws the phases of the neurons, in their stationary density for the synapses of `y0` and
    the drive at that moment, and with `jitter` their excitabilities, each within its share of the Lorentzian; the run
    is then deterministic. Regions of a network draw theirs independently. Save what is needed: the state is large.

    **Arguments**

    - `model`: a `jnm.NMM2` without noise of its own.
    - `n`: neurons in each population, not necessarily whole: [], [P] or [P, region].
    - `members`: M, neurons in the ensemble of each population; they set the cost. A thousand serve most; next to a Hopf
      point the correlations of few members are visible.
    - `jitter`: whether excitabilities are drawn anew each run; without, they are the quantiles that `QIFNetwork` has.

    A step of a hundredth of tau_m serves most; what arrives from elsewhere is held during it. Gradients, in every
    parameter and in n, are exact for the synapse at order 2; rates count spikes and have none.

    Raises `ValueError` for another model, n < 1, members < 1, and in a run without a key.
    """

    model: NMM2
    n: Float[Array, "..."] = param(domain=Positive(), doc="neurons in each population")
    members: int = eqx.field(default=1000, static=True, metadata={"doc": "neurons in the ensemble of a population"})
    jitter: bool = eqx.field(default=True, static=True, metadata={"doc": "whether a run draws excitabilities"})

    citation: ClassVar[str] = GaussianShotNoise.citation
    rank: ClassVar[int] = 2  # neurons and populations, these also where there is one

    def __check_init__(self):
        check_domains(self)
        check_finite(self)
        if self.members < 1:
            raise ValueError(f"NestedShotNoise: members = {self.members}; wanted at least one neuron.")

    @property
    def receive(self) -> tuple[int, ...] | None:
        """The populations of the model that hear others."""
        return self.model.receive

    def init(self) -> NestedShotNoiseState:
        """At rest; neurons at evenly spread phases, which the first step draws anew."""
        return self.at(resting_rates(self.model))

    def at(self, rate: ArrayLike) -> NestedShotNoiseState:
        """A start, y0 of `simulate`, around other rates (1/ms, [], [P] or [P, region]), such as those of another rest."""
        y = state_at(self.model, fill(jnp.asarray(rate, self.model.tau_m.dtype), state_shape(self)))
        shape = (self.members, *self._rows(y.r).shape)
        quantile, spread = (
            fill(jnp.asarray(x, y.r.dtype), shape) for x in (lorentzian(self.members), _golden(self.members))
        )
        p, q = at_phase(spread, self._inputs(y.r, quantile, Drive()))
        return NestedShotNoiseState(y.r, y.v, y.r, p, q, quantile, jnp.ones_like(y.r), self._late(y.r, y.s), y.s, y.z)

    def drift(self, t: Array, y: NestedShotNoiseState, drive: Drive) -> NestedShotNoiseState:
        """The flow between two spikes: of neurons p' = x q and q' = -p, in units of tau_m; of n of them, no rate."""
        silent = -self._weight(y.r) * y.r
        slope = shaken(self.model, self.model.drift(t, NMM2State(y.r, y.v, y.s, y.z), drive), silent)
        x = self._inputs(y.r + silent if y.s is None else y.s, y.quantile, drive)
        tau = self._widths(y.r)[0][None]
        still = jax.tree.map(jnp.zeros_like, y)
        return still._replace(r=slope.r, v=slope.v, p=x * y.q / tau, q=-y.p / tau, s=slope.s, z=slope.z)

    def step(self, t: Array, dt: float, y: NestedShotNoiseState, drive: Drive, noise: PRNGKeyArray | None) -> Any:
        """The exact step of neurons and mean field, hearing the synapses of its middle; then that of the synapses."""
        if noise is None:
            raise ValueError("NestedShotNoise: phases are drawn; give simulate a key=jax.random.key(seed).")
        y = jax.lax.cond(jnp.any(y.fresh > 0), lambda: self._drawn(y, drive, noise), lambda: y)
        (tau, delta), heard, shape = self._widths(y.r), self._ahead(y, dt), y.r.shape
        U = jax.lax.complex(self._rows(y.v), jnp.pi * tau * self._rows(y.r))
        U, area = mean_field_step(U, self._input(heard, drive), delta, dt / tau)
        x = self._inputs(heard, y.quantile, drive)
        p, q, spikes = qif_step(y.p, y.q, x, (dt / tau)[None])
        weight = self._weight(y.r)
        smooth = (1 - weight) * area.reshape(shape) / dt
        rate = smooth + weight * jnp.mean(spikes.astype(p.dtype), axis=0).reshape(shape) / dt
        s, z = self._synapses(y, smooth if self.model.order == 2 else rate, dt)
        if self.model.order == 2:
            tau_s = fill(self.model.tau_s, shape)
            shots = _shots(p, q, x, spikes, (tau / self._rows(tau_s))[None])
            s, z = (
                a + weight / tau_s * b.reshape(shape)  # pyright: ignore[reportOptionalOperand]
                for a, b in zip((s, z), shots, strict=True)
            )
        r, v = (U.imag / (jnp.pi * tau)).reshape(shape), U.real.reshape(shape)
        return y._replace(r=r, v=v, rate=rate, p=p, q=q, before=self._late(y.rate, y.s), s=s, z=z)

    def output(self, t: Array, y: NestedShotNoiseState) -> Array:
        return self.model.output(t, NMM2State(y.rate, y.v, y.s, y.z))

    def source(self, t: Array, y: NestedShotNoiseState, drive: Drive) -> Array:
        return self.model.source(t, NMM2State(y.rate, y.v, y.s, y.z), drive)

    def _drawn(self, y: NestedShotNoiseState, drive: Drive, key: PRNGKeyArray) -> NestedShotNoiseState:
        """Phases and quantiles at random; mean field and neurons in their stationary density for what they hear."""
        for_phase, for_quantile = jax.random.split(key)
        heard = y.rate if y.s is None else y.s
        U = 1j * jnp.sqrt(self._input(heard, drive) + 1j * self._widths(y.r)[1])
        quantile = _jittered(for_quantile, y.quantile) if self.jitter else y.quantile
        p, q = stationary(for_phase, self._inputs(heard, quantile, drive))
        r, v = (U.imag / (jnp.pi * self._widths(y.r)[0])).reshape(y.r.shape), U.real.reshape(y.r.shape)
        return y._replace(r=r, v=v, p=p, q=q, quantile=quantile, fresh=jnp.zeros_like(y.fresh))

    def _rows(self, x: Array) -> Array:
        """With an axis of populations, also of one."""
        return x if self.model.rank else x[None]

    def _widths(self, r: Array) -> tuple[Array, Array]:
        """tau_m and delta, [P] or [P, region]."""
        return self._rows(fill(self.model.tau_m, r.shape)), self._rows(fill(self.model.delta, r.shape))

    def _weight(self, r: Array) -> Array:
        """sqrt(M / n), in the shape of the rates."""
        return jnp.sqrt(self.members / fill(self.n, r.shape))

    def _input(self, heard: Array, drive: Drive) -> Array:
        """X: all that a neuron at the centre of the Lorentzian receives, [P] or [P, region]."""
        m, rank = self.model, heard.ndim
        tau_m, eta, I = (lift(p, rank) for p in (m.tau_m, m.eta, m.I))
        X = eta + I + share(drive.current, rank) + tau_m * circuit.synaptic(m, heard, drive.synaptic)
        return self._rows(jnp.broadcast_to(X, heard.shape))

    def _inputs(self, heard: Array, quantile: Array, drive: Drive) -> Array:
        """X + delta * quantile, [neuron, P] or [neuron, P, region]."""
        return self._input(heard, drive)[None] + self._widths(heard)[1][None] * quantile

    def _late(self, rate: Array, s: Array | None) -> Array | None:
        """What must be known of the step before to look half a step ahead."""
        return (rate, None, s)[self.model.order]

    def _ahead(self, y: NestedShotNoiseState, dt: float) -> Array:
        """The synapses half a step ahead, to second order; at order 2 without a jump where a spike crosses a step."""
        if self.model.order == 1:
            return self._synapses(y, y.rate, dt / 2)[0]  # pyright: ignore[reportReturnType]
        return 2 * y.rate - y.before if y.s is None else 1.5 * y.s - 0.5 * y.before  # pyright: ignore[reportOperatorIssue]

    def _synapses(self, y: NestedShotNoiseState, rate: Array, dt: float) -> tuple[Array | None, Array | None]:
        """s and z after dt at a constant rate, exactly."""
        if y.s is None:
            return None, None
        k, away = dt / fill(self.model.tau_s, rate.shape), y.s - rate
        if y.z is None:
            return rate + away * jnp.exp(-k), None
        return rate + (away + (y.z + away) * k) * jnp.exp(-k), (y.z - (y.z + away) * k) * jnp.exp(-k)


def _shots(p: Array, q: Array, x: Array, spikes: Array, ratio: Array) -> tuple[Array, Array]:
    """What the spikes of a step add to s and z at its end, in units of 1 / tau_s a spike; mean over the neurons.

    `ratio` is tau_m / tau_s. A neuron that fired several times did so evenly; of these the first and the last speak.
    """
    fired = spikes > 0
    p, q, x = (jnp.where(fired, each, other) for each, other in ((-p, 1.0), (q, 0.0), (x, 1.0)))
    last = until_spike(p, q, x)
    first = last + jnp.maximum(spikes - 1, 0) * jnp.pi / jnp.sqrt(jnp.where(spikes > 1, x, 1.0))

    def response(time):
        return time * ratio * jnp.exp(-time * ratio), (1 - time * ratio) * jnp.exp(-time * ratio)

    both = zip(response(first), response(last), strict=True)
    s, z = (jnp.mean(spikes * (a + b) / 2, axis=0) for a, b in both)
    return s, z


def _jittered(key: PRNGKeyArray, like: Array) -> Array:
    """Quantiles drawn uniformly, one in each M-th of the Lorentzian; the outermost two stay, at their mean rate."""
    count = like.shape[0]
    u, j = jax.random.uniform(key, like.shape, like.dtype), lift(jnp.arange(count, dtype=like.dtype), like.ndim)
    low = 2 * j < count - 1
    from_end = jnp.where(low, j + u, count - j - u) / count  # of the nearer end: exact in float32, too
    drawn = jnp.where(low, -1.0, 1.0) / jnp.tan(jnp.pi * from_end)
    return jnp.where((j == 0) | (j == count - 1), like, drawn)


def _golden(count: int) -> np.ndarray:
    """Parts of a turn that lie evenly in every stretch of them: multiples of the golden mean."""
    return np.arange(1, count + 1) * (np.sqrt(5) - 1) / 2 % 1
