"""fit(): recovery, and each promise it makes about steps: clipping, skipping, keys, judging, stopping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jnm.fitting import LogSpectralLoss, TimeCourseLoss, fit, free, multi_start

KEY = jax.random.key(7)


@pytest.fixture
def line(ou):
    """A theta that is the amplitude's logarithm; losses below look at it directly."""
    return free(ou.Model(amplitude=np.e), lambda m: m.amplitude)


def bowl(model, key):
    """theta^2 / 2, so that plain descent at rate .1 shrinks theta by .9 a step."""
    return jnp.log(model.amplitude) ** 2 / 2


def noisy_bowl(model, key):
    return bowl(model, key) + 10 * jax.random.normal(key)


@pytest.mark.slow
def test_recovers_from_a_spectrum(ou):
    """Data of another seed and twice the length; a start 2-fold off in both parameters."""
    data = jax.jit(ou.simulation(16_384))(ou.Model(), jax.random.key(5))
    loss = LogSpectralLoss(ou.simulation(8_192), data, 1.0, segment=512.0, band=(2.0, 60.0))
    theta, build = free(ou.Model(tau=20.0, amplitude=0.5), lambda m: (m.tau, m.amplitude))
    done = fit(loss, theta, build, optax.adam(0.1), 100, KEY, keys_per_step=2)
    report = done.report()
    assert done.start_loss > 20 and done.best_loss < 1.5
    for name, truth in {"tau": 10.0, "amplitude": 1.0}.items():
        low, high = report[name].interval
        assert low < truth < high and high / low < 1.8
        assert report[name].estimate == pytest.approx(truth, rel=0.2)
    np.testing.assert_allclose(done.model.tau, report["tau"].estimate, rtol=1e-6)


def test_recovers_from_a_time_course(ou):
    data = ou.decay(ou.Model(), KEY) + 0.01 * jax.random.normal(KEY, (100, 3))
    theta, build = free(ou.Model(tau=20.0, amplitude=0.5), lambda m: (m.tau, m.amplitude))
    done = fit(TimeCourseLoss(ou.decay, data, noise_sd=0.01), theta, build, optax.adam(0.05), 300, KEY)
    np.testing.assert_allclose([done.model.tau, done.model.amplitude], [10.0, 1.0], rtol=0.02)
    assert done.best_loss == pytest.approx(1.0, abs=0.2)


def test_steps_are_those_of_optax(ou):
    """A deterministic loss, clipping off: the same numbers as a loop written with optax alone."""
    theta, build = free(ou.Model(tau=20.0), lambda m: m.tau)
    loss, optimiser = TimeCourseLoss(ou.decay, np.zeros((100, 3)), noise_sd=1.0), optax.adam(0.05)
    x, memory = theta, optimiser.init(theta)
    for _ in range(10):
        updates, memory = optimiser.update(jax.grad(lambda x: loss(build(x), KEY))(x), memory, x)
        x = optax.apply_updates(x, updates)
    np.testing.assert_allclose(fit(loss, theta, build, optimiser, 10, KEY, clip=None).last, x, rtol=1e-5)


@pytest.mark.parametrize(("clip", "moved"), [(None, 0.1), (0.3, 0.03), (5.0, 0.1)])
def test_clip(line, clip, moved):
    theta, build = line
    done = fit(bowl, theta, build, optax.sgd(0.1), 1, KEY, clip=clip)
    assert float(theta - done.last) == pytest.approx(moved, rel=1e-5)
    assert done.gradient_norms[0] == pytest.approx(1.0)


def test_clip_is_of_the_global_norm(ou):
    theta, build = free(ou.Model(tau=np.e**3, amplitude=np.e**4), lambda m: (m.tau, m.amplitude))
    done = fit(lambda m, key: bowl(m, key) + jnp.log(m.tau) ** 2 / 2, theta, build, optax.sgd(1.0), 1, KEY)
    np.testing.assert_allclose(np.subtract(theta, done.last), [0.6, 0.8], rtol=1e-5)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_steps_that_are_not_finite_are_skipped_and_counted(line, broken):
    theta, build = line

    def loss(model, key):
        bad = jax.random.uniform(key) < 0.3
        if broken == "loss":
            return jnp.where(bad, jnp.nan, bowl(model, key))
        return bowl(model, key) + jnp.sqrt(jnp.where(bad, 0.0, 1.0) * jnp.log(model.amplitude) ** 2)  # d sqrt(0) = NaN

    done = fit(loss, theta, build, optax.sgd(0.01), 60, KEY)
    good = 60 - int(done.skipped.sum())
    assert 30 < good < 54  # 42 expected
    if broken == "loss":
        np.testing.assert_array_equal(done.skipped, np.isnan(done.losses))
        assert float(done.last) == pytest.approx(0.99**good, rel=1e-5)
    else:
        assert np.isfinite(done.losses).all()
        np.testing.assert_array_equal(done.skipped, np.isnan(done.gradient_norms))
    assert f"not finite: {60 - good}" in str(done.report())


def test_a_hopeless_fit_ends(line):
    theta, build = line
    judge = jax.random.key_data(jax.random.split(jax.random.fold_in(KEY, 0), 1)[0])

    def loss(model, key):  # finite where it is judged only
        return jnp.where(jnp.all(jax.random.key_data(key) == judge), 1.0, jnp.nan) * bowl(model, key)

    done = fit(loss, theta, build, optax.sgd(0.1), 500, KEY, judge_keys=1)
    assert len(done.losses) == 20 and done.stopped == "20 steps in a row were not finite"
    np.testing.assert_array_equal(done.theta, theta)


def test_a_start_that_is_not_finite(line):
    with pytest.raises(ValueError, match="loss at the start is not finite"):
        fit(lambda m, key: jnp.nan * m.tau, *line, optax.sgd(0.1), 5, KEY)


def test_best_is_not_the_luckiest(line):
    """Noise of 10 on a loss of at most 1/2: judging on common keys still sees that every step improves."""
    theta, build = line
    done = fit(noisy_bowl, theta, build, optax.sgd(0.1), 40, KEY)
    assert done.best_step == 40 and float(done.theta) == pytest.approx(0.9**40, rel=1e-4)
    assert np.argmin(done.losses) < 39
    assert done.best_loss < done.start_loss


def test_best_is_kept_when_the_fit_runs_away(line):
    theta, build = line
    done = fit(bowl, theta, build, optax.sgd(-0.1), 30, KEY)
    assert done.best_step == 0 and float(done.theta) == float(theta) and float(done.last) > 2
    done = fit(bowl, theta, build, optax.sgd(-0.1), 300, KEY, patience=20)
    assert len(done.losses) == 20 and done.stopped == "no improvement in 20 steps"


@pytest.mark.parametrize(("every", "different"), [(1, 12), (5, 3), (None, 1)])
def test_keys_are_redrawn(line, every, different):
    done = fit(noisy_bowl, *line, optax.sgd(0.0), 12, KEY, redraw_every=every)
    assert len(set(done.losses.tolist())) == different


def test_a_step_averages_over_its_keys(line):
    one, many = (fit(noisy_bowl, *line, optax.sgd(0.0), 200, KEY, keys_per_step=k).losses.std() for k in (1, 25))
    assert one == pytest.approx(10, rel=0.15) and many == pytest.approx(2, rel=0.15)


def test_compiled_once(line):
    traces = []

    def loss(model, key):
        traces.append(1)
        return bowl(model, key)

    optimiser = optax.adam(0.1)
    for seed in range(3):
        fit(loss, *line, optimiser, 5, jax.random.key(seed))
    assert len(traces) == 2  # the step and the judge


def test_quiet_without_a_terminal(line, capfd):
    fit(bowl, *line, optax.sgd(0.1), 5, KEY)
    fit(bowl, *line, optax.sgd(0.1), 5, KEY, progress=False)
    assert capfd.readouterr() == ("", "")


def test_several_starts(ou):
    """Two valleys, the deeper one away from the start."""

    def loss(model, key):
        x = jnp.log(model.amplitude)
        return (x**2 - 1) ** 2 + 0.3 * x

    theta, build = free(ou.Model(amplitude=np.exp(0.9)), lambda m: m.amplitude)
    single = fit(loss, theta, build, optax.adam(0.05), 150, KEY)
    several = multi_start(loss, theta, build, optax.adam(0.05), 150, KEY, starts=10, spread=1.5)
    assert float(single.theta) > 0.9 and float(several.theta) < -0.9
    assert float(several.starts[0].theta) == float(single.theta) and len(several.starts) == 10
    low, high = several.report()["amplitude"].spread
    assert low == pytest.approx(np.exp(-1.035), rel=0.01) and high == pytest.approx(np.exp(0.96), rel=0.01)


def test_starts_that_are_not_finite_are_passed_over(line):
    theta, build = line

    def loss(model, key):
        return jnp.where(model.amplitude > 2.0, bowl(model, key), jnp.nan)

    done = multi_start(loss, theta, build, optax.sgd(0.01), 2, KEY, starts=4, spread=1.0)
    assert all(float(one.start) > np.log(2.0) for one in done.starts)
    with pytest.raises(ValueError, match="only 1 of 40 places"):
        multi_start(lambda m, key: jnp.where(m.amplitude == build(theta).amplitude, 1.0, jnp.nan), theta, build,
                    optax.sgd(0.01), 2, KEY, starts=4)  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"steps": 2.5}, {"keys_per_step": 0}, {"redraw_every": 0}, {"clip": 0.0}, {"judge_every": None}],
)
def test_impossible_arguments(line, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} = "):
        fit(bowl, *line, optax.sgd(0.1), **({"steps": 5, "key": KEY} | wrong))
