"""Double precision is entered locally: values and gradients in a float32 session are those of a float64 one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.stability import fixed_points, hopf_points, limit_cycle, linear_spectrum, transfer_function
from jnm.stability.root import attach, newton

QUANTITIES = {
    "rate": lambda x: fixed_points(jnm.ING(eta=x))[0].state.r,
    "Hopf point": lambda x: hopf_points(jnm.ING(C=-x), lambda m: m.eta, 0.0, 30.0)[0].value,
    "period": lambda x: limit_cycle(jnm.ING(eta=x)).period,
    "gain": lambda x: transfer_function(jnm.Pyramidal(eta=x), [90.0]).gain[0],
    "density": lambda x: linear_spectrum(jnm.Pyramidal(eta=x, sigma=0.1), [90.0]).value[0],
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_values_and_gradients_in_a_float32_session(name):
    with pytest.warns(UserWarning, match="were made in float32 and are cast") as warned:
        value, slope = jax.value_and_grad(QUANTITIES[name])(20.0)
    assert all("were made in float32" in str(w.message) for w in warned)
    assert value.dtype == jnp.float64 and slope.dtype == jnp.float32
    with jax.enable_x64(True):
        wanted, wanted_slope = jax.value_and_grad(QUANTITIES[name])(20.0)
    assert float(value) == pytest.approx(float(wanted), rel=1e-6)
    assert float(slope) == pytest.approx(float(wanted_slope), rel=1e-5)


def test_configuration_is_left_as_it_was():
    with pytest.warns(UserWarning, match="float32"):
        fixed_points(jnm.ING())
    assert not jax.config.jax_enable_x64 and jnp.zeros(1).dtype == jnp.float32


def kepler(e, x):
    """x - e sin x = 1."""
    return x - e * jnp.sin(x) - 1.0


def test_derivatives_of_a_root_of_every_order(x64):
    """dx/de = sin x / (1 - e cos x), and once more by hand."""

    def anomaly(e):
        return attach(kepler, e, newton(kepler, 0.3, np.ones(1)))[0]

    e = jnp.asarray(0.3)
    x = anomaly(e)
    slope = jnp.sin(x) / (1 - e * jnp.cos(x))
    assert float(jax.grad(anomaly)(e)) == pytest.approx(float(slope), rel=1e-14)
    curve = (2 * jnp.cos(x) * slope - e * jnp.sin(x) * slope**2) / (1 - e * jnp.cos(x))
    assert float(jax.grad(jax.grad(anomaly))(e)) == pytest.approx(float(curve), rel=1e-13)
    assert float(jax.jvp(anomaly, (e,), (jnp.ones(()),))[1]) == pytest.approx(float(slope), rel=1e-14)


def test_newton_says_when_it_fails(x64):
    assert newton(lambda _, x: x**2 + 1.0, None, np.array([0.3])) is None
    assert newton(lambda _, x: x * 0.0, None, np.array([0.3])) is None
