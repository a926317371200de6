"""A network's parameters from simulated MEG, with intervals: from moments, through the right head, and through a sphere.

`brain` is the model, `record` simulates subjects and what sensors see of them, `fits` finds the parameters of each,
`study` does it all, `result` keeps the score; `heads` makes the sphere.
"""

from jnm.studies.meg_recovery.brain import NAMES as NAMES, Brain as Brain
from jnm.studies.meg_recovery.heads import two_heads as two_heads
from jnm.studies.meg_recovery.result import BEM as BEM, SOURCE as SOURCE, SPHERE as SPHERE, MegRecovery as MegRecovery
from jnm.studies.meg_recovery.study import recover_from_meg as recover_from_meg
