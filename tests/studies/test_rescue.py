"""Fitting masses to networks: a known mass is found again, baselines do what they say, impossible fits are refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.studies.freeman import Target, baselines, fit_freeman, fit_nmm2, judge
from jnm.studies.freeman.rescue import DrivenFreeman

DT, BINS = 0.5, 2_400


@pytest.fixture(scope="module")
def phi():
    """Inputs with memories of their own, [time, 3] in 1/ms."""
    rng, steps = np.random.default_rng(0), []
    x = np.zeros(3)
    for kick in rng.normal(size=(BINS, 3)):
        x = x * (1 - DT / np.array([10.0, 15.0, 5.0])) + np.array([0.15, 0.05, 0.04]) * kick
        steps.append(x)
    return np.maximum(np.array([2.0, 0.5, 0.4]) + steps, 0.0)


def observed(mass, phi, tau_syn=6.0):
    V = np.asarray(DrivenFreeman(mass, tau_syn).potential(jnp.asarray(phi), DT, -60.0))
    return Target(V, np.zeros((BINS, 2)), phi, DT)


def test_a_conventional_mass_is_recovered_from_its_own_output(x64, phi):
    """c_E, c_I, c_X, rest and the unordered pair of time constants, to 1 %; Vbar is known from the data."""
    truth = jnm.FreemanCFM(Vbar=-58.0, q_E=0.06, q_I=0.3, q_X=4.5, rest=-68.0, tau_m=17.0)
    found = fit_freeman(jnm.FreemanCFM(Vbar=-58.0), observed(truth, phi), steps=30)
    mass, tau_syn = found.fit.model.mass, found.fit.model.tau_syn
    for name in ("q_E", "q_I", "q_X", "rest"):
        assert float(getattr(mass, name)) == pytest.approx(float(getattr(truth, name)), rel=0.01)
    assert sorted([float(mass.tau_m), float(tau_syn)]) == pytest.approx([6.0, 17.0], rel=0.01)
    assert found.after.unexplained < 1e-4 < 0.1 < found.before.unexplained


def test_an_autoregression_knows_nothing_younger_than_20_ms():
    """Of white noise it foretells nothing; of a sine all; of the mean's half the variance is what is left."""
    rng = np.random.default_rng(1)
    t = np.arange(4_000) * DT
    for x, low, high in ((rng.normal(size=t.size), 0.95, 1.2), (np.sin(2 * np.pi * 0.011 * t), 0.0, 1e-9)):
        mean, ar = baselines(x[:, None], 2_000, DT)
        assert mean.unexplained == pytest.approx(1.0, abs=0.05) and np.isnan(mean.chi_square)
        assert low <= ar.unexplained <= high
    jump = np.where(t < 1_500.0, 0.0, 1.0)  # in the held-out half, without notice
    course = jnm.studies.freeman.rescue._autoregression(jump + 0.01 * rng.normal(size=t.size), 2_000, 10, 10)
    assert np.all(np.abs(course[3_000:3_040]) < 0.2)


def test_judging_counts_the_held_out_half_alone():
    x = np.random.default_rng(2).normal(size=(1_000, 1))
    y = x.copy()
    y[:500] = 7.0
    assert judge("same", y, x, 500, DT).unexplained == 0.0
    assert judge("same", y, x, 500, DT).chi_square == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
def test_an_nmm2_is_fitted_to_rates(phi):
    """A few steps of descent on rates that another NMM2 made lower the misfit on the stretch that it has not seen."""
    from jnm.studies.freeman.rescue import DrivenNMM2

    mass = jnm.NMM2(
        tau_m=(20.0, 20.0), tau_s=(3.0, 7.0), delta=(1.0, 1.0), eta=(-4.0, -5.0), C=((5.0, -5.0), (5.0, -5.0)), order=1
    )
    rates = np.asarray(DrivenNMM2(mass, 8.0).rates(jnp.asarray(phi), DT))
    found = fit_nmm2(Target(rates[:, 0], rates, phi, DT), loss="time course", steps=20)
    assert found.after.unexplained < 0.3 * found.before.unexplained


def test_bins_are_means_and_ends(phi):
    run = type("Run", (), dict(V=np.arange(10.0), rate=np.ones((10, 2)), Phi=np.arange(30.0).reshape(10, 3)))
    target = Target.of(run, step=0.1, dt=0.5)
    np.testing.assert_array_equal(target.V, [4.0, 9.0])
    np.testing.assert_allclose(target.phi[0], np.arange(30.0).reshape(10, 3)[:5].mean(axis=0))
    with pytest.raises(ValueError, match="no multiple"):
        Target.of(run, step=0.2, dt=0.5)


def test_impossible_fits_are_refused(phi):
    target = observed(jnm.FreemanCFM(Vbar=-58.0), phi)
    with pytest.raises(ValueError, match="four times settle"):
        fit_freeman(jnm.FreemanCFM(), target, settle=1_000.0)
    with pytest.raises(ValueError, match="'time course', 'spectrum' or 'both'"):
        fit_freeman(jnm.FreemanCFM(), target, loss="phase")
