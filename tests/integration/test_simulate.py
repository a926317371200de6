"""simulate(): the same numbers as diffrax, models with constraints and steps of their own, and all that is refused."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jnm
from jnm._model import AbstractModel
from jnm.integration import StepNoise
from jnm.models.nmm2 import NMM2State

DT, STEPS = 0.05, 10_000
TWO = jnm.Connectome(1 - np.eye(2), lengths=20 * (1 - np.eye(2)), labels=["left", "right"])
FOR_ODES = [diffrax.Heun(), diffrax.Euler(), diffrax.Midpoint(), diffrax.Ralston(), diffrax.Dopri5(), diffrax.Bosh3()]
FOR_NOISE = [
    *(diffrax.Heun(), diffrax.Euler(), diffrax.EulerHeun(), diffrax.ItoMilstein(), diffrax.StratonovichMilstein()),
    *(diffrax.SEA(), diffrax.SRA1(), diffrax.ShARK()),
]


class Point(NamedTuple):
    x: jax.Array
    y: jax.Array


class Multiplicative(AbstractModel):
    """Two variables, the noise of each depending on both: nothing in Milstein's tensor vanishes."""

    calculus = "ito"

    def init(self):
        return Point(jnp.ones(2), jnp.array([0.5, 1.5]))

    def drift(self, t, y, drive):
        return Point(-0.1 * y.x + 0.05 * y.y, -0.2 * y.y)

    def diffusion(self, t, y):
        return Point(0.1 * y.x * (1 + 0.2 * y.y), 0.1 + 0.05 * jnp.sin(y.x))

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


class Explosive(AbstractModel):
    """x' = x^2 - damping: infinite after 1 / x0 where nothing damps."""

    damping: jax.Array = jnm.param(0.0)
    calculus = None

    def init(self):
        return Point(jnp.array([0.1, 0.5]), jnp.zeros(2))

    def drift(self, t, y, drive):
        return Point(y.x**2 - self.damping * y.x, -y.y)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


class Kept(AbstractModel):
    """x' = 1, kept below 1: the constraint changes the state between steps."""

    def init(self):
        return Point(jnp.zeros(()), jnp.zeros(()))

    def drift(self, t, y, drive):
        return Point(1.0 + 0 * y.x, y.x)

    def constrain(self, y):
        return y._replace(x=jnp.minimum(y.x, 1.0))

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


class Switching(AbstractModel):
    """A telegraph process with its own step: flips with probability rate * dt, the noise being a key for each step."""

    rate: jax.Array = jnm.param(0.2)

    def init(self):
        return Point(jnp.ones(()), jnp.zeros(()))

    def drift(self, t, y, drive):
        raise AssertionError("a model with a step of its own has no use for the drift")

    def step(self, t, dt, y, drive, noise):
        flips = jax.random.uniform(noise) < self.rate * dt
        return Point(jnp.where(flips, -y.x, y.x), y.y + dt * drive.current)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x


def difference(a, b):
    """The largest difference between two trees, relative to the size of each field."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(jnp.abs(x - y).max() / jnp.abs(y).max()) for x, y in pairs)


def by_diffrax(model, solver, steps, key=None, stimulus=None, dt=DT):
    path = None if key is None else StepNoise(key, model, dt)
    has_order = not isinstance(solver, diffrax.ItoMilstein | diffrax.StratonovichMilstein)  # StepTo asks for it
    controller = diffrax.StepTo(ts=dt * np.arange(steps + 1)) if has_order else diffrax.ConstantStepSize()
    return diffrax.diffeqsolve(
        *(jnm.terms(model, path, stimulus), solver, 0.0, steps * dt, None if has_order else dt, model.init()),
        stepsize_controller=controller, saveat=diffrax.SaveAt(steps=True), max_steps=steps + 10,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- equal to diffrax


@pytest.mark.parametrize("solver", FOR_NOISE, ids=lambda s: type(s).__name__)
def test_equals_diffeqsolve_with_noise(x64, solver):
    model, key = jnm.PING(IE=2.0, sigma=0.05), jax.random.key(3)
    theirs = by_diffrax(model, solver, STEPS, key)
    ours = jnm.simulate(model, STEPS * DT, DT, key=key, solver=solver)
    assert difference(ours.ys, jax.tree.map(lambda x: x[:STEPS], theirs.ys)) < 1e-12
    assert np.std(np.asarray(ours.ys.v)[2000:, 0]) > 0.03  # it is the noise that moves the state


@pytest.mark.parametrize(
    ("solver", "stimulus"),
    [(diffrax.Heun(), None), *((solver, jnm.Sine(frequency=10.0, amplitude=0.5)) for solver in FOR_ODES)],
    ids=lambda x: "alone" if x is None else type(x).__name__,
)
def test_equals_diffeqsolve_without_noise(x64, solver, stimulus):
    model = jnm.PING(IE=2.0)
    theirs = by_diffrax(model, solver, STEPS, stimulus=stimulus)
    ours = jnm.simulate(model, STEPS * DT, DT, solver=solver, stimulus=stimulus)
    assert difference(ours.ys, jax.tree.map(lambda x: x[:STEPS], theirs.ys)) < 1e-12


@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.ItoMilstein()], ids=lambda s: type(s).__name__)
def test_equals_diffeqsolve_with_multiplicative_noise(x64, solver):
    model, key = Multiplicative(), jax.random.key(0)
    theirs = by_diffrax(model, solver, 2000, key)
    ours = jnm.simulate(model, 2000 * DT, DT, key=key, solver=solver)
    assert difference(ours.ys, jax.tree.map(lambda x: x[:2000], theirs.ys)) < 1e-12


def test_a_run_from_a_later_origin_has_the_same_path(x64):
    model, key, t0 = jnm.PING(IE=2.0, sigma=0.05), jax.random.key(3), 25.0
    path = StepNoise(key, model, DT, origin=t0)
    theirs = diffrax.diffeqsolve(
        jnm.terms(model, path), diffrax.Heun(), t0, t0 + 100 * DT, DT, model.init(), max_steps=200
    ).ys
    ours = jnm.simulate(model, t0 + 100 * DT, DT, t0=t0, key=key, save_every=100 * DT)
    assert difference(ours.ys, theirs) < 1e-12
    assert ours.ts.tolist() == [30.0]


@pytest.mark.parametrize("solver", [diffrax.Dopri5(), diffrax.Bosh3(), diffrax.Tsit5()], ids=lambda s: type(s).__name__)
def test_a_solver_that_remembers_its_slope_forgets_it_where_the_state_is_constrained(x64, solver):
    """y' = x: with x kept at 1 after t = 1, y is t^2 / 2, then t - 1/2; a stale slope would use x > 1."""
    model = Kept()
    ys = jnm.simulate(model, 3.0, 0.25, solver=solver).ys
    by_hand = []
    y = model.init()
    for step in range(12):
        terms, t = jnm.terms(model), 0.25 * step
        memory = solver.init(terms, t, t + 0.25, y, None)
        y, *_ = solver.step(terms, t, t + 0.25, y, None, memory, made_jump=True)
        y = model.constrain(y)
        by_hand.append(y)
    by_hand = jax.tree.map(lambda *x: jnp.stack(x), *by_hand)
    assert difference(ys, by_hand) < 1e-15
    assert ys.x.max() == 1.0


@pytest.mark.slow
def test_implicit_and_reversible_solvers_step_too(x64):
    import optimistix

    model = jnm.PING(IE=2.0)
    newton = optimistix.Newton(rtol=1e-12, atol=1e-12)
    for solver in (
        diffrax.ImplicitEuler(root_finder=newton),
        diffrax.ReversibleHeun(),
        diffrax.Kvaerno3(root_finder=newton),
    ):
        ours = jnm.simulate(model, 200 * DT, DT, solver=solver)
        theirs = by_diffrax(model, solver, 200)
        assert difference(ours.ys, jax.tree.map(lambda x: x[:200], theirs.ys)) < 1e-10


# -------------------------------------------------------------------------------------------------------- adaptive


def test_adaptive_steps_against_scipy(x64):
    model = jnm.PING(IE=10.0)
    stimulus = jnm.Sine(frequency=10.0, amplitude=0.5)
    controller = diffrax.PIDController(rtol=1e-10, atol=1e-12)
    run = jnm.simulate(
        *(model, 100.0, 0.05),
        solver=diffrax.Dopri8(),
        controller=controller,
        stimulus=stimulus,
        save_every=5.0,
        discard=20.0,
    )

    @jax.jit
    def slope(t, x):
        r, v, s = x.reshape(3, 2)
        return jnp.stack(model.drift(t, NMM2State(r, v, s), stimulus(t))[:3]).ravel()

    start = np.stack(model.init()[:3]).ravel()
    scipy = solve_ivp(slope, (0, 100), start, "DOP853", t_eval=np.arange(25.0, 101.0, 5.0), rtol=1e-11, atol=1e-13).y.T
    ours = np.stack(run.ys[:3], axis=1).reshape(-1, 6)
    assert run.ts.tolist() == list(np.arange(25.0, 101.0, 5.0))
    np.testing.assert_allclose(ours, scipy, rtol=0, atol=1e-7)
    assert 0 < int(run.stats["num_steps"]) < 2000  # fixed steps would be 2000
    fixed = jnm.simulate(model, 100.0, 0.05, stimulus=stimulus, save_every=5.0, discard=20.0)
    assert np.abs(np.asarray(fixed.ys.r) - ours[:, :2]).max() > 1e-6


def test_adaptive_runs_go_on_and_differentiate(x64):
    controller = diffrax.PIDController(rtol=1e-9, atol=1e-11)
    options = dict(solver=diffrax.Tsit5(), controller=controller, save_every=1.0)
    stimulus = jnm.Sine(frequency=10.0)
    model = jnm.ING(eta=3.0)
    half = jnm.simulate(model, 20.0, 0.1, stimulus=stimulus, **options)
    whole = jnm.simulate(model, 40.0, 0.1, stimulus=stimulus, **options)
    rest = jnm.simulate(model, 40.0, 0.1, stimulus=stimulus, final=half.final, **options)
    assert rest.ts.tolist() == whole.ts[20:].tolist() and rest.final.step == 400
    assert difference(rest.ys, jax.tree.map(lambda x: x[20:], whole.ys)) < 1e-6

    def mean_rate(eta):
        return jnm.simulate(jnm.ING(eta=eta), 20.0, 0.1, stimulus=stimulus, **options).ys.r.mean()

    both = jax.jit(jax.value_and_grad(mean_rate))
    assert float(both(3.0)[1]) == pytest.approx(float(both(3.001)[0] - both(2.999)[0]) / 0.002, rel=1e-5)


def test_adaptive_runs_end_where_they_were_told():
    """In single precision the last time of saving is rounded to behind the end of this run."""
    options = dict(solver=diffrax.Tsit5(), controller=diffrax.PIDController(rtol=1e-5, atol=1e-6))
    sol = jnm.simulate(jnm.JansenRit(), 333.3, 0.1, save_every=1.1, **options)
    np.testing.assert_allclose(sol.ys.y1[-1], sol.final.state.y1, rtol=1e-5)


def test_an_adaptive_run_that_diverges_gives_up_with_a_code():
    options = dict(solver=diffrax.Tsit5(), controller=diffrax.PIDController(rtol=1e-5, atol=1e-7))
    assert jnm.simulate(Explosive(), 20.0, 0.1, throw=False, **options).result == 3
    with pytest.raises(RuntimeError, match=r"adaptive steps became too small or too many\. Usual cures"):
        jnm.simulate(Explosive(), 20.0, 0.1, **options)


def test_a_model_with_a_step_of_its_own():
    run = jnm.simulate(Switching(), 50_000.0, 0.5, key=jax.random.key(0), stimulus=jnm.Constant(0.25))
    x = np.asarray(run.ys.x)
    share, n = np.mean(x[1:] != x[:-1]), x.size
    assert abs(share - 0.1) < 4 * np.sqrt(0.1 * 0.9 / n)
    np.testing.assert_allclose(run.ys.y[-1], 12_500.0, rtol=1e-3)


def test_a_diverged_member_is_a_code_and_leaves_the_others_alone():
    def run(damping):
        return jnm.simulate(Explosive(damping), 20.0, 0.1)

    members = jax.vmap(run)(jnp.array([1.0, 0.0, 2.0]))
    assert members.result.tolist() == [0, 1, 0]
    for i in (0, 2):
        np.testing.assert_allclose(members.ys.x[i], run(jnp.array([1.0, 0.0, 2.0])[i]).ys.x, rtol=1e-6)
    assert not np.isfinite(np.asarray(members.ys.x[1])).all()


# ------------------------------------------------------------------------------------------------ how it can go wrong


def test_divergence_names_time_variable_region_and_cure():
    brain = jnm.Connectome(np.zeros((2, 2)), labels=["left", "right"])
    with pytest.raises(RuntimeError, match=r"at t = .* ms, [rv], region right, population E: .*smaller dt"):
        start = jnm.PING(IE=jnp.zeros(2)).init()
        bad = start._replace(v=start.v.at[0, 1].set(1e30))
        jnm.simulate(jnm.Network(jnm.PING(), brain), 10.0, 0.1, y0=bad)
    with pytest.raises(RuntimeError, match=r"at t = 2\.\d ms, x, region 1: a value stopped being finite"):
        jnm.simulate(Explosive(), 20.0, 0.1)  # x0 = .5 is infinite at t = 2
    run = jnm.simulate(Explosive(), 20.0, 0.1, throw=False)
    assert run.result == 1 and "finite" in run.message
    assert 20 <= int(run.stats["failed"][0]) <= 30 and int(run.stats["failed"][1]) == 1


def test_under_jit_nothing_is_raised():
    run = eqx.filter_jit(lambda: jnm.simulate(Explosive(), 20.0, 0.1))()
    assert run.result == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(dt=0.0), r"dt = 0.0 ms; the step must be positive"),
        (dict(dt=-0.1), r"dt = -0.1 ms"),
        (dict(dt=float("nan")), r"dt = nan"),
        (dict(t1=0.0), r"t1 = 0.0 ms does not lie after the start at 0.0 ms"),
        (dict(t1=-5.0), r"does not lie after"),
        (dict(t0=20.0), r"t1 = 10.0 ms does not lie after the start at 20.0 ms"),
        (dict(t1=float("inf")), r"t1 = inf"),
        (dict(t1=10.03), r"t1 - t0 = 10.03 ms is no whole number of steps of dt = 0.1 ms; try 10 ms"),
        (dict(t1=600_000.05), r"no whole number of steps"),
        (dict(save_every=0.25), r"save_every = 0.25 ms is no whole number"),
        (dict(save_every=20.0), r"save_every = 20 ms and discard = 0 ms over 10 ms"),
        (dict(save_every=0.3, discard=0.5), r"discard a multiple of save_every"),
        (dict(discard=10.0), r"discard = 10 ms over 10 ms"),
        (dict(discard=-1.0), r"discard = -1 ms"),
        (dict(block=0), r"block = 0"),
        (dict(key=7), r"key = 7; wanted jax.random.key"),
        (dict(solver=diffrax.EulerHeun()), r"EulerHeun is for stochastic equations"),
        (dict(solver=diffrax.ShARK()), r"ShARK is for stochastic equations"),
        (dict(solver=diffrax.LeapfrogMidpoint()), r"LeapfrogMidpoint remembers when its last step was"),
        (dict(solver=diffrax.SemiImplicitEuler()), r"SemiImplicitEuler is for equations in two parts"),
        (dict(solver=diffrax.KenCarp4()), r"KenCarp4 is for equations in two parts"),
        (dict(solver=diffrax.Kvaerno3()), r"Kvaerno3 needs tolerances of its own"),
        (dict(solver=diffrax.QUICSORT(0.1)), r"QUICSORT needs space-time-time Levy areas, which jnm does not draw"),
        (dict(y0=jnm.PING().init()), r"y0 is a PyTreeDef.*wanted the structure"),
        (dict(y0=jnm.ING().init()._replace(r=jnp.ones(3))), r"y0.r has shape \[3\]; wanted \[\]"),
        (dict(y0=jnm.ING().init()._replace(v=jnp.array(jnp.nan))), r"start is not finite in v"),
        (dict(history=np.zeros((1000, 1))), r"history= is for networks with delays"),
        (dict(stimulus=lambda t: 0.3), r"stimulus returned a float; a function of t gives jnm.Drive"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jnm.simulate(**{"model": jnm.ING(), "t1": 10.0, "dt": 0.1, **options})


def test_noise_needs_a_key_and_adaptive_steps_need_none_of_it():
    noisy, controller = jnm.PING(sigma=0.1), diffrax.PIDController(rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match=r"needs key=jax.random.key\(seed\)"):
        jnm.simulate(noisy, 10.0, 0.1)
    adaptive = dict(solver=diffrax.Tsit5(), controller=controller)
    for model, options, what in (
        (noisy, dict(key=jax.random.key(0)), "noise"),
        (jnm.Network(jnm.PING(), TWO, speed=4.0), {}, "delays"),
        (Kept(), {}, "a constraint"),
        (Switching(), dict(key=jax.random.key(0)), "a step of its own"),
        (jnm.ING(), dict(save=jnm.Reduction(lambda y: 0, lambda f, t, y: f, lambda f: f)), "a Reduction"),
    ):
        with pytest.raises(ValueError, match=f"adaptive steps are for smooth.*{what}"):
            jnm.simulate(model, 10.0, 0.1, **adaptive, **options)


class Stratonovich(Multiplicative):
    calculus = "stratonovich"


@pytest.mark.parametrize(
    ("model", "solver", "message"),
    [
        (
            Multiplicative(),
            diffrax.Heun(),
            r"sense of Ito; Heun does not converge.*Use diffrax.Euler\(\) or ItoMilstein",
        ),
        (Multiplicative(), diffrax.EulerHeun(), r"sense of Ito"),
        (Multiplicative(), diffrax.StratonovichMilstein(), r"sense of Ito"),
        (Multiplicative(), diffrax.Dopri5(), r"sense of Ito"),
        (Stratonovich(), diffrax.Euler(), r"sense of Stratonovich; Euler does not converge.*Use diffrax.Heun"),
        (Stratonovich(), diffrax.ItoMilstein(), r"sense of Stratonovich"),
        (Stratonovich(), diffrax.ShARK(), r"ShARK is for additive noise"),
    ],
)
def test_a_solver_of_another_calculus_is_refused(model, solver, message):
    with pytest.raises(ValueError, match=message):
        jnm.simulate(model, 10.0, 0.1, key=jax.random.key(0), solver=solver)


def test_the_default_solver_is_of_the_right_calculus():
    key = jax.random.key(0)
    assert jnm.simulate(Multiplicative(), 1.0, 0.1, key=key).record["solver"] == "Euler"
    assert jnm.simulate(Stratonovich(), 1.0, 0.1, key=key).record["solver"] == "Heun"


def test_the_end_of_a_run_brings_its_own_start():
    half = jnm.simulate(jnm.ING(), 5.0, 0.1)
    with pytest.raises(ValueError, match=r"final= brings its own state"):
        jnm.simulate(jnm.ING(), 10.0, 0.1, final=half.final, y0=jnm.ING().init())
    with pytest.raises(ValueError, match=r"t1 = 5.0 ms does not lie after the start at 5.0 ms"):
        jnm.simulate(jnm.ING(), 5.0, 0.1, final=half.final)


def test_terms_refuse_what_diffrax_would_get_wrong():
    with pytest.raises(ValueError, match=r"terms: a noisy model needs a path"):
        jnm.terms(jnm.PING(sigma=0.1))
    with pytest.raises(ValueError, match=r"other models have none"):
        jnm.terms(jnm.PING(), StepNoise(jax.random.key(0), jnm.PING(), 0.1))
    with pytest.raises(ValueError, match=r"diffrax keeps no history"):
        jnm.terms(jnm.Network(jnm.PING(), TWO, speed=4.0))
