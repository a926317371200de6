"""Lyapunov exponents: Lorenz's, those of rest and of a cycle, going on bit for bit, and the spec's tables (slow)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.stability import dispersion, limit_cycle, lyapunov

KEY = jax.random.key(0)
PAIR = np.array([[0.4, 0.6], [0.6, 0.4]])


class Point(NamedTuple):
    x: jax.Array
    y: jax.Array
    z: jax.Array


class Lorenz(jnm.AbstractModel):
    """x' = 10 (y - x), y' = x (28 - z) - y, z' = x y - 8/3 z."""

    def init(self):
        return Point(*jnp.array([1.0, 2.0, 20.0]))

    def drift(self, t, y, drive):
        return Point(10 * (y.y - y.x), y.x * (28 - y.z) - y.y, y.x * y.y - 8 / 3 * y.z)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


def test_lorenz(x64):
    """0.9056, 0, -14.572 (Sprott, Chaos and Time-Series Analysis, 2003); their sum is the divergence, -13 2/3."""
    found = lyapunov(Lorenz(), 3, 600.0, 0.01, KEY, discard=20.0, every=0.5)
    assert np.max(found.standard_errors) < 0.03
    np.testing.assert_allclose(found.exponents, [0.9056, 0.0, -14.5723], atol=4 * float(found.standard_errors[0]))
    assert float(jnp.sum(found.exponents)) == pytest.approx(-10 - 1 - 8 / 3, abs=2e-3)
    assert found.start == "random"
    assert found.duration == 580.0


@pytest.mark.slow
def test_exponents_of_rest_are_the_real_parts_of_its_eigenvalues(x64):
    net = jnm.Network(jnm.PING(IE=2.0), jnm.Connectome(PAIR), jnm.Linear(10.0))
    rates = np.sort(np.real(dispersion(net).exponents).ravel())[::-1]
    found = lyapunov(net, 4, 1500.0, 0.1, KEY, start="homogeneous", discard=300.0)
    np.testing.assert_allclose(found.exponents, rates[:4], atol=2e-3)  # a turning pair settles as 1 / time
    assert found.start == "homogeneous"


@pytest.mark.slow
def test_exponents_of_a_cycle_are_its_floquet_exponents(x64):
    model = jnm.PING(IE=10.0)
    wanted = np.log(np.abs(limit_cycle(model).multipliers[:2])) / float(limit_cycle(model).period)
    found = lyapunov(model, 2, 1500.0, 0.05, KEY)
    np.testing.assert_allclose(found.exponents, wanted, atol=1e-3)
    assert abs(float(found.exponents[0])) < 4 * float(found.standard_errors[0])


def test_going_on_is_never_having_stopped(x64):
    """Bit for bit, and the start keeps its name."""
    net = jnm.Network(jnm.PING(IE=12.0), jnm.Connectome(PAIR), jnm.Linear(8.0))
    settings = dict(dt=0.1, key=KEY, discard=10.0)
    half = lyapunov(net, 2, 50.0, **settings)
    rest = lyapunov(net, 2, 100.0, **settings, final=half.final)
    whole = lyapunov(net, 2, 100.0, **settings)
    np.testing.assert_array_equal(rest.final.growth, whole.final.growth)
    np.testing.assert_array_equal(rest.exponents, whole.exponents)
    np.testing.assert_array_equal(rest.state.r, whole.state.r)
    assert rest.start == "random"


@pytest.mark.slow
def test_parameters_swept_under_vmap(x64):
    def exponents(IE):
        net = jnm.Network(jnm.PING(IE=IE), jnm.Connectome(PAIR), jnm.Linear(8.0))
        return lyapunov(net, 2, 60.0, 0.1, KEY, discard=10.0).exponents

    both = jax.vmap(exponents)(jnp.array([2.0, 12.0]))
    np.testing.assert_allclose(both, [exponents(2.0), exponents(12.0)], rtol=1e-6)


def test_regions_that_are_not_alike(x64):
    """Two Kuramoto oscillators whose frequencies differ by d lock at sin(phi) = d / 2K: exponents 0, -2K cos(phi)."""
    pair = jnm.Connectome([[0.0, 1.0], [1.0, 0.0]])
    net = jnm.Network(jnm.Kuramoto(frequency=jnp.array([9.0, 12.0])), pair, jnm.Linear(0.02))
    found = lyapunov(net, 2, 600.0, 0.5, KEY, discard=500.0)
    difference = 2e-3 * np.pi * 3.0
    np.testing.assert_allclose(found.exponents, [0.0, -np.sqrt(0.04**2 - difference**2)], atol=1e-8)
    with pytest.raises(ValueError, match="given region by region"):
        lyapunov(net, 2, 600.0, 0.5, KEY, start="homogeneous")


def test_picture(x64):
    found = lyapunov(jnm.ING(), 2, 60.0, 0.1, KEY, discard=20.0)
    (ax,) = found.plot().axes
    ends = [line.get_ydata()[-1] for line in ax.lines[1:3]]
    np.testing.assert_allclose(ends, np.mean(found.final.growth[20:], axis=0), rtol=1e-6)
    assert ax.get_title() == "start: random"


def test_bad_input_is_named(x64):
    model = jnm.ING()
    for settings, match in (
        (dict(k=5), "k = 5; the model has 4 variables"),
        (dict(dt=0.3), "dt = 0.3 must divide every = 1.0"),
        (dict(dt=2.0), "wanted 0 < dt <= every"),
        (dict(t1=310.0), "leave 10 intervals"),
        (dict(start="synchronous"), "start = 'synchronous'; for this model wanted \"random\" or a state"),
        (dict(start="homogeneous"), "start = 'homogeneous'; for this model"),
    ):
        with pytest.raises(ValueError, match=match):
            lyapunov(model, **{**dict(k=1, t1=400.0, dt=0.5, key=KEY), **settings})
    short = lyapunov(model, 1, 60.0, 0.1, KEY, discard=20.0)
    with pytest.raises(ValueError, match="final holds 1 exponents over 60 ms"):
        lyapunov(model, 1, 60.0, 0.1, KEY, discard=20.0, final=short.final)
    with pytest.raises(RuntimeError, match="left all bounds"):
        lyapunov(jnm.ING(eta=1000.0), 1, 100.0, 2.0, KEY, discard=20.0, every=2.0)


# The tables of the specification: their exponents, their standard errors, and the start that leads there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drive", "eps", "wanted", "error", "seconds", "start"),
    [
        (2.0, 10.0, (-0.1639, -0.1639, -0.1720), 0.0003, 6, "homogeneous"),
        (10.0, 8.0, (-0.00004, -0.01071, -0.02637), 0.001, 6, "homogeneous"),
        (6.0, 12.0, (0.00011, -0.04007, -0.04011), 0.0007, 8, "homogeneous"),
        (12.0, 8.0, (0.0056, 0.0050, 0.0045), 0.00025, 24, "random"),
        (8.0, 12.0, (0.0, -0.0023, -0.0032), 0.0007, 24, "homogeneous"),
        (15.0, 9.0, (0.0031, 0.0029, 0.0022), 0.0004, 10, "homogeneous"),
        (11.0, 12.5, (0.0015, 0.0014, 0.0014), 0.0004, 12, "homogeneous"),
    ],
)
def test_rows_of_the_ping_network(x64, brain, drive, eps, wanted, error, seconds, start):
    net = jnm.Network(jnm.PING(IE=drive), brain, jnm.Linear(eps))
    discard = 300.0 if drive == 2.0 else 2000.0
    found = lyapunov(net, 3, 1000.0 * seconds, 0.05, KEY, start=start, discard=discard)
    assert float(found.standard_errors[0]) <= error
    apart = np.abs(np.asarray(found.exponents) - wanted) / np.hypot(found.standard_errors, error)
    assert np.max(apart) < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("p", "eps", "start", "wanted", "error", "seconds"),
    [
        (120.0, 50.0, "random", 1.87, 0.06, 250),
        (160.0, 50.0, "random", 0.49, 0.12, 100),
        (120.0, 20.0, "random", 1.80, 0.03, 250),
        (200.0, 20.0, "random", 0.77, 0.06, 100),
        (200.0, 50.0, "random", 0.0, 0.01, 100),
        (120.0, 50.0, "homogeneous", 0.0, 0.1, 100),
        (160.0, 50.0, "homogeneous", 0.0, 0.1, 100),
        (120.0, 20.0, "homogeneous", 0.0, 0.1, 100),
    ],
)
def test_rows_of_the_jansen_rit_network(x64, brain, p, eps, start, wanted, error, seconds):
    net = jnm.Network(jnm.JansenRit(p=p / 1000), brain, jnm.Linear(eps))
    found = lyapunov(net, 1, 1000.0 * seconds, 0.5, KEY, start=start, discard=10_000.0, every=5.0)
    largest, sem = 1000 * float(found.exponents[0]), 1000 * float(found.standard_errors[0])
    assert sem <= error
    assert abs(largest - wanted) < 4 * np.hypot(sem, error)
