"""`jnm fit`: a real average response, explained by a network of mass models struck by a brief input; and where it enters."""

from jnm.studies.evoked.comparison import EntryComparison as EntryComparison, EntryScore as EntryScore
from jnm.studies.evoked.entries import compare_entries as compare_entries
from jnm.studies.evoked.report import EvokedFit as EvokedFit
from jnm.studies.evoked.study import fit_evoked as fit_evoked
