"""MATLAB files: `sc` (weights) and `len` (tract lengths), as neurolib and others keep them, of all versions since 5.

From version 7.3 on they are HDF5 and read by h5py; there each matrix lies transposed. Objects, links to other files and
data kept outside of the file are not followed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jnm._optional import require
from jnm.network.formats import matlab5, safety

KEYS = {
    "weights": ("sc", "SC", "weights", "Cmat", "connectivity"),
    "lengths": ("len", "LEN", "lengths", "tract_lengths", "Dmat"),
    "labels": ("labels", "region_labels", "names"),
}
KNOWN = {key for keys in KEYS.values() for key in keys}
HDF5 = b"\x89HDF\r\n\x1a\n"
_LONGEST = 1024  # letters of a name


def read(path: Path) -> dict[str, Any]:
    """Weights, lengths and labels, as far as they are there; `ValueError` lists what is there if no matrix is."""
    content = safety.contained(path)
    try:  # on damaged files HDF5 raises OSError, RuntimeError, KeyError, UnicodeDecodeError
        found = _version_73(path) if HDF5 in (content[:8], content[512:520]) else _version_5(content)
    except Exception as error:
        if isinstance(error, ImportError):
            raise
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}.") from error
    names = {name: next((key for key in keys if key in found), None) for name, keys in KEYS.items()}
    if names["weights"] is None and names["lengths"] is None:
        listed = ", ".join(sorted(found)) or "nothing"
        raise ValueError(
            f"{path} has no matrix under a known name ({', '.join(KEYS['weights'])}; lengths: "
            f"{', '.join(KEYS['lengths'])}); it has {listed}. Save it as sc, or read it yourself for jnm.Connectome."
        )
    parts: dict[str, Any] = {name: found[key] for name, key in names.items() if key is not None}
    for name in parts:
        if isinstance(parts[name], list) != (name == "labels"):
            raise ValueError(
                f"{path}: {names[name]} is {'no cell array of texts' if name == 'labels' else 'no matrix'}."
            )
    return parts


def _version_5(content: bytes) -> dict[str, Any]:
    """The known variables, and None for each of the others."""
    order, found = matlab5.variables(content)
    return {v.name: matlab5.value(order, v) if v.name in KNOWN else None for v in found if v.name}


def _version_73(path: Path) -> dict[str, Any]:
    h5py = require("h5py", "io")
    with h5py.File(path, "r") as file:
        return {name: _dataset(file, name, h5py) for name in file if not name.startswith("#")}


def _dataset(file: Any, name: str, h5py: Any) -> Any:
    if name not in KNOWN:
        return None
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link to elsewhere, which is not followed")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise ValueError(f"{name} is a {type(data).__name__} without values of its own; wanted an array")
    if 8 * int(np.prod(data.shape, dtype=object)) > safety.MOST_BYTES:
        raise ValueError(f"{name} has shape {data.shape}; wanted {safety.MOST_BYTES:,} bytes at most")
    if data.dtype == h5py.ref_dtype:  # a cell array: each cell is a text, written as numbers of its letters
        return [_letters(file[reference]) for reference in np.ravel(data[()].T)]
    values = np.asarray(data[()]).T
    if data.attrs.get("MATLAB_class") in (b"char", "char"):  # a matrix of letters, a row a text
        return ["".join(map(chr, row)) for row in values]
    return values


def _letters(cell: Any) -> str:
    if cell.size > _LONGEST:
        raise ValueError(f"a cell holds {cell.size:,} letters; wanted the name of a region")
    return "".join(chr(int(code)) for code in np.ravel(cell[()].T))
