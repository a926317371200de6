"""The Freeman masses against closed forms and the numbers of spec/lif-and-freeman.md, section 6 (set A, Vbar = -58 mV)."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm

DT = 0.1


def potential(mass, phi, y0=None):
    """V after each Euler step under the inputs phi [time, 3]."""
    inputs = jnm.Sampled(jnp.asarray(phi), dt=DT, into="synaptic", hold=True)
    run = jnm.simulate(mass, t1=len(phi) * DT, dt=DT, y0=y0, solver=diffrax.Euler(), stimulus=inputs)
    return np.asarray(run.ys.V)


def constant(steps, phi=(2.0, 0.5, 0.4)):
    return np.tile(phi, (steps, 1))


def impulse(steps=6_000):
    """One excitatory spike for each neuron in the first step."""
    phi = np.zeros((steps, 3))
    phi[0, 0] = 1 / DT
    return phi


def test_fixed_points(x64):
    cfm = potential(jnm.FreemanCFM(Vbar=-58.0), constant(6_000))
    mfm = potential(jnm.FreemanMFM(), constant(6_000))
    assert cfm[-1] == pytest.approx(-58.0950000000, abs=1e-10)
    assert mfm[-1] == pytest.approx(-58.0777096115, abs=1e-10)


def test_impulse_response(x64):
    """One arriving spike: area, height and moment of the potential it makes, and its gain over frequency."""
    mass = jnm.FreemanCFM(Vbar=-58.0)
    response = potential(mass, impulse(), mass.start(mass.rest)) - float(mass.rest)
    assert np.sum(response) * DT == pytest.approx(0.29, abs=1e-8)  # V is -70 + 1e-14: rounding adds up
    assert np.max(response) == pytest.approx(0.009177003, abs=1e-9)
    assert np.argmax(response) == 92  # counted from the step of the spike, 0
    f_hz = np.array([1.0, 5.0, 10.0, 20.0, 50.0, 150.0])
    phase = np.exp(-2e-3j * np.pi * DT * np.outer(f_hz, np.arange(len(response))))
    gain = np.abs(phase @ response) / np.sum(response)
    expected = [0.991755672, 0.837270556, 0.595498680, 0.314607291, 0.085229588, 0.011139820]
    np.testing.assert_allclose(gain, expected, atol=1e-9)


def test_the_two_time_constants_cannot_be_told_apart(x64):
    """tau_m and a common tau_syn are exchangeable in V, once what the start leaves has gone."""
    one, other = jnm.FreemanCFM(), jnm.FreemanCFM(tau_m=5.0, tau_E=20.0, tau_I=20.0, tau_X=20.0)
    phi = impulse(3_000)
    np.testing.assert_allclose(*(potential(m, phi, m.start(m.rest)) for m in (one, other)), atol=1e-12)


def test_the_conventional_mass_is_linear_in_each_weight(x64):
    """Gradients by superposition: V(2 q) - V(q) is q times dV/dq, exactly."""
    phi = np.abs(np.random.default_rng(0).normal(size=(300, 3)))
    mass = jnm.FreemanCFM(Vbar=-58.0)
    inputs = jnm.Sampled(jnp.asarray(phi), dt=DT, into="synaptic", hold=True)
    for kind in ("q_E", "q_I", "q_X"):

        def last(q, kind=kind):
            model = eqx.tree_at(lambda m: getattr(m, kind), mass, q)
            return jnm.simulate(model, t1=30.0, dt=DT, solver=diffrax.Euler(), stimulus=inputs).ys.V[-1]

        q = getattr(mass, kind)
        value, slope = jax.value_and_grad(last)(q)
        assert float(slope * q) == pytest.approx(float(last(2 * q) - value), rel=1e-11)


def test_the_filter_acts_on_the_product(x64):
    """With unequal time constants the current of each kind is [tau_s D + 1]^-1 q_s (V - E_s) Phi_s."""
    rng = np.random.default_rng(1)
    phi = np.abs(rng.normal(size=(2_000, 3))) * (2.0, 0.5, 0.4)
    mass = jnm.FreemanMFM(tau_E=3.0, tau_I=7.0)
    V, W = float(mass.rest), np.zeros(3)
    q, E, tau = (np.array([float(getattr(mass, f"{n}_{k}")) for k in "EIX"]) for n in ("q", "E", "tau"))
    for inputs in phi:
        step = DT / 20.0 * (-70.0 - V - W.sum() / 10.0)
        W = W + DT / tau * (q * (V - E) * inputs - W)
        V = V + step
    assert potential(mass, phi)[-1] == pytest.approx(V, abs=1e-10)


@pytest.mark.parametrize(("A", "radius"), [(248.9, 0.999995), (249.1, 1.000005)])
def test_stability_of_the_euler_step(x64, A, radius):
    """Under a constant input the step is stable up to 1 + A = (tau_m + tau_syn) / dt = 250."""
    phi = np.array([[A * 10.0 / 0.05, 0.0, 0.0]])
    assert jnm.FreemanMFM().euler_radius(phi, DT) == pytest.approx(radius, abs=1e-7)


def test_a_fast_synapse_is_unstable_before_a_stronger_slow_one(x64):
    """Of each kind alone the bound is 1 + A = (tau_m + tau_s) / dt, here 42 and 60."""
    mass = jnm.FreemanMFM(tau_E=1.0, tau_I=10.0)
    fast, slow = (41.5 * 10.0 / 0.05, 0.0, 0.0), (0.0, 50.0 * 10.0 / 0.25, 0.0)
    alone = [mass.euler_radius(np.array([phi]), 0.5) for phi in (fast, slow)]
    assert alone[1] < 1 < alone[0] == mass.euler_radius(np.array([fast, slow]), 0.5)


def test_a_diverging_mass_says_so(x64):
    with pytest.raises(RuntimeError, match="stopped being finite"):
        potential(jnm.FreemanMFM(), constant(200_000, (1e5, 0.0, 0.0)))


@pytest.mark.parametrize(("phi", "A"), [((0.2, 0.05, 0.1), 0.05225), ((2.0, 1.0, 2.0), 1.035)])
def test_damping_under_constant_input(x64, phi, A):
    """Over-damped below A = .5625; above, it rings at sqrt(400 (1 + A) - 625) / 200 rad/ms and decays at .125 /ms."""
    mass = jnm.FreemanMFM()
    assert float(0.05 * phi[0] + 0.25 * phi[1] + 5.0 * phi[2]) / 10.0 == pytest.approx(A)
    drive = jnm.Drive(synaptic=jnp.asarray(phi))
    jacobian = jax.jacobian(lambda y: jnp.stack(mass.drift(0.0, type(mass.init())(*y), drive)))(jnp.zeros(4))
    values = np.linalg.eigvals(np.asarray(jacobian))
    pair = values[np.abs(values + 1 / 5.0) > 1e-6]  # the other two are differences of equal filters
    root = np.emath.sqrt(400 * (1 + A) - 625) / 200
    np.testing.assert_allclose(
        np.sort_complex(pair), np.sort_complex([-0.125 - 1j * root, -0.125 + 1j * root]), atol=1e-9
    )


def test_a_network_excites_and_a_stimulus_speaks_to_each_kind(x64):
    masses = jnm.Network(jnm.FreemanMFM(), jnm.Connectome([[0.0, 1.0], [1.0, 0.0]]), jnm.Linear(gain=0.1))
    y = masses.node.start(-60.0)
    y = jax.tree.map(lambda x: jnp.broadcast_to(x, (2,)), y)
    heard = masses.drift(0.0, y, jnm.Drive(synaptic=jnp.ones((3, 2))))
    alone = masses.node.drift(0.0, y, jnm.Drive(synaptic=jnp.array([[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]])))
    for got, wanted in zip(heard, alone, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="three kinds first"):
        jnm.FreemanMFM().drift(0.0, jnm.FreemanMFM().init(), jnm.Drive(synaptic=jnp.ones(2)))
    with pytest.raises(ValueError, match=r"\[time, 3\]"):
        jnm.FreemanMFM().euler_radius(np.ones(3), DT)
    for phi, dt, mass in (
        (constant(0), DT, {}),
        (constant(5) * np.nan, DT, {}),
        (constant(5), 0.0, {}),
        (constant(5), DT, {"q_E": jnp.ones(2)}),
    ):
        with pytest.raises(ValueError, match="positive dt, and a mass of one node"):
            jnm.FreemanMFM(**mass).euler_radius(phi, dt)
    with pytest.raises(ValueError, match=r"current of shape \[3\] pA; wanted \[\].*into='synaptic'"):
        jnm.simulate(jnm.FreemanMFM(), 1.0, DT, stimulus=jnm.Sampled(constant(10), dt=DT, hold=True))
    for dt in (2 * DT, 0.7 * DT):
        with pytest.raises(ValueError, match=r"holds each sample for 0.1 ms.*whole number of steps"):
            recorded = jnm.Sampled(constant(10), dt=DT, into="synaptic", hold=True)
            jnm.simulate(jnm.FreemanMFM(), 14 * DT, dt, stimulus=recorded)
    with pytest.raises(ValueError, match="tau_E"):
        jnm.FreemanCFM(tau_E=-1.0)
