r"""Where the head is in the helmet: the rigid transform from device to head coordinates, as something with a gradient.

    head = R(w) device + T,     R(w) = 1 + sin(a)/a [w] + (1 - cos a)/a^2 [w]^2,     a = |w|,  [w] x = w cross x

w is the rotation vector (axis times angle, Rodrigues), smooth at zero too. Coils move and turn with it, so a fit may
free the head's position, and motion is a path of it.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnm._param import as_parameter, check_domains, param
from jnm.meg import mne as _mne
from jnm.meg.sensors import Sensors

_SMALL = 1e-4  # rad^2, below which two terms of the series are exact in double precision after a third


class HeadPosition(eqx.Module):
    """The device-to-head transform; called with sensors it moves them.

    Of sensors in the device's frame it makes sensors in the head's; of sensors in the head's frame it makes those of a
    helmet that has moved, or of a head that has moved the other way.

        device = jnm.meg.Sensors.from_info(info, frame="device")
        here = jnm.meg.HeadPosition.from_info(info)
        lead = jnm.meg.LeadField.sphere(positions, orientations, here(device), origin)

    Raises `ValueError` for anything but three finite numbers each.
    """

    rotation: Float[Array, "3"] = param((0.0, 0.0, 0.0), unit="rad", doc="rotation vector: axis times angle")
    translation_mm: Float[Array, "3"] = param((0.0, 0.0, 0.0), unit="mm", doc="device's origin in head coordinates")

    def __check_init__(self):
        if self.rotation.shape != (3,) or self.translation_mm.shape != (3,):
            raise ValueError(
                f"HeadPosition: rotation of shape {list(self.rotation.shape)} and translation_mm of shape "
                f"{list(self.translation_mm.shape)}; wanted [3] and [3]."
            )
        check_domains(self)

    @classmethod
    def from_info(cls, info: Any) -> "HeadPosition":
        """That of an `mne.Info` (`dev_head_t`); `ValueError` where it has none."""
        rotation, translation = _mne.head_position(info)
        return cls(as_parameter(rotation), as_parameter(translation))

    @property
    def matrix(self) -> Float[Array, "3 3"]:
        """R, from device to head directions."""
        w = self.rotation
        square = jnp.sum(w**2)
        small = square < _SMALL
        a = jnp.sqrt(jnp.where(small, 1.0, square))  # nowhere a root of zero, whose gradient is infinite
        first = jnp.where(small, 1 - square / 6 + square**2 / 120, jnp.sin(a) / a)
        second = jnp.where(small, 0.5 - square / 24 + square**2 / 720, 2 * (jnp.sin(a / 2) / a) ** 2)
        x, y, z = w
        zero = jnp.zeros_like(x)
        cross = jnp.stack([jnp.stack([zero, -z, y]), jnp.stack([z, zero, -x]), jnp.stack([-y, x, zero])])
        return jnp.eye(3, dtype=w.dtype) + first * cross + second * jnp.matmul(cross, cross, precision="highest")

    def __call__(self, sensors: Sensors) -> Sensors:
        """The sensors with coils moved and turned, reference coils too."""
        turned = jnp.tensordot(sensors.points, self.matrix, ((-1,), (1,)), precision="highest")
        normals = jnp.tensordot(sensors.normals, self.matrix, ((-1,), (1,)), precision="highest")
        points = turned + self.translation_mm.reshape(1, 1, 3)
        return eqx.tree_at(lambda s: (s.points, s.normals), sensors, (points, normals))
