"""The border to MNE-Python: the only folder of jnm that imports it, and the only one that knows SI units.

What comes in are MNE's own objects (Info, Forward, projectors) in metres, tesla and ampere metres; what goes out are
plain NumPy arrays in mm, fT, fT/cm, uV and nA m. MNE is imported inside functions, since it is an optional dependency.

Gramfort A et al. (2013) MEG and EEG data analysis with MNE-Python. Front Neurosci 7:267.
"""

from jnm.meg.mne.evoked import evoked_arrays as evoked_arrays
from jnm.meg.mne.forward import forward_arrays as forward_arrays
from jnm.meg.mne.sensors import canonical_info as canonical_info, coils as coils
