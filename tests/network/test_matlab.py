"""MATLAB files of all versions, against what SciPy and h5py write as MATLAB does."""

import h5py
import numpy as np
import pytest
import scipy.io

from jnm.network import formats
from jnm.network.connectome import Connectome
from jnm.network.formats import safety

WEIGHTS = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [5.0, 6.0, 0.0]])
LABELS = ["V1", "zwäi", "drei Orte"]


def version_73(path, **matrices):
    """As MATLAB does: each matrix transposed, behind a block of 512 bytes; cells as references to their letters."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in matrices.items():
            if name == "labels":
                letters = [np.array([[ord(letter)] for letter in text], dtype="u2") for text in value]
                cells = [file.create_dataset(f"#refs#/{k}", data=x).ref for k, x in enumerate(letters)]
                value = np.array([cells], dtype=h5py.ref_dtype)
                file.create_dataset(name, data=value, dtype=h5py.ref_dtype)
            else:
                file[name] = np.asarray(value).T
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i4", "u1", "bool"])
def test_versions_5_to_7(tmp_path, kind, packed):
    content = {"x": 1, "sc": WEIGHTS.astype(kind), "len": 10 * WEIGHTS, "labels": np.array(LABELS, dtype=object)}
    scipy.io.savemat(tmp_path / "a.mat", content | {"s": {"y": 2}}, do_compression=packed)
    brain = Connectome.read(tmp_path / "a.mat")
    np.testing.assert_array_equal(brain.weights, WEIGHTS.astype(kind))
    np.testing.assert_array_equal(brain.lengths, 10 * WEIGHTS)
    assert brain.labels == tuple(LABELS)


def test_version_73(tmp_path):
    brain = Connectome.read(version_73(tmp_path / "a.mat", sc=WEIGHTS, len=10 * WEIGHTS, labels=LABELS, other=[[1.0]]))
    np.testing.assert_array_equal(brain.weights, WEIGHTS)
    np.testing.assert_array_equal(brain.lengths, 10 * WEIGHTS)
    assert brain.labels == tuple(LABELS)


def test_lengths_in_a_file_of_their_own(tmp_path):
    scipy.io.savemat(tmp_path / "DTI_CM.mat", {"sc": WEIGHTS})
    scipy.io.savemat(tmp_path / "DTI_LEN.mat", {"len": 10 * WEIGHTS})
    brain = Connectome.read(tmp_path / "DTI_CM.mat", lengths=tmp_path / "DTI_LEN.mat")
    np.testing.assert_array_equal(brain.lengths, 10 * WEIGHTS)
    with pytest.raises(ValueError, match="holds tract lengths alone.*lengths="):
        Connectome.read(tmp_path / "DTI_LEN.mat")


def test_labels_as_a_matrix_of_letters(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"sc": WEIGHTS, "labels": np.array(["V1  ", "V22 ", "V333"])})
    assert Connectome.read(tmp_path / "a.mat").labels == ("V1", "V22", "V333")
    with h5py.File(version_73(tmp_path / "b.mat", sc=WEIGHTS), "a") as file:
        letters = file.create_dataset("labels", data=np.array([list(b"V1  "), list(b"V22 "), list(b"V333")], "u2").T)
        letters.attrs["MATLAB_class"] = np.bytes_("char")
    assert Connectome.read(tmp_path / "b.mat").labels == ("V1", "V22", "V333")


def test_long_labels_stay_whole_and_texts_are_no_labels(tmp_path):
    names = [70 * "x" + end for end in "abc"]
    assert Connectome.read(version_73(tmp_path / "a.mat", sc=WEIGHTS, labels=names)).labels == tuple(names)
    with pytest.raises(ValueError, match="a cell holds 2,000 letters; wanted the name of a region"):
        Connectome.read(version_73(tmp_path / "a.mat", sc=WEIGHTS, labels=[2000 * "x", "b", "c"]))


def test_without_a_known_name_it_lists_what_was_found(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"hello": WEIGHTS, "tc": WEIGHTS})
    version_73(tmp_path / "b.mat", hello=WEIGHTS, tc=WEIGHTS)
    for name in ("a.mat", "b.mat"):
        with pytest.raises(ValueError, match=f"{name} has no matrix under a known name .sc, SC.*it has hello, tc"):
            Connectome.read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sc": 1j * WEIGHTS}, "sc is no full matrix of real numbers"),
        ({"sc": {"x": 1}}, "sc is no full matrix of real numbers"),
        ({"sc": WEIGHTS, "labels": WEIGHTS}, "labels is no cell array of texts"),
        ({"sc": WEIGHTS, "labels": np.array([1, 2, 3], dtype=object)}, "a cell holds no text"),
        ({"sc": WEIGHTS[:2]}, r"weights came with shape \(2, 3\)"),
        ({"sc": WEIGHTS - np.inf}, "not finite"),
        ({"sc": WEIGHTS, "len": -WEIGHTS}, "lengths: 6 of 9 values are negative"),
    ],
)
def test_what_is_no_connectome_is_refused(tmp_path, content, message):
    scipy.io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=message):
        Connectome.read(tmp_path / "a.mat")


def test_links_and_data_elsewhere_are_not_followed(tmp_path):
    np.save(tmp_path / "secret.npy", WEIGHTS)
    version_73(tmp_path / "other.mat", sc=WEIGHTS)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["sc"] = h5py.ExternalLink("other.mat", "/sc")
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file.create_dataset("sc", (3, 3), "f8", external=[(str(tmp_path / "secret.npy"), 128, 72)])
    with h5py.File(tmp_path / "c.mat", "w", userblock_size=512) as file:
        file.create_group("sc")
    messages = ("link to elsewhere", "without values of its own", "Group without values of its own")
    for name, message in zip("abc", messages, strict=True):
        with pytest.raises(ValueError, match=message):
            Connectome.read(tmp_path / f"{name}.mat")


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    scipy.io.savemat(tmp_path / "a.mat", {"sc": np.zeros((100, 100))}, do_compression=True)
    parts = {f"x{k}": np.zeros((30, 30)) for k in range(3)}
    scipy.io.savemat(tmp_path / "many.mat", {"sc": np.eye(3)} | parts, do_compression=True)
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file.create_dataset("sc", (100, 100), "f8", compression="gzip")
    monkeypatch.setattr(safety, "MOST_BYTES", 20_000)
    for name, message in {
        "a.mat": "unpacks to more than 20,000 bytes",
        "b.mat": r"shape \(100, 100\); wanted",
        "many.mat": "its variables unpack to more than 20,000 bytes together",
    }.items():
        with pytest.raises(ValueError, match=message):
            formats.read(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"MATLAB 4", b"\x89HDF\r\n\x1a\n but no more", b"x" * 126 + b"IM" + b"\xff" * 9]
)
def test_what_is_no_matlab_file(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.mat (cannot be read as a MATLAB file|has no matrix)"):
        Connectome.read(tmp_path / "a.mat")
