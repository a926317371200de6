r"""Phases together: the Kuramoto order parameter over regions, the phase-locking value over time.

    R(t) = | < exp(i theta_j(t)) >_regions |            PLV_ij = | < exp(i (theta_i - theta_j)) >_time |

Both are 1 for perfect locking. Unrelated phases leave R near sqrt(pi / (4 N)) for N regions, and PLV near
sqrt(pi / (4 M)) for a record that is worth M independent phases, so neither is ever 0.

Kuramoto Y (1984) Chemical Oscillations, Waves, and Turbulence. Springer. Lachaux JP, Rodriguez E, Martinerie J, Varela
FJ (1999) Measuring phase synchrony in brain signals. Hum Brain Mapp 8:194-208.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm.observe.checks import as_samples


def kuramoto_order(phases: Float[Array, "time ... region"]) -> Float[Array, "time ..."]:
    """The Kuramoto order parameter R(t): the length of the regions' mean phase vector, 0 to 1 at each time.

        >>> R = jnm.observe.kuramoto_order(jnm.observe.phase(v, dt=1.0, band=(34.0, 74.0)))
        >>> R.mean(), R.std()                               # synchrony and metastability

    **Arguments**

    - `phases`: radians, time first, region last; any wrapping.

    Raises `ValueError` for fewer than two regions. Kuramoto (1984).
    """
    phases = _phases("kuramoto_order", phases)
    return jnp.abs(jnp.mean(jnp.exp(1j * phases), axis=-1))


def phase_locking(phases: Float[Array, "time ... region"]) -> Float[Array, "... region region"]:
    """The phase-locking value of each pair of regions, 0 to 1: how constant their difference in phase is over time.

        >>> plv = jnm.observe.phase_locking(jnm.observe.phase(v, dt=1.0, band=(34.0, 74.0)))

    Arguments and errors as in `kuramoto_order`. Lachaux et al. (1999).
    """
    vectors = jnp.exp(1j * _phases("phase_locking", phases))
    # In full precision on every device: weak locking is a small mean of large vectors.
    return jnp.abs(jnp.einsum("t...i,t...j->...ij", vectors, vectors.conj(), precision="highest")) / len(vectors)


def _phases(who: str, phases: Array) -> Array:
    phases = as_samples(who, phases, "[time, ..., region]")
    if phases.ndim < 2 or phases.shape[-1] < 2:
        raise ValueError(f"{who}: phases have shape {phases.shape}; wanted [time, ..., region] of two regions or more.")
    return phases
