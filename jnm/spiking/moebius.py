"""The exact step of a quadratic integrate-and-fire neuron and of its mean field: one Moebius map (see `jnm.spiking.qif`)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


def qif_step(p: Array, q: Array, x: Array, h: Array | float) -> tuple[Array, Array, Int[Array, "..."]]:
    """Neurons V = p / q with input x after h = dt / tau_m, exactly, and how often each fired; q stays >= 0.

    An input x > 0 turns the phase by w h, of which whole half turns are one spike each and the rest at most one more.
    """
    w = jnp.sqrt(jnp.maximum(jnp.abs(x), 1e-20))
    turns = jnp.where(x > 0, jnp.floor(w * h / jnp.pi), 0.0)
    angle = w * h - turns * jnp.pi
    # For x < 0 both coefficients are divided by cosh, which drops out of p / q and would overflow.
    c, s = jnp.where(x > 0, jnp.cos(angle), 1.0), jnp.where(x > 0, jnp.sin(angle), jnp.tanh(angle)) / w
    p, q = p * c + x * s * q, q * c - p * s
    fired = q <= 0
    scale = jnp.where(fired, -1.0, 1.0) / (jnp.abs(p) + jnp.abs(q))
    return p * scale, q * scale, turns.astype(jnp.int32) + fired


def mean_field_step(U: Array, X: Array, delta: Array, h: Array) -> tuple[Array, Array]:
    """U after h, by the map of a neuron with the complex input X + i delta, and the integral of R over the step."""
    w = jnp.sqrt(X + 1j * delta)
    c, s = jnp.cos(w * h), jnp.sin(w * h) / w
    below = c - U * s
    return (U * c + w**2 * s) / below, -jnp.angle(below) / jnp.pi


def lorentzian(n: int) -> Float[np.ndarray, " neuron"]:
    """Quantiles (j - 1/2) / n of the standard Lorentzian, the outermost two at 1 / (4 n) from the ends.

    There x falls as 1 / u with the distance u from the end, and sqrt(x), the rate, has its mean over 0 < u < 1/n at
    u = 1 / (4 n). Middles alone would fire less than NMM2, by .11 sqrt(delta / n) / tau_m.
    """
    u = (np.arange(n) + 0.5) / n
    if n > 1:
        u[[0, -1]] = 0.25 / n, 1 - 0.25 / n
    return np.tan(np.pi * (u - 0.5))


def stationary(key: PRNGKeyArray, x: Float[Array, "neuron ..."]) -> tuple[Array, Array]:
    """p and q of neurons at constant inputs x, those that fire at random phases."""
    return at_phase(jax.random.uniform(key, x.shape, x.dtype), x)


def at_phase(u: Array, x: Array) -> tuple[Array, Array]:
    """p and q of neurons at constant inputs x: with x > 0 at the part u of the interval between two spikes."""
    phase, w = jnp.pi * (u - 0.5), jnp.sqrt(jnp.abs(x))
    return jnp.where(x > 0, w * jnp.sin(phase), -w), jnp.where(x > 0, jnp.cos(phase), 1.0)


def until_spike(p: Array, q: Array, x: Array) -> Array:
    """After how many tau_m a neuron V = p / q with input x fires; the time since it fired is that of -p, q.

    For a neuron that does: V above sqrt(-x) where x < 0.
    """
    w = jnp.sqrt(jnp.maximum(jnp.abs(x), 1e-20))
    closing = jnp.where(x > 0, 0.0, jnp.minimum(w * q / p, 1 - jnp.finfo(p.dtype).eps))  # 1 where it rests again
    return jnp.where(x > 0, jnp.arctan2(w * q, p), jnp.arctanh(closing)) / w
