"""Whole studies as one call."""

from jnm.studies import freeman as freeman
from jnm.studies.anatomy import Anatomy as Anatomy, anatomy as anatomy
from jnm.studies.evoked import EvokedFit as EvokedFit, fit_evoked as fit_evoked
from jnm.studies.finite_population import FinitePopulation as FinitePopulation
from jnm.studies.finite_size import (
    FiniteSizeSpectra as FiniteSizeSpectra,
    QuasiCycles as QuasiCycles,
    SwitchingTimes as SwitchingTimes,
    finite_size_spectra as finite_size_spectra,
    quasi_cycles as quasi_cycles,
    switching_times as switching_times,
)
from jnm.studies.finite_size_fit import (
    SpectrumBound as SpectrumBound,
    SpectrumFits as SpectrumFits,
    fit_finite_size as fit_finite_size,
    spectrum_bound as spectrum_bound,
)
from jnm.studies.freeman import validity as validity
from jnm.studies.output import writable as writable
from jnm.studies.phase_response import PhaseResponse as PhaseResponse, phase_response as phase_response
from jnm.studies.recovery import Recovery as Recovery, recover as recover
from jnm.studies.weak_field import Entrainment as Entrainment, entrainment as entrainment
