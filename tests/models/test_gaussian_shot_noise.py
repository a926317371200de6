"""The Gaussian path against its spectrum, the closed loop and the table; its gradients; how it is cut, fed and refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import jnm
from jnm.models.rest import resting_rates
from jnm.stability import closed_loop_psd, fixed_points
from jnm.testing import check_model

KEY = jax.random.key(0)
UNIT = dict(tau_m=1.0, tau_s=2 / 3)  # the pyramidal population in units of its membrane


def path(model, n, T, dt, key=KEY, **options):
    """Rate, shot noise and synapse of a run, one column a member of `key`."""
    noisy = jnm.GaussianShotNoise(model, n, **options)
    return jnm.simulate(noisy, T, dt, key=key, save=lambda t, y: (y.rate, y.chi, y.s)).ys


def two_populations(**fields):
    return jnm.NMM2(tau_m=(10.0, 5.0), tau_s=5.0, delta=1.0, eta=(5.0, 3.0), C=((2.0, -3.0), (3.0, -1.0)), **fields)


# ------------------------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize(
    "make",
    [
        lambda: jnm.ING(),
        lambda: jnm.Pyramidal(C=20.0),
        lambda: jnm.PINGSecondOrder(eta=0.5),
        lambda: two_populations(order=0),
    ],
)
def test_rest_is_a_fixed_point(x64, make):
    model = make()
    near = [np.max(np.abs(point.state.r - resting_rates(model))) for point in fixed_points(model, starts=8)]
    assert min(near) < 1e-10


def test_rest_is_the_one_next_to_quiet(x64):
    """Row 6: the lowest of three."""
    np.testing.assert_allclose(10.0 * resting_rates(jnm.MPR()), 0.08113444, rtol=1e-6)


def test_the_derivative_of_rest_is_that_of_the_root(x64):
    """Against SciPy's root of eta = pi^2 R^2 - delta^2 / (4 pi^2 R^2) - C R."""

    def rate(eta, delta, C):
        return brentq(lambda R: np.pi**2 * R**2 - delta**2 / (2 * np.pi * R) ** 2 - C * R - eta, 1e-3, 30, xtol=1e-14)

    given = np.array([5.0, 1.0, -20.0])
    got = jax.jit(jax.grad(lambda x: resting_rates(jnm.ING(tau_m=1.0, eta=x[0], delta=x[1], C=x[2]))))(given)
    for i, slope in enumerate(got):
        step = 1e-5 * np.eye(3)[i]
        assert float(slope) == pytest.approx((rate(*(given + step)) - rate(*(given - step))) / 2e-5, rel=1e-6)


# ---------------------------------------------------------------------------------------------------------- the spectrum


def test_the_path_has_the_spectrum_of_shot_noise_and_the_rate_that_of_the_loop(x64):
    """Pyramidal, T = 2,000 tau_m, by bands of frequency, each within four standard errors of the two formulae."""
    model, n = jnm.Pyramidal(**UNIT), 1e4
    rate, chi, s = path(model, n, 2000.0, 0.02)
    point = fixed_points(model)[0].state
    R = float(point.r)
    edges = np.array([0.3, 0.6, 1.2, 1.62, 1.66, 2.0, 4.0, 8.0])
    f_hz, shots = jnm.observe.psd(chi, 0.02, segment=50.0)
    f_hz, rates = jnm.observe.psd(rate, 0.02, segment=50.0)
    f_tau, bands = f_hz[1:] / 1000, np.digitize(f_hz[1:] / 1000, edges)
    drive = (np.pi * R) ** 2 - (1 / (2 * np.pi * R)) ** 2
    formulae = (2 / 1000 * jnm.shot_noise_psd(f_tau, drive, 1.0, n), closed_loop_psd(model, f_hz[1:], n).value)
    independent = jnm.observe.averages(len(s), 0.02, segment=50.0)
    for got, wanted in zip((shots[1:], rates[1:]), formulae, strict=True):
        for band in range(1, len(edges)):
            inside = bands == band
            error = np.sqrt(
                2.0 / (independent * np.sum(inside))
            )  # neighbouring lines of a Hann window have half in common
            ratio = np.mean(np.asarray(got)[inside] / np.asarray(wanted)[inside])
            assert ratio == pytest.approx(1.0, abs=4 * error + 0.01), (f_tau[inside][0], ratio, error)
    assert n * np.var(s[2500:]) == pytest.approx(0.00244057, rel=0.1)  # row 37


@pytest.mark.slow
def test_next_to_the_hopf_point_the_path_does_as_linear_theory_says(x64):
    """Spec 3 and row 38: n Var(s) of ING at eta = 4.5 is .35583926 linearly and .350 to .365 with Gaussian paths."""
    model, n = jnm.ING(tau_m=1.0, tau_s=1 / 3.75, eta=4.5), 1e5
    noisy = jnm.GaussianShotNoise(model, n)

    def variance(key):
        s = jnm.simulate(noisy, 4000.0, 0.04, key=key, save=lambda t, y: y.s, save_every=0.2, discard=200.0).ys
        return n * jnp.mean((s - jnp.mean(s)) ** 2)

    runs = jax.jit(jax.vmap(variance))(jax.random.split(KEY, 48))
    assert np.std(runs) / np.sqrt(48) < 0.003
    assert 0.350 < np.mean(runs) < 0.365


def test_two_populations_have_noises_of_their_own(x64):
    """Of different numbers of neurons: n chi^2 is the integral of the spectrum up to 1 / (2 dt), for each."""
    model, n, dt = two_populations(order=1), np.array([1e4, 4e4]), 0.2
    chi = np.asarray(path(model, n, 4000.0, dt)[1])
    R = np.asarray(resting_rates(model) * model.tau_m)
    f = (np.arange(20_000) + 0.5) / 20_000 / (2 * dt) * np.asarray(model.tau_m)[:, None]
    drive = (np.pi * R) ** 2 - (1 / (2 * np.pi * R)) ** 2
    density = np.asarray(jnm.shot_noise_psd(f, drive[:, None], 1.0, n[:, None]))
    wanted = np.mean(density, axis=1) / dt / np.asarray(model.tau_m)
    np.testing.assert_allclose(np.var(chi, axis=0), wanted, rtol=0.05)
    assert abs(np.corrcoef(chi.T)[0, 1]) < 0.05


# --------------------------------------------------------------------------------------------------------- the equations


@pytest.mark.parametrize(
    "make",
    [
        lambda: jnm.ShotNoise(jnm.Pyramidal(), 500),
        lambda: jnm.ShotNoise(jnm.ING(order=1, eta=jnp.linspace(1.0, 3.0, 4)), 500),
        lambda: jnm.ShotNoise(two_populations(order=0), (300, 800)),
    ],
    ids=["order 2", "own regions", "two populations"],
)
def test_contract(make):
    check_model(make())


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_noise_enters_the_synapses_alone(x64, order):
    noisy = jnm.GaussianShotNoise(jnm.Pyramidal(order=order), 100)
    y, chi = noisy.init(), 0.01
    without, heard = (noisy.drift(0.0, each, jnm.Drive()) for each in (y, y._replace(chi=y.chi + chi)))
    more = {
        name: float(getattr(heard, name) - getattr(without, name)) for name in "rvsz" if getattr(y, name) is not None
    }
    wanted = (
        dict(r=0.0, v=0.0) | ({0: dict(v=10.0 * chi)} | {1: dict(s=chi / 10.0), 2: dict(s=0.0, z=chi / 10.0)})[order]
    )
    assert more == pytest.approx(wanted, abs=1e-15)
    assert float(noisy.output(0.0, y._replace(chi=y.chi + chi)) - noisy.output(0.0, y)) == pytest.approx(
        0.0 if order else chi
    )


@pytest.mark.parametrize("order", [0, 2])
def test_gradients_are_those_of_the_path(x64, order):
    """In eta, delta, C and n, through filter, rest and 1,000 steps, against finite differences of the same path."""

    @jax.jit
    @jax.value_and_grad
    def both(theta):
        eta, delta, C, n = theta
        noisy = jnm.GaussianShotNoise(jnm.Pyramidal(eta=eta, delta=delta, C=C, order=order), n, taps=256)
        rate = jnm.simulate(noisy, 300.0, 0.3, key=KEY, save=lambda t, y: y.rate, save_every=3.0).ys
        return jnp.mean((15.0 * rate - 1.7) ** 2)

    given = jnp.array([10.0, 1.0, 3.0, 50.0])
    got = both(given)[1]
    for i in range(4):
        step = 1e-5 * given[i] * jnp.eye(4)[i]
        wanted = (both(given + step)[0] - both(given - step)[0]) / (2 * step[i])
        assert float(got[i]) == pytest.approx(float(wanted), rel=1e-5)


# ----------------------------------------------------------------------------------------------------------- in a run


def test_a_run_goes_on_and_may_be_cut_elsewhere(x64):
    """Two halves are the whole bit for bit; other blocks give the same numbers to rounding."""
    noisy = jnm.GaussianShotNoise(jnm.Pyramidal(), 500, taps=128)
    whole = jnm.simulate(noisy, 120.0, 0.3, key=KEY, block=100)
    half = jnm.simulate(noisy, 60.0, 0.3, key=KEY, block=100)
    rest = jnm.simulate(noisy, 120.0, 0.3, key=KEY, block=100, final=half.final)
    for name in ("r", "chi", "s"):
        joined = np.concatenate([getattr(half.ys, name), getattr(rest.ys, name)])
        np.testing.assert_array_equal(getattr(whole.ys, name), joined)
    other = jnm.simulate(noisy, 120.0, 0.3, key=KEY, block=33)
    np.testing.assert_allclose(other.ys.chi, whole.ys.chi, atol=1e-13 * np.max(np.abs(whole.ys.chi)) * 128)
    assert not np.allclose(jnm.simulate(noisy, 30.0, 0.3, key=jax.random.key(1)).ys.chi, whole.ys.chi[:100])


def test_regions_of_a_network_have_noises_of_their_own(x64):
    """Apart, or shared in part by `jnm.White`; around the rates of the network's fixed point; n for each region."""
    brain = jnm.Connectome((1 - jnp.eye(3)) / 2)
    plain = jnm.Network(jnm.Pyramidal(C=2.0), brain, jnm.Linear(1.0))
    rest = fixed_points(plain, starts=4)[0].state.r
    noisy = jnm.Network(jnm.GaussianShotNoise(plain.node, (100.0, 100.0, 400.0), rest=rest, taps=512), brain)
    sol = jnm.simulate(noisy, 3000.0, 0.3, key=KEY)
    np.testing.assert_allclose(np.mean(sol.ys.r[200:], axis=0), rest, rtol=0.02)
    assert np.std(sol.ys.chi[:, 0]) / np.std(sol.ys.chi[:, 2]) == pytest.approx(2.0, rel=0.05)
    assert np.max(np.abs(np.corrcoef(np.asarray(sol.ys.chi).T) - np.eye(3))) < 0.06
    shared = jnm.simulate(noisy, 1500.0, 0.3, key=KEY, noise=jnm.White(shared=0.8)).ys.chi
    assert np.corrcoef(np.asarray(shared).T)[0, 1:] == pytest.approx([0.8, 0.8], abs=0.06)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: jnm.ShotNoise(jnm.JansenRit(), 100), "wanted a jnm.NMM2"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), 0.5), "n = 0.5 neurons"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), -3), "outside its domain"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(delta=0.0, eta=-1.0), 100), "delta = 0 is outside"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(sigma=0.1), 100), "white noise of its own"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), 100, taps=5), "taps = 5"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), 100, rest=-0.1), "outside its domain"),
        (
            lambda: jnm.ShotNoise(jnm.Pyramidal(eta=jnp.ones(3)), jnp.full(2, 100.0)),
            "2 regions, those of its model for 3",
        ),
        (lambda: jnm.ShotNoise(two_populations(), (100, 100, 100)), "shape"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), 100, steps=5), "unknown parameter steps"),
        (lambda: jnm.simulate(jnm.ShotNoise(jnm.Pyramidal(), 100), 1.0, 0.1), "needs key="),
        (lambda: fixed_points(jnm.ShotNoise(jnm.Pyramidal(), 100)), "brings its own step"),
    ],
)
def test_what_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
