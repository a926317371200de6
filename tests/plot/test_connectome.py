"""What the picture of a connectome shows, read back from the figure."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import jnm
from jnm.plot.connectome import anatomy


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_matrix_and_three_sides():
    brain = jnm.datasets.connectome(n_regions=10)
    matrix, *sides = brain.plot(strongest=0.2).axes[:4]
    shown = matrix.images[0].get_array()
    weights = np.asarray(brain.weights)
    np.testing.assert_array_equal(shown.filled(0.0), weights.astype(float))
    assert (matrix.get_xlabel(), matrix.get_ylabel()) == ("from region", "to region")
    assert matrix.get_yticklabels()[0].get_text() == brain.labels[0]
    for ax, axes in zip(sides, [(0, 1), (1, 2), (0, 2)], strict=True):
        dots, lines = ax.collections[1], ax.collections[0]
        drawn = np.asarray(dots.get_offsets())
        wanted = np.asarray(brain.centres)[:, list(axes)]
        np.testing.assert_allclose(drawn[np.lexsort(drawn.T)], wanted[np.lexsort(wanted.T)], rtol=1e-6)
        assert len(lines.get_segments()) == round(0.2 * 45)
    both = weights + weights.T
    strongest = np.unravel_index(np.argmax(both), both.shape)
    segments, widths = sides[0].collections[0].get_segments(), sides[0].collections[0].get_linewidths()
    thickest = segments[int(np.argmax(widths))]
    ends = np.asarray(brain.centres)[list(strongest), :2]
    np.testing.assert_allclose(sorted(thickest.tolist()), sorted(ends.tolist()), rtol=1e-5)


def test_only_what_is_known_is_drawn():
    figure = jnm.Connectome([[0.0, -1.0], [2.0, 0.0]]).plot()
    assert len(figure.axes) == 2  # the matrix and its colours
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array().filled(0.0), [[0.0, -1.0], [2.0, 0.0]])


def test_bad_input_is_named():
    brain = jnm.datasets.connectome(n_regions=10)
    with pytest.raises(ValueError, match=r"strongest = 2; wanted a share of the pairs"):
        brain.plot(strongest=2)
    with pytest.raises(ValueError, match=r"side = 'below'; wanted one of from above"):
        anatomy(brain, "below")
    with pytest.raises(ValueError, match=r"no centres"):
        anatomy(jnm.Connectome([[0.0]]), "from above")
