"""jnm: JAX neural mass models, from spikes to the magnetic field at MEG sensors and back by gradient."""

from jnm import (
    datasets as datasets,
    fitting as fitting,
    integration as integration,
    meg as meg,
    network as network,
    observe as observe,
    plot as plot,
    spiking as spiking,
    stability as stability,
    studies as studies,
    sweeps as sweeps,
    testing as testing,
)
from jnm._cite import cite as cite
from jnm._describe import describe as describe
from jnm._model import AbstractModel as AbstractModel, Drive as Drive
from jnm._param import Interval as Interval, Positive as Positive, Real as Real, at as at, param as param
from jnm._saving import load as load, save as save
from jnm._version import __version__ as __version__
from jnm.fitting import (
    LogSpectralLoss as LogSpectralLoss,
    TimeCourseLoss as TimeCourseLoss,
    WhittleLoss as WhittleLoss,
    fit as fit,
    fit_sweep as fit_sweep,
    free as free,
)
from jnm.integration import (
    Constant as Constant,
    Pulse as Pulse,
    Reduction as Reduction,
    Sampled as Sampled,
    Sine as Sine,
    Solution as Solution,
    White as White,
    simulate as simulate,
    terms as terms,
)
from jnm.models import (
    ING as ING,
    MPR as MPR,
    NMM1 as NMM1,
    NMM2 as NMM2,
    PING as PING,
    ColouredNoise as ColouredNoise,
    Epileptor as Epileptor,
    FreemanCFM as FreemanCFM,
    FreemanLoop as FreemanLoop,
    FreemanMFM as FreemanMFM,
    GaussianShotNoise as GaussianShotNoise,
    JansenRit as JansenRit,
    Kuramoto as Kuramoto,
    PINGSecondOrder as PINGSecondOrder,
    Pyramidal as Pyramidal,
    StuartLandau as StuartLandau,
    WilsonCowan as WilsonCowan,
    WongWang as WongWang,
    WongWangEI as WongWangEI,
    shot_noise_psd as shot_noise_psd,
)
from jnm.network import (
    Connectome as Connectome,
    Diffusive as Diffusive,
    Linear as Linear,
    Network as Network,
    Sigmoidal as Sigmoidal,
)
from jnm.spiking import NestedShotNoise as NestedShotNoise, ShotNoise as ShotNoise
from jnm.sweeps import check as check, grid as grid, sample as sample, sweep as sweep, zipped as zipped
