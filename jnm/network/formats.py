"""Connectome files: what each format must hold, how it is read, and where it is wrong.

| suffix | content |
|---|---|
| .dat | edge list: the number of regions, then a line `to from weight` for each connection; regions count from 0 |
| .npz | `weights`; any of `lengths`, `centres`, `orientations`, `region_labels`, `frame`, `source`, `citation` |
| .npy | the weights |
| .csv, .tsv, .txt | the weights, a row for each target region; a first line and a first column of labels may be there |

Rows are targets and columns sources, everywhere. Text is UTF-8; lines that start with # are comments. Nothing is ever
unpickled. `read` returns the arguments of `Connectome`, which then checks the values.
"""

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": None}  # None: any white space
MOST_REGIONS = 30_000  # a dense matrix of more does not fit into memory: a number above is a slip in the file


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of `Connectome` that a file holds, chosen by its suffix.

    Raises `FileNotFoundError`, and `ValueError` for an unknown suffix (listing the known ones) or a malformed file
    (naming the line).
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: no reader for the suffix {path.suffix!r}; known are {', '.join(sorted(READERS))}.")
    if not path.is_file():
        raise FileNotFoundError(f"No file {path} (looked from {Path.cwd()}).")
    return reader(path)


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], labels: Sequence[str], **provenance: str
) -> None:
    """Write the arrays of a connectome (by argument name) and its labels to .npz, or weights and labels to .csv.

    Raises `ValueError` for another suffix, and for a .csv when it would lose an array.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        content: dict[str, Any] = {"region_labels": np.array(labels, dtype=str), **arrays, **provenance}
        np.savez(path, **content)
    elif suffix == ".csv":
        lost = sorted(set(arrays) - {"weights"})
        if lost:
            raise ValueError(
                f"{path}: a .csv holds one matrix, so {', '.join(lost)} would be lost; write .npz instead."
            )
        _write_csv(path, arrays["weights"], labels)
    else:
        raise ValueError(f"{path}: no writer for the suffix {path.suffix!r}; known are .csv and .npz.")


def _write_csv(path: Path, weights: np.ndarray, labels: Sequence[str]) -> None:
    if all(_is_number(label) for label in labels):
        raise ValueError(
            f"{path}: labels such as {labels[0]!r} cannot be told from weights in a .csv; write .npz instead."
        )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)  # a quoted label may start with # or hold a comma
        writer.writerow(labels)
        file.writelines(",".join(map(str, row)) + "\n" for row in weights)  # str: the shortest text that reads back


def _read_edges(path: Path) -> dict[str, Any]:
    lines = _lines(path)
    weights = np.zeros((n := _edge_list_size(path, lines), n))
    seen: dict[tuple[int, int], int] = {}
    for number, line in lines:
        i, j, weight = _edge(f"{path}, line {number}", line, n)
        if (i, j) in seen:
            raise ValueError(f"{path}, line {number}: connection {i} {j} was given in line {seen[i, j]} already.")
        seen[i, j] = number
        weights[i, j] = weight
    return {"weights": weights}


def _edge_list_size(path: Path, lines: Iterator[tuple[int, str]]) -> int:
    number, first = next(lines, (1, ""))
    try:
        n = int(first)
    except ValueError:
        n = 0
    if not 0 < n <= MOST_REGIONS:
        raise ValueError(
            f"{path}, line {number}: {first[:40]!r} came; an edge list starts with its number of regions "
            f"(1 to {MOST_REGIONS}). A matrix has the suffix .txt, .csv or .tsv."
        )
    return n


def _edge(place: str, line: str, n: int) -> tuple[int, int, float]:
    cells = line.split()
    try:
        i, j, weight = int(cells[0]), int(cells[1]), float(cells[2])
    except (IndexError, ValueError) as error:
        raise ValueError(f"{place}: {line[:40]!r} came; wanted 'to from weight', two integers and a number.") from error
    if len(cells) > 3:
        raise ValueError(f"{place}: {len(cells)} columns came; wanted three, 'to from weight'.")
    if not (0 <= i < n and 0 <= j < n):
        hint = " Does the file count from 1?" if n in (i, j) else ""
        raise ValueError(f"{place}: connection {i} {j}, but the {n} regions count from 0 to {n - 1}.{hint}")
    if not np.isfinite(weight):
        raise ValueError(f"{place}: the weight {cells[2]} is not finite; leave a missing connection out.")
    return i, j, weight


def _read_table(path: Path) -> dict[str, Any]:
    rows = [(number, _cells(line, path.suffix.lower())) for number, line in _lines(path)]
    if not rows:
        raise ValueError(f"{path} is empty; wanted a matrix, one row a target region.")
    header = None if all(_is_number(cell) for cell in rows[0][1]) else rows.pop(0)[1]
    names = _column_of_names(path, rows)
    width = len(rows[0][1]) if rows else 0
    matrix = [_numbers(f"{path}, line {number}", cells, width) for number, cells in rows]
    labels = _labels(path, header, names, width)
    if len(matrix) != width:
        why = f" The first line was taken for labels, because {_first_word(header)!r} is no number." if header else ""
        raise ValueError(f"{path}: {len(matrix)} rows of {width} columns; wanted as many rows as columns.{why}")
    return {"weights": np.array(matrix)} | ({} if labels is None else {"labels": labels})


def _column_of_names(path: Path, rows: list[tuple[int, list[str]]]) -> list[str] | None:
    """Take the first column off where no cell of it is a number, as in tables with row names."""
    if not rows or any(_is_number(cells[0]) for _, cells in rows):
        return None
    names = [cells.pop(0) for _, cells in rows]
    if not rows[0][1]:
        raise ValueError(f"{path}, line {rows[0][0]}: {names[0][:40]!r} came; wanted a row of numbers.")
    return names


def _labels(path: Path, header: list[str] | None, names: list[str] | None, width: int) -> list[str] | None:
    if header is not None and names is not None and len(header) == width + 1:
        header = header[1:]  # the corner above the row names
    if header is not None and len(header) != width:
        raise ValueError(f"{path}, line 1: {len(header)} labels for {width} columns; wanted one a column.")
    if header is not None and names is not None and header != names:
        raise ValueError(
            f"{path}: the row names are not the column names in the same order; sort rows and columns alike."
        )
    return names if header is None else header


def _numbers(place: str, cells: list[str], width: int) -> list[float]:
    if len(cells) != width:
        raise ValueError(f"{place}: {len(cells)} columns came, where the first row has {width}.")
    for column, cell in enumerate(cells, start=1):
        if not _is_number(cell):
            raise ValueError(f"{place}, column {column}: {cell[:40]!r} is no number; a missing connection is 0.")
    return [float(cell) for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _first_word(header: list[str]) -> str:
    return next(cell for cell in header if not _is_number(cell))[:40]


def _cells(line: str, suffix: str) -> list[str]:
    delimiter = DELIMITERS[suffix]
    if delimiter is None:
        return line.split()
    if suffix == ".csv" and ";" in line and "," not in line:
        delimiter = ";"  # what spreadsheets write where the comma is a decimal sign
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither empty nor comments."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); is the suffix right?"
        ) from error
    return ((k, line) for k, line in enumerate(text.splitlines(), start=1) if line.strip() and line.lstrip()[0] != "#")


def _read_npz(path: Path) -> dict[str, Any]:
    arrays = _loaded(path)
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


def _read_npy(path: Path) -> dict[str, Any]:
    array = _loaded(path)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is an archive of arrays; give it the suffix .npz.")
    return {"weights": array}


def _text(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)


def _loaded(path: Path) -> np.ndarray | dict[str, Any]:
    """The array of a .npy, or the arrays of a .npz by key: None for those that are of no use to a connectome."""
    key = ""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            arrays = dict.fromkeys(content.files)
            for key in KNOWN_KEYS.intersection(arrays):
                arrays[key] = content[key]
            return arrays
    except Exception as error:  # on a damaged header NumPy raises nearly anything: TokenError, struct.error, zlib.error
        which = f", array {key!r}" if key else ""
        raise ValueError(
            f"{path}{which} cannot be read ({error}). Wanted: arrays of numbers or text, written by numpy.save or "
            "numpy.savez; Python objects are never unpickled: convert labels by np.array(labels, dtype=str)."
        ) from error


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".dat": _read_edges,
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_table,
    ".tsv": _read_table,
    ".txt": _read_table,
}
