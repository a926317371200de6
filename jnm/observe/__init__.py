"""What is measured of activity: spectra and cross-spectra."""

from jnm.observe.spectrum import (
    averages as averages,
    csd as csd,
    log_bias as log_bias,
    log_variance as log_variance,
    psd as psd,
)
