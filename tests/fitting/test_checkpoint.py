"""Checkpoints: resuming equals never stopping bit for bit, and a checkpoint of another fit is refused."""

import functools
import json
import pickletools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jnm.fitting import LogSpectralLoss, fit, free
from jnm.fitting.checkpoint import fingerprint

KEY = jax.random.key(7)
OPTIMISER = optax.adam(0.05)
SETTINGS = dict(keys_per_step=2, judge_every=7, progress=False)


@pytest.fixture(scope="module")
def problem(ou):
    simulate = ou.simulation(1_000)
    data = jax.jit(simulate)(ou.Model(), jax.random.key(5))
    return LogSpectralLoss(simulate, data, 1.0, segment=200.0), *free(
        ou.Model(tau=20.0), lambda m: (m.tau, m.amplitude)
    )


def run(problem, steps, path, **changes):
    loss, theta, build = problem
    arguments = {"optimiser": OPTIMISER, "key": KEY} | SETTINGS | changes
    return fit(loss, theta, build, steps=steps, checkpoint=path, **arguments)


def assert_identical(a, b):
    for name in ("theta", "best_loss", "best_step", "start_loss", "last", "losses", "gradient_norms", "skipped"):
        jax.tree.map(np.testing.assert_array_equal, getattr(a, name), getattr(b, name))


def test_twenty_steps_are_ten_and_ten(problem, tmp_path):
    whole = run(problem, 20, None)
    run(problem, 10, tmp_path / "fit.ckpt")
    assert_identical(run(problem, 20, tmp_path / "fit.ckpt"), whole)
    assert_identical(run(problem, 20, tmp_path / "fit.ckpt"), whole)  # nothing left to do


def test_the_comparison_can_fail(problem, tmp_path):
    run(problem, 10, tmp_path / "fit.ckpt")
    with pytest.raises(AssertionError):
        assert_identical(run(problem, 20, tmp_path / "fit.ckpt"), run(problem, 20, None, key=jax.random.key(8)))


def test_interrupted_by_hand(problem, tmp_path, monkeypatch):
    """Ctrl-C in the middle of step 7 keeps six, in the file too, and the fit goes on from there."""
    module = sys.modules["jnm.fitting.step"]
    step, calls = module.one_step, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(module, "one_step", interrupted)
    part = run(problem, 20, tmp_path / "fit.ckpt")
    assert len(part.losses) == 6 and part.stopped == "interrupted by the user"
    monkeypatch.undo()
    assert_identical(run(problem, 20, tmp_path / "fit.ckpt"), run(problem, 20, None))


def test_written_on_the_way(problem, tmp_path, monkeypatch):
    """A crash that nothing can catch leaves the last checkpoint, whole."""
    module = sys.modules["jnm.fitting.step"]
    step, calls = module.one_step, []

    def crashing(*arguments):
        calls.append(1)
        if len(calls) == 9:
            raise MemoryError
        return step(*arguments)

    monkeypatch.setattr(module, "one_step", crashing)
    with pytest.raises(MemoryError):
        run(problem, 20, tmp_path / "fit.ckpt", checkpoint_every=4)
    monkeypatch.undo()
    assert json.loads((tmp_path / "fit.ckpt").read_bytes().split(b"\n", 1)[0])["steps"] == 8
    assert_identical(run(problem, 20, tmp_path / "fit.ckpt"), run(problem, 20, None))


def test_others_are_refused(problem, ou, tmp_path):
    path = tmp_path / "fit.ckpt"
    run(problem, 4, path)
    before = path.read_bytes()
    loss, theta, build = problem
    other_theta, other_build = free(ou.Model(tau=21.0), lambda m: (m.tau, m.amplitude))
    other_data = LogSpectralLoss(loss.simulation, (loss.f_hz, jnp.exp(loss.log_observed) * 1.01, 9.0), 1.0)
    refused = {
        "the model, the start": ((loss, other_theta, other_build), {}),
        "the loss": ((other_data, theta, build), {}),
        "the start": ((loss, jax.tree.map(lambda x: x + 0.1, theta), build), {}),
        "the key": (problem, {"key": jax.random.key(8)}),
        "the settings": (problem, {"keys_per_step": 3}),
        "the optimiser": (problem, {"optimiser": optax.sgd(0.1)}),
    }
    for what, (another, changes) in refused.items():
        with pytest.raises(ValueError, match=f"another fit: it differs in {what}\\."):
            run(another, 8, path, **changes)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header | {"jnm": "0.0.1"}, r"jnm \(0.0.1, here"),
        (lambda header: header | {"format_version": 99}, r"format_version \(99, here 1\)"),
        (lambda header: header | {"format": "something"}, "no checkpoint of jnm.fit"),
    ],
)
def test_other_versions_are_refused(problem, tmp_path, change, message):
    path = tmp_path / "fit.ckpt"
    run(problem, 4, path)
    line, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(json.dumps(change(json.loads(line))).encode() + b"\n" + rest)
    with pytest.raises(ValueError, match=message):
        run(problem, 8, path)


def test_damaged_files_are_refused(problem, tmp_path):
    path = tmp_path / "fit.ckpt"
    run(problem, 4, path)
    whole = path.read_bytes()
    for length in (len(whole) - 40, len(whole) // 2, whole.index(b"\n") + 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            run(problem, 8, path)
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match="no checkpoint of jnm.fit"):
        run(problem, 8, path)


def test_no_pickle_inside(problem, tmp_path):
    run(problem, 4, tmp_path / "fit.ckpt")
    content = (tmp_path / "fit.ckpt").read_bytes().split(b"\n", 1)[1]
    assert content.startswith(b"\x93NUMPY")
    with pytest.raises(ValueError):
        list(pickletools.genops(content))


@pytest.mark.parametrize("place", ["missing/fit.ckpt", ".", "file/fit.ckpt"])
def test_unwritable_before_the_first_step(ou, tmp_path, place):
    (tmp_path / "file").touch()
    called = []
    theta, build = free(ou.Model(), lambda m: m.tau)
    with pytest.raises(ValueError, match="cannot be written|is a directory"):
        fit(lambda m, key: called.append(1), theta, build, OPTIMISER, 5, KEY, checkpoint=tmp_path / place)
    assert not called


def test_fingerprint_sees_everything(ou):
    model = ou.Model()
    same = [ou.Model(), ou.Model(tau=10.0)]
    different = [
        ou.Model(tau=10.1),
        (model,),
        [model],
        {"a": model},
        model.tau,
        None,
        1,
        1.0,
        "1",
        True,
        KEY,
        np.ones(2),
    ]
    assert all(fingerprint(x) == fingerprint(model) for x in same)
    assert len({fingerprint(x) for x in different} | {fingerprint(model)}) == len(different) + 1


def test_fingerprint_sees_into_functions():
    def scaled(a):
        return jax.jit(lambda model, key: a * model)

    def endless(n):
        return endless(n)

    pairs = [
        (scaled(jnp.ones(2)), scaled(jnp.zeros(2))),
        (functools.partial(scaled, 1), functools.partial(scaled, 2)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x, a=1: x, lambda x, a=2: x),
    ]
    for one, other in pairs:
        assert fingerprint(one) != fingerprint(other)
    assert fingerprint(scaled(jnp.ones(2))) == fingerprint(scaled(jnp.ones(2)))
    assert fingerprint(endless) == fingerprint(endless)


def test_a_loss_that_holds_other_data_is_refused(ou, tmp_path):
    theta, build = free(ou.Model(), lambda m: m.tau)

    def loss_to(target):
        return lambda model, key: (model.tau - target) ** 2

    fit(loss_to(3.0), theta, build, OPTIMISER, 2, KEY, checkpoint=tmp_path / "fit.ckpt", progress=False)
    with pytest.raises(ValueError, match="the loss"):
        fit(loss_to(4.0), theta, build, OPTIMISER, 4, KEY, checkpoint=tmp_path / "fit.ckpt", progress=False)
