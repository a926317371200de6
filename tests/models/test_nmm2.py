"""NMM2 against numbers computed elsewhere: spec/exact-mean-field.md 6 (rows named) and spec/brain-network.md 2."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import jnm
from jnm.models import NMM2State


def states(model, rates):
    """One start for each rate, with v on the nullcline of r and the synapses in equilibrium."""
    for rate in rates:
        y = model.init()
        r = jnp.full_like(y.r, rate)
        v = -model.delta / (2 * jnp.pi * model.tau_m * r)
        yield NMM2State(r, v, None if y.s is None else r, y.z)


def frequency(eigenvalues):
    """Hz of the pair nearest the imaginary axis."""
    return 1e3 * abs(min(eigenvalues, key=lambda e: abs(e.real)).imag) / (2 * np.pi)


@pytest.mark.parametrize(
    ("eta", "C", "rates"),
    [
        (5.0, 0.0, [0.715277781965]),  # row 1: without coupling the rate is Psi(eta)
        (0.0, 0.0, [0.225079079039]),  # row 2
        (-5.0, 0.0, [0.070826458054]),  # row 2
        (5.0, -20.0, [0.24251225]),  # row 4
        (20.0, -20.0, [0.7354353736]),  # row 5
        (-5.0, 15.0, [0.08113444, 0.47298034, 1.0305968]),  # row 6
        (10.0, 10.0, [1.633913660]),  # row 7
        (10.0, 20.0, [2.44158174]),  # row 7
    ],
)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_fixed_points_in_units_of_tau_m(fixed_points, eta, C, rates, order):
    model = jnm.NMM2(tau_m=7.5, tau_s=2.0, delta=1.0, eta=eta, C=C, order=order)
    found = fixed_points(model, states(model, np.geomspace(0.002, 0.5, 12)))
    physical = [float(y.r) * 7.5 for y, _ in found if y.r > 0]
    assert len(physical) == len(rates)
    np.testing.assert_allclose(physical, rates, rtol=0, atol=1e-7 if (C == -20.0 and eta == 5.0) or C == 15.0 else 1e-8)


def test_fixed_point_of_v(fixed_points):
    model = jnm.ING(eta=5.0)
    (y, _), *others = fixed_points(model, states(model, [0.03]))
    assert not others
    np.testing.assert_allclose(y.v, -0.65627589, atol=1e-7)  # row 4


@pytest.mark.parametrize(("eta", "slope"), [(5.0, 0.070138757075), (0.0, 0.112539539520)])
def test_gain_of_a_population_through_the_implicit_gradient(x64, eta, slope):
    def rate(eta):
        model = jnm.NMM2(tau_m=1.0, tau_s=1.0, delta=1.0, eta=eta, C=0.0, order=0)
        solver = optx.Newton(rtol=1e-12, atol=1e-12)
        return optx.root_find(
            lambda y, _: model.drift(0.0, y, jnm.Drive()), solver, NMM2State(0.5 + 0 * eta, -0.3 + 0 * eta)
        ).value.r

    assert jax.grad(rate)(jnp.asarray(eta)) == pytest.approx(slope, abs=1e-11)  # row 3


@pytest.mark.parametrize(
    ("model", "rate", "hertz"),
    [
        (dict(eta=5.32212100), 0.03385715, 54.552349),  # rows 8, 9
        (dict(eta=76.70112488), 0.26040690, 255.465322),  # row 10
        (dict(eta=7.59600899, order=1), None, 74.904932),  # row 17
    ],
)
def test_hopf_points_of_the_inhibitory_ring(fixed_points, model, rate, hertz):
    model = jnm.ING(**model)
    (y, eigenvalues), *_ = fixed_points(model, states(model, [0.1]))
    assert max(eigenvalues.real) == pytest.approx(0.0, abs=1e-8)
    assert frequency(eigenvalues) == pytest.approx(hertz, abs=1e-5)
    if rate is not None:
        assert float(y.r) == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize(
    ("eta", "hertz", "largest", "smallest", "mean"),
    [(10.0, 71.40491, 0.3691168, 0.0092844, 0.0671664), (20.0, 100.68471, 0.9149939, None, 0.1017039)],
)
def test_limit_cycle_of_the_inhibitory_ring(orbit, eta, hertz, largest, smallest, mean):
    cycle = orbit(jnm.ING(eta=eta), element=0, level=0.1)
    assert 1e3 / cycle.period == pytest.approx(hertz, rel=1e-5 if eta == 20 else 1e-4)  # rows 19, 20
    assert cycle.largest == pytest.approx(largest, rel=1e-4)
    assert cycle.mean == pytest.approx(mean, rel=1e-5 if eta == 20 else 1e-4)
    if smallest is not None:
        assert cycle.smallest == pytest.approx(smallest, rel=1e-4)
    if eta == 20:
        assert cycle.period / 7.5 == pytest.approx(1.32426597, rel=1e-7)


@pytest.mark.parametrize(
    ("eta", "rates", "hertz"),
    [
        (1.11044679, (0.05129262, 0.03045185), 53.970208),  # row 23
        (67.66530510, (0.14610301, None), 229.942537),  # row 24
        (0.5, (0.0496453245, 0.0277453554), None),  # row 41, upper branch
    ],
)
def test_second_order_ping_at_rest(fixed_points, eta, rates, hertz):
    model = jnm.PINGSecondOrder(eta=eta)
    y, eigenvalues = fixed_points(model, states(model, np.geomspace(0.01, 0.3, 8)))[-1]
    for got, wanted in zip(y.r, rates, strict=True):
        assert wanted is None or float(got) == pytest.approx(wanted, abs=1e-8)
    if hertz is not None:
        assert min(abs(eigenvalues.real)) == pytest.approx(0.0, abs=1e-8)
        assert frequency(eigenvalues) == pytest.approx(hertz, abs=1e-4)


def test_folds_of_second_order_ping(fixed_points):
    """Row 22: one fixed point outside (-1.32160331, 0.26850820), three inside."""

    def number(eta):
        model = jnm.PINGSecondOrder(eta=(eta, eta))
        return len([y for y, _ in fixed_points(model, states(model, np.geomspace(1e-3, 0.2, 40))) if (y.r > 0).all()])

    assert [number(eta) for eta in (-1.33, -1.31, 0.26, 0.28)] == [1, 3, 3, 1]


@pytest.mark.parametrize(("eta", "hertz", "largest"), [(5.0, 65.12966, 0.3628282), (11.0, 82.77884, 0.5303711)])
def test_limit_cycle_of_second_order_ping(orbit, eta, hertz, largest):
    cycle = orbit(jnm.PINGSecondOrder(eta=eta), element=0, level=0.1, settle=1000.0)
    assert 1e3 / cycle.period == pytest.approx(hertz, rel=1e-6)  # row 25
    assert cycle.largest == pytest.approx(largest, rel=1e-6)


def coupled(IE, eps):
    """A PING node of a homogeneous network: the coupling adds eps to both weights from E."""
    return jnm.PING(IE=IE, C=jnp.array([[5.0 + eps, -13.0], [13.0 + eps, -5.0]]))


@pytest.mark.parametrize(
    ("IE", "eps", "rates", "potentials"),
    [
        (0.0, 0.0, (0.0083481728, 0.0093170995), (-2.3830805068, -2.1352533577)),
        (10.0, 8.0, (0.081177814535, 0.089808182617), (-0.245071489059, -0.221520659998)),
    ],
)
def test_ping_at_rest(fixed_points, IE, eps, rates, potentials):
    model = coupled(IE, eps)
    (y, _), *others = [
        found for found in fixed_points(model, states(model, np.geomspace(0.003, 0.2, 6))) if (found[0].r > 0).all()
    ]
    assert not others
    np.testing.assert_allclose(y.r, rates, rtol=0, atol=1e-9)
    np.testing.assert_allclose(y.v, potentials, rtol=0, atol=1e-9)


def test_afferents_reach_both_populations_as_the_coupling_of_the_paper(fixed_points):
    """eps * s_E fed back as drive.synaptic is the same node as eps added to the weights from E."""
    model = jnm.PING(IE=10.0)
    (y, _), *_ = fixed_points(model, states(model, [0.08]), gain=8.0)
    np.testing.assert_allclose(y.r, (0.081177814535, 0.089808182617), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("IE", "eps", "hertz"), [(5.99318545, 0.0, 26.79105), (3.850372296, 8.0, 15.51587), (15.351193107, 8.0, 83.80323)]
)
def test_hopf_points_of_ping(fixed_points, IE, eps, hertz):
    model = coupled(IE, eps)
    _, eigenvalues = fixed_points(model, states(model, np.geomspace(0.01, 0.2, 6)))[-1]
    assert max(eigenvalues.real) == pytest.approx(0.0, abs=1e-8)
    assert frequency(eigenvalues) == pytest.approx(hertz, abs=1e-4)


@pytest.mark.parametrize(("IE", "eps", "period"), [(10.0, 8.0, 16.854881435636), (12.0, 8.0, 13.901995976468)])
def test_period_of_ping(orbit, IE, eps, period):
    assert orbit(coupled(IE, eps), element=0, level=0.1, settle=800.0).period == pytest.approx(period, abs=1e-7)


def at_rest(model):
    """A state in general position, r > 0."""
    y = model.init()
    return y._replace(r=y.r * 1.3, v=y.v * 0.7)


def change(model, drive):
    """What a drive adds to the drift of v, at some state."""
    y = at_rest(model)
    return model.drift(0.0, y, drive).v - model.drift(0.0, y, jnm.Drive()).v


def test_afferents_act_as_a_synapse_and_currents_as_eta():
    model = jnm.ING()
    np.testing.assert_allclose(change(model, jnm.Drive(synaptic=0.3)), 0.3, rtol=1e-5)
    np.testing.assert_allclose(change(model, jnm.Drive(current=0.3)), 0.3 / 7.5, rtol=1e-5)
    y = at_rest(model)
    stronger = jnm.ING(eta=20.3).drift(0.0, y, jnm.Drive())
    np.testing.assert_allclose(stronger.v, model.drift(0.0, y, jnm.Drive(current=0.3)).v, rtol=1e-6)


def test_only_receiving_populations_hear_the_others():
    regions = jnp.array([0.1, 0.2, 0.3])
    model = jnm.PING(IE=jnp.zeros(3), receive=1)
    np.testing.assert_allclose(change(model, jnm.Drive(synaptic=regions)), [np.zeros(3), regions], rtol=1e-5)
    np.testing.assert_allclose(change(model, jnm.Drive(synaptic=0.1)), [np.zeros(3), np.full(3, 0.1)], rtol=1e-5)
    np.testing.assert_allclose(
        change(jnm.PING(IE=jnp.zeros(3)), jnm.Drive(synaptic=regions)), [regions, regions], rtol=1e-5
    )
    np.testing.assert_allclose(change(jnm.PING(receive=(0, 1)), jnm.Drive(synaptic=0.1)), [0.1, 0.1], rtol=1e-5)


def test_each_receiving_population_may_hear_others_by_its_own_gain():
    rows = jnp.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    model = jnm.NMM2(tau_m=8.0, tau_s=2.0, delta=1.0, eta=jnp.zeros((3, 3)), C=jnp.eye(3), receive=(0, 2))
    heard = change(model, jnm.Drive(synaptic=rows))
    np.testing.assert_allclose(heard, [rows[0], np.zeros(3), rows[1]], rtol=1e-5)
    np.testing.assert_allclose(change(model, jnm.Drive(synaptic=rows[:1])), [rows[0], np.zeros(3), rows[0]], rtol=1e-5)


def test_a_drive_of_full_rank_speaks_to_each_population():
    each = jnp.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    model = jnm.PING(IE=jnp.zeros(3), receive=1)
    np.testing.assert_allclose(change(model, jnm.Drive(synaptic=each)), each, rtol=1e-5)
    np.testing.assert_allclose(change(model, jnm.Drive(current=each)), each / 8.0, rtol=1e-5)


def test_excitation_and_inhibition_have_the_signs_of_their_weights():
    model = jnm.PING()
    y = model.init()._replace(s=jnp.array([1.0, 0.0]))
    silent = model.init()._replace(s=jnp.array([0.0, 0.0]))
    by_E = model.drift(0.0, y, jnm.Drive()).v - model.drift(0.0, silent, jnm.Drive()).v
    np.testing.assert_allclose(by_E, [5.0, 13.0], rtol=1e-5)
    by_I = model.drift(0.0, y._replace(s=y.s[::-1]), jnm.Drive()).v - model.drift(0.0, silent, jnm.Drive()).v
    np.testing.assert_allclose(by_I, [-13.0, -5.0], rtol=1e-5)


def test_output_and_source_are_those_of_the_sending_population():
    y = jnm.PING().init()._replace(s=jnp.array([0.02, 0.03]))
    for send, source in ((0, 8.0 * (5 * 0.02 - 13 * 0.03 + 0.1)), (1, 8.0 * (13 * 0.02 - 5 * 0.03 + 0.1))):
        model = jnm.PING(send=send)
        np.testing.assert_allclose(model.output(0.0, y), y.s[send])
        np.testing.assert_allclose(model.source(0.0, y, jnm.Drive(synaptic=0.1, current=7.0)), source, rtol=1e-5)


def test_order_zero_sends_its_rate():
    model = jnm.MPR()
    y = model.init()
    assert y.s is None and y.z is None
    assert model.output(0.0, y) == y.r


def test_init_is_on_the_nullcline_of_the_rate():
    for model in (jnm.MPR(), jnm.ING(), jnm.PING(IE=jnp.ones(4)), jnm.PINGSecondOrder()):
        np.testing.assert_allclose(model.drift(0.0, model.init(), jnm.Drive()).r, 0.0, atol=1e-8)


def test_regions_come_from_whichever_parameter_has_them():
    assert jnm.PING(IE=jnp.ones(3)).init().r.shape == (2, 3)
    assert jnm.PING(sigma=jnp.ones((2, 3))).init().r.shape == (2, 3)
    assert jnm.ING(C=jnp.full(3, -20.0)).init().r.shape == (3,)
    assert jnm.PING(C=jnp.ones((2, 2, 3))).init().r.shape == (2, 3)


def test_noise_is_on_v_or_on_a_rate_that_stays_positive():
    y = jnm.PING(IE=jnp.ones(3)).init()
    assert jnm.PING().diffusion(0.0, y) is None
    noise = jnm.PING(sigma=(0.1, 0.2)).diffusion(0.0, y)
    assert noise.r is None and noise.s is None
    np.testing.assert_allclose(noise.v, [[0.1] * 3, [0.2] * 3])
    model = jnm.PING(sigma_r=0.01)
    np.testing.assert_allclose(model.diffusion(0.0, y).r, np.full((2, 3), 0.01))
    below = y._replace(r=-y.r)
    assert (model.constrain(below).r == 0).all()
    assert (jnm.PING().constrain(below).r == below.r).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jnm.ING(taum=3.0), r"unknown parameter taum; known are tau_m, tau_s"),
        (lambda: jnm.PING(preset="MPR"), r"unknown parameter preset"),
        (lambda: jnm.NMM2(1.0, 1.0, 1.0, 1.0, 1.0, preset="PONG"), r"unknown preset 'PONG'; known are MPR, ING"),
        (lambda: jnm.PING(IE=1.0, I=(1.0, 0.0)), r"give one of them"),
        (lambda: jnm.ING(order=3), r"order = 3; synapses are of order 0"),
        (lambda: jnm.ING(order=1.5), r"order = 1.5"),
        (
            lambda: jnm.ING(tau_m=-7.5),
            r"tau_m = -7.5 is outside its domain \(positive\).*membrane time constant, in ms",
        ),
        (lambda: jnm.PING(tau_s=(1.0, -5.0)), r"tau_s = -5 \(1 of 2 elements\)"),
        (lambda: jnm.ING(delta=0.0), r"delta = 0 is outside"),
        (lambda: jnm.ING(eta=jnp.nan), r"eta = nan is outside"),
        (lambda: jnm.ING(C=-jnp.inf), r"C = -inf is outside"),
        (lambda: jnm.ING(eta="twenty"), r"number or an array of real numbers; got 'twenty'"),
        (lambda: jnm.ING(C=jnp.ones((2, 3))), r"C has shape \[2, 3\]; give a scalar"),
        (lambda: jnm.PING(eta=(1.0, 2.0, 3.0)), r"eta has shape \[3\]; it must be \[\] or \[2\] or \[2, region\]"),
        (lambda: jnm.PING(sigma=jnp.ones((3, 2))), r"sigma has shape \[3, 2\]"),
        (lambda: jnm.ING(eta=jnp.ones((2, 2))), r"eta has shape \[2, 2\]; it must be \[\] or \[region\]"),
        (lambda: jnm.ING(eta=jnp.ones(3), tau_m=jnp.ones(4)), r"different numbers of regions: tau_m for 4, eta for 3"),
        (lambda: jnm.PING(send=2), r"send = 2.*numbered 0 to 1"),
        (lambda: jnm.PING(receive=(0, -1)), r"receive = \(0, -1\)"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("receive", [(1, 0), (0, 0)])
def test_receivers_are_named_once_and_in_order(receive):
    with pytest.raises(ValueError, match="once, in order"):
        jnm.PING(receive=receive)
