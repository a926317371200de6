"""Whole studies as one call."""

from jnm.studies.evoked import EvokedFit as EvokedFit, fit_evoked as fit_evoked
from jnm.studies.output import writable as writable
from jnm.studies.recovery import Recovery as Recovery, recover as recover
