"""The border to MNE-Python: the only file of jnm that imports it, and the only one that knows SI units.

What comes in are MNE's own objects (Info, Forward, projectors) in metres, tesla and ampere metres; what goes out are
plain NumPy arrays in mm, fT, fT/cm, uV and nA m. MNE is imported inside functions, since it is an optional dependency.

Gramfort A et al. (2013) MEG and EEG data analysis with MNE-Python. Front Neurosci 7:267.
"""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

MM_PER_M = 1e3
PER_NANOAMPERE_METRE = {"mag": 1e6, "grad": 1e4, "eeg": 1e-3}
"""T, T/m and V per A m times these are fT, fT/cm and uV per nA m."""

_DEVICE_FRAME, _HEAD_FRAME = 1, 4  # FIFFV_COORD_DEVICE and FIFFV_COORD_HEAD of the FIF standard


def import_mne() -> ModuleType:
    """MNE-Python; `ImportError` with the cure where it is absent."""
    try:
        import mne
    except ImportError as error:
        raise ImportError('sensors and recordings need MNE-Python: pip install "jnm[mne]"') from error
    return mne


def _check_info(info: Any) -> None:
    if not isinstance(info, import_mne().Info):
        raise ValueError(f"wanted an mne.Info (raw.info, epochs.info, evoked.info), got {type(info).__name__}.")


# ------------------------------------------------------------------------------------------------------------ sensors


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


def coils(info: Any) -> Coils:
    """The MEG channels of an Info as integration points at MNE's accuracy "accurate" (2).

    Bads are kept, as in a forward solution. Reference channels are dropped unless software compensation is in force
    (CTF grades 1-3): then their coils are kept, since what a compensated channel measures contains them.
    """
    _check_info(info)
    kinds = info.get_channel_types()
    channels = [ch for ch, kind in zip(info["chs"], kinds, strict=True) if kind in ("mag", "grad")]
    if not channels:
        raise ValueError(f"the Info has no MEG channels, only {', '.join(sorted(set(kinds))) or 'nothing'}.")
    references, compensation = _compensation(info, channels)
    tables = [_coil_in_head(ch, info["dev_head_t"]) for ch in channels + references]
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


def _coil_in_head(channel: dict, dev_head_t: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [m], normals and weights of a coil in head coordinates."""
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


# --------------------------------------------------------------------------------------------------- forward solutions


class ForwardArrays(NamedTuple):
    """A forward solution in jnm's units and the head frame."""

    gain: np.ndarray  # [channel, source] along the surface normal, or [channel, source, 3]; fT, fT/cm, uV per nA m
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]  # "mag", "grad" or "eeg"
    sensor_positions: np.ndarray  # [channel, 3] mm
    source_positions: np.ndarray  # [source, 3] mm
    source_areas: np.ndarray  # [source] mm^2 of cortex each source stands for; ones where the file does not tell


def forward_arrays(forward: Any, *, fixed: bool, info: Any = None, projs: Sequence[Any] = ()) -> ForwardArrays:
    """An `mne.Forward`, or the path of a -fwd.fif, as arrays.

    `fixed` keeps the component along the outward surface normal. With the Info of a recording the channels are its good
    ones in its order, and its active projectors are applied; `projs` are applied whether active or not.
    """
    if info is not None:
        _check_info(info)
    forward = _read_forward(forward)
    gain = _normal_gain(forward) if fixed else _cartesian_gain(forward)
    rows, ch_names, ch_types = _forward_rows(forward["info"], info)
    active = [proj for proj in info["projs"] if proj["active"]] if info is not None else []
    # projectors live in SI, so they come before the units
    projected = np.tensordot(_projector([*active, *projs], ch_names, ch_types), gain[rows], 1)
    scale = np.array([PER_NANOAMPERE_METRE[kind] for kind in ch_types])
    return ForwardArrays(
        gain=projected * scale.reshape((-1,) + (1,) * (gain.ndim - 1)),
        ch_names=ch_names,
        ch_types=ch_types,
        sensor_positions=_sensor_positions(forward["info"])[rows] * MM_PER_M,
        source_positions=forward["source_rr"] * MM_PER_M,
        source_areas=np.concatenate([_patch_areas(space) for space in forward["src"]]) * MM_PER_M**2,
    )


def _read_forward(forward: Any) -> Any:
    mne = import_mne()
    if isinstance(forward, str | Path):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*does not conform to MNE naming conventions")
                forward = mne.read_forward_solution(forward, verbose="error")
        except ValueError as error:
            raise ValueError(f"{forward} is no forward solution (wanted a -fwd.fif): {error}") from error
    if not isinstance(forward, mne.Forward):
        raise ValueError(f"wanted an mne.Forward or the path of a -fwd.fif, got {type(forward).__name__}.")
    if forward["coord_frame"] != _HEAD_FRAME:
        raise ValueError("the forward solution is in MRI coordinates; wanted head coordinates, as MNE makes them.")
    return forward


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


def _sensor_positions(info: Any) -> np.ndarray:
    """[channel, 3] in m, head frame: electrodes are stored so, coils in the frame of the device."""
    device_to_head = info["dev_head_t"]["trans"] if info["dev_head_t"] is not None else np.full((4, 4), np.nan)
    position = np.array([ch["loc"][:3] for ch in info["chs"]], dtype=float)
    in_device = np.array([ch["coord_frame"] == _DEVICE_FRAME for ch in info["chs"]])[:, None]
    return np.where(in_device, position @ device_to_head[:3, :3].T + device_to_head[:3, 3], position)


def _patch_areas(space: Any) -> np.ndarray:
    """The area [m^2] of the patch of each used vertex: a third of every triangle goes to each of its corners."""
    if space["type"] != "surf" or space.get("nearest") is None or not len(space["tris"]):
        return np.ones(space["nuse"])
    a, b, c = (space["rr"][space["tris"][:, i]] for i in range(3))
    triangle = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    vertex = np.bincount(space["tris"].ravel(), np.repeat(triangle / 3, 3), minlength=space["np"])
    return np.bincount(space["nearest"], vertex, minlength=space["np"])[space["vertno"]]
