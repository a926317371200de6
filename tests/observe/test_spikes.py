"""Spike-contrast against numbers that equal Elephant's and its definition in NumPy; counts against Poisson theory."""

import warnings

import numpy as np
import pytest

from jnm.observe import count_correlation, fano_factor, functional_connectivity, spike_contrast, spike_counts


def poisson(rng, rates, t1, share=0.0):
    """Poisson trains, 1/ms; a share of each one's spikes comes from one common train of the mean rate."""
    common = rng.uniform(0, t1, rng.poisson(np.mean(rates) / max(share, 1e-9) * t1)) if share else np.empty(0)
    own = [rng.uniform(0, t1, rng.poisson((1 - share) * r * t1)) for r in rates]
    return [np.sort(np.append(x, common[rng.random(len(common)) < share**2])) for x in own]


def ciba(trains, t0, t1, least_bin=1.0, shrink=0.9):
    """Ciba et al. (2018) train by train and bin by bin, as lif-and-freeman.md section 3 puts it down."""
    trains = [np.asarray(x) for x in trains]
    isi = min(np.diff(x).min() for x in trains if len(x) > 1)
    values, b = [], (t1 - t0) / 2
    while b >= max(isi / 2, least_bin):
        edges = np.arange(t0 - isi, t1 + isi + b / 2, b / 2)
        halves = np.array([np.histogram(x, edges)[0] for x in trains])
        counts = halves[:, :-1] + halves[:, 1:]
        theta, n = counts.sum(0), (counts > 0).sum(0)
        active = (np.sum(n * theta) / np.sum(theta) - 1) / (len(trains) - 1)
        values.append(active * np.sum(np.abs(np.diff(theta))) / (2 * sum(map(len, trains))))
        b *= shrink
    return np.array(values)


@pytest.mark.parametrize("seed", range(4))
def test_spike_contrast_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    trains = [np.round(x, 1) for x in poisson(rng, rng.uniform(0, 0.05, 30), 900.0, share=0.2 * seed)] + [[]]
    trains = [np.unique(x) + 50.0 for x in trains]
    found = spike_contrast(trains, 950.0, t0=50.0)
    wanted = ciba(trains, 50.0, 950.0)
    np.testing.assert_allclose(found.curve, wanted, rtol=0, atol=1e-12)
    assert found.synchrony == pytest.approx(wanted.max(), abs=1e-12)
    assert found.bin == found.bins[np.argmax(wanted)]


def mix(x):
    """The hash of lif-and-freeman.md section 6."""
    x = np.array(x, np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    return x ^ (x >> np.uint32(16))


def hash_network(fraction_excitatory, p, N=200, M=10_000, steps=4000, dt=0.1):
    """The deterministic spiking network of lif-and-freeman.md section 6 (set A): spike times of each neuron, ms."""
    neuron, is_E = np.arange(N), np.arange(N) < round(fraction_excitatory * N)
    A = (mix(np.add.outer(neuron * N, neuron) + 1) < int(p * 2**32)) & (neuron[:, None] != neuron)
    B = (mix(np.add.outer(np.arange(M) * N, neuron) + 1_000_003) < int(0.01 * 2**32)) & is_E
    sources = mix(np.add.outer(5 * np.arange(steps), np.arange(5)) + 777) % M
    q, tau, reversal = (np.array(x)[:, None] for x in ([2.5, 12.5, 5.0], [3.0, 7.0, 5.0], [0.0, -80.0, 0.0]))
    v, g, held, fired, trains = -60 + 10 * neuron / N, np.zeros((3, N)), np.zeros(N, int), np.zeros(N, bool), []
    for step in range(steps):
        counts = np.stack([A[fired & is_E].sum(0), A[fired & ~is_E].sum(0), B[sources[step]].sum(0)])
        v = np.where(held > 0, -60, v + dt / 20 * (-(v + 70) - np.sum(g * (v - reversal), axis=0) / 10))
        fired = (held == 0) & (v >= -50)
        v, held = np.where(fired, -60, v), np.where(fired, 50, np.maximum(held - 1, 0))
        g += -dt / tau * g + q / tau * counts
        trains.append(fired)
    return [np.flatnonzero(x) * dt for x in np.array(trains).T]


@pytest.mark.parametrize("rate", [0.005, 0.05])
def test_spike_contrast_is_elephants(rate):
    rng = np.random.default_rng(0)
    common = np.sort(rng.uniform(0.0, 1_000.0, int(1_000 * rate)))
    trains = [np.sort(np.clip(common + rng.normal(0.0, 4.0, common.size), 0.1, 999.9)) for _ in range(20)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Elephant's own imports
        import elephant.spike_train_synchrony as elephant
        import neo
        import quantities as pq
    theirs = elephant.spike_contrast(
        [neo.SpikeTrain(train * pq.ms, t_stop=1_000.0 * pq.ms) for train in trains], min_bin=1 * pq.ms
    )
    assert spike_contrast(trains, 1_000.0).synchrony == pytest.approx(theirs, abs=1e-10)


@pytest.mark.parametrize(("p", "spikes", "synchrony"), [(0.05, 85, 0.0341646312), (0.5, 961, 0.8445653184)])
def test_spike_contrast_of_the_specification(p, spikes, synchrony):
    """lif-and-freeman.md section 6: rasters and values that two implementations and Elephant agree on."""
    trains = hash_network(0.8, p)
    assert sum(map(len, trains)) == spikes
    assert spike_contrast(trains, 400.0).synchrony == pytest.approx(synchrony, abs=1e-10)


def test_equal_regular_trains_are_synchronous_and_independent_ones_are_not():
    regular = np.arange(25.0, 1000.0, 50.0)
    assert spike_contrast([regular] * 10, 1000.0).synchrony == pytest.approx(1.0)
    assert spike_contrast(poisson(np.random.default_rng(0), [0.02] * 10, 5000.0), 5000.0).synchrony < 0.25


def test_jitter_makes_common_events_less_synchronous():
    rng, events = np.random.default_rng(0), np.arange(100.0, 20_000.0, 200.0)
    found = [
        spike_contrast([np.sort(events + rng.normal(0, jitter, len(events))) for _ in range(30)], 20_000.0).synchrony
        for jitter in (0.0, 2.0, 20.0, 60.0)
    ]
    assert found[0] > 0.99 and found[1] > 0.97 and 0.6 < found[2] < 0.85 and found[3] < 0.4


def test_counts_are_numpys_and_an_edge_belongs_to_its_right():
    trains = [np.array([0.0, 0.3, 9.9, 10.0, 29.9, 30.0, 34.0]), np.array([]), np.arange(0, 350) * 0.1]
    counts = spike_counts(trains, 35.0, 10.0)
    np.testing.assert_array_equal(counts, [[3, 0, 100], [1, 0, 100], [1, 0, 100]])


def test_poisson_trains_have_fano_factor_one_and_no_correlation():
    trains = poisson(np.random.default_rng(0), np.linspace(0.005, 0.05, 40), 20_000.0)
    fano, correlation = fano_factor(trains, 20_000.0, 50.0), count_correlation(trains, 20_000.0, 50.0)
    assert fano.mean == pytest.approx(1.0, abs=4 * fano.standard_error) and fano.standard_error < 0.02
    assert correlation.mean == pytest.approx(0.0, abs=4 * correlation.standard_error)
    assert correlation.standard_error < 0.005


def test_common_spikes_correlate_by_their_share():
    """Each train takes a spike of the common one with probability q = share^2: covariance is rate q^2, variance rate q."""
    rng, share, rate = np.random.default_rng(1), 0.5, 0.04
    trains = poisson(rng, [rate] * 30, 50_000.0, share=share)
    common, own = rate / share, (1 - share) * rate  # 1/ms
    wanted = common * share**4 / (common * share**2 + own)
    found = count_correlation(trains, 50_000.0, 20.0)
    assert found.mean == pytest.approx(wanted, abs=4 * found.standard_error)
    assert found.standard_error < 0.1 * wanted


def test_statistics_are_those_of_numpy():
    counts_of = poisson(np.random.default_rng(2), [0.01, 0.02, 0.03], 4000.0, share=0.4)
    counts = spike_counts([*counts_of, []], 4000.0, 40.0)[:, :3]
    pairs = np.triu_indices(3, 1)
    assert fano_factor([*counts_of, []], 4000.0, 40.0).mean == pytest.approx(
        np.mean(counts.var(axis=0, ddof=1) / counts.mean(axis=0))
    )
    found = count_correlation([*counts_of, []], 4000.0, 40.0).mean
    assert found == pytest.approx(np.corrcoef(counts.T)[pairs].mean())
    assert found == pytest.approx(np.asarray(functional_connectivity(counts))[pairs].mean(), abs=1e-6)


def test_standard_errors_are_those_of_repeats():
    """Scatter over 200 records of neurons with common spikes, beside the mean standard error that each gives itself."""
    rng = np.random.default_rng(5)
    records = [poisson(rng, [0.03] * 10, 4000.0, share=0.6) for _ in range(200)]
    for statistic in (fano_factor, count_correlation):
        found = np.array([statistic(trains, 4000.0, 20.0) for trains in records])
        assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.2)


def test_an_average_that_hangs_on_one_stretch_has_no_finite_error():
    trains = [[1.0, 2.0], [1.5], []]
    assert fano_factor(trains, 100.0, 10.0).standard_error == np.inf
    found = count_correlation(trains, 100.0, 10.0)
    assert found.mean == pytest.approx(1.0) and found.standard_error == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spike_contrast([[1.0, 2.0]], 10.0), "at least two trains"),
        (lambda: spike_contrast([[1.0], [2.0]], 10.0), "two spikes"),
        (lambda: spike_contrast([[1.0, 2.0], [30.0, 20.0]], 50.0), "train 1.*ascending"),
        (lambda: spike_contrast([[1.0, np.nan], [2.0]], 10.0), "train 0.*finite"),
        (lambda: spike_contrast([[1.0, 2.0], [2.0]], 10.0, least_bin=6.0), "longer record"),
        (lambda: spike_contrast([[1.0, 2.0], [2.0]], 10.0, shrink=1.0), "0 < shrink < 1"),
        (lambda: spike_contrast([], 10.0), "wanted trains"),
        (lambda: spike_counts([[1.0]], 10.0, 6.0), "two or more"),
        (lambda: spike_counts([[1.0]], 0.0, 6.0), "t1 after t0"),
        (lambda: fano_factor([[], []], 10.0, 1.0), "no neuron fires"),
        (lambda: count_correlation([[1.0], []], 10.0, 1.0), "1 neurons change"),
    ],
)
def test_impossible_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
