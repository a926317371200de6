"""The zarr arrays of a store: one for each variable, over the grid's dimensions and the variable's own."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm._optional import require
from jnm.sweeps.grid import Grid
from jnm.sweeps.output import NOT_COMPUTED, Layout


def create(path: Path, grid: Grid, layout: Layout, block: tuple[int, ...]) -> None:
    """A new group with empty arrays, a chunk a block, and the coordinates."""
    group = require("zarr", extra="io").create_group(path, zarr_format=3)
    dims = tuple(grid.dims)
    for v in layout.variables:
        fill = np.nan if np.issubdtype(v.dtype, np.inexact) else 0
        own = (*dims, *v.dims)
        _empty(group, v.name, (*grid.shape, *v.shape), (*block, *v.shape), v.dtype, own, fill, v.attributes)
    _empty(group, "status", grid.shape, block, np.dtype(np.int32), dims, NOT_COMPUTED, {})
    for name, (dim, values, attributes) in {**layout.coordinates, **grid.coordinates()}.items():
        _coordinate(group, name, dim, values, attributes)
    _consolidate(path)


def extend(path: Path, grid: Grid, layout: Layout) -> None:
    """Longer axes: arrays grow at their ends, and what is in them stays."""
    group = require("zarr", extra="io").open_group(path, mode="r+", use_consolidated=False)
    for name, (dim, values, attributes) in grid.coordinates().items():
        _coordinate(group, name, dim, values, attributes)
    for name, own in {**{v.name: v.shape for v in layout.variables}, "status": ()}.items():
        group[name].resize((*grid.shape, *own))
    _consolidate(path)


def write(path: Path, begin: Sequence[int], values: Mapping[str, np.ndarray]) -> None:
    """Put arrays where they belong; they start at `begin` along the grid's dimensions."""
    group = require("zarr", extra="io").open_group(path, mode="r+")
    for name, array in values.items():
        place = tuple(slice(start, start + n) for start, n in zip(begin, array.shape, strict=False))
        group[name].with_config({"write_empty_chunks": True})[place] = array


def read(path: Path) -> Any:
    """The group as an `xarray.Dataset` that reads its arrays when they are used."""
    return require("xarray", extra="io").open_zarr(path, chunks=None, consolidated=True, decode_timedelta=False)


def _empty(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype,
    dims: tuple[str, ...],
    fill: Any,
    attributes: Mapping[str, str],
) -> None:
    codecs = require("zarr.codecs", extra="io")
    chunks = tuple(max(1, n) for n in chunks)  # a variable may have an axis of length 0
    group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        dimension_names=dims,
        fill_value=fill,
        attributes=dict(attributes),
        compressors=codecs.BloscCodec(cname="lz4", shuffle="shuffle"),  # in half the time of zarr's default
    )


def _coordinate(group: Any, name: str, dim: str, values: Any, attributes: Mapping[str, str]) -> None:
    values = np.asarray(values)
    dtype = str if values.dtype.kind == "U" else values.dtype
    array = group.create_array(
        name, shape=values.shape, chunks=values.shape, dtype=dtype, dimension_names=(dim,), attributes=dict(attributes),
        overwrite=True,
    )  # fmt: skip
    array[:] = values


def _consolidate(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not part of the Zarr format 3 specification": xarray reads it, and needs it
        require("zarr", extra="io").consolidate_metadata(path)
