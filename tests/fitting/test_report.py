"""report(): nothing without an interval or the reason why there is none; bounds, notes, tables."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import t as student

import jnm
from jnm.fitting import TimeCourseLoss, fit, free

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def evoked(ou):
    data = ou.decay(ou.Model(), KEY) + 0.05 * jax.random.normal(KEY, (100, 3))
    return TimeCourseLoss(ou.decay, data, noise_sd=0.05)


@pytest.fixture(scope="module")
def done(ou, evoked):
    theta, build = free(ou.Model(tau=20.0), lambda m: {"tau": m.tau, "amplitude": m.amplitude})
    return fit(evoked, theta, build, optax.adam(0.1), 150, KEY)


def test_rows_and_tables(done):
    report = done.report()
    assert [row.name for row in report.rows] == ["amplitude", "tau"]
    row = report["tau"]
    assert row.unit == "ms" and row.start == pytest.approx(20.0) and not row.at_bound and row.spread is None
    assert row.interval[0] < row.estimate < row.interval[1]
    text, html = str(report), report._repr_html_()
    for piece in (
        "parameter",
        "90% interval",
        "tau",
        "ms",
        f"{row.estimate:.4g}",
        f"{row.interval[0]:.4g} to",
        "skipped",
    ):
        assert piece in text and piece in html
    assert "gradient norm" in text and "NOT ARRIVED" not in text
    with pytest.raises(KeyError, match="'tua' was not fitted; there are amplitude, tau"):
        report["tua"]


def test_level_is_that_of_students_t(done):
    """Widths at two levels stand as the quantiles do, on the scale of theta."""
    wide, narrow = (np.diff(np.log(done.report(level=level)["tau"].interval))[0] for level in (0.95, 0.5))
    ratios = [student.ppf(0.975, freedom) / student.ppf(0.75, freedom) for freedom in (20, 300)]
    assert min(ratios) < wide / narrow < max(ratios)


def test_elements_are_rows():
    def simulate(model, key):
        return jnp.sum(model.eta) * jnp.arange(40.0)[:, None] + model.eta[1] + jnp.zeros((40, 1))

    theta, build = free(jnm.PING(), lambda m: m.eta)
    loss = TimeCourseLoss(simulate, np.random.default_rng(0).normal(size=(40, 1)), noise_sd=1.0)
    report = fit(loss, theta, build, optax.adam(0.3), 100, KEY).report()
    assert [row.name for row in report.rows] == ["eta[0]", "eta[1]"]
    assert all(row.interval for row in report.rows)


def test_no_residuals_no_interval(done, ou, evoked):
    for loss in (lambda m, key: evoked(m, key), evoked + (lambda m, key: 0.01 * m.tau**2)):
        report = fit(loss, done.start, done.build, optax.adam(0.1), 5, KEY).report()
        assert all(row.interval is None and "without residuals" in row.reason for row in report.rows)
        assert "no interval: the loss has a term without residuals" in str(report)


def test_what_is_not_identified_gets_no_interval(ou):
    theta, build = free(ou.Model(), lambda m: (m.tau, m.amplitude))
    noise = np.random.default_rng(0).normal(size=(100, 1))

    def report(simulate):
        return fit(TimeCourseLoss(simulate, noise, noise_sd=1.0), theta, build, optax.adam(0.1), 20, KEY).report()

    idle = report(lambda m, key: m.amplitude * jnp.ones((100, 1)))
    assert (
        idle["tau"].interval is None and "no influence on the loss" in idle["tau"].reason and idle["amplitude"].interval
    )
    product = report(lambda m, key: m.tau * m.amplitude * jnp.ones((100, 1)))
    assert product["tau"].reason == "not told apart from amplitude" and product["amplitude"].interval is None


def test_simulations_that_diverge_at_the_estimate(done, ou):
    def sometimes(model, key):
        return jnp.where(jax.random.uniform(key) < 0.3, jnp.nan, 1.0) * ou.decay(model, key)

    loss = TimeCourseLoss(sometimes, np.ones((100, 3)), noise_sd=1.0)
    report = fit(loss, done.start, done.build, optax.sgd(0.01), 5, jax.random.key(1), judge_keys=1).report()
    assert all("not finite" in row.reason and row.interval is None for row in report.rows)


def test_data_without_noise(done, ou):
    """Nothing is uncertain, and nothing is left to go either."""
    loss = TimeCourseLoss(ou.decay, ou.decay(done.build(done.start), KEY), noise_sd=1.0)
    report = fit(loss, done.start, done.build, optax.adam(0.01), 1, KEY).report()
    assert report["tau"].interval == pytest.approx((20.0, 20.0), rel=1e-4) and "NOT ARRIVED" not in str(report)


def test_too_few_data(ou):
    theta, build = free(ou.Model(), lambda m: (m.tau, m.amplitude))
    loss = TimeCourseLoss(
        lambda m, key: ou.decay(m, key)[:1, :1] * jnp.array([[1.0, 2.0]]), np.ones((1, 2)), noise_sd=1.0
    )
    report = fit(loss, theta, build, optax.adam(0.1), 5, KEY).report()
    assert "fewer independent data" in str(report)
    assert all(row.interval is None for row in report.rows)


def test_bounds_are_marked(ou, evoked):
    """The truth, 10 ms, lies outside the interval that tau may move in."""
    theta, build = free(ou.Model(tau=25.0), lambda m: (m.tau, m.amplitude), {"tau": jnm.Interval(20.0, 30.0)})
    report = fit(evoked, theta, build, optax.adam(0.3), 150, KEY).report()
    assert report["tau"].at_bound and not report["amplitude"].at_bound
    assert "(at a bound)" in str(report)
    assert report["tau"].interval is None or 20.0 <= report["tau"].interval[0] <= report["tau"].interval[1] <= 30.0


def test_not_arrived_is_said(ou, evoked):
    theta, build = free(ou.Model(tau=20.0), lambda m: m.tau)
    report = fit(evoked, theta, build, optax.adam(0.01), 5, KEY).report()
    assert "NOT ARRIVED" in str(report)


@pytest.mark.parametrize("wrong", [{"level": 90}, {"keys": 1}])
def test_impossible_arguments(done, wrong):
    with pytest.raises(ValueError, match="wanted 0 < level < 1"):
        done.report(**wrong)


def test_a_fit_in_one_line(done):
    assert repr(done).startswith("Fit of amplitude, tau: loss ") and "150 steps (0 skipped)" in repr(done)
