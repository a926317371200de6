"""Neural mass models, one file a family."""

from jnm.models.coloured import ColouredNoise as ColouredNoise
from jnm.models.freeman import (
    FreemanCFM as FreemanCFM,
    FreemanMFM as FreemanMFM,
    FreemanState as FreemanState,
)
from jnm.models.jansen_rit import JansenRit as JansenRit, JansenRitState as JansenRitState
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
