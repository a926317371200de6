"""Fixed points against the spec's table (rows named), SciPy, and finite differences."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.optimize import brentq

import jnm
from jnm.stability import at_rest, fixed_points


def rates(points, tau_m=1.0):
    return [float(point.state[0]) * tau_m for point in points]


@pytest.mark.parametrize(
    ("eta", "C", "wanted", "atol"),
    [
        (5.0, -20.0, [0.24251225], 1e-8),  # row 4
        (20.0, -20.0, [0.7354353736], 1e-10),  # row 5
        (-5.0, 15.0, [0.08113444, 0.47298034, 1.0305968], 1e-7),  # row 6
        (10.0, 10.0, [1.633913660], 1e-9),  # row 7
        (10.0, 20.0, [2.44158174], 1e-8),
    ],
)
@pytest.mark.parametrize("kind", [jnm.NMM2, jnm.NMM1])
def test_all_fixed_points_of_one_population(x64, kind, eta, C, wanted, atol):
    points = fixed_points(kind(tau_m=7.5, tau_s=2.0, delta=1.0, eta=eta, C=C, order=2))
    assert points.complete and points.starts == 0
    np.testing.assert_allclose(rates(points, 7.5), wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("I", [-6.0, -3.0, 2.0])
def test_all_fixed_points_of_a_sigmoid_mass(x64, I):
    """Against sign changes on a fine grid: three, three and one."""
    model = jnm.NMM1(10.0, 10.0, 1.0, 0.0, 400.0, I=I, transfer=jnm.models.Sigmoid())

    def excess(r):
        return 0.005 / (1 + np.exp(0.56 * (6.0 - I - 4000.0 * r))) - r

    grid = np.linspace(0, 0.005, 4001)
    wanted = [brentq(excess, a, b, xtol=1e-16) for a, b in itertools.pairwise(grid) if excess(a) * excess(b) < 0]
    assert len(wanted) == {-6.0: 3, -3.0: 3, 2.0: 1}[I]
    np.testing.assert_allclose(rates(fixed_points(model)), wanted, rtol=0, atol=1e-14)


def test_kinds(x64):
    assert [p.kind for p in fixed_points(jnm.MPR())] == ["stable node", "saddle", "stable focus"]
    assert [p.kind for p in fixed_points(jnm.ING(eta=5.0))] == ["stable focus"]  # below row 8
    assert [p.kind for p in fixed_points(jnm.ING(eta=6.0))] == ["saddle focus"]  # above it
    assert [p.stable for p in fixed_points(jnm.ING(eta=77.0))] == [True]  # above row 10


def test_eigenvalues_of_an_uncoupled_population(x64):
    """Spec 2: tau_m lambda = -a +- i b with a = delta / (pi R), b = 2 pi R."""
    (point,) = fixed_points(jnm.NMM2(tau_m=8.0, tau_s=1.0, delta=0.7, eta=3.0, C=0.0, order=0))
    R = float(point.state.r) * 8.0
    wanted = np.array([-1, -1]) * 0.7 / (np.pi * R) + np.array([1, -1]) * 2j * np.pi * R
    np.testing.assert_allclose(8.0 * np.asarray(point.eigenvalues), wanted, rtol=1e-12)


@pytest.mark.parametrize("C", [10.0, -10.0])
def test_eigenvalues_of_nmm1_never_oscillate_by_themselves(x64, C):
    """Spec 2: tau_s lambda = -1 +- sqrt(C Psi'): two nodes for excitation (3c names the values), a focus otherwise."""
    (point,) = fixed_points(jnm.NMM1.of(jnm.Pyramidal(C=C)))
    X = 10.0 + C * 15.0 * float(point.state.s)
    slope = jax.grad(jnm.models.psi)(X, 1.0)
    wanted = -1 + np.array([1, -1]) * np.sqrt(complex(C * slope))
    np.testing.assert_allclose(10.0 * np.asarray(point.eigenvalues), wanted, rtol=1e-11)
    if C == 10.0:
        np.testing.assert_allclose(wanted.real, [-0.4433, -1.5567], atol=5e-5)


def test_second_order_ping_from_many_starts(x64):
    """Rows 22 and 41: three fixed points inside the folds, one outside."""
    inside, outside = (fixed_points(jnm.PINGSecondOrder(eta=eta), starts=32) for eta in (0.0, 0.5))
    assert (len(inside), len(outside)) == (3, 1)
    assert not outside.complete and outside.starts == 32
    np.testing.assert_allclose(outside[0].state.r, [0.0496453245, 0.0277453554], rtol=0, atol=1e-10)


def test_jansen_rit_from_many_starts(x64):
    """Every root of the scalar equation for y1 - y2, found on a fine grid by SciPy."""
    model = jnm.JansenRit(p=0.1)

    def excess(u):
        rate = lambda x: 0.005 / (1 + np.exp(0.56 * (6.0 - x)))  # noqa: E731
        y0 = 32.5 * rate(u)
        return 32.5 * (0.1 + 108.0 * rate(135.0 * y0)) - 440.0 * 33.75 * rate(33.75 * y0) - u

    grid = np.linspace(-10, 20, 3001)
    wanted = [brentq(excess, a, b, xtol=1e-14) for a, b in itertools.pairwise(grid) if excess(a) * excess(b) < 0]
    points = fixed_points(model, starts=32)
    assert len(wanted) == 3
    np.testing.assert_allclose([float(p.state.y1 - p.state.y2) for p in points], wanted, rtol=0, atol=1e-10)


def test_network_of_bistable_nodes(x64):
    """Weakly coupled, each of two nodes has its three states to itself: nine fixed points, four of them stable."""
    net = jnm.Network(jnm.MPR(), jnm.Connectome(jnp.array([[0.0, 1.0], [0.5, 0.0]])), jnm.Linear(gain=0.05))
    points = fixed_points(net, starts=96)
    assert len(points) == 9
    assert sum(point.stable for point in points) == 4
    for point in points:
        drift = net.drift(0.0, point.state, jnm.Drive())
        np.testing.assert_allclose(jnp.stack(list(filter(lambda x: x is not None, drift))), 0.0, atol=1e-12)


def test_gradient_of_a_rate_is_that_of_the_transfer_function(x64):
    """Row 3: dR / deta = Psi'(5) without coupling."""
    slope = jax.grad(lambda eta: fixed_points(jnm.NMM2(1.0, 1.0, 1.0, eta, 0.0, order=0))[0].state.r)(5.0)
    assert slope == pytest.approx(0.070138757075, abs=1e-11)


def leading(eta, C):
    return fixed_points(jnm.ING(eta=eta, C=C))[0].eigenvalues[0].real


def test_gradients_of_an_eigenvalue_against_finite_differences(x64):
    h = 1e-4
    for i, gradient in enumerate(jax.grad(leading, argnums=(0, 1))(10.0, -15.0)):
        up, down = (leading(*(x + sign * h * (i == k) for k, x in enumerate((10.0, -15.0)))) for sign in (1, -1))
        assert gradient == pytest.approx(float(up - down) / (2 * h), rel=1e-7)


def test_second_derivative_of_a_rate(x64):
    def rate(eta):
        return fixed_points(jnm.ING(eta=eta))[0].state.r

    h = 1e-3
    difference = float(rate(8.0 + h) + rate(8.0 - h) - 2 * rate(8.0)) / h**2
    assert jax.grad(jax.grad(rate))(8.0) == pytest.approx(difference, rel=1e-4)


def test_following_a_point_under_jit_and_vmap(x64):
    point = fixed_points(jnm.ING(eta=8.0))[0]

    def rate(eta):
        return point.follow(jnm.ING(eta=eta)).state.r

    etas = jnp.array([8.0, 8.5, 9.0])
    wanted = [fixed_points(jnm.ING(eta=eta))[0].state.r for eta in etas]
    np.testing.assert_allclose(jax.jit(jax.vmap(rate))(etas), wanted, rtol=1e-12)
    slope = jax.jit(jax.grad(rate))(8.5)
    assert slope == pytest.approx(float(rate(8.5 + 1e-4) - rate(8.5 - 1e-4)) / 2e-4, rel=1e-7)


def test_double_precision_is_entered_and_left_again():
    model = jnm.ING(eta=5.0)
    with pytest.warns(UserWarning, match="made in float32 and are cast"):
        (point,) = fixed_points(model)
    assert point.state.r.dtype == jnp.float64
    assert float(point.state.r) * 7.5 == pytest.approx(0.24251225, abs=1e-8)
    assert jnp.zeros(1).dtype == jnp.float32

    def rate(eta):
        return fixed_points(jnm.ING(eta=eta))[0].state.r

    with pytest.warns(UserWarning, match="float32"):
        slope = jax.grad(rate)(5.0)
    with jax.enable_x64(True):
        assert slope == pytest.approx(float(jax.grad(rate)(5.0)), rel=1e-6)


def test_a_state_serves_as_the_start_of_a_run():
    with pytest.warns(UserWarning, match="float32"):
        (point,) = fixed_points(jnm.ING(eta=5.0))
    sol = jnm.simulate(jnm.ING(eta=5.0), t1=50.0, dt=0.01, y0=point.state, save_every=1.0)
    np.testing.assert_allclose(sol.ys.r, float(point.state.r), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fixed_points(3.0), ValueError, "wanted a jnm model first"),
        (lambda: fixed_points(jnm.PING(), starts=0), ValueError, "starts = 0; search from at least one"),
        (lambda: jax.jit(lambda e: fixed_points(jnm.ING(eta=e))[0].state.r)(5.0), ValueError, r"point.follow\(model\)"),
        (lambda: at_rest(jnm.ING(order=1), jnm.PING().init()), ValueError, r"r has shape \[2\]; wanted \[\]"),
        (lambda: at_rest(jnm.ING(), (1.0, 2.0)), ValueError, r"wanted that of model.init\(\)"),
        (lambda: fixed_points(jnm.PING(), box=(jnm.PING().init(),) * 2), ValueError, "each entry of the first below"),
    ],
)
def test_bad_input_is_named(x64, call, error, message):
    with pytest.raises(error, match=message):
        call()


class LineState(NamedTuple):
    y: Array


class Line(jnm.AbstractModel):
    """y' = p + y^2 rests at -+ sqrt(-p), or not at all."""

    p: Array = jnm.param(1.0)

    def init(self):
        return LineState(jnp.ones((), self.p.dtype))

    def drift(self, t, y, drive):
        return LineState(self.p + y.y**2)

    def output(self, t, y):
        return y.y

    def source(self, t, y, drive):
        return y.y


def test_a_model_that_never_rests(x64):
    np.testing.assert_allclose([float(p.state.y) for p in fixed_points(Line(p=-4.0))], [-2.0, 2.0], rtol=1e-14)
    with pytest.raises(RuntimeError, match="found no state of rest from 64 starts"):
        fixed_points(Line())
    with pytest.raises(RuntimeError, match="no fixed point next to the given state"):
        at_rest(Line(), Line().init())


def test_networks_with_delays_are_refused(x64):
    brain = jnm.Connectome(jnp.array([[0.0, 1.0], [1.0, 0.0]]), lengths=jnp.array([[0.0, 20.0], [20.0, 0.0]]))
    with pytest.raises(ValueError, match="has a conduction speed.*told by dispersion, transverse_onset"):
        fixed_points(jnm.Network(jnm.ING(), brain, speed=5.0))
