"""Connectome files: what is written reads back, each format is read as it is described, and broken files say where."""

import bz2
import io
import zipfile

import equinox as eqx
import h5py
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings, strategies as st

from jnm.network import formats
from jnm.network.connectome import Connectome
from jnm.network.formats import safety

WEIGHTS = np.array([[0.0, 1.0, 0.25], [2.0, 0.0, 1e-7], [1 / 3, 5e4, 0.0]])
LABELS = ["V1", "#2, left", "ein Ort"]


@pytest.fixture
def brain() -> Connectome:
    centres = [[-40.0, 10.0, 60.0], [40.0, 10.0, 60.0], [0.0, -50.0, 70.0]]
    return Connectome(WEIGHTS, 10 * WEIGHTS, centres, np.eye(3), LABELS, frame="mni", source="here", citation="us")


def written(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def lines_of(weights) -> str:
    return "\n".join(",".join(map(str, row)) for row in np.asarray(weights).tolist())


# Round trips


def test_npz_brings_everything_back(brain, tmp_path):
    brain.write(tmp_path / "brain.npz")
    back = Connectome.read(tmp_path / "brain.npz")
    assert eqx.tree_equal(back, brain)
    assert (back.labels, back.frame, back.source, back.citation) == (tuple(LABELS), "mni", "here", "us")


def test_csv_brings_weights_and_labels_back_bit_for_bit(tmp_path):
    plain = Connectome(WEIGHTS, labels=LABELS)
    plain.write(tmp_path / "brain.csv")
    assert eqx.tree_equal(Connectome.read(tmp_path / "brain.csv"), plain)


def test_round_trips_hold_in_double_precision(tmp_path, x64):
    plain = Connectome(np.pi * WEIGHTS)
    for suffix in (".npz", ".csv"):
        plain.write(tmp_path / f"brain{suffix}")
        back = Connectome.read(tmp_path / f"brain{suffix}")
        assert back.weights.dtype == jnp.float64 and eqx.tree_equal(back, plain)


def test_the_edge_list_of_the_human_connectome(data_dir):
    """Its first and last lines, and facts of shared/spec/brain-network.md 4."""
    human = Connectome.read(data_dir / "connectome" / "sc2017.dat")
    assert human.weights[0, 1] == np.float32(0.15271) and human.weights[89, 88] == np.float32(0.252918)
    assert human.n_regions == 90 and human.density == pytest.approx(0.991, abs=5e-4)
    assert human.lengths is None and not human.labelled and np.count_nonzero(np.diagonal(human.weights)) == 0


def test_npy(tmp_path):
    np.save(tmp_path / "w.npy", WEIGHTS)
    assert eqx.tree_equal(Connectome.read(tmp_path / "w.npy"), Connectome(WEIGHTS))


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("w.csv", "0,1,.25\n2,0,1e-7\n0.3333333333333333,5e4,0", None),
        ("w.csv", "\ufeffa, b ,c\n0,1,.25\n2,0,1e-7\n0.3333333333333333,5e4,0\n\n", "abc"),
        ("w.csv", ",a,b,c\na,0,1,.25\nb,2,0,1e-7\nc,0.3333333333333333,5e4,0", "abc"),
        ("w.csv", "a,0,1,.25\nb,2,0,1e-7\nc,0.3333333333333333,5e4,0", "abc"),
        ("w.csv", "a;b;c\r\n0;1;.25\r\n2;0;1e-7\r\n0.3333333333333333;5e4;0", "abc"),
        ("w.tsv", "a\tb\tc\n0\t1\t.25\n2\t0\t1e-7\n0.3333333333333333\t5e4\t0", "abc"),
        ("w.txt", "# to x from\n 0   1 .25\n 2 0 1e-7\n0.3333333333333333\t5e4 0", None),
        ("w.txt", "a b c\na 0 1 .25\nb 2 0 1e-7\nc 0.3333333333333333 5e4 0", "abc"),
        ("w.dat", "3\n0 1 1\n0 2 .25\n\n1 0 2\n1 2 1e-7\n# last row\n2 0 0.3333333333333333\n2 1 5e4", None),
        # as spreadsheets, pandas, R and tractography write them, whatever the suffix says
        ("w.csv", ";a;b;c\r\na;0;1,0;,25\r\nb;2;0;1e-7\r\nc;0,3333333333333333;5,0e4;0", "abc"),
        ("w.csv", "0 1 .25 \n2 0 1e-7 \n0.3333333333333333 5e4 0 \n", None),
        ("w.csv", "ein Ort\tb\tc, d\n0\t1\t.25\n2\t0\t1e-7\n0.3333333333333333\t5e4\t0", ["ein Ort", "b", "c, d"]),
        ("w.txt", "0, 1, .25\n2, 0, 1e-7\n0.3333333333333333, 5e4, 0", None),
        ("w.tsv", "0,1,.25\n2,0,1e-7\n0.3333333333333333,5e4,0", None),
        ("w.csv", ",a,b,c\n0,0,1,.25\n1,2,0,1e-7\n2,0.3333333333333333,5e4,0", "abc"),
        ("w.csv", '"","a","b","c"\n"1",0,1,.25\n"2",2,0,1e-7\n"3",0.3333333333333333,5e4,0', "abc"),
        ("w.csv", "1_1,1_2,1_3\n0,1,.25\n2,0,1e-7\n0.3333333333333333,5e4,0", ["1_1", "1_2", "1_3"]),
        ("w.csv", ",0,1,2\n0,0,1,.25\n1,2,0,1e-7\n2,0.3333333333333333,5e4,0", None),
    ],
)
def test_text_formats(tmp_path, name, text, labels):
    brain = Connectome.read(written(tmp_path / name, text))
    assert eqx.tree_equal(brain, Connectome(WEIGHTS, labels=labels and list(labels)))


def test_text_packed_with_bz2(tmp_path):
    (tmp_path / "w.txt.bz2").write_bytes(bz2.compress(lines_of(WEIGHTS).replace(",", " ").encode()))
    (tmp_path / "w.dat.bz2").write_bytes(bz2.compress(b"2\n0 1 3.5\n"))
    assert eqx.tree_equal(Connectome.read(tmp_path / "w.txt.bz2"), Connectome(WEIGHTS))
    assert Connectome.read(tmp_path / "w.dat.bz2").weights[0, 1] == 3.5


def test_npz_under_the_names_of_the_field(tmp_path):
    np.savez(tmp_path / "b.npz", weights=WEIGHTS, tract_lengths=WEIGHTS, labels=np.array([b"a ", b"b", b"c"]), x=1)
    brain = Connectome.read(tmp_path / "b.npz")
    assert brain.labels == ("a", "b", "c") and jnp.array_equal(brain.lengths, brain.weights)


def test_a_frame_nobody_named_is_unknown(tmp_path):
    np.savez(tmp_path / "b.npz", weights=WEIGHTS, centres=np.eye(3))
    assert Connectome.read(tmp_path / "b.npz").frame == "unknown"
    assert Connectome.read(tmp_path / "b.npz", frame="head", source="scan 3").source == "scan 3"
    assert Connectome.read(tmp_path / "b.npz", frame="head").frame == "head"


def test_lengths_may_be_a_second_file(tmp_path):
    weights = written(tmp_path / "weights.csv", lines_of(WEIGHTS))
    lengths = written(tmp_path / "lengths.csv", lines_of(10 * WEIGHTS))
    assert jnp.allclose(Connectome.read(weights, lengths=lengths).lengths, 10 * WEIGHTS)
    with pytest.raises(ValueError, match=r"lengths came with shape \(2, 2\)"):
        Connectome.read(weights, lengths=written(tmp_path / "short.csv", "0,1\n1,0"))


def test_lengths_of_a_second_file_are_matched_by_name(tmp_path):
    weights, turned = written(tmp_path / "weights.csv", "a,b,c\n" + lines_of(WEIGHTS)), np.ix_([2, 0, 1], [2, 0, 1])
    lengths = written(tmp_path / "lengths.csv", "c,a,b\n" + lines_of(10 * WEIGHTS[turned]))
    assert jnp.allclose(Connectome.read(weights, lengths=lengths).lengths, 10 * WEIGHTS)
    with pytest.raises(ValueError, match=r"strange\.csv names other regions than the weights do, 'd' among them"):
        Connectome.read(weights, lengths=written(tmp_path / "strange.csv", "a,b,d\n" + lines_of(WEIGHTS)))


# Broken files


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("w.dat", "", "line 1: '' came; an edge list starts with its number of regions"),
        ("w.dat", "0 1 0.5\n", "line 1: '0 1 0.5' came"),
        ("w.dat", "-3\n", "line 1: '-3' came"),
        ("w.dat", "99999999\n0 1 1", "line 1: '99999999' came; .*1 to 10000"),
        ("w.dat", "2\n0 1 0.5\n1 0\n", "line 3: '1 0' came; wanted 'to from weight'"),
        ("w.dat", "2\n0 1 0.5 7\n", "line 2: 4 columns came; wanted three"),
        ("w.dat", "2\n0 1 heavy\n", "line 2: '0 1 heavy' came"),
        ("w.dat", "2\n0.0 1 1\n", "line 2: '0.0 1 1' came"),
        ("w.dat", "2\n0 1 1\n2 1 1\n", "line 3: connection 2 1, but the 2 regions count from 0 to 1. Does the file"),
        ("w.dat", "2\n0 -1 1\n", "line 2: connection 0 -1, but"),
        ("w.dat", "2\n0 1 nan\n", "line 2: the weight nan is not finite"),
        ("w.dat", "2\n0 1 1\n0 1 2\n", "line 3: connection 0 1 was given in line 2 already"),
        ("w.csv", "", "is empty; wanted a matrix"),
        ("w.csv", "a,b\n", "0 rows|2 labels for 0 columns"),
        ("w.csv", "0,1\n1", "line 2: 1 columns came, where the first row has 2"),
        ("w.csv", "0,1\n1,x", "line 2, column 2: 'x' is no number; a missing connection is 0"),
        ("w.csv", "0,1\n\n1,", "line 3, column 2: '' is no number"),
        ("w.csv", "0,1\n1,0\n0,0", "3 rows of 2 columns; wanted as many rows as columns"),
        ("w.csv", "0,l\n1,0\n", "1 rows of 2 columns; .*labels, because 'l' is no number"),
        ("w.csv", "0,NA\n1,0\n", "line 1, column 2: 'NA' is no number; a missing connection is 0"),
        ("w.csv", "a,b,c\n0,1\n1,0", "3 labels for 2 columns"),
        ("w.csv", ",a,b\nb,0,1\na,1,0", "row names are not the column names in the same order"),
        ("w.csv", "0,nan\n1,0", "weights: 1 of 4 values are not finite"),
        ("w.csv", "a,a\n0,1\n1,0", "labels must differ"),
        ("w.csv", "a;b\n0;1.234,5\n0,5;1", "line 2, column 2: '1.234,5' is no number; decimals take a point"),
        ("w.tsv", "0,5\t1\n1\t0,5", "is no number; decimals take a point"),
        ("w.csv", "a,b\n5,0,1\n7,1,0", "2 labels for 3 columns"),
        ("w.xls", "", "no reader for the suffix '.xls'; known are .csv, .dat, .mat, .npy, .npz, .tsv, .txt, .zip"),
        ("w.xls.bz2", "", "no reader for the suffix '.bz2'"),
        ("w.csv", '"' + "0" * 200_000 + '",1', "cannot be cut into columns"),
        ("w", "", "no reader for the suffix ''"),
        ("w.npz", "0,1\n1,0", "cannot be read .*never unpickled"),
        ("w.npy", "", "cannot be read"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_line(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message) as error:
        Connectome.read(written(tmp_path / name, text))
    assert name in str(error.value) or "values are" in str(error.value) or "labels must" in str(error.value)


def test_binary_where_text_is_wanted(tmp_path):
    (tmp_path / "w.csv").write_bytes(b"\x93NUMPY\xff\xfe")
    with pytest.raises(ValueError, match="no UTF-8 text"):
        Connectome.read(tmp_path / "w.csv")


def test_an_archive_without_weights_lists_what_it_has(tmp_path):
    np.savez(tmp_path / "b.npz", sc=WEIGHTS, tract=WEIGHTS)
    with pytest.raises(ValueError, match="no array 'weights'; it has sc, tract"):
        Connectome.read(tmp_path / "b.npz")


def test_a_member_that_is_no_array_is_named(tmp_path):
    np.savez(tmp_path / "b.npz", weights=WEIGHTS)
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive:
        archive.writestr("frame.npy", b"head")
    with pytest.raises(ValueError, match=r"b\.npz, array 'frame' cannot be read \(it is no array\)"):
        Connectome.read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", weights=WEIGHTS, labels=np.array([2**31 - 1], "i4").view("U1"))
    with pytest.raises(ValueError, match=r"c\.npz, array 'labels' cannot be read \(.*character"):
        Connectome.read(tmp_path / "c.npz")


def test_python_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "b.npz", weights=WEIGHTS, labels=np.array(["a", "b", None], dtype=object))
    with pytest.raises(ValueError, match=r"array 'labels' cannot be read .*np.array\(labels, dtype=str\)"):
        Connectome.read(tmp_path / "b.npz")


def test_npy_and_npz_are_told_apart(tmp_path):
    np.save(tmp_path / "w.npy", WEIGHTS)
    (tmp_path / "w.npy").rename(tmp_path / "w.npz")
    with pytest.raises(ValueError, match=r"single array; give it the suffix \.npy"):
        Connectome.read(tmp_path / "w.npz")
    np.savez(tmp_path / "v.npz", weights=WEIGHTS)
    (tmp_path / "v.npz").rename(tmp_path / "v.npy")
    with pytest.raises(ValueError, match=r"archive of arrays; give it the suffix \.npz"):
        Connectome.read(tmp_path / "v.npy")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"No file nowhere.csv .looked from {tmp_path}"):
        Connectome.read("nowhere.csv")


def test_writing_loses_nothing_silently(brain, tmp_path):
    with pytest.raises(ValueError, match=r"centres, lengths, orientations would be lost; write \.npz"):
        brain.write(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"no writer for the suffix '\.dat'; known are .csv, .npz, .zip and"):
        brain.write(tmp_path / "b.dat")
    with pytest.raises(ValueError, match="labels such as '1' cannot be told from weights"):
        Connectome(WEIGHTS, labels=["1", "2", "3"]).write(tmp_path / "b.csv")
    assert not list(tmp_path.iterdir())


# Strangers' files


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    """A small file may unpack to more than fits into memory; the bound is lowered to keep the test small."""
    monkeypatch.setattr(safety, "MOST_BYTES", 10_000)
    (tmp_path / "w.txt.bz2").write_bytes(bz2.compress(b"0 " * 100_000))
    written(tmp_path / "w.txt", "0 " * 10_000)
    np.save(tmp_path / "w.npy", np.zeros((40, 40)))
    np.savez_compressed(tmp_path / "w.npz", weights=np.zeros((40, 40)))
    for name, message in {
        "w.txt.bz2": "unpacks to more than 10,000 bytes",
        "w.txt": "20,000 bytes came; wanted 10,000 at most",
        "w.npy": "bytes came; wanted 10,000 at most",
        "w.npz": "unpacks to 12,.* bytes; wanted 10,000 at most",
    }.items():
        with pytest.raises(ValueError, match=message):
            Connectome.read(tmp_path / name)


def test_no_matrix_of_more_regions_than_fit_is_cut_into_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "MOST_REGIONS", 20)
    for name, text in {"wide.txt": "0 " * 22, "wider.csv": "0," * 5000, "long.txt": "0\n" * 22}.items():
        with pytest.raises(ValueError, match=f"{name}, line .*: more rows or columns than for 20 regions"):
            Connectome.read(written(tmp_path / name, text))
    assert Connectome.read(written(tmp_path / "w.csv", lines_of(np.eye(20)))).n_regions == 20


def test_a_broken_bz2_is_named(tmp_path):
    whole = bz2.compress(b"0 1\n1 0\n")
    for content, message in ((whole[:-9], "breaks off in the middle"), (b"0 1\n1 0\n", "is it bz2")):
        (tmp_path / "w.txt.bz2").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            Connectome.read(tmp_path / "w.txt.bz2")


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    """One sound file a format, small, to be damaged."""
    folder = tmp_path_factory.mktemp("sound")
    placed = {"centres": 10 * np.eye(3), "orientations": np.eye(3), "labels": ["V1", "V2", "V3"]}
    brain = Connectome(WEIGHTS, WEIGHTS, **placed)
    for name in ("a.npz", "a.zip", "a_relmat.dense.tsv"):
        brain.write(folder / name)
    Connectome(WEIGHTS, labels=LABELS).write(folder / "a.csv")
    np.save(folder / "a.npy", WEIGHTS)
    written(folder / "a.txt", lines_of(WEIGHTS).replace(",", " "))
    written(folder / "a.tsv", lines_of(WEIGHTS).replace(",", "\t"))
    written(folder / "a.dat", "3\n0 1 1\n0 2 .25\n1 0 2\n2 1 5e4\n")
    (folder / "a.txt.bz2").write_bytes(bz2.compress(lines_of(WEIGHTS).replace(",", " ").encode()))
    cells = np.array(placed["labels"], dtype=object)
    scipy.io.savemat(folder / "a.mat", {"sc": WEIGHTS, "len": WEIGHTS, "labels": cells})
    scipy.io.savemat(folder / "packed.mat", {"sc": WEIGHTS, "len": WEIGHTS, "labels": cells}, do_compression=True)
    with h5py.File(folder / "new.mat", "w", userblock_size=512) as file:
        file["sc"], file["len"] = WEIGHTS.T, WEIGHTS.T
    assert {path.suffix for path in folder.iterdir()} >= formats.READERS.keys()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damaged(data, content: bytes) -> bytes:
    """Cut off, or with bits turned over, or with bytes replaced by others."""
    if data.draw(st.integers(0, 3)) == 0:
        return content[: data.draw(st.integers(0, len(content)))]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(changed)))
        stop = start + data.draw(st.integers(0, 6))
        texts = [b"\n", b",", b" ", b'"', b"9", b"nan", b"-", b"inf", b"V1"]
        changed[start:stop] = data.draw(st.binary(max_size=4) | st.sampled_from(texts))
    return bytes(changed)


def damaged_inside(data, name: str, content: bytes) -> bytes:
    """Packed anew around a damaged file, so that no checksum tells."""
    if name.endswith(".bz2"):
        return bz2.compress(damaged(data, bz2.decompress(content)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    member = data.draw(st.sampled_from(sorted(files)))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for other, inner in files.items():
            archive.writestr(other, damaged(data, inner) if other == member else inner)
    return packed.getvalue()


def assert_read_or_refused(originals, folder, data) -> None:
    """What is read is finite and square; what is refused is named."""
    name = data.draw(st.sampled_from(sorted(originals)))
    inside = name.endswith((".npz", ".zip", ".bz2")) and data.draw(st.booleans())
    for other, content in originals.items():
        (folder / other).write_bytes(content)
    whole = originals[name]
    (folder / name).write_bytes(damaged_inside(data, name, whole) if inside else damaged(data, whole))
    path = folder / ("a_relmat.dense.tsv" if name.startswith("a_") else name)
    try:
        brain = Connectome.read(path)
    except ValueError as error:
        assert len(str(error)) > 20
    else:
        assert brain.weights.shape == (brain.n_regions, brain.n_regions) and np.all(np.isfinite(brain.weights))
        assert brain.lengths is None or np.all(np.asarray(brain.lengths) >= 0)


DAMAGE = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=120, **DAMAGE)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_never_crashes(originals, tmp_path, data):
    assert_read_or_refused(originals, tmp_path, data)


@pytest.mark.slow
@settings(max_examples=2000, **DAMAGE)
@given(data=st.data())
def test_many_damaged_files_are_read_or_refused(originals, tmp_path, data):
    assert_read_or_refused(originals, tmp_path, data)
