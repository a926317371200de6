r"""The rates at which a circuit of NMM2 rests by itself, where jit, vmap and gradients can follow.

    r_a = Psi(eta_a + I_a + tau_a sum_b C_ab r_b; delta_a) / tau_a

by relaxation from a quiet start in ever longer implicit steps, the last of which are Newton's. The derivative is that of
the implicit function: one more Newton step, from rates held fixed. All fixed points and their stability are found by
`jnm.stability.fixed_points`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._param import fill
from jnm.models import circuit
from jnm.models.nmm1 import psi
from jnm.models.nmm2 import NMM2, NMM2State

_STEPS = 60  # each twice as long as the one before, from a tenth of tau_m on


def resting_rates(model: NMM2) -> Float[Array, "..."]:
    """Rates in 1/ms, in the shape of the state's r; where there are several, those next to quiet. NaN if none is found.

    Differentiable in the model's parameters, under jit and vmap.
    """
    shape = circuit.state_shape(model)
    held = jax.lax.stop_gradient(model)
    start = fill(1 / (2 * jnp.pi * held.tau_m), shape)

    def longer(k, r):
        return jnp.maximum(r + _newton(held, r, 10.0 * 0.5**k), 1e-3 * r)

    r = jax.lax.fori_loop(0, _STEPS, longer, start)
    found = jnp.abs(_newton(held, r, 0.0)) < 1e3 * jnp.finfo(r.dtype).eps * r
    return jnp.where(found, r + _newton(model, r, 0.0), jnp.nan)


def state_at(model: NMM2, rate: Float[Array, "..."]) -> NMM2State:
    """The state in which r' = 0 and the synapses have followed the rates: at resting rates, that of rest."""
    tau_m, delta = (fill(p, rate.shape) for p in (model.tau_m, model.delta))
    v = -delta / (2 * jnp.pi * tau_m * rate)
    return NMM2State(rate, v, rate if model.order else None, jnp.zeros_like(rate) if model.order == 2 else None)


def _newton(model: NMM2, r: Array, damping: Array | float) -> Array:
    """From rates r, an implicit step of length 1 / damping towards Psi / tau_m: Newton's for none."""
    tau_m, delta, eta, I = (fill(p, r.shape) for p in (model.tau_m, model.delta, model.eta, model.I))
    x = eta + I + tau_m * circuit.synaptic(model, r, 0.0)
    rate = psi(x, delta)
    error = rate / tau_m - r
    slope = rate / (2 * jnp.sqrt(x**2 + delta**2))  # Psi'
    if model.C.ndim < 2:
        return error / (1 + damping - slope * model.C)
    size = model.n_populations
    C = jnp.broadcast_to(model.C.reshape(size, size, *(model.C.shape[2:] or (1,) * (r.ndim - 1))), (size, *r.shape))
    matrix = (1 + damping) * jnp.eye(size) - jnp.moveaxis(slope[:, None] * C, (0, 1), (-2, -1))
    return jnp.moveaxis(jnp.linalg.solve(matrix, jnp.moveaxis(error, 0, -1)[..., None])[..., 0], -1, 0)
