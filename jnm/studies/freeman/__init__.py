"""How far a Freeman mass stands for ten thousand spiking neurons: the study of Deschle et al. (2021), and why it fails."""

from jnm.studies.freeman.budget import TERMS as TERMS, ErrorBudget as ErrorBudget, error_budget as error_budget
from jnm.studies.freeman.loop import closed_loop as closed_loop
from jnm.studies.freeman.masses import mass_of as mass_of, reconstruct as reconstruct
from jnm.studies.freeman.point import draw_events as draw_events
from jnm.studies.freeman.rescue import (
    Rescue as Rescue,
    Score as Score,
    Target as Target,
    baselines as baselines,
    fit_freeman as fit_freeman,
    fit_nmm2 as fit_nmm2,
    judge as judge,
)
from jnm.studies.freeman.study import validity as validity
