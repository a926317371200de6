"""Delays: exact solutions, a dense reference written out in NumPy, gradients, and every length an edge can have."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

import jnm
from jnm._model import AbstractModel
from jnm.integration.noise import noisy_part
from jnm.network import delay

KEY = jax.random.key(1)
DT, GAIN, SPEED = 0.1, 0.7, 4.0


class One(NamedTuple):
    x: jax.Array


class Receiver(AbstractModel):
    """x' = what arrives."""

    def init(self):
        return One(jnp.ones(()))

    def drift(self, t, y, drive):
        return One(drive.synaptic + 0 * y.x)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


class Leaky(Receiver):
    """x' = -0.2 x + tanh(arrived + 0.3) + noise; it sends sin x."""

    sigma: jax.Array | None = jnm.param(0.05, optional=True)

    def drift(self, t, y, drive):
        return One(-0.2 * y.x + jnp.tanh(drive.synaptic + 0.3))

    def diffusion(self, t, y):
        return None if self.sigma is None else One(jnp.broadcast_to(self.sigma, y.x.shape))

    def output(self, t, y):
        return jnp.sin(y.x)


def test_what_is_saved_hears_what_has_arrived(x64):
    """The afferent part of a source, beside delays of many steps, of a few, below one, and none: by interpolation."""
    rng = np.random.default_rng(3)
    weights, lengths = rng.normal(size=(4, 4)), rng.uniform(0.0, 40.0, (4, 4))
    lengths[0], lengths[1, 1] = [0.05, 0.3, 0.7, 1.5], 0.0
    net = jnm.Network(jnm.WilsonCowan(P=rng.uniform(0.5, 2.0, 4)), jnm.Connectome(weights, lengths), speed=SPEED)
    pulse = jnm.Pulse(onset=3.0, duration=2.0, amplitude=0.2, into="synaptic")

    def seen(t, y, drive):
        return y.E, net.source(t, y, drive) - net.source(t, y, jnm.Drive(arrive=lambda own: 0 * own))

    E, afferent = jnm.simulate(net, 12.0, DT, stimulus=pulse, save=seen, block=50).ys
    ts = DT * np.arange(1, 121)
    past = [np.interp(ts[:, None] - lengths[:, j] / SPEED, [0.0, *ts], [0.0, *E[:, j]]) for j in range(4)]  # from 0 on
    pulsed = 0.2 * ((ts > 2.99) & (ts < 4.99))
    np.testing.assert_allclose(afferent, np.einsum("ij,jti->ti", weights, past) + pulsed[:, None], atol=1e-12)


def one_region(length=5.0, gain=-1.0):
    """x'(t) = gain * x(t - length / 5 ms), the delay anywhere between half and twice of that."""
    return jnm.Network(Receiver(), jnm.Connectome([[1.0]], lengths=[[length]]), jnm.Linear(gain), speed=5.0)


def method_of_steps(t, delay):
    """The solution of x'(t) = -x(t - delay) with x = 1 up to 0."""
    terms = range(math.floor(t / delay) + 2)
    return sum((-1) ** k * (t - (k - 1) * delay) ** k / math.factorial(k) for k in terms if t >= (k - 1) * delay)


def six_regions(sigma=0.05, node=None, speed_range=None):
    """Edges of all kinds: none, of no length, of a part of a step, of a step, of a few and of a hundred."""
    rng = np.random.default_rng(0)
    weights = rng.random((6, 6)) * (1 - np.eye(6))
    weights[4, 2] = 0.0
    lengths = rng.uniform(2.0, 50.0, (6, 6))
    lengths[0, 1], lengths[1, 2], lengths[2, 3], lengths[3, 4], lengths[5, 0] = 0.0, 0.13, SPEED * DT, 0.5, 1.7
    brain = jnm.Connectome(weights, lengths=lengths)
    return jnm.Network(
        Leaky(sigma) if node is None else node, brain, jnm.Linear(GAIN), speed=SPEED, speed_range=speed_range
    )


def at(past, position):
    """A row of [time, region] at a real position, a column for each region."""
    before = np.minimum(np.floor(position).astype(int), len(past) - 2)
    share = position - before
    regions = np.arange(past.shape[1])
    return (1 - share) * past[before, regions] + share * past[before + 1, regions]


def reference(net, steps, theta=1.0, weights_of_stages=(0.5, 0.5), kicks=None):
    """x after each step by a two-stage method (Heun's by default), edge by edge, with the whole past kept.

    A delay of a step or more is interpolated in the past at both ends of the step, and between those at the stage; a
    shorter one between the past, now and the stage.
    """
    W, d = np.asarray(net.connectome.weights), np.asarray(net.connectome.lengths) / (float(net.speed) * DT)
    x, out = np.ones(6), [np.full(6, np.sin(1.0))] * 2000
    states = []
    for n in range(steps):
        past, now = np.array(out), len(out) - 1

        def arrived(theta, stage, past=past, now=now):
            total = np.zeros(6)
            for i in range(6):
                ends = (1 - theta) * at(past, now - d[i]) + theta * at(past, np.minimum(now + 1 - d[i], now))
                before = at(past, np.minimum(now + theta - d[i], now))
                inside = past[now] + np.clip((theta - d[i]) / max(theta, 1e-9), 0, 1) * (np.sin(stage) - past[now])
                short = np.where(d[i] >= theta, before, inside)
                total[i] = W[i] @ np.where(d[i] >= 1, ends, short)
            return total

        def slope(x, theta):
            return -0.2 * x + np.tanh(GAIN * arrived(theta, x) + 0.3)

        kick = 0.0 if kicks is None else kicks[n]
        k0 = slope(x, 0.0)
        k1 = slope(x + theta * DT * k0 + kick, theta)
        x = x + DT * (weights_of_stages[0] * k0 + weights_of_stages[1] * k1) + kick
        out.append(np.sin(x))
        states.append(x)
    return np.array(states)


@pytest.fixture(params=[None, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 8)), 40])
def block(request, monkeypatch) -> Iterator[int | None]:
    """The steps of a stretch: what the plan chooses, or a number forced on it."""
    if request.param is not None:
        monkeypatch.setattr(delay, "_cheapest_block", lambda least: request.param)
    jax.clear_caches()  # the plan is made while a run is traced
    yield request.param
    jax.clear_caches()


def test_a_network_against_a_dense_reference(x64, block):
    """However many edges go the slow way: with stretches of 1 step those that may be shorter, with 40 most."""
    net = six_regions()
    kicks = 0.05 * np.asarray(jnm.White().draw(KEY, jnp.int32(0), 400, DT, noisy_part(net), False))
    run = jnm.simulate(net, 400 * DT, DT, key=KEY)
    slow = len(net.delays(DT).slow[0])
    assert {None: 0 < slow < 29, 1: slow < 5, 40: slow > 10}.get(block, True)
    np.testing.assert_allclose(run.ys.x, reference(net, 400, kicks=kicks), rtol=0, atol=1e-10)


def test_a_stage_within_the_step_against_the_reference(x64):
    net = six_regions(sigma=None)
    run = jnm.simulate(net, 200 * DT, DT, solver=diffrax.Midpoint())
    np.testing.assert_allclose(run.ys.x, reference(net, 200, 0.5, (0.0, 1.0)), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("length", "tolerance"), [(5.0, 0.1), (4.685, 0.2), (9.3, 0.2)])
def test_heun_has_order_two_with_delays(x64, length, tolerance):
    """On x' = -x(t - delay), whose solution is known piece by piece; frozen over the step the order would be 1.

    A delay that is no whole number of steps has kinks between steps, whose place changes the error's constant.
    """
    steps = [0.1 / 2**k for k in range(6)]
    exact = method_of_steps(6.0, length / 5)
    errors = [abs(float(jnm.simulate(one_region(length), 6.0, dt, save_every=6.0).ys.x[0, 0]) - exact) for dt in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(2.0, abs=tolerance)


def test_delays_below_a_step_keep_order_two(x64):
    """x' = -x(t - delay) with exp(rate t) for its past, rate = W(-delay) / delay, goes on so; delay: 0.3 steps."""

    def error(dt):
        rate = float(np.real(lambertw(-0.3 * dt))) / (0.3 * dt)
        past = np.exp(rate * dt * np.arange(-5, 1))[:, None]
        x = jnm.simulate(one_region(length=1.5 * dt), 4.0, dt, save_every=4.0, history=past).ys.x[0, 0]
        return abs(float(x) - np.exp(4.0 * rate))

    errors = [error(dt) for dt in (0.2, 0.1, 0.05, 0.025)]
    assert np.log2(errors[0] / errors[3]) / 3 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "solver", [diffrax.Bosh3(), diffrax.Dopri5(), diffrax.Ralston()], ids=lambda s: type(s).__name__
)
def test_other_solvers_solve_the_same_equation(x64, solver):
    net = six_regions(sigma=None)
    ours = jnm.simulate(net, 20.0, DT, solver=solver, save_every=20.0).ys.x
    fine = jnm.simulate(net, 20.0, DT / 16, save_every=20.0).ys.x
    np.testing.assert_allclose(ours, fine, atol=2e-3)  # what is linear between steps has order two, whoever steps
    euler = jnm.simulate(net, 20.0, DT, solver=diffrax.Euler(), save_every=20.0).ys.x
    assert np.abs(np.asarray(euler) - fine).max() > 2e-2


# -------------------------------------------------------------------------------------------------------- gradients


def network_with_short_and_long_edges():
    node = jnm.PING(IE=4.0, sigma=0.02)
    return six_regions(node=node, speed_range=(2.0, 9.0))


def test_gradients_of_gain_speed_and_noise_are_finite_differences(x64):
    net = network_with_short_and_long_edges()

    def loss(p):
        model = eqx.tree_at(lambda m: (m.coupling.gain, m.speed, m.node.sigma), net, tuple(p))
        return 100 * (jnm.simulate(model, 20.0, DT, key=KEY, block=50).ys.r ** 2).mean()

    p = jnp.array([0.5, 4.3, 0.02])
    both = jax.jit(jax.value_and_grad(loss))
    slope = np.asarray(both(p)[1])
    for i, step in enumerate(1e-6 * p):  # small: the interpolated past has a kink at every whole step
        values = [float(both(p.at[i].add(k * step))[0]) for k in (-2, -1, 1, 2)]
        difference = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * float(step))
        assert slope[i] == pytest.approx(difference, rel=1e-6), ("gain", "speed", "sigma")[i]
    forward = jax.jit(lambda p, along: jax.jvp(loss, (p,), (along,))[1])(p, jnp.array([0.0, 1.0, 0.0]))
    assert forward == pytest.approx(slope[1], rel=1e-8)


def test_synchrony_of_a_delayed_network_by_its_speed(x64):
    """Kuramoto order and phase locking over a short run of three oscillating regions: tangent and finite difference."""
    lengths = np.array([[0.0, 31.0, 52.0], [43.0, 0.0, 27.0], [38.0, 61.0, 0.0]])
    brain = jnm.Connectome((1 - np.eye(3)) / 2, lengths)
    net = jnm.Network(jnm.PING(IE=10.0), brain, jnm.Linear(8.0), speed=5.0)
    start = eqx.tree_at(lambda y: y.v, net.init(), net.init().v.at[0].add(jnp.array([0.0, 0.7, 1.5])))

    @eqx.filter_jit
    def measures(speed):
        model = eqx.tree_at(lambda m: m.speed, net, speed)
        rates = jnm.simulate(model, 60.0, 0.1, y0=start, save_every=0.5, discard=10.0, save=lambda t, y: y.r[0]).ys
        theta = jnm.observe.phase(rates, 0.5)
        return jnp.stack([jnp.mean(jnm.observe.kuramoto_order(theta)), jnp.mean(jnm.observe.phase_locking(theta))])

    speed, step = jnp.asarray(5.03), 1e-6
    values, slopes = jax.jvp(measures, (speed,), (jnp.ones_like(speed),))
    assert np.all((values > 0) & (values < 1)) and np.all(np.abs(slopes) > 1e-4)
    difference = (measures(speed + step) - measures(speed - step)) / (2 * step)
    np.testing.assert_allclose(slopes, difference, rtol=1e-5)


def test_a_loss_is_continuous_in_the_speed_through_a_delay_of_one_step(x64):
    """The scheme changes there, its value must not; nor may the gradient be anything but the slope of either side."""
    net = one_region(length=0.5)  # at 5 mm/ms exactly one step

    @jax.jit
    @jax.value_and_grad
    def both(speed):
        model = eqx.tree_at(lambda m: m.speed, net, speed)
        return jnm.simulate(model, 3.0, DT).ys.x[-1, 0]

    def end(speed):
        return both(speed)[0]

    value, below, above = (float(end(jnp.array(5.0 * s))) for s in (1.0, 1 - 1e-9, 1 + 1e-9))
    assert abs(below - value) < 1e-8 and abs(above - value) < 1e-8
    left = float(end(jnp.array(5.0)) - end(jnp.array(5.0 - 1e-5))) / 1e-5
    right = float(end(jnp.array(5.0 + 1e-5)) - end(jnp.array(5.0))) / 1e-5
    slope = float(both(jnp.array(5.0))[1])
    assert min(left, right) * (1 - 1e-4) < slope < max(left, right) * (1 + 1e-4)
    across = float(end(jnp.array(5.5)) - end(jnp.array(4.5)))
    assert [left, right] == pytest.approx([across] * 2, rel=0.1)


# ----------------------------------------------------------------------------------------- all lengths and all speeds


def test_edges_without_length_are_no_delays(x64):
    net = network_with_short_and_long_edges()
    weights = net.connectome.weights
    none = jnm.Network(net.node, jnm.Connectome(weights), net.coupling)
    zero = jnm.Network(net.node, jnm.Connectome(weights, lengths=np.zeros((6, 6))), net.coupling, speed=4.0)
    for solver in (diffrax.Heun(), diffrax.EulerHeun()):
        a, b = (jnm.simulate(m, 20.0, DT, key=KEY, solver=solver).ys.v for m in (none, zero))
        assert float(jnp.abs(a - b).max()) < 1e-13


def test_speeds_may_move_in_their_range_and_are_reported_outside(x64):
    net = network_with_short_and_long_edges()

    def run(speed):
        model = eqx.tree_at(lambda m: m.speed, net, speed)
        return jnm.simulate(model, 5.0, DT, key=KEY, throw=False)

    codes = jax.vmap(run)(jnp.array([0.5, 1.9, 2.0, 4.0, 8.99, 12.0, 50.0])).result
    assert codes.tolist() == [2, 2, 0, 0, 0, 2, 2]
    with pytest.raises(RuntimeError, match=r"outside the range the network was built for. Cure: .*speed_range"):
        jnm.simulate(eqx.tree_at(lambda m: m.speed, net, jnp.array(20.0)), 5.0, DT, key=KEY)


def test_a_batch_of_speeds_and_gains_is_what_each_is_alone(x64):
    net = network_with_short_and_long_edges()

    def run(speed, gain):
        model = eqx.tree_at(lambda m: (m.speed, m.coupling.gain), net, (speed, gain))
        return jnm.simulate(model, 10.0, DT, key=KEY).ys.v

    speeds, gains = jnp.array([2.5, 4.0, 8.0]), jnp.array([0.2, 0.5, 1.0])
    alone = jnp.stack([run(s, g) for s, g in zip(speeds, gains, strict=True)])
    np.testing.assert_allclose(jax.vmap(run)(speeds, gains), alone, rtol=1e-10)
    assert jnp.abs(alone[0] - alone[2]).max() > 1e-3


@pytest.mark.parametrize("weights", [np.zeros((3, 3)), np.eye(3)[[1, 2, 0]]], ids=["no edges", "a ring"])
def test_few_or_no_edges(weights):
    net = jnm.Network(Leaky(None), jnm.Connectome(weights, lengths=np.full((3, 3), 30.0)), speed=3.0)
    x = jnm.simulate(net, 30.0, DT).ys.x
    assert jnp.isfinite(x).all()
    alone = jnm.simulate(Leaky(None), 30.0, DT).ys.x
    assert bool(jnp.allclose(x[:, 0], alone, rtol=1e-5)) == (not weights.any())


def test_a_weight_that_was_zero_is_read_when_it_comes_alive(x64):
    """A fit may wake an edge: it is read if its delay lies in what the plan keeps, and reported if it does not."""
    net = six_regions(sigma=None)
    assert net.connectome.weights[4, 2] == 0.0
    woken = eqx.tree_at(lambda m: m.connectome.weights, net, net.connectome.weights.at[4, 2].set(0.8))
    run = jnm.simulate(woken, 20.0, DT)
    assert run.result == 0
    np.testing.assert_allclose(run.ys.x, reference(woken, 200), atol=1e-10)
    far = eqx.tree_at(lambda m: m.connectome.lengths, woken, net.connectome.lengths.at[4, 2].set(500.0))
    assert jnm.simulate(far, 20.0, DT, throw=False).result == 2


# --------------------------------------------------------------------------------- speeds and delays of each connection


def test_each_connection_has_a_speed_of_its_own(x64):
    """As if all were as fast and the lengths were others; the gradient in one speed is its finite difference."""
    net = six_regions(sigma=None)
    speeds = jnm.network.drawn_speeds(6, median=SPEED, spread=0.3, seed=1)
    own = jnm.Network(net.node, net.connectome, net.coupling, speed=speeds)
    lengths = net.connectome.lengths * SPEED / speeds
    same = jnm.Network(net.node, jnm.Connectome(net.connectome.weights, lengths), net.coupling, speed=SPEED)
    run = eqx.filter_jit(lambda m: jnm.simulate(m, 20.0, DT).ys.x)
    np.testing.assert_allclose(run(own), run(same), atol=1e-12)

    @jax.jit
    @jax.value_and_grad
    def both(speed):
        return 100 * jnp.sum(run(eqx.tree_at(lambda m: m.speed, own, own.speed.at[3, 5].set(speed))) ** 2)

    at, step = speeds[3, 5], 1e-5
    difference = float(both(at + step)[0] - both(at - step)[0]) / (2 * step)
    assert float(both(at)[1]) == pytest.approx(difference, rel=1e-5)
    low, high = own.speed_range
    assert low == pytest.approx(float(speeds.min()) / 2) and high == pytest.approx(2 * float(speeds.max()))


def test_drawn_speeds_are_log_normal_and_alike_both_ways():
    speeds = np.asarray(jnm.network.drawn_speeds(200, median=5.0, spread=0.3, seed=0))
    np.testing.assert_array_equal(speeds, speeds.T)
    logs = np.log(speeds[np.triu_indices(200, 1)])
    assert logs.mean() == pytest.approx(np.log(5.0), abs=4 * 0.3 / np.sqrt(logs.size))
    assert logs.std() == pytest.approx(0.3, rel=4 / np.sqrt(2 * logs.size))
    assert np.all(np.asarray(jnm.network.drawn_speeds(3, 5.0, 0.0, seed=0)) == 5.0)
    with pytest.raises(ValueError, match="median = 0.0, spread = 0.3; wanted median > 0"):
        jnm.network.drawn_speeds(3, 0.0, 0.3, seed=0)
    slopes = jax.jit(jax.jacfwd(lambda m, s: jnm.network.drawn_speeds(200, m, s, seed=0), (0, 1)))(5.0, 0.3)
    np.testing.assert_allclose(slopes[0], speeds / 5, rtol=1e-5)
    np.testing.assert_allclose(slopes[1], speeds * np.log(speeds / 5) / 0.3, rtol=1e-4, atol=1e-5)


def test_delays_are_given_themselves(x64):
    """x'(t) = -x(t - 1.7 ms): the method of steps, and the gradient in the delay."""
    bare = jnm.Connectome([[1.0]])
    net = jnm.Network(Receiver(), bare.with_delays([[1.7]]), jnm.Linear(-1.0), speed=1.0)
    x = jnm.simulate(net, 8.0, 0.01).ys.x[:, 0]
    assert float(x[-1]) == pytest.approx(method_of_steps(8.0, 1.7), abs=1e-4)
    assert bare.with_delays([[1.7]], speed=4.0).lengths[0, 0] == 6.8
    for delays, message in (([[-1.0]], "negative"), ([[np.nan]], "not finite"), ([1.0], r"shape \(1,\)")):
        with pytest.raises(ValueError, match=message):
            bare.with_delays(delays)
    with pytest.raises(ValueError, match="speed = 0"):
        bare.with_delays([[1.0]], speed=0.0)


def test_memory_does_not_grow_with_the_run():
    """What a compiled run needs beside its arguments: thirty regions send 120 bytes a step, and none are kept."""
    brain = jnm.datasets.connectome(n_regions=30).normalised("rows")
    net = jnm.Network(jnm.PING(IE=4.0), brain, jnm.Linear(8.0), speed=5.0)
    last = jnm.Reduction(lambda y: y.r, lambda kept, t, y: y.r, lambda kept: kept)

    def needed(t1):
        def run(speed):
            model = eqx.tree_at(lambda m: m.speed, net, speed)
            return jnm.simulate(model, t1, DT, save=last, block=40, throw=False).ys

        return jax.jit(run).lower(jnp.float32(4.0)).compile().memory_analysis().temp_size_in_bytes

    more_steps = (400.0 - 40.0) / DT
    assert needed(400.0) - needed(40.0) < more_steps  # one byte each


# ------------------------------------------------------------------------------------------------------- the past


def test_a_given_past_is_used(x64):
    """x' = -(pi / 2) x(t - 1) with a cosine for its past goes on as the cosine."""
    net = one_region(gain=-np.pi / 2)
    past = np.cos(np.pi / 2 * 0.01 * np.arange(-400, 1))
    x = jnm.simulate(net, 20.0, 0.01, history=past[:, None]).ys.x[:, 0]
    np.testing.assert_allclose(x, np.cos(np.pi / 2 * 0.01 * np.arange(1, 2001)), atol=2e-3)
    constant = jnm.simulate(net, 20.0, 0.01).ys.x[:, 0]
    assert np.abs(constant - x).max() > 0.1


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (np.ones((5, 6)), r"history has shape \[5, 6\]; the delays reach back .* steps.*\[time >= \d+, region = 6\]"),
        (np.ones((5000, 4)), r"history has shape \[5000, 4\]"),
        (np.ones(5000), r"history has shape \[5000\]"),
        (np.full((5000, 6), np.nan), r"history= has values that are not finite"),
    ],
)
def test_a_past_that_does_not_fit_is_named(history, message):
    with pytest.raises(ValueError, match=message):
        jnm.simulate(six_regions(), 5.0, DT, key=KEY, history=history)
