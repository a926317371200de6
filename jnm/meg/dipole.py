"""From a mass model's post-synaptic current to the dipole moment of its region, in nA m.

N aligned pyramidal cells, a fraction eta of them effective, each with a current I at a lever arm L along the dendrite,
or equally with a potential u between the ends of a dendrite of kappa = pi d^2 / (4 R_i):

    Q = N eta L I = N eta kappa u                  (positive towards the cortical surface)

A mass model's variable is already the mean over cells, so eta is geometry (alignment, folding inside the region) and
no further share of "synchronous" cells is taken. Spikes are left out: right below about 40 Hz.

Only the product of these factors shows at a sensor. Hence one number, `log_scale`, is what a fit should free, and the
constants below say where it starts: 5e4 cells are some 0.5 mm^2 of cortex. A region is a sum of such patches, and
patches add between the square root of their number (independent) and their number (locked together).

Murakami S, Okada Y (2006) Contributions of principal neocortical neurons to magnetoencephalography and
electroencephalography signals. J Physiol 575:925-936.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._param import as_parameter, check_domains, param


class Dipole(eqx.Module):
    """Q = exp(log_scale) nA_m_per_unit source: from `model.source(...)` [..., region] to nA m [..., region].

    `Dipole.qif()` serves the exact QIF models (NMM2 and its presets), `Dipole.psp()` models of post-synaptic potentials
    (Jansen-Rit). Either number is a scalar or one a region.

        dipole = jnm.meg.Dipole.psp()
        Q = dipole(solution.ys)                  # saved sources -> nA m
    """

    nA_m_per_unit: Float[Array, "..."] = param(
        unit="nA m per unit of source",
        doc="moment of a region per unit of its source",
        source="see Dipole.qif, Dipole.psp",
    )
    log_scale: Float[Array, "..."] = param(
        0.0, doc="log of the factor on it that cells, alignment and lever arm leave open; the one to fit"
    )

    def __check_init__(self):
        check_domains(self)

    def __call__(self, source: Float[Array, "... region"]) -> Float[Array, "... region"]:
        scale = jnp.exp(self.log_scale) * self.nA_m_per_unit
        return source * scale.reshape((1,) * (source.ndim - scale.ndim) + scale.shape)

    @classmethod
    def qif(
        cls,
        *,
        cells: float = 5e4,
        alignment: float = 0.5,
        lever_mm: float = 0.3,
        capacitance_pF: float = 200.0,
        voltage_mV: float = 10.0,
        tau_m: float = 10.0,
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For QIF models, whose source is the synaptic input tau_m J s in units of I: 1.5 nA m per unit by default.

        One unit of I is C_m V / tau_m = 0.2 nA. All synapses are given one lever arm; v is not used, since the centre
        of a Lorentzian is no dendritic potential.

        **Arguments**

        - `cells`: pyramidal cells of the region; `alignment`: the effective share of them, 0 to 1 (chosen).
        - `lever_mm`: effective lever arm of the synapses (0.46 at the end of a dendrite of 1 mm by 3 um, 0 half-way).
        - `capacitance_pF`, `voltage_mV`, `tau_m`: membrane capacitance, mV per unit of v, the model's tau_m in ms.
        """
        current_nA = capacitance_pF * voltage_mV / tau_m * 1e-3  # pF mV / ms = pA
        return cls(as_parameter(cells * alignment * lever_mm * 1e-3 * current_nA), as_parameter(log_scale))

    @classmethod
    def psp(
        cls,
        *,
        cells: float = 5e4,
        alignment: float = 0.5,
        diameter_um: float = 3.0,
        resistivity_ohm_m: float = 1.5,
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For models whose source is a potential in mV, such as Jansen-Rit's y1 - y2: 0.118 nA m per mV by default.

        kappa = pi d^2 / (4 R_i) = 4.7 fA m per mV, exact for a uniform dendrite between its two ends. y1 - y2 is the
        potential at the soma: to take it for a dipole assumes basal EPSPs and equal lever arms of both synapses.

        **Arguments**

        - `cells`: pyramidal cells of the region; `alignment`: the effective share of them, 0 to 1 (chosen).
        - `diameter_um`, `resistivity_ohm_m`: diameter and axial resistivity of the dendrite, um and ohm m.
        """
        kappa_fA_m = np.pi * diameter_um**2 / (4 * resistivity_ohm_m)  # um^2 / (ohm m) times mV
        return cls(as_parameter(cells * alignment * kappa_fA_m * 1e-6), as_parameter(log_scale))
