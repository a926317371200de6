"""save and load: every bit comes back, files are readable, and a bad file or path is named."""

import json
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import jnm
from jnm._saving import load, save

WEIGHTS = np.array([[0.0, 0.1], [1 / 3, 0.0]])


class Box(eqx.Module):
    """A user's module that holds whatever it is given."""

    content: object
    order: int = eqx.field(default=1, static=True)


def there_and_back(model, path, **options):
    save(model, path)
    return load(path, **options)


def same(a, b):
    """Equal in class, structure, dtypes and bits, NaN included."""
    leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)
    alike = [
        np.asarray(x).dtype == np.asarray(y).dtype and type(x) is type(y) for x, y in zip(leaves, others, strict=True)
    ]
    bits = [np.array_equal(x, y, equal_nan=True) for x, y in zip(leaves, others, strict=True)]
    return jax.tree.structure(a) == jax.tree.structure(b) and all(alike) and all(bits)


def edited(path, change):
    """The saved file with its content changed by `change`."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "make",
    [
        jnm.MPR,
        jnm.ING,
        jnm.Pyramidal,
        jnm.PING,
        jnm.PINGSecondOrder,
        jnm.JansenRit,
        lambda: jnm.PING(IE=jnp.linspace(0, 1, 7), sigma=(0.1, 1 / 3), receive=0, send=1),
        lambda: jnm.Network(jnm.PING(IE=2.0), jnm.Connectome(WEIGHTS, labels=["V1", "M1"]), jnm.Linear(gain=10.0)),
        lambda: jnm.Network(jnm.ING(), jnm.Connectome(WEIGHTS, lengths=30 * WEIGHTS), jnm.Diffusive(), speed=5.0),
        lambda: jnm.Network(jnm.JansenRit(), jnm.Connectome(WEIGHTS), jnm.Sigmoidal(gain=0.3)),
        lambda: jnm.Pulse(onset=10.0, duration=5.0, amplitude=0.3),
    ],
)
def test_models_come_back(make, tmp_path):
    model = make()
    assert same(there_and_back(model, tmp_path / "model.json"), model)


def test_a_network_comes_back_able_to_run(tmp_path):
    net = jnm.Network(jnm.ING(), jnm.Connectome(WEIGHTS, lengths=30 * WEIGHTS), jnm.Linear(gain=2.0), speed=5.0)
    again = there_and_back(net, tmp_path / "net.json")
    assert np.array_equal(jnm.simulate(net, 2.0, 0.05).ys.r, jnm.simulate(again, 2.0, 0.05).ys.r)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32", "uint8", "bool"])
def test_dtypes_come_back(dtype, tmp_path):
    model = Box(
        jnp.arange(6).reshape(2, 3).astype(dtype) / jnp.asarray(1, dtype)
        if dtype != "bool"
        else jnp.array([True, False])
    )
    assert same(there_and_back(model, tmp_path / "box.json", classes=[Box]), model)


@settings(deadline=None, max_examples=300)
@given(bits=st.integers(0, 2**32 - 1))
def test_every_float32_comes_back(bits, tmp_path_factory):
    value = np.array([bits], np.uint32).view(np.float32)
    again = there_and_back(Box(value), tmp_path_factory.getbasetemp() / "bits.json", classes=[Box]).content
    assert again.dtype == np.float32
    assert again.tobytes() == value.tobytes() or (np.isnan(value) and np.isnan(again)).all()


@settings(deadline=None, max_examples=300)
@given(value=st.floats())
def test_every_float64_comes_back(value, tmp_path_factory):
    again = there_and_back(Box(np.array(value)), tmp_path_factory.getbasetemp() / "bits.json", classes=[Box]).content
    assert (np.array_equal(again, value, equal_nan=True) and np.signbit(again) == np.signbit(value)) or np.isnan(value)


def test_numbers_that_json_lacks_are_words(tmp_path):
    model = Box(jnp.array([jnp.nan, jnp.inf, -jnp.inf, -0.0]))
    save(model, tmp_path / "box.json")
    numbers = json.loads((tmp_path / "box.json").read_text())["model"]["fields"]["content"]["numbers"]
    assert numbers == ["nan", "inf", "-inf", 0.0]
    assert same(load(tmp_path / "box.json", classes=[Box]), model)


def test_plain_python_values_and_empty_arrays_come_back(tmp_path):
    content = (1, 2.5, "V1 ä", None, True, [1, (2,)], float("inf"), np.zeros((0, 3)), Box(jnp.ones(2), order=4))
    again = there_and_back(Box(content), tmp_path / "box.json", classes=[Box]).content
    assert again[:7] == content[:7] and [type(a) for a in again] == [type(c) for c in content[:8]] + [Box]
    assert again[7].shape == (0, 3) and again[8].order == 4


def test_the_file_is_readable_and_has_units(tmp_path):
    save(jnm.JansenRit(p=0.1), tmp_path / "model.json")
    text = (tmp_path / "model.json").read_text()
    assert '"p": {"numbers": 0.1, "dtype": "float32", "shape": [], "unit": "1/ms"}' in text
    save(jnm.PING(), tmp_path / "ping.json")
    assert "[5.0, -13.0],\n" in (tmp_path / "ping.json").read_text()  # a line for each row of a matrix
    assert json.loads(text)["jnm"] == jnm.__version__
    assert json.loads(text)["model"]["class"] == "jnm.JansenRit"


def test_double_precision_is_not_rounded_unasked(tmp_path):
    path = tmp_path / "model.json"
    with jax.enable_x64(True):
        model = jnm.ING(eta=1 / 3)
        save(model, path)
        assert same(load(path), model)
    with pytest.raises(ValueError, match=r"model.tau_m was saved in float64.*enable x64.*cast=True"):
        load(path)
    assert load(path, cast=True).eta == np.float32(1 / 3)


def test_single_precision_stays_single_under_x64(tmp_path):
    save(jnm.ING(), tmp_path / "model.json")
    with jax.enable_x64(True):
        assert load(tmp_path / "model.json").eta.dtype == jnp.float32


def test_own_classes_must_be_handed_in(tmp_path):
    save(Box(jnm.ING()), tmp_path / "box.json")
    with pytest.raises(ValueError, match=r"model is of class Box.*classes=\[Box\].*Known are .*jnm.NMM2"):
        load(tmp_path / "box.json")
    assert load(tmp_path / "box.json", classes=[Box]).content.preset == "ING"


def test_nothing_outside_jnm_is_reached_by_name(tmp_path):
    save(jnm.ING(), tmp_path / "model.json")
    for name in ("os.system", "jnm.AbstractModel", "equinox.nn.MLP", "jnm.models.nmm2._Preset"):
        edited(tmp_path / "model.json", lambda content, name=name: content["model"].update({"class": name}))
        with pytest.raises(ValueError, match=f"is of class {name}, which is not known"):
            load(tmp_path / "model.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.update(format_version=2, jnm="9.1"),
            r"has format 2 \(written by jnm 9.1\); this jnm reads format 1",
        ),
        (lambda c: c.pop("format"), r"is JSON but no jnm model"),
        (lambda c: c.pop("model"), r"is JSON but no jnm model"),
        (
            lambda c: c["model"]["fields"].pop("eta"),
            r"NMM2 has fields tau_m.*missing are \['eta'\], not known are \[\]",
        ),
        (lambda c: c["model"]["fields"].update(g=1), r"missing are \[\], not known are \['g'\]"),
        (lambda c: c["model"]["fields"]["eta"].update(shape=[2]), r"model.eta: the numbers do not make .* shape \[2\]"),
        (lambda c: c["model"]["fields"]["eta"].update(numbers="x"), r"model.eta: the numbers do not make"),
        (lambda c: c["model"]["fields"]["eta"].update(numbers="nan"), r"model is refused: NMM2: eta = nan"),
        (lambda c: c["model"]["fields"]["tau_m"].update(numbers=-1.0), r"refused: NMM2: tau_m = -1 is outside"),
        (
            lambda c: c["model"]["fields"]["tau_m"].update(unit="s"),
            r"model.tau_m is in 's' in the file; NMM2 wants 'ms'",
        ),
        (lambda c: c["model"]["fields"].update(order=5), r"refused: NMM2: order = 5"),
        (lambda c: c["model"]["fields"].update(eta={"a": 1}), r"model.eta holds .*which jnm.save does not write"),
        (lambda c: c["model"]["fields"].update(C="x"), r"refused: A parameter is a number"),
    ],
)
def test_a_spoilt_file_is_named(change, message, tmp_path):
    save(jnm.ING(), tmp_path / "model.json")
    with pytest.raises(ValueError, match=r"model\.json.*" + message):
        load(edited(tmp_path / "model.json", change))


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": "jnm mo', b"\xff\xfe\x00", b"[1, 2]"])
def test_a_file_that_is_no_model_is_named(content, tmp_path):
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json is (not a whole JSON file|JSON but no jnm model)"):
        load(tmp_path / "broken.json")


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        load("nowhere.json")


def test_a_place_that_cannot_be_written_is_named_first(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"the directory .*missing does not exist"):
        save(jnm.ING(), tmp_path / "missing" / "model.json")
    with pytest.raises(ValueError, match="is a directory"):
        save(jnm.ING(), tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    with pytest.raises(ValueError, match="no permission"):
        save(jnm.ING(), tmp_path / "model.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jnp.tanh, r"model.content is a .*which a JSON file cannot hold"),
        (jax.random.key(0), r"model.content has dtype key.*only real numbers"),
        (1j * np.ones(2), r"model.content has dtype complex128"),
        ((1, {"a": 1}), r"model.content\[1\] is a dict"),
    ],
)
def test_what_json_cannot_hold_is_named_and_the_old_file_stays(content, message, tmp_path):
    (tmp_path / "model.json").write_text("old")
    with pytest.raises(ValueError, match=message):
        save(Box(content), tmp_path / "model.json")
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]
    assert (tmp_path / "model.json").read_text() == "old"


def test_a_batch_of_models_is_refused(tmp_path):
    batch = jax.vmap(lambda eta: jnm.PING(eta=eta))(jnp.ones((3, 2)))
    with pytest.raises(
        ValueError, match=r"model cannot be saved, because it could not be built again: NMM2: .* has shape"
    ):
        save(batch, tmp_path / "batch.json")
    with pytest.raises(ValueError, match=r"wants a model.*got dict"):
        save({}, tmp_path / "batch.json")
