"""Networks of spiking neurons: what the masses are the mean field of."""

from jnm.spiking.graph import Graph as Graph
from jnm.spiking.lif import LIFNetwork as LIFNetwork, LIFState as LIFState
from jnm.spiking.lif_record import (
    LIFCurrents as LIFCurrents,
    LIFMeans as LIFMeans,
    LIFRun as LIFRun,
    LIFSpikes as LIFSpikes,
)
from jnm.spiking.nested_shot_noise import (
    NestedShotNoise as NestedShotNoise,
    NestedShotNoiseState as NestedShotNoiseState,
)
from jnm.spiking.qif import QIFNetwork as QIFNetwork, QIFRun as QIFRun, QIFState as QIFState
from jnm.spiking.reading import Spikes as Spikes, as_spikes as as_spikes, read_spikes as read_spikes
from jnm.spiking.shot_noise import ShotNoise as ShotNoise
from jnm.spiking.surrogate import (
    Frozen as Frozen,
    Surrogate as Surrogate,
    SurrogateRun as SurrogateRun,
    freeze as freeze,
    surrogate_run as surrogate_run,
)
