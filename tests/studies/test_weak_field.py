"""Weak fields against linear response, the spec's number in the time domain, and the phase response of an oscillator."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import ive

import jnm
from jnm.stability import transfer_function
from jnm.studies import entrainment, lock_in, phase_response
from jnm.studies.weak_field import LAMBDA


def rate(t, y):
    return 15.0 * y.r


@pytest.fixture(scope="module")
def pyramidal():
    """The resonance of spec 3c, driven with currents of 1e-3 to 0.3."""
    with jax.enable_x64(True):
        model, f_hz, currents = jnm.Pyramidal(C=20.0), [100.0, 163.07971, 200.0], [1e-3, 0.05, 0.1, 0.3, 1.0]
        return entrainment(model, f_hz, currents, coupling=1.0, output=rate, settle=3000.0, duration=300.0, dt=0.05)


def test_weak_field_is_linear(pyramidal):
    """Spec 3c: C = 20, eta = 10, a sine of 1e-3: 1.16659585 simulated and 1.16659591 in theory; also the phase."""
    assert pyramidal.amplitude[1, 0] / 1e-3 == pytest.approx(1.16659585, abs=3e-8)
    assert abs(pyramidal.linear[1]) == pytest.approx(1.16659591, abs=1e-8)
    np.testing.assert_allclose(pyramidal.relative[:, 0], 1.0, atol=1e-6)


def test_departure_is_quadratic(pyramidal):
    """A response odd in the field departs from the linear one with the square of its strength."""
    off = np.abs(pyramidal.relative - 1)
    np.testing.assert_allclose(off[:, 2] / off[:, 1], 4.0, rtol=0.05)
    until = pyramidal.linear_until(0.05)
    assert until[0] == np.inf and 0.3 < until[1] < 1.0
    wanted = 0.3 * np.sqrt(0.05 / off[1, 3])
    assert until[1] == pytest.approx(wanted, rel=0.1)


def test_labels_and_picture(pyramidal):
    table = pyramidal.to_xarray()
    assert table.amplitude.dims == ("frequency", "strength") and table.strength.attrs["units"] == "V/m"
    np.testing.assert_allclose(table.amplitude / table.linear_amplitude, np.abs(pyramidal.relative))
    figure = pyramidal.plot()
    assert [ax.get_xlabel() for ax in figure.axes] == ["frequency of the field (Hz)", "strength (V/m)"]
    plt.close(figure)


def kicked(model, period, kicks, size=1e-3):
    """Radians per unit of current and ms, at `kicks` phases of a cycle: kicks of v, and where they end in the cycle."""
    dt = period / 480
    cycle = jnm.simulate(model, 150 * period, dt, discard=149 * period, y0=model.init(), throw=False).ys

    @jax.jit
    @jax.vmap
    def later(r, v, s, z):
        y = model.init()._replace(r=r, v=v, s=s, z=z)
        return jnm.simulate(model, 20 * period, dt, y0=y, discard=19 * period, save=lambda t, y: y.s, throw=False).ys

    some = [x[:: len(x) // kicks] for x in cycle]
    runs = [later(*some), later(some[0], some[1] + size / model.tau_m, *some[2:])]
    turned = np.exp(-2j * np.pi * np.arange(480) / 480)
    ends = [np.asarray(run) @ turned for run in runs]
    return np.angle(ends[1] / ends[0]) / size


def test_phase_response(x64):
    """The phase response by autodiff against kicks in simulation: what a field can hold hangs on its harmonics."""
    theory = phase_response(jnm.ING(), coupling=1.0)
    Z = kicked(jnm.ING(), 1000 / theory.frequency_hz, 48)
    harmonics = np.abs(np.fft.fft(Z)[:4]) / 48
    np.testing.assert_allclose(np.abs(np.fft.fft(theory.value)[:4]) / 64, harmonics, rtol=1e-3)
    assert theory.half_width() == pytest.approx(1000 * harmonics[1] / (2 * np.pi), rel=1e-3)
    with pytest.raises(ValueError, match="wanted a divisor of 512"):
        phase_response(jnm.ING(), phases=7)


@pytest.mark.slow
def test_arnold_tongue(x64):
    """The band in which the simulated rhythm is locked, at two strengths, is that of the phase response, A |z_1|."""
    theory = phase_response(jnm.ING(), coupling=1.0)
    f0, half = theory.frequency_hz, theory.half_width()
    around = half * np.array([0.47, 0.53, 0.94, 1.06])
    f_hz = f0 + np.concatenate([-around[::-1], [0.0], around])
    seen = entrainment(jnm.ING(), f_hz, [5.0, 10.0], coupling=0.1, settle=1000.0, duration=2000.0)
    assert seen.linear is None
    low, high = seen.tongue().T
    wanted = theory.tongue([0.5, 1.0])
    np.testing.assert_allclose(high - low, wanted[:, 1] - wanted[:, 0], rtol=0.06)
    np.testing.assert_allclose((high + low) / 2, f0, atol=0.03 * half)


def test_other_rhythms(x64):
    """Locking of n cycles to m: a line at 3/2 of the field is locked 3:2 and not 1:1; one that drifts is not."""
    ts = np.arange(1, 20_001) * 0.1
    x = np.stack([np.sin(2 * np.pi * f / 1000 * ts) for f in (60.0, 61.0)], axis=1) + 5.0
    np.testing.assert_allclose(lock_in.locking(ts, x, 40.0, 3, 2)[0], 1.0, atol=1e-6)
    assert np.all(lock_in.locking(ts, x, 40.0) < 0.1) and lock_in.locking(ts, x, 40.0, 3, 2)[1] < 0.1
    still = np.full((len(ts), 1), 2.0)
    assert lock_in.locking(ts, still, 40.0) == 0.0


def test_locking_in_noise():
    """A sine in white noise: the mean of z / |z| of a Gaussian about A, with rho^2 = |A|^2 / E|z - A|^2 (Rice)."""
    ts, f_hz = np.arange(1, 300_001) * 0.5, 40.0
    noise = np.random.default_rng(0).normal(size=(len(ts), 3))
    length = round(3000 / f_hz / 0.5)
    window = np.hanning(length + 1)[1:] / length
    size = np.array([0.05, 0.15, 0.5])
    x = size * np.sin(2 * np.pi * f_hz / 1000 * ts)[:, None] + noise
    rho = (size / 2 * window.sum()) ** 2 / np.sum(window**2)
    wanted = np.sqrt(np.pi * rho) / 2 * (ive(0, rho / 2) + ive(1, rho / 2))
    np.testing.assert_allclose(lock_in.locking(ts, x, f_hz), wanted, atol=3 / np.sqrt(len(ts) / length))
    assert 0.1 < wanted[0] < 0.5 < 0.8 < wanted[2]


def test_lock_in_is_exact():
    """Amplitude and phase of any number of cycles, beside a mean and two harmonics."""
    ts = 3.0 + np.arange(1, 4_000) * 0.1
    w = 2 * np.pi * 0.0137 * ts
    x = 7.0 + 0.5 * np.sin(w + 0.3) + 2.0 * np.cos(2 * w) + 0.2 * np.sin(3 * w)
    assert lock_in.answer(ts, x, 13.7) == pytest.approx(0.5 * np.exp(0.3j), abs=1e-10)


def test_static_mass_has_no_resonance(x64):
    """NMM1 at the same point: the answer falls from the lowest frequency on, in simulation too; populations may differ."""
    seen = entrainment(jnm.NMM1.of(jnm.Pyramidal()), [2.0, 40.0, 109.0], [1.0], duration=3000.0, dt=0.2)
    assert np.all(np.diff(seen.amplitude[:, 0]) < 0)
    np.testing.assert_allclose(seen.relative, 1.0, atol=1e-4)


def test_field_reaches_the_cells_that_are_aligned(x64):
    """lambda by population: E alone; with noise of no size the answer is that of linear response."""
    model = jnm.PING(IE=2.0, sigma=1e-9)
    push = np.array([LAMBDA, 0.0])
    seen = entrainment(model, [40.0], [0.1], coupling=push, dt=0.02, duration=500.0, key=jax.random.key(0))
    H = transfer_function(model, [40.0], lambda u: jnm.Drive(current=u * push)).value
    np.testing.assert_allclose(seen.value[:, 0] / 0.1, H, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(f_hz=[0.0, 10.0]), "above zero, in Hz"),
        (dict(strength=[-1.0]), "above zero, in V/m"),
        (dict(f_hz=[20.0, 10.0]), "rising order"),
        (dict(output=lambda t, y: jnp.stack([y.r, y.s])), "take one number"),
        (dict(output="source"), "take one number"),
        (dict(ratio=(1, 0)), r"wanted \(n, m\)"),
        (dict(duration=100.0), "too short to see 6 cycles of 10"),
        (dict(dt=20.0), "ten steps or more"),
        (dict(model=lambda: jnm.Pyramidal(sigma=0.1)), "give a key"),
        (dict(model=lambda: jnm.MPR()), "2 of the 3 fixed points"),
    ],
)
def test_what_is_refused(x64, change, words):
    make = change.pop("model", jnm.Pyramidal)
    given = dict(f_hz=[10.0], strength=[1.0]) | change
    with pytest.raises(ValueError, match=words):
        entrainment(make(), **given)


def test_divergence_is_told(x64):
    with pytest.raises(RuntimeError, match="at 10 Hz and 1e.09 V/m diverged"):
        entrainment(jnm.Pyramidal(), [10.0], [1e9], duration=1000.0, dt=1.0)


def test_a_model_at_no_rest_has_no_linear_answer(x64):
    seen = entrainment(jnm.ING(), [100.0, 110.0], [1.0], duration=60.0, settle=20.0)
    with pytest.raises(ValueError, match="no stable rest"):
        seen.linear_until()
    figure = seen.plot()
    assert len(figure.axes) == 3
    plt.close(figure)
