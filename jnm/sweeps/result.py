"""The result of a sweep, labelled: an xarray Dataset over what was swept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jnm._optional import require
from jnm.sweeps import processes
from jnm.sweeps.grid import Grid
from jnm.sweeps.output import Layout, message


def labelled(data: Any, variables: Sequence[str], attributes: Mapping[str, Any]) -> Any:
    """A Dataset of `variables` and `status` with `ok` and `message` for each member instead of the status."""
    status = data["status"].values
    words = {code: message(code, variables) for code in np.unique(status).tolist()}
    note = {"long_name": "whether the member's run is complete and finite"}
    told = np.vectorize(words.__getitem__, otypes=[np.str_])(status)
    dims = data["status"].dims
    return data.drop_vars("status").assign(ok=(dims, status == 0, note), message=(dims, told)).assign_attrs(attributes)


class Kept:
    """The results of a sweep without a store, in memory."""

    def __init__(self, layout: Layout, grid: Grid):
        self.layout, self.grid = layout, grid
        self.arrays = {v.name: np.zeros((len(grid), *v.shape), v.dtype) for v in layout.variables}
        self.status = np.zeros(len(grid), np.int32)

    def pieces(self, size: Callable[[], int]) -> list[np.ndarray]:
        """What is to be computed: numbers of members, `size()` at a time."""
        chunk = size()
        return np.split(np.arange(len(self.grid)), range(chunk, len(self.grid), chunk))

    def put(self, members: np.ndarray, arrays: Mapping[str, np.ndarray], status: np.ndarray) -> None:
        """Take in what was computed."""
        for name, values in arrays.items():
            self.arrays[name][members] = values
        self.status[members] = status

    def dataset(self, attributes: Mapping[str, Any], own: Sequence[np.ndarray]) -> Any:
        """All members, labelled; `own` are the pieces that this process computed."""
        if processes.several():
            self.arrays = {name: processes.gathered(own, values) for name, values in self.arrays.items()}
            self.status = processes.gathered(own, self.status)
        shaped = {name: values.reshape(*self.grid.shape, *values.shape[1:]) for name, values in self.arrays.items()}
        dims = tuple(self.grid.dims)
        variables = {v.name: ((*dims, *v.dims), shaped[v.name], v.attributes) for v in self.layout.variables}
        variables["status"] = (dims, self.status.reshape(self.grid.shape), {})
        coordinates = {**self.layout.coordinates, **self.grid.coordinates()}
        data = require("xarray", extra="io").Dataset(variables, coordinates)
        return labelled(data, [v.name for v in self.layout.variables], attributes)
