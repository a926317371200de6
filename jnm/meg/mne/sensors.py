"""MEG channels of an MNE Info as integration points in the head."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnm.meg.mne.border import MM_PER_M, check_info, import_mne


class Coils(NamedTuple):
    """MEG channels as integration points in the head frame: the channels' own coils first, then reference coils."""

    points: np.ndarray  # [coil, point, 3] mm
    normals: np.ndarray  # [coil, point, 3]
    weights: np.ndarray  # [coil, point]: 1, or 1/cm for planar gradiometers; 0 fills up the shorter coils
    compensation: np.ndarray | None  # [channel, reference]: what is subtracted of each reference coil
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]  # "mag" or "grad", as MNE names them
    coil_types: tuple[int, ...]  # MNE's number of the coil of each channel


class _CoilDefinition(NamedTuple):
    planar: bool
    table: np.ndarray  # [point, 7]: weight, position in m, normal; coil coordinates


def canonical_info(system: str, translation_mm: Any) -> Any:
    """MNE's canonical helmet with a head in it: head coordinates = device coordinates + translation."""
    mne = import_mne()
    info = mne.channels.read_meg_canonical_info(system, verbose="error")
    device_to_head = np.eye(4)
    device_to_head[:3, 3] = np.asarray(translation_mm, dtype=float) / MM_PER_M
    # the transform it comes with is the identity, which puts the head's origin at the helmet's
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", device_to_head)
    return info


def head_position(info: Any) -> tuple[np.ndarray, np.ndarray]:
    """The device-to-head transform of an Info as a rotation vector (rad) and a translation (mm)."""
    from scipy.spatial.transform import Rotation

    check_info(info)
    if info["dev_head_t"] is None:
        raise ValueError("the Info has no head position (dev_head_t is None).")
    matrix = info["dev_head_t"]["trans"]
    return Rotation.from_matrix(matrix[:3, :3]).as_rotvec(), matrix[:3, 3] * MM_PER_M


def coils(info: Any, *, in_head: bool = True) -> Coils:
    """The MEG channels of an Info as integration points at MNE's accuracy "accurate" (2), in the head or the device.

    Bads are kept, as in a forward solution. Reference channels are dropped unless software compensation is in force
    (CTF grades 1-3): then their coils are kept, since what a compensated channel measures contains them.
    """
    check_info(info)
    kinds = info.get_channel_types()
    channels = [ch for ch, kind in zip(info["chs"], kinds, strict=True) if kind in ("mag", "grad")]
    if not channels:
        raise ValueError(f"the Info has no MEG channels, only {', '.join(sorted(set(kinds))) or 'nothing'}.")
    references, compensation = _compensation(info, channels)
    place = info["dev_head_t"] if in_head else {"trans": np.eye(4)}
    tables = [_coil_at(ch, place) for ch in channels + references]
    points, normals, weights = _pad(tables)
    planar = [_definition(ch).planar for ch in channels]
    return Coils(
        points=points * MM_PER_M,
        normals=normals,
        weights=weights,
        compensation=compensation,
        ch_names=tuple(ch["ch_name"] for ch in channels),
        ch_types=tuple("grad" if p else "mag" for p in planar),
        coil_types=tuple(_coil_type(ch) for ch in channels),
    )


@functools.cache
def _coil_definitions() -> dict[int, _CoilDefinition]:
    """MNE's coil definitions at accuracy 2, by coil type."""
    # the file's format is public and older than MNE-Python; the function that reads it is private
    text = (Path(import_mne().__file__ or "").parent / "data" / "coil_def.dat").read_text()
    lines = iter([line for line in text.splitlines() if line.strip() and not line.startswith("#")])
    definitions = {}
    for header in lines:
        coil_class, coil_type, accuracy, n_points = (int(word) for word in header.split()[:4])
        table = np.array([next(lines).split() for _ in range(n_points)], dtype=float)
        if accuracy == 2:
            definitions[coil_type] = _CoilDefinition(coil_class == 3, table)
    return definitions


def _coil_type(channel: dict) -> int:
    return int(channel["coil_type"]) & 0xFFFF  # the upper half is the grade of compensation


def _definition(channel: dict) -> _CoilDefinition:
    known = _coil_definitions()
    if _coil_type(channel) not in known:
        raise ValueError(
            f"{channel['ch_name']} has coil type {_coil_type(channel)}, which MNE does not define; "
            f"known: {', '.join(map(str, sorted(known)))}."
        )
    return known[_coil_type(channel)]


def _coil_at(channel: dict, dev_head_t: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [m], normals and weights of a coil, carried over by the transform."""
    if dev_head_t is None:
        raise ValueError(
            "the Info has no head position (dev_head_t is None), so coils cannot be placed around the head."
        )
    loc = np.asarray(channel["loc"], dtype=float)
    if not np.all(np.isfinite(loc)) or not np.any(loc[3:]):
        raise ValueError(f"{channel['ch_name']} has no coil position (loc = {loc.tolist()}); drop it or set its loc.")
    planar, table = _definition(channel)
    # axes of the coil as they stand in the file: canonical helmets round them to four digits and so does MNE
    axes, head = loc[3:].reshape(3, 3), dev_head_t["trans"]
    points = (table[:, 1:4] @ axes + loc[:3]) @ head[:3, :3].T + head[:3, 3]
    normals = table[:, 4:] / np.linalg.norm(table[:, 4:], axis=1, keepdims=True)
    # planar weights are per metre; fT/cm is asked for
    return points, normals @ axes @ head[:3, :3].T, table[:, 0] / (100.0 if planar else 1.0)


def _pad(tables: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack coils of 1 to 24 points; filled up with their first point at weight zero, where every field is finite."""
    longest = max(len(weights) for _, _, weights in tables)
    index = [np.where(np.arange(longest) < len(weights), np.arange(longest), 0) for _, _, weights in tables]
    points = np.stack([points[i] for (points, _, _), i in zip(tables, index, strict=True)])
    normals = np.stack([normals[i] for (_, normals, _), i in zip(tables, index, strict=True)])
    weights = np.stack([np.pad(weights, (0, longest - len(weights))) for _, _, weights in tables])
    return points, normals, weights


def _compensation(info: Any, channels: list[dict]) -> tuple[list[dict], np.ndarray | None]:
    """Reference channels in use and the matrix subtracted in software: y = y_coil - C y_reference."""
    grades = {int(ch["coil_type"]) >> 16 for ch in channels}
    if grades == {0}:
        return [], None
    if len(grades) > 1:
        raise ValueError(f"channels of different compensation grades {sorted(grades)}; apply one grade to all of them.")
    (grade,) = grades
    matrices = [comp["data"] for comp in info["comps"] if comp["kind"] == grade]
    if not matrices:
        raise ValueError(f"channels are compensated at grade {grade}, but info['comps'] holds no such matrix.")
    by_name = {ch["ch_name"]: ch for ch in info["chs"]}
    rows, columns = ({name: i for i, name in enumerate(matrices[0][key])} for key in ("row_names", "col_names"))
    if missing := [name for name in columns if name not in by_name]:
        raise ValueError(f"channels are compensated at grade {grade}; reference channels {missing} are missing.")
    matrix = np.zeros((len(channels), len(columns)))
    for i, ch in enumerate(channels):
        if ch["ch_name"] in rows:
            matrix[i] = matrices[0]["data"][rows[ch["ch_name"]]]
    return [by_name[name] for name in columns], matrix
