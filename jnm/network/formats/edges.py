"""Edge lists: the number of regions, then a line `to from weight` for each connection; regions count from 0."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jnm.network.formats import safety
from jnm.network.formats.tables import lines_of


def read(place: str, content: bytes) -> dict[str, Any]:
    """The weights [to, from]; `ValueError` names the line that is wrong."""
    lines = lines_of(place, content)
    weights = np.zeros((n := _size(place, lines), n))
    seen: dict[tuple[int, int], int] = {}
    for number, line in lines:
        i, j, weight = _edge(f"{place}, line {number}", line, n)
        if (i, j) in seen:
            raise ValueError(f"{place}, line {number}: connection {i} {j} was given in line {seen[i, j]} already.")
        seen[i, j] = number
        weights[i, j] = weight
    return {"weights": weights}


def _size(place: str, lines: Iterator[tuple[int, str]]) -> int:
    number, first = next(lines, (1, ""))
    try:
        n = int(first)
    except ValueError:
        n = 0
    if not 0 < n <= safety.MOST_REGIONS:
        raise ValueError(
            f"{place}, line {number}: {first[:40]!r} came; an edge list starts with its number of regions "
            f"(1 to {safety.MOST_REGIONS}). A matrix has the suffix .txt, .csv or .tsv."
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
