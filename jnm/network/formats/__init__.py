"""Connectome files: what each format must hold, how it is read, and where it is wrong.

| file | content |
|---|---|
| .dat | edge list: the number of regions, then a line `to from weight` for each connection; regions count from 0 |
| .npz | `weights`; any of `lengths`, `centres`, `orientations`, `region_labels`, `frame`, `source`, `citation` |
| .npy | the weights |
| .csv, .tsv, .txt | the weights, a row for each target region, however separated; labels may be above and to the left |
| .mat | MATLAB, up to and from version 7.3: `sc`, and any of `len`, `labels` (`jnm.network.formats.matlab`) |
| .zip, or a folder | The Virtual Brain: `weights.txt` and its neighbours (`jnm.network.formats.tvb`) |
| `*_relmat.dense.tsv`, or its folder | BIDS, with `.json` and `*_nodeindices.tsv` (`jnm.network.formats.bids`) |
| any text with .bz2 behind its suffix | the same, compressed |

Rows are targets and columns sources, everywhere. Text is UTF-8; lines that start with # are comments. Nothing is ever
unpickled, nothing is unpacked to disk, and nothing larger than `safety.MOST_BYTES` is read. `read` returns the arguments
of `Connectome`, which then checks the values.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm.network.formats import arrays, bids, edges, matlab, tables, tvb
from jnm.network.formats.safety import contained

__all__ = ["READERS", "lengths", "read", "write"]

Parts = dict[str, Any]


def read(path: str | os.PathLike[str]) -> Parts:
    """The arguments of `Connectome` that a file or folder holds, chosen by its name.

    Raises `FileNotFoundError`, and `ValueError` for an unknown suffix (listing the known ones) or a malformed file
    (naming the line).
    """
    path = Path(path)
    if path.is_dir():
        return bids.read_folder(path) if bids.matrices(path) else tvb.read_folder(path)
    suffix = path.suffix.lower()
    reader = bids.read if bids.is_matrix(path.name) else READERS.get(suffix)
    if suffix == ".bz2":
        reader = _compressed(path)
    if reader is None:
        raise ValueError(f"{path}: no reader for the suffix {path.suffix!r}; known are {', '.join(sorted(READERS))}.")
    if not path.is_file():
        raise FileNotFoundError(f"No file {path} (looked from {Path.cwd()}).")
    return reader(path)


def lengths(path: str | os.PathLike[str], labels: Sequence[str] | None = None) -> Any:
    """The tract lengths in a file that holds nothing else, whatever it calls them; where it names regions, by `labels`.

    Raises `ValueError` for names that are not those of `labels`.
    """
    parts = read(path)
    matrix, own = parts["lengths"] if "lengths" in parts else parts["weights"], list(parts.get("labels", ()))
    if labels is None or not own or own == list(labels):
        return matrix
    if sorted(own) != sorted(labels) or len(set(own)) < len(own):
        strange = [name for name in own if name not in labels] or own
        raise ValueError(
            f"{path} names other regions than the weights do, {', '.join(map(repr, strange[:5]))} among them; name them "
            "alike, or leave the names out where the order is the same."
        )
    order = [own.index(name) for name in labels]
    return np.asarray(matrix)[np.ix_(order, order)]


def write(path: str | os.PathLike[str], content: Mapping[str, np.ndarray], labels: Sequence[str], **known: str) -> None:
    """Write the arrays of a connectome (by argument name) and its labels in the format that the name asks for.

    Raises `ValueError` for a name of no format that is written, and where one would lose something.
    """
    path = Path(path)
    writer = bids.write if bids.is_matrix(path.name) else WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(
            f"{path}: no writer for the suffix {path.suffix!r}; known are {', '.join(sorted(WRITERS))} and "
            "_relmat.dense.tsv (BIDS)."
        )
    writer(path, content, labels, **known)


def _read_edges(path: Path) -> Parts:
    return edges.read(str(path), contained(path))


def _read_table(path: Path) -> Parts:
    return tables.read(str(path), path.suffix.lower(), contained(path))


TEXTS: dict[str, Callable[[Path], Parts]] = {
    ".dat": _read_edges,
    ".csv": _read_table,
    ".tsv": _read_table,
    ".txt": _read_table,
}


def _compressed(path: Path) -> Callable[[Path], Parts] | None:
    inner = Path(path.stem).suffix.lower()
    if inner == ".dat":
        return lambda path: edges.read(str(path), contained(path))
    return (lambda path: tables.read(str(path), inner, contained(path))) if inner in TEXTS else None


READERS: dict[str, Callable[[Path], Parts]] = {
    **TEXTS,
    ".npz": arrays.read_npz,
    ".npy": arrays.read_npy,
    ".mat": matlab.read,
    ".zip": tvb.read_zip,
}

WRITERS: dict[str, Callable[..., None]] = {".npz": arrays.write_npz, ".csv": tables.write, ".zip": tvb.write}
