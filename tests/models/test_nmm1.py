"""NMM1 against the spec's table (rows named) and against NMM2, whose limit it is."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.models import Sigmoid, psi
from jnm.models.nmm1 import NMM1State
from jnm.testing import check_model


@pytest.mark.parametrize(
    "make",
    [
        lambda: jnm.NMM1.of(jnm.ING()),
        lambda: jnm.NMM1.of(jnm.ING(order=1)),
        lambda: jnm.NMM1.of(jnm.PINGSecondOrder(receive=0, send=1)),
        lambda: jnm.NMM1(15.0, 10.0, 1.0, 2.0, 10.0, sigma=0.01),
        lambda: jnm.NMM1(15.0, 10.0, 1.0, 2.0, ((10.0, -5.0), (8.0, 0.0)), order=1, transfer=Sigmoid()),
        lambda: jnm.NMM1(15.0, 10.0, 1.0, jnp.linspace(0.0, 2.0, 3), 10.0),
    ],
)
def test_contract(make):
    check_model(make())


def test_transfer_function(x64):
    wanted = {5.0: 0.715277781965, 0.0: 0.225079079039, -5.0: 0.070826458054}  # rows 1, 2
    for x, value in wanted.items():
        assert float(psi(x, 1.0)) == pytest.approx(value, abs=1e-12)
        exact = jnp.sqrt(x + 1j).real / jnp.pi
        assert float(psi(x, 1.0)) == pytest.approx(float(exact), rel=1e-14)
    assert jax.grad(psi)(5.0, 1.0) == pytest.approx(0.070138757075, abs=1e-12)  # row 3
    assert jax.grad(psi)(0.0, 1.0) == pytest.approx(0.112539539520, abs=1e-12)


def test_transfer_function_keeps_its_digits_and_its_slope_far_below_zero():
    """Far below: Psi -> delta / (2 pi sqrt(-x)), where the textbook form gives zero in single precision."""
    x = jnp.float32(-1e5)
    assert float(psi(x, 1.0)) == pytest.approx(1 / (2 * np.pi * np.sqrt(1e5)), rel=1e-6)
    assert float(jax.grad(psi)(x, 1.0)) == pytest.approx(1 / (4 * np.pi * 1e5**1.5), rel=1e-5)
    assert float(jax.grad(psi, argnums=1)(x, 1.0)) == pytest.approx(1 / (2 * np.pi * np.sqrt(1e5)), rel=1e-5)


def test_sigmoid_is_that_of_jansen_and_rit():
    potential = jnp.linspace(-5.0, 20.0, 7)
    np.testing.assert_allclose(
        Sigmoid().rate(potential, jnp.ones(()), jnp.ones(())), jnm.JansenRit().rate(potential), rtol=1e-6
    )


def test_rates_at_rest(x64):
    """Rows 4 to 7: rates that are fixed points of NMM2 are fixed points here."""
    for eta, C, R in ((20.0, -20.0, 0.7354353736), (-5.0, 15.0, 0.47298034), (10.0, 10.0, 1.633913660)):
        model = jnm.NMM1(7.5, 2.0, 1.0, eta, C)
        y = NMM1State(jnp.asarray(R / 7.5), jnp.zeros(()))
        np.testing.assert_allclose(model.drift(0.0, y, jnm.Drive()).z, 0.0, atol=1e-8)
        np.testing.assert_allclose(7.5 * model.rate(y), R, atol=1e-7)


def run(model, y0, tau_s):
    """s at 400 times of t / tau_s in [0, 20] under I = 5 (1 + sin(2 pi .15 t / tau_s)): the protocol of spec 3a."""
    term = diffrax.ODETerm(
        lambda t, y, _: model.drift(
            t, y, jnm.Drive(current=jnp.asarray(5 * (1 + jnp.sin(2 * jnp.pi * 0.15 * t / tau_s))))
        )
    )
    solution = diffrax.diffeqsolve(
        term, diffrax.Dopri8(), 0.0, 20 * tau_s, 1e-3, y0,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0, 20 * tau_s, 401)),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12), max_steps=None,
    )  # fmt: skip
    return solution.ys


@jax.jit
def both(C, eps):
    """S of NMM1 and of NMM2 with tau_m = 1 and tau_s = 1 / eps, both from S = .1."""
    shared = dict(tau_m=1.0, tau_s=1 / eps, delta=1.0, eta=1.0, C=C, order=2)
    s, zero = jnp.asarray(0.1), jnp.zeros(())
    heuristic, exact = jnm.NMM1(**shared), jnm.NMM2(**shared)
    r = psi(1.0 + 5.0 + C * 0.1, 1.0)
    start = exact.init()._replace(r=r, v=-1 / (2 * jnp.pi * r), s=s, z=zero)
    return run(heuristic, NMM1State(s, zero), 1 / eps).s, run(exact, start, 1 / eps).s


@pytest.mark.parametrize(
    ("C", "end", "errors"),
    [
        (5.0, 0.9274163876, (4.981e-4, 2.358e-4, 1.1549e-4, 5.724e-5, 2.851e-5)),
        (-5.0, 0.3272673455, (1.2341e-2, 6.1998e-3, 3.1058e-3, 1.5542e-3, 7.774e-4)),
    ],
)
def test_limit_of_slow_synapses(x64, C, end, errors):
    """Rows 42 to 44: NMM2 -> NMM1 at order one."""
    found = []
    for eps in (0.05, 0.025, 0.0125):
        heuristic, exact = both(C, eps)
        assert float(heuristic[-1]) == pytest.approx(end, abs=2e-9)
        if eps == 0.05:
            assert float(exact[-1]) == pytest.approx(0.927416652 if C > 0 else 0.325296205, abs=1e-8)
        found.append(float(jnp.max(jnp.abs(exact - heuristic))))
    np.testing.assert_allclose(found, errors[2:], rtol=2e-3)
    np.testing.assert_allclose(np.log2(found[1] / found[2]), 1.0, atol=0.02)


def test_afferents_are_scaled_by_the_membrane_and_currents_are_not():
    model, y = jnm.NMM1.of(jnm.ING()), jnm.NMM1.of(jnm.ING()).init()
    np.testing.assert_allclose(
        model.rate(y, jnm.Drive(synaptic=0.1)), model.rate(y, jnm.Drive(current=0.75)), rtol=1e-6
    )
    np.testing.assert_allclose(model.rate(y, jnm.Drive(current=2.0)), jnm.NMM1.of(jnm.ING(eta=22.0)).rate(y), rtol=1e-6)


def test_only_receiving_populations_hear_the_others():
    model = jnm.NMM1.of(jnm.PING(receive=1))
    y = model.init()
    change = model.rate(y, jnm.Drive(synaptic=0.3)) - model.rate(y)
    assert change[0] == 0 and change[1] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jnm.NMM1.of(jnm.MPR()), r"order = 0; synapses are of order 1 or 2"),
        (lambda: jnm.NMM1(1.0, 1.0, 1.0, 1.0, jnp.ones((2, 3))), r"C has shape \[2, 3\]; give a scalar"),
        (lambda: jnm.NMM1(1.0, -1.0, 1.0, 1.0, 1.0), r"tau_s = -1 is outside its domain \(positive\)"),
        (lambda: jnm.NMM1(1.0, 1.0, 0.0, 1.0, 1.0), r"delta = 0 is outside"),
        (lambda: Sigmoid(rho=-1.0), r"rho = -1 is outside"),
        (lambda: jnm.NMM1(1.0, 1.0, 1.0, jnp.ones(3), jnp.ones((2, 2))), r"eta has shape \[3\]"),
        (lambda: jnm.NMM1(1.0, 1.0, 1.0, 1.0, 1.0, send=1), r"send = 1"),
        (lambda: jnm.NMM1(1.0, 1.0, 1.0, 1.0, 1.0, transfer="sigmoid"), r"transfer = .sigmoid.; wanted jnm.models.QIF"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
