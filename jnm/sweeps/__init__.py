"""Sweeps: batches of models on one device, several, or many machines; nothing computed is ever lost."""

from jnm.sweeps.check import Check as Check, check as check
from jnm.sweeps.grid import Grid as Grid, grid as grid, sample as sample, zipped as zipped
from jnm.sweeps.store import open_store as open_store
from jnm.sweeps.sweep import sweep as sweep
from jnm.sweeps.verify import Verification as Verification, verify as verify
