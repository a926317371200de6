"""The linear cross-spectrum against oracles, and what WhittleLoss promises: smearing, weight, refusal, information."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.signal

import jnm
from jnm.fitting.csd_whittle import stable
from jnm.fitting.linear_csd import Recorded, cross_spectra, linear
from jnm.fitting.measured_csd import Sensing, projection
from jnm.fitting.resting import Rest, rest
from jnm.stability.field import flat, shaped
from jnm.studies.meg_recovery.brain import Brain

COLUMN = {"p": 0.4, "sigma": 1 / np.sqrt(1000)}  # sigma = 1 in units of seconds
NOW = jnp.zeros


@pytest.fixture
def oracle(data_dir):
    """Jansen-Rit at p = 400 /s: one-sided spectrum of y1 - y2, mV^2/Hz, computed by another program."""
    with np.load(data_dir / "meg" / "oracle_spectrum_jr.npz") as file:
        return file["freqs"], file["S_onesided_unit_sigma"]


def rates(r):
    return r.a, r.b, r.C


def test_spectrum_and_gradient_of_jansen_rit(x64, oracle):
    f_hz, S = oracle
    loss = jnm.WhittleLoss(None, (f_hz, S, 100.0), smear=1, band=(1.0, 60.0))
    column = jnm.JansenRit(**COLUMN)
    np.testing.assert_allclose(loss.csd(column)[:, 0, 0].real, S, rtol=1e-12)
    assert float(stable(column)) == pytest.approx(-1.74e-3, rel=1e-3)
    theta, build = jnm.free(column, rates)
    away = (theta[0] + 0.1, *theta[1:])
    both, h = jax.jit(jax.value_and_grad(lambda t: loss(build(t)))), 1e-5
    gradient = both(away)[1]
    for i in range(3):
        high, low = (tuple(x + s * h * (i == j) for j, x in enumerate(away)) for s in (1, -1))
        slope = (both(high)[0] - both(low)[0]) / (2 * h)
        assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-7)
    J, r = loss.scores(build, away)
    np.testing.assert_allclose(J.T @ r, -loss.data * np.array(gradient), rtol=1e-9)


def test_single_precision_loses_little(oracle):
    f_hz, S = oracle
    loss = jnm.WhittleLoss(None, (f_hz, S, 100.0), smear=1, band=(1.0, 60.0))
    theta, build = jnm.free(jnm.JansenRit(**COLUMN), rates)
    value, gradient = jax.jit(jax.value_and_grad(lambda t: loss(build(t))))((theta[0] + 0.1, *theta[1:]))
    assert value.dtype == gradient[0].dtype == jnp.float32
    np.testing.assert_allclose(gradient, (2.340856, 1.159000, -4.785976), rtol=2e-5)  # those in double precision
    assert float(jax.vmap(lambda key: loss(build(theta), key))(jax.random.split(jax.random.key(0), 2))[1]) < 1


def network(node, speed, gain):
    rng = np.random.default_rng(0)
    weights, lengths = rng.uniform(size=(3, 3)) * (1 - np.eye(3)), rng.uniform(20, 80, size=(3, 3))
    connectome = jnm.Connectome(weights / weights.sum(1, keepdims=True), lengths=lengths * (1 - np.eye(3)))
    return jnm.Network(node, connectome, jnm.Linear(gain=gain), speed=speed)


@pytest.mark.slow
def test_information_is_the_curvature(x64, oracle):
    """Where data equal the model, J^T J is minus the Hessian of log L."""
    loss = jnm.WhittleLoss(None, (*oracle, 100.0), smear=1, band=(1.0, 60.0))
    theta, build = jnm.free(jnm.JansenRit(**COLUMN), rates)
    J, r = loss.scores(build, theta)
    curvature = -np.array(jax.jit(jax.hessian(lambda t: loss.log_likelihood(build(t))))(theta))
    np.testing.assert_allclose(curvature, J.T @ J, rtol=1e-6)
    np.testing.assert_allclose(r, 0.0, atol=1e-9)


@pytest.mark.parametrize("speed", [None, 5.0])
def test_network_is_the_dense_linear_system(x64, speed):
    """H = C (i w - A0 - sum_j A_j e^(-i w tau_j))^-1 B, in NumPy, with Jacobians of the whole network."""
    net = network(jnm.PING(IE=2.0, sigma=0.05), speed, 5.0)
    f_hz, W = [3.0, 40.0], np.asarray(net.connectome.weights)

    @jax.jit
    def ours():
        point = rest(net)
        y = shaped(net, point.x)

        def both(x, s):
            drive = jnm.Drive(arrive=lambda own: s)
            y = shaped(net, x)
            return flat(net.drift(NOW(()), y, drive)), net.source(NOW(()), y, drive), net.output(NOW(()), y)

        s = W @ net.output(NOW(()), y)
        S = cross_spectra(linear(net, point, "source"), jnp.eye(3), jnp.asarray(f_hz))
        return S, jax.jacfwd(both, (0, 1))(point.x, s), point

    S, slopes, point = ours()
    (A0, A1), (C0, C1), (o, _) = jax.tree.map(np.asarray, slopes)
    sigma = np.asarray(flat(jax.tree.map(jnp.zeros_like, shaped(net, point.x))._replace(v=jnp.full((2, 3), 0.05))))
    assert bool(point.reached)
    for k, f in enumerate(f_hz):
        w = 2 * np.pi * f / 1000
        arriving = W * (1 if speed is None else np.exp(-1j * w * np.asarray(net.connectome.lengths) / speed)) @ o
        H = (C0 + C1 @ arriving) @ np.linalg.inv(1j * w * np.eye(len(A0)) - A0 - A1 @ arriving) * sigma
        np.testing.assert_allclose(S[k], 2e-3 * H @ H.conj().T, rtol=1e-9)
    if speed is None:
        whole = np.linalg.eigvals(A0 + A1 @ W @ o).real.max()
        assert float(jax.jit(stable)(net)) == pytest.approx(whole, rel=1e-9)


def test_derivatives_through_ninety_regions_come_to_an_end(x64):
    """Forward derivatives by four parameters against the closed form of identical columns. Stacks of 90 x 90 matrices
    stopped machines of two cores here for good."""
    brain, f_hz = Brain.on(jnm.datasets.connectome()), jnp.linspace(4.0, 30.0, 12)
    mixing = jnp.asarray(np.random.default_rng(0).normal(size=(4, 90)))
    size = brain.dipole(jnp.ones(1))[0]

    @jax.jit
    def general(theta):
        network = brain.at(theta).network
        S = size**2 * cross_spectra(linear(network, rest(network), "source"), mixing, f_hz)
        return jnp.stack([S.real, S.imag])

    re, im = np.moveaxis(jax.jacfwd(general)(brain.theta), -1, 2)
    _, wanted = jax.jit(lambda theta: brain.at(theta).slopes(mixing, f_hz))(brain.theta)
    np.testing.assert_allclose(re + 1j * im, wanted, atol=1e-10 * np.abs(wanted).max())


def test_delays_inside_what_is_around_a_network(x64):
    """Maps over a network keep its delays; a coloured current around one has no linear spectrum, and that is told."""
    plain, factor = network(jnm.PING(IE=2.0, sigma=0.05), 5.0, 5.0), np.array([0.1, -0.2, 0.1])
    written = network(jnm.PING(I=np.stack([2.0 * (1 + factor), 0 * factor]), sigma=0.05), 5.0, 5.0)
    model = jnm.network.Heterogeneous(plain, "I", factor, 1.0)
    point = rest(model)
    for ours, theirs in zip(linear(model, point, "source"), linear(written, point, "source"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    coloured = jnm.ColouredNoise(plain, tau=5.0, sigma=0.1)
    with pytest.raises(ValueError, match="ColouredNoise around a network with delays is not known"):
        linear(coloured, Rest(flat(coloured.init()), jnp.array(True)), "source")


@pytest.mark.slow
def test_exponents_with_delays_are_counted(x64):
    """Against the exponents of `dispersion`, for connections of one length: uncoupled rests may be stable or not."""
    ring = jnm.Connectome(np.roll(np.eye(3), 1, axis=0), lengths=np.full((3, 3), 30.0) * (1 - np.eye(3)))
    count = jax.jit(stable)
    for p, gain, speed, sign in [(0.36, 10.0, 1.0, 1), (0.36, 3.0, 0.6, -1), (0.3, 1.0, 5.0, 1), (0.36, 6.0, 1.0, 1)]:
        net = jnm.Network(jnm.JansenRit(p=p, sigma=0.01), ring, jnm.Linear(gain=gain), speed=speed)
        assert np.sign(np.max(jnm.stability.dispersion(net, line=-0.03).growth_rates)) == sign
        assert float(count(net)) == sign, (p, gain, speed)


def test_tapers_smear(x64, oracle):
    """The exact expectation of Hann periodograms, from the autocovariance; lines are half a bin wide here."""
    column, segment, dt = jnm.JansenRit(**COLUMN), 1000.0, 2.0
    f_hz = np.arange(4.0, 30.0)
    given = (f_hz, np.ones(len(f_hz)), 50.0)
    fine = np.arange(0, 250.0, 0.02)
    S = np.asarray(jnm.WhittleLoss(None, (fine[1:], np.ones(len(fine) - 1), 50.0), smear=1).csd(column))[:, 0, 0].real
    S = np.interp(fine, fine[1:-1], S)
    taper, n = scipy.signal.get_window("hann", 500), np.arange(500)
    lags = n * dt / 1000
    covariance = np.array([np.sum(S * np.cos(2 * np.pi * fine * lag)) * 0.02 for lag in lags])
    turned = taper * np.exp(-2j * np.pi * f_hz[:, None] * n * dt / 1000)
    exact = 2 * dt / 1000 / np.sum(taper**2) * np.einsum(
        "fi,ij,fj->f", turned, scipy.linalg.toeplitz(covariance), turned.conj()
    ).real  # fmt: skip
    smeared = jnm.WhittleLoss(None, given, segment=segment, band=(4.0, 30.0)).csd(column)[:, 0, 0].real
    plain = jnm.WhittleLoss(None, given, smear=1, band=(4.0, 30.0)).csd(column)[:, 0, 0].real
    np.testing.assert_allclose(smeared, exact, rtol=3e-3)
    assert np.max(np.abs(plain / exact - 1)) > 0.3


@pytest.mark.parametrize(("overlap", "ratio"), [(0.0, 1.40), (0.5, 1.43)])
def test_weight_is_that_of_tapers_and_overlap(overlap, ratio):
    """The level of white noise: its estimate is the mean of S / S_y, whose scatter over 1000 recordings must be 1/sqrt(w F)."""
    x = np.random.default_rng(3).normal(size=(1000, 2000))
    f_hz, S = scipy.signal.welch(x, 1000.0, nperseg=200, noverlap=int(200 * overlap))
    inside = (f_hz > 15) & (f_hz < 485)
    estimates = S[:, inside].mean(axis=1) * 500
    loss = jnm.WhittleLoss(None, x[0], dt=1.0, segment=200.0, overlap=overlap, band=(15.0, 485.0))
    claimed = 1 / np.sqrt(loss.weight * loss.size)
    assert estimates.std() == pytest.approx(claimed, rel=0.06)
    segments = 1 + (2000 - 200) / (200 * (1 - overlap))
    assert estimates.std() * np.sqrt(segments * loss.size) == pytest.approx(ratio, rel=0.07)


def wishart(S, averages, seed=0):
    """Measured cross-spectra of so many independent segments."""
    rng = np.random.default_rng(seed)
    half = np.linalg.cholesky(S)
    z = rng.normal(size=(len(S), S.shape[1], averages, 2)) @ np.array([1, 1j]) / np.sqrt(2)
    y = half @ z
    return y @ y.conj().swapaxes(1, 2) / averages


@pytest.mark.slow
def test_many_sensors_lose_nothing_to_projection(x64):
    """12 channels of 3 regions: 3 whitened components have the gradient of all channels; near 1 at the truth."""
    rng = np.random.default_rng(1)
    G, f_hz = rng.normal(size=(12, 3)), np.arange(5.0, 40.0, 1.0)
    net = network(jnm.JansenRit(p=0.4, sigma=0.02), None, 1.0)
    density = rng.uniform(0.5, 2.0, 12) * 1e-6
    given = (f_hz, np.tile(np.eye(12), (35, 1, 1)), 60.0)
    whole = jnm.WhittleLoss(lambda q: jnp.asarray(G) @ q, given, noise=density, band=(5.0, 40.0))
    S = wishart(np.asarray(whole.csd(net)), 60)
    whole = jnm.WhittleLoss(lambda q: jnp.asarray(G) @ q, (f_hz, S, 60.0), noise=density, band=(5.0, 40.0))
    loss = jnm.WhittleLoss(G, (f_hz, S, 60.0), noise=density, band=(5.0, 40.0))
    assert whole.S.shape[2] == 12 and loss.S.shape[2] == 3
    theta, build = jnm.free(net, lambda m: (m.node.a, m.coupling.gain), domains=(None, jnm.Positive()))
    away = (theta[0] + 0.01, theta[1] + 0.1)
    slopes = [jax.grad(lambda t, one=one: one.log_likelihood(build(t)))(away) for one in (whole, loss)]
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-6)
    assert float(loss(net)) == pytest.approx(1.0, abs=0.03) and float(whole(net)) == pytest.approx(1.0, abs=0.02)
    assert float(loss(build(away))) > float(loss(net))


def test_through_a_real_lead_field(x64, data_dir):
    """Three regions of a real head: the loss of whitened components against the dense Gaussian of all magnetometers."""
    sample = data_dir / "recordings" / "sample"
    lead = jnm.meg.LeadField.from_mne(sample / "sample-oct4-meg-fwd.fif", sample / "sample-parcels.json")
    lead = lead.select(["parcel-2", "parcel-18", "parcel-88"])
    lead = lead.pick([name for name, kind in zip(lead.ch_names, lead.ch_types, strict=True) if kind == "mag"])
    f_hz, G = np.arange(6.0, 60.0, 6.0), np.asarray(lead.gain)
    weights = np.roll(np.eye(3), 1, axis=0)

    def chain(eta):
        node = jnm.NMM2(15.0, 5.0, 1.0, eta, 4.0, sigma=0.03)
        return Recorded(jnm.Network(node, jnm.Connectome(weights), jnm.Linear(2.0)), jnm.meg.Dipole.qif(cells=4e6))

    def dense(eta, S):
        """- log L over the number of data, up to a constant, of all channels: A as a matrix of the whole flow."""
        brain, dipole = chain(eta).model, chain(eta).dipole
        point = rest(brain)
        A = np.asarray(jax.jacfwd(lambda x: flat(brain.drift(NOW(()), shaped(brain, x), jnm.Drive())))(point.x))
        C = np.asarray(jax.jacfwd(lambda x: dipole(brain.source(NOW(()), shaped(brain, x), jnm.Drive())))(point.x))
        B = np.zeros((12, 3))
        B[3:6] = 0.03 * np.eye(3)  # on v, after r
        total = 0.0
        for f, seen in zip(f_hz, S, strict=True):
            H = G @ C @ np.linalg.solve(2j * np.pi * f / 1000 * np.eye(12) - A, B)
            expected = 2e-3 * H @ H.conj().T + 9.0 * np.eye(len(G))
            total += np.linalg.slogdet(expected)[1] + np.trace(np.linalg.solve(expected, seen)).real
        return total

    S = wishart(np.tile(9.0 * np.eye(len(G)), (len(f_hz), 1, 1)) + 2.0 * G @ G.T, 40)
    loss = jnm.WhittleLoss(lead, (f_hz, S, 40.0), noise=9.0, smear=1, band=(5.0, 60.0), components=3)
    here, there = (float(loss(chain(eta))) * loss.size for eta in (-0.8, -0.5))
    assert there - here == pytest.approx(dense(-0.5, S) - dense(-0.8, S), rel=1e-6)
    theta, build = jnm.free(chain(-0.8), lambda r: (r.model.node.eta, r.dipole.log_scale))
    slope = jax.grad(lambda t: loss(build(t)))(theta)
    step = (float(loss(chain(-0.8 + 1e-4))) - float(loss(chain(-0.8 - 1e-4)))) / 2e-4
    assert float(slope[0]) == pytest.approx(step, rel=1e-5) and np.isfinite(slope[1])


def test_units_are_not_mixed_by_one_noise():
    """One density for fT and fT/cm means nothing; one of each channel does, and a lead of one unit takes either."""
    sensors = jnm.meg.Sensors.canonical().pick(["MEG 0111", "MEG 0112", "MEG 0121"])
    lead = jnm.meg.LeadField.sphere([[0.0, 50.0, 75.0]], [[1.0, 0.0, 0.0]], sensors, [0.0, 0.0, 45.0])
    f_hz, S = np.arange(9.0), np.tile(np.eye(3), (9, 1, 1))
    for noise in (1.0, lambda f: np.ones(len(f))):
        with pytest.raises(ValueError, match=r"one density of noise for channels of different units \(fT, fT/cm\)"):
            jnm.WhittleLoss(lead, (f_hz, S, 5.0), noise=noise)
    assert jnm.WhittleLoss(lead, (f_hz, S, 5.0), noise=np.ones(3)).size == 7
    mags = lead.pick(["MEG 0111", "MEG 0121"])
    assert jnm.WhittleLoss(mags, (f_hz, S[:, :2, :2], 5.0), noise=1.0).size == 7


def test_noise_after_projectors_is_whitened_in_its_rank():
    """In single precision, in which the directions that projectors took out have rounding for variance."""
    rng = np.random.default_rng(0)
    channels, taken = 40, 3
    U = np.linalg.qr(rng.normal(size=(channels, taken)))[0]
    P = np.eye(channels) - U @ U.T
    noise = P @ np.diag(rng.uniform(5.0, 20.0, channels)) @ P
    G = P @ rng.normal(size=(channels, 2))
    seen = projection(Sensing(G, np.float32(noise)[None].astype(float)), 8)
    assert seen is not None and seen.shape == (2, channels)
    np.testing.assert_allclose((seen @ G).T @ (seen @ G), G.T @ np.linalg.pinv(noise, rcond=1e-9) @ G, rtol=1e-4)
    with pytest.raises(ValueError, match="no variance for channel 1"):
        projection(Sensing(np.ones((2, 1)), np.diag([1.0, 0.0])[None]), 1)


def test_unstable_rests_are_refused(oracle):
    loss = jnm.WhittleLoss(None, (*oracle, 100.0), band=(1.0, 60.0))
    with pytest.raises(ValueError, match=r"unstable \(largest real part 0.000852 /ms\)"):
        loss(jnm.JansenRit(p=0.2, sigma=0.03))
    theta, build = jnm.free(jnm.JansenRit(p=0.2, sigma=0.03), lambda m: m.a)
    assert np.isinf(float(jax.jit(lambda t: loss(build(t)))(theta)))
    with pytest.raises(ValueError, match="loss at the start is not finite"):
        jnm.fit(loss, theta, build, optax.adam(0.1), 3, jax.random.key(0))
    with pytest.raises(ValueError, match="has no noise"):
        loss(jnm.JansenRit(p=0.4))
    with pytest.raises(ValueError, match="singular"):
        two = (oracle[0], np.tile(np.eye(2), (118, 1, 1)), 9.0)
        jnm.WhittleLoss(np.ones((2, 1)), two)(jnm.JansenRit(**COLUMN))


@pytest.mark.slow
def test_hyperchaotic_ping_is_refused(oracle):
    """IE = 12 and coupling 8, where the 90-region network is hyperchaotic."""
    loss = jnm.WhittleLoss(np.ones((1, 3)), (*oracle, 100.0), noise=1.0, band=(1.0, 60.0))
    with pytest.raises(ValueError, match="unstable"):
        loss(network(jnm.PING(IE=12.0, sigma=0.05), None, 8.0))


@pytest.mark.slow
def test_recorded_frees_gain_and_noise(x64, oracle):
    """A gain on the dipole scales the spectrum, exactly; log_noise the density of the sensors."""
    loss = jnm.WhittleLoss(None, (*oracle, 100.0), noise=1e-4, smear=1, band=(1.0, 60.0))
    column, dipole = jnm.JansenRit(**COLUMN), jnm.meg.Dipole.psp(log_scale=0.3)
    seen = loss.csd(Recorded(column, dipole, log_noise=0.2))[:, 0, 0].real
    scale = float(dipole(jnp.ones(1))[0])
    np.testing.assert_allclose(seen, scale**2 * oracle[1] + 1e-4 * np.exp(0.2), rtol=1e-10)
    theta, build = jnm.free(Recorded(column, dipole), lambda r: (r.model.a, r.dipole.log_scale))
    assert np.isfinite(jax.grad(lambda t: (0.5 * loss + loss)(build(t), jax.random.key(0)))(theta)).all()


ONES = np.ones((100, 2))


@pytest.mark.parametrize(
    ("observed", "arguments", "message"),
    [
        (np.ones((500, 2)), {}, "wants dt="),
        ((np.arange(9.0), np.ones(9)), {}, "tuple of 2"),
        ((np.arange(9.0) ** 2, np.ones(9), 5.0), {}, "evenly spaced"),
        ((np.arange(9.0), np.ones((9, 2)), 5.0), {}, "evenly spaced"),
        ((np.arange(9.0), np.ones(9), 5.0), {"segment": 500.0}, "1 Hz apart: 1000 ms"),
        ((np.arange(9.0), np.ones(9), 5.0), {"band": (20.0, 30.0)}, "no frequency counts"),
        ((np.arange(9.0), np.zeros(9), 5.0), {}, "without power"),
        ((np.arange(9.0), np.ones(9), 5.0), {"noise": -1.0}, "negative"),
        ((np.arange(9.0), np.ones(9), 5.0), {"noise": np.ones(3)}, r"noise has shape \[3\]"),
        ((np.arange(9.0), np.ones(9), 5.0), {"lead": np.ones((3, 3))}, r"lead field has shape \[3, 3\]"),
        ((np.arange(9.0), np.ones(9), 5.0), {"smear": 0}, "smear = 0"),
    ],
)  # fmt: skip
def test_observations_that_do_not_fit(observed, arguments, message):
    with pytest.raises(ValueError, match=message):
        jnm.WhittleLoss(arguments.pop("lead", None), observed, **arguments)
