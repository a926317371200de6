"""Forward solutions of MNE as arrays: along surface normals or in x, y, z, projectors applied."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jnm.meg.loudness import loudness
from jnm.meg.mne.border import (
    HEAD_FRAME,
    MM_PER_M,
    PER_NANOAMPERE_METRE,
    check_info,
    import_mne,
    read,
    sensor_positions,
)

HEAD_MM = 5.0
"""Coils this far from where a forward solution has them, seen from the head, see another field. Chosen."""


class ForwardArrays(NamedTuple):
    """A forward solution in jnm's units and the head frame."""

    gain: np.ndarray  # [channel, source] along the surface normal, or [channel, source, 3]; fT, fT/cm, uV per nA m
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]  # "mag", "grad" or "eeg"
    sensor_positions: np.ndarray  # [channel, 3] mm
    source_positions: np.ndarray  # [source, 3] mm
    source_areas: np.ndarray  # [source] mm^2 of cortex each source stands for; ones where the file does not tell
    loudness: np.ndarray  # [source] as `jnm.meg.loudness`, over all channels of the file and without projectors


def forward_arrays(forward: Any, *, fixed: bool, info: Any = None, projs: Sequence[Any] = ()) -> ForwardArrays:
    """An `mne.Forward`, or the path of a -fwd.fif, as arrays.

    `fixed` keeps the component along the outward surface normal. With the Info of a recording the channels are its good
    ones in its order, and its active projectors are applied; `projs` are applied whether active or not.
    """
    if info is not None:
        check_info(info)
    forward = read_forward(forward)
    gain = _normal_gain(forward) if fixed else _cartesian_gain(forward)
    all_gain = forward["sol"]["data"].reshape(forward["nchan"], forward["nsource"], -1)
    positions = forward["source_rr"] * MM_PER_M
    rows, ch_names, ch_types = _forward_rows(forward["info"], info)
    if info is not None:
        check_head(info, forward["info"])
    active = [proj for proj in info["projs"] if proj["active"]] if info is not None else []
    # projectors live in SI, so they come before the units
    projected = np.tensordot(_projector([*active, *projs], ch_names, ch_types), gain[rows], 1)
    scale = np.array([PER_NANOAMPERE_METRE[kind] for kind in ch_types])
    return ForwardArrays(
        gain=projected * scale.reshape((-1,) + (1,) * (gain.ndim - 1)),
        ch_names=ch_names,
        ch_types=ch_types,
        sensor_positions=sensor_positions(forward["info"])[rows] * MM_PER_M,
        source_positions=positions,
        source_areas=np.concatenate([_patch_areas(space) for space in forward["src"]]) * MM_PER_M**2,
        loudness=loudness(all_gain, forward["info"].get_channel_types(), positions),
    )


def read_forward(forward: Any) -> Any:
    """An `mne.Forward`, or the path of one, in head coordinates; `ValueError` for anything else."""
    mne = import_mne()
    forward = read(forward, "read_forward_solution", "is no forward solution", "-fwd.fif")
    if not isinstance(forward, mne.Forward):
        raise ValueError(f"wanted an mne.Forward or the path of a -fwd.fif, got {type(forward).__name__}.")
    if forward["coord_frame"] != HEAD_FRAME:
        raise ValueError(
            "the forward solution is in MRI coordinates; wanted head coordinates, as MNE makes and reads them: save it and "
            "read it by mne.read_forward_solution."
        )
    if not np.all(np.isfinite(forward["sol"]["data"])):
        row = int(np.argmin(np.isfinite(forward["sol"]["data"]).all(axis=1)))
        raise ValueError(f"the forward solution has NaN or infinite numbers in {forward['sol']['row_names'][row]}.")
    return forward


def check_head(recording: Any, known: Any) -> None:
    """Warn, on behalf of who called the caller's caller, of a head that lay elsewhere in the helmet than a forward has it."""
    ours, theirs = (
        {
            name: place
            for (name, kind), place in zip(_named_types(info), sensor_positions(info), strict=True)
            if kind != "eeg"
        }
        for info in (recording, known)
    )
    apart = max([MM_PER_M * np.linalg.norm(ours[name] - theirs[name]) for name in ours if name in theirs], default=0.0)
    if apart > HEAD_MM:
        warnings.warn(
            f"in the recording the head lies up to {apart:.0f} mm from where the forward solution has it (dev_head_t): make "
            "one for this recording, or move the recording to its head position (Maxwell filter with destination=...).",
            stacklevel=4,
        )


def _cartesian_gain(forward: Any) -> np.ndarray:
    """[channel, source, 3] in SI, columns along the head's x, y, z."""
    if _is_fixed(forward):
        raise ValueError("the forward solution has fixed orientations, so x, y and z are gone; make it with free ones.")
    free = import_mne().convert_forward_solution(forward, surf_ori=False, verbose="error")
    return free["sol"]["data"].reshape(free["nchan"], -1, 3)


def _normal_gain(forward: Any) -> np.ndarray:
    """[channel, source] in SI along the surface normals, averaged over the patch of each source where it is known."""
    if _is_fixed(forward):
        return forward["sol"]["data"]
    if any(space["type"] == "vol" for space in forward["src"]):
        raise ValueError('a volume source space has no surface normals: ask for orientation="free".')
    convert = import_mne().convert_forward_solution
    normals = convert(forward, surf_ori=True, force_fixed=True, use_cps=True, verbose="error")["source_nn"]
    # only the normals are taken: MNE rounds the fixed gain itself to float32
    return np.einsum("csx,sx->cs", _cartesian_gain(forward), normals)


def _is_fixed(forward: Any) -> bool:
    return forward["sol"]["data"].shape[1] == forward["nsource"]


def _forward_rows(known: Any, recording: Any) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    """Rows of the forward solution, names and types of the channels asked for."""
    row = {name: (i, kind) for i, (name, kind) in enumerate(_named_types(known))}
    asked, bads = (known, []) if recording is None else (recording, recording["bads"])
    wanted = [name for name, kind in _named_types(asked) if kind in PER_NANOAMPERE_METRE and name not in bads]
    if missing := [name for name in wanted if name not in row]:
        raise ValueError(
            f"{len(missing)} good channels of the recording are not in the forward solution: {', '.join(missing)}. "
            "Pick the common channels first (recording.pick(...)) or make a forward solution that has them."
        )
    if not wanted:
        raise ValueError("no MEG or EEG channel is left.")
    return [row[name][0] for name in wanted], tuple(wanted), tuple(row[name][1] for name in wanted)


def _named_types(info: Any) -> list[tuple[str, str]]:
    return list(zip(info.ch_names, info.get_channel_types(), strict=True))


def _projector(projs: Sequence[Any], ch_names: Sequence[str], ch_types: Sequence[str]) -> np.ndarray:
    """The matrix [channel, channel] by which MNE would project data of these channels, in SI."""
    mne = import_mne()
    identity = np.eye(len(ch_names))
    if not projs:
        return identity
    inactive = [mne.Projection(**{**proj, "active": False}) for proj in projs]
    info = mne.create_info(list(ch_names), 1000.0, list(ch_types), verbose="error")
    data = mne.EvokedArray(identity, info, verbose="error").add_proj(inactive, verbose="error")
    return data.apply_proj(verbose="error").data


def _patch_areas(space: Any) -> np.ndarray:
    """The area [m^2] of the patch of each used vertex: a third of every triangle goes to each of its corners."""
    if space["type"] != "surf" or space.get("nearest") is None or not len(space["tris"]):
        return np.ones(space["nuse"])
    a, b, c = (space["rr"][space["tris"][:, i]] for i in range(3))
    triangle = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    vertex = np.bincount(space["tris"].ravel(), np.repeat(triangle / 3, 3), minlength=space["np"])
    return np.bincount(space["nearest"], vertex, minlength=space["np"])[space["vertno"]]
