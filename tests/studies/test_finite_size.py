"""Spectra by tier against each other, quasi-cycles against the table, censored times against known distributions."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import jnm
from jnm.studies.finite_size import SwitchingTimes, finite_size_spectra, quasi_cycles, switching_times

KEY = jax.random.key(0)


def censored(rate, end, sizes=1, runs=200, seed=0):
    """Exponential times, cut off at `end`."""
    drawn = np.random.default_rng(seed).exponential(1 / rate, (sizes, runs))
    return SwitchingTimes(np.arange(1.0, sizes + 1), np.minimum(drawn, end), drawn < end)


def test_tiers_agree_far_from_a_hopf_point(x64):
    """Uncoupled, where all four are exact; n S at high frequency is that of Poisson neurons."""
    model = jnm.NMM2(10.0, 5.0, 0.3, 1.0, 0.0)
    seen = finite_size_spectra(model, 400, key=KEY, duration=300.0, dt=0.2, runs=5, members=100, lines=3)
    assert seen.f_hz.shape == seen.linear.shape == seen.network.error.shape
    for tier in ("linear", "gaussian", "nested"):
        ratio, error = seen.power(tier)
        assert ratio == pytest.approx(1.0, abs=4 * error), tier
        assert error < 0.1
    assert np.mean(seen.network.mean[-20:]) == pytest.approx(seen.poisson, rel=0.15)
    with pytest.raises(ValueError, match="known are linear, gaussian"):
        seen.peak("binomial")
    plt.close(seen.plot())


def test_linear_quasi_cycles_are_those_of_the_table(x64):
    """Rows 37 and 38: n Var(tau s) of ING at eta = 2 and 4.5; far from the Hopf point the ensemble agrees."""
    seen = quasi_cycles(
        jnm.ING(),
        lambda m: m.eta,
        (2.0, 4.5),
        (1e4,),
        key=KEY,
        duration=600.0,
        dt=0.15,
        discard=60.0,
        members=100,
        runs=4,
    )
    np.testing.assert_allclose(seen.linear[:, 0] ** 2 / 2 * 1e4 * 7.5**2, (0.06020699, 0.35583926), rtol=1e-3)
    np.testing.assert_allclose(seen.distance[1] * 7.5, 0.1505, atol=1e-3)  # spec 3: eigenvalue -0.1505 + 2.4555 i
    np.testing.assert_allclose(seen.frequency_hz[1], 1000 * 2.4555 / (2 * np.pi * 7.5), rtol=1e-3)
    assert seen.amplitude[0, 0] == pytest.approx(seen.linear[0, 0], rel=0.15)
    plt.close(seen.plot("η"))


def test_censored_times_have_the_mean_and_the_interval_of_an_exponential():
    """90 % intervals hold the truth in 90 % of 400 studies; dropping the censored would halve the mean."""
    rate, held = 0.5, []
    for seed in range(400):
        low, high = censored(rate, 1.5, runs=30, seed=seed).interval(0.9)
        held.append(low[0] < 1 / rate < high[0])
    assert np.mean(held) == pytest.approx(0.9, abs=0.05)
    seen = censored(rate, 1.5, runs=20_000)
    assert seen.mean[0] == pytest.approx(2.0, rel=0.03)
    t = np.array([0.3, 1.0, 1.4])
    np.testing.assert_allclose(seen.survival(0, t), np.exp(-rate * t), atol=0.01)


def test_no_switch_gives_a_lower_bound_alone():
    seen = SwitchingTimes(np.array([10.0]), np.full((1, 5), 100.0), np.zeros((1, 5), bool))
    assert np.isinf(seen.mean[0])
    assert seen.interval(0.9)[0, 0] == pytest.approx(500.0 / -np.log(0.05))  # exp(-T / mean) = 5 %
    assert np.isinf(seen.interval()[1, 0])
    plt.close(seen.plot())


def test_few_neurons_leave_the_upper_state():
    """Row 6: from R = 1.0306 below .3; of 12 neurons most runs leave."""
    seen = switching_times(
        jnm.MPR(), (12,), start=0.103, border=0.03, key=KEY, duration=400.0, dt=0.2, window=20.0, runs=6
    )
    assert seen.times.shape == (1, 6)
    assert seen.switches[0] >= 3
    assert np.all(seen.times[seen.switched] % 20.0 == 0)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: finite_size_spectra(jnm.PING(), 10, key=KEY, duration=1.0, dt=0.1), "several populations"),
        (lambda: finite_size_spectra(jnm.ING(), 10, key=KEY, duration=1.0, dt=0.1, runs=1), "runs = 1"),
        (
            lambda: quasi_cycles(jnm.MPR(), lambda m: m.eta, [1.0], [10], key=KEY, duration=1.0, dt=0.1),
            "order 1 or 2",
        ),
        (
            lambda: switching_times(jnm.MPR(), [9], start=0.1, border=0.01, key=KEY, duration=5.0, dt=0.2, window=0.5),
            "whole number",
        ),
        (
            lambda: switching_times(jnm.MPR(), [9], start=0.0, border=0.01, key=KEY, duration=5.0, dt=0.2, window=0.4),
            "rates above zero",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_a_population_that_oscillates_is_refused(x64):
    with pytest.raises(ValueError, match="0 stable fixed points"):
        quasi_cycles(jnm.ING(), lambda m: m.eta, [20.0], [10], key=KEY, duration=1.0, dt=0.1)
