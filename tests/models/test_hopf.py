"""Stuart-Landau against what is known of its normal form in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.models import StuartLandauState

KEY = jax.random.key(4)
W = np.array([[0.0, 0.6, 0.4], [0.5, 0.0, 0.5], [0.9, 0.1, 0.0]])


def test_amplitude_and_frequency_of_the_cycle(x64):
    """|z|^2 = a / (1 + (a / r0^2 - 1) exp(-2 a t / tau)), and z turns at its frequency whatever its amplitude."""
    a, f, tau = 2.0, 10.0, 100.0
    run = jnm.simulate(jnm.StuartLandau(a=a, frequency=f, tau=tau), 200.0, 0.02, save_every=1.0)
    z = np.asarray(run.ys.x + 1j * run.ys.y)
    square = a / (1 + (a / 0.1**2 - 1) * np.exp(-2 * a * run.ts / tau))
    np.testing.assert_allclose(z, np.sqrt(square) * np.exp(2e-3j * np.pi * f * run.ts), atol=1e-5)  # of Heun
    assert square[-1] == pytest.approx(a, rel=0.08)


@pytest.mark.parametrize("a", [-0.3, 0.0, 0.3])
def test_the_origin_loses_its_stability_at_zero(x64, a):
    """Eigenvalues a / tau +- i omega: a Hopf bifurcation at a = 0, at the node's frequency."""
    origin = StuartLandauState(jnp.zeros(()), jnp.zeros(()))
    rest = jnm.stability.at_rest(jnm.StuartLandau(a=a, frequency=12.0, tau=50.0), origin)
    np.testing.assert_allclose(rest.eigenvalues, [a / 50.0 + s * 24e-3j * np.pi for s in (1, -1)], atol=1e-15)


def test_hopf_points_finds_it_on_a_branch_that_stays_at_zero(x64):
    (point,) = jnm.stability.hopf_points(jnm.StuartLandau(frequency=12.0), lambda m: m.a, -1.0, 1.1, starts=4)
    assert point.value == pytest.approx(0.0, abs=1e-12)
    assert point.frequency_hz == pytest.approx(12.0, abs=1e-9)


def spectrum(f_hz, a, f0, tau, sigma):
    """One-sided, per Hz: two Lorentzians at +-f0 of half width |a| / tau."""
    rate, at = -a / (tau * 1e-3), 2 * np.pi * f_hz
    lines = [1 / (rate**2 + (at - sign * 2 * np.pi * f0) ** 2) for sign in (1, -1)]
    return sigma**2 / (tau * 1e-3) * sum(lines)


def test_its_noise_has_the_spectrum_of_two_lorentzians(x64):
    f_hz = jnp.linspace(1.0, 30.0, 59)
    node = jnm.StuartLandau(a=-2.0, frequency=10.0, tau=100.0, sigma=0.01)
    wanted = spectrum(np.asarray(f_hz), -2.0, 10.0, 100.0, 0.01)
    origin = StuartLandauState(jnp.zeros(()), jnp.zeros(()))
    linear = jnm.stability.linear_spectrum(node, f_hz, "source", state=origin)
    np.testing.assert_allclose(linear.value, wanted, rtol=1e-9)
    assert np.trapezoid(spectrum(np.linspace(0, 4000, 400_001), -2.0, 10.0, 100.0, 0.01), dx=0.01) == pytest.approx(
        0.01**2 / 4, rel=1e-3
    )  # the variance sigma^2 / (2 |a|) of the process


@pytest.mark.slow
def test_a_long_run_has_the_variance_of_the_linear_process():
    """sigma^2 / (2 |a|) within four standard errors: 400 independent nodes."""
    node = jnm.StuartLandau(a=jnp.full(400, -2.0), frequency=10.0, tau=100.0, sigma=0.01)
    save = jnm.integration.running_covariance(lambda y: y.x)
    run = jnm.simulate(node, 2000.0, 1.0, key=KEY, discard=300.0, save=save)
    each = np.diag(np.asarray(run.ys.covariance, float))
    error = each.std() / np.sqrt(each.size)
    assert (
        error < 0.02 * 2.5e-5 and abs(each.mean() - 2.5e-5) < 4 * error + 0.005 * 2.5e-5
    )  # and Heun's own half per cent


def test_diffusion_couples_x_with_x_and_y_with_y(x64):
    z = np.array([0.3 + 0.1j, -0.2 + 0.4j, 0.5 - 0.3j])
    net = jnm.Network(jnm.StuartLandau(a=0.1, frequency=3.0, tau=50.0), jnm.Connectome(W), jnm.Diffusive(gain=0.7))
    y = StuartLandauState(jnp.asarray(z.real), jnp.asarray(z.imag))
    drift = net.drift(0.0, y, jnm.Drive())
    turn = 2j * np.pi * 3.0e-3
    wanted = ((0.1 - abs(z) ** 2) * z + 0.7 * (W @ z - W.sum(axis=1) * z)) / 50.0 + turn * z
    np.testing.assert_allclose(drift.x + 1j * drift.y, wanted, rtol=1e-12)


def test_eigenvalues_of_a_network_at_rest(x64):
    """(a + gain (L - 1)) / tau +- i omega for each eigenvalue L of weights whose rows sum to one."""
    net = jnm.Network(jnm.StuartLandau(a=-0.1, frequency=3.0, tau=50.0), jnm.Connectome(W), jnm.Diffusive(gain=0.7))
    rest = jnm.stability.at_rest(net, StuartLandauState(jnp.zeros(3), jnp.zeros(3)))
    decay = (-0.1 + 0.7 * (np.linalg.eigvals(W) - 1)) / 50.0
    wanted = np.concatenate([decay + s * 2j * np.pi * 3e-3 for s in (1, -1)])
    np.testing.assert_allclose(*(sorted(np.round(x, 12), key=_order) for x in (rest.eigenvalues, wanted)), atol=1e-11)


def _order(value):
    return value.imag, value.real


def test_bad_input_is_named(x64):
    origin = StuartLandauState(jnp.zeros(()), jnp.zeros(()))
    with pytest.raises(ValueError, match=r"output of a StuartLandau is complex; .* give output='source'"):
        jnm.stability.transfer_function(jnm.StuartLandau(), jnp.ones(1), state=origin)
    with pytest.raises(ValueError, match=r"StuartLandau: frequency = -1 is outside its domain \(positive\)"):
        jnm.StuartLandau(frequency=-1.0)
    with pytest.raises(ValueError, match=r"the node sends complex numbers, which have no order"):
        jnm.Network(jnm.StuartLandau(), jnm.Connectome(W), jnm.Sigmoidal()).drift(
            0.0, StuartLandauState(jnp.zeros(3), jnp.zeros(3)), jnm.Drive()
        )
