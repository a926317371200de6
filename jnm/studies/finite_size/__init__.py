"""What a finite number of neurons does: spectra tier by tier, quasi-cycles next to oscillation, switching between states."""

from jnm.studies.finite_size.quasi_cycles import QuasiCycles as QuasiCycles, quasi_cycles as quasi_cycles
from jnm.studies.finite_size.spectra import (
    Estimate as Estimate,
    FiniteSizeSpectra as FiniteSizeSpectra,
    finite_size_spectra as finite_size_spectra,
)
from jnm.studies.finite_size.switching import SwitchingTimes as SwitchingTimes, switching_times as switching_times
