"""jnm: JAX neural mass models, from spikes to the magnetic field at MEG sensors and back by gradient."""

from jnm._model import AbstractModel as AbstractModel, Drive as Drive
from jnm._param import Interval as Interval, Positive as Positive, Real as Real, at as at, param as param
from jnm.models import (
    ING as ING,
    MPR as MPR,
    NMM2 as NMM2,
    PING as PING,
    JansenRit as JansenRit,
    PINGSecondOrder as PINGSecondOrder,
    Pyramidal as Pyramidal,
)

__version__ = "0.1.0"
