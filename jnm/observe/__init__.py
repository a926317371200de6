"""What is measured of activity: spectra and cross-spectra."""

from jnm.observe.spectrum import (
    averages as averages,
    bin_correlation as bin_correlation,
    csd as csd,
    log_bias as log_bias,
    log_variance as log_variance,
    psd as psd,
)
