"""Fits in batches: the same fits as one by one, subjects and SciPy's errors, failures that stay alone, stores, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx
import pytest
import scipy.optimize

import jnm
from jnm._param import Positive, param
from jnm.fitting import fit_sweep
from jnm.fitting.uncertainty import uncertainty
from jnm.sweeps import engine, grid, open_store, sample

KEY = jax.random.key(3)
TIMES = np.arange(100.0)


class Decay(eqx.Module):
    """amplitude exp(-t / tau), with noise whose size is `noise`."""

    tau: jax.Array = param(10.0, unit="ms", domain=Positive())
    amplitude: jax.Array = param(1.0, domain=Positive())
    noise: jax.Array = param(0.1, domain=Positive())


def tau(m):
    return m.tau


def both(m):
    return m.tau, m.amplitude


def silent(m, key):
    return m.amplitude * jnp.exp(-TIMES / m.tau)


def noisy(m, key):
    return silent(m, key) + m.noise * jax.random.normal(key, (100,))


@pytest.fixture
def adam():
    return optax.adam(0.1)


def course(seed, tau, size=1.5):
    """A noisy measurement of a decay."""
    rng = np.random.default_rng(seed)
    return size * np.exp(-TIMES / tau) + 0.05 * rng.normal(size=100)


def test_the_same_fits_as_one_by_one(adam):
    loss = jnm.TimeCourseLoss(noisy, course(0, 15.0), noise_sd=0.1)
    _, build = jnm.free(Decay(), both)
    members = grid(Decay(), {"tau": tau, "noise": lambda m: m.noise}, {"tau": [5.0, 10.0, 30.0], "noise": [0.05, 0.2]})
    options = {"keys_per_step": 2, "redraw_every": 3, "judge_every": 5, "judge_keys": 3}
    fits = fit_sweep(loss, members, build, adam, 12, KEY, errors=True, **options)
    assert fits.tau.dims == ("start_tau", "noise") and fits.tau.units == fits.tau_se.units == "ms"
    assert fits.start_tau.units == "ms" and fits.ok.all() and (fits.step == 12).all()
    for i, at in ((0, (0, 0)), (3, (1, 1))):
        theta, own = jnm.free(members[i], both)
        alone, here = jnm.fit(loss, theta, own, adam, 12, KEY, **options), fits.isel(start_tau=at[0], noise=at[1])
        for name, value in own.values(alone.theta).items():
            np.testing.assert_allclose(here[name], value, rtol=1e-5)
        np.testing.assert_allclose(
            [here.loss, here.start_loss, here.gradient_norm],
            [alone.best_loss, alone.start_loss, alone.gradient_norms[-1]],
            rtol=1e-4,
        )
        assert here.best_step == alone.best_step and here.skipped == 0
    known = uncertainty(loss.terms(), own, alone.theta, jax.random.split(jax.random.fold_in(KEY, 2**32 - 1), 16))
    sd = np.sqrt(np.diag(known.covariance))  # of theta, the logarithm: relative to the parameter
    np.testing.assert_allclose([here.tau_se / here.tau, here.amplitude_se / here.amplitude], sd, rtol=1e-3)


def test_subjects_by_least_squares_and_one_that_is_not_a_number():
    people = {f"sub-{i}": jnm.TimeCourseLoss(silent, course(i, 8.0 + 4 * i), noise_sd=0.05) for i in range(4)}
    broken = eqx.tree_at(lambda loss: loss.observed, people["sub-1"], jnp.full((100, 1), jnp.nan))
    _, build = jnm.free(Decay(), both)
    solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
    good = fit_sweep(people, Decay(), build, solver, 64, KEY, errors=True)
    fits = fit_sweep({**people, "sub-1": broken}, Decay(), build, solver, 64, KEY, errors=True)
    assert fits.subject.values.tolist() == list(people)
    assert fits.ok.values.tolist() == [True, False, True, True] and good.ok.all() and good.arrived.all()
    assert str(fits.message[1].values) == "the loss at the start is not finite"
    assert np.isnan([fits.tau[1], fits.tau_se[1]]).all()
    for name in ("tau", "amplitude", "tau_se", "loss", "step"):
        np.testing.assert_array_equal(fits[name][[0, 2, 3]], good[name][[0, 2, 3]])
    for i, loss in enumerate(people.values()):
        seen = np.asarray(loss.observed[:, 0], float)
        found, covariance = scipy.optimize.curve_fit(lambda t, a, b: b * np.exp(-t / a), TIMES, seen, p0=(10.0, 1.0))
        np.testing.assert_allclose([good.tau[i], good.amplitude[i]], found, rtol=1e-4)
        # SciPy takes the errors of samples for independent; ours counts how many the residuals are worth
        np.testing.assert_allclose([good.tau_se[i], good.amplitude_se[i]], np.sqrt(np.diag(covariance)), rtol=0.3)


def test_a_fit_that_stops_being_finite_stays_alone(adam):
    def loss(m, key):
        return jnp.where(m.amplitude > 5, jnp.log(m.tau - 5), (m.tau / 10 - 1) ** 2)

    start = Decay(tau=8.0)
    _, build = jnm.free(start, tau)
    members = grid(start, lambda m: m.amplitude, [1.0, 6.0, 2.0])
    fits = fit_sweep(loss, members, build, adam, 60, KEY)
    assert fits.ok.values.tolist() == [True, False, True]
    assert "the best place before is kept" in str(fits.message[1].values) and fits.skipped[1] == 20
    theta, own = jnm.free(members[1], tau)
    alone = jnm.fit(loss, theta, own, adam, 60, KEY)
    assert len(alone.losses) == fits.step[1] and alone.stopped == "20 steps in a row were not finite"
    np.testing.assert_allclose(fits.tau[1], own.values(alone.theta)["tau"], rtol=1e-5)
    np.testing.assert_allclose(fits.tau[[0, 2]], 10.0, rtol=0.02)


class Target(eqx.Module):
    """A loss with data: how far the drives of the regions are from where they should be."""

    eta: jax.Array

    def __call__(self, net, key):
        return jnp.mean((net.node.eta - self.eta) ** 2)


@pytest.fixture
def regional():
    """A network with a drive for each of two regions, whose fits are of nine subjects."""
    brain = jnm.Connectome(jnp.ones((2, 2)) - jnp.eye(2), labels=["left", "right"])
    net = jnm.Network(jnm.ING(eta=jnp.array([4.0, 6.0])), brain)
    return net, {f"s{i}": Target(jnp.array([1.0 * i, 8.0 - i])) for i in range(9)}


def test_interrupted_fits_go_on_and_other_data_are_refused(tmp_path, adam, regional, monkeypatch):
    net, people = regional
    _, build = jnm.free(net, lambda m: m.node.eta)
    path, done, real = tmp_path / "s.zarr", [], engine.Engine.__call__

    def interrupted(self, members):
        done.extend(members.tolist())
        if done == list(range(6)):
            raise KeyboardInterrupt
        return real(self, members)

    def fits(people, optimiser=adam, **options):
        return fit_sweep(people, net, build, optimiser, 10, KEY, chunk=3, microbatch=3, **options)

    whole = fits(people)
    monkeypatch.setattr(engine.Engine, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fits(people, store=path)
    assert open_store(path).ok.values.tolist() == [True] * 3 + [False] * 6
    done.clear()
    fewer = dict(list(people.items())[:8])
    with pytest.raises(ValueError, match="the axis subject has 9 values, here 8"):
        fits(fewer, store=path)
    moved = {**people, "s2": Target(jnp.array([0.0, 0.0]))}
    with pytest.raises(ValueError, match="the axis subject has other values"):
        fits(moved, store=path)
    with pytest.raises(ValueError, match="differs in the function"):
        fits(people, optax.adam(0.2), store=path)
    result = fits({**people, "new": Target(jnp.array([3.0, 3.0]))}, store=path)
    assert done == list(range(3, 10))
    assert result["node.eta"].dims == ("subject", "region")
    assert result.region.values.tolist() == ["left", "right"]
    assert result.subject.values.tolist() == [*people, "new"] and result.ok.all()
    np.testing.assert_array_equal(result["node.eta"][:9], whole["node.eta"])
    np.testing.assert_array_equal(result.loss[:9], whole.loss)


def test_seeds_have_noise_of_their_own_and_all_else_shares_it(adam):
    def loss(m, key):
        return (jnp.log(m.tau) - jax.random.normal(key)) ** 2

    _, build = jnm.free(Decay(), tau)
    where, values = {"noise": lambda m: m.noise, "seed": "seed"}, {"noise": [0.1, 0.2], "seed": [4, 9]}
    fits = fit_sweep(loss, grid(Decay(), where, values), build, adam, 8, KEY)
    assert fits.tau.dims == ("noise", "seed") and fits.seed.values.tolist() == [4, 9]
    np.testing.assert_array_equal(fits.tau[0], fits.tau[1])
    assert fits.loss[0, 0] != fits.loss[0, 1]
    theta, build = jnm.free(Decay(), tau)
    alone = jnm.fit(loss, theta, build, adam, 8, jax.random.fold_in(KEY, 9))
    np.testing.assert_allclose(fits.loss[0, 1], alone.best_loss, rtol=1e-5)


def test_what_is_refused(adam, regional):
    net, _ = regional
    loss = jnm.TimeCourseLoss(silent, course(0, 15.0), noise_sd=0.1)
    longer = jnm.TimeCourseLoss(silent, np.zeros(50), noise_sd=0.1)
    other = jnm.TimeCourseLoss(noisy, course(0, 15.0), noise_sd=0.1)
    model, free = Decay(), jnm.free(Decay(), tau)[1]
    narrow = jnm.free(Decay(), tau, domains=jnm.Interval(5.0, 20.0))[1]
    starts = sample(Decay(), tau, jnm.Interval(1.0, 50.0), 8)
    solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)

    def plain(m, key):
        return m.tau

    for what, options, told in (
        ((plain, net, free, adam, 5), {}, r"of another model .Network. than the free parameters .Decay."),
        ((plain, starts, narrow, adam, 5), {}, r"fits start outside a domain; the first at start_tau = .*: tau"),
        ((plain, model, free, solver, 5), {}, "wants losses with residuals"),
        ((plain, model, free, 0.1, 5), {}, "optimiser = 0.1"),
        ((plain, model, free, adam, 5), {"errors": True}, "Leave out errors"),
        ((plain, model, free, adam, 0), {}, "steps = 0"),
        ((plain, model, free, adam, 5), {"clip": -1.0}, "clip = -1.0"),
        ((plain, model, free, adam, 5), {"judge_keys": 1.5}, "judge_keys = 1.5"),
        ((3.0, model, free, adam, 5), {}, "wanted a function"),
        (({}, model, free, adam, 5), {}, "wanted a function"),
        ((plain, model, model, adam, 5), {}, "jnm.free"),
        (
            ({"a": loss, "b": longer}, model, free, adam, 5),
            {},
            r"observed of the losses have shapes \[100, 1\], \[50, 1\]",
        ),
        (({"a": loss, "b": other}, model, free, adam, 5), {}, "differ in simulation, which is no array"),
        (({"a": loss, "b": plain}, model, free, adam, 5), {}, "of a and b are of different kinds"),
        (({"a": loss}, starts, free, adam, 5), {"dim": "sample"}, "an axis 'sample' already"),
    ):
        with pytest.raises(ValueError, match=told):
            fit_sweep(*what, KEY, **options)
