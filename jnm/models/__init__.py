"""Neural mass models, one file a family."""

from jnm.models.coloured import ColouredNoise as ColouredNoise
from jnm.models.epileptor import Epileptor as Epileptor, EpileptorState as EpileptorState
from jnm.models.freeman import (
    FreemanCFM as FreemanCFM,
    FreemanMFM as FreemanMFM,
    FreemanState as FreemanState,
)
from jnm.models.freeman_loop import FreemanLoop as FreemanLoop, FreemanLoopState as FreemanLoopState
from jnm.models.gaussian_shot_noise import (
    GaussianShotNoise as GaussianShotNoise,
    GaussianShotNoiseState as GaussianShotNoiseState,
)
from jnm.models.hopf import StuartLandau as StuartLandau, StuartLandauState as StuartLandauState
from jnm.models.jansen_rit import JansenRit as JansenRit, JansenRitState as JansenRitState
from jnm.models.kuramoto import Kuramoto as Kuramoto, KuramotoState as KuramotoState
from jnm.models.lif_gain import siegert_rate as siegert_rate
from jnm.models.nmm1 import (
    NMM1 as NMM1,
    QIF as QIF,
    NMM1State as NMM1State,
    Sigmoid as Sigmoid,
    psi as psi,
)
from jnm.models.nmm2 import (
    ING as ING,
    MPR as MPR,
    NMM2 as NMM2,
    PING as PING,
    NMM2State as NMM2State,
    PINGSecondOrder as PINGSecondOrder,
    Pyramidal as Pyramidal,
)
from jnm.models.shot_noise import shot_noise_psd as shot_noise_psd
from jnm.models.wilson_cowan import WilsonCowan as WilsonCowan, WilsonCowanState as WilsonCowanState
from jnm.models.wong_wang import (
    WongWang as WongWang,
    WongWangEI as WongWangEI,
    WongWangEIState as WongWangEIState,
    WongWangState as WongWangState,
)
