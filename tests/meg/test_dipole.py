"""The scale from a model's current to nA m, against the constants of the specification and by hand in SI."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
