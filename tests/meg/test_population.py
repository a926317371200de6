"""What adds up over cells, over patches and over action potentials, by simulation and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

import jnm
from jnm import plot
from jnm.meg import action_potential_moment, contribution, incoherent_rms, region_rms
from jnm.meg.action_potential import event_spectrum


def test_incoherent_remainder():
    np.testing.assert_allclose(incoherent_rms(0.2, 5e4), 0.045, atol=5e-4)
    np.testing.assert_allclose(incoherent_rms(0.2, 5e4, 1.0), 10.0, rtol=1e-6)  # locked together: N sigma
    rng, N, rho = np.random.default_rng(0), 30, 0.2
    cells = np.sqrt(1 - rho) * rng.normal(size=(20_000, N)) + np.sqrt(rho) * rng.normal(size=(20_000, 1))
    np.testing.assert_allclose(incoherent_rms(1e3, N, rho), np.std(cells.sum(axis=1)), rtol=0.02)  # 4 standard errors
    with pytest.raises(ValueError, match="-1/"):
        incoherent_rms(0.2, 10, -0.5)


def test_a_region_lies_between_the_root_of_its_patches_and_their_number(x64):
    rng = np.random.default_rng(1)
    side = np.arange(1.5, 45.0, 3.0)
    places = np.stack([*np.meshgrid(side, side), np.zeros((15, 15))], axis=-1).reshape(-1, 3)  # 20 cm^2
    n = len(places)
    moment = [float(region_rms(4.5, places, xi)) for xi in (1e-3, 1.0, 3.0, 10.0, 1e6)]
    np.testing.assert_allclose(moment[0], 4.5 * np.sqrt(n), rtol=1e-9)
    np.testing.assert_allclose(moment[-1], 4.5 * n, rtol=1e-3)  # 1e3 nA m, as no brain makes
    assert np.all(np.diff(moment) > 0) and 950 < moment[-1] < 1050 and moment[2] < 250
    few, q = places[rng.choice(n, 40)], rng.normal(size=40)  # two of them in one place, perhaps
    agreement = np.exp(-np.linalg.norm(few[:, None] - few[None], axis=-1) / 5.0)
    np.testing.assert_allclose(region_rms(q, few, 5.0), np.sqrt(q @ agreement @ q), rtol=1e-10)
    few[1] = few[0]
    slope = jax.grad(region_rms, argnums=(0, 1, 2))(jnp.asarray(q), jnp.asarray(few), 5.0)
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in slope)
    h = 1e-5
    numeric = (region_rms(q, few, 5.0 + h) - region_rms(q, few, 5.0 - h)) / (2 * h)
    np.testing.assert_allclose(slope[2], numeric, rtol=1e-6)
    for wrong, message in (((1.0, few[0], 5.0), "wanted \\[patch, 3\\]"), ((1.0, few, 0.0), "one positive length")):
        with pytest.raises(ValueError, match=message):
            region_rms(*wrong)


def test_action_potentials_are_filtered_causally(x64):
    rng, h = np.random.default_rng(2), np.array([3.0, -2.0, 0.5])
    rate = rng.random((50, 2))
    got = action_potential_moment(rate, h, dt=0.05, cells=1e3, alignment=0.5)
    np.testing.assert_allclose(got, 500 * 0.05e-6 * lfilter(h, 1.0, rate, axis=0), rtol=1e-9, atol=1e-16)
    slope = jax.grad(lambda k: jnp.sum(action_potential_moment(rate, k, dt=0.05) ** 2))(jnp.asarray(h))
    assert bool(jnp.all(jnp.isfinite(slope)))
    with pytest.raises(ValueError, match="dt = 0.2 ms; action potentials want steps of 0.1 ms or less"):
        action_potential_moment(rate, h, dt=0.2)
    with pytest.raises(ValueError, match=r"wanted \[time, ...\] and \[lag\]"):
        action_potential_moment(rate, rate, dt=0.05)


@pytest.fixture
def cells(data_dir):
    file = np.load(data_dir / "meg" / "hnn_unit_dipoles.npz")
    return {
        name: (file[f"{name}_pyramidal_ap_fAm"], file[f"{name}_pyramidal_epsp_prox_0.1nS_fAm"]) for name in ("L2", "L5")
    }


def test_events_of_detailed_cells_are_those_of_the_specification(cells):
    ap, epsp = (event_spectrum(x, 0.025, [10, 40, 80, 150, 300]) for x in cells["L2"])
    np.testing.assert_allclose(ap / epsp, [3.5, 18, 61, 173, 352], rtol=0.025)
    burst, epsp = (event_spectrum(x, 0.025, [10, 40, 80]) for x in cells["L5"])
    np.testing.assert_allclose(burst / epsp, [39, 115, 647], rtol=0.01)
    # in time: a rate that follows a sine makes |h(f)| of moment
    t, ap = np.arange(0, 600, 0.05), cells["L2"][0][4000:12000:2]
    q = action_potential_moment(1 + np.sin(2e-3 * np.pi * 40 * t), ap, dt=0.05, cells=1.0, alignment=1.0)
    swing = np.ptp(np.asarray(q)[-2000:]) / 2 * 1e6
    np.testing.assert_allclose(swing, event_spectrum(ap, 0.05, 40.0), rtol=0.01)


def test_contribution_of_action_potentials_is_a_band(cells):
    f_hz = np.array([10.0, 40.0, 80.0])
    spec = {400: [3, 15, 50], 5000: [0.2, 1.2, 4]}  # per cent, L2, p = 0.3
    for K, percent in spec.items():
        one = contribution(f_hz, {"L2": cells["L2"]}, 0.025, convergence=(K, K), polarity=(0.3, 0.3), synchrony=(1, 1))
        np.testing.assert_allclose(100 * one.bands["all"], np.broadcast_to(percent, (2, 3)), rtol=0.2)
    seen = contribution(np.geomspace(5, 300, 20), cells, 0.025)
    low, high = seen.bands["all"]
    assert np.all(low < high) and set(seen.bands) == {"all", "morphology", "convergence", "polarity", "synchrony"}
    for name in ("morphology", "convergence", "polarity", "synchrony"):
        assert np.all((low < seen.bands[name][0]) & (seen.bands[name][1] < high))
    np.testing.assert_allclose(seen.bands["convergence"][1] / seen.bands["convergence"][0], 12.5)
    figure = seen.plot()
    assert len(figure.axes) == 5 and all(ax.get_title(loc="left") for ax in figure.axes)
    plot.axes().figure.clear()
    with pytest.raises(ValueError, match=r"polarity = \(0, 1\); wanted 0 < lowest <= highest"):
        contribution(f_hz, cells, 0.025, polarity=(0, 1))


def test_the_parts_of_a_region_go_into_one_scale():
    """A mass that stands for n like patches in agreement over xi takes the log of their gain as its log_scale."""
    places = jnp.asarray(np.random.default_rng(3).uniform(0, 20, (100, 3)))
    gain = region_rms(1.0, places, 5.0)
    assert 10 < float(gain) < 100
    dipole = jnm.meg.Dipole.of(jnm.JansenRit(), log_scale=jnp.log(gain))
    np.testing.assert_allclose(dipole(jnp.ones(1)), gain * jnm.meg.Dipole.psp()(jnp.ones(1)), rtol=1e-5)
