"""Fitting by gradient: free parameters, losses, the fit, and how sure its estimates are."""

from jnm.fitting.fit import Fit as Fit, fit as fit
from jnm.fitting.free import Build as Build, free as free
from jnm.fitting.loss import (
    AbstractLoss as AbstractLoss,
    AbstractResidualLoss as AbstractResidualLoss,
    LogSpectralLoss as LogSpectralLoss,
    SumLoss as SumLoss,
    TimeCourseLoss as TimeCourseLoss,
)
from jnm.fitting.report import Report as Report, Row as Row
from jnm.fitting.starts import multi_start as multi_start
