"""The nested ensemble: the network where it is whole, the table where it is not; order, gradients, regions, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import jnm
from jnm.spiking import QIFNetwork
from jnm.spiking.moebius import qif_step, until_spike

KEY = jax.random.key(0)
UNIT = dict(tau_m=1.0, tau_s=2 / 3)  # the pyramidal population in units of its membrane


def whole(mass, n, key=KEY):
    """The network of a mass, its start, and the ensemble that is all of it at the same start."""
    net = QIFNetwork.of(mass, n)
    start = net.init(key)
    model = jnm.NestedShotNoise(mass, n, members=n, jitter=False)
    y0 = model.init()
    p, q = (jnp.stack(each, axis=1) for each in (start.p, start.q))
    return net, start, model, y0._replace(p=p, q=q, fresh=jnp.zeros_like(y0.fresh))


# ---------------------------------------------------------------------------------------------------------- one neuron


@pytest.mark.parametrize(("V", "x"), [(0.7, 2.0), (-3.0, 30.0), (4.0, -1.0), (5.0, 1e-9), (2.0, -1e-9)])
def test_the_moment_of_a_spike_is_where_the_step_changes_sign(x64, V, x):
    """And the time since it, seen from the end of a longer step, adds up to the step."""
    V, one, x = (jnp.asarray(each) for each in (V, 1.0, x))

    def gap(h):  # q before the sign is mended
        _, q, fired = qif_step(V, one, x, h)
        return float(q) * (1 - 2 * int(fired))

    moment = float(until_spike(V, one, x))
    assert moment == pytest.approx(brentq(gap, 1e-6, moment * 1.3, xtol=1e-14), rel=1e-8)
    p, q, fired = qif_step(V, one, x, 1.2 * moment)
    assert fired == 1
    assert float(until_spike(-p, q, x)) == pytest.approx(0.2 * moment, rel=1e-6)


# ---------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("order", [0, 1])
def test_of_all_neurons_it_is_the_network(x64, order):
    """To rounding at orders 0 and 1, where spikes are spread over their step as in `QIFNetwork`; two populations."""
    mass = jnm.PING(IE=10.0, order=order, C=((3.0, -4.0), (4.0, -2.0)))
    net, start, model, y0 = whole(mass, 100)
    run = net.run(60.0, 0.05, start=start)
    rate = jnm.simulate(model, 60.0, 0.05, y0=y0, key=KEY, save=lambda t, y: y.rate).ys
    assert np.ptp(run.synapse) > 0.01
    np.testing.assert_allclose(rate, run.rate, atol=1e-9)


@pytest.mark.slow
def test_of_all_neurons_it_is_the_network_at_order_two_and_the_mean_field_is_without_a_say(x64):
    """Spikes at their own moments: a step of .02 is near the network's at .001; no mean field is heard."""
    net, start, model, y0 = whole(jnm.Pyramidal(**UNIT), 200)
    fine = net.run(3.0, 0.001, start=start, save_every=0.02).synapse
    s = [jnm.simulate(model, 3.0, 0.02, y0=y, key=KEY, save=lambda t, y: y.s).ys for y in (y0, y0._replace(v=y0.v + 1))]
    assert np.std(fine) > 0.003
    np.testing.assert_allclose(s[0], fine, atol=2e-4)
    np.testing.assert_array_equal(*s)


@pytest.mark.slow
def test_the_scheme_is_of_second_order(x64):
    """Synapse and mean field, root mean square over the run, against a step of a 800th of tau_m."""
    model = jnm.NestedShotNoise(jnm.Pyramidal(**UNIT), 500, members=50)

    def run(dt):
        return np.asarray(
            jnm.simulate(model, 2.0, dt, key=KEY, save=lambda t, y: jnp.stack([y.s, y.r]), save_every=0.04).ys
        )

    exact, steps = run(0.00125), np.array([0.04, 0.02, 0.01])
    errors = [np.sqrt(np.mean((run(float(dt)) - exact) ** 2, axis=0)) for dt in steps]
    orders = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    np.testing.assert_allclose(orders, 2.0, atol=0.15)


# ------------------------------------------------------------------------------------------------------------ the noise


def test_few_neurons_stand_for_many():
    """Pyramidal, n = 10,000: n Var(s) is .00244057 (row 37), with an ensemble of 250."""
    n, model = 1e4, jnm.Pyramidal(**UNIT)
    nested = jnm.NestedShotNoise(model, n, members=250)

    def variance(key):
        s = jnm.simulate(nested, 140.0, 0.02, key=key, save=lambda t, y: y.s, save_every=0.1, discard=20.0).ys
        return n * jnp.var(s)

    runs = jax.jit(lambda keys: jax.lax.map(variance, keys))(jax.random.split(KEY, 6))
    assert np.mean(runs) == pytest.approx(0.00244057, rel=0.15)


@pytest.mark.slow
def test_next_to_the_hopf_point_the_noise_follows_the_input():
    """Row 45: n S_r in the peak bin is near 1.5 as in the network, where linear theory and Gaussian paths have 3.15."""
    mass, n = jnm.ING(tau_m=1.0, tau_s=1 / 3.75, eta=4.5), 4000
    nested = jnm.NestedShotNoise(mass, n, members=1000)

    def power(key):
        rate = jnm.simulate(nested, 120.0, 0.01, key=key, save=lambda t, y: y.rate).ys
        x = rate.reshape(-1, 5).mean(axis=1)[400:]
        window = jnp.hanning(2000)
        return n * 0.05 * jnp.abs(jnp.fft.rfft(window * (x - x.mean()))) ** 2 / jnp.sum(window**2)

    spectrum = np.mean([jax.jit(power)(jax.random.key(k)) for k in range(24)], axis=0)[1:]
    bins = spectrum.reshape(-1, 5).mean(axis=1)
    assert np.argmax(bins) == 7
    assert 1.0 < np.max(bins) < 2.2


def test_gradients_are_exact(x64):
    """In eta, delta, C and n, through spikes, phases and the mean field, against finite differences of the same draw."""

    @jax.jit
    @jax.value_and_grad
    def both(theta):
        eta, delta, C, n = theta
        nested = jnm.NestedShotNoise(jnm.Pyramidal(eta=eta, delta=delta, C=C, **UNIT), n, members=100)
        s = jnm.simulate(nested, 6.0, 0.02, key=KEY, save=lambda t, y: y.s, save_every=0.2).ys
        return jnp.mean((s - 1.6) ** 2)

    given = jnp.array([10.0, 1.0, 10.0, 300.0])
    got = both(given)[1]
    for i in range(4):
        step = 1e-7 * given[i] * jnp.eye(4)[i]
        wanted = (both(given + step)[0] - both(given - step)[0]) / (2 * step[i])
        assert float(got[i]) == pytest.approx(float(wanted), rel=1e-4)


def test_the_flow_between_spikes_is_that_of_the_step(x64):
    """drift against a short step of neurons that do not fire."""
    drive, dt = jnm.Drive(synaptic=0.02, current=0.3), 1e-6
    for order in (0, 2):
        model = jnm.NestedShotNoise(jnm.PING(order=order), 50.0, members=2)
        y = model.init()
        y = y._replace(fresh=jnp.zeros_like(y.fresh), r=1.1 * y.r, v=0.9 * y.v)
        if order == 0:  # what it heard before is what it hears between spikes
            y = y._replace(rate=(1 - model._weight(y.r)) * y.r, before=(1 - model._weight(y.r)) * y.r)
        slope, ahead = jax.jit(lambda m, y: (m.drift(0.0, y, drive), m.step(0.0, dt, y, drive, KEY)))(model, y)
        for name in ("r", "v", "s", "z"):
            if getattr(y, name) is not None:
                change = (getattr(ahead, name) - getattr(y, name)) / dt
                np.testing.assert_allclose(getattr(slope, name), change, rtol=1e-4, atol=1e-8)
        turned = (ahead.p / ahead.q - y.p / y.q) / dt
        np.testing.assert_allclose((slope.p * y.q - y.p * slope.q) / y.q**2, turned, rtol=1e-4)


# ----------------------------------------------------------------------------------------------------------- in a run


def test_a_run_goes_on_as_if_it_had_not_stopped():
    nested = jnm.NestedShotNoise(jnm.PING(IE=10.0), (300, 100), members=50)
    full = jnm.simulate(nested, 20.0, 0.05, key=KEY, block=100)
    half = jnm.simulate(nested, 10.0, 0.05, key=KEY, block=100)
    rest = jnm.simulate(nested, 20.0, 0.05, key=KEY, block=100, final=half.final)
    for name in ("rate", "s", "q"):
        joined = np.concatenate([getattr(half.ys, name), getattr(rest.ys, name)])
        np.testing.assert_array_equal(getattr(full.ys, name), joined)
    assert full.axes.names("rate", full.ys.rate.shape) == ("time", "population")


@pytest.mark.slow
def test_regions_of_a_network_are_apart():
    """Each has phases and excitabilities of its own; coupled they rest where the mean fields do."""
    brain = jnm.Connectome((1 - jnp.eye(3)) / 2)
    nested = jnm.NestedShotNoise(jnm.Pyramidal(C=2.0), jnp.array([500.0, 500.0, 2000.0]), members=200)
    apart = jnm.Network(nested, brain, jnm.Linear(0.0))
    chi = np.asarray(jnm.simulate(apart, 600.0, 0.3, key=KEY, save=lambda t, y: y.chi, discard=150.0).ys)
    assert chi.shape == (1500, 3)
    assert np.max(np.abs(np.corrcoef(chi.T) - np.eye(3))) < 0.15
    assert np.std(chi[:, 0]) / np.std(chi[:, 2]) == pytest.approx(2.0, rel=0.1)
    coupled = jnm.Network(nested, brain, jnm.Linear(1.0))
    louder = jnm.simulate(coupled, 300.0, 0.3, key=KEY, save=lambda t, y: y.r, discard=150.0).ys
    mass = jnm.Network(nested.model, brain, jnm.Linear(1.0))
    with pytest.warns(UserWarning, match="float32"):
        rest = jnm.stability.fixed_points(mass, starts=4)[0].state.r
    np.testing.assert_allclose(np.mean(louder, axis=0), rest, rtol=0.02)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: jnm.ShotNoise(jnm.JansenRit(), 100, members=10), "wanted a jnm.NMM2"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), 0.5, members=10), "n = 0.5 neurons"),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(), 100, members=0), "members = 0"),
        (
            lambda: jnm.ShotNoise(jnm.Pyramidal(), (10.0, 10.0), members=5, jitter=False, rest=0.1),
            "unknown parameter rest",
        ),
        (lambda: jnm.ShotNoise(jnm.Pyramidal(sigma_r=0.1), 100, members=5), "white noise of its own"),
        (lambda: jnm.simulate(jnm.ShotNoise(jnm.Pyramidal(), 100, members=5), 1.0, 0.1), "give simulate a key"),
    ],
)
def test_what_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
