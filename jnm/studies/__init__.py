"""Whole studies as one call."""

from jnm.studies.recovery import Recovery as Recovery, recover as recover
