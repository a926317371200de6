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

from jnm._optional import require

MM_PER_M = 1e3
PER_NANOAMPERE_METRE = {"mag": 1e6, "grad": 1e4, "eeg": 1e-3}
"""T, T/m and V per A m times these are fT, fT/cm and uV per nA m."""

_DEVICE_FRAME, _HEAD_FRAME = 1, 4  # FIFFV_COORD_DEVICE and FIFFV_COORD_HEAD of the FIF standard


def import_mne() -> ModuleType:
    """MNE-Python; `ImportError` with the cure where it is absent."""
    return require("mne", extra="mne")


def read(given: Any, reader: str, kind: str, wanted: str, **options: Any) -> Any:
    """What MNE's function `reader` reads from a path; anything else as it is. `ValueError` for a file of another kind."""
    if not isinstance(given, str | Path):
        return given
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not conform to MNE naming conventions")
            return getattr(import_mne(), reader)(given, verbose="error", **options)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{given} {kind} (wanted a {wanted}): {error}") from error


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
    forward = read(forward, "read_forward_solution", "is no forward solution", "-fwd.fif")
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


# ---------------------------------------------------------------------------------------------------------- recordings


class EvokedArrays(NamedTuple):
    """An average response with what is needed to judge it, in jnm's units: fT, fT/cm, uV; ms; mm."""

    condition: str
    others: tuple[str, ...]  # the other conditions of the same file
    averages: int  # trials in the average
    times: np.ndarray  # [time] ms
    data: np.ndarray  # [time, channel], low-passed, baseline subtracted, projected where projectors are active
    covariance: np.ndarray  # [channel, channel] of the noise of one sample of the average
    patterns: np.ndarray  # [projector, channel]: the field patterns that active projectors take out
    rank: int  # dimensions that projectors and Maxwell filters leave to these channels
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    positions: np.ndarray  # [channel, 3] mm, head frame; NaN where unknown
    excluded: dict[str, str]  # channels left out, with the reason


def evoked_arrays(
    evoked: Any,
    cov: Any,
    forward: Any,
    *,
    condition: str | None,
    lowpass: float | None,
    baseline: tuple[float | None, float | None],
    stop: float,
) -> EvokedArrays:
    """An `mne.Evoked`, a list of them or the path of an -ave.fif, its noise covariance and forward solution, as arrays.

    Times are in ms and frequencies in Hz. Channels are the good ones of the types the forward solution has.
    """
    chosen, others = _pick_condition(_read_evokeds(evoked), condition)
    cov, forward = _read_covariance(cov), _read_forward(forward)
    ch_names, excluded = _common_channels(chosen.info, cov, forward["info"])
    response = _prepare(chosen, ch_names, lowpass, baseline, stop)
    info = response.info
    ch_types = tuple(info.get_channel_types())
    scale = np.array([PER_NANOAMPERE_METRE[kind] for kind in ch_types]) * 1e9  # SI to fT, fT/cm, uV
    return EvokedArrays(
        condition=str(chosen.comment),
        others=others,
        averages=int(chosen.nave),
        times=response.times * 1e3,
        data=(response.data * scale[:, None]).T,
        covariance=_covariance_of(cov, ch_names) * scale[:, None] * scale[None] / chosen.nave,
        patterns=_active_patterns(info, ch_names) * scale[None],
        rank=sum(import_mne().compute_rank(response, rank="info", verbose="error").values()),
        ch_names=tuple(ch_names),
        ch_types=ch_types,
        positions=_sensor_positions(info) * MM_PER_M,
        excluded=excluded,
    )


def _read_evokeds(evoked: Any) -> list[Any]:
    mne = import_mne()
    # projectors that are not active yet stay so: what was done to the data is for its owner to decide
    evoked = read(evoked, "read_evokeds", "holds no average responses", "-ave.fif", proj=False)
    averages = list(evoked) if isinstance(evoked, list | tuple) else [evoked]
    if not averages or not all(isinstance(one, mne.Evoked) for one in averages):
        kinds = ", ".join(sorted({type(one).__name__ for one in averages})) or "nothing"
        raise ValueError(f"wanted an mne.Evoked, a list of them or the path of an -ave.fif, got {kinds}.")
    return averages


def _pick_condition(averages: list[Any], condition: str | None) -> tuple[Any, tuple[str, ...]]:
    """The average of a condition, the first by default, and the names of the others."""
    known = {str(one.comment): one for one in reversed(averages) if one.kind == "average"}
    names = tuple(reversed(known))
    if not names:
        raise ValueError("the recording holds no averages, only standard errors.")
    chosen = names[0] if condition is None else condition
    if chosen not in known:
        raise ValueError(f"no condition {condition!r} in the recording; there are {', '.join(map(repr, names))}.")
    return known[chosen], tuple(name for name in names if name != chosen)


def _read_covariance(cov: Any) -> Any:
    mne = import_mne()
    cov = read(cov, "read_cov", "is no noise covariance", "-cov.fif")
    if not isinstance(cov, mne.Covariance):
        raise ValueError(f"wanted an mne.Covariance or the path of a -cov.fif, got {type(cov).__name__}.")
    return cov


def _common_channels(info: Any, cov: Any, forward_info: Any) -> tuple[list[str], dict[str, str]]:
    """The good channels all three have. One that is missing somewhere without being called bad anywhere is an error."""
    kinds = dict(zip(info.ch_names, info.get_channel_types(), strict=True))
    modelled = set(forward_info.get_channel_types()) & set(PER_NANOAMPERE_METRE)
    wanted = [name for name, kind in kinds.items() if kind in modelled]
    bad = {name: f"bad in the {owner}" for owner, bads in _bads(info, cov, forward_info) for name in bads}
    good = [name for name in wanted if name not in bad]
    for owner, has in (("forward solution", forward_info.ch_names), ("noise covariance", cov.ch_names)):
        if missing := [name for name in good if name not in has]:
            raise ValueError(
                f"{len(missing)} of {len(good)} good channels of the recording are not in the {owner}: "
                f"{', '.join(missing[:8])}{', ...' * (len(missing) > 8)}. Give the one made for this recording, or mark "
                "these channels as bad (evoked.info['bads']) to go on without them."
            )
    if not good:
        raise ValueError(f"no channel is left: of {len(wanted)} the forward solution covers, {len(wanted)} are bad.")
    unmodelled = {
        name: f"no {kind} in the forward solution" for name, kind in kinds.items() if kind in _FIELD_TYPES - modelled
    }
    return good, {name: bad[name] for name in wanted if name in bad} | unmodelled


_FIELD_TYPES = set(PER_NANOAMPERE_METRE)


def _bads(info: Any, cov: Any, forward_info: Any) -> tuple[tuple[str, list[str]], ...]:
    return (("noise covariance", cov["bads"]), ("forward solution", forward_info["bads"]), ("recording", info["bads"]))


def _prepare(evoked: Any, ch_names: list[str], lowpass: float | None, baseline: tuple, stop: float) -> Any:
    """Pick, low-pass, take the baseline off, and cut at `stop` ms."""
    start, end = evoked.times[0] * 1e3, evoked.times[-1] * 1e3
    if end < stop - 500.0 / evoked.info["sfreq"]:
        raise ValueError(f"the recording lasts from {start:.0f} to {end:.0f} ms; wanted at least {stop:g} ms.")
    lower, upper = (edge if value is None else value for value, edge in zip(baseline, (start, end), strict=True))
    if not start - 1e-6 <= lower < upper:
        raise ValueError(
            f"baseline {lower:g} to {upper:g} ms; the recording starts at {start:.0f} ms. Noise is judged on it."
        )
    response = evoked.copy().pick(ch_names)
    if lowpass is not None and response.info["lowpass"] > lowpass:
        response.filter(None, lowpass, verbose="error")
    response.apply_baseline((lower / 1e3, upper / 1e3), verbose="error")
    return response.crop(None, min(stop, end) / 1e3)


def _covariance_of(cov: Any, ch_names: list[str]) -> np.ndarray:
    index = [cov.ch_names.index(name) for name in ch_names]
    full = np.diag(cov.data) if cov["diag"] else cov.data
    return full[np.ix_(index, index)]


def _active_patterns(info: Any, ch_names: list[str]) -> np.ndarray:
    """[projector, channel] in SI."""
    patterns = [np.zeros((0, len(ch_names)))]
    for proj in (proj for proj in info["projs"] if proj["active"]):
        column = {name: i for i, name in enumerate(proj["data"]["col_names"])}
        padded = np.column_stack([proj["data"]["data"], np.zeros(len(proj["data"]["data"]))])
        patterns.append(padded[:, [column.get(name, -1) for name in ch_names]])
    return np.concatenate(patterns)
