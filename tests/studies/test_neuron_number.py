"""The effective number of neurons: the expected record, the one channel that says it all, and what is told of n."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import jnm
from jnm.meg import LeadField, SensorNoise
from jnm.stability import closed_loop_psd, transfer_function
from jnm.studies import neuron_number_record as record
from jnm.studies.finite_population import FinitePopulation
from jnm.studies.neuron_number import neuron_number, neuron_number_study
from jnm.studies.neuron_number_bound import neuron_bound
from jnm.studies.neuron_number_fit import _score, misfit
from jnm.studies.neuron_number_model import (
    KNOWN,
    Beyond,
    DipoleRecord,
    Expected,
    Protocol,
    Setting,
    centre,
    expected,
    slopes,
)
from jnm.studies.neuron_number_record import DipoleView, beyond_linear

MODEL = dict(eta=0.0, C=8.0)
CHANNELS = tuple("abcdef")


@pytest.fixture(scope="module")
def view():
    """Six magnetometers whose noise is correlated and, as after projectors, of rank 5."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((6, 5))
    gain = mixing @ rng.standard_normal((5, 2))  # projectors take the same dimension out of the fields
    places = jnp.zeros((6, 3))
    lead = LeadField(jnp.asarray(gain), places, jnp.zeros((2, 3)), None, CHANNELS, ("mag",) * 6, ("left", "right"))
    return DipoleView.of(lead, SensorNoise(jnp.asarray(mixing), CHANNELS, ("mag",) * 6), "right")


def made_setting(noise=0.8):
    protocol = Protocol()
    population = FinitePopulation.of(jnm.Pyramidal(**MODEL), 1e4)
    return Setting(population, noise * jnp.ones(len(protocol.f_hz) + len(protocol.lines_hz)), protocol, KNOWN)


def test_view(view):
    """Least noise without bias: the generalised least squares of one regressor; its density against noise that is drawn."""
    G, M = np.asarray(view.topography, float), np.asarray(view.noise.mixing, float)
    inverse = np.linalg.pinv(M @ M.T, rcond=1e-5)
    np.testing.assert_allclose(view.filter, inverse @ G / (G @ inverse @ G), rtol=1e-3, atol=1e-5)
    density = view.density(np.array([10.0, 50.0]))
    np.testing.assert_allclose(density, 1 / (G @ inverse @ G), rtol=1e-3)
    Q = jnp.sin(jnp.arange(20_000) / 50.0)
    seen = view.moment(view.sensors(jax.random.key(0), Q, sfreq=500.0)) - Q
    assert float(jnp.var(seen)) == pytest.approx(density[0] * 250, rel=0.03)  # s.e. 1 %
    assert view.louder(4.0).density(np.array([10.0]))[0] == pytest.approx(4 * density[0], rel=1e-5)


def test_expected(x64):
    """Answer and power against the transfer function and the closed-loop spectrum of the stability room."""
    setting = made_setting()
    model, protocol = setting.population.model, setting.protocol
    is_ = expected(centre(setting).at[3].set(jnp.log(700.0)), setting)
    H = transfer_function(model, jnp.asarray(protocol.lines_hz), output="source").value
    np.testing.assert_allclose(is_.evoked, 700.0 * H * protocol.coefficients, rtol=1e-9)
    rate = closed_loop_psd(model, jnp.asarray(protocol.f_hz), 1e4).value
    low_pass = 1 / (1 + (2 * np.pi * protocol.f_hz / 1000 * float(model.tau_s)) ** 2) ** 2
    np.testing.assert_allclose(is_.ongoing, 0.8 + (700.0 * 15.0 * 8.0) ** 2 * low_pass * rate, rtol=1e-9)
    few = expected(centre(setting).at[3].set(jnp.log(700.0)), setting._replace(beyond=Beyond(200.0, 3.0)))
    more = few.ongoing - 0.8
    variance = np.sum((15.0 * 8.0) ** 2 * low_pass * rate) * 2.0  # bins are 2 Hz wide
    np.testing.assert_allclose(more / (is_.ongoing - 0.8), 1 + 200 * variance, rtol=1e-7)
    assert is_.variance[3] == pytest.approx(float(is_.ongoing[6]) / 40, rel=1e-12)  # 16 Hz; twice 20 s
    scatter = few.variance[3] - few.ongoing[6] / 40  # of 10,000 neurons
    assert float(scatter) == pytest.approx(3.0 * 16 / 1e4 * float(jnp.abs(is_.evoked[3])) ** 2, rel=1e-9)


def test_score(x64):
    """The gradient of scoring against finite differences of the likelihood, with few neurons too."""
    setting = made_setting()._replace(beyond=Beyond(200.0, 3.0))
    theta = centre(setting).at[3].set(7.0)
    is_ = expected(theta, setting)
    record = DipoleRecord(is_.evoked * (1.1 + 0.1j), is_.ongoing * 1.3)
    theta = theta + jnp.array([0.1, -0.2, 0.1, 0.05, -0.1, 0.02])
    score = _score(expected(theta, setting), slopes(theta, setting), theta, record, setting)

    def at(x):
        return misfit(expected(x, setting), x, record, setting)

    for k, h in enumerate(1e-5 * np.eye(6)):
        assert -(at(theta + h) - at(theta - h)) / 2e-5 == pytest.approx(float(score[k]), rel=1e-5, abs=1e-4)


def test_protocol(x64):
    protocol = Protocol(trials=2, record_ms=1000.0)
    fine = np.where((np.arange(250_000) + 0.5) * 0.001 < protocol.width_ms, protocol.pulse, 0.0)
    half = np.exp(-2j * np.pi * protocol.lines_hz / 1000 * 0.0005)  # samples stand in the middle of their intervals
    k = np.rint(protocol.lines_hz / 4).astype(int)
    np.testing.assert_allclose(protocol.coefficients, half * np.fft.rfft(fine)[k] / 250_000, atol=1e-9)
    t = protocol.sample_ms * np.arange(1, 251)
    seen = protocol.seen(np.cos(2 * np.pi * 0.02 * np.arange(500)), 3 * np.sin(2 * np.pi * 0.008 * t))
    np.testing.assert_allclose(seen.evoked, np.where(protocol.lines_hz == 8.0, -1.5j, 0.0), atol=1e-12)
    assert protocol.f_hz[np.argmax(seen.ongoing)] == 10.0
    with pytest.raises(ValueError, match="whole number of pulse widths"):
        Protocol(width_ms=7.0)


def test_what_is_told(view):
    """Without pulses, and with pulses of unknown strength, n cannot be told; with known ones it can."""
    model = jnm.Pyramidal(**MODEL)
    ongoing = neuron_bound(view, model, 1e4, 1000.0, evoked=False)
    assert ongoing.blind == (("gain", "n"),) and "gain and n cannot be told apart" in ongoing.words()
    unknown = neuron_bound(view, model, 1e4, 1000.0, pulse_known=False)
    assert unknown.blind == (("gain", "n", "pulse"),)
    both = neuron_bound(view, model, 1e4, 1000.0)
    assert both.blind == () and both.sd["n"] < 0.15


@pytest.fixture(scope="module")
def study(view):
    """A strong, and a lost dipole; drawn from the likelihood."""
    return neuron_number_study(
        view, jax.random.key(3), n=(1e4, 1e4), gain=(1000.0, 3.0), seeds=3, source="theory",
        protocol=Protocol(band=(20.0, 80.0)),
    )  # fmt: skip


@pytest.mark.slow
def test_answers(study):
    """Told where the field is strong; where it is not, "unidentified", with what can be said."""
    assert study.identified.tolist() == [1.0, 0.0]
    assert np.all(np.abs(np.log(study.n[0] / 1e4)) < 0.5)
    assert "more than" in str(study.found[1][0]) or "unidentified" in str(study.found[1][0])
    assert "theory" in str(study) and study.to_xarray()["n"].shape == (2, 3)
    plt.close(study.plot())


def test_bad_input(view):
    model = jnm.Pyramidal(**MODEL)
    with pytest.raises(ValueError, match="80 periods"):
        neuron_number(jnp.zeros((500, 6)), jnp.zeros((500, 6)), view, model)
    with pytest.raises(ValueError, match="source = 'noise'"):
        neuron_number_study(view, jax.random.key(0), source="noise")  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_coverage(view):
    """90 % intervals hold the truth 83 to 97 times of 100, records drawn from the likelihood."""
    study = neuron_number_study(view, jax.random.key(10), n=(1e3, 1e4, 1e5), seeds=100, source="theory")
    assert np.all((study.coverage >= 0.83) & (study.coverage <= 0.97)), str(study)
    assert np.all(study.median_error < 0.25), str(study)


def test_what_many_networks_tell_of_few_neurons():
    """Power that grows with the variance of the source, answers that scatter: drawn as they should be, found again."""
    rng, protocol = np.random.default_rng(0), Protocol()
    wanted = [Expected(np.full(25, 2.0 + 0j), np.full(25, 1e-3), np.full(49, x)) for x in rng.uniform(1e-6, 1e-5, 400)]  # pyright: ignore
    sd = np.sqrt((1e-3 + 4 * 2.5 * protocol.lines_hz / 1000) / 2)
    found = [
        DipoleRecord(w.evoked + sd * (rng.standard_normal((2, 25)).T @ [1, 1j]), w.ongoing * (1 + 200 * 98 * w.ongoing))
        for w in wanted
    ]
    assert record._excess(wanted, found, protocol) == pytest.approx(200, rel=1e-6)  # 49 bins of 2 Hz
    assert record._scatter(wanted, found, 1000, protocol) == pytest.approx(2.5, rel=0.05)  # s.e. 1 %


@pytest.mark.slow
def test_beyond_linear():
    """A thousand neurons have more power than the theory of first order, and answers of their own."""
    found = beyond_linear(jnm.Pyramidal(**MODEL), jax.random.key(77), draws=20)
    assert 100 < found.power < 300 and 1.0 < found.answer < 6.0


@pytest.mark.slow
@pytest.mark.parametrize("n", [1e3, 1e5])
def test_neurons(view, n):
    """Spikes: neurons themselves, and a virtual ensemble; within three standard deviations of the truth."""
    study = neuron_number_study(view, jax.random.key(4), n=n, seeds=3)
    sd = neuron_bound(view, jnm.Pyramidal(**MODEL), n, 1000.0).sd["n"]
    assert np.all(np.abs(np.log(study.n / n)) < 3 * sd), str(study)
