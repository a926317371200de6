"""The Virtual Brain: a zip or a folder of text files, each of them possibly packed with bz2.

| file | content |
|---|---|
| weights.txt | the weights, a row for each target region |
| tract_lengths.txt | mm, the same shape |
| centres.txt | a line `label x y z` for each region, mm |
| average_orientations.txt | a line `x y z` for each region, of any length; without a direction for all they are left out |
| info.txt | lines `name = "value"`; jnm writes frame, source and citation there |

Other files (areas, cortical, hemispheres) are not read. TVB names no coordinate frame, and its data sets differ in it.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jnm.network.formats import safety, tables

FILES = {"weights": "weights", "lengths": "tract_lengths", "centres": "centres", "orientations": "average_orientations"}
FRAME, KNOWN = "unknown", ("frame", "source", "citation")


def read_zip(path: Path) -> dict[str, Any]:
    """The arguments of `Connectome` in a zip; the files may lie in a folder of it."""
    place = str(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damaged archives raise BadZipFile, but also EOFError, OverflowError, struct.error
        raise ValueError(f"{path} cannot be read as a zip ({error}).") from error
    with archive:
        names = safety.members(place, archive)
        return _parts(place, names, lambda name: safety.member(place, archive, name))


def read_folder(path: Path) -> dict[str, Any]:
    """The arguments of `Connectome` in an unpacked folder, or in a folder of it."""
    entries = sorted([*path.iterdir(), *path.glob("*/*")])
    names = [entry.relative_to(path).as_posix() for entry in entries if entry.is_file()]
    return _parts(str(path), names, lambda name: safety.contained(path / name))


def write(path: Path, arrays: Mapping[str, np.ndarray], labels: Sequence[str], **known: str) -> None:
    """Write a zip that TVB reads; the same connectome gives the same bytes.

    Raises `ValueError` without lengths or centres, which TVB needs, and for labels with spaces, which it cuts off.
    """
    missing = [name for name in ("lengths", "centres") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: TVB needs {' and '.join(missing)}; give them, or write .npz or BIDS instead.")
    if wrong := [label for label in labels if len(label.split()) != 1 or label.startswith("#")]:
        raise ValueError(f"{path}: TVB takes labels without spaces and #, but {wrong[0]!r} came; write .npz instead.")
    texts = {f"{FILES[name]}.txt": tables.text_of(arrays[name], " ") for name in arrays if name != "centres"}
    lines = (f"{label} {line}" for label, line in zip(labels, _lines(arrays["centres"]), strict=True))
    texts["centres.txt"] = "".join(lines)
    told = {"weights_unit": "au", "length_unit": "mm"} | {name: value for name, value in known.items() if value}
    texts["info.txt"] = "".join(f'{name} = "{_one_line(value)}"\n' for name, value in told.items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(texts.items()):
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)


def _lines(matrix: np.ndarray) -> list[str]:
    return tables.text_of(matrix, " ").splitlines(keepends=True)


def _one_line(text: str) -> str:
    return " ".join("; ".join(text.replace('"', "'").splitlines()).split())


def _parts(place: str, names: Sequence[str], content: Callable[[str], bytes]) -> dict[str, Any]:
    where = _where(place, names)
    if "weights" not in where:
        listed = ", ".join(sorted(names)[:10]) or "nothing"
        raise ValueError(f"{place} holds no weights.txt, as TVB's connectivity does; it has {listed}.")
    parts: dict[str, Any] = {}
    for name in ("weights", "lengths", "orientations"):
        if name in where:
            rows = tables.rows_of(f"{place}, {where[name]}", None, content(where[name]))
            parts[name] = tables.numbers(f"{place}, {where[name]}", rows)
    if "orientations" in parts:
        parts |= {"orientations": _unit(parts.pop("orientations"))}
    if "centres" in where:
        parts |= _centres(f"{place}, {where['centres']}", content(where["centres"]))
    told = _info(f"{place}, {where['info']}", content(where["info"])) if "info" in where else {}
    return {name: value for name, value in parts.items() if value is not None} | {"frame": FRAME} | told


def _where(place: str, names: Sequence[str]) -> dict[str, str]:
    """By argument, the file that holds it: the one that lies least deep; those that a Macintosh adds are none."""
    found: dict[str, str] = {}
    stems = {stem: name for name, stem in FILES.items()} | {"centers": "centres", "info": "info"}
    for name in sorted(names, key=lambda name: (len(PurePosixPath(name).parts), name)):
        path = PurePosixPath(name)
        stem = path.name.lower().removesuffix(".bz2").removesuffix(".txt")
        if "__MACOSX" in path.parts or path.name.startswith(".") or stem == path.name.lower() or stem not in stems:
            continue
        if stems[stem] in found and len(PurePosixPath(found[stems[stem]]).parts) == len(path.parts):
            raise ValueError(f"{place} holds both {found[stems[stem]]} and {name}; wanted one connectome.")
        found.setdefault(stems[stem], name)
    return found


def _centres(place: str, content: bytes) -> dict[str, Any]:
    rows = tables.rows_of(place, None, content)
    for number, cells in rows:
        if len(cells) < 4:
            raise ValueError(f"{place}, line {number}: {' '.join(cells)[:40]!r} came; wanted 'label x y z'.")
    points = tables.numbers(place, [(number, cells[1:4]) for number, cells in rows])  # some have a fifth column
    return {"labels": [cells[0] for _, cells in rows], "centres": points}


def _unit(vectors: np.ndarray) -> np.ndarray | None:
    """Directions of length one; None where some regions have none: those below the cortex get zeros in TVB."""
    if vectors.ndim != 2 or not np.all(np.isfinite(vectors)):
        return vectors  # Connectome says what is wrong
    with np.errstate(over="ignore"):
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / length if np.all(length > 0) else None


def _info(place: str, content: bytes) -> dict[str, str]:
    lines = [line.partition("=") for _, line in tables.lines_of(place, content)]
    told = {name.strip(): value.strip().strip('"') for name, _, value in lines}
    return {name: told[name] for name in KNOWN if told.get(name)}
