"""Jansen-Rit against numbers computed elsewhere (spec/brain-network.md 3 and 8) and its equations written out."""

import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm.models import JansenRitState


@pytest.mark.parametrize(
    ("p", "level", "period"), [(0.120, 20.0, 267.820803922), (0.230, 30.0, 118.943689643), (0.320, 35.0, 107.715620056)]
)
def test_period_of_a_column_wired_to_itself(orbit, p, level, period):
    """One region, weight 1, gain 50: the homogeneous state of the published network."""
    column = jnm.Network(jnm.JansenRit(p=p), jnm.Connectome([[1.0]]), jnm.Linear(gain=50.0))
    cycle = orbit(column, element=1, level=level, settle=2e4, longest=700.0)
    assert cycle.period == pytest.approx(period, abs=1e-8)


def test_drift_is_the_equation_in_the_units_of_the_paper(x64):
    """Seconds and pulses per second, as printed by Jansen & Rit; jnm counts in ms."""
    A, B, a, b, C, e0, v0, rho, p, afferents = 3.25, 22.0, 100.0, 50.0, 135.0, 2.5, 6.0, 0.56, 150.0, 20.0
    y0, y1, y2, y3, y4, y5 = 0.1, 18.0, 13.0, 2.0, 300.0, -150.0

    def S(v):
        return 2 * e0 / (1 + np.exp(rho * (v0 - v)))

    per_second = (
        A * a * S(y1 - y2) - 2 * a * y3 - a**2 * y0,
        A * a * (p + afferents + 0.8 * C * S(C * y0)) - 2 * a * y4 - a**2 * y1,
        B * b * 0.25 * C * S(0.25 * C * y0) - 2 * b * y5 - b**2 * y2,
    )
    y = JansenRitState(*map(jnp.asarray, (y0, y1, y2, y3 * 1e-3, y4 * 1e-3, y5 * 1e-3)))
    drift = jnm.JansenRit(p=0.150).drift(0.0, y, jnm.Drive(synaptic=0.015, current=0.005))
    np.testing.assert_allclose(drift[:3], np.array([y3, y4, y5]) * 1e-3, rtol=1e-14)
    np.testing.assert_allclose(drift[3:], np.array(per_second) * 1e-6, rtol=1e-12)


def test_it_sends_the_rate_of_the_pyramidal_cells_and_shows_their_potential():
    y = JansenRitState(*map(jnp.asarray, (0.1, 18.0, 12.0, 0.0, 0.0, 0.0)))
    model = jnm.JansenRit()
    np.testing.assert_allclose(model.output(0.0, y), 0.0025, rtol=1e-6)  # half of the largest rate at v0 = 6 mV
    np.testing.assert_allclose(model.source(0.0, y, jnm.Drive(1.0, 1.0)), 6.0)
    np.testing.assert_allclose(model.rate(jnp.asarray(1e3)), 0.005, rtol=1e-6)


def test_noise_is_on_p():
    model = jnm.JansenRit(sigma=0.2)
    y = model.init()
    noise = model.diffusion(0.0, y)
    assert [field for field, value in noise._asdict().items() if value is not None] == ["y4"]
    stronger = jnm.JansenRit(p=0.120 + 0.2).drift(0.0, y, jnm.Drive()).y4 - model.drift(0.0, y, jnm.Drive()).y4
    np.testing.assert_allclose(noise.y4, stronger, rtol=1e-5)
    assert jnm.JansenRit().diffusion(0.0, y) is None
    assert jnm.JansenRit(sigma=jnp.full(3, 0.2)).init().y0.shape == (3,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jnm.JansenRit(a=-0.1), r"JansenRit: a = -0.1 is outside its domain \(positive\)"),
        (lambda: jnm.JansenRit(q=1.0), r"unknown parameter q; known are p, A, B, a, b, C, e0, rho, v0, sigma\."),
        (lambda: jnm.JansenRit(p=jnp.nan), r"p = nan is outside"),
        (lambda: jnm.JansenRit(p=jnp.ones((2, 2))), r"p has shape \[2, 2\]; it must be \[\] or \[region\]"),
        (lambda: jnm.JansenRit(p=jnp.ones(2), A=jnp.ones(3)), r"p for 2, A for 3"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
