"""The whole chain in one gradient: spiking cells on the cortex, what is seen of them, and a mass fitted to it.

`places` is the theory, `spikes` the truth, `fits` and `study` the way back, `result` what came of it, `gradient` the
derivative of what sensors see through the spikes themselves.
"""

from jnm.studies.whole_chain.fits import Likelihood as Likelihood, View as View
from jnm.studies.whole_chain.gradient import Chain as Chain, SensorLoss as SensorLoss
from jnm.studies.whole_chain.places import WAYS as WAYS, Places as Places
from jnm.studies.whole_chain.result import Seen as Seen, WholeChain as WholeChain
from jnm.studies.whole_chain.spikes import Signals as Signals, record as record
from jnm.studies.whole_chain.study import whole_chain as whole_chain
