"""BIDS relationship matrices (extension proposal 17), as far as connectomes go.

| file | content |
|---|---|
| `X_meas-Y_relmat.dense.tsv` | the weights, a row for each target region; labels above and to the left in some files |
| `X_meas-Y_relmat.json` | what they are; jnm writes frame, source and citation there |
| `X_nodeindices.tsv` | `matrix_index`, `label`, and in files of jnm the centre `x y z` and orientation `nx ny nz` |
| `X_meas-tractLength_relmat.dense.tsv` | mm, the same shape |

Files that belong together lie in one folder and begin alike; of the node indices it is enough that they are the only
ones there. `label` may be missing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm.network.formats import safety, tables

ENDINGS = ("_relmat.dense.tsv", "_relmat.tsv")
LENGTH = re.compile(r"meas-\w*(length|distance)", re.IGNORECASE)
MEASURE = re.compile(r"_?meas-[A-Za-z0-9]+")
COORDINATES = {"centres": ("x", "y", "z"), "orientations": ("nx", "ny", "nz")}
KNOWN = {"frame": "CoordinateFrame", "source": "Description", "citation": "ReferencesAndLinks"}


def is_matrix(name: str) -> bool:
    """Whether a file's name is that of a relationship matrix."""
    return name.endswith(ENDINGS)


def matrices(folder: Path) -> list[Path]:
    """Those of a folder that are not tract lengths."""
    return [path for path in sorted(folder.iterdir()) if is_matrix(path.name) and not LENGTH.search(path.name)]


def read_folder(folder: Path) -> dict[str, Any]:
    """The only matrix of a folder; `ValueError` names them where there are several."""
    found = matrices(folder)
    if len(found) != 1:
        raise ValueError(f"{folder} holds {', '.join(path.name for path in found)}; name one of them.")
    return read(found[0])


def read(path: Path) -> dict[str, Any]:
    """The arguments of `Connectome` in a matrix and the files beside it."""
    parts = _matrix(path)
    if not LENGTH.search(path.name) and (lengths := _lengths_beside(path)) is not None:
        beside = _matrix(lengths)
        if beside.get("labels", parts.get("labels")) != parts.get("labels"):
            raise ValueError(f"{lengths} names other regions than {path.name} does, or in another order.")
        parts["lengths"] = beside["weights"]
    if (nodes := _nodes_beside(path)) is not None:
        parts |= _nodes(nodes, len(parts["weights"]))
    sidecar = path.with_name(_stem(path) + "_relmat.json")
    return parts | (_sidecar(sidecar) if sidecar.is_file() else {})


def write(path: Path, arrays: Mapping[str, np.ndarray], labels: Sequence[str], **known: str) -> None:
    """Write matrix, sidecar and node indices, and the lengths into files of their own.

    `path` ends in `_relmat.dense.tsv`. Raises `ValueError` for labels with tabulators or line breaks.
    """
    if not path.name.endswith(ENDINGS[0]):
        raise ValueError(f"{path}: wanted a name that ends in {ENDINGS[0]}.")
    if wrong := [label for label in labels if label.strip() != label or re.search(r"[\t\n\r\"#]", label)]:
        raise ValueError(f"{path}: a table cannot hold the label {wrong[0]!r}; write .npz instead.")
    common = MEASURE.sub("", _stem(path)) or "connectome"
    nodes = path.with_name(f"{common}_nodeindices.tsv")
    _write_matrix(path, arrays["weights"], nodes.name, "connection weight", "arbitrary", known)
    if "lengths" in arrays:
        beside = path.with_name(f"{common}_meas-tractLength{ENDINGS[0]}")
        _write_matrix(beside, arrays["lengths"], nodes.name, "tractLength", "mm", known)
    _write_nodes(nodes, arrays, labels)


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(ending) for ending in ENDINGS if path.name.endswith(ending))


def _matrix(path: Path) -> dict[str, Any]:
    return tables.read(str(path), ".tsv", safety.contained(path))


def _lengths_beside(path: Path) -> Path | None:
    """The tract lengths that go with a matrix: all of their name but the measure is the same."""
    common = MEASURE.sub("", _stem(path))
    found = [
        other
        for other in sorted(path.parent.iterdir())
        if is_matrix(other.name) and LENGTH.search(other.name) and MEASURE.sub("", _stem(other)) == common
    ]
    if len(found) > 1:
        raise ValueError(f"{path}: lengths may be {' or '.join(other.name for other in found)}; name one by lengths=.")
    return found[0] if found else None


def _nodes_beside(path: Path) -> Path | None:
    ending, stem = "_nodeindices.tsv", _stem(path)
    for name in (stem + ending, MEASURE.sub("", stem) + ending):
        if path.with_name(name).is_file():
            return path.with_name(name)
    found = [other for other in sorted(path.parent.iterdir()) if other.name.endswith("nodeindices.tsv")]
    return found[0] if len(found) == 1 else None


def _nodes(path: Path, n_regions: int) -> dict[str, Any]:
    """Labels and places, in the order of the matrix."""
    rows = tables.rows_of(str(path), "\t", safety.contained(path))
    if len(rows) != n_regions + 1:
        raise ValueError(f"{path}: {max(len(rows) - 1, 0)} regions came for a matrix of {n_regions}.")
    header, lines = rows[0][1], [cells for _, cells in rows[1:]]
    for number, cells in rows[1:]:
        if len(cells) != len(header):
            raise ValueError(f"{path}, line {number}: {len(cells)} columns came; wanted {len(header)}.")
    columns = {name: [cells[k] for cells in lines] for k, name in enumerate(header)}
    order = _order(path, columns.get("matrix_index"), n_regions)
    parts: dict[str, Any] = {"labels": [columns["label"][k] for k in order]} if "label" in columns else {}
    for name, axes in COORDINATES.items():
        if all(axis in columns for axis in axes):
            cells = [(k + 2, [columns[axis][k] for axis in axes]) for k in order]
            parts[name] = tables.numbers(str(path), cells)
    return parts


def _order(path: Path, index: list[str] | None, n_regions: int) -> list[int]:
    """Which line belongs to each row of the matrix: indices count from 0, or in some files from 1."""
    if index is None:
        return list(range(n_regions))
    try:
        numbers = [int(cell) for cell in index]
    except ValueError as error:
        raise ValueError(f"{path}: matrix_index must be whole numbers ({error}).") from error
    start = min(numbers)
    if start not in (0, 1) or sorted(numbers) != list(range(start, start + n_regions)):
        raise ValueError(f"{path}: matrix_index must count the {n_regions} rows from 0 or from 1, each of them once.")
    return [int(k) for k in np.argsort(numbers)]


def _sidecar(path: Path) -> dict[str, str]:
    try:
        told = json.loads(safety.contained(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}).") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path}: a {type(told).__name__} came; wanted a JSON object of names and values.")
    values = {name: told.get(key) for name, key in KNOWN.items()}
    joined = {name: "\n".join(map(str, v)) if isinstance(v, list) else v for name, v in values.items()}
    return {name: str(value) for name, value in joined.items() if value}


def _write_matrix(
    path: Path, matrix: np.ndarray, nodes: str, measure: str, unit: str, known: Mapping[str, str]
) -> None:
    path.write_text(tables.text_of(matrix, "\t"), encoding="utf-8")
    axes = [{"Name": name, "Size": len(matrix), "NodeFile": nodes} for name in ("row: target", "column: source")]
    told: dict[str, Any] = {
        "RelationshipMeasure": measure,
        "MeasureUnits": unit,
        "Weighted": True,
        "Directed": not bool(np.array_equal(matrix, matrix.T)),
        "ValidDiagonal": bool(np.any(np.diagonal(matrix))),
        "NonNegative": bool(np.all(matrix >= 0)),
        "Axes": axes,
    }
    told |= {KNOWN[n]: value.splitlines() if n == "citation" else value for n, value in known.items() if value}
    path.with_name(_stem(path) + "_relmat.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _write_nodes(path: Path, arrays: Mapping[str, np.ndarray], labels: Sequence[str]) -> None:
    placed = {name: axes for name, axes in COORDINATES.items() if name in arrays}
    header = ["matrix_index", "node_file", "node_index", "label", *(axis for axes in placed.values() for axis in axes)]
    lines = ["\t".join(header)]
    for k, label in enumerate(labels):
        coordinates = (str(x) for name in placed for x in arrays[name][k])
        lines.append("\t".join([str(k), "n/a", str(k), label, *coordinates]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
