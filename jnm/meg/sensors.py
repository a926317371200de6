"""MEG sensors: coils as integration points, their units, their noise.

What channel c measures of a field B is a weighted sum over the integration points of its coils,

    y_c = sum_p w_p n_p . B(r_p)   -   sum_k C_ck y_k,

with the points, normals and weights MNE calls "accurate": 8 points for a planar gradiometer, 16 for a Neuromag
magnetometer, 14 for a CTF axial gradiometer, 24 for an optically pumped one; a single point would be 7 % wrong. The
second sum is the software compensation by reference coils (CTF grades 1-3), absent elsewhere.

Units are fT; fT/cm for planar gradiometers, whose weights carry 1/cm. Axial gradiometers are not divided by their
baseline: they measure fT and MNE types them "mag".
"""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._param import Positive, param
from jnm.meg import mne as _mne

Numbers = Array | np.ndarray | Sequence[Any]
"""What a user may give for an array: jax, NumPy, or (nested) lists and tuples of numbers."""

UNITS = {"mag": "fT", "grad": "fT/cm", "eeg": "uV"}
"""The unit of each channel type in jnm."""

HEAD_POSITION = {"neuromag": (0.0, 0.0, 50.0), "ctf151": (0.0, 16.0, 60.0), "ctf275": (0.0, 16.0, 60.0)}
"""Where the helmet's centre lies in the head frame, mm (chosen: at least 18 mm between coils and fsaverage's scalp)."""


class Sensors(eqx.Module):
    """A helmet: what its channels are, where their coils lie in the head frame, and how noisy they are.

    Made by `Sensors.from_info(info)` from a recording or by `Sensors.canonical("neuromag")`. Coil positions and noise
    are arrays, so gradients reach them; names and types are static.
    """

    points: Float[Array, "coil point 3"]
    """Integration points, head frame, mm. Channels' own coils first, then reference coils."""
    normals: Float[Array, "coil point 3"]
    """Coil normals, not renormalised: canonical helmets round them to four digits, and MNE takes them so."""
    weights: Float[Array, "coil point"]
    """Weights of the points; 1/cm for planar gradiometers; 0 fills up the shorter coils."""
    compensation: Float[Array, "channel reference"] | None
    """What is subtracted of each reference coil, or None."""
    ch_names: tuple[str, ...] = eqx.field(static=True)
    ch_types: tuple[str, ...] = eqx.field(static=True)
    """Of each channel, as MNE names them: "mag" (fT, axial gradiometers too) or "grad" (planar, fT/cm)."""
    noise_density: Float[Array, " channel"] = param(
        unit="fT/sqrt(Hz) or fT/cm/sqrt(Hz)",
        domain=Positive(),
        doc="white noise of each channel, amplitude density (one-sided)",
        source="usual instrument figures: SQUID magnetometers and planar gradiometers 3, axial gradiometers 5, "
        "optically pumped magnetometers 7-15 (10 taken)",
        status="literature",
    )

    @classmethod
    def from_info(cls, info: Any, frame: Literal["head", "device"] = "head") -> "Sensors":
        """The MEG channels of an `mne.Info`, bads included, at the head position it states.

        With `frame="device"` they stay where they are in the helmet, for a `jnm.meg.HeadPosition` to move. Raises
        `ValueError` without MEG channels, head position, or with a coil MNE does not define.

            sensors = jnm.meg.Sensors.from_info(raw.info)
        """
        if frame not in ("head", "device"):
            raise ValueError(f'Sensors.from_info: frame = {frame!r}; wanted "head" or "device".')
        coils = _mne.coils(info, in_head=frame == "head")
        noise = [_noise_density(kind, coil) for kind, coil in zip(coils.ch_types, coils.coil_types, strict=True)]
        return cls(
            points=jnp.asarray(coils.points, dtype=float),
            normals=jnp.asarray(coils.normals, dtype=float),
            weights=jnp.asarray(coils.weights, dtype=float),
            compensation=None if coils.compensation is None else jnp.asarray(coils.compensation, dtype=float),
            noise_density=jnp.asarray(noise, dtype=float),
            ch_names=coils.ch_names,
            ch_types=coils.ch_types,
        )

    @classmethod
    def canonical(cls, system: str = "neuromag", translation_mm: Numbers | None = None) -> "Sensors":
        """A real helmet without a recording: "neuromag" (306 channels), "ctf151" or "ctf275", from MNE's canonical set.

        `translation_mm` states the head position, head = device + translation; by default (0, 0, 50) for neuromag and
        (0, 16, 60) for CTF. The canonical set itself states none.

            sensors = jnm.meg.Sensors.canonical("neuromag", translation_mm=(0.0, 0.0, 50.0))
        """
        if system not in HEAD_POSITION:
            known = ", ".join(HEAD_POSITION)
            raise ValueError(f"unknown MEG system {system!r}; known: {known}. For others, Sensors.from_info(info).")
        translation = HEAD_POSITION[system] if translation_mm is None else translation_mm
        return cls.from_info(_mne.canonical_info(system, translation))

    @classmethod
    def point(
        cls,
        positions_mm: Numbers,
        normals: Numbers,
        *,
        ch_names: Sequence[str] | None = None,
        noise_density: float = 10.0,
    ) -> "Sensors":
        """Point magnetometers anywhere: an optically pumped array, or a field along an axis (fT).

        **Arguments**

        - `positions_mm`, `normals`: [channel, 3], head frame; unit vectors are what each measures along.
        - `ch_names`: by default point-0, point-1, ...; `noise_density`: white noise, fT/sqrt(Hz).

            grid = jnm.meg.Sensors.point(110.0 * directions, directions)      # radial, on a sphere
        """
        points, axes = jnp.asarray(positions_mm, dtype=float), jnp.asarray(normals, dtype=float)
        if points.ndim != 2 or points.shape[1] != 3 or axes.shape != points.shape:
            raise ValueError(
                f"Sensors.point: positions_mm {list(points.shape)}, normals {list(axes.shape)}; wanted [channel, 3] each."
            )
        if not isinstance(axes, Tracer) and not np.all(np.abs(np.linalg.norm(np.asarray(axes), axis=1) - 1) < 1e-3):
            raise ValueError("Sensors.point: normals of another length than one; wanted unit vectors.")
        if not isinstance(noise_density, Tracer) and not noise_density > 0:
            raise ValueError(f"Sensors.point: noise_density = {noise_density} fT/sqrt(Hz); wanted a positive number.")
        names = tuple(f"point-{i}" for i in range(len(points))) if ch_names is None else tuple(ch_names)
        if len(names) != len(points):
            raise ValueError(f"Sensors.point: {len(names)} ch_names for {len(points)} positions.")
        return cls(
            points=points[:, None],
            normals=axes[:, None],
            weights=jnp.ones(points.shape[:1] + (1,), points.dtype),
            compensation=None,
            noise_density=jnp.full(points.shape[:1], noise_density, points.dtype),
            ch_names=names,
            ch_types=("mag",) * len(names),
        )

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each channel: fT or fT/cm."""
        return tuple(UNITS[kind] for kind in self.ch_types)

    @property
    def positions(self) -> Float[Array, "channel 3"]:
        """The centre of each channel's coils, head frame, mm."""
        weights = jnp.abs(self.weights[: len(self.ch_names), :, None])
        return jnp.sum(weights * self.points[: len(self.ch_names)], axis=1) / jnp.sum(weights, axis=1)

    def compensate(self, coils: Float[Array, "coil ..."]) -> Float[Array, "channel ..."]:
        """From what every coil sees to what every channel reports."""
        channels, references = coils[: len(self.ch_names)], coils[len(self.ch_names) :]
        if self.compensation is None:
            return channels
        return channels - jnp.tensordot(self.compensation, references, 1, precision="highest")

    def pick(self, ch_names: Sequence[str]) -> "Sensors":
        """The named channels, in the order named; `ValueError` lists those that are not there."""
        index = find_channels(ch_names, self.ch_names, "sensors")
        coil = np.concatenate([index, np.arange(len(self.ch_names), len(self.points))])
        return Sensors(
            points=self.points[coil],
            normals=self.normals[coil],
            weights=self.weights[coil],
            compensation=None if self.compensation is None else self.compensation[index],
            noise_density=self.noise_density[index],
            ch_names=tuple(self.ch_names[i] for i in index),
            ch_types=tuple(self.ch_types[i] for i in index),
        )

    def noise(self, key: PRNGKeyArray, n_times: int, sfreq: float) -> Float[Array, "time channel"]:
        """White sensor noise of `n_times` samples at `sfreq` Hz, in the channels' units.

        A one-sided density d spread up to sfreq/2 gives each sample the variance d^2 sfreq/2.
        """
        white = jax.random.normal(key, (n_times, len(self.ch_names)), dtype=self.noise_density.dtype)
        return white * jnp.sqrt(self._variance(sfreq))[None]

    def noise_covariance(self, sfreq: float) -> Float[Array, "channel channel"]:
        """Covariance of `noise` at `sfreq` Hz: diagonal, in squared units of the channels."""
        return jnp.diag(self._variance(sfreq))

    def layout(self) -> np.ndarray:
        """Channels on a plane [channel, 2] for topographies: nose up, right ear right, the equator at radius one."""
        return flatten(np.asarray(self.positions))

    def _variance(self, sfreq: float) -> Array:
        if not sfreq > 0:
            raise ValueError(f"sfreq = {sfreq} Hz; wanted a positive sampling frequency.")
        return self.noise_density**2 * (sfreq / 2)

    def __repr__(self) -> str:
        return f"Sensors({count(self.ch_types)})"


def _noise_density(ch_type: str, coil_type: int) -> float:
    """White noise by MNE's coil types: 8xxx are optically pumped, 3xxx and 2 Neuromag, the others axial SQUIDs."""
    if coil_type // 1000 == 8:
        return 10.0
    return 3.0 if ch_type == "grad" or coil_type // 1000 in (2, 3) else 5.0


def find_channels(wanted: Sequence[str], known: Sequence[str], owner: str) -> np.ndarray:
    """Indices of the wanted channels; `ValueError` lists every one the owner lacks."""
    index = {name: i for i, name in enumerate(known)}
    if missing := [name for name in wanted if name not in index]:
        raise ValueError(
            f"{len(missing)} of {len(wanted)} channels are not among the {len(known)} of the {owner}: "
            f"{', '.join(missing)}. It has {', '.join(known[:3])}, ..."
        )
    return np.array([index[name] for name in wanted], dtype=int)


def count(ch_types: Sequence[str]) -> str:
    """How many channels there are of each type, for reading: "102 mag, 204 grad"."""
    return ", ".join(f"{ch_types.count(kind)} {kind}" for kind in UNITS if kind in ch_types)


def flatten(positions: np.ndarray) -> np.ndarray:
    """Points about a head [point, 3] on a plane [point, 2], keeping the angle from the vertex (azimuthal equidistant).

    The centre is that of the sphere fitted to them, |p|^2 = 2 c.p + const by least squares.
    """
    design = np.column_stack([2 * positions, np.ones(len(positions))])
    centre = np.linalg.lstsq(design, np.sum(positions**2, axis=1), rcond=None)[0][:3]
    x, y, z = (positions - centre).T
    radius = np.arctan2(np.hypot(x, y), z) / (np.pi / 2)
    azimuth = np.arctan2(y, x)
    return np.column_stack([radius * np.cos(azimuth), radius * np.sin(azimuth)])
