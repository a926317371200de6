"""Branches of fixed points and of cycles, and Hopf curves, against the spec's table (rows named), papers and SciPy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from scipy.integrate import solve_ivp

import jnm
from jnm.stability import continuation, hopf_curves


def eta(model):
    return model.eta


@pytest.fixture(scope="module")
def ring():
    with jax.enable_x64(True):
        return continuation(jnm.ING(), eta, 0.0, 100.0)


@pytest.fixture(scope="module")
def column():
    with jax.enable_x64(True):
        return continuation(jnm.JansenRit(), lambda m: m.p, -0.05, 0.35)


def test_branch_of_the_inhibitory_ring(x64, ring):
    """On it eta = pi^2 R^2 - 1 / (4 pi^2 R^2) - C R (spec 2); unstable between rows 8 and 10."""
    R = 7.5 * np.asarray(ring.state.r)
    np.testing.assert_allclose(np.pi**2 * R**2 - 1 / (4 * np.pi**2 * R**2) + 20 * R, ring.value, atol=1e-8)
    assert (ring.stable == ((ring.value < 5.32212100) | (ring.value > 76.70112488))).all()
    assert ring.folds == () and len(ring.value) > 20
    assert [float(p.value) for p in ring.hopf_points] == pytest.approx([5.32212100, 76.70112488], abs=1e-8)


def test_a_branch_ends_on_the_edge_of_its_box(ring):
    assert ring.value[0] == 0.0 and ring.value[-1] == 100.0
    assert ring.ends == ("left the box at 0", "left the box at 100")


def test_one_branch_of_cycles_joins_both_hopf_points(ring):
    (cycles,) = ring.cycles
    assert cycles.end == "shrank to a Hopf point" and cycles.stable.all()
    assert cycles.limit_points == () and cycles.period_doublings == ()
    assert cycles.frequency_hz[0] == pytest.approx(54.552349, rel=1e-4)
    assert cycles.value[-1] == pytest.approx(76.70112488, abs=0.2)
    assert cycles.frequency_hz[-1] == pytest.approx(255.465322, rel=1e-3)
    largest = np.asarray(cycles.orbits.r).max(axis=1)
    assert largest.max() == pytest.approx(1.11778, rel=2e-3)  # spec 3b, at eta = 31
    assert cycles.value[largest.argmax()] == pytest.approx(31, abs=1.0)


def test_bifurcation_diagram(x64, ring):
    """Solid rest, dashed rest, solid rest again; extremes of the oscillation; two filled points."""
    (ax,) = ring.plot(lambda t, y: y.r, "rate (1/ms)").axes
    rest = [line for line in ax.lines if line.get_color() == "black"]
    assert [line.get_linestyle() for line in rest] == ["-", "--", "-"]
    assert rest[1].get_xdata()[0] == pytest.approx(5.32, abs=4.0)
    top = max(float(np.max(line.get_ydata())) for line in ax.lines)
    assert top == pytest.approx(1.11778, rel=2e-3)
    points = next(line for line in ax.lines if line.get_label() == "Hopf point")
    np.testing.assert_allclose(points.get_xdata(), [5.32212100, 76.70112488], atol=1e-8)
    np.testing.assert_allclose(points.get_ydata(), [0.03385715, 0.26040690], atol=1e-8)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eta", "rate (1/ms)")


def test_frequencies_and_marks_of_cycles(x64, ring, column):
    (ax,) = ring.cycles[0].plot().axes
    assert ax.get_ylim()[0] == 0 and ax.get_ylabel() == "frequency (Hz)"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), ring.cycles[0].frequency_hz)
    (ax,) = column.plot(lambda t, y: y.y1 - y.y2, "potential (mV)").axes
    labels = {line.get_label() for line in ax.lines}
    assert {"rest", "oscillation, extremes", "limit point of cycles", "Hopf point", "fold"} <= labels
    assert ax.get_xlabel() == "p (1/ms)"


def test_cycles_of_a_branch_can_be_followed(x64, ring):
    """Rows 19 and 20, from the nearest cycle of the branch."""
    (cycles,) = ring.cycles
    for drive, hertz in ((10.0, 71.40491), (20.0, 100.68471)):
        cycle = cycles.cycle(int(np.argmin(np.abs(cycles.value - drive)))).follow(jnm.ING(eta=drive))
        assert float(cycle.frequency_hz) == pytest.approx(hertz, rel=1e-7)


def test_hopf_points_of_a_branch_are_differentiable(x64):
    def value(C):
        return continuation(jnm.ING(C=C), eta, 0.0, 20.0, cycles=False).hopf_points[0].value

    difference = float(value(-20.0 + 1e-3) - value(-20.0 - 1e-3)) / 2e-3
    assert float(jax.grad(value)(-20.0)) == pytest.approx(difference, rel=1e-6)


def test_second_order_ping(x64):
    """Rows 22 to 24: folds and Hopf points on one branch."""
    branch = continuation(jnm.PINGSecondOrder(), eta, -5.0, 80.0, cycles=False)
    assert sorted(float(f.value) for f in branch.folds) == pytest.approx([-1.32160331, 0.26850820], abs=1e-8)
    assert [float(p.value) for p in branch.hopf_points] == pytest.approx([1.11044679, 67.66530510], abs=1e-8)
    assert branch.cycles == ()


@pytest.mark.slow
def test_cycles_of_second_order_ping(x64):
    """Row 25, and the largest rate of the published figure (spec 3b)."""
    (cycles,) = continuation(jnm.PINGSecondOrder(), eta, -5.0, 80.0).cycles
    assert cycles.end == "shrank to a Hopf point" and cycles.stable.all()
    assert np.asarray(cycles.orbits.r)[..., 0].max() == pytest.approx(0.53166, rel=1e-3)
    for drive, hertz in ((5.0, 65.12966), (11.0, 82.77884)):
        near = cycles.cycle(int(np.argmin(np.abs(cycles.value - drive))))
        cycle = near.follow(jnm.PINGSecondOrder(eta=(drive, drive)))
        assert float(cycle.frequency_hz) == pytest.approx(hertz, rel=1e-6)


def test_jansen_rit_against_grimbert_and_faugeras(column):
    """Neural Comput 18:3052 (2006): Hopf at -12.15, 89.83 and 315.70, folds at -41.31 and 113.58, cycles up to 137.38 /s."""
    assert [1e3 * float(p.value) for p in column.hopf_points] == pytest.approx([-12.15, 89.83, 315.70], abs=6e-3)
    assert sorted(1e3 * float(f.value) for f in column.folds) == pytest.approx([-41.31, 113.58], abs=1e-2)
    spikes, alpha = column.cycles
    assert [1e3 * p.value for p in spikes.limit_points] == pytest.approx([137.38], abs=6e-3)
    assert alpha.end == "shrank to a Hopf point" and alpha.stable.all()
    assert 10.0 < alpha.frequency_hz[0] < 11.5


def test_spikes_are_unstable_before_their_limit_point(column):
    """The subcritical branch; behind the limit point the period grows without bound, towards the fold at 113.58 /s."""
    spikes = column.cycles[0]
    turn = int(np.argmax(spikes.value))
    assert not spikes.stable[:turn].any() and spikes.stable[turn + 1 :].all()
    assert spikes.period[-1] > 1000.0
    assert 1e3 * spikes.value[-1] == pytest.approx(113.6, abs=0.2)


class RosslerState(NamedTuple):
    x: Array
    y: Array
    z: Array


class Rossler(jnm.AbstractModel):
    """x' = -y - z, y' = x + a y, z' = b + z (x - c): the shortest equations that double their period."""

    a: Array = jnm.param(0.1)
    c: Array = jnm.param(5.7)

    def init(self):
        return RosslerState(*(jnp.ones((), self.a.dtype),) * 3)

    def drift(self, t, y, drive):
        return RosslerState(-y.y - y.z, y.x + self.a * y.y, 0.2 + y.z * (y.x - self.c))

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


@pytest.fixture(scope="module")
def rossler():
    with jax.enable_x64(True):
        return continuation(Rossler(), lambda m: m.a, -0.3, 0.2)


def test_period_doubling_against_scipy(x64, rossler):
    """At the value found, SciPy's variational equation over one period has the multiplier -1; on both sides, not."""
    (cycles,) = rossler.cycles
    (doubling,) = cycles.period_doublings
    near = cycles.cycle(int(np.argmin(np.abs(cycles.value - doubling.value))))
    cycle = near.follow(Rossler(a=doubling.value))
    assert float(cycle.period) == pytest.approx(doubling.period, rel=1e-9)
    model = Rossler(a=doubling.value)
    slope = jax.jit(lambda x: ravel_pytree(model.drift(0.0, RosslerState(*x), None))[0])
    jacobian = jax.jit(jax.jacfwd(slope))

    def both(t, y):
        return np.append(slope(y[:3]), np.asarray(jacobian(y[:3])) @ y[3:].reshape(3, 3))

    first = np.array([float(x[0]) for x in cycle.orbit])
    end = solve_ivp(both, (0, doubling.period), np.append(first, np.eye(3)), "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(end[:3], first, atol=1e-7)
    values = np.linalg.eigvals(end[3:].reshape(3, 3))
    assert np.min(np.abs(values + 1)) < 1e-6
    before = cycles.value < doubling.value
    assert cycles.stable[before].all() and not cycles.stable[~before].any()


def test_hopf_point_of_rossler(rossler):
    """The trace-determinant condition of a cubic, by NumPy: Re of the complex pair is zero there."""
    (hopf,) = rossler.hopf_points
    a = float(hopf.value)
    x, _, z = (float(v) for v in hopf.state)
    values = np.linalg.eigvals([[0, -1, -1], [1, a, 0], [z, 0, x - 5.7]])
    assert min(abs(values.real)) < 1e-10
    assert float(hopf.frequency_hz) == pytest.approx(1e3 * max(values.imag) / (2 * np.pi), rel=1e-9)


def test_hopf_curve_of_the_inhibitory_ring(x64):
    """Spec 2: C_H = -2 pi (b^2 + s^2)^2 / (eps b^2 s^2) at every point of the curve in eta and tau_s; row 14 on it."""
    (curve,) = hopf_curves(jnm.ING(), eta, 0.0, 80.0, lambda m: m.tau_s, 0.1, 7.0)
    R, eps = 7.5 * np.asarray(curve.state.r), 7.5 / curve.other
    a, b = 1 / (np.pi * R), 2 * np.pi * R
    s = a + eps
    np.testing.assert_allclose(-2 * np.pi * (b**2 + s**2) ** 2 / (eps * b**2 * s**2), -20.0, rtol=1e-11)
    np.testing.assert_allclose(curve.frequency_hz, 1e3 * np.sqrt(eps * (a + b**2 / s)) / (2 * np.pi * 7.5), rtol=1e-10)
    k = int(np.flatnonzero(np.diff(np.sign(curve.value - 20.0)))[-1])
    share = (20.0 - curve.value[k]) / (curve.value[k + 1] - curve.value[k])
    tau_s = curve.other[k] + share * (curve.other[k + 1] - curve.other[k])
    assert tau_s / 7.5 == pytest.approx(0.52062022, abs=1e-3)
    assert curve.ends == ("left the box at 0.1", "left the box at eta = 80")
    figure = curve.plot(curve.other / 7.5, "tau_s / tau_m")
    assert figure.axes[0].get_ylabel() == "tau_s / tau_m" and figure.axes[1].get_ylabel().endswith("(Hz)")
    assert figure.axes[0].get_ylim()[1] == pytest.approx(np.max(curve.other) / 7.5, rel=0.1)


def test_no_border_where_nothing_oscillates(x64):
    curves = hopf_curves(jnm.NMM1.of(jnm.ING()), eta, 0.0, 80.0, lambda m: m.tau_s, 0.1, 7.0)
    assert curves == [] and "none found on 1 branch" in repr(curves)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: continuation(jnm.ING(), eta, 5.0, 5.0), ValueError, r"the range is \(5.0, 5.0\)"),
        (lambda: continuation(jnm.ING(), lambda m: m.delta, 0.0, 5.0), ValueError, r"delta = 0 is outside its domain"),
        (lambda: continuation(jnm.ING(), eta, 0.0, jnp.inf), ValueError, "two finite numbers"),
        (
            lambda: jax.jit(lambda C: continuation(jnm.ING(C=C), eta, 0.0, 9.0).hopf_points[0].value)(-20.0),
            ValueError,
            "inside follow what was found",
        ),
        (
            lambda: hopf_curves(jnm.PINGSecondOrder(tau_s=(10.0, 2.5)), eta, 0.0, 9.0, lambda m: m.tau_s, 1.0, 20.0),
            ValueError,
            r"tau_s has the values .* the curves start where they are equal",
        ),
        (
            lambda: hopf_curves(jnm.PING(), lambda m: m.I, 0.0, 9.0, jnm.at(lambda m: m.I, 0), 0.0, 9.0),
            ValueError,
            r"I and I\[0\] turn the same parameter",
        ),
    ],
)
def test_bad_input_is_named(x64, call, error, message):
    with pytest.raises(error, match=message):
        call()
