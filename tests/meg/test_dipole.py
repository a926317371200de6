"""The scale from a model's current to nA m, against the constants of the specification and by hand in SI."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.meg import Dipole, LeadField, Sensors


@pytest.mark.parametrize(
    ("diameter_um", "fA_m_per_mV"), [(1.0, 0.52), (2.0, 2.09), (3.0, 4.71), (4.0, 8.38), (5.0, 13.1)]
)
def test_dendrite_turns_potential_into_dipole(diameter_um, fA_m_per_mV):
    one_cell = Dipole.psp(cells=1.0, alignment=1.0, diameter_um=diameter_um)
    np.testing.assert_allclose(one_cell(jnp.ones(1)) * 1e6, fA_m_per_mV, rtol=8e-3)  # as printed, two or three digits


def test_defaults_of_potential_models():
    assert float(Dipole.psp().nA_m_per_unit) == pytest.approx(0.118, abs=5e-4)
    np.testing.assert_allclose(Dipole.psp()(jnp.asarray([5.0])), 0.6, atol=0.02)


def test_current_models_in_si():
    capacitance, voltage, tau, lever = 200e-12, 10e-3, 20e-3, 0.4e-3  # F, V, s, m
    wanted = 1e5 * 0.3 * lever * capacitance * voltage / tau  # A m
    got = Dipole.qif(cells=1e5, alignment=0.3, lever_mm=0.4, tau_m=20.0)
    np.testing.assert_allclose(got.nA_m_per_unit * 1e-9, wanted, rtol=1e-6)
    np.testing.assert_allclose(Dipole.qif().nA_m_per_unit, 1.5, rtol=1e-6)


def test_scale_is_logarithmic_and_one_a_region_if_wished():
    source = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])  # time, region
    np.testing.assert_allclose(Dipole(2.0, jnp.log(3.0))(source), 6 * source, rtol=1e-6)
    np.testing.assert_allclose(Dipole([1.0, 10.0, 0.0])(source), source * jnp.asarray([[1.0, 10.0, 0.0]]), rtol=1e-6)


def test_gradient_of_the_scale(x64):
    source = jnp.asarray([[1.0, -2.0], [0.5, 3.0]])
    gradient = jax.grad(lambda s: jnp.sum(Dipole(1.5, s)(source) ** 2))(0.3)
    # d/ds of exp(2 s) (1.5 source)^2
    np.testing.assert_allclose(gradient, 2 * np.exp(0.6) * 2.25 * np.sum(np.asarray(source) ** 2), rtol=1e-12)


def test_scale_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="log_scale = nan"):
        Dipole.psp(log_scale=np.nan)


def test_ten_nanoampere_metres_make_the_field_of_a_brain_response():
    """A moment of 10 nA m some 30 mm under the skull gives 40-100 fT and 11-40 fT/cm (spec: BEM, 23-40 mm deep)."""
    sensors, origin = Sensors.canonical(), np.array([-1.4, 8.7, 49.4])
    lead = LeadField.sphere(origin[None] + np.array([[50.0, 0.0, 0.0]]), [[0.0, 1.0, 0.0]], sensors, origin)
    y, grad = np.abs(lead(Dipole(1.0)(jnp.asarray([10.0])))), np.array(lead.ch_types) == "grad"
    assert 30 < y[~grad].max() < 110
    assert 8 < y[grad].max() < 40


def test_every_model_has_a_documented_default():
    brain = jnm.Connectome(jnp.ones((2, 2)) - jnp.eye(2))
    sigmoid = jnm.NMM1(15.0, 10.0, 1.0, 2.0, 10.0, transfer=jnm.models.Sigmoid())
    units = {
        "mV": [jnm.JansenRit(), sigmoid],
        "pA": [jnm.FreemanCFM(), jnm.FreemanMFM(), jnm.models.FreemanLoop(jnm.FreemanMFM())],
        "I": [
            jnm.MPR(),
            jnm.PING(IE=2.0),
            jnm.NMM1.of(jnm.ING()),
            jnm.spiking.QIFNetwork.of(jnm.ING(), 10),
            jnm.models.GaussianShotNoise(jnm.Pyramidal(), n=1000),
            jnm.Network(jnm.PING(IE=2.0), brain),
            jnm.ColouredNoise(jnm.Network(jnm.PING(IE=2.0), brain), tau=5.0, sigma=0.1),
            jnm.network.Heterogeneous(jnm.Network(jnm.PING(IE=2.0), brain), "eta", [0.1, -0.1], 1.0),
        ],
        "nA": [jnm.WongWang(), jnm.WongWangEI()],
        "1": [jnm.WilsonCowan(), jnm.StuartLandau(), jnm.Kuramoto(), jnm.Epileptor()],
    }
    for unit, models in units.items():
        for model in models:
            dipole = Dipole.of(model)
            assert dipole.unit == unit and "Murakami & Okada" in dipole.provenance
            assert dipole.nA_m_per_unit.shape == dipole.log_scale.shape == ()
    np.testing.assert_allclose(Dipole.of(jnm.JansenRit()).nA_m_per_unit, 0.118, atol=5e-4)
    np.testing.assert_allclose(Dipole.of(jnm.PING()).nA_m_per_unit, 1.5 * 10 / 8, rtol=1e-6)  # tau_m of E, 8 ms
    np.testing.assert_allclose(Dipole.of(jnm.FreemanCFM(), cells=1e5).nA_m_per_unit, 0.015, rtol=1e-6)
    np.testing.assert_allclose(Dipole.of(jnm.WongWang()).nA_m_per_unit, 7.5, rtol=1e-6)  # 0.0075 per pA
    np.testing.assert_allclose(Dipole.of(jnm.Epileptor()).nA_m_per_unit, 10.0, rtol=1e-6)  # 5e4 cells of 0.2 pA m
    slower = jnm.network.Heterogeneous(jnm.Network(jnm.MPR(), brain), "tau_m", [1.0, -0.5], 1.0)
    np.testing.assert_allclose(Dipole.of(slower).nA_m_per_unit, [0.75, 3.0], rtol=1e-6)  # tau_m of 20 and 5 ms
    assert Dipole.of(jnm.PING(tau_m=[[8.0, 4.0], [8.0, 8.0]])).nA_m_per_unit.shape == (2,)


def test_a_model_of_ones_own_says_its_unit():
    class Mine(jnm.JansenRit):
        source_unit = "pA"

    assert Dipole.of(Mine()).unit == "pA"
    with pytest.raises(ValueError, match='object does not say .* wanted the class variable source_unit = "mV"'):
        Dipole.of(object())


def test_currents_by_kind_and_the_mean_field_of_the_specification():
    """K_e = 400 synapses of 1 nS for 5 ms at 4 Hz, 60 mV from reversal, 0.3 mm up: 0.14 pA m a neuron."""
    g = 400 * 1.0 * 5.0 * 4e-3  # nS
    one_cell = Dipole.conductance({"E": 0.3, "I": -0.2}, cells=1.0, alignment=1.0)
    current = jnm.meg.mean_current(np.full((2, 3), [[g], [0.0]]), np.full(3, -60.0), np.array([0.0, -80.0]))
    np.testing.assert_allclose(current, [480.0, 0.0], rtol=1e-6)  # pA
    np.testing.assert_allclose(1e3 * one_cell(current[:, None]), 0.144, rtol=1e-5)  # pA m
    both = one_cell(jnp.asarray([[[1.0, 2.0]], [[10.0, 0.0]]]).swapaxes(0, 1))
    np.testing.assert_allclose(1e6 * both, [[0.3 - 2.0, 0.6]], rtol=1e-5)  # fA m, [time, region]
    with pytest.raises(ValueError, match=r"wanted \[..., 2, region\], a row for each kind of synapse: E, I"):
        one_cell(jnp.ones((5, 3)))


def test_mean_of_the_product_is_not_the_product_of_means():
    rng = np.random.default_rng(0)
    g, v = rng.gamma(2.0, 1.0, (7, 2, 400)), -65.0 + 10 * rng.random((7, 400))
    v += 5 * g[:, 0]  # strongly driven cells are depolarised
    E = np.array([0.0, -80.0])
    got = jnm.meg.mean_current(g, v, E)
    np.testing.assert_allclose(got, [[np.mean(g[t, k] * (E[k] - v[t])) for k in (0, 1)] for t in range(7)], rtol=1e-5)
    of_means = g.mean(axis=-1) * (E[None] - v.mean(axis=-1)[:, None])
    assert np.abs(got / of_means - 1)[:, 0].min() > 0.05
    with pytest.raises(ValueError, match=r"wanted \[..., kind, neuron\]"):
        jnm.meg.mean_current(g, v[:3], E)


def test_a_freeman_mass_by_kind_equals_its_source(x64):
    model = jnm.FreemanMFM()
    y = model.start(-55.0)._replace(W_E=jnp.asarray(-120.0), W_I=jnp.asarray(40.0))
    by_kind = -jnp.stack([y.W_E, y.W_I, y.W_X])[:, None]
    whole = Dipole.of(model)(model.source(0.0, y, jnm.Drive())[None])
    np.testing.assert_allclose(Dipole.conductance({"E": 0.3, "I": 0.3, "X": 0.3})(by_kind), whole, rtol=1e-12)


def test_levers_of_detailed_cells(data_dir):
    """Peak moment over peak current of a proximal and a distal 0.1 nS EPSP, two cells: 0.3-0.7 mm and of either sign."""
    file = np.load(data_dir / "meg" / "hnn_unit_dipoles.npz")
    levers = []
    for cell, wanted in (("L5_pyramidal", (4.3, -2.8)), ("L2_pyramidal", (2.9, -2.1))):
        peaks = [x[np.argmax(np.abs(x))] for x in (file[f"{cell}_epsp_{side}_0.1nS_fAm"] for side in ("prox", "dist"))]
        np.testing.assert_allclose(peaks, wanted, atol=0.06)
        levers += [abs(peak) / (0.1 * 70.0) for peak in peaks]  # 0.1 nS x 70 mV to reversal (literature) = 7 pA
    one_pA_of_one_cell = Dipole.current(cells=1.0, alignment=1.0).nA_m_per_unit * 1e6
    assert min(levers) < float(one_pA_of_one_cell) + 0.01 < max(levers) < 0.7
    apical, basal = (float(jnp.abs(jnm.meg.cable.effective_length(x, 40.0))) for x in (1.0, 0.0))
    assert min(levers) < apical < max(levers) and apical == pytest.approx(basal)


def test_moment_of_a_qif_network_is_that_of_its_mass(x64):
    mass = jnm.PING(IE=2.0)
    net = jnm.spiking.QIFNetwork.of(mass, 10)
    s = jnp.asarray([[0.02, 0.01], [0.05, 0.03], [0.0, 0.1]])  # time, population
    wanted = 8.0 * (5.0 * s[:, 0] - 13.0 * s[:, 1])
    np.testing.assert_allclose(jnm.meg.qif_source(net, s), wanted, rtol=1e-12)
    single = jnm.spiking.QIFNetwork.of(jnm.MPR(), 10)
    np.testing.assert_allclose(jnm.meg.qif_source(single, s[:, 0]), 10.0 * 15.0 * s[:, 0], rtol=1e-12)


def test_moment_of_a_lif_network_is_that_of_its_mean_currents(x64):
    """The source is the mean over excitatory neurons by hand, as the run records it; and beside it that over all."""
    net = jnm.spiking.LIFNetwork.preset("A", p=0.1, fraction_excitatory=0.8, key=jax.random.key(0), n=64, sources=64)
    g_E, g_I, g_X = 5 * jax.random.uniform(jax.random.key(1), (3, 64))
    y = net.init()._replace(g_E=g_E, g_I=g_I, g_X=g_X)
    E = np.array([float(net.E_E), float(net.E_I), float(net.E_X)])
    by_hand = jnm.meg.mean_current(jnp.stack([y.g_E, y.g_I, y.g_X]), y.v, E)
    assert Dipole.of(net).unit == "pA"
    excitatory = jnm.meg.mean_current(jnp.stack([y.g_E, y.g_I, y.g_X])[:, :51], y.v[:51], E)
    assert int(net.n_excitatory) == 51
    np.testing.assert_allclose(net.source(0.0, y, jnm.Drive()), excitatory.sum(), rtol=1e-5)
    found = net.run(0.2, 0.1, start=y, key=jax.random.key(2), currents=True).currents
    np.testing.assert_allclose(found.synaptic[0], -by_hand, rtol=1e-4)  # outward there, inward here
    np.testing.assert_allclose(found.excitatory[0], -excitatory, rtol=1e-4)
    levers = Dipole.conductance({"E": 0.3, "I": 0.3, "X": -0.3}, cells=1.0, alignment=1.0)
    moment = levers(-jnp.asarray(found.excitatory)[..., None])[..., 0]
    np.testing.assert_allclose(moment, -found.excitatory @ np.array([0.3, 0.3, -0.3]) * 1e-6, rtol=1e-5)
