"""Whole studies as one call."""

from jnm.studies import freeman as freeman, resting as resting, whole_chain as whole_chain
from jnm.studies.anatomy import Anatomy as Anatomy, anatomy as anatomy
from jnm.studies.anatomy_rhythms import (
    Waxing as Waxing,
    pattern_shares as pattern_shares,
    waxing_and_waning as waxing_and_waning,
)
from jnm.studies.evoked import (
    EntryComparison as EntryComparison,
    EvokedFit as EvokedFit,
    compare_entries as compare_entries,
    fit_evoked as fit_evoked,
)
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
from jnm.studies.meg_recovery import MegRecovery as MegRecovery, recover_from_meg as recover_from_meg
from jnm.studies.neuron_number import (
    NeuronNumber as NeuronNumber,
    NeuronNumbers as NeuronNumbers,
    neuron_number as neuron_number,
    neuron_number_study as neuron_number_study,
)
from jnm.studies.neuron_number_bound import neuron_bound as neuron_bound
from jnm.studies.neuron_number_model import Beyond as Beyond, Protocol as Protocol
from jnm.studies.neuron_number_record import DipoleView as DipoleView, beyond_linear as beyond_linear
from jnm.studies.output import writable as writable
from jnm.studies.phase_response import PhaseResponse as PhaseResponse, phase_response as phase_response
from jnm.studies.recovery import Recovery as Recovery, recover as recover
from jnm.studies.weak_field import Entrainment as Entrainment, entrainment as entrainment
