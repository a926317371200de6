"""Fitting by gradient: free parameters, losses, the fit, and how sure its estimates are."""

from jnm.fitting.fit import Fit as Fit, fit as fit
from jnm.fitting.free import Build as Build, free as free
from jnm.fitting.log_spectral import LogSpectralLoss as LogSpectralLoss
from jnm.fitting.loss import (
    AbstractLoss as AbstractLoss,
    AbstractResidualLoss as AbstractResidualLoss,
    SumLoss as SumLoss,
)
from jnm.fitting.polish import polish as polish
from jnm.fitting.report import Report as Report, Row as Row
from jnm.fitting.starts import multi_start as multi_start
from jnm.fitting.time_course import TimeCourseLoss as TimeCourseLoss
