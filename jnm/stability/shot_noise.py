r"""The spectrum of the rates of finitely many coupled neurons: shot noise that goes round through the synapses.

N_a neurons make the rate r_a + chi_a instead of the mean field's r_a. The noise chi enters where spikes go, into the
synapses, and near a stable fixed point the populations answer linearly:

    r + chi = (1 - L)^-1 chi,    L_ab(f) = G_a(f) C_ab H_b(f),
    S(f) = (1 - L)^-1 diag(S_chi) (1 - L)^-dagger,

with G_a a population's answer to a current, H_b its synapse and S_chi,a the spectrum of `jnm.shot_noise_psd` at the
effective drive X_a = eta_a + I_a + tau_a sum_b C_ab s_b, independent between populations. Exact to first order in 1/N;
next to a Hopf point the peak it predicts is too high for thousands of neurons. Klinshov & Kirillov, Phys. Rev. E 106
L062302 (2022), for the idea.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jnm._model import AbstractModel, Drive, State
from jnm._param import fill, lift
from jnm.models.nmm2 import NMM2, NMM2State
from jnm.models.shot_noise import shot_noise_psd
from jnm.stability.field import NO_TIME, flat, jacobian
from jnm.stability.linear_response import (
    LinearSpectrum,
    check_stable,
    checked_frequencies,
    resting_point,
    rotated,
)
from jnm.stability.precision import in_double, is_traced


@in_double
def closed_loop_psd(
    model: AbstractModel, f_hz: Float[Array, " frequency"], n: ArrayLike, state: State | None = None
) -> LinearSpectrum:
    """The one-sided spectrum, per Hz, of the rates of a circuit of finitely many QIF neurons at rest.

        >>> S = jnm.stability.closed_loop_psd(jnm.Pyramidal(), jnp.linspace(1.0, 200.0, 200), n=1000)

    It is the expectation of `jnm.observe.psd` of the rates, in 1/ms, of long runs of such networks, to first order in
    1/n. `.value` has the axes [frequency] and those of the state, such as [frequency, population].

    **Arguments**

    - `model`: a `jnm.NMM2`; its own noise is not counted.
    - `f_hz`: frequencies in Hz, above zero.
    - `n`: number of neurons in each population: one number for all, [population] or [population, region].
    - `state`: the fixed point, or a state next to it; by default the model's only stable one.

    Differentiable in the model's parameters and in `n`, and under jit with a `state`. Raises `ValueError` for another
    model, f_hz <= 0, n < 1, an unstable fixed point, and if it is not clear which one is meant.
    """
    if not isinstance(model, NMM2):
        raise ValueError(f"closed_loop_psd: wanted a jnm.NMM2, whose neurons are known; got {type(model).__name__}.")
    f_hz = checked_frequencies(f_hz, "closed_loop_psd", zero=False)
    counts = _neurons(model, n)
    point = resting_point(model, state, "closed_loop_psd")
    check_stable(point, "closed_loop_psd")
    return LinearSpectrum(f_hz, _closed_loop(model, point.state, f_hz, counts))


@eqx.filter_jit
def _closed_loop(model: NMM2, y: NMM2State, f_hz: Float[Array, " frequency"], n: Array) -> Array:
    A, B = jacobian(model, flat(y)), jax.jacfwd(lambda chi: _shaken(model, y, chi))(jnp.zeros(y.r.size))

    def spectrum(f):
        loop, ahead = (part[: y.r.size] for part in rotated(A, f, B))  # (1 - L)^-1 - 1: r is the first of the state
        return ((jnp.eye(y.r.size) + loop) ** 2 + ahead**2) @ jnp.ravel(_shots(model, y, f, n))

    return jax.vmap(spectrum)(f_hz).reshape(-1, *y.r.shape)


def _shots(model: NMM2, y: NMM2State, f_hz: Array, n: Array) -> Array:
    """S_chi, one-sided per Hz, in the shape of the rates, at a fixed point: there (pi R - i v)^2 = X + i delta."""
    tau_m = lift(model.tau_m, y.r.ndim)
    R = tau_m * y.r
    x, delta = (jnp.pi * R) ** 2 - y.v**2, -2 * jnp.pi * R * y.v
    return 2 / (1000 * tau_m) * shot_noise_psd(f_hz / 1000 * tau_m, x, delta, n)


def _shaken(model: NMM2, y: NMM2State, chi: Float[Array, " rate"]) -> Float[Array, " n"]:
    """dx/dt where the synapses hear r + chi and the membranes r."""
    t, chi = jnp.asarray(NO_TIME), chi.reshape(y.r.shape)
    if y.s is None:  # order 0: the synapses have no state
        heard = model.C * chi if model.C.ndim < 2 else jnp.sum(lift(model.C, chi.ndim + 1) * chi[None], axis=1)
        return flat(model.drift(t, y, Drive(synaptic=heard)))
    still = model.drift(t, y, Drive())
    return flat(model.drift(t, y._replace(r=y.r + chi), Drive())._replace(r=still.r, v=still.v))


def _neurons(model: NMM2, n: ArrayLike) -> Float[Array, "..."]:
    """Neurons in the shape of the rates."""
    counts, shape = jnp.asarray(n, float), model.init().r.shape
    if counts.shape != shape[: counts.ndim]:
        raise ValueError(f"closed_loop_psd: n has shape {list(counts.shape)}; wanted one number, or {list(shape)}.")
    if not is_traced(counts) and not np.all(np.asarray(counts) >= 1):
        least = float(jnp.min(counts))
        raise ValueError(f"closed_loop_psd: n = {least:g} neurons; wanted at least one in each population.")
    return fill(counts, shape)
