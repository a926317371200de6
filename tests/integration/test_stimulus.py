"""Stimuli: clocks and onsets that float32 does not spoil, and how an input reaches populations and regions."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import jnm
from jnm._model import AbstractModel
from jnm._param import share
from jnm.integration import Final, Time
from jnm.integration.clock import as_time, clock, fraction_of_product, product

LATE = 6_000_000  # steps: ten minutes at 0.1 ms


class One(NamedTuple):
    x: jax.Array


class Clock(AbstractModel):
    """x' = the current it sees."""

    shape: tuple[int, ...] = eqx.field(default=(), static=True)

    def init(self):
        return One(jnp.zeros(self.shape))

    def drift(self, t, y, drive):
        return One(share(drive.current, y.x.ndim) + 0 * y.x)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


def late_run(stimulus, steps=60, dt=0.1, solver=None, back=20):
    """x from `back` steps before step LATE on, and the current that moved it in each step."""
    begin = Final(Clock().init(), None, LATE - back)
    t1 = (LATE - back + steps) * dt
    run = jnm.simulate(Clock(), t1, dt, stimulus=stimulus, final=begin, solver=solver)
    x = np.concatenate([[0.0], np.asarray(run.ys.x, np.float64)])
    return run.ts, np.diff(x) / dt


@pytest.mark.parametrize("number", [1, 4095, 6_000_000, 123_456_789, 2_000_000_123])
@pytest.mark.parametrize("dt", [0.1, 0.05, 1 / 3, 0.0125, 7.0])
def test_the_clock_of_single_precision_is_right_to_a_millionth_of_a_ms(number, dt):
    t = jax.jit(lambda n: clock(n, dt, 0.07))(jnp.int32(number))  # compiled: XLA simplifies what it thinks is zero
    assert t.large.dtype == jnp.float32
    exact = number * dt + 0.07
    assert float(t.large) + float(t.small) == pytest.approx(exact, abs=1e-6 + 2e-16 * exact, rel=3e-15)


def test_parts_of_times_and_products(x64):
    for value in (600_000.05, 1e-3, 123_456.789):
        with jax.enable_x64(False):
            t = as_time(value)
            assert float(t.large) + float(t.small) == pytest.approx(value, abs=1e-9)
            assert float(Time(jnp.float32(600_000.1), 0.0) - as_time(600_000.1)) == pytest.approx(0.025, abs=1e-3)
    p = product(jnp.int32(-5), 0.1, jnp.dtype("float32"))
    assert float(p.large) + float(p.small) == pytest.approx(-0.5, abs=1e-7)
    rng = np.random.default_rng(0)
    a, b = np.float32(rng.uniform(0, 300, 500)), np.float32(rng.integers(0, 10_000, 500))
    exact = np.float64(a) * np.float64(b)
    got = np.asarray(fraction_of_product(jnp.asarray(a), jnp.asarray(b)), np.float64)
    error = (got - exact + 0.5) % 1 - 0.5
    assert np.abs(error).max() < 1e-6
    assert np.abs(np.float64(a * b) - exact).max() > 1e-2  # what a product in float32 is worth


@pytest.mark.parametrize("solver", [diffrax.Heun(), diffrax.Euler(), diffrax.Bosh3()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("onset", [600_000.0, 600_000.1, 599_999.3, 600_001.7])
def test_an_onset_is_right_to_a_thousandth_of_a_ms_after_six_million_steps(solver, onset):
    """Single precision alone knows these times to 0.06 ms, and its own clock is 5 ms wrong by then."""
    ts, current = late_run(jnm.Pulse(onset=onset, duration=1.5, amplitude=2.0), solver=solver)
    begun = ts - 0.1
    inside = (begun > onset - 1e-3) & (begun < onset + 1.5 - 1e-3)
    np.testing.assert_allclose(current[inside], 2.0, rtol=1e-5)
    np.testing.assert_allclose(current[~inside], 0.0, atol=1e-5)
    assert inside.sum() == 15


def test_an_edge_between_steps_belongs_to_the_moments_after_it():
    ts, current = late_run(jnm.Pulse(onset=600_000.034, duration=1.5), solver=diffrax.Euler())
    assert ts[np.flatnonzero(current > 0.5)[0]] == pytest.approx(600_000.2)


def test_heun_keeps_its_order_over_a_pulse_on_the_grid(x64):
    """The end of a step does not see what begins there: an error of order dt otherwise."""
    model = jnm.ING(eta=3.0)
    pulse = jnm.Pulse(onset=5.0, duration=2.0, amplitude=10.0)
    fine = jnm.simulate(model, 10.0, 0.1 / 256, stimulus=pulse, save_every=10.0).ys.v[-1]
    errors = [
        abs(float(jnm.simulate(model, 10.0, dt, stimulus=pulse, save_every=10.0).ys.v[-1] - fine))
        for dt in (0.1, 0.05, 0.025)
    ]
    assert np.log2(errors[0] / errors[2]) / 2 == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("frequency", [10.0, 9.7, 41.3])
def test_the_phase_of_a_sine_is_kept_after_six_million_steps(frequency):
    stimulus = jnm.Sine(frequency=frequency, amplitude=3.0, phase=0.4)
    ts, current = late_run(stimulus, steps=40, solver=diffrax.Euler())
    f = np.float64(np.float32(frequency))  # the parameter is what it is: a float32
    wanted = 3.0 * np.sin(2 * np.pi * f * 1e-3 * (ts - 0.1) + 0.4)
    np.testing.assert_allclose(current, wanted, atol=3e-4)
    wrong = 3.0 * np.sin(np.float32(2e-3 * np.pi * f) * np.float32(ts - 0.1) + 0.4)
    assert np.abs(wrong - wanted).max() > 2e-3


@pytest.mark.parametrize("start", [600_000.0, 600_000.05, 300.0])
def test_samples_are_interpolated_after_six_million_steps(start):
    """Also far from their start: there single precision errs by a whole sample."""
    sample_dt, values = 0.3, np.random.default_rng(0).normal(size=2_000_100 if start == 300.0 else 25)
    stimulus = jnm.Sampled(values, dt=sample_dt, start=start)
    ts, current = late_run(stimulus, solver=diffrax.Euler())
    wanted = np.interp(ts - 0.1, start + sample_dt * np.arange(values.size), values)
    np.testing.assert_allclose(current, wanted, atol=2e-4)


@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.Heun()])
def test_held_samples_change_between_steps_alone(solver):
    """Ten minutes on, a step on the grid of the samples sees one of them, also at its end, where the next begins."""
    start, values = 600_000.0, np.random.default_rng(0).normal(size=25)
    ts, current = late_run(jnm.Sampled(values, dt=0.1, start=start, hold=True), solver=solver)
    wanted = values[np.clip(np.rint((ts - 0.1 - start) / 0.1).astype(int), 0, values.size - 1)]
    np.testing.assert_allclose(current, wanted, atol=2e-4)


def test_samples_are_held_at_both_ends_and_interpolated_between():
    stimulus = jnm.Sampled([[1.0, 10.0], [3.0, 30.0], [2.0, 20.0]], dt=2.0, start=5.0)
    for t, wanted in ((0.0, 1.0), (5.0, 1.0), (6.5, 2.5), (7.0, 3.0), (8.0, 2.5), (9.0, 2.0), (50.0, 2.0)):
        np.testing.assert_allclose(stimulus(t).current, [wanted, 10 * wanted], rtol=1e-6)


def test_integrals_of_stimuli_against_scipy(x64):
    def samples(t):
        return np.interp(t, 1.0 + 0.5 * np.arange(5), [0.0, 1.0, -1.0, 0.5, 2.0])

    for stimulus, function in (
        (jnm.Constant(0.7), lambda t: 0.7),
        (jnm.Pulse(onset=2.0, duration=3.0, amplitude=1.5), lambda t: 1.5 * (2 <= t < 5)),
        (jnm.Sine(frequency=80.0, amplitude=2.0, phase=1.0), lambda t: 2 * np.sin(2 * np.pi * 0.08 * t + 1)),
        (jnm.Sampled([0.0, 1.0, -1.0, 0.5, 2.0], dt=0.5, start=1.0), samples),
    ):
        run = jnm.simulate(Clock(), 10.0, 0.01, stimulus=stimulus)
        expected = quad(function, 0, 10, points=[1, 1.5, 2, 2.5, 3, 5], limit=200)[0]
        np.testing.assert_allclose(run.ys.x[-1], expected, rtol=1e-5, atol=1e-5)


def test_any_function_of_time_is_a_stimulus(x64):
    def ramp(t):
        return jnm.Drive(current=jnp.where(t > 3.0, 0.5 * (t - 3.0), 0.0))

    run = jnm.simulate(Clock(), 5.0, 0.1, stimulus=ramp)
    np.testing.assert_allclose(run.ys.x[-1], 0.25 * 2.0**2, rtol=1e-12)


def both(stimulus, node=None):
    """dv/dt that a stimulus adds in a network of three uncoupled PING nodes: [population, region]."""
    net = jnm.Network(jnm.PING() if node is None else node, jnm.Connectome(np.zeros((3, 3))))
    y = net.init()
    return net.drift(0.0, y, stimulus(1.0)).v - net.drift(0.0, y, jnm.Drive()).v


REGIONS = [1.0, 2.0, 3.0]
EACH = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("amplitude", "seen"),
    [(2.0, np.full((2, 3), 2.0)), (REGIONS, [REGIONS] * 2), (EACH, EACH), ([[1.0], [2.0]], [[1.0] * 3, [2.0] * 3])],
)
@pytest.mark.parametrize("kind", ["constant", "pulse", "sine", "sampled"])
def test_amplitudes_reach_populations_and_regions(amplitude, seen, kind):
    amplitude = jnp.asarray(amplitude)
    make = {
        "constant": lambda into: jnm.Constant(amplitude, into=into),
        "pulse": lambda into: jnm.Pulse(onset=0.0, duration=2.0, amplitude=amplitude, into=into),
        "sine": lambda into: jnm.Sine(frequency=250.0, amplitude=amplitude, into=into),
        "sampled": lambda into: jnm.Sampled(jnp.stack([amplitude, amplitude]), dt=10.0, into=into),
    }[kind]
    np.testing.assert_allclose(both(make("current")), np.asarray(seen) / 8.0, rtol=1e-5)  # like I: over tau_m = 8 ms
    np.testing.assert_allclose(both(make("synaptic")), seen, rtol=1e-5)  # like a synapse


def test_onsets_and_frequencies_may_differ_between_regions():
    pulses = jnm.Pulse(onset=jnp.array([0.0, 2.0, 0.5]), duration=1.5, amplitude=EACH)
    np.testing.assert_allclose(pulses(1.0).current, np.multiply(EACH, [1, 0, 1]))
    sines = jnm.Sine(frequency=[250.0, 500.0, 750.0])
    np.testing.assert_allclose(sines(1.0).current, [1.0, 0.0, -1.0], atol=1e-5)


def test_a_synaptic_stimulus_reaches_the_populations_that_receive():
    node = jnm.PING(receive=1)
    np.testing.assert_allclose(both(jnm.Constant(REGIONS, into="synaptic"), node), [[0.0] * 3, REGIONS], rtol=1e-5)
    np.testing.assert_allclose(both(jnm.Constant(EACH, into="synaptic"), node), EACH, rtol=1e-5)  # a row for each


def test_amplitudes_have_gradients(x64):
    def end(amplitude):
        pulse = jnm.Pulse(onset=1.0, duration=2.0, amplitude=amplitude)
        return jnm.simulate(jnm.ING(eta=3.0), 10.0, 0.1, stimulus=pulse).ys.r[-1]

    both = jax.jit(jax.value_and_grad(end))
    assert both(1.0)[1] == pytest.approx(float(both(1.0 + 1e-5)[0] - both(1.0 - 1e-5)[0]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jnm.Constant(1.0, into="dendrite"), r"Constant: into = 'dendrite'; an input enters as 'current'"),
        (lambda: jnm.Pulse(onset=0.0, duration=-1.0), r"Pulse: duration = -1 is outside its domain \(positive\)"),
        (lambda: jnm.Pulse(onset=np.nan, duration=1.0), r"A time is a finite number of ms; got nan"),
        (lambda: jnm.Pulse(onset="noon", duration=1.0), r"got 'noon'"),
        (lambda: jnm.Sine(frequency=0.0), r"Sine: frequency = 0 is outside"),
        (lambda: jnm.Sampled([1.0, 2.0], dt=0.0), r"Sampled: dt = 0.0 ms; the sampling interval must be positive"),
        (lambda: jnm.Sampled(1.0, dt=1.0), r"Sampled: values has shape \[\]; give \[time, ...\]"),
        (lambda: jnm.Sampled([1.0, np.inf], dt=1.0), r"Sampled: values = inf"),
    ],
)
def test_bad_stimuli_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
