"""What is measured of activity: spectra, envelopes and phases, connectivity, cross-frequency coupling, spike trains."""

from jnm.observe.analytic import (
    analytic_signal as analytic_signal,
    bandpass as bandpass,
    coefficient_of_variation as coefficient_of_variation,
    envelope as envelope,
    envelope_spectrum as envelope_spectrum,
    phase as phase,
)
from jnm.observe.bold import Bold as Bold, Hemodynamics as Hemodynamics, bold as bold
from jnm.observe.compare import (
    Lag as Lag,
    RunSpectrum as RunSpectrum,
    chi_square as chi_square,
    chi_square_chance as chi_square_chance,
    cross_correlation as cross_correlation,
    effective_samples as effective_samples,
    lag as lag,
    median_frequency as median_frequency,
    run_spectrum as run_spectrum,
)
from jnm.observe.connectivity import (
    coherence as coherence,
    envelope_correlation as envelope_correlation,
    functional_connectivity as functional_connectivity,
    functional_connectivity_dynamics as functional_connectivity_dynamics,
)
from jnm.observe.cross_frequency import (
    Modulation as Modulation,
    comodulogram as comodulogram,
    modulation_index as modulation_index,
    modulation_test as modulation_test,
)
from jnm.observe.spectrum import (
    averages as averages,
    bin_correlation as bin_correlation,
    csd as csd,
    log_bias as log_bias,
    log_variance as log_variance,
    psd as psd,
)
from jnm.observe.spikes import (
    Average as Average,
    SpikeContrast as SpikeContrast,
    count_correlation as count_correlation,
    fano_factor as fano_factor,
    spike_contrast as spike_contrast,
    spike_counts as spike_counts,
)
from jnm.observe.streaming import (
    Extremes as Extremes,
    Histogram as Histogram,
    running_extremes as running_extremes,
    running_histogram as running_histogram,
    together as together,
)
from jnm.observe.synchrony import kuramoto_order as kuramoto_order, phase_locking as phase_locking
