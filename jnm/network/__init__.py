"""Brain networks: connectomes, couplings, delays, and the network itself, which is a model."""

from jnm.network.connectome import Connectome as Connectome
from jnm.network.coupling import (
    AbstractCoupling as AbstractCoupling,
    Diffusive as Diffusive,
    Linear as Linear,
    Sigmoidal as Sigmoidal,
)
from jnm.network.delay import Delays as Delays
from jnm.network.heterogeneity import Heterogeneous as Heterogeneous
from jnm.network.network import Network as Network
from jnm.network.speeds import drawn_speeds as drawn_speeds
from jnm.network.surrogates import (
    neighbourly as neighbourly,
    relabelled as relabelled,
    rewired as rewired,
    shuffled as shuffled,
)
