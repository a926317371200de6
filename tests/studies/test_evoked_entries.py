"""Where the input enters: judged on data whose truth is known, put in words, refused, and on the real recording."""

from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import norm

import jnm
from jnm.meg import LeadField
from jnm.studies.evoked import entries
from jnm.studies.evoked.closed_form import with_delays
from jnm.studies.evoked.comparison import HELD, SURE, EntryComparison, EntryScore, Margin
from jnm.studies.evoked.evidence import Entry, fit_entry, silence
from jnm.studies.evoked.fit import STRENGTH_SD, Task, View
from jnm.studies.evoked.model import StruckNetwork
from jnm.studies.evoked.scores import Contrast, Held, Score

REGIONS, SENSORS = 12, 40


def view_of(data, gain, independent=0.2):
    """Sensors whose noise has variance one."""
    return View(data, gain, np.zeros(len(data)), float(gain.shape[0]), 1.0, independent)


def test_silence_is_noise_of_the_best_variance():
    """Of data thinned by four, all independent: SciPy's normal density, at the variance that makes it largest."""
    data = 1.5 * np.random.default_rng(0).standard_normal((40, 6))
    thinned, view = data[3::4], view_of(data, np.ones((6, 1)), independent=1.0)
    best = np.sqrt(np.mean(thinned**2))
    assert silence(view) == pytest.approx(norm.logpdf(thinned, scale=best).sum(), rel=1e-12)
    assert silence(view) > norm.logpdf(thinned, scale=0.95 * best).sum()
    quiet = silence(view._replace(data=0.5 * data))  # less than the baseline's: that is kept
    assert quiet == pytest.approx(norm.logpdf(0.5 * thinned, scale=1).sum(), rel=1e-12)


def test_shuffling_keeps_to_its_side_of_the_split():
    brain = StruckNetwork.of(jnm.Connectome.from_centres(np.eye(4, 3) * 50, seed=0).normalised("rows"))
    made = dict(entries._explanations(brain, np.array([0]), 2, 100.0, 300.0))
    assert list(made) == ["network", "no coupling", "shuffled input", "gamma map", "permuted 1", "permuted 2"]
    order = made["shuffled input"][1].order
    assert order is not None
    n = len(order) // 3
    assert sorted(order[:n]) == list(range(n)) and sorted(order) == list(range(len(order)))
    assert not np.array_equal(order[:n], np.arange(n))


def scored(condition, entry, log_evidence, unseen, later):
    """A score whose shares of eight blocks are known, without a network."""
    held = [Held(np.linspace(0.98, 1.02, 8) * (2 - share), np.full(8, 2.0), np.ones(8)) for share in (unseen, later)]
    none = Held(np.full(8, 2.0), np.full(8, 2.0), np.ones(8))
    fitted = SimpleNamespace(value=lambda name: 5.0, interval=lambda name: (2.0, 12.0))
    margin = Margin(log_evidence, dict(zip(HELD, (Contrast.of(x, [none]) for x in held), strict=True)))
    score = Score("network", 20, 0.1, held[1], 0.1, held[0])
    return EntryScore(condition, entry, ("a", "b"), log_evidence, fitted, 0.2, 20.0, score, {"permuted": margin})  # pyright: ignore


@pytest.fixture(scope="module")
def compared():
    scores = (
        scored("tone", "auditory", 12.0, 0.4, 0.3), scored("tone", "visual", 2.0, 0.0, 0.0),
        scored("flash", "auditory", -4.0, 0.0, -0.1), scored("flash", "visual", -1.0, 0.2, 0.0),
    )  # fmt: skip
    return EntryComparison(scores, {c: scores[0].judged for c in ("tone", "flash")}, 24.0, ("A note.",), 150.0, 300.0)


def test_words_follow_the_numbers(compared):
    tone, flash = compared.words()
    assert tone.startswith(
        "tone: input at 'auditory' is the most probable, +12.0 nats to silence and 10.0 before 'visual'"
    )
    assert "predicts other sites and later time" in tone and "beats permuted" in tone
    assert "1e+05 cells in step, 20 mm2" in tone  # 20 nA m, of 0.2 pA m each and 1 nA m a mm2
    assert "NO entry is more probable than no response (best: input at 'visual'" in flash
    assert "it predicts other sites;" in flash
    said = str(compared)
    assert "A note." in said and "24 independent samples" in said and "0.400 +- 0.0" in said and "minimum norm" in said
    assert compared.table().index("visual   ") < compared.table().rindex("auditory")  # the most probable comes first


def test_comparisons_have_labels_and_a_picture(compared):
    xarray = pytest.importorskip("xarray")
    found = compared.to_xarray()
    assert isinstance(found, xarray.Dataset)
    assert float(found.share.sel(condition="tone", entry="auditory", held="later time")) == pytest.approx(0.3)
    assert float(
        found.margin.sel(condition="flash", entry="visual", rival="permuted", held="other sites")
    ) == pytest.approx(0.2)
    figure = compared.plot()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["tone", "flash"]
    plt.close(figure)


def test_hypotheses_that_are_none():
    positions = jnp.asarray([(-50.0, 5.0, 50.0), (48.0, 8.0, 49.0), (10.0, -52.0, 73.0)])
    names = ("left", "right", "back")
    lead = LeadField(jnp.ones((2, 3)), jnp.zeros((2, 3)), positions, None, ("a", "b"), ("mag",) * 2, names)
    found = entries._places({"ears": ["left", "right"], "eyes": ["back"]}, lead)
    assert [regions.tolist() for regions in found.values()] == [[0, 1], [2]]
    for wrong, said in (
        (["auditory"], "two hypotheses or more"), ({"a": ["left"], "b": ["front"]}, "there is no front"),
        ({"a": ["left"], "b": []}, "region in one of them"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            entries._places(wrong, lead)
    with pytest.raises(ValueError, match="at least 2 and 1"):
        jnm.studies.compare_entries("no.fif", "no.fif", "no.fif", folds=1)


@pytest.mark.slow
def test_the_true_entry_wins():
    """A simulated network struck at two of twelve regions, seen by noisy sensors: evidence, unseen sites and later time."""
    rng, points = np.random.default_rng(0), np.random.default_rng(0).uniform(-60, 60, (REGIONS, 3))
    brain = with_delays(StruckNetwork.of(jnm.Connectome.from_centres(points, seed=0).normalised("rows")))
    struck = np.zeros(REGIONS)
    struck[:2] = 3 * STRENGTH_SD, -2 * STRENGTH_SD
    places = lambda m: (m.strength, m.onset, m.width, m.network.coupling.gain)  # noqa: E731
    truth = eqx.tree_at(places, brain, tuple(jnp.asarray(x, float) for x in (struck, 110.0, 20.0, 18.0)))
    moments = np.asarray(truth.moments(300.0), float)
    gain = rng.standard_normal((SENSORS, REGIONS))
    gain *= 2 / np.sqrt(np.mean((moments @ gain.T) ** 2))
    data = moments @ gain.T + rng.standard_normal((len(moments), SENSORS))
    parts = [view_of(data[:, k::4], gain[k::4]) for k in range(2)]
    rest = [view_of(np.delete(data, np.s_[k::4], axis=1), np.delete(gain, np.s_[k::4], axis=0)) for k in range(2)]
    sites = [(Task(seen, ()), unseen) for seen, unseen in zip(rest, parts, strict=True)]
    lead = SimpleNamespace(labels=tuple("abcdefghijkl"))

    whole, bar = (
        Task(view_of(data, gain), ()),
        SimpleNamespace(set_postfix_str=lambda *_, **__: None, update=lambda: None),
    )
    made = dict(entries._explanations(brain, np.array([0, 1]), 1, 150.0, 300.0))
    right = entries._score("tone", "right", lead, made, whole, sites, 150.0, 8, bar)  # pyright: ignore
    wrong = fit_entry(brain, whole.view, Entry(np.array([4, 5])), steps=8)
    assert right.beats_silence and right.log_evidence > wrong.log_evidence - silence(whole.view) + SURE
    assert right.predicts == HELD and right.judged.unseen.share > 0.8
    assert right.margins["shuffled input"].nats > SURE and right.beats("shuffled input")
    low, high = right.fitted.interval("speed")
    assert 1.0 < low < right.fitted.value("speed") < high < 20.0


@pytest.mark.slow
def test_the_real_recording(data_dir):
    """Six trials of a tone: both hypotheses are judged on what they did not see; the amplitudes are those of cortex."""
    pytest.importorskip("mne")
    sample = data_dir / "recordings" / "sample"
    files = [sample / f"sample-{name}.fif" for name in ("audvis-ave", "oct4-meg-fwd", "audvis-cov")]
    found = jnm.studies.compare_entries(
        *files, parcels=sample / "sample-parcels.json", conditions="Right Auditory",
        entries=("auditory", "visual"), folds=2, permutations=1, steps=4,
    )  # fmt: skip
    assert found.conditions == ("Right Auditory",) and found.independent == pytest.approx(24.0, rel=0.01)
    for score in found.scores:
        assert abs(score.judged.unseen.share) < 0.5 and score.judged.unseen.error < 0.1
        assert 0 < score.moment < 500 and set(score.margins) == {
            "no coupling",
            "shuffled input",
            "gamma map",
            "permuted",
        }
    assert "cells in step" in found.words()[0]
    with pytest.raises(ValueError, match="there are auditory left"):
        jnm.studies.compare_entries(*files, parcels=sample / "sample-parcels.json", entries=("auditory", "motor"))
