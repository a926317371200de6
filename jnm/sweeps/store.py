"""A store: the results of a sweep on disk, a block of members at a time, so that nothing computed is ever lost.

A store is a zarr group that xarray opens, and beside its arrays a folder `.sweep` with a record of what the sweep is
and, for each block, a marker. A block is written, then its marker, beside its place first and then renamed: a block is
there if its marker is, whole, or it is not there. The marker holds checksums, so that damage is seen.
"""

import itertools
import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm.sweeps import arrays as zarr_arrays, identity, processes
from jnm.sweeps.grid import Grid
from jnm.sweeps.output import Layout
from jnm.sweeps.result import labelled

_FORMAT = {"format": "jnm sweep", "format_version": 1}

Block = tuple[int, ...]


def stored_microbatch(path: str | Path) -> int | None:
    """The microbatch that a store was begun with; None if there is no store."""
    path = Path(path)
    return read_record(path)["identity"]["microbatch"] if _exists(path) else None


class Store:
    """The results of a sweep on disk; opened or made by `Store.open`."""

    def __init__(self, path: Path, grid: Grid, layout: Layout, block: Block):
        self.path, self.grid, self.layout, self.block = path, grid, layout, block

    @classmethod
    def open(
        cls,
        path: str | Path,
        grid: Grid,
        layout: Layout,
        whose: dict[str, Any],
        axes: list[dict[str, Any]],
        size: Callable[[], int],
    ) -> "Store":
        """The store at `path`, extended if the axes have grown; made with blocks of `size()` members if there is none.

        Raises `ValueError` for a store of another sweep, saying in what it differs, and for something else that is in
        the way; `OSError` where nothing can be written.
        """
        path = Path(path)
        record = {**_FORMAT, "identity": whose, "axes": axes}
        if not _exists(path):
            store = cls(path, grid, layout, block_shape(grid.shape, size()))
            store._create({**record, "block": list(store.block)})
            return store
        known = read_record(path)
        _check_same(path, known, record)
        store = cls(path, grid, layout, tuple(known["block"]))
        if [a["values"] for a in known["axes"]] != [a["values"] for a in axes]:
            store._writing(zarr_arrays.extend, path, grid, layout)
            store._writing(_write_whole, _record(path), json.dumps({**record, "block": known["block"]}))
        return store

    def pieces(self, size: Callable[[], int]) -> list[np.ndarray]:
        """What is missing: numbers of members, a block each. Raises `ValueError` for a damaged block."""
        missing = [block for block in self._blocks() if not self._done(block)]
        if missing:
            self._writing(_try_to_write, self.path / ".sweep")
        return [self._members(block) for block in missing]

    def put(self, members: np.ndarray, values: Mapping[str, np.ndarray], status: np.ndarray) -> None:
        """Write a block that is computed; if that fails, raises `OSError`, and what was written before is kept."""
        block = self._block_of(int(members[0]))
        self._writing(self._write, block, {**values, "status": status})

    def dataset(self, attributes: Mapping[str, Any], own: Sequence[np.ndarray]) -> Any:
        """All members, labelled; arrays are read from disk when they are used."""
        processes.meet("written")
        return open_store(self.path)

    def _create(self, record: dict[str, Any]) -> None:
        """In a folder beside the path, which is renamed when it is complete."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(f"sweep: {self.path} is there already and is no store of jnm.sweep; give another path.")
        part = self.path.with_name(self.path.name + ".part")

        def make() -> None:
            shutil.rmtree(part, ignore_errors=True)
            zarr_arrays.create(part, self.grid, self.layout, self.block)
            _markers(part).mkdir(parents=True)
            _record(part).write_text(json.dumps(record), encoding="utf-8")
            os.replace(part, self.path)

        self._writing(make)

    def _write(self, block: Block, values: Mapping[str, np.ndarray]) -> None:
        marker = self._marker(block)
        marker.unlink(missing_ok=True)  # of the same block when it was smaller
        extent = self._extent(block)
        begin = [i * n for i, n in zip(block, self.block, strict=True)]
        shaped = {name: v.reshape(*extent, *v.shape[1:]) for name, v in values.items()}
        zarr_arrays.write(self.path, begin, shaped)
        files = {name: checksum(self.path / name) for name in self._files(block)}
        _write_whole(marker, json.dumps({"extent": list(extent), "files": files}))

    def _done(self, block: Block) -> bool:
        marker = self._marker(block)
        if not marker.exists():
            return False
        cure = f"delete {marker} to have its {math.prod(self._extent(block))} members computed anew; all other blocks are good"
        try:
            content = json.loads(marker.read_text(encoding="utf-8"))
            extent, files = content["extent"], content["files"]
        except (ValueError, KeyError) as error:
            raise ValueError(f"sweep: the marker {marker} is damaged ({error}); {cure}.") from error
        for name, wanted in files.items():
            found = checksum(self.path / name)
            if found != wanted:
                told = "is missing" if found is None else "is damaged: its checksum is another"
                raise ValueError(f"sweep: {self.path / name} {told}; {cure}.")
        return tuple(extent) == self._extent(block)

    def _blocks(self) -> Iterator[Block]:
        counts = (-(-length // side) for length, side in zip(self.grid.shape, self.block, strict=True))
        return itertools.product(*map(range, counts))

    def _extent(self, block: Block) -> tuple[int, ...]:
        """Lengths of a block; those at the end of an axis are shorter."""
        sides = zip(block, self.block, self.grid.shape, strict=True)
        return tuple(min(side, length - i * side) for i, side, length in sides)

    def _members(self, block: Block) -> np.ndarray:
        ranges = [i * side + np.arange(n) for i, side, n in zip(block, self.block, self._extent(block), strict=True)]
        return np.ravel_multi_index(np.meshgrid(*ranges, indexing="ij"), self.grid.shape).ravel()

    def _block_of(self, member: int) -> Block:
        at = np.unravel_index(member, self.grid.shape)
        return tuple(int(i) // side for i, side in zip(at, self.block, strict=True))

    def _files(self, block: Block) -> list[str]:
        ranks = {v.name: len(v.dims) for v in self.layout.variables} | {"status": 0}
        return ["/".join([name, "c", *map(str, block), *["0"] * rank]) for name, rank in ranks.items()]

    def _marker(self, block: Block) -> Path:
        return _markers(self.path) / (".".join(map(str, block)) + ".json")

    def _writing(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except OSError as error:
            done = len(list(_markers(self.path).glob("*.json"))) if _exists(self.path) else 0
            raise OSError(
                error.errno,
                f"sweep: the store {self.path} could not be written ({error.strerror or error}). Its {done} finished "
                "blocks are kept: mend that, and run the same sweep again to go on",
            ) from error


def open_store(path: str | Path) -> Any:
    """The result in a store, as far as it was computed, as an `xarray.Dataset`; members not computed yet have ok False.

        >>> result = jnm.sweeps.open_store("sweep.zarr")

    Raises `ValueError` if there is no store of `jnm.sweep` at the path, or a damaged one.
    """
    record = read_record(path)
    names = [name for name, *_ in record["identity"]["variables"]]
    attributes = {name: value for name, value in record["identity"].items() if not isinstance(value, list | None)}
    key = record["identity"]["key"]
    attributes["key"] = "none" if key is None else str(key)
    try:
        return labelled(zarr_arrays.read(Path(path)), names, attributes)
    except (RuntimeError, OSError) as error:  # of what decodes a chunk
        raise ValueError(
            f"sweep: the store {path} is damaged ({error}). Run the same sweep again: it names the block, and how to mend it."
        ) from error


def block_shape(shape: tuple[int, ...], members: int) -> Block:
    """The largest block of at most `members` that is contiguous in the numbering of members: whole last dimensions."""
    sides, room = [], max(1, members)
    for length in reversed(shape):
        side = min(length, room)
        sides.append(side)
        room = room // length if side == length else 1
    return tuple(sides[::-1])


def checksum(path: Path) -> list[int] | None:
    """Length and CRC-32 of a file; None if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return [len(content), zlib.crc32(content)]


def _exists(path: Path) -> bool:
    return _record(path).is_file()


def _record(path: Path) -> Path:
    return path / ".sweep" / "record.json"


def _markers(path: Path) -> Path:
    return path / ".sweep" / "blocks"


def read_record(path: str | Path) -> dict[str, Any]:
    """What a store says it is. Raises `ValueError` if there is none, or its record is damaged."""
    path = Path(path)
    if not _exists(path):
        raise ValueError(f"sweep: {path} is no store of jnm.sweep.")
    try:
        record = json.loads(_record(path).read_text(encoding="utf-8"))
        version = record["format_version"]
        if (record["format"], version) != tuple(_FORMAT.values()):
            raise ValueError(f"it has format {record['format']} {version}, this jnm reads {_FORMAT['format_version']}")
    except (ValueError, KeyError) as error:
        raise ValueError(f"sweep: the record of the store {path} cannot be read ({error}).") from error
    return record


def _check_same(path: Path, known: dict[str, Any], here: dict[str, Any]) -> None:
    differs = identity.differences(known["identity"], here["identity"])
    axes = identity.growth(known["axes"], here["axes"])
    if differs or axes:
        told = "; ".join(filter(None, [f"it differs in {', '.join(differs)}" if differs else "", axes]))
        raise ValueError(
            f"sweep: {path} is the store of another sweep: {told}. Repeat that sweep to go on with it, or give another path."
        )


def _try_to_write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):  # of a name that no other process uses
        pass


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
