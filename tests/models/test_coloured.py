"""Coloured noise: variance and memory of the current, where it goes, and who shares it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm._param import share
from jnm.integration import running_covariance
from jnm.models import NMM2State
from jnm.testing import check_model

KEY = jax.random.key(2)


class One(NamedTuple):
    x: jax.Array


class Integrator(jnm.AbstractModel):
    """x' = the current it sees."""

    n: jax.Array = jnm.param(0.0)

    def init(self):
        return One(jnp.zeros(self.n.shape))

    def drift(self, t, y, drive):
        return One(share(drive.current, y.x.ndim) + 0 * y.x)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return share(drive.current, y.x.ndim) + 0 * y.x


class Jumping(Integrator):
    def step(self, t, dt, y, drive, noise):
        return y


def network(node=None, speed=None):
    rng = np.random.default_rng(0)
    weights, lengths = rng.random((4, 4)) * (1 - np.eye(4)), rng.uniform(5.0, 40.0, (4, 4))
    brain = jnm.Connectome(weights, lengths=lengths, labels=list("abcd"))
    return jnm.Network(jnm.PING(IE=2.0) if node is None else node, brain, jnm.Linear(2.0), speed)


def coloured(model=None, tau=5.0, sigma=0.5, **options):
    return jnm.ColouredNoise(jnm.PING(IE=2.0) if model is None else model, tau=tau, sigma=sigma, **options)


def decay(tau, dt):
    """What is left of the current after a step of Heun's scheme; exp(-dt / tau) in the limit."""
    return 1 - dt / tau + (dt / tau) ** 2 / 2


def variance(tau, dt):
    """Of Heun's recursion x <- decay x + (1 - a / 2) sqrt(2 a) N(0, 1), a = dt / tau; 1 in the limit."""
    a = dt / tau
    return 2 * a * (1 - a / 2) ** 2 / (1 - decay(tau, dt) ** 2)


MODELS = {
    "one population": lambda: coloured(jnm.ING()),
    "populations": lambda: coloured(jnm.PING(sigma=0.1), sigma=(0.5, 1.0)),
    "regions of its own": lambda: coloured(sigma=np.full((2, 3), 0.5)),
    "in a network": lambda: network(coloured(jnm.PING(receive=1)), speed=5.0),
    "around a network": lambda: coloured(network(jnm.JansenRit()), sigma=np.linspace(0.01, 0.02, 4)),
    "in common": lambda: coloured(network(), common=True),
}


@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    check_model(MODELS[name]())


# -------------------------------------------------------------------------------------------------------- the process


@pytest.mark.parametrize(("tau", "dt", "bias"), [(5.0, 0.5, -0.0026), (1.0, 0.5, -0.0769)])
def test_variance_is_sigma_squared_and_that_of_the_scheme(tau, dt, bias):
    """With a standard error of half a per cent; at a step of half of tau Heun's scheme itself is 8 % below."""
    model = coloured(Integrator(jnp.zeros(400)), tau, 3.0)
    options = dict(save_every=tau / 2, discard=20 * tau, save=running_covariance(lambda y: y.ou))
    run = jnm.simulate(model, 4000 * tau, dt, key=KEY, **options)
    covariance = np.asarray(run.ys.covariance, float)
    each, expected = np.diag(covariance), 9.0 * variance(tau, dt)
    error = each.std() / np.sqrt(each.size)
    assert error / expected < 0.005 and abs(each.mean() - expected) < 4 * error
    assert expected / 9.0 - 1 == pytest.approx(bias, abs=0.001)
    between = covariance[np.triu_indices(400, 1)] / expected
    assert abs(between.mean()) < 4 * between.std() / np.sqrt(200)  # regions have paths of their own


@pytest.mark.parametrize("tau", [2.0, 10.0])
def test_autocovariance_is_an_exponential_of_tau_and_that_of_the_scheme(tau):
    """Lags to twice tau, each within four standard errors over 200 independent regions."""
    dt, model = 0.2, coloured(Integrator(jnp.zeros(200)), tau, 1.0)
    x = np.asarray(jnm.simulate(model, 1000.0, dt, key=KEY, discard=100.0).ys.ou, float)
    for lag in (1, round(tau / dt), round(2 * tau / dt)):
        each = (x[lag:] * x[:-lag]).mean(axis=0)
        error = each.std() / np.sqrt(each.size)
        scheme = variance(tau, dt) * decay(tau, dt) ** lag
        assert error < 0.02 and abs(each.mean() - scheme) < 4 * error
        assert scheme == pytest.approx(np.exp(-lag * dt / tau), rel=0.01)


# -------------------------------------------------------------------------------------------------------- where it goes


def test_the_current_is_what_the_model_sees(x64):
    """dx/dt of the integrator, by Heun: the mean of the current at both ends, up to the noise within the step."""
    ys = jnm.simulate(coloured(Integrator(), sigma=2.0), 50.0, 0.01, key=KEY, stimulus=jnm.Constant(0.5)).ys
    current = 0.5 + np.asarray(ys.ou)
    np.testing.assert_allclose(ys.x[-1] - ys.x[0], np.sum(current[1:] + current[:-1]) / 2 * 0.01, rtol=1e-4)
    model = coloured(Integrator())
    y = model.init()._replace(ou=jnp.array(1.5))
    assert model.source(0.0, y, jnm.Drive(current=0.5)) == model.drift(0.0, y, jnm.Drive(current=0.5)).x == 2.0


@pytest.mark.parametrize("speed", [None, 4.0], ids=["undelayed", "delayed"])
def test_inside_a_network_and_around_it_are_the_same(x64, speed):
    inside, around = network(coloured(), speed), coloured(network(speed=speed))
    a, b = (jnm.simulate(model, 30.0, 0.1, key=KEY).ys for model in (inside, around))
    np.testing.assert_array_equal(a.ou, b.ou)
    np.testing.assert_allclose(a.v, b.v, rtol=1e-12)
    quiet = jnm.simulate(coloured(network(speed=speed), sigma=1e-9), 30.0, 0.1, key=KEY).ys.v
    np.testing.assert_allclose(quiet, jnm.simulate(network(speed=speed), 30.0, 0.1).ys.v, atol=1e-6)
    assert np.abs(np.asarray(a.v - quiet)).max() > 1e-2


@pytest.mark.parametrize(
    "make",
    [
        lambda sigma: network(coloured(tau=2.0, sigma=sigma)),
        lambda sigma: coloured(network(), tau=2.0, sigma=sigma),
        lambda sigma: coloured(tau=2.0, sigma=sigma),
    ],
    ids=["inside", "around", "regions alone"],
)
@pytest.mark.parametrize("rows", [False, True], ids=["populations differ", "regions differ"])
def test_each_population_and_region_has_its_amplitude_and_its_path(make, rows):
    sigma = np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 2.0, 2.0]]) if rows else np.array([0.5, 1.0])
    model, wanted = make(sigma), sigma if rows else sigma[:, None] * np.ones((2, 4))
    if model.init().r.ndim == 1:  # a node alone
        wanted = sigma
    x = np.asarray(jnm.simulate(model, 4000.0, 0.1, key=KEY, save_every=1.0, discard=20.0).ys.ou)
    error = np.sqrt(2.0 / 4000)  # of a correlation or, relative, of a standard deviation
    np.testing.assert_allclose(x.std(axis=0), wanted, rtol=5 * error)
    paths = x.reshape(len(x), -1)
    assert np.abs(np.corrcoef(paths.T) - np.eye(paths.shape[1])).max() < 5 * error


def test_a_common_current_is_one_path_for_all_regions():
    """Its variance is sigma^2 within four standard errors, however many regions share it."""
    model = coloured(network(Integrator()), sigma=3.0, common=True)
    y = model.init()._replace(ou=jnp.array([1.0, 2.0, 3.0, -2.0]))
    seen = model.drift(0.0, y, jnm.Drive(current=jnp.arange(4.0))).x
    np.testing.assert_allclose(seen, np.arange(4.0) + 4.0 / 2.0)  # the sum over the root of four regions
    run = jnm.simulate(model, 20_000.0, 0.5, key=KEY, discard=100.0, save=lambda t, y: y.ou.sum() / 2)
    assert abs(np.var(run.ys) / (9.0 * variance(5.0, 0.5)) - 1) < 4 * np.sqrt(2 * 5.0 / 19_900)


def test_common_currents_differ_between_populations():
    model = coloured(network(), sigma=(0.5, 1.0), common=True)
    y = model.init()
    kicked = y._replace(ou=jnp.array([[8.0] * 4, [16.0] * 4]))
    change = model.drift(0.0, kicked, jnm.Drive()).v - model.drift(0.0, y, jnm.Drive()).v
    np.testing.assert_allclose(change, [[2.0] * 4, [4.0] * 4], rtol=1e-5)  # 4 x 8 / 2, over tau_m = 8 ms
    x = np.asarray(jnm.simulate(model, 4000.0, 0.1, key=KEY, save_every=1.0, discard=100.0).ys.ou).sum(axis=2) / 2
    error = np.sqrt(5.0 / 3900)
    np.testing.assert_allclose(x.std(axis=0), [0.5, 1.0], rtol=5 * error)
    assert abs(np.corrcoef(x.T)[0, 1]) < 5 * error


def test_currents_of_regions_are_correlated_in_part_by_shared_noise():
    x = jnm.simulate(coloured(network()), 4000.0, 0.1, key=KEY, save_every=1.0, noise=jnm.White(shared=0.6)).ys.ou[:, 0]
    between = np.corrcoef(np.asarray(x).T)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(between, 0.6, atol=5 * np.sqrt(2 * 5.0 / 4000))


# ------------------------------------------------------------------------------------------------ beside the model's own


def test_the_model_keeps_its_noise_its_constraint_and_its_names():
    model = coloured(jnm.PING(sigma=0.2, sigma_r=0.01), tau=4.0, sigma=(1.0, 3.0))
    y = model.init()
    amplitude = model.diffusion(0.0, y)
    np.testing.assert_allclose(amplitude.ou, np.array([1.0, 3.0]) * np.sqrt(2 / 4.0), rtol=1e-6)
    np.testing.assert_allclose(amplitude.v, [0.2, 0.2])
    assert model.constrain(y._replace(r=-y.r)).r.min() == 0.0
    plain = coloured()
    assert plain.constrain(y) is y and plain.diffusion(0.0, y).v is None
    assert (model.calculus, model.rank, type(y.node)) == (None, 1, NMM2State)


def test_names_axes_and_citations():
    net = coloured(network())
    data = jnm.simulate(net, 5.0, 0.1, key=KEY, save_every=1.0).to_xarray()
    assert set(data.data_vars) == {"r", "v", "s", "ou"}
    assert data.ou.dims == ("time", "population", "region") and data.region.values.tolist() == list("abcd")
    assert "Uhlenbeck" in net.citation and "Montbrio" in net.citation
    assert jnm.describe(net)["tau"].unit == "ms"


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded_it_runs_the_same(name, tmp_path):
    model = MODELS[name]()
    jnm.save(model, tmp_path / "model.json")
    back = jnm.load(tmp_path / "model.json")
    assert eqx.tree_equal(back, model)
    np.testing.assert_array_equal(*(jnm.simulate(m, 1.0, 0.1, key=KEY).ys.ou for m in (model, back)))


def test_gradients_with_respect_to_tau_and_sigma(x64):
    net = network(speed=4.0)

    def loss(p):
        return 100 * (jnm.simulate(coloured(net, p[0], p[1]), 10.0, 0.1, key=KEY).ys.r ** 2).mean()

    p, both = jnp.array([5.0, 0.5]), jax.jit(jax.value_and_grad(loss))
    slope = both(p)[1]
    for i, step in enumerate((1e-4, 1e-5)):
        difference = float(both(p.at[i].add(step))[0] - both(p.at[i].add(-step))[0]) / (2 * step)
        assert float(slope[i]) == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: coloured(tau=0.0), r"tau = 0 is outside its domain"),
        (lambda: coloured(sigma=-1.0), r"sigma = -1 is outside its domain"),
        (lambda: coloured(sigma=(1.0, 2.0, 3.0)), r"sigma has shape \[3\]; it must be \[\] or \[2\]"),
        (lambda: coloured(network(), sigma=jnp.ones((2, 5))), r"given for 5 regions; wanted values for 4"),
        (lambda: coloured(common=True), r"is for networks; put it around"),
        (lambda: coloured(network(), sigma=np.ones((2, 4)), common=True), r"given for 4 regions; wanted one value"),
        (lambda: network(coloured(network(), common=True)), r"the node is itself a network"),
        (lambda: coloured(Jumping()), r"Jumping brings its own step"),
        (lambda: coloured(coloured()), r"ColouredNoise has a field `ou` already"),
        (lambda: jnm.simulate(coloured(), 1.0, 0.1), r"needs key="),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
