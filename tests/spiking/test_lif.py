"""LIFNetwork against neurons solved by hand, the hash networks of the spec, and the statistics of its noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.spiking import Graph, LIFNetwork

KEY = jax.random.key(0)


def mix(x):
    """The spec's hash of 32 bits."""
    x = np.asarray(x, np.uint64) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & 0xFFFFFFFF
    return x ^ (x >> np.uint64(16))


def hash_network(p, n=200, n_excitatory=160, sources=10_000):
    """The spec's deterministic network: set A without noise, weights for n neurons, 5 events a step."""
    to = np.arange(n)[:, None]
    who, source = np.arange(n)[None], np.arange(sources)[None]
    graph = (mix(who * n + to + 1) < int(p * 2**32)) & (who != to)
    external = (mix(source * n + to + 1000003) < int(0.01 * 2**32)) & (to < n_excitatory)
    net = LIFNetwork(graph, external, n_excitatory=n_excitatory, q_E=0.05 * 50, q_I=0.25 * 50, q_X=5.0, Q=0.0)
    events = (mix(np.arange(5 * 4000) + 777) % np.uint64(sources)).astype(int).reshape(4000, 5)
    return net, net.init()._replace(v=jnp.asarray(-60 + 10 * np.arange(n) / n)), events, graph.sum(), external.sum()


def silent(n=1, **fields):
    """Neurons without synapses and noise."""
    return LIFNetwork(Graph.draw(KEY, n, n, 0.0, loops=False), n_excitatory=n, Q=fields.pop("Q", 0.0), **fields)


def small(name="B", p=0.2, n=300, **fields):
    return LIFNetwork.preset(name, p=p, fraction_excitatory=0.8, n=n, sources=500, key=KEY, **fields)


# ------------------------------------------------------------------------------------------------------ single neurons


def test_intervals_at_constant_conductance_are_exact(x64):
    """Steps = 50 + ceil(ln((vinf - vth) / (vinf - vre)) / ln(1 - dt / tau_eff)); spec: 31.4, 23.5, 16.9, 12.1, 7.2 ms."""
    g = np.array([4.5, 5.0, 6.0, 8.0, 20.0])
    net = silent(5, tau_E=1e15)
    run = net.run(200.0, 0.1, start=net.init()._replace(g_E=jnp.asarray(g)), spikes=True, neurons=[4])
    intervals = [np.diff(train) for train in run.spikes.trains()]
    for each, wanted in zip(intervals, (31.4, 23.5, 16.9, 12.1, 7.2), strict=True):
        assert len(each) > 3
        np.testing.assert_allclose(each, wanted, rtol=1e-12)
    after = run.spikes.step[run.spikes.neuron == 4][0]
    np.testing.assert_array_equal(run.v[after : after + 51, 0], -60.0)
    assert run.v[after + 51, 0] > -60.0


@pytest.mark.parametrize(("tau_ref", "steps"), [(5.0, 51), (0.3, 4), (0.0, 1)])
def test_a_neuron_is_held_for_the_refractory_time(tau_ref, steps):
    """With a drive that crosses the threshold in one step, the shortest interval is the refractory time and a step."""
    net = silent(tau_ref=tau_ref, v_th=-59.9)
    strong = jnm.Constant(1e5)
    run = net.run(60.0, 0.1, start=net.init(), stimulus=strong, spikes=True)
    assert set(np.diff(run.spikes.step)) == {steps}


def test_one_spike_raises_a_conductance_by_q_over_tau(x64):
    """Neuron 0 is excitatory, 1 inhibitory, a source reaches 2; each sends once, to neuron 2, one step later at most."""
    reach = np.zeros((3, 3), bool)
    reach[2, :2] = True
    net = LIFNetwork(reach, np.array([[False], [False], [True]]), n_excitatory=1, Q=0.0)
    y = net.init()._replace(v=jnp.array([-50.0 + 1.0, -50.0 + 1.0, -70.0]))
    run = net.run(0.3, 0.1, start=y, events=np.array([[-1], [0], [-1]]))
    wanted = [net.q_E / net.tau_E, net.q_I / net.tau_I, net.q_X / net.tau_X]
    decay = [1 - 0.1 / net.tau_E, 1 - 0.1 / net.tau_I, 1 - 0.1 / net.tau_X]
    grown = [run.final.g_E[2], run.final.g_I[2], run.final.g_X[2]]
    np.testing.assert_allclose(grown, np.array(wanted) * np.array(decay), rtol=1e-12)
    np.testing.assert_allclose(run.Phi, [[0, 0, 0], [10 / 3, 10 / 3, 10 / 3], [0, 0, 0]], rtol=1e-12)
    np.testing.assert_allclose(run.rate, [[10.0, 5.0], [0, 0], [0, 0]], rtol=1e-12)


def test_membrane_noise_has_the_spread_of_its_q():
    """Without threshold an Ornstein-Uhlenbeck process of variance Q / (2 tau_m): 3.54 mV for set B (spec, 2.1)."""
    net = silent(4000, Q=500.0, v_th=1e6, v_reset=-70.0)
    start = net.init()._replace(v=jnp.full(4000, -70.0))
    run = net.run(120.0, 0.1, key=KEY, start=start, neurons=range(50))
    v = np.asarray(run.final.v, float) + 70
    variance = 0.1 * 500 / 400 / (1 - (1 - 0.1 / 20) ** 2)  # of the discrete process; Q / (2 tau_m) to 0.3 %
    assert np.var(v) == pytest.approx(variance, rel=4 * np.sqrt(2 / 4000))
    assert np.mean(v) == pytest.approx(0.0, abs=4 * np.sqrt(variance / 4000))
    moves = np.diff(run.v, axis=0) + 0.1 / 20 * (run.v[:-1] + 70)
    assert abs(np.corrcoef(moves[:-1].ravel(), moves[1:].ravel())[0, 1]) < 4 / np.sqrt(moves.size)


# ------------------------------------------------------------------------------------- the hash networks of the spec

HASHED = {
    0.05: dict(
        edges=(2049, 16160), spikes=(85, 85), until=(15, 40, 85), contrast=0.0341646312,
        V=(-58.7898528393, -58.9952627115, -58.842744241, -58.827129546),
    ),
    0.5: dict(
        edges=(19956, 16160), spikes=(961, 801), until=(217, 436, 961), contrast=0.8445653184,
        V=(-58.9058427907, -61.1305454614, -57.0195868674, -59.0590755287),
    ),
}  # fmt: skip


@pytest.mark.parametrize("p", HASHED)
def test_the_hash_networks_of_the_spec(x64, p):
    """Section 6: integers exact, potentials to 1e-9, in double precision; and the budget of the mean potential."""
    net, start, events, *edges = hash_network(p)
    wanted = HASHED[p]
    assert tuple(edges) == wanted["edges"]
    run = net.run(400.0, 0.1, start=start, events=events, spikes=True, currents=True)
    step, neuron = run.spikes.step, run.spikes.neuron
    assert (step.size, np.sum(neuron < 160)) == wanted["spikes"]
    assert tuple(np.sum(step < k) for k in (1000, 2000, 4000)) == wanted["until"]
    if p == 0.05:
        assert list(zip(step, neuron, strict=True))[:5] == [(176, 105), (220, 108), (259, 33), (262, 80), (608, 92)]
    V = run.V
    np.testing.assert_allclose((V.mean(), V[999], V[3999], V[1000:].mean()), wanted["V"], rtol=0, atol=1e-9)
    synchrony = jnm.observe.spike_contrast(run.spikes.trains(), 400.0).synchrony
    assert synchrony == pytest.approx(wanted["contrast"], abs=1e-9)
    I = run.currents
    inward = -(I.synaptic - I.synaptic_held).sum(axis=1) / 10 - I.held * (-70 + 60)
    slope = (-70 - V[:-1] + inward[1:]) / 20 - I.reset[1:]
    np.testing.assert_allclose(np.diff(V) / 0.1, slope, rtol=0, atol=1e-10)


def test_single_precision_makes_the_same_spikes():
    """Spec: the same spikes and |dV| < 0.01 mV; and averages over intervals are averages."""
    net, start, events, *_ = hash_network(0.5)
    fine = net.run(400.0, 0.1, start=start, events=events, spikes=True)
    coarse = net.run(400.0, 0.1, start=start, events=events, save_every=2.0, spikes=True)
    assert fine.V.dtype == np.float32
    assert (fine.spikes.step.size, np.sum(fine.spikes.neuron < 160)) == HASHED[0.5]["spikes"]
    assert fine.V[3999] == pytest.approx(-57.0195868674, abs=0.01)
    np.testing.assert_allclose(coarse.V, fine.V.reshape(-1, 20).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(coarse.Phi, fine.Phi.reshape(-1, 20, 3).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(coarse.ts, fine.ts[19::20])


# --------------------------------------------------------------------------------------------------- external sources


def test_shared_sources_without_a_network():
    """p = 0, lambda = .8 (spec, section 6): <Phi_X> = .4 / ms, Var(Phi_X dt) = 3.398e-4, inhibitory at rest, 1.05 Hz."""
    net = LIFNetwork.preset("A", p=0.0, fraction_excitatory=0.8, n=2000, key=KEY, Q=0.0)
    start = net.init(KEY)
    start = start._replace(v=jnp.where(jnp.arange(2000) < 1600, start.v, -70.0))
    run = net.run(2000.0, 0.1, key=KEY, start=start)
    counts = run.Phi_X * 0.1
    reached = net.external_graph.dense().mean(axis=0)  # of each source
    expected = 5 * np.mean(reached)
    assert expected == pytest.approx(0.04, rel=4e-3)
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(3.398e-4 / 20_000))
    assert np.var(counts) == pytest.approx(5 * np.mean(reached**2), rel=0.04)
    assert 5 * np.mean(reached**2) == pytest.approx(3.398e-4, rel=0.01)
    np.testing.assert_array_equal(run.final.v[1600:], -70.0)
    assert np.mean(run.rate[5000:, 0]) * 1e3 == pytest.approx(1.05, abs=0.15)
    assert not np.any(run.rate[:, 1]) and not np.any(run.Phi_I)


# ------------------------------------------------------------------------------------------------- what is kept, asked


@pytest.fixture(scope="module")
def run_of_two():
    """A network that fires, its run of 160 ms in one go, and its key: more than one block."""
    net = small(p=0.9, nu=0.15)
    return net, net.run(160.0, 0.1, key=KEY, spikes=True, neurons=[3, 299])


def test_a_run_goes_on_as_if_it_had_not_stopped(run_of_two):
    net, whole = run_of_two
    first = net.run(110.5, 0.1, key=KEY, spikes=True, neurons=[3, 299])
    second = net.run(49.5, 0.1, key=KEY, start=first.final, spikes=True, neurons=[3, 299])
    for name in ("ts", "V", "Phi", "rate", "v"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(r, name) for r in (first, second)]))
    np.testing.assert_array_equal(whole.spikes.step, np.r_[first.spikes.step, second.spikes.step])
    np.testing.assert_array_equal(whole.spikes.neuron, np.r_[first.spikes.neuron, second.spikes.neuron])


def test_rates_and_inputs_are_those_of_the_spikes(run_of_two):
    net, run = run_of_two
    step, neuron = run.spikes.step, run.spikes.neuron
    assert len(step) > 500
    counts = np.zeros((1600, 300), int)
    counts[step, neuron] += 1
    assert counts.max() == 1 and np.all(np.diff(step) >= 0)
    np.testing.assert_allclose(run.rate[:, 0], counts[:, :240].sum(axis=1) / 240 / 0.1, rtol=1e-5)
    np.testing.assert_allclose(run.rate[:, 1], counts[:, 240:].sum(axis=1) / 60 / 0.1, rtol=1e-5)
    degree = net.graph.dense().sum(axis=0)
    np.testing.assert_allclose(run.Phi_E[1:], counts[:-1, :240] @ degree[:240] / 300 / 0.1, rtol=1e-5)
    np.testing.assert_allclose(run.Phi_I[1:], counts[:-1, 240:] @ degree[240:] / 300 / 0.1, rtol=1e-5)
    assert sum(len(train) for train in run.spikes.trains()) == len(step)
    np.testing.assert_allclose(run.spikes.trains([7])[0], step[neuron == 7] * 0.1)
    assert run.v.shape == (1600, 2) and np.all(run.v < -50.0)


@pytest.mark.parametrize("backend", ["cpu", pytest.param("gpu", marks=pytest.mark.slow)])
def test_runs_side_by_side_are_single_runs(run_of_two, backend, monkeypatch):
    """One by one on a processor; vectorised on an accelerator, here on what pretends to be one."""
    net, _ = run_of_two
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    keys = jax.random.split(KEY, 2)
    kept = dict(save_every=10.0, spikes=True, neurons=[3, 299])
    both = net.run(60.0, 0.1, key=keys, **kept)
    on = net.run(20.0, 0.1, key=keys, start=both.final, **kept)
    assert both.V.shape == (2, 6) and both.Phi.shape == (2, 6, 3) and on.ts[-1] == pytest.approx(80.0)
    for k in range(2):
        alone = net.run(60.0, 0.1, key=keys[k], **kept)
        np.testing.assert_array_equal(both.V[k], alone.V)
        np.testing.assert_array_equal(both.spikes[k].neuron, alone.spikes.neuron)
    assert np.any(both.V[0] != both.V[1])


def test_everyone_to_everyone_in_closed_form_is_the_graph_with_all_rows():
    closed = small(p=1.0, nu=0.15)
    rows = eqx.tree_at(lambda m: m.graph, closed, Graph.of(closed.graph.dense()))
    first, second = (net.run(30.0, 0.1, key=KEY, spikes=True, neurons=[3, 299]) for net in (closed, rows))
    assert closed.graph.rows is None and len(first.spikes.step) > 300
    np.testing.assert_array_equal(first.spikes.neuron, second.spikes.neuron)
    np.testing.assert_array_equal(first.Phi, second.Phi)
    np.testing.assert_allclose(first.V, second.V, rtol=1e-6)


def test_a_stimulus_is_current_in_pA_or_external_spikes(x64):
    """100 pA on 10 nS move the rest by 10 mV; 2 spikes per ms, a hundred times, g_X by their mean q Phi."""
    net = silent(2, v_th=0.0, v_reset=-70.0, q_X=0.01)
    push = jnm.Constant(100.0)
    start = net.init()._replace(v=jnp.full(2, -70.0))
    assert net.run(600.0, 0.1, start=start, stimulus=push).V[-1] == pytest.approx(-60.0, abs=1e-9)
    arrive = jnm.Constant(2.0, into="synaptic")
    half = LIFNetwork(net.graph, n_excitatory=1, Q=0.0, q_X=0.01)
    np.testing.assert_allclose(half.run(300.0, 0.1, start=start, stimulus=arrive).final.g_X, [0.02, 0.0], rtol=1e-9)


def test_simulate_runs_it_too(run_of_two):
    """The same network by the common loop, with other random numbers: the same means, within their scatter."""
    net, _ = run_of_two
    own = net.run(480.0, 0.1, key=KEY, spikes=True, neurons=[3, 299])
    sol = jnm.simulate(net, 480.0, 0.1, key=KEY, save=net.means)
    V, Phi, rate = (np.asarray(x[400:]) for x in sol.ys)
    assert np.mean(V) == pytest.approx(np.mean(own.V[400:]), abs=1.1)  # over keys it scatters by 0.25 either way
    np.testing.assert_allclose(Phi.mean(axis=0), own.Phi[400:].mean(axis=0), rtol=0.25)
    np.testing.assert_allclose(rate.mean(axis=0), own.rate[400:].mean(axis=0), rtol=0.25)


def test_presets_say_where_their_values_are_from():
    net = LIFNetwork.preset("B", p=0.1, fraction_excitatory=0.5, n=1000, sources=50, key=KEY)
    np.testing.assert_allclose((net.q_E, net.q_I, net.q_X, net.Q), (0.5, 2.5, 3.3, 500.0), rtol=1e-6)
    table = jnm.describe(net)
    assert table["q_E"].status == "chosen" and table["Q"].status == "chosen" and table["nu"].status == "paper"
    assert "unverified" in table["tau_m"].source and "second-hand" in table["tau_E"].source
    assert "Table 1" not in str(table)
    assert jnm.describe(LIFNetwork.preset("A", p=0.0, fraction_excitatory=0.5, n=9, key=KEY, g_L=9.0))[
        "g_L"
    ].status == ("set by you")


def test_a_graph_of_full_size_is_small():
    shape = jax.eval_shape(lambda: Graph.draw(KEY, 10_000, 10_000, 0.3, loops=False).rows)
    assert shape.size * shape.dtype.itemsize <= 12.5e6


def test_what_diverges_is_told():
    net = silent(5)
    with pytest.raises(RuntimeError, match="at t = 0.6 ms a potential is not finite"):
        net.run(2.0, 0.1, start=net.init(), stimulus=lambda t: jnm.Drive(current=jnp.where(t > 0.45, jnp.nan, 0.0)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: small("C"), "known are A, B"),
        (lambda: small(p=1.5), r"p = 1.5"),
        (lambda: LIFNetwork.preset("A", p=0.1, fraction_excitatory=-0.1, n=10, key=KEY), "fraction_excitatory"),
        (lambda: small(n=0), "at least one"),
        (lambda: LIFNetwork.preset("A", p=0.1, fraction_excitatory=0.5, n=10, sources=0, key=KEY), "at least one"),
        (lambda: LIFNetwork.preset("A", p=0.1, fraction_excitatory=0.5, n=50.0, key=KEY), "whole numbers"),
        (lambda: LIFNetwork.preset("A", p=0.1, fraction_excitatory=0.5, n=10**7, key=KEY), "GB"),
        (lambda: silent(tau_E=-3.0), "tau_E"),
        (lambda: silent(tau_ref=-1.0), "tau_ref"),
        (lambda: silent(Q=-1.0), "Q"),
        (lambda: silent(nu=-1.0), "nu"),
        (lambda: silent(v_reset=-50.0), "not above"),
        (lambda: silent(3, tau_m=[20.0, 20.0]), "shape"),
        (lambda: silent(tau_s=3.0), "unknown parameter"),
        (lambda: LIFNetwork(np.ones((3, 4))), "neuron, neuron"),
        (lambda: LIFNetwork(np.ones((3, 3)), np.ones((4, 3))), "external_graph"),
        (lambda: LIFNetwork(np.ones((3, 3)), n_excitatory=4), "n_excitatory"),
        (lambda: silent(Q=1.0).run(1.0, 0.1), "membrane noise"),
        (lambda: small(Q=0.0).run(1.0, 0.1), "external events"),
        (lambda: silent().run(1.0, 0.1, key=3), "key"),
        (lambda: silent().run(1.0, -0.1), "dt"),
        (lambda: silent().run(1.0, 0.1, save_every=0.25), "whole number"),
        (lambda: silent().run(1.0, 0.1, start=silent(2).init()), "start"),
        (lambda: silent().run(1.0, 0.1, neurons=[1]), "neurons"),
        (lambda: silent().run(1.0, 0.1, events=np.zeros((10, 1), int)), "no external_graph"),
        (lambda: small().run(1.0, 0.1, key=KEY, events=np.zeros((9, 1), int)), "events"),
        (lambda: small().run(1.0, 0.1, key=KEY, events=np.full((10, 1), 500)), "events"),
        (lambda: silent().run(1.0, 0.1, stimulus=jnm.Constant([1.0, 2.0])), "stimulus"),
    ],
)
def test_what_cannot_be_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
