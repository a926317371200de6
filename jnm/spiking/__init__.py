"""Networks of spiking neurons: what the masses are the mean field of."""

from jnm.spiking.qif import QIFNetwork as QIFNetwork, QIFRun as QIFRun, QIFState as QIFState
