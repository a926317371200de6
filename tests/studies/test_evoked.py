"""Explaining an average response: on data whose truth is known, on the real recording, and what is refused."""

import itertools
import json
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jnm
from jnm import cli
from jnm.studies.evoked import baselines, closed_form, evidence, hypotheses
from jnm.studies.evoked.fit import STRENGTH_SD, Task, View, fit_response, linear_response, predicted, ridge, share
from jnm.studies.evoked.model import INTERVAL, StruckNetwork, pulse, rest
from jnm.studies.evoked.report import _on_the_coupling
from jnm.studies.evoked.scores import Contrast, Held, Score, jackknife

REGIONS, SENSORS = 12, 40
ENTRIES = {"right": (0, 1), "one too few": (0,), "wrong": (4, 5), "all": tuple(range(6))}


@pytest.fixture(scope="module")
def brain():
    points = np.random.default_rng(0).uniform(-60, 60, (REGIONS, 3))
    return StruckNetwork.of(jnm.Connectome.from_centres(points, seed=0).normalised("rows"))


def seen(moments, gain, noise, independent=1.0):
    """Sensors whose noise has variance one, in units of `noise`."""
    data = moments @ gain.T + noise
    n = len(gain)
    return View(data, gain, np.zeros(len(data)), float(n), 1.0, independent)


def task(truth, duration=300.0, seed=1):
    """What `SENSORS` sensors see of a model, with noise, and two ways of leaving half of them out."""
    rng = np.random.default_rng(seed)
    moments = np.asarray(predicted(truth, duration), dtype=float)
    gain = rng.standard_normal((SENSORS, REGIONS))
    gain *= 3 / np.sqrt(np.mean((moments @ gain.T) ** 2))  # signal to noise 9:1 in power
    noise = rng.standard_normal((len(moments), SENSORS))
    half = np.arange(SENSORS) < SENSORS // 2
    parts = [seen(moments, gain[h], noise[:, h]) for h in (half, ~half)]
    return Task(seen(moments, gain, noise), ((parts[0], parts[1]), (parts[1], parts[0])))


@pytest.fixture(scope="module")
def truth(brain):
    strength = jnp.asarray(STRENGTH_SD * np.random.default_rng(3).standard_normal(REGIONS), float)
    places = lambda m: (m.strength, m.network.node.a, m.onset, m.width, m.dipole.log_scale)  # noqa: E731
    return eqx.tree_at(places, brain, (strength, *(jnp.asarray(x, float) for x in (0.12, 90.0, 15.0, 3.0))))


def test_regions_at_rest_stay_at_rest(x64):
    points = np.random.default_rng(0).uniform(-60, 60, (REGIONS, 3))
    network = StruckNetwork.of(jnm.Connectome.from_centres(points, seed=0).normalised("rows")).network
    drift = network.drift(jnp.zeros(()), rest(network), jnm.Drive())
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(drift)) < 1e-6  # mV/ms and mV/ms^2


@pytest.mark.slow
def test_the_rest_is_stable_wherever_a_fit_may_go(x64):
    """Eigenvalues of all modes of a network with rows of sum one, at the corners and edges of the box of the fit."""
    names = ("gain", "a", "b", "p")
    ends = [StruckNetwork.free[name].domain for name in names]
    grid = itertools.product(*([*np.linspace(d.low, d.high, 3)[:2], d.high] for d in ends))

    @jax.jit
    def slopes(gain, a, b, p):
        node = jnm.JansenRit(a=a, b=b, p=p)
        one = jnm.Network(node, jnm.Connectome(jnp.ones((1, 1))), jnm.Linear(gain=gain))
        y = rest(one)
        flat, shaped = ravel_pytree(y)

        def drift(x, heard):
            return ravel_pytree(node.drift(jnp.zeros(()), shaped(x), jnm.Drive(synaptic=gain * heard)))[0]

        heard = node.output(jnp.zeros(()), y)
        alone, hears = jax.jacfwd(drift)(flat, heard), jax.jacfwd(drift, 1)(flat, heard)[..., 0]
        sends = jax.jacfwd(lambda x: node.output(jnp.zeros(()), shaped(x)))(flat)[0]
        modes = jnp.asarray([1.0, 0.5, 0.0, -0.3])[:, None, None]  # eigenvalues of such connectomes
        return alone[None] + modes * jnp.outer(hears, sends)[None], jnp.abs(drift(flat, heard)).max()

    for values in grid:
        jacobians, left = slopes(*map(jnp.asarray, values))
        assert float(left) < 1e-6, values
        assert np.linalg.eigvals(np.asarray(jacobians)).real.max() < 1e-3, values  # per ms: nothing grows in 300 ms


def test_no_input_no_response(brain):
    assert np.abs(np.asarray(predicted(brain, 300.0))).max() < 1e-3 * np.exp(float(brain.dipole.log_scale))


def test_the_pulse_peaks_at_one():
    x = np.linspace(-1, 6, 7001)
    k = np.asarray(pulse(jnp.asarray(x), 2.0))
    assert k.max() == pytest.approx(1.0, abs=1e-6) and x[k.argmax()] == pytest.approx(1.0, abs=1e-3)
    assert np.all(k[x <= 0] == 0)


@pytest.mark.slow
def test_gradients_of_the_moments(x64):
    points = np.random.default_rng(0).uniform(-60, 60, (4, 3))
    brain = StruckNetwork.of(jnm.Connectome.from_centres(points, seed=0).normalised("rows"))
    brain = eqx.tree_at(lambda m: m.strength, brain, jnp.asarray([0.03, -0.02, 0.05, 0.01]))

    def loss(values):
        places = lambda m: [place.where(m) for place in m.free.values()]  # noqa: E731
        moments = eqx.tree_at(places, brain, values).moments(150.0)
        return jnp.sum(moments**2 * jnp.linspace(0, 1, len(moments))[:, None])  # late ones count more: onsets matter

    at = [place.where(brain) for place in brain.free.values()]
    loss, gradient = jax.jit(loss), jax.grad(loss)(at)
    for i, name in enumerate(brain.free):
        step = 1e-4 * max(1.0, float(jnp.max(jnp.abs(at[i])))) * (0.05 if name in ("a", "b", "p") else 1.0)
        direction = jnp.ones_like(at[i])
        ends = [loss([v + s * step * direction if j == i else v for j, v in enumerate(at)]) for s in (1, -1)]
        assert float(jnp.sum(gradient[i])) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-4), name


def test_weak_inputs_move_a_network_in_proportion(brain, truth):
    R = np.asarray(linear_response(brain, 100.0), dtype=float)
    u = 1e-3 * np.asarray(truth.strength, dtype=float) / STRENGTH_SD
    moved = np.asarray(predicted(eqx.tree_at(lambda m: m.strength, brain, jnp.asarray(u, float)), 100.0))
    np.testing.assert_allclose(R @ u, moved, atol=0.02 * np.abs(moved).max())


def test_strengths_are_those_of_least_squares_with_the_prior_as_rows():
    rng = np.random.default_rng(0)
    R, gain, data = rng.standard_normal((30, 5, 5)), rng.standard_normal((8, 5)), rng.standard_normal((30, 8))
    view = View(data, gain, np.zeros(30), 8.0, 2.0, 0.5)
    columns = np.einsum("tri,dr->tdi", R, gain).reshape(-1, 5) * np.sqrt(0.5 / 2.0)
    rows = np.concatenate([columns, np.diag(1 / view.prior)])
    wanted = np.linalg.lstsq(rows, np.concatenate([data.ravel() * np.sqrt(0.5 / 2.0), np.zeros(5)]), rcond=None)[0]
    np.testing.assert_allclose(ridge(R, view)[0], wanted, rtol=1e-8)  # the first scale is exp(0)


def test_minimum_norm_is_the_textbooks(truth):
    """R G' (G R G' + C)^-1 z (Dale & Sereno 1993, eq. 2): the same solution in the space of sensors."""
    shown = task(truth, 100.0)
    moments, scale = baselines.minimum_norm(shown)
    G, R = shown.view.gain, np.diag((np.exp(scale) * shown.view.prior) ** 2)
    wanted = shown.view.data @ np.linalg.inv(G @ R @ G.T + np.eye(SENSORS)) @ G @ R
    np.testing.assert_allclose(moments, wanted, rtol=1e-6, atol=1e-9)


def test_a_share_is_of_what_can_be_explained():
    rng = np.random.default_rng(0)
    signal, noise = 2.0 * rng.standard_normal(100_000), rng.standard_normal(100_000)
    data = signal + noise
    assert share((data - signal) ** 2, data**2, 1.0) == pytest.approx(1.0, abs=0.01)
    assert share((data - 0.5 * signal) ** 2, data**2, 1.0) == pytest.approx(0.75, abs=0.01)
    assert share(data**2, data**2, 1.0) == 0.0


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).standard_normal(50)
    without = np.array([np.delete(x, i).mean() for i in range(50)])
    assert jackknife(without) == pytest.approx(x.std(ddof=1) / np.sqrt(50), rel=1e-12)


def test_a_contrast_needs_two_standard_errors():
    ones = np.ones(6)
    true, other = Held(0.2 * ones, 2 * ones, 0 * ones), Held(0.9 * ones, 2 * ones, 0 * ones)
    assert Contrast.of(true, [other, other]).beats
    assert not Contrast.of(true, [true, true]).beats


def test_to_fail_less_badly_is_no_success():
    """A network that predicts nothing does not speak for its connectome, even where permuted ones do worse."""
    ones = np.ones(6)
    bad, worse = Held(2.1 * ones, 2 * ones, 0 * ones), Held(2.5 * ones, 2 * ones, 0 * ones)
    score = Score("network", 9, 0.1, bad, 0.1, bad)
    contrast = {"unseen sites": Contrast.of(bad, [worse, worse])}
    assert contrast["unseen sites"].beats and not bad.predicts
    result = SimpleNamespace(contrasts=contrast, score=lambda name: score, connectome=SimpleNamespace(source=""))
    assert "NOT beat" in _on_the_coupling(result)[0]  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["network", "gamma map"])
def test_a_known_response_is_found_and_foretold(truth, brain, kind):
    """Fitted to 150 of 300 ms, and then asked for all: signal to noise is 9:1, the input comes at 90 ms."""
    whole, n = task(truth), round(150.0 / INTERVAL)
    fit = fit_response(brain if kind == "network" else baselines.GammaMap.of(brain), whole.until(150.0), 100)
    assert fit.losses[-1] < 0.7 * fit.losses[0]
    moments = np.asarray(predicted(fit.model, 300.0), dtype=float)
    errors, totals, noise = whole.view.errors(moments), whole.view.totals, whole.view.noise
    assert share(errors[:n], totals[:n], noise) > 0.98
    assert share(errors[n:], totals[n:], noise) > 0.75
    if kind == "network":
        wanted = np.asarray(predicted(truth, 300.0))
        assert np.linalg.norm(moments - wanted) < 0.25 * np.linalg.norm(wanted)


def test_what_is_carried_on_decays():
    moments = np.array([[1.0, 2.0], [4.0, 8.0]])
    np.testing.assert_allclose(baselines.carried_on(moments, 2, np.inf), [[4, 8], [4, 8]])
    np.testing.assert_allclose(baselines.carried_on(moments, 1, INTERVAL), [[4 / np.e, 8 / np.e]])


# ------------------------------------------------------------------------------------------- where the input comes in


def strongly_coupled():
    """Four regions with delays, and an input that sweeps over them."""
    points = np.random.default_rng(0).uniform(-60, 60, (4, 3))
    brain = closed_form.with_delays(
        StruckNetwork.of(jnm.Connectome.from_centres(points, seed=0).normalised("rows")), speed=2.0
    )
    places = lambda m: (m.network.coupling.gain, m.onset, m.width, m.sweep)  # noqa: E731
    return eqx.tree_at(places, brain, tuple(map(jnp.asarray, (50.0, 30.0, 10.0, (0.1, -0.1, 0.05)))))


def test_the_closed_form_is_the_simulation(x64):
    """Weak inputs, a strongly coupled network with delays: moments of a simulation, whose step is its error."""
    brain = strongly_coupled()
    simulated = np.asarray(linear_response(brain, 100.0))
    order, eye = jnp.asarray(closed_form.in_order(100.0)), jnp.eye(4)
    ours = np.asarray(jax.jit(lambda m: closed_form.fields(m, 40, INTERVAL, order, eye, eye))(brain))
    others = ~np.eye(4, dtype=bool)
    for part in (np.ones((4, 4), bool), others):
        assert np.linalg.norm((ours - simulated)[:, part]) < 0.03 * np.linalg.norm(simulated[:, part])


def test_derivatives_of_the_closed_form(x64):
    """Along coupling, speed, a rate of the columns and the onset: central differences."""
    brain, order, eye = strongly_coupled(), jnp.asarray(closed_form.in_order(100.0)), jnp.eye(4)
    network = brain.network
    start = jnp.stack([network.coupling.gain, network.speed, network.node.a, brain.onset])

    @jax.jit
    def seen(x):
        places = lambda m: (m.network.coupling.gain, m.network.speed, m.network.node.a, m.onset)  # noqa: E731
        return closed_form.fields(eqx.tree_at(places, brain, tuple(x)), 10, 10.0, order, eye, eye)

    for direction in (jnp.diag(start)[k] for k in range(4)):
        slope, h = jax.jvp(seen, (start,), (direction,))[1], 1e-5
        difference = (seen(start + h * direction) - seen(start - h * direction)) / (2 * h)
        np.testing.assert_allclose(slope, difference, atol=1e-7 * np.abs(difference).max())


def test_a_shuffled_stimulus_keeps_its_values():
    order = closed_form.shuffled(300.0, seed=1)
    assert sorted(order) == list(range(len(order))) and not np.array_equal(order, closed_form.in_order(300.0))


def test_entries_are_about_their_landmarks():
    positions = np.array([*hypotheses.LANDMARKS.values(), (0.0, 90.0, 60.0)])
    found = hypotheses.entries(positions)
    assert [found[n].tolist() for n in ("auditory left", "auditory", "visual")] == [[0], [0, 1], [2, 3]]
    assert len(found["everywhere"]) == 7
    with pytest.raises(ValueError, match="mm of the head frame"):
        hypotheses.entries(positions / 1000)


@pytest.mark.slow
def test_the_evidence_finds_the_entry():
    """Two of six regions of a gamma map are active: their hypothesis is the most probable, and only they leave noise."""
    rng, regions = np.random.default_rng(0), 6
    points = rng.uniform(-60, 60, (regions, 3))
    brain = StruckNetwork.of(jnm.Connectome.from_centres(points, seed=0).normalised("rows"))
    moments = np.zeros((120, regions))
    courses = baselines.GammaMap.of(brain)
    moments[:, :2] = (
        20 * np.asarray(eqx.tree_at(lambda m: m.strength, courses, jnp.ones(regions)).moments(300.0))[:, :2]
    )
    gain = rng.standard_normal((8, regions))
    view = View(moments @ gain.T + rng.standard_normal((120, 8)), gain, np.zeros(120), 8.0, 1.0, 0.25)
    fits = {n: evidence.fit_entry(courses, view, evidence.Entry(np.array(e)), steps=3) for n, e in ENTRIES.items()}
    assert max(fits, key=lambda n: fits[n].log_evidence) == "right"
    assert fits["right"].error < 1.3 < fits["wrong"].error
    found = fits["right"].moments(300.0)
    assert np.linalg.norm(found - moments) < 0.1 * np.linalg.norm(moments)


# ------------------------------------------------------------------------------------------------- the real recording


@pytest.fixture(scope="module")
def arguments(data_dir):
    pytest.importorskip("mne")
    sample = data_dir / "recordings" / "sample"
    files = [sample / f"sample-{name}.fif" for name in ("audvis-ave", "oct4-meg-fwd", "audvis-cov")]
    return [str(files[0]), "--forward", str(files[1]), "--cov", str(files[2])], sample / "sample-parcels.json"


def refused(arguments, capsys, *more):
    assert cli.main(["fit", *arguments[0], *map(str, more)]) == 2
    return capsys.readouterr().err


def test_a_folder_that_cannot_be_written(arguments, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert "choose another" in refused(arguments, capsys, "--out", tmp_path / "file" / "below")


def test_a_connectome_without_labels(arguments, tmp_path, capsys):
    jnm.datasets.connectome().write(tmp_path / "c.npz")
    np.save(tmp_path / "c.npy", np.ones((90, 90)) - np.eye(90))
    more = ("--parcels", arguments[1], "--out", tmp_path)
    assert "never by index" in refused(arguments, capsys, "--connectome", tmp_path / "c.npy", *more)
    assert "different regions" in refused(arguments, capsys, "--connectome", tmp_path / "c.npz", *more)


def test_parcels_of_another_forward_solution(arguments, tmp_path, capsys):
    (tmp_path / "p.json").write_text(json.dumps({"parcel_of_source": [0, 1, 2]}))
    assert "516" in refused(arguments, capsys, "--parcels", tmp_path / "p.json", "--out", tmp_path)


def test_no_files(tmp_path, capsys):
    assert cli.main(["fit", "no.fif", "--forward", "f.fif", "--cov", "c.fif", "--out", str(tmp_path)]) == 2
    assert "no.fif" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_recording(arguments, tmp_path, capsys):
    """Right auditory: fields of the first 150 ms and unseen sites are explained in part, later time is not foretold."""
    xarray = pytest.importorskip("xarray")
    more = ["--condition", "Right Auditory", "--parcels", str(arguments[1]), "--out", str(tmp_path), "--short"]
    assert cli.main(["fit", *arguments[0], *more]) == 0
    said = capsys.readouterr().out
    assert (
        ("NOT predict" in said or "next to nothing" in said)
        and "must not be interpreted" in said
        and "Jansen-Rit" in said
    )
    assert (tmp_path / "evoked-fit.png").stat().st_size > 50_000
    with xarray.open_dataset(tmp_path / "evoked-fit.nc", engine="h5netcdf") as saved:
        assert saved.measured.sizes["channel"] == 305 and saved.moment.sizes == {"time": 120, "region": 90}
        scores = saved.score.to_pandas()
    network, norm = scores.loc["network"], scores.loc["minimum norm"]
    assert network["early"] > 0.25 and network["unseen"] > 3 * network["unseen error"] > 0
    assert norm["unseen"] > network["unseen"]
    assert abs(network["later"]) < 0.05
