"""BOLD against the equations of the papers as printed, in f, v and q, integrated by SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jnm
from jnm.observe import Hemodynamics, bold
from jnm.observe.bold import Flow

KEY = jax.random.key(1)


def balloon(t, x, z):
    """Per second, at the values of Friston et al. (2003)."""
    s, f, v, q = x
    out = v ** (1 / 0.32)
    extracted = (1 - (1 - 0.34) ** (1 / f)) / 0.34
    return [z(t) - 0.65 * s - 0.41 * (f - 1), s, (f - out) / 0.98, (f * extracted - out * q / v) / 0.98]


def friston(x):
    _, _, v, q = x
    return 0.02 * (7 * 0.34 * (1 - q) + 2 * (1 - q / v) + (2 * 0.34 - 0.2) * (1 - v))


def stephan(x):
    _, _, v, q = x
    return 0.04 * (4.3 * 40.3 * 0.34 * 0.04 * (1 - q) + 25 * 0.34 * 0.04 * (1 - q / v))


def integrated(z, times):
    """f, v and q of activity that is known between samples too; its kinks keep SciPy's steps short."""
    return solve_ivp(balloon, (0, times[-1]), [0, 1, 1, 1], "RK23", times, rtol=1e-5, atol=1e-7, args=(z,)).y


def network():
    brain = jnm.Connectome(np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.2], [0.5, 0.2, 0.0]]))
    return jnm.Network(jnm.WongWang(sigma=0.005), brain, jnm.Linear(gain=0.2))


def scanned(save, t1=6000.0, **options):
    return jnm.simulate(network(), t1, 1.0, key=KEY, save=save, **options).ys


def test_bold_of_a_run_is_scipy_s_of_its_saved_activity():
    """Single precision, noisy activity, volumes beyond the end; SciPy sees the saved activity, linearly interpolated."""
    S = np.concatenate([[[0.1] * 3], np.asarray(scanned(None).S, float)])
    t, volumes = 1e-3 * np.arange(len(S)), 0.8 * np.arange(1, 8)
    flow = integrated(lambda s: np.interp(s, t, S[:, 2]), volumes)
    scan = scanned(bold(lambda y: y.S, 1.0, tr=800.0, volumes=9))
    assert scan.count == 7 and scan.signal.shape == (9, 3) and not np.any(scan.signal[7:])
    np.testing.assert_allclose(scan.ts, 800.0 * np.arange(1, 10))
    np.testing.assert_allclose(scan.signal[:7, 2], friston(flow), atol=2e-3 * np.abs(friston(flow)).max())
    veins = Flow(flow[0], *np.log(flow[1:]))
    for hemodynamics, signal in ((Hemodynamics(), friston), (Hemodynamics.stephan(), stephan)):
        wanted = signal(flow)
        np.testing.assert_allclose(hemodynamics.signal(veins), wanted, atol=1e-5 * np.abs(wanted).max())


def impulse(step):
    """The response to 100 ms of activity, volume by volume, without a network."""
    reduction = bold(lambda y: y.S, step, tr=100.0, volumes=300, step=step)
    states = jnp.where(np.arange(round(30_000 / step)) < round(100 / step), 1.0, 0.0)
    state = jnm.models.WongWangState

    def one(folded, z):
        return reduction.update(folded, 0.0, state(z)), None

    return reduction.finish(jax.lax.scan(one, reduction.init(state(jnp.zeros(()))), states)[0]).signal


def test_response_to_an_impulse_peaks_after_some_seconds_and_undershoots(x64):
    """Peak and undershoot as SciPy has them; the error falls as the square of the step."""
    times = 0.1 * np.arange(1, 301)
    wanted = solve_ivp(balloon, (0, 0.1), [0, 1, 1, 1], "DOP853", rtol=1e-12, atol=1e-14, args=(lambda t: 1.0,)).y[
        :, -1
    ]
    rest = solve_ivp(balloon, (0.1, 30.0), wanted, "DOP853", times, rtol=1e-12, atol=1e-14, args=(lambda t: 0.0,)).y
    wanted = friston(rest)
    coarse, fine = (np.abs(np.asarray(impulse(step)) - wanted).max() for step in (20.0, 10.0))
    assert fine < 1e-4 * wanted.max() and np.log2(coarse / fine) == pytest.approx(2.0, abs=0.1)
    peak = times[np.argmax(impulse(10.0))]
    assert peak == times[np.argmax(wanted)] and 3.0 < peak < 5.0
    assert np.asarray(impulse(10.0)).min() < -0.05 * wanted.max()


def test_fast_activity_is_averaged_not_sampled(x64):
    """A sine of 100 Hz about 0.1: its mean is all the veins see, where one sample every 10 ms would see its phase."""

    def signal(amplitude):
        model = jnm.Kuramoto(frequency=100.0)
        scan = bold(lambda y: 0.1 + amplitude * jnp.cos(y.theta), 1.0, tr=1000.0, volumes=8)
        return jnm.simulate(model, 8000.0, 1.0, save=scan).ys.signal

    np.testing.assert_allclose(signal(0.5), signal(0.0), rtol=1e-6)


def test_gradients_are_those_of_finite_differences(x64):
    def loss(p):
        veins = Hemodynamics(kappa=p[0], alpha=p[1], rho=p[2], tau=p[3])
        node = jnm.WongWang(w=p[4])
        scan = bold(lambda y: y.S, 5.0, tr=1000.0, volumes=4, hemodynamics=veins)
        return 1e3 * jnp.sum(jnm.simulate(node, 4000.0, 5.0, save=scan).ys.signal ** 2)

    p = jnp.array([0.65, 0.32, 0.34, 0.98, 0.9])
    both, step = jax.jit(jax.value_and_grad(loss)), 1e-5
    difference = [(both(p.at[k].add(step))[0] - both(p.at[k].add(-step))[0]) / (2 * step) for k in range(5)]
    np.testing.assert_allclose(both(p)[1], difference, rtol=1e-6)


def test_rest_stays_at_rest_and_bad_input_is_named():
    veins = Hemodynamics(kappa=np.array([0.5, 0.8]))
    y = veins.rest(jnp.zeros(2))
    assert all(np.all(np.abs(x) < 1e-7) for x in veins.drift(y, jnp.zeros(2))) and not np.any(veins.signal(y))
    with pytest.raises(ValueError, match=r"step = 10 ms is no multiple of dt = 3 ms"):
        bold(lambda y: y.S, 3.0, tr=720.0, volumes=10)
    with pytest.raises(ValueError, match=r"tr = 725 ms is no multiple of step = 10 ms"):
        bold(lambda y: y.S, 1.0, tr=725.0, volumes=10)
    with pytest.raises(ValueError, match=r"volumes = 0; take one or more"):
        bold(lambda y: y.S, 1.0, tr=720.0, volumes=0)
    with pytest.raises(ValueError, match=r"made for samples every 1 ms, but save_every = 2 ms"):
        scanned(bold(lambda y: y.S, 1.0, tr=720.0, volumes=10), save_every=2.0)
    with pytest.raises(ValueError, match=r"equation = 'buxton'; there are 'friston' and 'stephan'"):
        Hemodynamics(equation="buxton")
    with pytest.raises(ValueError, match=r"rho = 1.2 is outside its domain"):
        Hemodynamics(rho=1.2)
