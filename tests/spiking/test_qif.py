"""QIFNetwork against neurons solved by hand and by SciPy, the exact rate, NMM2, and the oracle table of the spec."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jnm
from jnm._param import cast
from jnm.models import psi
from jnm.spiking import QIFNetwork
from jnm.spiking.moebius import qif_step

KEY = jax.random.key(0)


def uncoupled(n=1, tau_m=1.0, delta=1.0, eta=1.0, **fields):
    return QIFNetwork(tau_m=tau_m, tau_s=1.0, delta=delta, eta=eta, C=0.0, n=n, **fields)


def fitted_order(sizes, errors):
    """Slope of log error over log size, and the standard error of it."""
    (slope, _), covariance = np.polyfit(np.log(sizes), np.log(errors), 1, cov=True)
    return slope, np.sqrt(covariance[0, 0])


def rises(ts, x, level):
    """Times at which x rises through a level, between the samples by straight lines."""
    i = np.flatnonzero((x[:-1] < level) & (x[1:] >= level))
    return ts[i] + (ts[i + 1] - ts[i]) * (level - x[i]) / (x[i + 1] - x[i])


# ------------------------------------------------------------------------------------------------------ single neurons


@pytest.mark.parametrize("steps", [7, 1, 1 / 3])
@pytest.mark.parametrize("eta", [0.3, 1.0, 50.0])
def test_a_neuron_fires_every_pi_over_root_eta(x64, eta, steps):
    """At whole intervals V is where it was; with a third of a step an interval each step has three spikes."""
    tau_m = 7.5
    interval = tau_m * np.pi / np.sqrt(eta)
    net = uncoupled(tau_m=tau_m, eta=eta)
    start = net.init(KEY)
    run = net.run(t1=21 * interval, dt=interval / steps, start=start, count=True)
    assert np.sum(run.spikes[0]) == 21
    np.testing.assert_allclose(run.final.v[0], start.v[0], rtol=1e-9)
    np.testing.assert_allclose(np.mean(run.rate), 1 / interval, rtol=1e-12)


@pytest.mark.parametrize("x", [-400.0, -1.0, -1e-8, 0.0, 1e-8, 2.0])
@pytest.mark.parametrize("V", [-3.0, 0.2])
def test_a_step_is_the_solution_of_the_equation(x64, x, V):
    p, q, spikes = qif_step(jnp.asarray(V), jnp.asarray(1.0), jnp.asarray(x), 0.4)
    exact = solve_ivp(lambda t, v: v**2 + x, (0.0, 0.4), [V], method="LSODA", rtol=1e-12, atol=1e-12).y[0, -1]
    np.testing.assert_allclose(p / q, exact, rtol=1e-8)
    assert spikes == 0


def test_a_neuron_above_threshold_fires_when_it_must(x64):
    """x = -w^2, V > w: it fires at t = arctanh(w / V) / w, once, and then rests at -w, however large the step."""
    w, V = 1.5, 4.0
    moment = np.arctanh(w / V) / w
    for h, fired in ((0.999 * moment, 0), (1.001 * moment, 1), (1e4, 1)):
        p, q, spikes = qif_step(jnp.asarray(V), jnp.asarray(1.0), jnp.asarray(-(w**2)), h)
        assert spikes == fired
    np.testing.assert_allclose(p / q, -w, rtol=1e-12)


def test_the_step_is_of_second_order_in_a_changing_current(x64):
    """Against SciPy in the phase V = tan(theta), which no spike interrupts."""
    net, wave = uncoupled(eta=2.0), jnm.Sine(frequency=300.0, amplitude=3.0)
    start = net.init(KEY)

    def turn(t, theta):
        return np.sin(theta) ** 2 + (2.0 + 3.0 * np.sin(2 * np.pi * 0.3 * t)) * np.cos(theta) ** 2

    theta = solve_ivp(turn, (0.0, 8.0), np.arctan(start.v[0]), method="DOP853", rtol=1e-12, atol=1e-12).y[0, -1]
    steps = np.array([0.1, 0.05, 0.025, 0.0125])
    ends = [net.run(8.0, dt, start=start, stimulus=wave).final.v[0][0] for dt in steps]
    order, _ = fitted_order(steps, [abs(np.sin(np.arctan(end) - theta)) for end in ends])
    assert order == pytest.approx(2.0, abs=0.1)


def test_single_precision_counts_the_same_spikes(x64):
    """The same 2,000 neurons in float32 and float64 for 4,000 steps, the fastest of which fires in every step."""
    wide = uncoupled(n=2000, eta=1.0)
    narrow, start = cast(wide, jnp.float32), wide.init(KEY)
    single = cast(start._replace(U=start.U.real), jnp.float32)._replace(U=start.U.astype(jnp.complex64))
    first = wide.run(200.0, 0.05, start=start, save_every=200.0, count=True)
    second = narrow.run(200.0, 0.05, start=single, save_every=200.0, count=True)
    assert second.final.p[0].dtype == jnp.float32
    assert np.max(first.spikes[0]) > 2000
    different = np.abs(np.asarray(first.spikes[0]) - np.asarray(second.spikes[0]))
    assert np.sum(different) <= 1e-4 * np.sum(first.spikes[0])


# -------------------------------------------------------------------------------------------------------- populations


@pytest.mark.parametrize(("eta", "delta"), [(5.0, 1.0), (0.0, 1.0), (-5.0, 1.0), (1.0, 0.3)])
def test_an_uncoupled_population_fires_at_the_exact_rate(eta, delta):
    """A random phase makes the count of a neuron uncertain by less than one: an s.e. below 1 / (2 T sqrt(n)).

    Quantiles at the middles alone, which cut the tail, would be wrong by three times what is allowed.
    """
    n, T = 20_000, 50.0
    rate = np.mean(uncoupled(n=n, eta=eta, delta=delta).run(T, 0.05, key=KEY, save_every=T).rate)
    assert rate == pytest.approx(float(psi(eta, delta)), abs=4 / (2 * T * np.sqrt(n)))


def test_a_million_neurons(x64):
    run = uncoupled(n=1_000_000, tau_m=10.0).run(5.0, 0.25, key=KEY, save_every=5.0)
    np.testing.assert_allclose(run.rate * 10.0, psi(1.0, 1.0), rtol=2e-3)
    np.testing.assert_allclose(run.mean_field * 10.0, psi(1.0, 1.0), rtol=1e-10)


def test_rest_is_where_the_oracle_table_says():
    """Rows 5, 6 (the lowest of three), 7 and 41."""
    shared = dict(tau_m=1.0, tau_s=1.0, delta=1.0)
    for eta, C, R in ((20.0, -20.0, 0.7354353736), (-5.0, 15.0, 0.08113444), (10.0, 20.0, 2.44158174)):
        np.testing.assert_allclose(QIFNetwork(**shared, eta=eta, C=C).rest(), R, rtol=1e-7)
    ping = QIFNetwork.of(jnm.PINGSecondOrder(eta=(0.5, 0.5)), n=10)
    np.testing.assert_allclose(ping.rest(), [0.0496453245, 0.0277453554], rtol=1e-8)


# --------------------------------------------------------------------------------------------------- synapses, coupling


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_coupled_mean_field_is_nmm2_to_second_order(x64, order):
    """One population that hears its mean field, against `simulate` at a tiny step, from the same start."""
    mass = jnm.ING(order=order, C=-5.0, eta=10.0)
    net = QIFNetwork.of(mass, n=1)
    start = net.init(KEY, rate=0.1)
    r, v = start.U.imag[0] / (np.pi * mass.tau_m), start.U.real[0]
    y0 = jnm.models.NMM2State(r, v, *((start.s[0], start.z[0])[:order]))
    exact = jnm.simulate(mass, 15.0, 0.001, y0=y0, save_every=15.0).final.state
    steps = np.array([0.2, 0.1, 0.05, 0.025])
    ends = [net.run(15.0, float(dt), start=start, hear="mean field").final.U[0] for dt in steps]
    errors = [abs(U - (exact.v + 1j * np.pi * mass.tau_m * exact.r)) for U in ends]
    fitted, _ = fitted_order(steps, errors)
    assert fitted == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("order", [1, 2])
def test_the_mean_field_beside_the_neurons_is_that_of_their_input(x64, order):
    """NMM2 without synapses of its own, driven by what the network's synapses were."""
    net = QIFNetwork.of(jnm.Pyramidal(order=order), n=300)
    start = net.init(KEY, rate=0.05)
    run = net.run(60.0, 0.05, start=start, stimulus=jnm.Constant(3.0))
    heard = jnm.Sampled(net.C * jnp.concatenate([start.s, run.synapse]), dt=0.05, into="synaptic")
    alone = jnm.NMM2(net.tau_m, net.tau_s, net.delta, net.eta + 3.0, C=0.0, order=0)
    y0 = jnm.models.NMM2State(start.U.imag[0] / (np.pi * net.tau_m), start.U.real[0])
    fine = jnm.simulate(alone, 60.0, 0.005, y0=y0, stimulus=heard, save_every=0.05)
    middle = (np.append(y0.r, fine.ys.r[:-1]) + fine.ys.r) / 2
    assert np.ptp(run.mean_field) > 0.02
    np.testing.assert_allclose(run.mean_field, middle, rtol=2e-3)


def test_fluctuations_fall_as_one_over_root_n():
    """Standard deviation of the synapses at rest, whose n Var(s) is .00244057 for C = eta = 10 (spec, row 37)."""
    mass, sizes = jnm.Pyramidal(tau_m=1.0, tau_s=2 / 3), np.array([125, 500, 2000])
    variances = []
    for n in sizes:
        net = QIFNetwork.of(mass, n=int(n))
        variances.append(n * np.var(net.run(1020.0, 0.02, key=KEY, save_every=0.1).synapse[200:]))
    order, _ = fitted_order(sizes, np.sqrt(variances / sizes))
    assert order == pytest.approx(-0.5, abs=0.06)
    np.testing.assert_allclose(np.mean(variances), 0.00244057, rtol=0.15)


def test_a_transient_comes_nearer_to_nmm2_as_n_grows():
    """Root mean square distance of the synapses from `simulate`, over random phases: order -1/2."""
    mass, sizes = jnm.ING(), np.array([500, 2000, 8000])
    start = QIFNetwork.of(mass, n=1).init(KEY, rate=0.05)
    y0 = jnm.models.NMM2State(start.U.imag[0] / (np.pi * mass.tau_m), start.U.real[0], start.s[0], start.z[0])
    exact = jnm.simulate(mass, 24.0, 0.0375, y0=y0).ys.s
    away = []
    for n in sizes:
        net = QIFNetwork.of(mass, n=int(n))
        runs = [net.run(24.0, 0.0375, start=net.init(jax.random.key(k), rate=0.05)).synapse for k in range(40)]
        away.append(np.sqrt(np.mean([(run - exact) ** 2 for run in runs])))
    assert away[-1] < 0.05 * np.max(exact)
    order, _ = fitted_order(sizes, away)
    assert order == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize(
    ("eta", "hear", "n", "period", "tolerance"),
    [
        (20.0, "spikes", 10_000, 1.32426597, 1e-3),
        (20.0, "mean field", 1, 1.32426597, 1e-5),
        (10.0, "mean field", 1, 1000 / 71.40491 / 7.5, 1e-4),
    ],
)
def test_the_gamma_rhythm_has_its_period(eta, hear, n, period, tolerance):
    """Rows 20 and 19, periods in tau_m, at dt = .005 tau_m."""
    net = QIFNetwork.of(jnm.ING(eta=eta), n=n)
    run = net.run(600.0, 0.0375, start=net.init(KEY, rate=0.05), hear=hear)
    s = np.asarray(run.synapse, float)
    beats = rises(run.ts, s, np.mean(s))
    beats = beats[beats > 150.0]
    assert len(beats) > 30
    assert (beats[-1] - beats[0]) / (len(beats) - 1) / 7.5 == pytest.approx(period, rel=tolerance)


def test_two_populations_rest_where_their_masses_do():
    """Row 41, with different numbers of excitatory and inhibitory neurons."""
    net = QIFNetwork.of(jnm.PINGSecondOrder(eta=(0.5, 0.5)), n=(8000, 4000))
    run = net.run(300.0, 0.075, key=KEY, save_every=0.75)
    assert run.rate.shape == run.mean_field.shape == run.synapse.shape == (400, 2)
    np.testing.assert_allclose(np.mean(run.rate, axis=0), [0.0496453245, 0.0277453554], rtol=0.03)


@pytest.mark.slow
def test_close_to_the_hopf_point_the_peak_is_below_linear_theory():
    """Row 45: n S_r = 1.5 +- .2 in the peak bin at eta = 4.5, n = 4000 (linear theory: 3.15); T = 100, Hann."""
    net = QIFNetwork(tau_m=1.0, tau_s=1 / 3.75, delta=1.0, eta=4.5, C=-20.0, n=4000)
    window, powers = np.hanning(2000), []
    for k in range(24):
        rate = net.run(120.0, 0.01, key=jax.random.key(k), save_every=0.05).rate[400:]
        powers.append(4000 * 0.05 * np.abs(np.fft.rfft(window * (rate - np.mean(rate)))) ** 2 / np.sum(window**2))
    spectrum = np.mean(powers, axis=0)[1:].reshape(-1, 5).mean(axis=1)  # from lines of .01 to bins of .05
    assert np.argmax(spectrum) == 7  # f = .35 to .40
    assert np.max(spectrum) == pytest.approx(1.5, abs=0.4)


# ------------------------------------------------------------------------------------------------- what is kept, asked


def test_a_run_goes_on_as_if_it_had_not_stopped():
    net = QIFNetwork.of(jnm.PING(IE=10.0), n=100)
    wave = jnm.Sine(frequency=30.0, amplitude=jnp.array([5.0, 0.0]))
    whole = net.run(20.0, 0.05, key=KEY, save_every=1.0, stimulus=wave, count=True)
    half = net.run(10.0, 0.05, key=KEY, save_every=1.0, stimulus=wave, count=True)
    rest = net.run(10.0, 0.05, start=half.final, save_every=1.0, stimulus=wave, count=True)
    np.testing.assert_array_equal(whole.rate, np.concatenate([half.rate, rest.rate]))
    np.testing.assert_array_equal(whole.ts, np.concatenate([half.ts, rest.ts]))
    np.testing.assert_allclose(np.mean(whole.rate[:, 1]) * 20.0 * 100, np.sum(whole.spikes[1]), rtol=1e-5)
    for total, *parts in zip(whole.spikes, half.spikes, rest.spikes, strict=True):
        np.testing.assert_array_equal(total, sum(parts))


def test_what_diverges_is_told():
    with pytest.raises(RuntimeError, match="at t = 0.6 ms the mean field is not finite"):
        uncoupled(n=5).run(2.0, 0.1, key=KEY, stimulus=lambda t: jnm.Drive(current=jnp.where(t > 0.5, jnp.nan, 0.0)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: uncoupled(n=0), "at least one neuron"),
        (lambda: uncoupled(n=10.5), "integers"),
        (lambda: uncoupled(n=(10, 10)), "one for each"),
        (lambda: uncoupled(order=3), "order = 3"),
        (lambda: uncoupled(delta=0.0), "delta"),
        (lambda: uncoupled(eta=[1.0, 2.0]), "regions"),
        (lambda: QIFNetwork(1.0, 1.0, 1.0, 1.0, C=[[1.0, 2.0]]), "square|C\\[to"),
        (lambda: uncoupled().init(KEY, rate=-1.0), "positive rates"),
        (lambda: uncoupled().init(KEY, rate=[0.1, 0.2]), "positive rates"),
        (lambda: uncoupled().run(1.0, 0.0, key=KEY), "dt = 0"),
        (lambda: uncoupled().run(1.0, -0.1, key=KEY), "dt = -0.1"),
        (lambda: uncoupled().run(1.0, 0.1, key=KEY, save_every=0.25), "whole number"),
        (lambda: uncoupled().run(1.0, 0.1, key=KEY, save_every=2.0), "save_every"),
        (lambda: uncoupled().run(1.0, 0.1), "give a key"),
        (lambda: uncoupled().run(1.0, 0.1, key=KEY, hear="rate"), "hear"),
        (lambda: uncoupled(n=3).run(1.0, 0.1, start=uncoupled(n=2).init(KEY)), "3"),
        (lambda: uncoupled().run(1.0, 0.1, key=KEY, stimulus=jnm.Constant([1.0, 2.0])), "stimulus"),
    ],
)
def test_what_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
