"""`jnm fit`: a real average response, explained by a network of mass models struck by a brief input."""

from jnm.studies.evoked.report import EvokedFit as EvokedFit
from jnm.studies.evoked.study import fit_evoked as fit_evoked
