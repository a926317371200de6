r"""GaussianShotNoise: NMM2 whose synapses hear finitely many neurons, as a stationary Gaussian path.

    r_n = r + chi,    chi Gaussian with the spectrum S_chi of `jnm.shot_noise_psd`

chi enters where spikes go, into the synapses (order 0: tau_m C (r + chi) in v'), and r_n is the rate that is recorded;
the equations of r and v are otherwise those of NMM2. chi is white noise through a filter whose gain is sqrt(S_chi / dt),
convolved by FFT in blocks of steps, so that it is a function of key and step alone and may be streamed. S_chi is that
of the resting rates: exact to first order in 1/n next to a stable fixed point, without meaning on a limit cycle, where
the noise follows the rhythm (`jnm.NestedShotNoise`). Klinshov & Kirillov, Phys. Rev. E 106 L062302 (2022), for the idea.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jnm._model import AbstractModel, Drive, Wiener
from jnm._param import Positive, check_domains, fill, lift, param
from jnm.models import circuit
from jnm.models.finite import check_finite, shaken, state_shape
from jnm.models.nmm2 import NMM2, NMM2State
from jnm.models.rest import resting_rates, state_at
from jnm.models.shot_noise import shot_noise_psd


class GaussianShotNoiseState(NamedTuple):
    """Mean-field rate r, membrane v, shot noise chi (1/ms) and the synapses of `jnm.models.NMM2State`."""

    r: Array
    v: Array
    chi: Array
    s: Array | None = None
    z: Array | None = None

    @property
    def rate(self) -> Array:
        """What n neurons fire, r + chi, in 1/ms."""
        return self.r + self.chi


class GaussianShotNoise(AbstractModel):
    """A circuit of P populations of n neurons each, with Gaussian shot noise (equations: head of this file).

        >>> model = jnm.GaussianShotNoise(jnm.Pyramidal(), n=1000)
        >>> sol = jnm.simulate(model, t1=2_000.0, dt=0.1, key=jax.random.key(0), save=lambda t, y: y.rate)

    **Arguments**

    - `model`: a `jnm.NMM2` without noise of its own.
    - `n`: neurons in each population, not necessarily whole: [], [P] or [P, region].
    - `rest`: the rates in 1/ms, in the shape of the state, around which the spectrum is taken. By default those at which
      the model rests by itself, next to quiet; in a network give the node's rates at the network's fixed point.
    - `taps`: the length of the filter in steps of the run. It should cover many correlation times of the shot noise,
      pi r tau_m^2 / delta ms each.

    The step is Heun's, dt at most a twentieth of the mean interval 1 / r between spikes; what arrives from elsewhere is
    held during it. chi has no power above 1 / (2 dt): the Poisson floor there is lost, harmless behind a synapse.
    Gradients are those of the path in every parameter and in n.

    Raises `ValueError` for another model, n < 1, rates that are not positive, and if no resting rates are found.
    """

    model: NMM2
    n: Float[Array, "..."] = param(domain=Positive(), doc="neurons in each population")
    rest: Float[Array, "..."] | None = param(
        None, unit="1/ms", domain=Positive(), doc="rates around which the spectrum is taken", optional=True
    )
    taps: int = eqx.field(default=4096, static=True, metadata={"doc": "length of the filter, in steps"})

    citation: ClassVar[str] = (
        f"{NMM2.citation}\n"
        "Klinshov VV, Kirillov SY (2022) Shot noise in next-generation neural mass models for finite-size networks. "
        "Phys Rev E 106:L062302."
    )

    def __check_init__(self):
        check_domains(self)
        check_finite(self)
        if self.taps < 2 or self.taps % 2:
            raise ValueError(f"GaussianShotNoise: taps = {self.taps}; wanted an even number of steps, two or more.")
        if self.rest is None:
            _check_rest(self.model)

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.model.rank

    @property
    def receive(self) -> tuple[int, ...] | None:
        """The populations of the model that hear others."""
        return self.model.receive

    def init(self) -> GaussianShotNoiseState:
        """The model at `rest`, and no noise yet."""
        y = state_at(self.model, fill(self._rates(), state_shape(self)))
        return _with(y, jnp.zeros_like(y.r))

    def drift(self, t: Array, y: GaussianShotNoiseState, drive: Drive) -> GaussianShotNoiseState:
        """That of the model whose synapses hear r + chi; chi stands still."""
        slope = self.model.drift(t, NMM2State(y.r, y.v, y.s, y.z), drive)
        return _with(shaken(self.model, slope, y.chi), jnp.zeros_like(y.chi))

    def diffusion(self, t: Array, y: GaussianShotNoiseState) -> GaussianShotNoiseState:
        """chi alone is noisy; `colour` gives the noise its spectrum and its size."""
        return GaussianShotNoiseState(None, None, jnp.ones_like(y.chi))  # pyright: ignore[reportArgumentType]

    def colour(self, white: Wiener, start: Array, count: int, dt: float) -> Float[Array, "count size"]:
        """chi at the ends of `count` steps: white noise through the filter, in blocks of `taps` steps since step 0."""
        first, blocks = start // self.taps, (count - 1) // self.taps + 2
        noise = white((first - 1) * self.taps, (blocks + 1) * self.taps) / np.sqrt(dt)
        pieces = noise.reshape(blocks + 1, self.taps, *self._rows(noise.shape[1]))
        pairs = jnp.concatenate([pieces[:-1], pieces[1:]], axis=1)
        response = jnp.fft.rfft(self._filter(dt), n=2 * self.taps, axis=0)
        chi = jnp.fft.irfft(jnp.fft.rfft(pairs, axis=1) * response[None], axis=1)[:, self.taps :]
        chi = chi.reshape(-1, noise.shape[1]).astype(noise.dtype)
        return jax.lax.dynamic_slice_in_dim(chi, start - first * self.taps, count)

    def step(self, t: Array, dt: float, y: GaussianShotNoiseState, drive: Drive, noise: Array) -> Any:
        """Heun's step, with chi as it is at the start and as it will be at the end."""
        here = self.drift(t, y, drive)
        ahead = jax.tree.map(lambda x, d: x + dt * d, y, here)._replace(chi=noise.reshape(y.chi.shape))
        there = self.drift(t + dt, ahead, drive)
        return jax.tree.map(lambda x, a, b: x + dt / 2 * (a + b), y, here, there)._replace(chi=ahead.chi)

    def output(self, t: Array, y: GaussianShotNoiseState) -> Array:
        return self.model.output(t, NMM2State(y.rate, y.v, y.s, y.z))

    def source(self, t: Array, y: GaussianShotNoiseState, drive: Drive) -> Array:
        return self.model.source(t, NMM2State(y.rate, y.v, y.s, y.z), drive)

    def _rows(self, size: int) -> tuple[int, ...]:
        """The state's shape in a network, of which only the number of elements is known."""
        lead = circuit.state_shape(self.model)[: self.model.rank]
        return (*lead, size // int(np.prod(lead, dtype=int)))

    def _rates(self) -> Array:
        """Those around which the spectrum is taken."""
        return resting_rates(self.model) if self.rest is None else self.rest

    def _filter(self, dt: float) -> Float[Array, "taps ..."]:
        """The impulse response: in steps, causal, half its length late; axes after it are [P, region or 1]."""
        shape = state_shape(self)
        shape = shape if len(shape) > self.model.rank else (*shape, 1)
        tau, delta, n, rate = (fill(x, shape) for x in (self.model.tau_m, self.model.delta, self.n, self._rates()))
        R = tau * rate
        drive = (jnp.pi * R) ** 2 - (delta / (2 * jnp.pi * R)) ** 2
        f = jnp.asarray(np.arange(1, self.taps // 2 + 1) / (self.taps * dt), rate.dtype)
        density = shot_noise_psd(lift(f, 1 + len(shape)) * tau[None], drive[None], delta[None], n[None]) / tau[None]
        gain = jnp.concatenate([jnp.zeros_like(density[:1]), jnp.sqrt(density / dt)])
        return jnp.fft.fftshift(jnp.fft.irfft(gain, n=self.taps, axis=0), axes=0)


def _check_rest(model: NMM2) -> None:
    """Raise `ValueError` if the model is known and rests nowhere that relaxation finds."""
    rates = resting_rates(model)
    if not isinstance(rates, Tracer) and not np.all(np.isfinite(np.asarray(rates))):
        raise ValueError(
            "GaussianShotNoise: found no rates at which the model rests; give them by hand, rest=... in 1/ms."
        )


def _with(y: NMM2State, chi: Array) -> GaussianShotNoiseState:
    return GaussianShotNoiseState(y.r, y.v, chi, y.s, y.z)
