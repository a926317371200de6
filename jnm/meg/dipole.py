"""From a model's post-synaptic currents to the dipole moment of its region, in nA m.

N aligned pyramidal cells, a share eta of them effective, with synaptic currents I_k at lever arms L_k along the
dendrite, or equally with a potential u between the ends of a dendrite of kappa = pi d^2 / (4 R_i) (`jnm.meg.cable`):

    Q = N eta sum_k L_k <I_k> = N eta kappa u                  (positive towards the cortical surface)

<I_k> is the mean over cells of the current into them (excitation positive), <g (E - V)>: of the product, not the
product of means. L_k is positive at the basal end and the soma, negative at the apical end. A mass model's variable is
already such a mean, so eta is geometry (alignment, folding inside the region) and no further share of "synchronous"
cells is taken; what the mean leaves out is in `jnm.meg.population`, spikes in `jnm.meg.action_potential`.

Only the product of these factors shows at a sensor. Hence one number, `log_scale`, is what a fit should free, and the
constants below say where it starts: 5e4 cells are some 0.5 mm^2 of cortex. A region is a sum of such patches, and
patches add between the square root of their number (independent) and their number (locked together).

Murakami S, Okada Y (2006) Contributions of principal neocortical neurons to magnetoencephalography and
electroencephalography signals. J Physiol 575:925-936.
"""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jnm._param import as_parameter, check_domains, param
from jnm.meg.cable import AXIAL_OHM_M, DIAMETER_UM, bridge

CELLS, ALIGNMENT, LEVER_MM = 5e4, 0.5, 0.3
"""Chosen, inside the range of the literature: cells of a region, the effective share of them, their lever arm."""

STRONG_PA_M = 0.2
"""Of a pyramidal cell in strong activity (literature: Murakami & Okada 2006)."""

NA_M_PER_FA_M = 1e-6

_CHOSEN = "cells, alignment, morphology and membrane chosen inside the range of Murakami & Okada 2006; free log_scale"


class Dipole(eqx.Module):
    """Q = exp(log_scale) nA_m_per_unit source: from `model.source(...)` [..., region] to nA m [..., region].

    `Dipole.of(model)` is the documented default of every model of jnm; `qif`, `psp`, `current` and `conductance` say
    what they assume. The number is a scalar or one a region, [region]; with several `kinds` of synapse it is [kind] or
    [kind, region] and the source is [..., kind, region], summed over kinds.

        dipole = jnm.meg.Dipole.of(model)
        Q = dipole(solution.ys)                  # saved sources -> nA m
    """

    nA_m_per_unit: Float[Array, "..."] = param(
        unit="nA m per unit of source",
        doc="moment of a region per unit of its source",
        source="see Dipole.of, Dipole.qif, Dipole.psp, Dipole.current, Dipole.conductance",
    )
    log_scale: Float[Array, "..."] = param(
        0.0, doc="log of the factor on it that cells, alignment and lever arm leave open; the one to fit"
    )
    kinds: tuple[str, ...] = eqx.field(default=(), static=True, converter=tuple)
    """Names of the kinds of synapse, for sources that keep them apart."""
    unit: str = eqx.field(default="", static=True)
    """Of the source: "mV", "pA", "nA", "I" (of QIF models) or "1" (of no unit)."""
    provenance: str = eqx.field(default="", static=True)
    """What was assumed, in a sentence."""

    def __check_init__(self):
        check_domains(self)
        if self.kinds and self.nA_m_per_unit.shape[:1] != (len(self.kinds),):
            raise ValueError(
                f"Dipole: nA_m_per_unit of shape {list(self.nA_m_per_unit.shape)} for the kinds {self.kinds}; wanted "
                f"[{len(self.kinds)}] or [{len(self.kinds)}, region]."
            )

    def __call__(self, source: Float[Array, "... region"]) -> Float[Array, "... region"]:
        """Moments in nA m. Raises `ValueError` for a source without the axis of kinds."""
        if not self.kinds:
            scale = jnp.exp(self.log_scale) * self.nA_m_per_unit
            return source * scale.reshape((1,) * (source.ndim - scale.ndim) + scale.shape)
        if source.ndim < 2 or source.shape[-2] != len(self.kinds):
            raise ValueError(
                f"Dipole: a source of shape {list(source.shape)}; wanted [..., {len(self.kinds)}, region], a row for "
                f"each kind of synapse: {', '.join(self.kinds)}."
            )
        by_kind = self.nA_m_per_unit.reshape(len(self.kinds), -1)
        scale = jnp.exp(self.log_scale) * by_kind.reshape((1,) * (source.ndim - 2) + by_kind.shape)
        return jnp.sum(source * scale, axis=-2)

    @classmethod
    def of(cls, model: Any, *, log_scale: Any = 0.0, **constants: float) -> "Dipole":
        """The documented default of a model, by the unit of its source; `constants` are those of the scale chosen.

        | model | source | scale |
        |---|---|---|
        | NMM2, ShotNoise, QIFNetwork, NMM1 with the QIF transfer | tau_m J s, units of I | `Dipole.qif`, its tau_m |
        | NMM1 with a sigmoid, JansenRit | potential, mV | `Dipole.psp` |
        | FreemanCFM, FreemanMFM, FreemanLoop, LIFNetwork | current into a cell, pA | `Dipole.current` |
        | WongWang, WongWangEI | current into a cell, nA | `Dipole.current(unit="nA")` |
        | WilsonCowan, StuartLandau, Kuramoto, Epileptor | a signal without unit | `Dipole.unitless` |

        Networks and coloured noise have the scale of the model within. A model of your own says `source_unit = "mV"`,
        `"pA"`, `"nA"`, `"I"` (of QIF models) or `"1"` as a class variable. Raises `ValueError` for a model that says
        nothing.

            dipole = jnm.meg.Dipole.of(jnm.JansenRit())       # 0.118 nA m per mV
        """
        from jnm.meg.defaults import unit_of_source

        node, unit, tau_m = unit_of_source(model)
        made = {"mV": cls.psp, "pA": cls.current, "nA": cls.current, "I": cls.qif, "1": cls.unitless}[unit]
        own = {"unit": unit} if unit == "nA" else {} if tau_m is None else {"tau_m": tau_m}
        dipole = made(log_scale=log_scale, **{**own, **constants})
        return cls(dipole.nA_m_per_unit, dipole.log_scale, (), unit, f"{node}: {dipole.provenance}")

    @classmethod
    def qif(
        cls,
        *,
        cells: float = CELLS,
        alignment: float = ALIGNMENT,
        lever_mm: float = LEVER_MM,
        capacitance_pF: float = 200.0,
        voltage_mV: float = 10.0,
        tau_m: Any = 10.0,
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For QIF models, whose source is the synaptic input tau_m J s in units of I: 1.5 nA m per unit by default.

        One unit of I is C_m V / tau_m = 0.2 nA. All synapses are given one lever arm; v is not used, since the centre
        of a Lorentzian is no dendritic potential.

        **Arguments**

        - `cells`: pyramidal cells of the region; `alignment`: the effective share of them, 0 to 1 (chosen).
        - `lever_mm`: effective lever arm of the synapses (0.46 at the end of a dendrite of 1 mm by 3 um, 0 half-way).
        - `capacitance_pF`, `voltage_mV`, `tau_m`: membrane capacitance, mV per unit of v, the model's tau_m in ms,
          one number or one a region.
        """
        current_nA = capacitance_pF * voltage_mV / as_parameter(tau_m) * 1e-3  # pF mV / ms = pA
        scale = cell_count(cells, alignment) * lever_mm * 1e-3 * current_nA
        return cls(scale, log_scale, (), "I", f"one unit of I is C_m V / tau_m; {_CHOSEN}")

    @classmethod
    def psp(
        cls,
        *,
        cells: float = CELLS,
        alignment: float = ALIGNMENT,
        diameter_um: float = DIAMETER_UM,
        resistivity_ohm_m: float = AXIAL_OHM_M,
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For models whose source is a potential in mV, such as Jansen-Rit's y1 - y2: 0.118 nA m per mV by default.

        kappa = pi d^2 / (4 R_i) = 4.7 fA m per mV, exact for a uniform dendrite between its two ends. y1 - y2 is the
        potential at the soma: to take it for a dipole assumes basal EPSPs and equal lever arms of both synapses.

        **Arguments**

        - `cells`: pyramidal cells of the region; `alignment`: the effective share of them, 0 to 1 (chosen).
        - `diameter_um`, `resistivity_ohm_m`: diameter and axial resistivity of the dendrite, um and ohm m.
        """
        scale = cell_count(cells, alignment) * bridge(diameter_um, resistivity_ohm_m) * NA_M_PER_FA_M
        return cls(scale, log_scale, (), "mV", f"the potential drops along a uniform dendrite; {_CHOSEN}")

    @classmethod
    def current(
        cls,
        *,
        cells: float = CELLS,
        alignment: float = ALIGNMENT,
        lever_mm: float = LEVER_MM,
        unit: Literal["pA", "nA"] = "pA",
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For sources that are the mean synaptic current into a cell: 0.0075 nA m per pA by default.

        For Freeman masses, LIF networks and Wong-Wang (in nA), all of whose synapses are then given one lever arm.
        `unit` is that of the source, the other arguments are as in `qif`.
        """
        scale = cell_count(cells, alignment) * lever_mm * NA_M_PER_FA_M * {"pA": 1.0, "nA": 1e3}[unit]  # pA mm = fA m
        return cls(as_parameter(scale), log_scale, (), unit, f"one lever arm for all synapses; {_CHOSEN}")

    @classmethod
    def unitless(
        cls,
        *,
        cells: float = CELLS,
        alignment: float = 1.0,
        moment_pA_m: float = STRONG_PA_M,
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For sources without a unit (normal forms, phases, shares of active cells): 10 nA m per unit by default.

        One unit is taken for strong activity, 0.2 pA m a cell; that is a choice of scale and nothing more.

        **Arguments**

        - `cells`: pyramidal cells of the region; `alignment`: the effective share of them, 0 to 1.
        - `moment_pA_m`: of one cell for one unit of the source.
        """
        scale = cell_count(cells, alignment) * moment_pA_m * 1e-3
        return cls(as_parameter(scale), log_scale, (), "1", f"one unit is taken for strong activity; {_CHOSEN}")

    @classmethod
    def conductance(
        cls,
        lever_mm: Mapping[str, Any],
        *,
        cells: float = CELLS,
        alignment: float = ALIGNMENT,
        log_scale: Any = 0.0,
    ) -> "Dipole":
        """For synaptic currents kept apart by kind, [..., kind, region] in pA: Q = N eta sum_k L_k <g_k (E_k - V)>.

        `lever_mm` has a signed lever arm for each kind of synapse in the order of the source's rows, a number or one a
        region: positive at the soma and the basal dendrites, negative at the apical ones (`cable.effective_length`).
        With inward currents positive, as here, the sign tells the place alone: an apical EPSP and somatic inhibition
        both make a negative moment. `jnm.meg.mean_current` gives the currents of a spiking network.

            dipole = jnm.meg.Dipole.conductance({"E": 0.3, "I": 0.3, "apical E": -0.3})
            Q = dipole(-jnp.stack([y.W_E, y.W_I, y.W_X], axis=-2))      # of a Freeman mass, whose W are outward
            Q = dipole(-run.currents.excitatory[..., None])[..., 0]       # of a LIF network, run(..., currents=True)
        """
        if not lever_mm:
            raise ValueError("Dipole.conductance: no kind of synapse; wanted lever arms such as {'E': 0.3, 'I': 0.3}.")
        levers = jnp.stack(jnp.broadcast_arrays(*[as_parameter(lever) for lever in lever_mm.values()]))
        scale = cell_count(cells, alignment) * levers * NA_M_PER_FA_M
        return cls(scale, log_scale, tuple(lever_mm), "pA", f"a lever arm for each kind of synapse; {_CHOSEN}")


def mean_current(
    g_nS: Float[ArrayLike, "... kind neuron"],
    v_mV: Float[ArrayLike, "... neuron"],
    reversal_mV: Float[ArrayLike, " kind"],
) -> Float[Array, "... kind"]:
    """<g_k (E_k - V)> over the neurons of a population, pA, inward positive: the mean of the product.

    Conductances in nS and potentials in mV; for networks that record them. The product of the means is another number
    where strongly driven cells are depolarised.
    """
    g, v, E = jnp.asarray(g_nS), jnp.asarray(v_mV), jnp.asarray(reversal_mV)
    if E.ndim != 1 or g.ndim < 2 or g.shape[-2] != len(E) or g.shape[:-2] + g.shape[-1:] != v.shape:
        raise ValueError(
            f"mean_current: conductances {list(g.shape)}, potentials {list(v.shape)}, reversal potentials "
            f"{list(E.shape)}; wanted [..., kind, neuron], [..., neuron] and [kind]."
        )
    force = E.reshape((1,) * (g.ndim - 2) + (-1, 1)) - v[..., None, :]
    return jnp.mean(g * force, axis=-1)


def cell_count(cells: float, alignment: float) -> float:
    """N eta; `ValueError` unless cells are positive and the alignment is a share."""
    known = not isinstance(cells, Tracer) and not isinstance(alignment, Tracer)
    if known and not (cells > 0 and 0 < alignment <= 1):
        raise ValueError(
            f"Dipole: {cells} cells, alignment {alignment}; wanted a positive number and a share, 0 < alignment <= 1."
        )
    return cells * alignment
