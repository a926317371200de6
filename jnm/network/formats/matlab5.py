"""MATLAB files of versions 5 to 7: matrices of numbers and cell arrays of texts, and nothing else of what they may hold.

A header of 128 bytes, then data elements: a tag (type, number of bytes) and the data, padded to eight bytes; up to four
bytes of data may lie in the tag itself. A variable is an element made of elements: flags, dimensions, name, values; it
may be packed by zlib. SciPy reads more kinds, but on damaged files it ends the whole Python process, which nobody can
catch; here a wrong byte is a `ValueError`.

MathWorks, "MAT-File Format" (2019), chapter 1.
"""

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jnm.network.formats import safety

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
LETTERS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, PACKED = 14, 15
CELL, CHAR, NUMERIC = 1, 4, range(6, 16)
COMPLEX = 0x08


class Element(NamedTuple):
    """One data element: its type and its bytes."""

    kind: int
    data: bytes


class Variable(NamedTuple):
    """A variable as the file has it: `values` are the elements behind its name."""

    name: str
    kind: int
    shape: tuple[int, ...]
    is_complex: bool
    values: list[Element]


def variables(content: bytes) -> tuple[str, list[Variable]]:
    """The byte order (">" or "<") of a file and its variables; `ValueError` for what is no such file."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128], "")
    if len(content) < 128 or not order:
        raise ValueError("it does not begin as one of version 5 or later does; in MATLAB save with '-v7'")
    found, size = [], 0
    for element in _elements(order, content[128:]):
        if (variable := _variable(order, element)) is None:
            continue
        size += sum(len(part.data) for part in variable.values)
        if size > safety.MOST_BYTES:
            raise ValueError(f"its variables unpack to more than {safety.MOST_BYTES:,} bytes together")
        found.append(variable)
    return order, found


def value(order: str, variable: Variable) -> Any:
    """A matrix, or the texts of a cell array in order; `ValueError` for other kinds."""
    if variable.kind == CELL:
        cells = [_variable(order, element) for element in variable.values]
        return [_text(order, cell) for cell in cells if cell is not None]
    if variable.kind == CHAR:  # a matrix of letters, a row a text, kept column by column
        rows = variable.shape[0]
        return [_text(order, variable)[k::rows].strip() for k in range(rows)]
    if variable.kind not in NUMERIC or variable.is_complex or not variable.values:
        raise ValueError(
            f"{variable.name} is no full matrix of real numbers; in MATLAB save full(double({variable.name}))"
        )
    kind, data = variable.values[0]
    if kind not in NUMBERS:
        raise ValueError(f"{variable.name} has values of the unknown type {kind}")
    step = np.dtype(order + NUMBERS[kind])
    if len(data) != step.itemsize * int(np.prod(variable.shape, dtype=object)):
        raise ValueError(f"{variable.name} has {len(data)} bytes for an array of shape {variable.shape}")
    return np.frombuffer(data, step).reshape(variable.shape, order="F")


def _elements(order: str, content: bytes) -> Iterator[Element]:
    begin = 0
    while begin + 8 <= len(content):
        kind, size = (int(x) for x in np.frombuffer(content, order + "u4", 2, begin))
        if kind >> 16:  # small: the number of bytes above, the type below, the data in the second half of the tag
            kind, size, begin = kind & 0xFFFF, kind >> 16, begin + 4
            stop = begin + 4
            if size > 4:
                raise ValueError(f"an element of {size} bytes claims to be a small one")
        else:
            begin += 8
            stop = begin + (size if kind == PACKED else -(-size // 8) * 8)
        if begin + size > len(content):
            raise ValueError(f"an element of {size} bytes reaches behind the end")
        yield Element(kind, content[begin : begin + size])
        begin = stop


def _variable(order: str, element: Element) -> Variable | None:
    """The variable in an element, or None where it is another thing."""
    if element.kind == PACKED:
        element = next(_elements(order, _unpacked(element.data)), Element(0, b""))
    if element.kind != MATRIX:
        return None
    parts = list(_elements(order, element.data))
    if len(parts) < 3 or len(parts[0].data) != 8 or len(parts[1].data) % 4:
        raise ValueError("a variable has no flags, dimensions and name")
    flags = int(np.frombuffer(parts[0].data, order + "u4", 1)[0])
    shape = tuple(int(n) for n in np.frombuffer(parts[1].data, order + "i4"))
    name = parts[2].data.decode("latin-1")
    if min(shape, default=-1) < 0:
        raise ValueError(f"{name} has shape {shape}")
    return Variable(name, flags & 0xFF, shape, bool(flags >> 8 & COMPLEX), parts[3:])


def _unpacked(data: bytes) -> bytes:
    machine = zlib.decompressobj()
    try:
        content = machine.decompress(data, safety.MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"a variable cannot be unpacked: {error}") from error
    if machine.unconsumed_tail:
        raise ValueError(f"a variable unpacks to more than {safety.MOST_BYTES:,} bytes")
    return content


def _text(order: str, variable: Variable) -> str:
    if variable.kind != CHAR or not variable.values or variable.values[0].kind not in LETTERS:
        raise ValueError("a cell holds no text; labels are a cell array of texts, one a region")
    kind, data = variable.values[0]
    code = LETTERS[kind]
    wide = (
        {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
        if order == "<"
        else {"utf-16": "utf-16-be", "utf-32": "utf-32-be"}
    )
    return data.decode(wide.get(code, code))
