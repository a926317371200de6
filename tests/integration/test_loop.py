"""The loop of simulate(): blocks, resuming, what is kept, and what jit, vmap and grad make of it."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm._model import AbstractModel

DT = 0.05


def same(a, b):
    return all(bool(jnp.array_equal(x, y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# ------------------------------------------------------------------------------------------------ blocks and resuming


def noisy_network(delayed=False):
    rng = np.random.default_rng(0)
    brain = jnm.Connectome(
        rng.random((5, 5)) * (1 - np.eye(5)), lengths=rng.uniform(1.0, 40.0, (5, 5)) * (1 - np.eye(5))
    )
    return jnm.Network(jnm.PING(IE=2.0, sigma=0.05), brain, jnm.Linear(2.0), speed=4.0 if delayed else None)


@pytest.mark.parametrize("delayed", [False, True], ids=["undelayed", "delayed"])
@pytest.mark.parametrize("solver", [diffrax.Heun(), diffrax.ShARK()], ids=lambda s: type(s).__name__)
def test_the_length_of_blocks_changes_no_bit(delayed, solver):
    net, key = noisy_network(delayed), jax.random.key(1)
    runs = [jnm.simulate(net, 50.0, 0.05, key=key, block=block, solver=solver).ys for block in (None, 333, 7)]
    assert all(same(run, runs[0]) for run in runs[1:])


@pytest.mark.parametrize("delayed", [False, True], ids=["undelayed", "delayed"])
@pytest.mark.parametrize("steps", [1, 437, 800], ids=lambda n: f"after {n}")
def test_a_run_goes_on_as_if_it_had_never_stopped(delayed, steps):
    net, key = noisy_network(delayed), jax.random.key(1)
    stimulus = jnm.Pulse(onset=30.0, duration=5.0, amplitude=0.5)
    options = dict(key=key, stimulus=stimulus)
    whole = jnm.simulate(net, 50.0, 0.05, **options)
    begun = jnm.simulate(net, steps * 0.05, 0.05, **options)
    rest = jnm.simulate(net, 50.0, 0.05, final=begun.final, **options)
    assert same(begun.ys, jax.tree.map(lambda x: x[:steps], whole.ys))
    assert same(rest.ys, jax.tree.map(lambda x: x[steps:], whole.ys))
    assert same(rest.final, whole.final) and rest.final.step == whole.final.step == 1000
    np.testing.assert_allclose(rest.ts, whole.ts[steps:], rtol=1e-14)


def test_the_end_survives_jit_and_goes_on():
    net, key = noisy_network(True), jax.random.key(1)
    half = eqx.filter_jit(lambda key: jnm.simulate(net, 25.0, 0.05, key=key).final)(key)
    assert half.step == 500
    rest = jnm.simulate(net, 50.0, 0.05, key=key, final=half)
    assert same(rest.ys, jax.tree.map(lambda x: x[500:], jnm.simulate(net, 50.0, 0.05, key=key).ys))


# ---------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("stride", [1, 4, 25, 300, 1009, 2500])
@pytest.mark.parametrize("discard", [0, 2])
def test_saved_states_are_those_of_every_step_thinned(stride, discard):
    """Strides below and above a block, a prime one, and steps that none of them but one divides."""
    model, key, steps = jnm.PING(IE=2.0, sigma=0.05), jax.random.key(0), 10_077
    every = jnm.simulate(model, steps * DT, DT, key=key)
    thin = jnm.simulate(model, steps * DT, DT, key=key, save_every=stride * DT, discard=discard * stride * DT)
    wanted = np.arange(steps)[stride - 1 :: stride][discard:]
    assert same(thin.ys, jax.tree.map(lambda x: x[wanted], every.ys))
    np.testing.assert_allclose(thin.ts, every.ts[wanted], rtol=1e-12)
    assert thin.ts.shape == thin.ys.r.shape[:1]
    assert same(thin.final, every.final)


def test_save_is_a_function_of_time_and_state():
    model = jnm.PING(IE=2.0)
    run = jnm.simulate(model, 20.0, DT, t0=5.0, save_every=0.5, save=lambda t, y: {"time": t, "sum": y.r.sum()})
    states = jnm.simulate(model, 20.0, DT, t0=5.0, save_every=0.5).ys
    np.testing.assert_allclose(run.ys["time"], run.ts, rtol=1e-6)
    np.testing.assert_allclose(run.ys["sum"], states.r.sum(axis=1), rtol=1e-6)
    assert run.ts[0] == 5.5 and run.ts[-1] == 20.0


# ------------------------------------------------------------------------------------------------ transformations


class Counted(AbstractModel):
    """PING that counts how often its drift is traced."""

    node: jnm.NMM2
    traces: list = eqx.field(static=True)

    def init(self):
        return self.node.init()

    def drift(self, t, y, drive):
        self.traces.append(1)
        return self.node.drift(t, y, drive)

    def output(self, t, y):
        return self.node.output(t, y)

    def source(self, t, y, drive):
        return self.node.source(t, y, drive)


def test_ten_values_of_a_parameter_are_compiled_once():
    class Ears(list):
        __hash__ = object.__hash__

    heard = Ears()
    ends = []
    for IE in range(10):
        run = jnm.simulate(Counted(jnm.PING(IE=float(IE)), heard), 10.0, 0.1)
        ends.append(float(run.ys.r[-1, 0]))
        if IE == 0:
            first = len(heard)
    assert first > 0 and len(heard) == first
    assert len(set(ends)) == 10


def test_jit_vmap_and_scan_over_members_agree():
    net, key = noisy_network(), jax.random.key(0)
    gains = jnp.array([0.5, 1.0, 2.0])
    keys = jax.random.split(key, 3)

    def run(gain, key):
        return jnm.simulate(eqx.tree_at(lambda m: m.coupling.gain, net, gain), 10.0, 0.1, key=key).ys.r

    alone = jnp.stack([run(g, k) for g, k in zip(gains, keys, strict=True)])
    np.testing.assert_allclose(jax.vmap(run)(gains, keys), alone, rtol=2e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(run))(gains, keys), alone, rtol=2e-5)
    np.testing.assert_allclose(jax.lax.map(lambda x: run(*x), (gains, keys)), alone, rtol=2e-5)
    assert not np.allclose(alone[0], alone[1])


def test_gradients_are_finite_differences(x64):
    net, key = noisy_network(), jax.random.key(0)

    def loss(gain):
        model = eqx.tree_at(lambda m: m.coupling.gain, net, gain)
        return 100 * (jnm.simulate(model, 20.0, 0.1, key=key, block=40, save_every=0.5).ys.r ** 2).mean()

    gain, both = jnp.array(2.0), jax.jit(jax.value_and_grad(loss))
    slope = float(both(gain)[1])
    assert slope == pytest.approx(float(both(gain + 1e-5)[0] - both(gain - 1e-5)[0]) / 2e-5, rel=1e-6)
    along = jax.jit(lambda gain: jax.jvp(loss, (gain,), (jnp.ones_like(gain),))[1])
    assert along(gain) == pytest.approx(slope, rel=1e-9)


def test_a_key_may_be_closed_over_by_jit():
    """Under jit even a known key comes back traced, and the record of a run wants its seed."""
    key = jax.random.key(3)

    def last(eta):
        return jnm.simulate(jnm.ING(eta=eta, sigma=0.1), 5.0, DT, key=key).ys.v[-1]

    assert jax.jit(last)(20.0) == pytest.approx(float(last(20.0)), rel=1e-4)


def test_x64_models_run_in_double_precision_and_others_in_single(x64):
    assert jnm.simulate(jnm.PING(IE=2.0), 1.0, 0.1).ys.r.dtype == jnp.float64
    with jax.enable_x64(False):
        run = jnm.simulate(jnm.PING(IE=2.0, sigma=0.1), 1.0, 0.1, key=jax.random.key(0))
        assert run.ys.r.dtype == jnp.float32 and run.record["precision"] == "float32"
