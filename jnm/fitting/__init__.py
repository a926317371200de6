"""Fitting by gradient: free parameters, losses, the fit, and how sure its estimates are."""

from jnm.fitting.csd_whittle import WhittleLoss as WhittleLoss
from jnm.fitting.draws import Draws as Draws
from jnm.fitting.envelope_loss import EnvelopeLoss as EnvelopeLoss, aec as aec
from jnm.fitting.evoked_loss import EvokedLoss as EvokedLoss
from jnm.fitting.fit import Fit as Fit, fit as fit
from jnm.fitting.fit_sweep import fit_sweep as fit_sweep
from jnm.fitting.free import Build as Build, free as free
from jnm.fitting.identifiability import Information as Information, information as information
from jnm.fitting.laplace import Laplace as Laplace, laplace as laplace
from jnm.fitting.least_squares import least_squares as least_squares
from jnm.fitting.linear_checks import (
    LinearisationError as LinearisationError,
    SchemeBias as SchemeBias,
    check_scheme as check_scheme,
    linearisation_error as linearisation_error,
    scheme_bias as scheme_bias,
)
from jnm.fitting.linear_csd import Recorded as Recorded
from jnm.fitting.log_spectral import LogSpectralLoss as LogSpectralLoss
from jnm.fitting.loss import (
    AbstractLikelihood as AbstractLikelihood,
    AbstractLoss as AbstractLoss,
    AbstractResidualLoss as AbstractResidualLoss,
    SumLoss as SumLoss,
)
from jnm.fitting.many_starts import Ranking as Ranking, many_starts as many_starts
from jnm.fitting.nuts import nuts as nuts
from jnm.fitting.polish import polish as polish
from jnm.fitting.priors import (
    AbstractPrior as AbstractPrior,
    LogNormal as LogNormal,
    Normal as Normal,
    Priors as Priors,
    Uniform as Uniform,
)
from jnm.fitting.profile import Profile as Profile, profile as profile
from jnm.fitting.report import Report as Report, Row as Row
from jnm.fitting.scoring import scoring as scoring
from jnm.fitting.shooting import (
    MultipleShootingLoss as MultipleShootingLoss,
    Windows as Windows,
    gradient_norm as gradient_norm,
    truncated as truncated,
)
from jnm.fitting.spectral_wasserstein import SpectralWassersteinLoss as SpectralWassersteinLoss
from jnm.fitting.starts import multi_start as multi_start
from jnm.fitting.time_course import TimeCourseLoss as TimeCourseLoss
