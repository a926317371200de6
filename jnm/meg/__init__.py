"""From currents to sensors: dipoles, conductors, coils, lead fields. Units: mm, nA m, fT (fT/cm planar), uV (EEG)."""

from jnm.meg.conductor import (
    infinite_kernel as infinite_kernel,
    infinite_lead_field as infinite_lead_field,
    sphere_kernel as sphere_kernel,
    sphere_lead_field as sphere_lead_field,
)
from jnm.meg.dipole import Dipole as Dipole
from jnm.meg.leadfield import LeadField as LeadField
from jnm.meg.recording import EvokedData as EvokedData
from jnm.meg.sensors import Sensors as Sensors
