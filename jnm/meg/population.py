r"""What adds up over cells and over patches: the incoherent remainder of a mean, and a region larger than a column.

A mass model's source is the mean over cells. What each of N cells does beside it, with standard deviation sigma and pair
correlation rho, makes a moment of

    rms Q = sigma sqrt(N + N (N - 1) rho).

A region of several cm^2 is a sum of patches (a mass each) whose activity agrees over a coherence length xi,

    rms Q^2 = sum_ij q_i q_j exp(-|r_i - r_j| / xi),

between sqrt(n) q for n independent patches and n q for patches locked together. All 20 cm^2 of a region locked together
would make some 1e3 nA m, a hundred times what is measured: the coherence length is part of the model. Both are ours.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jnm._model import Drive
from jnm.meg.sensors import Numbers
from jnm.models.nmm2 import NMM2State
from jnm.spiking.qif import QIFNetwork


def incoherent_rms(
    sigma_pA_m: Numbers | float, cells: Numbers | float, correlation: Numbers | float = 0.0
) -> Float[Array, "..."]:
    """sigma sqrt(N + N (N - 1) rho) in nA m: the moment of N cells that scatter by `sigma_pA_m` about their mean.

    `correlation` is that of pairs of cells, -1/(N-1) to 1. Raises `ValueError` for what cannot be a correlation.

        >>> float(jnm.meg.incoherent_rms(0.2, 5e4))      # of 1-10 nA m that such a population makes in step
        0.0447...
    """
    sigma, N, rho = (jnp.asarray(x, dtype=float) for x in (sigma_pA_m, cells, correlation))
    square = N + N * (N - 1) * rho
    if not isinstance(square, Tracer) and not np.all((np.asarray(square) >= 0) & (np.asarray(rho) <= 1)):
        raise ValueError(
            f"incoherent_rms: cells = {cells}, correlation = {correlation}; wanted cells > 0 and -1/(cells - 1) <= "
            "correlation <= 1."
        )
    return 1e-3 * sigma * jnp.sqrt(square)


def region_rms(
    patch_nA_m: Numbers | float, positions_mm: Float[ArrayLike, "patch 3"], coherence_mm: Numbers | float
) -> Float[Array, ""]:
    """The rms moment in nA m of a region whose patches agree over a coherence length.

    **Arguments**

    - `patch_nA_m`: rms moment of each patch, a number or [patch]; signed where neighbours point opposite ways.
    - `positions_mm`: where the patches are, [patch, 3], mm (along the cortex, if that is known).
    - `coherence_mm`: xi > 0; correlation falls to 1/e over it.

    Differentiable in all three. A mass for a region of n like patches gets the `log_scale` log(region_rms / patch).
    """
    positions, xi = jnp.asarray(positions_mm, dtype=float), jnp.asarray(coherence_mm, dtype=float)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"region_rms: positions_mm has shape {list(positions.shape)}; wanted [patch, 3], mm.")
    if not isinstance(xi, Tracer) and not (xi.ndim == 0 and xi > 0):
        raise ValueError(f"region_rms: coherence_mm = {coherence_mm}; wanted one positive length.")
    q = jnp.broadcast_to(jnp.asarray(patch_nA_m, dtype=float), positions.shape[:1])
    return jnp.sqrt(q @ jnp.matmul(jnp.exp(-_distances(positions) / xi), q, precision="highest"))


def qif_source(network: QIFNetwork, synapse: Float[ArrayLike, "time ..."]) -> Float[Array, " time"]:
    """Synaptic input tau_m sum_b C_ab s_b to the sending population of a QIF network, in units of I.

    `synapse` is that of its run, [time] or [time, population]: `Dipole.of(network)(qif_source(network, run.synapse))`
    is its moment. The synapses of QIF neurons are currents, so the mean needs no potential.
    """
    s = jnp.asarray(synapse).T  # the mass is elementwise over regions, for which time may stand
    return network.mass.source(jnp.zeros(()), NMM2State(s, s, s), Drive())


def _distances(positions: Array) -> Float[Array, "patch patch"]:
    """Pairwise, with a gradient of zero where two places coincide."""
    apart = positions[:, None] - positions[None]
    square = jnp.sum(apart**2, axis=-1)
    same = square == 0
    return jnp.where(same, 0.0, jnp.sqrt(jnp.where(same, 1.0, square)))
