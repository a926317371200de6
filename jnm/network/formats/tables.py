"""Matrices as text: a row for each target region, in .csv, .tsv and .txt files, with labels or without."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": None}  # None: any white space
Rows = list[tuple[int, list[str]]]


def read(place: str, suffix: str, content: bytes) -> dict[str, Any]:
    """The weights [to, from] and, where they are there, the labels; `ValueError` names the line that is wrong."""
    rows = rows_of(place, suffix, content)
    if not rows:
        raise ValueError(f"{place} is empty; wanted a matrix, one row a target region.")
    header = None if all(is_number(cell) for cell in rows[0][1]) else rows.pop(0)[1]
    names = _column_of_names(place, rows)
    matrix, width = numbers(place, rows), len(rows[0][1]) if rows else 0
    labels = _labels(place, header, names, width)
    if len(matrix) != width:
        why = f" The first line was taken for labels, because {_first_word(header)!r} is no number." if header else ""
        raise ValueError(f"{place}: {len(matrix)} rows of {width} columns; wanted as many rows as columns.{why}")
    return {"weights": matrix} | ({} if labels is None else {"labels": labels})


def write(path: Path, arrays: Mapping[str, np.ndarray], labels: Sequence[str], **_: str) -> None:
    """Write weights and labels to .csv; `ValueError` where other arrays would be lost."""
    lost = sorted(set(arrays) - {"weights"})
    if lost:
        raise ValueError(f"{path}: a .csv holds one matrix, so {', '.join(lost)} would be lost; write .npz instead.")
    if all(is_number(label) for label in labels):
        raise ValueError(
            f"{path}: labels such as {labels[0]!r} cannot be told from weights in a .csv; write .npz instead."
        )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)  # a quoted label may start with # or hold a comma
        writer.writerow(labels)
        file.write(text_of(arrays["weights"], ","))


def text_of(matrix: np.ndarray, delimiter: str) -> str:
    """A line a row, each number as the shortest text that reads back."""
    return "".join(delimiter.join(map(str, row)) + "\n" for row in np.atleast_2d(matrix))


def rows_of(place: str, suffix: str, content: bytes) -> Rows:
    """The cells of each line, with its number."""
    try:
        return [(number, _cells(line, suffix)) for number, line in lines_of(place, content)]
    except csv.Error as error:
        raise ValueError(f"{place} cannot be cut into columns ({error}).") from error


def lines_of(place: str, content: bytes) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither empty nor comments."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place} is no UTF-8 text ({error.reason} at byte {error.start}); is the suffix right?"
        ) from error
    return ((k, line) for k, line in enumerate(text.splitlines(), start=1) if line.strip() and line.lstrip()[0] != "#")


def numbers(place: str, rows: Rows) -> np.ndarray:
    """Rows of cells as a matrix; `ValueError` names the cell that is no number."""
    width = len(rows[0][1]) if rows else 0
    return np.array([_row(f"{place}, line {number}", cells, width) for number, cells in rows])


def is_number(cell: str) -> bool:
    """Whether a cell is to be taken for a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(place: str, cells: list[str], width: int) -> list[float]:
    if len(cells) != width:
        raise ValueError(f"{place}: {len(cells)} columns came, where the first row has {width}.")
    for column, cell in enumerate(cells, start=1):
        if not is_number(cell):
            raise ValueError(f"{place}, column {column}: {cell[:40]!r} is no number; a missing connection is 0.")
    return [float(cell) for cell in cells]


def _column_of_names(place: str, rows: Rows) -> list[str] | None:
    """Take the first column off where no cell of it is a number, as in tables with row names."""
    if not rows or any(is_number(cells[0]) for _, cells in rows):
        return None
    names = [cells.pop(0) for _, cells in rows]
    if not rows[0][1]:
        raise ValueError(f"{place}, line {rows[0][0]}: {names[0][:40]!r} came; wanted a row of numbers.")
    return names


def _labels(place: str, header: list[str] | None, names: list[str] | None, width: int) -> list[str] | None:
    if header is not None and names is not None and len(header) == width + 1:
        header = header[1:]  # the corner above the row names
    if header is not None and len(header) != width:
        raise ValueError(f"{place}, line 1: {len(header)} labels for {width} columns; wanted one a column.")
    if header is not None and names is not None and header != names:
        raise ValueError(
            f"{place}: the row names are not the column names in the same order; sort rows and columns alike."
        )
    return names if header is None else header


def _first_word(header: list[str]) -> str:
    return next(cell for cell in header if not is_number(cell))[:40]


def _cells(line: str, suffix: str) -> list[str]:
    delimiter = DELIMITERS[suffix]
    if delimiter is None:
        return line.split()
    if suffix == ".csv" and ";" in line and "," not in line:
        delimiter = ";"  # what spreadsheets write where the comma is a decimal sign
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
