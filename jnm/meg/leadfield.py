"""The lead field: from the dipole moments of regions to what the sensors measure, y = G Q.

Quasi-static, so there is no delay and no frequency in it. A region is a patch of folded cortex: its gain is the sum
over its sources v, each with its outward normal n_v and its share of the area,

    G_r = sum_v a_v L(r_v) n_v / sum_v a_v,

so 1 nA m given to a region is spread over its sources and stays 1 nA m; what walls of opposite sulci cancel is lost to
the sensors, as in the head. Units: nA m to fT, fT/cm (planar gradiometers) and uV (EEG).
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jnm.meg import mne as _mne
from jnm.meg.conductor import check_apart, infinite_lead_field, sphere_lead_field
from jnm.meg.loudness import warn_of_loud
from jnm.meg.parcels import read_parcels, share_kept
from jnm.meg.sensors import UNITS, Numbers, Sensors, count, find_channels, flatten


class LeadField(eqx.Module):
    """What each channel sees of 1 nA m in each region; called with moments it gives the measurement.

    `LeadField.from_mne(forward, parcels)` takes a subject's forward solution, `LeadField.sphere(...)` a spherical head.

        lead = jnm.meg.LeadField.from_mne("sample-oct4-meg-fwd.fif", "sample-parcels.json")
        y = lead(Q)     # Q [time, region] in nA m  ->  y [time, channel] in lead.units
    """

    gain: Float[Array, "channel region"] | Float[Array, "channel source 3"]
    """fT, fT/cm or uV per nA m: along each region's orientation, or along x, y, z of the head frame."""
    sensor_positions: Float[Array, "channel 3"]
    """Head frame, mm."""
    region_positions: Float[Array, "region 3"]
    """Head frame, mm; the area-weighted mean of a parcel's sources."""
    share_kept: Float[Array, " region"] | None
    """What cancellation inside a parcel leaves of the mean gain of its sources, 0 to 1; None without parcels."""
    ch_names: tuple[str, ...] = eqx.field(static=True)
    ch_types: tuple[str, ...] = eqx.field(static=True)
    """Of each channel: "mag", "grad" or "eeg"."""
    labels: tuple[str, ...] = eqx.field(static=True)
    """The regions' names."""

    def __check_init__(self):
        channels, regions = self.gain.shape[:2]
        if self.gain.ndim not in (2, 3) or self.gain.shape[2:] not in ((), (3,)):
            raise ValueError(f"gain has shape {self.gain.shape}; wanted [channel, region] or [channel, source, 3].")
        if not (len(self.ch_names) == len(self.ch_types) == channels and len(self.labels) == regions):
            raise ValueError(
                f"gain {self.gain.shape} with {len(self.ch_names)} channel names, {len(self.ch_types)} channel types "
                f"and {len(self.labels)} region labels: one of each per row and column is wanted."
            )

    def __call__(self, moments: Float[Array, "... region"]) -> Float[Array, "... channel"]:
        """y = G Q: moments in nA m, [..., region], or [..., source, 3] for a gain of free orientation.

        Raises `ValueError` if the moments are of another number of regions.
        """
        wanted = self.gain.shape[1:]
        if moments.shape[-len(wanted) :] != wanted:
            raise ValueError(
                f"lead field and network of different regions: the lead field has {list(wanted)} ({self.labels[0]} ... "
                f"{self.labels[-1]}), the moments of the network have shape {list(moments.shape)}. "
                "Build the network from the lead field's regions, or take regions by label: lead.select(labels)."
            )
        # full float32 on every device: by default a GPU rounds the factors to TF32, three digits
        axes = tuple(range(-len(wanted), 0)), tuple(range(1, 1 + len(wanted)))
        return jnp.tensordot(moments, self.gain, axes, precision="highest")

    @classmethod
    def from_mne(
        cls,
        forward: Any,
        parcels: Mapping[str, Any] | str | Path | None = None,
        *,
        info: Any = None,
        projs: Sequence[Any] = (),
        orientation: str = "normal",
        omit: Sequence[int] | np.ndarray = (),
    ) -> "LeadField":
        """The lead field of an `mne.Forward`, or of the path of a -fwd.fif; MEG and EEG channels.

        **Arguments**

        - `parcels`: which parcel each source belongs to, {"parcel_of_source": [source], "label": [parcel]}, or the path
          of a JSON file of it; numbers count from 0, -1 is no parcel, labels are optional. By default each source is a
          region of its own.
        - `info`: the Info of a recording: its good MEG and EEG channels in its order, and its active projectors.
        - `projs`: further projectors to apply (active or not), such as `raw.info["projs"]`.
        - `orientation`: "normal" (outward surface normal) or "free" (x, y, z; without parcels).
        - `omit`: sources to leave out, such as those too near to the skull; numbers count from 0 in the file.

        Raises `ValueError` for a file that is no forward solution, a recording's channels it lacks, parcels of another
        source space, sources to omit that it has not, sources within 5 mm of a coil. Warns of a recording whose head lay
        elsewhere in the helmet, and of sources too near to the skull (`jnm.meg.loudness`).
        """
        if orientation not in ("normal", "free"):
            raise ValueError(f'orientation = {orientation!r}; wanted "normal" or "free".')
        if orientation == "free" and parcels is not None:
            raise ValueError('parcels sum over sources along their normals: they want orientation="normal".')
        arrays = _mne.forward_arrays(forward, fixed=orientation == "normal", info=info, projs=projs)
        coils = arrays.sensor_positions[np.array(arrays.ch_types) != "eeg"]
        check_apart(arrays.source_positions, coils[np.isfinite(coils).all(axis=1)])
        kept = _without(omit, len(arrays.source_positions))
        if parcels is None:
            labels, share = tuple(f"source-{i}" for i in kept), None
            gain, positions = arrays.gain[:, kept], arrays.source_positions[kept]
            homes = dict.fromkeys(kept.tolist(), "")
        else:
            labels, spread = read_parcels(parcels, arrays.source_areas, omit)
            share = share_kept(arrays.gain, spread, arrays.ch_types)
            gain, positions = arrays.gain @ spread, spread.T @ arrays.source_positions
            homes = {source: f" of {labels[parcel]}" for source, parcel in np.argwhere(spread).tolist()}
        warn_of_loud(arrays.loudness, homes)
        return cls(
            gain=jnp.asarray(gain, dtype=float),
            sensor_positions=jnp.asarray(arrays.sensor_positions, dtype=float),
            region_positions=jnp.asarray(positions, dtype=float),
            share_kept=None if share is None else jnp.asarray(share, dtype=float),
            ch_names=arrays.ch_names,
            ch_types=arrays.ch_types,
            labels=labels,
        )

    @classmethod
    def sphere(
        cls,
        positions_mm: Numbers,
        orientations: Numbers | None,
        sensors: Sensors,
        origin_mm: Numbers,
        *,
        labels: Sequence[str] | None = None,
        radius_mm: float | None = None,
    ) -> "LeadField":
        """One dipole a region in a spherical head, as `sphere_lead_field`.

        **Arguments**

        - `positions_mm`: [region, 3], head frame, mm.
        - `orientations`: unit vectors [region, 3]; None for a gain along x, y, z.
        - `sensors`, `origin_mm`: the helmet and the centre of the sphere [3], head frame, mm.
        - `labels`: the regions' names; by default region-0, region-1, ...
        - `radius_mm`: of the sphere, if regions outside it and coils inside are to be refused.

        Warns of regions that point from the centre: a sphere makes them invisible, so nothing about them can be fitted.
        """
        free = sphere_lead_field(positions_mm, sensors, origin_mm, radius_mm)
        lead = cls._of_dipoles(free, positions_mm, orientations, sensors, labels)
        if orientations is not None:
            _warn_silent(lead.gain, free, lead.labels)
        return lead

    @classmethod
    def infinite(
        cls,
        positions_mm: Numbers,
        orientations: Numbers | None,
        sensors: Sensors,
        *,
        labels: Sequence[str] | None = None,
    ) -> "LeadField":
        """One dipole a region in an infinite medium, as `sphere`, without return currents: for teaching only.

        In magnetometers it misses a head by 40 %, in planar gradiometers by 100 %.
        """
        gain = infinite_lead_field(positions_mm, sensors)
        return cls._of_dipoles(gain, positions_mm, orientations, sensors, labels)

    @classmethod
    def _of_dipoles(
        cls, gain: Array, positions_mm: Numbers, orientations: Numbers | None, sensors: Sensors, labels: Any
    ) -> "LeadField":
        positions = jnp.asarray(positions_mm, dtype=float)
        names = tuple(labels) if labels is not None else tuple(f"region-{i}" for i in range(len(positions)))
        if orientations is not None:
            normals = _unit_vectors(orientations, positions.shape)
            x, y, z = (gain[..., i] * normals[None, :, i] for i in range(3))
            gain = x + y + z
        return cls(gain, sensors.positions, positions, None, sensors.ch_names, sensors.ch_types, names)

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each channel for moments in nA m: fT, fT/cm or uV."""
        return tuple(UNITS[kind] for kind in self.ch_types)

    def pick(self, ch_names: Sequence[str]) -> "LeadField":
        """The named channels, in the order named; `ValueError` lists those that are not there."""
        index = find_channels(ch_names, self.ch_names, "lead field")
        return dataclasses.replace(
            self,
            gain=self.gain[index],
            sensor_positions=self.sensor_positions[index],
            ch_names=tuple(self.ch_names[i] for i in index),
            ch_types=tuple(self.ch_types[i] for i in index),
        )

    def select(self, labels: Sequence[str]) -> "LeadField":
        """The regions of these labels, in this order: how a connectome's regions are matched, never by index."""
        index = {label: i for i, label in enumerate(self.labels)}
        if missing := [label for label in labels if label not in index]:
            raise ValueError(
                f"lead field and network of different regions: the lead field has no {', '.join(map(str, missing))}; "
                f"it has {', '.join(self.labels[:3])}, ... ({len(self.labels)})."
            )
        regions = np.array([index[label] for label in labels], dtype=int)
        return dataclasses.replace(
            self,
            gain=self.gain[:, regions],
            region_positions=self.region_positions[regions],
            share_kept=None if self.share_kept is None else self.share_kept[regions],
            labels=tuple(labels),
        )

    def project(self, projector: Numbers) -> "LeadField":
        """P G, for a projector [channel, channel] in jnm's units that has been applied to the data too."""
        matrix, channels = jnp.asarray(projector, dtype=float), len(self.ch_names)
        if matrix.shape != (channels, channels):
            raise ValueError(f"projector of shape {matrix.shape}; wanted ({channels}, {channels}), one row a channel.")
        return dataclasses.replace(self, gain=jnp.tensordot(matrix, self.gain, 1, precision="highest"))

    def layout(self) -> np.ndarray:
        """Channels on a plane [channel, 2] for topographies: nose up, right ear right, the equator at radius one."""
        return flatten(np.asarray(self.sensor_positions))

    def __repr__(self) -> str:
        return f"LeadField({count(self.ch_types)}; {self.gain.shape[1]} regions{', free' * (self.gain.ndim == 3)})"


def _without(omit: Sequence[int] | np.ndarray, sources: int) -> np.ndarray:
    """The numbers of the sources that stay."""
    if unknown := sorted({int(source) for source in omit} - set(range(sources))):
        raise ValueError(f"omit names {unknown}; the forward solution has the sources 0 to {sources - 1}.")
    return np.setdiff1d(np.arange(sources), np.asarray(omit, int))


def _unit_vectors(orientations: Numbers, shape: tuple[int, ...]) -> Array:
    normals = jnp.asarray(orientations, dtype=float)
    if normals.shape != shape:
        raise ValueError(f"orientations have shape {normals.shape}, positions {shape}; wanted one vector a dipole.")
    if not isinstance(normals, Tracer):
        length = np.linalg.norm(np.asarray(normals), axis=-1)
        if not np.all(np.abs(length - 1) < 1e-3):
            raise ValueError(f"orientations of length {length.min():.3g} to {length.max():.3g}; wanted unit vectors.")
    return normals


def _warn_silent(gain: Array, free: Array, labels: Sequence[str]) -> None:
    if isinstance(gain, Tracer):
        return
    seen, most = np.linalg.norm(np.asarray(gain), axis=0), np.linalg.norm(np.asarray(free), axis=(0, 2))
    if silent := [label for label, x, y in zip(labels, seen, most, strict=True) if not x > 1e-3 * y]:
        warnings.warn(
            f"{len(silent)} of {len(labels)} regions point from the centre of the sphere ({', '.join(silent[:5])}): no "
            "MEG sensor sees them and no fit can reach their parameters. Use tangential orientations or a BEM.",
            stacklevel=3,
        )
