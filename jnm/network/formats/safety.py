"""What may be read at all: files of strangers, bounded in size and never unpacked to disk."""

import bz2
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

MOST_BYTES = 2**30  # of one matrix, unpacked: doubles for 11,585 regions; more does not fit beside its copies
MOST_REGIONS = 10_000  # a dense matrix of more does not fit into memory: a number above is a slip in the file
_PIECE = 2**20


def contained(path: Path) -> bytes:
    """The bytes of a file, unpacked where its name ends in .bz2; `ValueError` where they are too many or damaged."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes came; wanted {MOST_BYTES:,} at most. {_SMALLER}")
    content = path.read_bytes()
    return unpacked(str(path), content) if path.suffix.lower() == ".bz2" else content


def unpacked(place: str, packed: bytes) -> bytes:
    """What bz2 packed, read piece by piece, so that a small file cannot fill the memory."""
    machine, pieces, size = bz2.BZ2Decompressor(), [], 0
    while not machine.eof:
        try:
            pieces.append(machine.decompress(packed, _PIECE))
        except OSError as error:
            raise ValueError(f"{place} cannot be unpacked ({error}): is it bz2, and whole?") from error
        size, packed = size + len(pieces[-1]), b""
        if size > MOST_BYTES:
            raise ValueError(f"{place} unpacks to more than {MOST_BYTES:,} bytes. {_SMALLER}")
        if not pieces[-1] and machine.needs_input:
            raise ValueError(f"{place} cannot be unpacked: it breaks off in the middle.")
    return b"".join(pieces)


def members(place: str, archive: zipfile.ZipFile) -> list[str]:
    """The files of an archive; `ValueError` where a name leaves it or where they are too large together."""
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    refuse_ways_out(place, (entry.filename for entry in entries))
    if (size := sum(entry.file_size for entry in entries)) > MOST_BYTES:
        raise ValueError(f"{place} unpacks to {size:,} bytes; wanted {MOST_BYTES:,} at most. {_SMALLER}")
    return [entry.filename for entry in entries]


def refuse_ways_out(place: str, names: Iterable[str]) -> None:
    """Names that lead out of their folder belong to no connectome."""
    for name in names:
        parts = PurePosixPath(name).parts
        if not name or name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
            raise ValueError(
                f"{place} names a file {name[:60]!r} outside of itself: it is damaged or hostile; not read."
            )


def member(place: str, archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of an archive, of no more bytes than it announced."""
    try:
        with archive.open(name) as file:
            content = file.read(MOST_BYTES + 1)
    except Exception as error:  # damaged archives raise BadZipFile, zlib.error, EOFError, NotImplementedError, ...
        raise ValueError(f"{place}, {name} cannot be read ({error}).") from error
    if len(content) > MOST_BYTES:
        raise ValueError(f"{place}, {name} unpacks to more than {MOST_BYTES:,} bytes. {_SMALLER}")
    return unpacked(f"{place}, {name}", content) if name.lower().endswith(".bz2") else content


_SMALLER = "Is it a connectome between regions? Those between voxels are too large for a matrix."
