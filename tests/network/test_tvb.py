"""Connectivities of The Virtual Brain: what its files hold, in a zip, in a folder, packed; and what is refused."""

import bz2
import zipfile

import equinox as eqx
import numpy as np
import pytest

from jnm.network.connectome import Connectome
from jnm.network.formats import safety

FILES = {
    "weights.txt": "0.0e+00 1.0e+00\n2.5e+00 0.0e+00\n",
    "tract_lengths.txt": "0 31.5\n30 0\n",
    "centres.txt": "rA1 -9.885591 -47.084818 -3.139360\n lA1 9.9 -47 -3 None\n",
    "average_orientations.txt": "0 0 2\n3 4 0\n",
    "areas.txt": "396\n937\n",
    "cortical.txt": "1\n1\n",
    "info.txt": 'weights_unit = "au"\nlength_unit = "mm"\n',
}


@pytest.fixture
def brain() -> Connectome:
    centres = [[-40.0, 10.0, 60.0], [40.0, 10.0, 60.0], [0.0, -50.0, 70.0]]
    weights = np.array([[0.0, 1.0, 0.25], [2.0, 0.0, 1e-7], [1 / 3, 5e4, 0.0]])
    return Connectome(
        weights,
        10 * weights,
        centres,
        np.eye(3),
        ["lV1", "rV1", "M"],
        frame="mni",
        source='our "scan" 3',
        citation="us",
    )


def zipped(path, files, folder="", **kinds):
    with zipfile.ZipFile(path, "w", **kinds) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return path


def assert_read(found: Connectome) -> None:
    np.testing.assert_array_equal(found.weights, [[0, 1], [2.5, 0]])
    np.testing.assert_array_equal(found.lengths, [[0, 31.5], [30, 0]])
    np.testing.assert_allclose(found.centres, [[-9.885591, -47.084818, -3.13936], [9.9, -47, -3]], rtol=1e-6)
    np.testing.assert_allclose(found.orientations, [[0, 0, 1], [0.6, 0.8, 0]], rtol=1e-6)  # made of length one
    assert found.labels == ("rA1", "lA1") and found.frame == "unknown" and found.hemispheres == ("R", "L")


@pytest.mark.parametrize("folder", ["", "connectivity_192/"])
def test_a_zip(tmp_path, folder):
    assert_read(Connectome.read(zipped(tmp_path / "c.zip", FILES, folder, compression=zipfile.ZIP_DEFLATED)))


def test_a_zip_from_a_macintosh_with_packed_files(tmp_path):
    files = {"c/" + name + ".bz2": bz2.compress(text.encode()) for name, text in FILES.items()}
    assert_read(
        Connectome.read(
            zipped(tmp_path / "c.zip", files | {"__MACOSX/c/._weights.txt": b"\0\xff", "c/.DS_Store": b"x"})
        )
    )


def test_a_folder(tmp_path):
    folder = tmp_path / "connectivity_76"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "weights.txt").unlink()
    (folder / "weights.txt.bz2").write_bytes(bz2.compress(FILES["weights.txt"].encode()))
    assert_read(Connectome.read(folder))
    assert_read(Connectome.read(tmp_path))  # the archive's folder in the one it was unpacked to


def test_regions_without_a_direction_leave_orientations_out(tmp_path):
    files = FILES | {"average_orientations.txt": "0 0 0\n3 4 0\n"}
    assert Connectome.read(zipped(tmp_path / "c.zip", files)).orientations is None


def test_weights_are_enough(tmp_path):
    alone = Connectome.read(zipped(tmp_path / "c.zip", {"weights.txt": FILES["weights.txt"]}))
    assert alone.lengths is None and alone.centres is None and not alone.labelled


def test_what_is_written_reads_back_and_is_the_same_file_each_time(brain, tmp_path):
    brain.write(tmp_path / "a.zip")
    brain.write(tmp_path / "b.zip")
    back = Connectome.read(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for name in ("weights", "lengths", "centres", "orientations"):
        np.testing.assert_array_equal(getattr(back, name), getattr(brain, name))
    assert (back.labels, back.frame, back.source, back.citation) == (brain.labels, "mni", "our 'scan' 3", "us")


def test_what_is_written_is_what_tvb_parses(brain, tmp_path):
    """TVB reads each file by numpy.loadtxt, the labels as the first word of centres.txt."""
    brain.write(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {"weights.txt", "tract_lengths.txt", "centres.txt"} <= set(archive.namelist())
        np.testing.assert_array_equal(np.loadtxt(archive.open("weights.txt"), dtype=np.float32), brain.weights)
        np.testing.assert_array_equal(np.loadtxt(archive.open("centres.txt"), usecols=(1, 2, 3)), brain.centres)
        assert list(np.loadtxt(archive.open("centres.txt"), dtype=str, usecols=0)) == list(brain.labels)


def test_what_tvb_cannot_hold_is_not_written(brain, tmp_path):
    bare = eqx.tree_at(lambda b: (b.lengths, b.centres), brain, (None, None), is_leaf=lambda x: x is None)
    spaced = Connectome(brain.weights, brain.lengths, brain.centres, labels=["a", "ein Ort", "c"])
    for wrong, message in ((bare, "TVB needs lengths and centres"), (spaced, "'ein Ort' came; write .npz")):
        with pytest.raises(ValueError, match=message):
            wrong.write(tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no weights.txt.*it has nothing"),
        ({"a.txt": "0", "b.csv": "0"}, "holds no weights.txt.*it has a.txt, b.csv"),
        (FILES | {"x/../../weights.txt": "0"}, "names a file 'x/../../weights.txt' outside of itself"),
        (FILES | {"/etc/weights.txt": "0"}, "outside of itself"),
        (FILES | {"C:\\weights.txt": "0"}, "outside of itself"),
        (FILES | {"weights.txt.bz2": bz2.compress(b"0")}, "holds both weights.txt and weights.txt.bz2"),
        (FILES | {"weights.txt": "0 1\n1\n"}, r"c.zip, weights.txt, line 2: 1 columns came"),
        (FILES | {"weights.txt": "0 nan\n1 0\n"}, "weights: 1 of 4 values are not finite"),
        (FILES | {"weights.txt": "0 1 1\n1 0 1\n"}, r"weights came with shape \(2, 3\)"),
        (FILES | {"tract_lengths.txt": "0 -1\n1 0\n"}, "lengths: 1 of 4 values are negative"),
        (FILES | {"tract_lengths.txt": "0 1 2\n1 0 2\n2 2 0"}, r"lengths came with shape \(3, 3\)"),
        (FILES | {"centres.txt": "rA1 1 2\nlA1 1 2\n"}, "centres.txt, line 1: 'rA1 1 2' came; wanted 'label x y z'"),
        (FILES | {"centres.txt": "A 1 2 3\nA 1 2 4\n"}, "labels must differ"),
        (FILES | {"centres.txt": b"\xff\xfe"}, "is no UTF-8 text"),
        (FILES | {"centres.txt.bz2": b"BZh9 no"}, "both centres.txt and"),
    ],
)
def test_a_wrong_zip_is_refused_and_says_where(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        Connectome.read(zipped(tmp_path / "c.zip", files))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "MOST_BYTES", 100_000)
    many = zipped(tmp_path / "c.zip", {"weights.txt": "0 " * 10**6}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="unpacks to 2,000,000 bytes; wanted 100,000 at most"):
        Connectome.read(many)
    packed = zipped(tmp_path / "d.zip", {"weights.txt.bz2": bz2.compress(b"0 " * 10**6)})
    with pytest.raises(ValueError, match="weights.txt.bz2 unpacks to more than 100,000 bytes"):
        Connectome.read(packed)


def test_what_is_no_zip(tmp_path):
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(ValueError, match="cannot be read as a zip"):
        Connectome.read(tmp_path / "c.zip")
