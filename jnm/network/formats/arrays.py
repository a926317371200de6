"""NumPy's own files: a .npz with everything a connectome may have, or a .npy with the weights alone."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm.network.formats import safety

# The name first in a row is the one written; the others are those of files found in the field.
NPZ_KEYS = {
    "weights": ("weights",),
    "lengths": ("lengths", "tract_lengths"),
    "centres": ("centres", "centers"),
    "orientations": ("orientations",),
    "labels": ("region_labels", "labels"),
    "frame": ("frame",),
    "source": ("source",),
    "citation": ("citation",),
}
KNOWN_KEYS = {key for keys in NPZ_KEYS.values() for key in keys}
TEXTS = {"frame", "source", "citation"}


def read_npz(path: Path) -> dict[str, Any]:
    """The arrays of a .npz under the names of `Connectome`'s arguments; `ValueError` names what is there without weights."""
    arrays = _loaded(path, KNOWN_KEYS)
    if isinstance(arrays, np.ndarray):
        raise ValueError(f"{path} holds a single array; give it the suffix .npy.")
    found = {name: key for name, keys in NPZ_KEYS.items() for key in keys if key in arrays}
    if "weights" not in found:
        raise ValueError(f"{path} has no array 'weights'; it has {', '.join(arrays) or 'nothing'}.")
    parts = {name: arrays[key] for name, key in found.items()}
    for name in TEXTS & parts.keys():
        if parts[name].size != 1:
            raise ValueError(f"{path}, array {name!r}: shape {parts[name].shape} came; wanted a single text.")
        parts[name] = _text(parts[name].item())
    if "labels" in parts:
        parts["labels"] = [_text(label) for label in np.ravel(parts["labels"]).tolist()]
    return parts


def single(path: Path) -> np.ndarray:
    """The array that numpy.savez calls arr_0, because nobody gave it a name."""
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}")
    arrays = _loaded(path, {"arr_0"})
    if isinstance(arrays, np.ndarray) or not isinstance(arrays.get("arr_0"), np.ndarray):
        raise ValueError(f"{path} has no array 'arr_0'.")
    return arrays["arr_0"]


def read_npy(path: Path) -> dict[str, Any]:
    """The weights."""
    array = _loaded(path, set())
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is an archive of arrays; give it the suffix .npz.")
    return {"weights": array}


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], labels: Sequence[str], **known: str) -> None:
    """Write everything."""
    content: dict[str, Any] = {"region_labels": np.array(labels, dtype=str), **arrays, **known}
    np.savez(path, **content)


def _text(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)


def _loaded(path: Path, wanted: set[str]) -> np.ndarray | dict[str, Any]:
    """The array of a .npy, or the arrays of a .npz by key: None for those that nobody wants."""
    if path.stat().st_size > safety.MOST_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes came; wanted {safety.MOST_BYTES:,} at most.")
    if (archive := _as_archive(path)) is not None:
        safety.members(str(path), archive)
    key = ""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            arrays = dict.fromkeys(content.files)
            for key in wanted.intersection(arrays):
                arrays[key] = _sound(content[key])
            return arrays
    except Exception as error:  # on a damaged header NumPy raises nearly anything: TokenError, struct.error, zlib.error
        which = f", array {key!r}" if key else ""
        raise ValueError(
            f"{path}{which} cannot be read ({error}). Wanted: arrays of numbers or text, written by numpy.save or "
            "numpy.savez; Python objects are never unpickled: convert labels by np.array(labels, dtype=str)."
        ) from error


def _sound(member: Any) -> np.ndarray:
    """An array; raises where a file is none, of which NumPy gives the bytes, and for letters that do not exist."""
    if not isinstance(member, np.ndarray):
        raise ValueError("it is no array")
    if member.dtype.kind == "U":
        member.tolist()
    return member


def _as_archive(path: Path) -> zipfile.ZipFile | None:
    """The table of contents, or None where there is none to be read: what NumPy says of that comes later."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive
    except Exception:  # any: zipfile raises as many kinds on damaged files as NumPy does
        return None
