"""The rate of LIF neurons against SciPy, and the closed loop against the LIF networks of spec/lif-and-freeman.md, 5."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfcx

import jnm
from jnm.models.lif_gain import FILTERED, siegert_rate

rate_of = jax.jit(partial(siegert_rate, tau=16.0, threshold=-50.0, reset=-60.0, refractory=5.0))


def passage_rate(mean, sd, shift=0.0):
    """Siegert's formula by SciPy's quadrature and scaled error function."""
    low, high = ((level - mean) / (np.sqrt(2) * sd) + shift for level in (-60.0, -50.0))
    integral = quad(lambda x: erfcx(-x), low, high, epsabs=0, epsrel=1e-12)[0]
    return 1 / (5.0 + 16.0 * np.sqrt(np.pi) * integral)


def network(p, share_E, mass=jnm.FreemanMFM):
    """Set A at N = 10,000: the masses of a LIF network's two populations, with its own synaptic time constants."""
    k = 1e4 * p
    return jnm.FreemanLoop(mass(tau_E=3.0, tau_I=7.0), k_E=k * share_E, k_I=k * (1 - share_E))


CASES = [(-56.0, 2.8), (-60.0, 1.0), (-45.0, 3.0), (-30.0, 0.5), (-50.0, 0.2), (-55.0, 20.0), (-70.0, 3.0)]


@pytest.mark.parametrize(("mean", "sd"), CASES)
def test_the_rate_is_siegerts(x64, mean, sd):
    exact = passage_rate(mean, sd, 0.3)
    assert float(rate_of(jnp.asarray(mean), jnp.asarray(sd), shift=0.3)) == pytest.approx(exact, rel=1e-9)
    with jax.enable_x64(False):
        single = rate_of(jnp.float32(mean), jnp.float32(sd), shift=0.3)
    assert float(single) == pytest.approx(exact, rel=2e-5)


def test_limits_and_gradient_of_the_rate(x64):
    silent, busy = (rate_of(jnp.asarray(v), jnp.asarray(0.1)) for v in (-70.0, 1e4))
    assert float(silent) == 0.0
    assert float(busy) == pytest.approx(1 / (5.0 + 16.0 * np.log((1e4 + 60.0) / (1e4 + 50.0))), rel=1e-9)
    slope_of = jax.jit(jax.grad(lambda v: rate_of(v, jnp.asarray(1.5))))
    for mean in (-52.0, -70.0):
        slope = slope_of(mean)
        difference = (passage_rate(mean + 1e-3, 1.5) - passage_rate(mean - 1e-3, 1.5)) / 2e-3
        assert float(slope) == pytest.approx(difference, rel=1e-5)
    # zeta(1/2) = eta(1/2) / (1 - sqrt 2), with the alternating series eta summed by Euler's means
    partial = np.cumsum((-1.0) ** np.arange(60) / np.sqrt(np.arange(1, 61)))
    for _ in range(40):
        partial = (partial[1:] + partial[:-1]) / 2
    assert pytest.approx(partial[-1] / (np.sqrt(2) - 1) / np.sqrt(2), rel=1e-12) == FILTERED


def test_without_recurrence_the_rate_is_that_of_external_noise(x64):
    """p -> 0, set A: mean, time constant and noise of one conductance written out, then Siegert by SciPy."""
    g_X, phi, q = 2.5, 0.5, 5.0
    g, tau = 10.0 + g_X, 16.0
    mean = -70.0 * 10.0 / g
    synaptic, membrane = (mean / g * q) ** 2 * phi, (10.0 / g) ** 2 * 5e-4
    sd = np.sqrt((synaptic + membrane) / (2 * tau))
    shift = FILTERED * np.sqrt(5.0 / tau) * synaptic / (synaptic + membrane)
    loop = jnm.FreemanLoop(jnm.FreemanMFM(), k_E=1e-9, k_I=1e-9)
    rest = jnm.simulate(loop, t1=500.0, dt=0.1, save_every=500.0).final.state
    assert float(rest.V[0]) == pytest.approx(mean, abs=1e-6) and float(rest.V[1]) == pytest.approx(-70.0, abs=1e-6)
    assert float(loop.rate(rest)[0]) == pytest.approx(passage_rate(mean, sd, shift), rel=1e-7)


def test_what_the_loop_predicts_of_the_networks():
    """Simulated at N = 10,000 and 2,000: 1.17-1.20 and 9.2-11 spikes/s at (.8, .05) and (.6, .75), a rhythm at the second."""
    rates = {}
    for share_E, p in ((0.8, 0.05), (0.6, 0.75)):
        loop = network(p, share_E)
        run = jnm.simulate(loop, t1=1_500.0, dt=0.1, save_every=1.0, discard=500.0, save=loop.output)
        rates[p] = 1e3 * np.asarray(run.ys)
    assert np.mean(rates[0.05]) == pytest.approx(1.18, rel=0.35) and np.std(rates[0.05]) < 1e-2
    assert np.mean(rates[0.75]) == pytest.approx(11.0, rel=0.3) and np.std(rates[0.75]) > 10.0
    f_hz, density = jnm.observe.psd(jnp.asarray(rates[0.75]), dt=1.0, segment=1_000.0)
    assert 4.0 <= float(f_hz[1 + jnp.argmax(density[1:])]) <= 15.0  # the low-frequency synchrony of the network


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="k_E"):
        jnm.FreemanLoop(jnm.FreemanMFM(), k_E=-1.0)
    with pytest.raises(ValueError, match="mass"):
        jnm.FreemanLoop(jnm.FreemanMFM(tau_m=jnp.ones(3)))
    with pytest.raises(ValueError, match="mass is a NMM2; wanted jnm.FreemanMFM"):
        jnm.FreemanLoop(jnm.ING())  # pyright: ignore[reportArgumentType]
