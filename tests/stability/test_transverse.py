"""Dispersion relations against the spec's tables, the whole network's Jacobian, and the network itself when pushed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import jnm
from jnm.stability import (
    dispersion,
    fixed_points,
    homogeneous,
    hopf_points,
    limit_cycle,
    master_stability,
)

ALONE = np.ones((1, 1))


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def ping(brain, IE, eps):
    return jnm.Network(jnm.PING(IE=IE), brain, jnm.Linear(eps))


def column(p, eps):
    """Jansen-Rit with p and eps per second, as the tables have them."""
    return jnm.Network(jnm.JansenRit(p=p / 1000), jnm.Connectome(ALONE), jnm.Linear(eps))


def IE(model):
    return jnm.at(lambda m: m.node.I, 0)(model)


# The tables of the specification, section 2


def test_homogeneous_fixed_points(x64):
    table = {
        (0.0, 0.0): (0.0083481728, -2.3830805068, 0.0093170995, -2.1352533577),
        (10.0, 8.0): (0.081177814535, -0.245071489059, 0.089808182617, -0.221520659998),
    }
    for (drive, eps), wanted in table.items():
        (point,) = fixed_points(homogeneous(ping(jnm.Connectome(ALONE), drive, eps)), starts=8)
        r, v = (np.ravel(x) for x in (point.state.r, point.state.v))
        np.testing.assert_allclose([r[0], v[0], r[1], v[1]], wanted, atol=1e-9 if drive else 5e-11)
    assert len(fixed_points(homogeneous(ping(jnm.Connectome(ALONE), 4.0, 30.0)))) == 3


@pytest.mark.parametrize(
    ("eps", "wanted"),
    [
        (0.0, [(5.99318545, 26.79105)]),
        (8.0, [(3.850372296, 15.51587), (15.351193107, 83.80323)]),
        (10.0, [(3.537312324, 15.09249), (13.662804256, 71.03828)]),
        (12.5, [(3.189309034, 15.11209), (12.504698055, 61.27415)]),
    ],
)
def test_hopf_points_of_the_homogeneous_state(x64, eps, wanted):
    found = hopf_points(homogeneous(ping(jnm.Connectome(ALONE), 10.0, eps)), IE, 0.0, 16.0, starts=8)
    np.testing.assert_allclose([float(p.value) for p in found], [value for value, _ in wanted], atol=6e-9)
    np.testing.assert_allclose([float(p.frequency_hz) for p in found], [hertz for _, hertz in wanted], atol=6e-6)


@pytest.mark.parametrize(
    ("drive", "eps", "uniform", "largest", "mode", "unstable"),
    [(2.0, 10.0, -0.163919659, -0.1719937185, 1, 0), (15.0, 9.0, -0.01633466, 0.0173611196, 89, 79)],
)
def test_rows_at_rest(x64, brain, drive, eps, uniform, largest, mode, unstable):
    found = dispersion(ping(brain, drive, eps))
    assert float(found.growth_rates[0]) == pytest.approx(uniform, abs=6e-9)
    assert (found.fastest, found.unstable) == (mode, unstable)
    assert float(found.growth_rates[mode]) == pytest.approx(largest, abs=1e-9)
    if drive == 2.0:
        assert float(found.exponents[0, 0].imag) == pytest.approx(0.0994727726, abs=1e-9)


@pytest.mark.parametrize(
    ("drive", "eps", "period", "hertz", "largest", "mode", "unstable"),
    [
        (10.0, 8.0, 16.854881435636, 59.32999, -0.0106483634, 1, 0),
        (6.0, 12.0, 32.487585655657, 30.78099, -0.0402117567, 7, 0),
        (12.0, 8.0, 13.901995976468, 71.93211, 0.0140871815, 20, 87),
        (8.0, 12.0, 28.043127540862, 35.65936, 0.0043194816, 39, 79),
    ],
)
def test_rows_of_cycles(x64, brain, drive, eps, period, hertz, largest, mode, unstable):
    net = ping(brain, drive, eps)
    cycle = limit_cycle(net)
    found = dispersion(net, cycle)
    assert float(cycle.period) == pytest.approx(period, abs=1e-9)
    assert float(cycle.frequency_hz) == pytest.approx(hertz, abs=1e-5)
    assert float(found.growth_rates[0]) == pytest.approx(0.0, abs=1e-11)  # along the cycle
    assert (found.fastest, found.unstable) == (mode, unstable)
    assert float(found.growth_rates[mode]) == pytest.approx(largest, abs=1e-9)


def test_where_the_homogeneous_cycle_goes_round_twice(x64, brain):
    """(11, 12.5): period 2, of which the shorter cycle is unstable."""
    net = ping(brain, 11.0, 12.5)
    cycle = limit_cycle(net)
    assert cycle.stable
    rates = np.asarray(cycle.orbit.r[:, 0, 0])
    halfway = np.interp(float(cycle.period) / 2, cycle.times, rates)
    assert abs(halfway - rates[0]) > 1e-3
    assert dispersion(net, cycle).unstable > 0


# Section 3; its exponents of the "second eigenvalue" are those of .739349, the eigenvalue to six digits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("p", "period", "exponents"),
    [
        (230.0, 118.943689643, {0.7: 0.61250323, 0.739349: 0.64628850}),
        (120.0, 267.820803922, {0.739349: -2.08911654}),
        (280.0, None, {0.739349: -0.18186689}),
        (320.0, 107.715620056, {}),
    ],
)
def test_jansen_rit(x64, p, period, exponents):
    net = column(p, 50.0)
    cycle = limit_cycle(net)
    if period is not None:
        assert float(cycle.period) == pytest.approx(period, abs=1e-7)
    if exponents:
        found = master_stability(net, list(exponents), cycle)
        np.testing.assert_allclose(1000 * found.growth_rates, list(exponents.values()), atol=1e-8)


@pytest.mark.slow
def test_jansen_rit_on_the_connectome(x64, brain):
    net = jnm.Network(jnm.JansenRit(p=0.230), brain, jnm.Linear(50.0))
    assert 1000 * float(dispersion(net, limit_cycle(net)).growth_rates[1]) == pytest.approx(0.6462885, abs=3e-7)


# The network itself, when pushed


def pushed(net, start, push, times):
    """The states of the whole network after a push, by SciPy."""
    state = ravel_pytree(net.init())[1]
    slope = jax.jit(lambda t, x: ravel_pytree(net.drift(t, state(x), jnm.Drive()))[0])
    run = solve_ivp(slope, (0, times[-1]), start + push, "DOP853", times, rtol=1e-11, atol=1e-13)
    return run.y.T


def growth_of_the_network(net, found, mode, times):
    """What the projection on the left eigenvectors grows by, after a push by 1e-6 along the right ones."""
    values, lefts = np.linalg.eig(np.asarray(net.connectome.weights).T)
    left = np.real(lefts[:, np.argmin(np.abs(values - found.connectivity_eigenvalues[mode]))])
    right = found.modes.right[:, mode]
    at_start = found.about.state if hasattr(found.about, "state") else jax.tree.map(lambda x: x[0], found.about.orbit)
    uniform = np.asarray(ravel_pytree(at_start)[0])
    vectors = found.vectors(mode)
    push = np.real(vectors[:, :1] * right[None])
    states = pushed(net, np.repeat(uniform, len(right)), 1e-6 * push.ravel(), times)
    inside = states.reshape(len(times), -1, len(right)) @ left
    amount = np.abs(inside @ np.linalg.inv(vectors)[0])
    return np.log(amount[-1] / amount[0]) / (times[-1] - times[0])


@pytest.mark.parametrize(("drive", "eps", "mode"), [(2.0, 10.0, 1), slow(15.0, 9.0, 89)])
def test_a_push_off_rest_grows_as_predicted(x64, brain, drive, eps, mode):
    net = ping(brain, drive, eps)
    found = dispersion(net)
    grown = growth_of_the_network(net, found, mode, np.array([0.0, 12.0]))
    assert grown == pytest.approx(float(found.growth_rates[mode]), rel=1e-4)


@pytest.mark.parametrize(("drive", "eps", "mode"), [(12.0, 8.0, 20), slow(10.0, 8.0, 1), slow(8.0, 12.0, 39)])
def test_a_push_off_a_cycle_grows_as_predicted(x64, brain, drive, eps, mode):
    net = ping(brain, drive, eps)
    cycle = limit_cycle(net)
    found = dispersion(net, cycle)
    grown = growth_of_the_network(net, found, mode, np.array([0.0, 3.0]) * float(cycle.period))
    assert grown == pytest.approx(float(found.growth_rates[mode]), rel=1e-4)


# Any node, coupling and connectivity: the patterns together have the eigenvalues of the whole network


def small(rng, n=5):
    weights = rng.uniform(0.1, 1.0, (n, n))  # asymmetric, without detailed balance: complex eigenvalues
    return jnm.Connectome(weights / weights.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("node", "coupling"),
    [
        (jnm.PING, jnm.Linear(3.0)),
        (jnm.PING, jnm.Linear(jnp.array([2.0, 4.0]))),
        slow(jnm.PING, jnm.Sigmoidal(30.0)),
        (lambda: jnm.JansenRit(p=0.1), jnm.Sigmoidal(30.0)),
        slow(lambda: jnm.JansenRit(p=0.1), jnm.Diffusive(2.0)),
        (lambda: jnm.MPR(eta=-8.0), jnm.Diffusive(2.0)),
    ],
    ids=["linear", "by population", "saturating", "Jansen-Rit", "Jansen-Rit, diffusive", "MPR, diffusive"],
)
def test_exponents_are_the_eigenvalues_of_the_whole_network(x64, node, coupling):
    net = jnm.Network(node(), small(np.random.default_rng(3)), jax.tree.map(lambda x: x.astype(float), coupling))
    found = dispersion(net, fixed_points(homogeneous(net), starts=8)[0])
    assert np.iscomplexobj(found.connectivity_eigenvalues)
    state = ravel_pytree(net.init())[1]
    x = jnp.repeat(ravel_pytree(found.about.state)[0], 5)
    whole = jax.jacfwd(lambda x: ravel_pytree(net.drift(0.0, state(x), jnm.Drive()))[0])(x)
    wanted, got = np.linalg.eigvals(whole), np.ravel(found.exponents)
    assert max(np.min(np.abs(wanted - value)) for value in got) < 1e-9
    assert max(np.min(np.abs(got - value)) for value in wanted) < 1e-9


def test_complex_eigenvalues_on_a_cycle(x64):
    """Conjugate patterns have conjugate multipliers, and the whole network's monodromy has them all."""
    ring = [[0.0, 0.9, 0.1], [0.1, 0.0, 0.9], [0.9, 0.1, 0.0]]
    net = jnm.Network(jnm.PING(IE=10.0), jnm.Connectome(ring), jnm.Linear(8.0))
    cycle = limit_cycle(net)
    found = dispersion(net, cycle)
    state = ravel_pytree(net.init())[1]
    field = jax.jit(lambda x: ravel_pytree(net.drift(0.0, state(x), jnm.Drive()))[0])
    both = jax.jit(
        lambda t, y: jnp.concatenate([field(y[:18]), (jax.jacfwd(field)(y[:18]) @ y[18:].reshape(18, 18)).ravel()])
    )
    start = np.repeat(np.asarray(ravel_pytree(jax.tree.map(lambda x: x[0], cycle.orbit))[0]), 3)
    period = float(cycle.period)
    end = solve_ivp(both, (0, period), np.append(start, np.eye(18)), "DOP853", rtol=1e-10, atol=1e-13).y[18:, -1]
    wanted = np.linalg.eigvals(end.reshape(18, 18))
    for exponent in np.ravel(found.exponents[:, :2]):
        assert np.min(np.abs(wanted - np.exp(exponent * period))) < 1e-8
    assert float(found.growth_rates[1]) == pytest.approx(float(found.growth_rates[2]), abs=1e-10)


@pytest.mark.slow
def test_stuart_landau_oscillators(x64):
    """They send complex numbers; in the frame that turns with them exponents are known: g (L - 1), and 2 a less."""
    a, g, tau = 5.0, 2.0, 1000.0
    weights = [[0.4, 0.6], [0.6, 0.4]]
    net = jnm.Network(jnm.StuartLandau(a=a, frequency=10.0), jnm.Connectome(weights), jnm.Diffusive(g))
    cycle = limit_cycle(net)
    assert float(cycle.period) == pytest.approx(100.0, rel=1e-9)
    drift = g * (np.array([1.0, -0.2]) - 1)
    wanted = np.stack([drift, drift - 2 * a], axis=1) / tau
    np.testing.assert_allclose(np.real(dispersion(net, cycle).exponents), wanted, atol=1e-10)
    np.testing.assert_allclose(dispersion(net, net.init()).growth_rates, (a + drift) / tau, atol=1e-12)


# Derivatives, pictures, bad input


@pytest.mark.slow
def test_gradients_against_finite_differences(x64):
    weights = small(np.random.default_rng(5), 4).weights

    def growth(eps, swap):
        """Weights moved so that rows keep their sums."""
        moved = weights.at[0, 1].add(swap).at[0, 2].add(-swap)
        net = jnm.Network(jnm.PING(IE=2.0), jnm.Connectome(moved), jnm.Linear(eps))
        return dispersion(net).growth_rates[-1]

    gradient = jax.grad(growth, (0, 1))(6.0, 0.0)
    steps = ((1e-4, 0.0), (0.0, 1e-4))
    for got, (a, b) in zip(gradient, steps, strict=True):
        difference = (growth(6.0 + a, b) - growth(6.0 - a, -b)) / 2e-4
        assert float(got) == pytest.approx(float(difference), rel=1e-5)


@pytest.mark.slow
def test_gradient_about_a_cycle_that_was_found_before(x64):
    net = jnm.Network(jnm.PING(IE=10.0), jnm.Connectome([[0.4, 0.6], [0.6, 0.4]]), jnm.Linear(8.0))
    cycle = limit_cycle(net)

    def growth(drive):
        return dispersion(driven(net, drive), cycle).growth_rates[1]

    difference = (growth(10.001) - growth(9.999)) / 0.002
    assert float(jax.grad(growth)(10.0)) == pytest.approx(float(difference), rel=1e-6)


def driven(net, drive):
    return jnm.Network(jnm.PING(IE=drive), net.connectome, net.coupling)


def test_picture(x64, brain):
    found = dispersion(ping(brain, 15.0, 9.0))
    ax, bar = found.plot().axes
    (dots,) = ax.collections
    np.testing.assert_allclose(dots.get_offsets()[:, 1], found.growth_rates)
    assert ax.get_title() == "79 of 89 transverse modes grow"
    assert bar.get_ylabel() == "frequency (Hz)"


def test_bad_input_is_named(x64):
    brain = small(np.random.default_rng(0), 3)
    uneven = jnm.Connectome([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"different sums of weights \(1 to 3\).*normalised\('rows'\)"):
        dispersion(jnm.Network(jnm.PING(), uneven))
    with pytest.raises(ValueError, match="region by region"):
        dispersion(jnm.Network(jnm.PING(IE=jnp.array([1.0, 2.0, 3.0])), brain))
    with pytest.raises(ValueError, match=r"wanted a jnm.Network; got a NMM2"):
        dispersion(jnm.PING())
    net = jnm.Network(jnm.PING(IE=2.0), brain)
    differing = jax.tree.map(lambda x: x + jnp.arange(3.0)[None], net.init())
    with pytest.raises(ValueError, match="differs between regions"):
        dispersion(net, differing)
    other = limit_cycle(column(230.0, 50.0))
    with pytest.raises(ValueError, match="not one of this network's region"):
        dispersion(net, other)
    timed = jnm.Connectome(brain.weights, 20.0 * np.ones((3, 3)))
    with pytest.raises(ValueError, match="cycles of networks with delays"):
        dispersion(jnm.Network(jnm.PING(), timed, speed=5.0), other)
    with pytest.raises(ValueError, match="traced by jit or vmap"):
        jax.jit(lambda w: dispersion(jnm.Network(jnm.PING(), jnm.Connectome(w))).growth_rates)(brain.weights)
    with pytest.raises(ValueError, match="wanted a list"):
        master_stability(net, np.eye(2))


def test_a_state_of_all_regions_and_one_of_a_region_are_the_same(x64):
    net = jnm.Network(jnm.PING(IE=2.0), small(np.random.default_rng(0), 3), jnm.Linear(10.0))
    point = dispersion(net).about
    everywhere = jax.tree.map(lambda x: jnp.repeat(x, 3, axis=-1), point.state)
    for state in (point, point.state, everywhere):
        np.testing.assert_allclose(dispersion(net, state).growth_rates, dispersion(net).growth_rates, rtol=1e-12)


def test_master_stability_with_weights_that_are_traced(x64):
    brain = small(np.random.default_rng(0), 3)

    def rates(weights, state=None):
        net = jnm.Network(jnm.PING(IE=2.0), jnm.Connectome(weights), jnm.Linear(10.0))
        return master_stability(net, [0.5, -0.2], state).growth_rates

    point = dispersion(jnm.Network(jnm.PING(IE=2.0), brain, jnm.Linear(10.0))).about
    traced = jax.jit(lambda weights: rates(weights, point))(0.9 * brain.weights)
    np.testing.assert_allclose(traced, rates(0.9 * brain.weights), rtol=1e-10)
