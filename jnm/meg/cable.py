r"""Single-cable theory: the dipole moment of a dendrite, from the potential at its ends or from a synapse along it.

A sealed uniform cable of length l and diameter d, with membrane resistivity R_m, axial resistivity R_i and membrane time
constant tau_m, steady at the frequency f, has

    lambda0 = sqrt(R_m d / (4 R_i)),      lambda(f) = lambda0 / sqrt(1 + 2 pi i f tau_m)
    q = kappa (V(0) - V(l)),              kappa = pi d^2 / (4 R_i)                              (at every moment)
    q = I L_eff(x0, f),                   L_eff = lambda [cosh((l - x0)/lambda) - cosh(x0/lambda)] / sinh(l/lambda)
                                                = lambda sinh((l/2 - x0)/lambda) / cosh(l/2 lambda)

q is the integral of the axial current, positive from 0 towards l where the synaptic current I enters near 0. The lever
L_eff is what a synapse at x0 makes of its current: at most half of l, zero half-way, of opposite sign beyond, and
smaller and later at higher frequencies: the dendrite is a low-pass filter. An action potential that lies wholly inside
a uniform axon has V(0) = V(l), and so no dipole at all.

Rall W (1977) Core conductor theory and cable properties of neurons, Handbook of Physiology; the moments are ours,
checked against a cable of compartments. Units: mm and um, ohm m^2 and ohm m, ms, Hz; kappa in fA m per mV.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jnm.meg.sensors import Numbers

LENGTH_MM, DIAMETER_UM = 1.0, 3.0
"""An apical dendrite, for want of a better one (chosen)."""
MEMBRANE_OHM_M2, AXIAL_OHM_M = 2.0, 1.5
"""Resistivities usual in pyramidal cell models (literature): 20,000 ohm cm^2 and 150 ohm cm."""
TAU_MS = 20.0
"""R_m times 1 uF/cm^2."""

_TAUS = 12  # time constants, after which 6e-6 of a charge is left


def bridge(
    diameter_um: Numbers | float = DIAMETER_UM, axial_ohm_m: Numbers | float = AXIAL_OHM_M
) -> Float[Array, "..."]:
    """kappa = pi d^2 / (4 R_i): the moment of a uniform dendrite for 1 mV between its ends, in fA m per mV.

    >>> float(jnm.meg.cable.bridge(3.0))
    4.71...
    """
    d, R_i = _positive(diameter_um, "diameter_um"), _positive(axial_ohm_m, "axial_ohm_m")
    return jnp.pi * d**2 / (4 * R_i)  # um^2 / (ohm m) times mV is fA m


def space_constant(
    f_hz: Numbers | float = 0.0,
    *,
    diameter_um: Numbers | float = DIAMETER_UM,
    membrane_ohm_m2: Numbers | float = MEMBRANE_OHM_M2,
    axial_ohm_m: Numbers | float = AXIAL_OHM_M,
    tau_ms: Numbers | float = TAU_MS,
) -> Complex[Array, "..."]:
    """lambda(f) in mm, complex; 1 mm at rest for the defaults. Arguments as in `effective_length`; shapes broadcast."""
    d, R_m = _positive(diameter_um, "diameter_um"), _positive(membrane_ohm_m2, "membrane_ohm_m2")
    R_i, tau = _positive(axial_ohm_m, "axial_ohm_m"), _positive(tau_ms, "tau_ms")
    rest = jnp.sqrt(R_m * d / (4 * R_i))  # sqrt(ohm m^2 um / (ohm m)) = sqrt(1e-6 m^2) = mm
    return rest / jnp.sqrt(1 + 2e-3j * jnp.pi * jnp.asarray(f_hz, dtype=float) * tau)


def effective_length(
    x0_mm: Numbers | float,
    f_hz: Numbers | float = 0.0,
    *,
    length_mm: Numbers | float = LENGTH_MM,
    diameter_um: Numbers | float = DIAMETER_UM,
    membrane_ohm_m2: Numbers | float = MEMBRANE_OHM_M2,
    axial_ohm_m: Numbers | float = AXIAL_OHM_M,
    tau_ms: Numbers | float = TAU_MS,
) -> Complex[Array, "..."]:
    """L_eff in mm: the lever arm of a synapse at x0 of a sealed cable, complex; its angle is the delay of the moment.

    **Arguments**, of shapes that broadcast

    - `x0_mm`: where the synapse is, 0 to `length_mm`.
    - `f_hz`: frequency of the synaptic current, Hz; at 0 the result is real.
    - `length_mm`, `diameter_um`: of the dendrite.
    - `membrane_ohm_m2`, `axial_ohm_m`: resistivities R_m and R_i; `tau_ms`: membrane time constant.

    Differentiable, and finite for cables of any length. The moment is I L_eff: pA times mm are fA m. Raises `ValueError`
    for a synapse off the cable and for constants that are not positive.

        >>> abs(jnm.meg.cable.effective_length(0.0, [0.0, 40.0, 300.0]))
        Array([0.462..., 0.422..., 0.164...], dtype=float32)
    """
    x0, l = jnp.asarray(x0_mm, dtype=float), _positive(length_mm, "length_mm")
    if not isinstance(x0, Tracer) and not isinstance(l, Tracer) and not np.all((x0 >= 0) & (x0 <= l)):
        raise ValueError(f"x0_mm = {x0_mm} is not on a cable of {length_mm} mm; wanted 0 <= x0_mm <= length_mm.")
    reach = space_constant(
        f_hz, diameter_um=diameter_um, membrane_ohm_m2=membrane_ohm_m2, axial_ohm_m=axial_ohm_m, tau_ms=tau_ms
    )
    # sinh(a) / cosh(b) with |Re a| <= Re b, by exponentials that only decay: sinh and cosh overflow in long cables
    decay = jnp.exp(-x0 / reach) - jnp.exp(-(l - x0) / reach)
    return reach * decay / (1 + jnp.exp(-l / reach))


def synaptic_moment(
    current_pA: Float[ArrayLike, "time ..."], dt: float, x0_mm: float, **cable: float
) -> Float[Array, "time ..."]:
    """The moment over time of a dendrite with the synaptic current I(t) at x0, fA m: its low-pass filter, as an option.

    **Arguments**

    - `current_pA`: I every `dt` ms, [time, ...], inward positive; before its start there was none.
    - `x0_mm`: where the synapse is; `cable`: further arguments of `effective_length`, scalars.

    For a mean current of a population this replaces the fixed lever of `jnm.meg.Dipole.conductance`: fA m a cell.
    """
    current = jnp.asarray(current_pA)
    if current.ndim == 0 or not dt > 0:
        raise ValueError(
            f"synaptic_moment: current of shape {list(current.shape)}, dt = {dt} ms; wanted [time, ...], dt > 0."
        )
    rest = int(
        np.ceil(_TAUS * float(cable.get("tau_ms", TAU_MS)) / dt)
    )  # what is left of I must not come round to the start
    length = current.shape[0] + rest
    lever = effective_length(x0_mm, np.fft.rfftfreq(length, 1e-3 * dt), **cable)
    spectrum = jnp.fft.rfft(current, length, axis=0) * lever.reshape((-1,) + (1,) * (current.ndim - 1))
    return jnp.fft.irfft(spectrum, length, axis=0)[: current.shape[0]]


def _positive(value: Numbers | float, name: str) -> Array:
    array = jnp.asarray(value, dtype=float)
    if not isinstance(array, Tracer) and not np.all(np.asarray(array) > 0):
        raise ValueError(f"{name} = {value}; wanted positive numbers.")
    return array
