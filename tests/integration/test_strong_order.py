"""Strong orders of the schemes by name: errors against the same Brownian path, seen at several steps.

Every coarse step sums the fine increments beneath it, and puts their space-time Levy areas together. What is then
measured: for each scheme the slope of log error against log dt, the root mean square over paths.
"""

import functools
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm._model import AbstractModel
from jnm.integration.noise import noisy_part

PATHS, FINE, END = 500, 2.0**-10, 1.0
COARSE = (2.0**-3, 2.0**-5, 2.0**-7)
KEY = jax.random.key(0)


class Summed(eqx.Module):
    """The path of `White` at steps of `FINE`, summed to steps of dt.

    With S_i = W(s, t_i), w_i and H_i of the m fine steps of length d in one coarse step of h = m d,

        W = sum w_i,     H = 1/h int (W(s, r) - (r - s)/h W) dr = 1/m sum (S_i + w_i / 2 + H_i) - W / 2.
    """

    def draw(self, key, step, count, dt, like, levy):
        m = round(dt / FINE)
        fine = jnm.White().draw(key, step * m, count * m, FINE, like, True)
        w, area = (x.reshape(count, m, -1) for x in (fine.W, fine.H))
        W = w.sum(axis=1)
        H = (jnp.cumsum(w, axis=1) - w / 2 + area).mean(axis=1) - W / 2
        return diffrax.SpaceTimeLevyArea(dt=jnp.full(count, dt), W=W, H=H) if levy else W


class Pair(NamedTuple):
    x: jax.Array
    y: jax.Array


class Geometric(AbstractModel):
    """dx = mu x dt + s x dW for many paths at once; solved by exp((mu - s^2 / 2) t + s W) in the sense of Ito."""

    mu, s = -0.5, 0.8

    def init(self):
        return Pair(jnp.ones(PATHS), jnp.zeros(PATHS))

    def drift(self, t, y, drive):
        return Pair(self.mu * y.x, 0 * y.y)

    def diffusion(self, t, y):
        return Pair(self.s * y.x, None)

    def output(self, t, y):
        return y.x

    def source(self, t, y, drive):
        return y.x

    def exact(self, wiener):
        return np.exp((self.mu - 0.5 * self.s**2 * (self.calculus == "ito")) * END + self.s * wiener)


class GeometricIto(Geometric):
    calculus = "ito"


class GeometricStratonovich(Geometric):
    calculus = "stratonovich"


class Crossed(Geometric):
    """dx = -x dt + y o dV, dy = -y dt + x o dW: each noise moves the other's amplitude, so they do not commute."""

    calculus = "stratonovich"

    def init(self):
        return Pair(jnp.ones(PATHS), jnp.full(PATHS, 0.5))

    def drift(self, t, y, drive):
        return Pair(-y.x, -y.y)

    def diffusion(self, t, y):
        return Pair(y.y, y.x)


class Additive(Geometric):
    """dx = (sin 2x - y) dt + 2 dV, dy = (sin x - tanh y) dt + 1.5 dW: mostly noise, or the drift hides the order."""

    def init(self):
        return Pair(jnp.ones(PATHS), jnp.full(PATHS, 0.5))

    def drift(self, t, y, drive):
        return Pair(jnp.sin(2 * y.x) - y.y, jnp.sin(y.x) - jnp.tanh(y.y))

    def diffusion(self, t, y):
        return Pair(jnp.full(PATHS, 2.0), jnp.full(PATHS, 1.5))


@functools.cache
def end(model, solver, dt):
    run = jnm.simulate(model, END, dt, key=KEY, solver=solver, noise=Summed(), save_every=END)
    return np.concatenate([np.asarray(run.ys.x[-1]), np.asarray(run.ys.y[-1])])


def order_against(model, solver, reference):
    errors = [np.sqrt(np.mean((end(model, solver, dt) - reference) ** 2)) for dt in COARSE]
    return np.polyfit(np.log(COARSE), np.log(errors), 1)[0]


@eqx.filter_jit
def drawn(noise, count, dt, levy=True):
    return noise.draw(KEY, jnp.int32(0), count, dt, noisy_part(GeometricIto()), levy)


def test_coarse_steps_see_the_same_path(x64):
    fine, coarse = drawn(Summed(), 64, FINE), drawn(Summed(), 4, 16 * FINE)
    np.testing.assert_allclose(coarse.W, fine.W.reshape(4, 16, -1).sum(axis=1), atol=1e-14)
    ours = drawn(jnm.White(), 64, FINE)
    np.testing.assert_allclose(fine.W, ours.W, atol=1e-15)
    np.testing.assert_allclose(fine.H, ours.H, atol=1e-15)
    many = drawn(Summed(), 32, 16 * FINE)
    n = many.H.size
    assert abs(12 * many.H.var() / (16 * FINE) - 1) < 4 * np.sqrt(2 / n)  # combined areas have the law of drawn ones
    assert abs(np.corrcoef(many.W.ravel(), many.H.ravel())[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize(
    ("model", "solver", "expected"),
    [
        (GeometricIto(), diffrax.Euler(), 0.5),
        (GeometricIto(), diffrax.ItoMilstein(), 1.0),
        (GeometricStratonovich(), diffrax.StratonovichMilstein(), 1.0),
        # Where noise commutes, as it does when each variable's amplitude depends on no other noisy variable, EulerHeun
        # and Heun are Milstein schemes without derivatives: order 1, better than their names promise.
        (GeometricStratonovich(), diffrax.EulerHeun(), 1.0),
        (GeometricStratonovich(), diffrax.Heun(), 1.0),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, float) else str(x),
)
def test_order_with_multiplicative_noise_against_the_exact_solution(x64, model, solver, expected):
    wiener = drawn(Summed(), 1, END, levy=False)[0]
    reference = np.concatenate([model.exact(np.asarray(wiener)), np.zeros(PATHS)])
    assert order_against(model, solver, reference) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("solver", [diffrax.EulerHeun(), diffrax.Heun()], ids=lambda s: type(s).__name__)
def test_order_one_half_where_noise_does_not_commute(x64, solver):
    """The order EulerHeun is known by: without the Levy areas of pairs of paths no scheme does better."""
    model = Crossed()
    assert order_against(model, solver, end(model, diffrax.Heun(), FINE)) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("solver", "expected"),
    [(diffrax.Euler(), 1.0), (diffrax.SEA(), 1.0), (diffrax.SRA1(), 1.5), (diffrax.ShARK(), 1.5)],
    ids=lambda x: type(x).__name__ if not isinstance(x, float) else str(x),
)
def test_order_with_additive_noise(x64, solver, expected):
    model = Additive()
    assert order_against(model, solver, end(model, diffrax.ShARK(), FINE)) == pytest.approx(expected, abs=0.15)


def test_the_milstein_correction_is_ito_s(x64):
    """The two readings of one model end apart, each with its own scheme and its own mean: e^mu and e^(mu + s^2 / 2)."""
    wiener = drawn(Summed(), 1, END, levy=False)[0]
    for model, solver in (
        (GeometricIto(), diffrax.ItoMilstein()),
        (GeometricStratonovich(), diffrax.StratonovichMilstein()),
    ):
        x = end(model, solver, 2.0**-8)[:PATHS]
        np.testing.assert_allclose(x, model.exact(np.asarray(wiener)), rtol=0.02)
