"""The picture of a sweep: a line over one axis, a heat map over two, small multiples over a third."""

from typing import Any, Literal

import numpy as np

_WIDTH, _HEIGHT = 3.0, 2.7  # inches of one of several panels
_FEW = 6  # lines that one can tell apart


def sweep(
    data: Any,
    ax: Any = None,
    *,
    kind: Literal["lines", "map"] | None = None,
    label: str | None = None,
    cmap: str = "viridis",
    log: bool = False,
) -> Any:
    """Draw a variable of a sweep's result over what was swept; returns the Figure.

        >>> result = jnm.sweep(rate, jnm.grid(net, where, values))
        >>> jnm.plot.sweep(1000 * result.rate.mean("region"), label="rate (spikes/s)")

    `data` is an `xarray.DataArray` of one, two or three dimensions, which are drawn as a line, as a heat map (the first
    dimension upwards, the second to the right), and as heat maps side by side with a panel for each value of the first.
    Two dimensions of which the last has six values or fewer are drawn as lines, unless `kind` is "map". Axes are
    labelled with the names and units of the coordinates; `label` names the quantity, with its unit. What is not finite
    is left white. `log` makes the scale of the quantity logarithmic.

    Raises `ValueError` for data of other dimensions, another kind, and for an `ax` where there are several panels.
    """
    if not hasattr(data, "dims") or hasattr(data, "data_vars"):
        raise ValueError(
            f"plot.sweep: wanted one variable of a sweep, such as result.rate; got a {type(data).__name__}."
        )
    if kind not in ("lines", "map", None):
        raise ValueError(f'plot.sweep: kind = {kind!r}; known are "lines" and "map".')
    if not 1 <= data.ndim <= 3:
        raise ValueError(f"plot.sweep: {data.name} has dimensions {data.dims}; average or select until three are left.")
    label = label or _text(data.name or "value", data.attrs)
    if data.ndim == 3:
        if ax is not None:
            raise ValueError("plot.sweep: three dimensions make several panels; leave ax out, or select one panel.")
        return _panels(data, label, cmap, log)
    if data.ndim == 2 and (kind or ("map" if data.shape[1] > _FEW else "lines")) == "map":
        return _map(data, ax, label, cmap, _scale(data, log))
    return _lines(data, ax, label, log)


def _lines(data: Any, ax: Any, label: str, log: bool) -> Any:
    from jnm import plot

    ax = plot.axes(ax)
    count = data.shape[1] if data.ndim == 2 else 1
    x = _numbers(data, data.dims[0])
    for i, colour in enumerate(plot.colours(count)):
        y = data.values if data.ndim == 1 else data.values[:, i]
        ax.plot(x, y, color=colour, marker="o" if len(x) < 30 else None, ms=3.5, label=_value(data, -1, i))
    ax.set(xlabel=_axis(data, 0), ylabel=label, yscale="log" if log else "linear")
    ax.margins(x=0.02)
    if data.ndim == 2:
        ax.legend(frameon=False)
    return ax.figure


def _map(data: Any, ax: Any, label: str, cmap: str, scale: Any) -> Any:
    from jnm import plot

    ax = plot.axes(ax, size=(5.4, 4.0))
    image = _image(ax, data, cmap, scale)
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    return ax.figure


def _panels(data: Any, label: str, cmap: str, log: bool) -> Any:
    import matplotlib.pyplot as plt

    scale, count = _scale(data, log), len(data)
    columns = min(count, 4)
    rows = -(-count // columns)
    size = (_WIDTH * columns + 0.8, _HEIGHT * rows)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    image: Any = None
    for i, ax in enumerate(grid.flat):
        if i >= count:
            ax.axis("off")
            continue
        image = _image(ax, data[i], cmap, scale)
        ax.set_title(_value(data, 0, i), loc="left", fontsize=10)
        ax.label_outer()
    figure.colorbar(image, ax=grid, label=label, pad=0.01)
    return figure


def _image(ax: Any, data: Any, cmap: str, scale: Any) -> Any:
    y, x = (_numbers(data, dim) for dim in data.dims)
    image = ax.pcolormesh(
        _edges(x), _edges(y), np.ma.masked_invalid(data.values), cmap=cmap, norm=scale, rasterized=True
    )
    ax.set(xlabel=_axis(data, 1), ylabel=_axis(data, 0))
    return image


def _scale(data: Any, log: bool) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    finite = data.values[np.isfinite(data.values) & ((data.values > 0) | (not log))]
    low, high = (finite.min(), finite.max()) if finite.size else (0.1, 1.0)
    return (LogNorm if log else Normalize)(low, high)


def _numbers(data: Any, dim: str) -> np.ndarray:
    """The coordinate, or numbers where it has none or is one of words."""
    values = data[dim].values
    return values if np.issubdtype(values.dtype, np.number) else np.arange(len(values))


def _edges(centres: np.ndarray) -> np.ndarray:
    """Half way between the values, which need not be equally spaced."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _axis(data: Any, which: int) -> str:
    dim = data.dims[which]
    return _text(dim, data[dim].attrs)


def _value(data: Any, which: int, i: int) -> str | None:
    """One value of a dimension in words; None for a single line."""
    if data.ndim == 1:
        return None
    dim = data.dims[which]
    value, unit = data[dim].values[i], data[dim].attrs.get("units", "")
    told = f"{value:g}" if np.issubdtype(np.asarray(value).dtype, np.number) else str(value)
    return f"{str(dim).replace('_', ' ')} = {told} {unit}".rstrip()


def _text(name: Any, attributes: Any) -> str:
    unit = attributes.get("units", "")
    return str(name).replace("_", " ") + (f" ({unit})" if unit else "")
