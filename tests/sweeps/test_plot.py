"""Pictures of sweeps: as many axes as dimensions, labels with units, cells where the values are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray

import jnm


def cube(*dims):
    known = {
        "gain": (np.array([0.0, 1.0, 4.0]), {}),
        "speed": (np.linspace(2, 8, 8), {"units": "mm/ms"}),
        "eta": ([-5, -4], {}),
    }
    shape = [len(known[dim][0]) for dim in dims]
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    values.flat[0] = np.nan
    coordinates = {dim: (dim, *known[dim]) for dim in dims}
    return xarray.DataArray(values, coordinates, dims, "peak_hz", {"units": "Hz"})


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_lines():
    ax = jnm.plot.sweep(cube("speed")).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("speed (mm/ms)", "peak hz (Hz)") and ax.get_legend() is None
    ax = jnm.plot.sweep(cube("speed", "eta"), label="peak (Hz)").axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["eta = -5", "eta = -4"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), cube("speed", "eta")[:, 1])


def test_no_line_is_left_out():
    ax = jnm.plot.sweep(cube("gain", "speed"), kind="lines").axes[0]
    assert len(ax.lines) == len(ax.get_legend().get_texts()) == 8
    assert len({str(line.get_color()) for line in ax.lines}) == 8


def test_a_map_has_its_cells_around_the_values():
    figure = jnm.plot.sweep(cube("gain", "speed"))
    ax, bar = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("speed (mm/ms)", "gain", "peak hz (Hz)")
    image = ax.collections[0]
    assert image.get_array().mask.sum() == 1 and image.get_clim() == (1.0, 23.0)
    np.testing.assert_allclose(np.unique(image.get_coordinates()[..., 1]), [-0.5, 0.5, 2.5, 5.5])
    assert jnm.plot.sweep(cube("speed", "eta"), kind="map").axes[0].get_xlabel() == "eta"
    own = plt.subplots()[1]
    assert jnm.plot.sweep(cube("gain", "speed"), own, log=True) is own.figure


def test_small_multiples_share_one_scale():
    figure = jnm.plot.sweep(cube("eta", "gain", "speed"))
    panels = [ax for ax in figure.axes if ax.get_title("left")]
    assert [ax.get_title("left") for ax in panels] == ["eta = -5", "eta = -4"]
    assert len({ax.collections[0].get_clim() for ax in panels}) == 1


def test_what_is_refused():
    with pytest.raises(ValueError, match="one variable of a sweep"):
        jnm.plot.sweep(cube("gain").to_dataset())
    with pytest.raises(ValueError, match="known are"):
        jnm.plot.sweep(cube("gain"), kind="bars")
    with pytest.raises(ValueError, match="until three are left"):
        jnm.plot.sweep(cube("gain", "speed", "eta").expand_dims("n"))
    with pytest.raises(ValueError, match="several panels"):
        jnm.plot.sweep(cube("eta", "gain", "speed"), plt.subplots()[1])
