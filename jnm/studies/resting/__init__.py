"""Ongoing activity of real recordings: an alpha rhythm fitted by neural masses, and the noise floor of one channel."""

from jnm.studies.resting.alpha import AlphaFit as AlphaFit, Rhythm as Rhythm, fit_alpha as fit_alpha
from jnm.studies.resting.background import (
    Background as Background,
    ChannelNoise as ChannelNoise,
    channel_noise as channel_noise,
    read_epochs as read_epochs,
)
from jnm.studies.resting.likelihood import ChannelLikelihood as ChannelLikelihood
