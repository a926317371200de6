"""What a finite-size spectrum tells: the bounds of spec 8, the scatter of estimates, and a network of neurons."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import jnm
from jnm.stability import closed_loop_psd
from jnm.studies import FinitePopulation, fit_finite_size, spectrum_bound

TAU = 15.0


@pytest.fixture(scope="module")
def population():
    """The pyramidal cells of spec 8, C = 10 and eta = 10."""
    with jax.enable_x64(True):
        return FinitePopulation.of(jnm.Pyramidal(), n=1000)


@pytest.mark.parametrize(
    "make", [jnm.Pyramidal, lambda: jnm.Pyramidal(order=1, C=5.0), lambda: jnm.NMM2(10.0, 5.0, 1.0, 5.0, -5.0, order=0)]
)
def test_closed_form(x64, make):
    """The density of one population against the matrix formula of the stability room; and the way back to the model."""
    model, f_hz = make(), jnp.array([2.0, 40.0, 109.0, 300.0])
    population = FinitePopulation.of(model, n=700)
    np.testing.assert_allclose(population.psd(f_hz), closed_loop_psd(model, f_hz, 700).value, rtol=1e-9)
    assert float(population.eta) == pytest.approx(float(model.eta), abs=1e-10)
    assert float(population.model.C) == float(model.C)


def test_gradient(x64, population):
    theta, f_hz = population.free(), jnp.array([3.0, 60.0, 108.0, 150.0])

    def log_S(x):
        return jnp.log(population.at(x).psd(f_hz))

    slope = jax.jacfwd(log_S)(theta)
    for k, h in enumerate(np.diag([1e-5, 1e-5, 1e-6, 1e-6])):
        there, back = log_S(theta + h), log_S(theta - h)
        np.testing.assert_allclose(slope[:, k], (there - back) / (2 * h[k]), rtol=1e-6, atol=1e-7)


def test_bounds_of_the_spec(population):
    """Spec 8: T = 100 tau_m, f <= 6 / tau_m: 139 % (eta), 85 % (C), 10 % (delta), 9 % (n); 5 % of eta by 8e4 tau_m."""
    short = spectrum_bound(population, 100 * TAU)
    assert {name: round(100 * sd) for name, sd in short.sd.items() if name != "X"} == dict(C=85, delta=10, n=9, eta=139)
    assert short.sd["X"] < 0.005
    assert spectrum_bound(population, 8e4 * TAU).sd["eta"] == pytest.approx(0.05, rel=0.03)
    told = str(short).splitlines()
    assert "not told: +1.00 C" in told[1] and told[-1].startswith("  told: +1.00 X")


def test_the_slow_end_tells_the_weight(population):
    """What the spec leaves open: the bound of C and eta hangs on the lowest frequency, those of delta and n do not."""
    low, high = (spectrum_bound(population, 100 * TAU, band=(start, 6.0)).sd for start in (0.05, 1.0))
    assert low["C"] < 0.65 * high["C"] and low["eta"] < 0.65 * high["eta"]
    assert high["delta"] == pytest.approx(low["delta"], rel=0.05) and high["n"] == pytest.approx(low["n"], rel=0.05)


def test_scatter_is_the_bound(population):
    """200 spectra of 8e4 tau_m: standard deviations within three of their standard errors; no bias; pictures and labels."""
    fits = fit_finite_size(population, 8e4 * TAU, jax.random.key(1), replicates=200)
    assert fits.arrived.all()
    for name, sd in fits.bound.sd.items():
        assert fits.scatter[name] / sd == pytest.approx(1.0, abs=3 / np.sqrt(2 * 199)), name
        assert abs(fits.bias[name]) < 4 * sd / np.sqrt(200), name
    assert "Cramer-Rao, 1.2e+03 s" in str(fits)
    table = fits.to_xarray()
    assert table.estimate.dims == ("parameter", "replicate") and table.attrs["record_ms"] == 8e4 * TAU
    figure = fits.plot()
    assert len(figure.axes) == 2
    plt.close(figure)


def test_short_records_do_not_tell_the_weight(population):
    fits = fit_finite_size(population, 100 * TAU, jax.random.key(2), replicates=200)
    assert fits.scatter["C"] > fits.bound.sd["C"] > 0.5
    assert fits.scatter["X"] == pytest.approx(fits.bound.sd["X"], rel=0.2)


@pytest.mark.slow
def test_network(population):
    """Spikes of 1000 cells, 1.5 s each: X, delta and n as the bound says, from the frequencies where lines are dense."""
    fits = fit_finite_size(population, 100 * TAU, jax.random.key(3), replicates=24, source="network", band=(1.0, 6.0))
    for name in ("X", "delta", "n"):
        sd = fits.bound.sd[name]
        assert fits.scatter[name] / sd == pytest.approx(1.0, abs=3 / np.sqrt(2 * 23)), name
        assert abs(fits.bias[name]) < 4 * sd / np.sqrt(24), name


def test_cells_have_lines(x64, population):
    """The number of cells with a rate below some value, over all harmonics: from quantiles of the Lorentzian."""
    eta = float(population.X) + np.tan(np.pi * ((np.arange(1_000_000) + 0.5) / 1e6 - 0.5))
    rates = np.sqrt(eta[eta > 0]) / np.pi
    lines = np.concatenate([rates * k for k in range(1, 21)])
    for low, high in ((1.0, 1.1), (1.6, 1.7), (3.0, 3.2)):
        counted = np.sum((lines > low) & (lines < high)) / 1000.0
        middle = population.cells_at(np.linspace(low, high, 401)).mean() * (high - low)
        assert middle == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(record_ms=100.0), "record 300 ms or longer"),
        (dict(band=(2.0, 1.0)), "0 < lowest < highest"),
        (dict(replicates=1), "two or more"),
        (dict(source="rumour"), "'theory' or from a 'network'"),
        (dict(source="network"), "Begin the band at"),
    ],
)
def test_what_is_refused(population, change, words):
    with pytest.raises(ValueError, match=words):
        fit_finite_size(population, key=jax.random.key(0), **(dict(record_ms=1500.0) | change))


def test_models_without_one_rest(x64):
    with pytest.raises(ValueError, match="2 fixed points are stable"):
        FinitePopulation.of(jnm.MPR(), 100)
    with pytest.raises(ValueError, match="one population"):
        FinitePopulation.of(jnm.PING(), 100)
