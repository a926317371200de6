"""Hopf points and folds against closed forms and the spec's table (rows named), their gradients against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import jnm
from jnm.stability import fold_points, hopf_points


def eta(model):
    return model.eta


def test_hopf_points_of_the_inhibitory_ring(x64):
    low, high = hopf_points(jnm.ING(), eta, 0.0, 100.0)
    assert float(low.value) == pytest.approx(5.32212100, abs=1e-8)  # row 8
    assert float(low.state.r) == pytest.approx(0.03385715, abs=1e-8)
    assert float(low.frequency_hz) == pytest.approx(54.552349, abs=1e-6)  # row 9
    assert float(high.value) == pytest.approx(76.70112488, abs=1e-8)  # row 10
    assert float(high.state.r) == pytest.approx(0.26040690, abs=1e-8)
    assert float(high.frequency_hz) == pytest.approx(255.465322, abs=1e-6)


def test_hopf_points_in_the_time_constant_of_the_synapse(x64):
    points = hopf_points(jnm.ING(), lambda m: m.tau_s, 0.05, 7.0)
    np.testing.assert_allclose([float(p.value) / 7.5 for p in points], [0.01504789, 0.52062022], atol=1e-8)  # row 14


def test_hopf_point_with_synapses_of_first_order(x64):
    (point,) = hopf_points(jnm.ING(order=1), eta, 0.0, 100.0)
    assert float(point.value) == pytest.approx(7.59600899, abs=1e-8)  # row 17
    assert float(point.frequency_hz) == pytest.approx(74.904932, abs=1e-6)


@pytest.mark.parametrize(("eps", "weakest"), [(1.0, 25.1327412287), (3.75, 6.70206433)])
def test_weakest_inhibition_that_oscillates(x64, eps, weakest):
    """Row 16: |C_H| >= 8 pi delta / eps, with equality where b = s; there its derivative in eta is zero."""
    R = (eps + np.sqrt(eps**2 + 8)) / (4 * np.pi)  # 2 pi R = 1 / (pi R) + eps, with delta = 1
    drive = np.pi**2 * R**2 - 1 / (4 * np.pi**2 * R**2) + weakest * R

    def strength(eta):
        return hopf_points(jnm.ING(tau_s=7.5 / eps, eta=eta), lambda m: m.C, -60.0, -1.0)[-1].value

    value, slope = jax.value_and_grad(strength)(drive)
    assert float(value) == pytest.approx(-weakest, abs=1e-8)
    assert float(slope) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("excess", [1e-3, 1e-4])
def test_two_hopf_points_within_one_step(x64, excess):
    """Just above the weakest inhibition that oscillates (row 16) it does so in a narrow window of eta; spec 2 in R."""
    eps, C = 3.75, -8 * np.pi / 3.75 * (1 + excess)

    def weakest(R):
        b, s = 2 * np.pi * R, 1 / (np.pi * R) + eps
        return -2 * np.pi * (b**2 + s**2) ** 2 / (eps * b**2 * s**2) - C

    middle = (eps + np.sqrt(eps**2 + 8)) / (4 * np.pi)
    rates = [brentq(weakest, a, b, xtol=1e-15) for a, b in ((0.5 * middle, middle), (middle, 2 * middle))]
    wanted = [np.pi**2 * R**2 - 1 / (4 * np.pi**2 * R**2) - C * R for R in rates]
    found = hopf_points(jnm.ING(C=C), eta, 0.0, 100.0)
    np.testing.assert_allclose([float(p.value) for p in found], wanted, rtol=1e-9)


@pytest.mark.parametrize(("low", "high"), [(-5.0, 1.0), (-400.0, 100.0)])
def test_two_folds_within_one_step(x64, low, high):
    """Just above the weakest excitation with three states, next to the cusp."""
    R = np.geomspace(0.1, 1.0, 100_001)
    C = 1.0003 * np.min(((1 / (np.pi * R)) ** 2 + (2 * np.pi * R) ** 2) / (2 * R))
    found = fold_points(jnm.MPR(C=C), eta, low, high)
    drive = np.pi**2 * R**2 - 1 / (4 * np.pi**2 * R**2) - C * R
    turns = drive[1:-1][np.diff(np.sign(np.diff(drive))) != 0]
    np.testing.assert_allclose([float(p.value) for p in found], np.sort(turns), atol=1e-7)


def test_a_single_heuristic_mass_has_no_hopf_point(x64):
    """Spec 2: the divergence of its flow is -2 / tau_s everywhere (Bendixson)."""
    for model in (jnm.NMM1.of(jnm.ING()), jnm.NMM1.of(jnm.Pyramidal())):
        points = hopf_points(model, eta, 0.0, 100.0)
        assert points == [] and "none found on 1 branch of fixed points" in repr(points)
        trace = jnp.trace(jax.jacfwd(lambda y, m=model: jnp.stack(m.drift(0.0, type(m.init())(*y), jnm.Drive())))(
            jnp.array([0.3, -0.2])))  # fmt: skip
        assert float(trace) == pytest.approx(-2 / float(model.tau_s), rel=1e-12)


def test_excitation_alone_has_no_hopf_point(x64):
    assert hopf_points(jnm.Pyramidal(C=20.0), eta, -10.0, 40.0) == []


def test_second_order_ping(x64):
    model = jnm.PINGSecondOrder()
    folds = fold_points(model, eta, -5.0, 80.0, starts=24)
    np.testing.assert_allclose([float(p.value) for p in folds], [-1.32160331, 0.26850820], atol=1e-8)  # row 22
    first, second = hopf_points(model, eta, -5.0, 80.0, starts=24)
    assert float(first.value) == pytest.approx(1.11044679, abs=1e-8)  # row 23
    assert float(first.frequency_hz) == pytest.approx(53.970208, abs=1e-6)
    np.testing.assert_allclose(first.state.r, [0.05129262, 0.03045185], atol=1e-8)
    assert float(second.value) == pytest.approx(67.66530510, abs=1e-8)  # row 24
    assert float(second.frequency_hz) == pytest.approx(229.942537, abs=1e-6)
    assert float(second.state.r[0]) == pytest.approx(0.14610301, abs=1e-8)


def test_heuristic_ping_does_not_oscillate(x64):
    """Spec 2: NMM1 with the parameters of PING has no Hopf point."""
    assert hopf_points(jnm.NMM1.of(jnm.PINGSecondOrder()), eta, -5.0, 80.0, starts=24) == []


def test_folds_of_one_excitatory_population(x64):
    """Spec 2: C = (a^2 + b^2) / (2 R) on the fold, with a = 1 / (pi R), b = 2 pi R."""
    points = fold_points(jnm.MPR(), eta, -12.0, 0.0)
    assert len(points) == 2
    for point in points:
        R = 10.0 * float(point.state.r)
        assert ((1 / (np.pi * R)) ** 2 + (2 * np.pi * R) ** 2) / (2 * R) == pytest.approx(15.0, rel=1e-9)
        assert float(point.value) == pytest.approx(np.pi**2 * R**2 - 1 / (4 * np.pi**2 * R**2) - 15 * R, abs=1e-9)


def test_jansen_rit(x64):
    """Against eigenvalues that NumPy finds on both sides of each value, at the fixed point named."""
    for point in hopf_points(jnm.JansenRit(), lambda m: m.p, 0.0, 0.4, starts=24):
        nearby = [point.value + side * 1e-4 for side in (-1, 1)]
        growth = []
        for p in nearby:
            rest = jnm.stability.at_rest(jnm.JansenRit(p=p), point.state)
            growth.append(np.max(np.real(rest.eigenvalues)))
        assert growth[0] * growth[1] < 0 and max(map(abs, growth)) < 1e-4


def test_two_modes_of_a_network_that_cross_close_together(x64):
    """Two uncoupled regions of different inhibition: the Hopf points of the one and of the other."""
    weights = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    net = jnm.Network(jnm.ING(C=jnp.array([-20.0, -20.3])), jnm.Connectome(weights), jnm.Linear(gain=0.0))
    points = hopf_points(net, lambda m: m.node.eta, 0.0, 100.0, starts=4)
    single = [p for C in (-20.0, -20.3) for p in hopf_points(jnm.ING(C=C), eta, 0.0, 100.0)]
    wanted = sorted((float(p.value), float(p.frequency_hz)) for p in single)
    np.testing.assert_allclose([(float(p.value), float(p.frequency_hz)) for p in points], wanted, rtol=1e-8)


def hopf(C, tau_s):
    return hopf_points(jnm.ING(C=C, tau_s=tau_s), eta, 0.0, 20.0)[0]


@pytest.mark.parametrize("quantity", ["value", "frequency_hz"])
def test_gradients_against_finite_differences(x64, quantity):
    gradient = jax.grad(lambda *at: getattr(hopf(*at), quantity), argnums=(0, 1))(-20.0, 2.0)
    for i, h in enumerate((1e-3, 1e-4)):
        up, down = (hopf(*(np.array([-20.0, 2.0]) + sign * h * np.eye(2)[i])) for sign in (1, -1))
        difference = float(getattr(up, quantity) - getattr(down, quantity)) / (2 * h)
        assert float(gradient[i]) == pytest.approx(difference, rel=1e-6)


def test_following_a_hopf_point_under_jit(x64):
    point = hopf(-20.0, 2.0)

    @jax.jit
    def value(C):
        return point.follow(jnm.ING(C=C)).value

    assert float(value(-21.0)) == pytest.approx(float(hopf(-21.0, 2.0).value), abs=1e-10)
    assert float(jax.grad(value)(-20.0)) == pytest.approx(float(value(-20 + 1e-3) - value(-20 - 1e-3)) / 2e-3, rel=1e-6)


def test_gradient_of_a_fold(x64):
    def value(C):
        return fold_points(jnm.MPR(C=C), eta, -12.0, 0.0)[0].value

    difference = float(value(15.0 + 1e-4) - value(15.0 - 1e-4)) / 2e-4
    assert float(jax.grad(value)(15.0)) == pytest.approx(difference, rel=1e-7)


def test_several_elements_move_together(x64):
    together = hopf_points(jnm.PINGSecondOrder(eta=(3.0, 9.0)), eta, 0.0, 5.0, starts=8)
    assert [float(p.value) for p in together] == pytest.approx([1.11044679], abs=1e-8)
    assert together[0].name == "eta"
    one = hopf_points(jnm.PING(), jnm.at(lambda m: m.I, 0), 0.0, 16.0, starts=8)
    assert [float(p.value) for p in one] == pytest.approx([5.99318545], abs=1e-8)  # spec brain-network 2
    assert one[0].name == "I[0]"


@pytest.mark.parametrize(
    ("where", "low", "high", "message"),
    [
        (eta, 3.0, 3.0, r"range is \(3.0, 3.0\); wanted two finite numbers, low < high"),
        (lambda m: m.tau_s, -1.0, 3.0, r"tau_s = -1 is outside its domain \(positive\)"),
        (lambda m: m.order, 0.0, 3.0, "selects 2, which is no array of the model"),
        (lambda m: m.taus, 0.0, 3.0, "asks the model for something it has not"),
    ],
)
def test_bad_input_is_named(x64, where, low, high, message):
    with pytest.raises(ValueError, match=message):
        hopf_points(jnm.ING(), where, low, high)


def test_counts_cannot_be_traced(x64):
    with pytest.raises(ValueError, match="inside follow what was found"):
        jax.jit(lambda C: hopf(C, 2.0).value)(-20.0)
