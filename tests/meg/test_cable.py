"""The theory of one cable against cables of 4,000 compartments, in the frequency domain and in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_banded

from jnm.meg import cable

N, LENGTH, DIAMETER, R_M, R_I, C_M = 4000, 1e-3, 3e-6, 2.0, 1.5, 0.01  # SI: m, ohm m^2, ohm m, F/m^2
H = LENGTH / N
PLACES = (np.arange(N) + 0.5) * H
AXIAL = np.pi * DIAMETER**2 / (4 * R_I * H)  # S between neighbours
LEAK, CAPACITANCE = np.pi * DIAMETER * H / R_M, np.pi * DIAMETER * H * C_M


def banded(shunt):
    """Rows of the tridiagonal matrix that takes potentials to injected currents, for a membrane admittance `shunt`."""
    inner = np.full(N, 2 * AXIAL) + shunt
    inner[[0, -1]] -= AXIAL
    off = np.full(N, -AXIAL, inner.dtype)
    return np.array([np.append(0, off[:-1]), inner, np.append(off[:-1], 0)])


def moment(V, current, at, shunt_current):
    """q = sum of the outward membrane currents times their places; the synapse lets `current` in at compartment `at`."""
    outward = shunt_current
    outward[at] -= current
    return np.sum(outward * PLACES)


@pytest.mark.parametrize("at", [0, 900, 2700, N - 1])
def test_lever_of_a_synapse_equals_that_of_compartments(at, x64):
    f_hz = np.array([0.0, 10.0, 40.0, 100.0, 300.0])
    levers = np.asarray(cable.effective_length(PLACES[at] * 1e3, f_hz))
    for f, lever in zip(f_hz, levers, strict=True):
        shunt = LEAK + 2j * np.pi * f * CAPACITANCE
        injected = np.zeros(N, complex)
        injected[at] = 1.0
        V = solve_banded((1, 1), banded(shunt), injected)
        q = moment(V, 1.0, at, shunt * V)
        assert abs(1e3 * q - lever) < 1e-6 * abs(lever)
        # the bridge, between the first and the last compartment
        kappa = float(cable.bridge()) * 1e-12  # fA m / mV in A m / V
        assert abs(kappa * (V[0] - V[-1]) - q) < 1e-8 * abs(q)


def test_levers_of_the_specification(x64):
    lever = np.abs(cable.effective_length(0.0, np.array([0.0, 10.0, 40.0, 100.0, 300.0])))
    np.testing.assert_allclose(1e3 * lever, [462, 459, 422, 314, 164], atol=0.6)
    np.testing.assert_allclose(cable.space_constant(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(cable.bridge([1.0, 2.0, 3.0, 4.0, 5.0]), [0.52, 2.09, 4.71, 8.38, 13.1], rtol=8e-3)


def test_moment_in_time_is_the_current_through_the_lever(x64):
    """The trapezoid rule at dt answers a frequency f as the cable answers tan(pi f dt) / (pi dt): an exact statement."""
    at, dt, steps = 300, 0.25e-3, 400
    t = dt * np.arange(steps)
    current = t * np.exp(-t / 2e-3)
    shunt = LEAK + 2 * CAPACITANCE / dt
    V, q, was = np.zeros(N), np.zeros(steps), np.zeros(N)
    for k in range(1, steps):  # C (V - V_0)/dt = mean of -leak, axial and injected currents, before and now
        right = was + 2 * CAPACITANCE / dt * V
        right[at] += current[k]
        after = solve_banded((1, 1), banded(shunt), right)
        was = 2 * CAPACITANCE / dt * (after - V) - was  # what flows into the capacitances now
        V = after
        q[k] = moment(V, current[k], at, LEAK * V + was)
    f = np.fft.rfftfreq(8 * steps, dt)[:-1]
    lever = np.asarray(cable.effective_length(PLACES[at] * 1e3, np.tan(np.pi * f * dt) / (np.pi * dt)))
    theory = np.fft.irfft(np.append(lever, 0.0) * np.fft.rfft(current, 8 * steps))[:steps]
    assert np.abs(1e3 * q - theory).max() < 1e-5 * np.abs(theory).max()
    ours = cable.synaptic_moment(np.stack([current, 2 * current], axis=1), 1e3 * dt, float(PLACES[at] * 1e3))
    assert np.abs(1e3 * q - ours[:, 0]).max() < 5e-3 * np.abs(theory).max()  # what the trapezoid rule misses
    np.testing.assert_allclose(ours[:, 1], 2 * ours[:, 0], rtol=1e-9)


def test_a_long_current_gets_the_lever_of_its_frequency(x64):
    t = np.arange(0, 300, 0.1)
    q = np.asarray(cable.synaptic_moment(np.sin(2e-3 * np.pi * 40 * t), 0.1, 0.1))[2000:]
    np.testing.assert_allclose(np.ptp(q) / 2, abs(cable.effective_length(0.1, 40.0)), rtol=1e-3)
    with pytest.raises(ValueError, match="dt = 0.0 ms; wanted"):
        cable.synaptic_moment(t, 0.0, 0.1)


def test_lever_changes_sign_half_way_and_is_finite_in_long_cables():
    assert abs(cable.effective_length(0.5, 40.0)) == 0.0
    left, right = (cable.effective_length(x, 40.0) for x in (0.1, 0.9))
    np.testing.assert_allclose(left, -right, rtol=1e-6)
    far = cable.effective_length(np.array([0.0, 500.0, 1000.0]), 10.0, length_mm=1000.0)
    np.testing.assert_allclose(far, np.asarray(cable.space_constant(10.0)) * np.array([1.0, 0.0, -1.0]), atol=1e-6)


def test_an_action_potential_inside_an_axon_makes_no_moment():
    """Membrane currents are the second difference of the potential; their first moment is what is left at the ends."""
    V = 100 * np.exp(-(((PLACES - 0.5e-3) / 0.05e-3) ** 2)) * np.sin((PLACES - 0.4e-3) / 0.03e-3)
    outward = AXIAL * np.convolve(np.pad(V, 1, mode="edge"), [1.0, -2.0, 1.0], "valid")
    assert abs(np.sum(outward * PLACES)) < 1e-12 * np.sum(np.abs(outward * PLACES))


def test_gradients_equal_finite_differences(x64):
    @jax.jit
    def part(x):
        z = cable.effective_length(x[0], x[1], length_mm=x[2], diameter_um=x[3], membrane_ohm_m2=x[4], tau_ms=x[5])
        return jnp.real(z) + 2 * jnp.imag(z)

    for place in (0.2, 0.6):  # the middle is one of them
        x = jnp.asarray([place, 40.0, 1.2, 3.0, 2.0, 20.0])
        steps = 1e-5 * jnp.diag(x)
        differences = [(part(x + e) - part(x - e)) / (2 * jnp.sum(e)) for e in steps]
        np.testing.assert_allclose(jax.grad(part)(x), differences, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(x0_mm=1.2), "is not on a cable of 1.0 mm"),
        (dict(x0_mm=0.0, diameter_um=0.0), "diameter_um = 0.0; wanted positive"),
        (dict(x0_mm=0.0, tau_ms=-1.0), "tau_ms = -1.0; wanted positive"),
    ],
)
def test_impossible_cables_are_an_error(wrong, message):
    with pytest.raises(ValueError, match=message):
        cable.effective_length(**wrong)
