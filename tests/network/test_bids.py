"""BIDS relationship matrices: what belongs together is found, what is written reads back, what is wrong says where."""

import json

import equinox as eqx
import numpy as np
import pytest

from jnm.network.connectome import Connectome

STEM = "sub-01_atlas-DK"
NAME = f"{STEM}_meas-streamlineCount_relmat.dense.tsv"
NODES = "matrix_index\tnode_file\tnode_index\tlabel\n0\tatlas\t7\tlh_V1\n1\tatlas\t8\trh_V1\n"


@pytest.fixture
def brain() -> Connectome:
    centres = [[-40.0, 10.0, 60.0], [40.0, 10.0, 60.0], [0.0, -50.0, 70.0]]
    weights = np.array([[0.0, 1.0, 0.25], [2.0, 0.0, 1e-7], [1 / 3, 5e4, 0.0]])
    return Connectome(
        weights,
        10 * weights,
        centres,
        np.eye(3),
        ["V1", "a, b", "ein Ort"],
        frame="mni",
        source="scan",
        citation="us\nand them",
    )


def lay(folder, **files):
    """A matrix of two regions, and what else is given; `weights=None` leaves it out."""
    found = {"weights": "0\t1\n2\t0\n", "nodes": NODES} | files
    names = {
        "weights": NAME,
        "nodes": f"{STEM}_nodeindices.tsv",
        "lengths": f"{STEM}_meas-tractLength_relmat.dense.tsv",
    }
    names["sidecar"] = f"{STEM}_meas-streamlineCount_relmat.json"
    for key, text in found.items():
        if text is not None:
            (folder / names.get(key, key)).write_text(text)
    return folder


def test_what_is_written_reads_back(brain, tmp_path):
    brain.write(tmp_path / NAME)
    assert eqx.tree_equal(Connectome.read(tmp_path / NAME), brain)
    assert eqx.tree_equal(Connectome.read(tmp_path), brain)  # a folder with one matrix
    sidecar = json.loads((tmp_path / f"{STEM}_meas-tractLength_relmat.json").read_text())
    assert sidecar["MeasureUnits"] == "mm" and sidecar["Directed"] and not sidecar["ValidDiagonal"]
    assert sidecar["Axes"][0] == {"Name": "row: target", "Size": 3, "NodeFile": f"{STEM}_nodeindices.tsv"}
    header = (tmp_path / f"{STEM}_nodeindices.tsv").read_text().splitlines()[0].split("\t")
    assert header[:4] == ["matrix_index", "node_file", "node_index", "label"]


def test_weights_alone_need_no_measure_in_their_name(tmp_path):
    Connectome([[0.0, 1.0], [2.0, 0.0]], labels=["a", "b"]).write(tmp_path / "_relmat.dense.tsv")
    assert {path.name for path in tmp_path.iterdir()} == {
        "_relmat.dense.tsv", "_relmat.json", "connectome_nodeindices.tsv"
    }  # fmt: skip
    assert Connectome.read(tmp_path / "_relmat.dense.tsv").labels == ("a", "b")


def test_files_of_others(tmp_path):
    lay(tmp_path, lengths="0\t31.5\n30\t0\n", sidecar='{"Description": "from DTI", "ReferencesAndLinks": ["A", "B"]}')
    brain = Connectome.read(tmp_path / NAME)
    np.testing.assert_array_equal(brain.weights, [[0, 1], [2, 0]])
    np.testing.assert_array_equal(brain.lengths, [[0, 31.5], [30, 0]])
    assert brain.labels == ("lh_V1", "rh_V1") and (brain.source, brain.citation) == ("from DTI", "A\nB")


@pytest.mark.parametrize("first", [0, 1])
def test_node_indices_may_come_in_any_order_and_count_from_one(tmp_path, first):
    nodes = f"matrix_index\tlabel\tx\ty\tz\n{1 + first}\tB\t1\t2\t3\n{first}\tA\t4\t5\t6\n"
    brain = Connectome.read(lay(tmp_path, nodes=nodes) / NAME)
    assert brain.labels == ("A", "B")
    np.testing.assert_array_equal(brain.centres, [[4, 5, 6], [1, 2, 3]])


def test_labels_around_the_matrix(tmp_path):
    """As pipelines for functional connectivity write them."""
    (tmp_path / "sub-01_relmat.tsv").write_text("Node\tLH_Vis_1\tRH_Vis_1\nLH_Vis_1\t0\t1\nRH_Vis_1\t2\t0\n")
    brain = Connectome.read(tmp_path / "sub-01_relmat.tsv")
    assert brain.labels == ("LH_Vis_1", "RH_Vis_1")
    np.testing.assert_array_equal(brain.weights, [[0, 1], [2, 0]])


def test_without_node_indices_regions_have_numbers(tmp_path):
    assert not Connectome.read(lay(tmp_path, nodes=None) / NAME).labelled


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"weights": "0\t1\n2\n"}, "line 2: 1 columns came"),
        ({"weights": "0\t1\t1\n2\t0\t1\n"}, "2 rows of 3 columns"),
        ({"weights": ""}, "is empty; wanted a matrix"),
        ({"weights": "a\tb\n0\t1\n2\t0\n", "lengths": "b\ta\n0\t1\n2\t0\n"}, "other regions than .*in another order"),
        ({"weights": "0\tn/a\n2\t0\n"}, "'n/a' is no number; a missing connection is 0"),
        ({"weights": "0\tnan\n2\t0\n"}, "not finite"),
        ({"lengths": "0\t-1\n2\t0\n"}, "lengths: 1 of 4 values are negative"),
        ({"nodes": "matrix_index\tlabel\n0\tA\n"}, "1 regions came for a matrix of 2"),
        ({"nodes": ""}, "0 regions came for a matrix of 2"),
        ({"nodes": "matrix_index\tlabel\n0\tA\n0\tB\n"}, "must count the 2 rows from 0 or from 1"),
        ({"nodes": "matrix_index\tlabel\n0\tA\nx\tB\n"}, "matrix_index must be whole numbers"),
        ({"nodes": "matrix_index\tlabel\n0\tA\n1\n"}, "line 3: 1 columns came; wanted 2"),
        ({"nodes": "matrix_index\tlabel\n0\tA\n1\tA\n"}, "labels must differ"),
        ({"sidecar": "{"}, "is no JSON"),
        ({"sidecar": "[" * 5000}, "is no JSON"),
        ({"sidecar": "[1]"}, "a list came; wanted a JSON object"),
        ({f"{STEM}_meas-fibreLength_relmat.tsv": "0", "lengths": "0"}, "lengths may be .* or "),
    ],
)
def test_wrong_files_are_refused(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        Connectome.read(lay(tmp_path, **files) / NAME)


def test_a_folder_with_several_matrices_asks_which(tmp_path):
    lay(tmp_path, **{f"{STEM}_meas-FA_relmat.dense.tsv": "0\t1\n2\t0\n"})
    with pytest.raises(ValueError, match="meas-FA_relmat.dense.tsv, .*name one of them"):
        Connectome.read(tmp_path)


def test_what_a_table_cannot_hold_is_not_written(tmp_path):
    brain = Connectome(np.eye(2), labels=["a\tb", "c"])
    with pytest.raises(ValueError, match="cannot hold the label"):
        brain.write(tmp_path / NAME)
    with pytest.raises(ValueError, match="ends in _relmat.dense.tsv"):
        brain.write(tmp_path / "x_relmat.tsv")
    assert not list(tmp_path.iterdir())
