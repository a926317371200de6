r"""Shot noise: the spectrum of the rate of finitely many uncoupled QIF neurons around its mean, in closed form.

A neuron with constant drive eta_j fires at the rate nu = sqrt(eta_j) / pi, in units of 1/tau_m, and the drives of a
population are Lorentzian, of centre X and half width delta. N such clocks of random phase make lines at the multiples
of their rates, in the mean over populations

    S(f) = (1/N) sum_k (1/k) (f/k)^2 P(f/k),        P(nu) = 2 pi^2 nu g(pi^2 nu^2),  g the Lorentzian density
         = (1 / (pi N)) {Re[W (1 + u) / (1 - u)] - delta / (pi^2 f)},   W = sqrt(X + i delta),  u = exp(-2 i pi^2 f / W).

f is in cycles per tau_m and S counts both signs of f. At high f it is the Poisson value R/N, with R = Psi(X; delta) the
mean rate; at low f it falls as f^3: regular firing leaves almost no slow noise. Klinshov & Kirillov, Phys. Rev. E 106
L062302 (2022), for the idea; closed form and series derived here.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

_SERIES = (1 / 45, 2 / 945, 1 / 4725, 2 / 93555, 1382 / 638512875)  # of -(cot z - 1/z + z/3), from z^3 on
# Below which |z| = pi^2 f / |W| the series is used: the closed form loses there what remains of f^3 beside 1/f.
_SMALL, _SMALL_64 = 0.5, 0.15


def shot_noise_psd(f_tau: ArrayLike, drive: ArrayLike, delta: ArrayLike, n: ArrayLike) -> Float[Array, "..."]:
    """The spectral density of the rate of n uncoupled QIF neurons, dimensionless and two-sided.

    Rates are in units of 1/tau_m and frequencies in cycles per tau_m: in 1/ms and Hz, one-sided, the density at
    f_hz = 1000 f_tau / tau_m is 2 / (1000 tau_m) times this. Of coupled neurons see `jnm.stability.closed_loop_psd`.

        >>> float(jnm.shot_noise_psd(0.3, drive=1.0, delta=0.3, n=100))
        0.005022...

    **Arguments**

    - `f_tau`: frequencies in cycles per tau_m, above zero.
    - `drive`: X, the centre of the Lorentzian, all constant input included: eta + I + C R, not eta alone.
    - `delta`: its half width. At zero all power is in lines at the multiples of sqrt(X) / pi, and none between them.
    - `n`: number of neurons, not necessarily whole.

    All are broadcast against each other. Differentiable in every one; in float32 and in float64.

    Raises `ValueError` if f_tau <= 0, n < 1, delta < 0, or delta = 0 with drive <= 0 (neurons at rest).
    """
    _check(f_tau, drive, delta, n)
    given = (f_tau, drive, delta, n)
    dtype = jnp.result_type(float, *(x for x in given if hasattr(x, "dtype")))
    f, x, width, count = jnp.broadcast_arrays(*(jnp.asarray(each, dtype) for each in given))
    modulus = jnp.sqrt(x**2 + width**2)  # |W|^2
    size = jnp.sqrt(modulus)
    small = jnp.pi**2 * f < (_SMALL_64 if jnp.finfo(dtype).bits == 64 else _SMALL) * size
    # Each form sees only frequencies at which it is finite: a gradient takes both branches of a `where`.
    low = _series(jnp.where(small, f, 0.0), x, width, modulus)
    high = _closed(jnp.where(small, size, f), x, width, modulus)
    return jnp.where(small, low, high) / (jnp.pi * count)


def _closed(f: Array, x: Array, delta: Array, modulus: Array) -> Array:
    """Re[W (1 + u) / (1 - u)] - delta / (pi^2 f) in real numbers, W = p + i q and u = exp(-m - 2 i turn)."""
    root = jnp.sqrt((modulus + jnp.where(x < 0, -x, x)) / 2)  # the larger of p and q: no cancellation, see psi
    other = delta / (2 * root)
    p, q = jnp.where(x < 0, other, root), jnp.where(x < 0, root, other)
    m, turn = 2 * jnp.pi**2 * f * q / modulus, jnp.pi**2 * f * p / modulus
    rho = jnp.exp(-m)
    above = -p * jnp.expm1(-2 * m) + 2 * rho * q * jnp.sin(2 * turn)
    return above / (jnp.expm1(-m) ** 2 + 4 * rho * jnp.sin(turn) ** 2) - delta / (jnp.pi**2 * f)


def _series(f: Array, x: Array, delta: Array, modulus: Array) -> Array:
    """pi^2 f Im sum_k c_k y^k, y = pi^4 f^2 (x + i delta) / |x + i delta|^2: the same for small f, in real numbers."""
    scale = (jnp.pi**2 * f / modulus) ** 2
    along, across = scale * x, scale * delta
    real, imaginary = jnp.zeros_like(f), jnp.zeros_like(f)
    for c in reversed(_SERIES):
        real, imaginary = (c + real) * along - imaginary * across, (c + real) * across + imaginary * along
    return jnp.pi**2 * f * imaginary


def _check(f_tau: ArrayLike, drive: ArrayLike, delta: ArrayLike, n: ArrayLike) -> None:
    """Raise `ValueError` for values outside their domain; what is traced has no values yet."""
    known = {
        name: np.asarray(x)
        for name, x in (("f_tau", f_tau), ("drive", drive), ("delta", delta), ("n", n))
        if not isinstance(x, Tracer)
    }
    for name, x in known.items():
        if not np.all(np.isfinite(x)):
            raise ValueError(f"shot_noise_psd: {name} is not finite everywhere.")
    if "f_tau" in known and not np.all(known["f_tau"] > 0):
        lowest = np.min(known["f_tau"])
        raise ValueError(f"shot_noise_psd: f_tau goes down to {lowest:g}; wanted frequencies above zero.")
    if "n" in known and not np.all(known["n"] >= 1):
        raise ValueError(f"shot_noise_psd: n = {np.min(known['n']):g} neurons; wanted at least one.")
    if "delta" in known and not np.all(known["delta"] >= 0):
        raise ValueError(f"shot_noise_psd: delta = {np.min(known['delta']):g}; a half width is not negative.")
    if {"delta", "drive"} <= set(known) and np.any((known["delta"] == 0) & (known["drive"] <= 0)):
        raise ValueError(
            "shot_noise_psd: delta = 0 with drive <= 0: all neurons are at rest and fire no shots. Give a delta above "
            "zero, or a drive above zero."
        )
