"""The loop against diffrax's own, against analytic solutions, and against itself when it is cut and resumed."""

from math import factorial
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.integration import Final, StepNoise

KEY = jax.random.key(3)
WEIGHTS = np.random.default_rng(0).random((6, 6)) * (1 - np.eye(6))
LENGTHS = np.random.default_rng(1).uniform(0.0, 60.0, (6, 6))
LENGTHS[0, 1], LENGTHS[1, 2], LENGTHS[2, 3] = 0.2, 0.0, 1.1  # below a step, none at all, a few steps


class Level(NamedTuple):
    x: jax.Array


class Integrator(jnm.AbstractModel):
    """x' = what comes in; what it sends is x."""

    start: float = eqx.field(static=True, default=1.0)

    def init(self):
        return Level(jnp.full((), self.start))

    def drift(self, t, y, drive):
        return Level(jnp.broadcast_to(drive.synaptic + drive.current, y.x.shape).astype(y.x.dtype))

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


def worst(a, b):
    return max(float(jnp.max(jnp.abs(p - q))) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


SOLVERS = [
    diffrax.Euler(), diffrax.Heun(), diffrax.EulerHeun(), diffrax.ItoMilstein(), diffrax.StratonovichMilstein(),
    diffrax.SEA(), diffrax.SRA1(), diffrax.ShARK(),
]  # fmt: skip


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_ten_thousand_steps_equal_diffeqsolve(solver, x64):
    model, n, dt = jnm.PING(IE=2.0, sigma=0.05), 10_000, 0.05
    ours = jnm.simulate(model, n * dt, dt, key=KEY, solver=solver).ys
    milstein = "Milstein" in type(solver).__name__  # their order() refuses StepTo
    theirs = diffrax.diffeqsolve(
        jnm.terms(model, StepNoise(KEY, model, dt)), solver, 0.0, n * dt, dt if milstein else None, model.init(),
        stepsize_controller=diffrax.ConstantStepSize() if milstein else diffrax.StepTo(jnp.arange(n + 1) * dt),
        saveat=diffrax.SaveAt(steps=True), max_steps=n + 2,
    ).ys  # fmt: skip
    assert theirs is not None
    assert worst(jax.tree.map(lambda x: x[: n - 1], ours), jax.tree.map(lambda x: x[: n - 1], theirs)) < 1e-12


def test_two_halves_equal_the_whole_bit_for_bit():
    model = jnm.PING(IE=2.0, sigma=0.05)
    whole = jnm.simulate(model, 150.0, 0.05, key=KEY)
    half = jnm.simulate(model, 70.0, 0.05, key=KEY)
    rest = jnm.simulate(model, 150.0, 0.05, key=KEY, final=half.final)
    assert rest.ts[0] == pytest.approx(70.05)
    assert worst(rest.ys, jax.tree.map(lambda x: x[1400:], whole.ys)) == 0.0


def test_blocks_do_not_change_the_noise():
    model = jnm.PING(IE=2.0, sigma=0.05)
    runs = [jnm.simulate(model, 20.0, 0.05, key=KEY, block=block).ys for block in (400, 50, 37)]
    assert worst(runs[0], runs[1]) == worst(runs[0], runs[2]) == 0.0


def test_delayed_decay_is_of_second_order(x64):
    network = jnm.Network(
        Integrator(), jnm.Connectome([[1.0]], lengths=[[5.0]]), jnm.Linear(gain=-1.0), speed=5.0
    )  # y' = -y(t - 1)
    exact = sum((-1) ** k * max(5.0 - (k - 1), 0.0) ** k / factorial(k) for k in range(7))
    errors = [abs(float(jnm.simulate(network, 5.0, dt).ys.x[-1, 0]) - exact) for dt in (0.1, 0.05, 0.025)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - 2.0) < 0.1)


def test_gradients_through_delays_equal_finite_differences(x64):
    network = jnm.Network(
        jnm.PING(IE=4.0, sigma=0.02), jnm.Connectome(WEIGHTS, lengths=LENGTHS), jnm.Linear(gain=0.5), 4.3, (2.0, 9.0)
    )

    @jax.jit
    def loss(p):
        model = eqx.tree_at(lambda m: (m.coupling.gain, m.speed, m.node.sigma), network, tuple(p))
        return 100 * jnp.mean(jnm.simulate(model, 20.0, 0.05, key=KEY).ys.r ** 2)

    p = jnp.array([0.5, 4.3, 0.02])
    steps = jnp.diag(1e-5 * p)
    differences = jnp.array([(loss(p + h) - loss(p - h)) / (2 * h.sum()) for h in steps])
    np.testing.assert_allclose(jax.grad(loss)(p), differences, rtol=1e-6)


def test_zero_lengths_equal_no_delay():
    node, gain = jnm.PING(IE=4.0, sigma=0.02), jnm.Linear(gain=0.5)
    delayed = jnm.Network(node, jnm.Connectome(WEIGHTS, lengths=np.zeros((6, 6))), gain, speed=4.0)
    direct = jnm.Network(node, jnm.Connectome(WEIGHTS), gain)
    runs = [jnm.simulate(model, 20.0, 0.05, key=KEY).ys for model in (delayed, direct)]
    assert worst(*runs) < 1e-5


def test_a_speed_outside_its_range_is_a_code():
    network = jnm.Network(jnm.PING(IE=4.0), jnm.Connectome(WEIGHTS, lengths=LENGTHS), speed=4.0)
    fast = eqx.tree_at(lambda m: m.speed, network, jnp.array(40.0))
    assert "delay" in jnm.simulate(fast, 5.0, 0.05, throw=False).message
    with pytest.raises(RuntimeError, match="speed_range"):
        jnm.simulate(fast, 5.0, 0.05)


@pytest.mark.parametrize("onset", [600_000.0, 600_002.0])
def test_a_pulse_starts_on_time_after_six_million_steps_in_float32(onset):
    start = Final(Level(jnp.zeros(())), None, 6_000_000 - 20)
    pulse = jnm.Pulse(onset=onset, duration=1.5)
    run = jnm.simulate(Integrator(), 600_004.0, 0.1, stimulus=pulse, final=start, solver=diffrax.Euler())
    first = int(np.argmax(np.asarray(run.ys.x) > 0))
    assert abs(run.ts[first] - 0.1 - onset) < 1e-3
    assert float(run.ys.x[-1]) == pytest.approx(1.5, abs=1e-3)


def test_a_diverged_member_is_a_code_and_the_others_are_fine():
    node = jnm.ING()
    etas = jnp.array([20.0, jnp.inf])
    runs = jax.vmap(lambda eta: jnm.simulate(eqx.tree_at(lambda m: m.eta, node, eta), 5.0, 0.05))(etas)
    assert runs.result.tolist() == [0, 1]
    assert bool(jnp.all(jnp.isfinite(runs.ys.r[0])))


def test_a_diverged_run_says_when_what_and_where():
    network = jnm.Network(jnm.PING(IE=4.0, sigma_r=5.0), jnm.Connectome(WEIGHTS), jnm.Linear(gain=0.5))
    with pytest.raises(RuntimeError, match=r"t = .* ms, r, region .*smaller dt"):
        jnm.simulate(network, 20.0, 0.5, key=KEY)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(t1=-1.0, dt=0.1), "does not lie after"),
        (dict(t1=1.0, dt=0.0), "must be positive"),
        (dict(t1=1.0, dt=0.3), "whole number of steps"),
        (dict(t1=10.0, dt=0.1, save_every=0.25), "save_every"),
        (dict(t1=10.0, dt=0.1), "key="),
    ],
)
def test_impossible_arguments_are_explained(arguments, words):
    with pytest.raises(ValueError, match=words):
        jnm.simulate(jnm.PING(sigma=0.1), **arguments)


def test_a_start_that_is_not_finite_is_refused():
    model = jnm.ING()
    with pytest.raises(ValueError, match="not finite in v"):
        jnm.simulate(model, 1.0, 0.1, y0=model.init()._replace(v=jnp.nan))


def test_jit_with_a_closed_over_key():
    assert bool(
        jax.jit(lambda eta: jnp.isfinite(jnm.simulate(jnm.ING(eta=eta, sigma=0.1), 5.0, 0.05, key=KEY).ys.v).all())(
            20.0
        )
    )
