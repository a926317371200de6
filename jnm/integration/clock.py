"""Time that float32 does not spoil.

A clock that adds dt in float32 loses a step in 200,000, and float32 itself resolves only 0.06 ms at 600 s. A `Time` is
therefore a pair of floats, computed anew from the integer number of the step; their sum is right to about 1e-6 ms over
days. Whoever asks when something began subtracts first and adds the small part afterwards.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jnm._param import as_parameter


class Time(NamedTuple):
    """A time in ms as the unevaluated sum of a large and a small float.

    `ending` says that a step ends here: what jumps at this moment belongs to the next step.
    """

    large: Array | float
    small: Array | float = 0.0
    ending: Array | bool = False

    def __sub__(self, other: "Time | Array | float") -> Any:
        other = as_time(other)  # exact when the two are close, which is where it matters
        return (self.large - other.large) + (self.small - other.small)

    @property
    def value(self) -> Array | float:
        """The time as one float."""
        return self.large + self.small


def as_time(value: Time | Array | float) -> Time:
    """A time in ms, given as a number or an array; what float32 would round off becomes the small part.

    Raises `ValueError` for anything but finite real numbers.
    """
    if isinstance(value, Time):
        return value
    if isinstance(value, jax.Array):
        return Time(as_parameter(value), jnp.zeros(value.shape))
    dtype = jnp.result_type(float)
    large = as_parameter(value)
    exact = np.asarray(value, np.float64)
    if not np.all(np.isfinite(exact)):
        raise ValueError(f"A time is a finite number of ms; got {value!r}.")
    return Time(large, jnp.asarray(exact - exact.astype(dtype), dtype))


def clock(step: Int[Array, ""], dt: float, t0: float) -> Time:
    """t0 + step * dt."""
    return add(product(step, dt, jnp.result_type(float)), as_time(t0))


def add(a: Time, b: Time) -> Time:
    """a + b, to the digits of both; of two times the known one must be `b`.

    XLA turns (c + x) - c into x where c is a constant, and with it goes the rounding error that is wanted here.
    """
    large, error = _two_sum(a.large, b.large)
    return Time(large, a.small + b.small + error)


def product(step: Int[Array, ""], factor: float, dtype: np.dtype) -> Time:
    """step * factor to far better than float32: the integer in digits of 11 bits, the factor in pieces of 12."""
    pieces, rest = [], factor
    for _ in range(2):
        scale = 2.0 ** (np.floor(np.log2(abs(rest))) - 11) if rest else 1.0
        pieces.append(np.floor(rest / scale) * scale)
        rest -= pieces[-1]
    digits = [((step >> shift) & mask, 2.0**shift) for shift, mask in ((22, -1), (11, 2047), (0, 2047))]
    large, small = jnp.zeros((), dtype), jnp.zeros((), dtype)
    for piece in (*pieces, rest):
        for digit, weight in digits:
            large, error = _two_sum(large, digit.astype(dtype) * jnp.asarray(piece * weight, dtype))
            small = small + error
    return Time(large, small)


def fraction_of_product(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a * b up to a whole number, with the digits that a float would lose above the point."""
    total, error = _two_product(a, b)
    return (total - jnp.floor(total)) + error


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and its rounding error (Knuth)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b and its rounding error (Dekker)."""
    total = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return total, a_low * b_low - (((total - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _halves(x: Array) -> tuple[Array, Array]:
    """x as the sum of two floats of half the digits (Veltkamp)."""
    bits = (jnp.finfo(x.dtype).nmant + 2) // 2
    spread = x * (2.0**bits + 1)
    high = spread - (spread - x)
    return high, x - high
