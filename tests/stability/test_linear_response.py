"""Transfer functions and linear spectra against closed forms, the spec's tables, SciPy and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

import jnm
from jnm.stability import fixed_points, linear_spectrum, resonances, transfer_function


def rate(t, y):
    """R = tau_m r of the pyramidal population."""
    return 15.0 * y.r


@pytest.mark.parametrize(
    ("C", "eta", "r_hz", "f_peak", "peak", "dc"),
    [  # spec 3c; rows 26 to 28
        (0.0, 5.0, 47.6852, 47.45084, 0.35763889, 0.07013876),
        (0.0, 10.0, 67.1892, 67.10562, 0.50391928, 0.05014184),
        (0.0, 20.0, 94.9313, 94.90167, 0.71198480, 0.03555482),
        (10.0, 5.0, 92.0680, 92.50156, 0.64455094, 0.05787208),
        (10.0, 10.0, 108.9276, 109.24795, 0.77693020, 0.04491601),
        (10.0, 20.0, 134.5199, 134.73674, 0.97570152, 0.03351665),
        (20.0, 10.0, 162.7721, 163.07971, 1.16659591, 0.03546304),
    ],
)
def test_resonance_of_a_pyramidal_population(x64, C, eta, r_hz, f_peak, peak, dc):
    model = jnm.Pyramidal(C=C, eta=eta)
    (found,) = resonances(model, 1.0, 300.0, output=rate)
    assert float(found.frequency_hz) == pytest.approx(f_peak, abs=1e-5)
    assert float(found.gain) == pytest.approx(peak, abs=1e-8)
    assert float(transfer_function(model, [0.0], output=rate).gain[0]) == pytest.approx(dc, abs=1e-8)
    assert 1e3 * float(fixed_points(model)[0].state.r) == pytest.approx(r_hz, abs=1e-4)


def test_an_uncoupled_population_in_closed_form(x64):
    """Spec 2: G = 2 R / ((i om + a)^2 + b^2), peak over dc = sqrt(1 + X^2), peak = R / 2 (row 28: sqrt(26))."""
    model = jnm.Pyramidal(C=0.0, eta=5.0)
    R = 15.0 * float(fixed_points(model)[0].state.r)
    f_hz = np.array([0.0, 1.0, 47.0, 200.0])
    om = 2 * np.pi * f_hz / 1000 * 15.0
    wanted = 2 * R / ((1j * om + 1 / (np.pi * R)) ** 2 + (2 * np.pi * R) ** 2)
    H = transfer_function(model, f_hz, output=rate)
    np.testing.assert_allclose(H.value, wanted, rtol=1e-11)
    (found,) = resonances(model, 1.0, 300.0, output=rate)
    assert float(found.gain / H.gain[0]) == pytest.approx(np.sqrt(26), abs=1e-9)
    assert float(found.gain) == pytest.approx(R / 2, abs=1e-10)
    assert H.phase_deg[0] == pytest.approx(0.0, abs=1e-9) and H.phase_deg[-1] < -90


@pytest.mark.parametrize("eta", [5.32, 5.3221])
def test_a_resonance_narrower_than_any_grid(x64, eta):
    """Next to the Hopf point of ING at 5.322121 the peak is a hundredth of a hertz wide, and less."""
    (found,) = resonances(jnm.ING(eta=eta), 1.0, 300.0)
    f_hz = float(found.frequency_hz) + np.linspace(-1e-3, 1e-3, 2001)
    gain = transfer_function(jnm.ING(eta=eta), f_hz).gain
    assert np.argmax(gain) == 1000 and float(found.gain) == pytest.approx(float(np.max(gain)), rel=1e-9)
    assert found.frequency_hz == pytest.approx(54.55, abs=0.01)  # row 9


def test_excitatory_heuristic_masses_do_not_resonate(x64):
    """Spec 3c: NMM1 has real eigenvalues at every point of the table."""
    for C, eta in ((0.0, 5.0), (10.0, 10.0), (20.0, 10.0)):
        found = resonances(jnm.NMM1.of(jnm.Pyramidal(C=C, eta=eta)), 0.1, 300.0)
        assert found == [] and "800 frequencies from 0.1 to 300 Hz" in repr(found)


def test_afferents_count_tau_m_times_a_current(x64):
    f_hz = jnp.array([5.0, 50.0])
    synaptic, current = (transfer_function(jnm.Pyramidal(), f_hz, kind).value for kind in ("synaptic", "current"))
    np.testing.assert_allclose(synaptic, 15.0 * current, rtol=1e-12)


def test_gain_against_a_sine_in_time(x64):
    """Row 27 by SciPy's integrator: a current of 1e-3 at the resonance; first harmonic of the last 20 of 400 periods."""
    model, f_hz = jnm.Pyramidal(C=20.0), 163.07971
    x, state = ravel_pytree(fixed_points(model)[0].state)

    @jax.jit
    def slope(t, x):
        drive = jnm.Drive(current=1e-3 * jnp.sin(2 * jnp.pi * f_hz * t / 1000))
        return ravel_pytree(model.drift(t, state(x), drive))[0]

    turns = 380 + np.arange(400) / 20
    run = solve_ivp(slope, (0, 400e3 / f_hz), x, "DOP853", turns * 1000 / f_hz, rtol=1e-10, atol=1e-13)
    amplitude = 2j * np.mean(15.0 * run.y[0] * np.exp(-2j * np.pi * turns)) / 1e-3
    assert abs(amplitude) == pytest.approx(1.16659591, rel=1e-6)
    wanted = transfer_function(model, [f_hz], output=rate).value[0]
    np.testing.assert_allclose(amplitude, complex(wanted), rtol=1e-6)


def covariance(model, state):
    """SciPy's solution of A X + X A' + B B' = 0."""
    x, shaped = ravel_pytree(state)
    A = jax.jacfwd(lambda x: ravel_pytree(model.drift(0.0, shaped(x), jnm.Drive()))[0])(x)
    noise = model.diffusion(0.0, state)
    B = jnp.concatenate([jnp.ravel(jnp.zeros_like(v) if a is None else a) for a, v in zip(noise, state, strict=True)])
    return solve_continuous_lyapunov(np.asarray(A), -np.diag(np.asarray(B) ** 2))


def test_spectrum_integrates_to_the_variance(x64):
    model = jnm.PINGSecondOrder(eta=0.5, sigma=(0.1, 0.2))
    rest = fixed_points(model, starts=16)[0].state
    grid = jnp.concatenate([jnp.linspace(1e-6, 500.0, 50001), jnp.geomspace(500.0, 1e6, 4001)[1:]])
    S = linear_spectrum(model, grid, output=lambda t, y: y.s, state=rest)
    assert S.value.shape == (len(grid), 2)
    variance = np.diag(covariance(model, rest))[4:6]  # fields r, v, s, z of two populations each
    np.testing.assert_allclose(np.trapezoid(S.value, grid, axis=0), variance, rtol=1e-4)


def test_spectrum_is_what_psd_measures(x64):
    """A two-minute run at weak noise; the mean of chi-squared estimates over bands scatters by under 2 per cent."""
    model = jnm.Pyramidal(sigma=1e-3)
    rest = fixed_points(model)[0].state
    run = jnm.simulate(model, t1=60_000.0, dt=0.1, key=jax.random.key(3), y0=rest, save=rate, save_every=0.5)
    f_hz, measured = jnm.observe.psd(run.ys, dt=0.5, segment=500.0)
    wanted = linear_spectrum(model, f_hz[1:], output=rate).value
    for low, high in ((10, 60), (60, 100), (100, 120), (120, 200)):
        band = (f_hz[1:] >= low) & (f_hz[1:] < high)
        ratio = float(jnp.mean(measured[1:][band] / wanted[band]))
        assert ratio == pytest.approx(1.0, abs=0.05)


def test_network_of_two(x64):
    """A drive to one region is heard in the other, through the coupling only."""
    brain = jnm.Connectome(jnp.array([[0.0, 0.0], [1.0, 0.0]]))
    net = jnm.Network(jnm.Pyramidal(sigma=0.01), brain, jnm.Linear(gain=3.0))
    first = jnp.array([1.0, 0.0])
    H = transfer_function(net, [30.0], lambda u: jnm.Drive(current=u * first)).value[0]
    single = transfer_function(jnm.Pyramidal(), [30.0]).value[0]
    assert complex(H[0]) == pytest.approx(complex(single), rel=1e-9)
    second = fixed_points(net, starts=8)[0]
    alone = jnm.Pyramidal(I=15.0 * 3.0 * float(second.state.s[0]))
    relay = 3.0 * transfer_function(alone, [30.0], "synaptic").value[0]
    assert complex(H[1]) == pytest.approx(complex(single * relay), rel=1e-9)
    assert linear_spectrum(net, [30.0]).value.shape == (1, 2)


def test_source_has_a_direct_way(x64):
    """Pyramidal source = tau_m (C s + afferents): at high frequency only the afferents are left."""
    H = transfer_function(jnm.Pyramidal(), [1e6], "synaptic", "source")
    assert complex(H.value[0]) == pytest.approx(15.0, rel=1e-6)


def test_pictures(x64):
    f_hz = np.linspace(1.0, 300.0, 50)
    H = transfer_function(jnm.Pyramidal(), f_hz, output=rate)
    gain, phase = H.plot("|dR/dI|").axes
    np.testing.assert_array_equal(gain.lines[0].get_ydata(), H.gain)
    np.testing.assert_array_equal(phase.lines[0].get_ydata(), H.phase_deg)
    assert (gain.get_ylabel(), phase.get_xlabel()) == ("|dR/dI|", "frequency (Hz)")
    S = linear_spectrum(jnm.PINGSecondOrder(eta=0.5, sigma=0.1), f_hz, lambda t, y: y.r)
    (ax,) = S.plot("rate (kHz²/Hz)").axes
    assert len(ax.lines) == 2 and ax.get_yscale() == "log"
    many = jnm.stability.LinearSpectrum(jnp.asarray(f_hz), jnp.ones((50, 9)))
    assert len(many.plot().axes[0].lines) == 9  # every region has its line


def peak(C):
    return resonances(jnm.Pyramidal(C=C), 50.0, 200.0, output=rate)[0].frequency_hz


def density(C):
    return linear_spectrum(jnm.Pyramidal(C=C, sigma=0.1), jnp.array([90.0])).value[0]


@pytest.mark.parametrize("quantity", [peak, density])
def test_gradients_against_finite_differences(x64, quantity):
    difference = float(quantity(10.0 + 1e-3) - quantity(10.0 - 1e-3)) / 2e-3
    assert float(jax.grad(quantity)(10.0)) == pytest.approx(difference, rel=1e-5)


def test_under_jit_with_a_state(x64):
    rest = fixed_points(jnm.Pyramidal())[0].state
    value = jax.jit(lambda C: linear_spectrum(jnm.Pyramidal(C=C, sigma=0.1), jnp.array([90.0]), state=rest).value[0])
    assert float(value(10.5)) == pytest.approx(float(density(10.5)), rel=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: transfer_function(jnm.Pyramidal(), [-1.0]),
            "frequencies start at -1 Hz; wanted finite ones from zero",
        ),
        (lambda: transfer_function(jnm.Pyramidal(), 10.0), r"f_hz has shape \(\); wanted a list of frequencies"),
        (lambda: linear_spectrum(jnm.Pyramidal(sigma=0.1), [0.0]), "start at 0 Hz; wanted finite ones above zero"),
        (lambda: linear_spectrum(jnm.Pyramidal(), [1.0]), "the model has no noise"),
        (lambda: transfer_function(jnm.ING(), [1.0]), "0 of the 1 fixed points found are stable; name one by state="),
        (lambda: transfer_function(jnm.MPR(), [1.0]), "2 of the 3 fixed points"),
        (
            lambda: linear_spectrum(jnm.ING(sigma=0.1), [1.0], state=fixed_points(jnm.ING())[0].state),
            "the fixed point is a saddle focus",
        ),
        (lambda: resonances(jnm.Pyramidal(), 10.0, 5.0), r"range is \(10.0, 5.0\) Hz"),
        (lambda: transfer_function(jnm.Pyramidal(), [1.0], output="rate"), "output = 'rate'; known are 'output' and"),
        (lambda: transfer_function(jnm.Pyramidal(), [1.0], "field"), "input = 'field'; known are 'current' and"),
        (
            lambda: resonances(jnm.PINGSecondOrder(eta=0.5), 1.0, 5.0, output=lambda t, y: y.r),
            r"shape \(2,\); take one",
        ),
    ],
)
def test_bad_input_is_named(x64, call, message):
    with pytest.raises(ValueError, match=message):
        call()
