"""Matrices as text: a row for each target region, in .csv, .tsv and .txt files, with labels or without.

Programs do not keep to suffixes: a matrix is cut at commas, semicolons, tabulators or white space, whichever leaves most
numbers. Between semicolons the comma is a decimal sign, as spreadsheets write it. Row names may be left of the matrix.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm.network.formats import safety

DELIMITERS: dict[str, str | None] = {".csv": ",", ".tsv": "\t", ".txt": None}  # None: any white space
DECIMAL_COMMA = r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$"
MISSING = ("", "-", "n/a", "na", "null", "none")
Rows = list[tuple[int, list[str]]]
_LONGEST_CELL = 64  # letters, on average over a line


def read(place: str, suffix: str, content: bytes) -> dict[str, Any]:
    """The weights [to, from] and, where they are there, the labels; `ValueError` names the line that is wrong."""
    rows = _rows(place, list(lines_of(place, content)), suffix)
    if not rows:
        raise ValueError(f"{place} is empty; wanted a matrix, one row a target region.")
    header = rows.pop(0)[1] if _is_header(rows[0][1]) else None
    names = _column_of_names(place, rows, headed=header is not None and not is_number(header[0]))
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
    if not _is_header(list(labels)):
        like = next(filter(is_number, labels), labels[0])
        raise ValueError(f"{path}: labels such as {like!r} cannot be told from weights in a .csv; write .npz instead.")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)  # a quoted label may start with # or hold a comma
        writer.writerow(labels)
        file.write(text_of(arrays["weights"], ","))


def text_of(matrix: np.ndarray, delimiter: str) -> str:
    """A line a row, each number as the shortest text that reads back."""
    return "".join(delimiter.join(map(str, row)) + "\n" for row in np.atleast_2d(matrix))


def rows_of(place: str, delimiter: str | None, content: bytes) -> Rows:
    """The cells of each line, with its number; None cuts at any white space."""
    return _cut(place, lines_of(place, content), delimiter)


def lines_of(place: str, content: bytes) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither empty nor comments."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place} is no UTF-8 text ({error.reason} at byte {error.start}); is the suffix right, and was it "
            "saved as UTF-8?"
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
    return "_" not in cell  # Python reads 1_2 as 12; in a table it is a name


def _is_header(cells: list[str]) -> bool:
    """Whether a first line holds labels: a row of numbers may have a name in front, and values that are missing."""
    return cells[0] == "" or not all(is_number(cell) or cell.lower() in MISSING for cell in cells[1:] or cells)


def _row(place: str, cells: list[str], width: int) -> list[float]:
    if len(cells) != width:
        raise ValueError(f"{place}: {len(cells)} columns came, where the first row has {width}.")
    for column, cell in enumerate(cells, start=1):
        if not is_number(cell):
            hint = "decimals take a point" if "," in cell else "a missing connection is 0"
            raise ValueError(f"{place}, column {column}: {cell[:40]!r} is no number; {hint}.")
    return [float(cell) for cell in cells]


def _column_of_names(place: str, rows: Rows, headed: bool) -> list[str] | None:
    """Take the first column off where it holds row names: no numbers, or those with which pandas and R count rows."""
    if not rows:
        return None
    first = [cells[0] for _, cells in rows]
    counted = headed and len(rows[0][1]) == len(rows) + 1 and first in _counts(len(rows))
    if not counted and any(map(is_number, first)):
        return None
    for _, cells in rows:
        del cells[0]
    if not rows[0][1]:
        raise ValueError(f"{place}, line {rows[0][0]}: {first[0][:40]!r} came; wanted a row of numbers.")
    return first


def _counts(n: int) -> list[list[str]]:
    return [[str(k + start) for k in range(n)] for start in (0, 1)]


def _labels(place: str, header: list[str] | None, names: list[str] | None, width: int) -> list[str] | None:
    if header is not None and names is not None and len(header) == width + 1:
        header = header[1:]  # the corner above the row names
    if header is not None and len(header) != width:
        raise ValueError(f"{place}, line 1: {len(header)} labels for {width} columns; wanted one a column.")
    named = [found for found in (header, names) if found is not None and not all(map(is_number, found))]
    if len(named) == 2 and header != names:
        raise ValueError(
            f"{place}: the row names are not the column names in the same order; sort rows and columns alike."
        )
    return named[0] if named else None


def _first_word(header: list[str]) -> str:
    return next(cell for cell in header if not is_number(cell))[:40]


def _rows(place: str, lines: list[tuple[int, str]], suffix: str) -> Rows:
    """The cells of each line, cut where the last one, which holds no column names, falls into most numbers."""

    def share(delimiter: str | None) -> float:
        cells = _cut(place, lines[-1:], delimiter)[0][1]
        return sum(map(is_number, cells)) / len(cells)

    marks = (DELIMITERS[suffix], ";", "\t", ",", None)
    return _cut(place, lines, max(marks, key=share)) if lines else []


def _cut(place: str, lines: Iterable[tuple[int, str]], delimiter: str | None) -> Rows:
    """The cells of each line, which take more memory than their text: `ValueError` where they are too many."""
    rows, most = [], safety.MOST_REGIONS
    for number, line in lines:
        try:
            cells = _cells(line, delimiter) if len(line) <= _LONGEST_CELL * most else None
        except csv.Error as error:
            raise ValueError(f"{place} cannot be cut into columns ({error}).") from error
        if cells is None or len(cells) > most + 1 or len(rows) > most:
            raise ValueError(f"{place}, line {number}: more rows or columns than for {most:,} regions.")
        rows.append((number, cells))
    return rows


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    if delimiter != ";":
        return cells
    return [re.sub(DECIMAL_COMMA, r"\1.\2", cell) for cell in cells]
