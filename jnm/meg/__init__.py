"""From currents to sensors: dipoles, conductors, coils, lead fields. Units: mm, nA m, fT (fT/cm planar), uV (EEG)."""

from jnm.meg import cable as cable
from jnm.meg.action_potential import (
    Contribution as Contribution,
    action_potential_moment as action_potential_moment,
    contribution as contribution,
)
from jnm.meg.conductor import (
    infinite_kernel as infinite_kernel,
    infinite_lead_field as infinite_lead_field,
    sphere_kernel as sphere_kernel,
    sphere_lead_field as sphere_lead_field,
)
from jnm.meg.dipole import Dipole as Dipole, mean_current as mean_current
from jnm.meg.exchange import (
    Moments as Moments,
    read_bids as read_bids,
    source_moments as source_moments,
    to_evoked as to_evoked,
    to_raw as to_raw,
)
from jnm.meg.head import HeadPosition as HeadPosition
from jnm.meg.leadfield import LeadField as LeadField
from jnm.meg.noise import SensorNoise as SensorNoise
from jnm.meg.population import (
    incoherent_rms as incoherent_rms,
    qif_source as qif_source,
    region_rms as region_rms,
)
from jnm.meg.recording import EvokedData as EvokedData
from jnm.meg.sensors import Sensors as Sensors
from jnm.meg.spectral import SpectralData as SpectralData
