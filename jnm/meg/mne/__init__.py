"""The border to MNE-Python: the only folder of jnm that imports it, and the only one that knows SI units.

What comes in are MNE's own objects (Info, Forward, projectors) in metres, tesla and ampere metres; what goes out are
plain NumPy arrays in mm, fT, fT/cm, uV and nA m. MNE is imported inside functions, since it is an optional dependency.

Gramfort A et al. (2013) MEG and EEG data analysis with MNE-Python. Front Neurosci 7:267.
"""

from jnm.meg.mne.covariance import (
    covariance_arrays as covariance_arrays,
    covariance_of_channels as covariance_of_channels,
    read_covariance as read_covariance,
)
from jnm.meg.mne.evoked import evoked_arrays as evoked_arrays
from jnm.meg.mne.forward import forward_arrays as forward_arrays
from jnm.meg.mne.output import make_evoked as make_evoked, make_raw as make_raw
from jnm.meg.mne.recording import recording_arrays as recording_arrays
from jnm.meg.mne.sensors import canonical_info as canonical_info, coils as coils, head_position as head_position
from jnm.meg.mne.sources import read_bids as read_bids, source_arrays as source_arrays
