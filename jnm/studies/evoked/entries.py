"""`jnm.studies.compare_entries`: at which regions does the input of an average response enter the network?

A network with conduction delays rests, and a brief input strikes the regions of one hypothesis. Each hypothesis is fitted in
closed form (`evidence`), rates, delays, onset and scale free, and stands trial three ways: by Laplace's evidence beside that
of no response; by the sensor sites, and by the later time, that a fit did not see (spec: meg.md 8). On the same held-out
data it meets its rivals: no connections, connections between other regions, the input's time course shuffled in blocks
(before and after `split` by itself, lest the past tell of the future), and a map of gamma functions at the same regions.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnm._progress import progress_bar, someone_watches
from jnm.meg.leadfield import LeadField
from jnm.meg.recording import EvokedData
from jnm.network.connectome import Connectome
from jnm.studies.evoked import baselines
from jnm.studies.evoked.closed_form import in_order, shuffled, with_delays
from jnm.studies.evoked.comparison import HELD, EntryComparison, EntryScore, Margin
from jnm.studies.evoked.evidence import GAMMA, NETWORK, Entry, Fitted, fit_entry, silence
from jnm.studies.evoked.fit import Task, View, share
from jnm.studies.evoked.hypotheses import entries as entries_about
from jnm.studies.evoked.model import AbstractResponse, StruckNetwork
from jnm.studies.evoked.regions import made_parcels, matched
from jnm.studies.evoked.scores import Contrast, Method, Score, judge
from jnm.studies.evoked.study import SITES_SEED, check_plan, views

ENTRIES = ("auditory", "visual", "central")
"""The hypotheses by default: two a stimulus may drive, and one, the hand area, that none of these should."""

SHUFFLE_SEED = 0


def compare_entries(
    evoked: Any,
    forward: Any,
    cov: Any,
    *,
    conditions: str | Sequence[str] | None = None,
    entries: Sequence[str] | Mapping[str, Sequence[str]] = ENTRIES,
    connectome: Connectome | str | Path | None = None,
    parcels: Any = None,
    lowpass: float | None = 40.0,
    split: float = 150.0,
    stop: float = 300.0,
    folds: int = 5,
    permutations: int = 3,
    steps: int = 12,
    progress: bool = True,
) -> EntryComparison:
    """Compare hypotheses of where the input enters, by evidence, unseen sensor sites and later time, for each condition.

        found = jnm.studies.compare_entries("s-ave.fif", "s-fwd.fif", "s-cov.fif", parcels="s.json")
        print(found); found.plot(); found.to_xarray()

    **Arguments**

    - `conditions`: which averages, by their comments; by default all of the file.
    - `entries`: names of `jnm.studies.evoked.hypotheses.ENTRIES` or "everywhere" (about landmarks of MNE's sample
      subject), or {name: labels of regions} for any head. Two or more.
    - `folds`: draws of sensor sites. `permutations`: of the connectome. `steps`: of Gauss-Newton, at most.
    - Others as in `jnm.studies.fit_evoked`. A hypothesis costs (5 + permutations) x (2 + folds) fits and so many seconds.

    Raises `ValueError` for input that does not fit together, an unknown condition, hypothesis or region.
    """
    check_plan(split, stop, folds, permutations)
    lead = LeadField.from_mne(forward, parcels if parcels is not None else made_parcels(forward))
    connectome, lead = matched(connectome, lead)
    places, brain = _places(entries, lead), with_delays(StruckNetwork.of(connectome))
    first, *more = _asked(conditions)
    recordings = [EvokedData.from_mne(evoked, cov, forward, condition=first, lowpass=lowpass, stop=stop)]
    for condition in recordings[0].others if conditions is None else more:
        recordings.append(EvokedData.from_mne(evoked, cov, forward, condition=condition, lowpass=lowpass, stop=stop))
    scores, norms = [], {}
    total = len(recordings) * (1 + len(places) * (4 + permutations)) * (1 + folds)
    with progress_bar(total, progress and someone_watches(), unit="fit") as bar:
        for data in recordings:
            whole, sites = views(data, lead, stop, folds)
            norm = Method(len(lead.labels) * round(data.effective_samples(stop)) + 1, baselines.decaying)
            norms[data.condition] = judge("minimum norm", norm, whole, sites, split, bar)
            for name, regions in places.items():
                rivals = dict(_explanations(brain, regions, permutations, split, stop))
                scores.append(_score(data.condition, name, lead, rivals, whole, sites, split, steps, bar))
    return EntryComparison(
        tuple(scores),
        norms,
        recordings[0].effective_samples(stop),
        tuple(_notes(recordings, lead, connectome, folds)),
        split,
        stop,
    )


def _asked(conditions: str | Sequence[str] | None) -> Sequence[str | None]:
    return [conditions] if conditions is None or isinstance(conditions, str) else conditions


def _places(entries: Sequence[str] | Mapping[str, Sequence[str]], lead: LeadField) -> dict[str, np.ndarray]:
    """The regions of each hypothesis, by number."""
    if len(entries) < 2 or isinstance(entries, str):
        raise ValueError(f"compare_entries: entries = {entries!r}; a comparison takes two hypotheses or more.")
    if isinstance(entries, Mapping):
        strangers = sorted({label for labels in entries.values() for label in labels} - set(lead.labels))
        if strangers or not all(len(labels) for labels in entries.values()):
            raise ValueError(
                f"compare_entries: wanted regions for each hypothesis, of {lead.labels[0]} ... {lead.labels[-1]}; "
                f"there is no {', '.join(strangers) or 'region in one of them'}."
            )
        return {name: np.array([lead.labels.index(label) for label in labels]) for name, labels in entries.items()}
    known = entries_about(np.asarray(lead.region_positions))
    if unknown := [name for name in entries if name not in known]:
        raise ValueError(f"compare_entries: no hypothesis {', '.join(unknown)}; there are {', '.join(known)}.")
    return {name: known[name] for name in entries}


def _explanations(
    brain: StruckNetwork, regions: np.ndarray, permutations: int, split: float, stop: float
) -> Iterator[tuple[str, tuple[AbstractResponse, Entry]]]:
    """The network and its rivals, with the same regions of entry."""
    here = Entry(regions)
    late = shuffled(stop - split, SHUFFLE_SEED) + len(in_order(split))
    yield "network", (brain, here)
    yield "no coupling", (baselines.without_coupling(brain), here)
    yield "shuffled input", (brain, here._replace(order=np.concatenate([shuffled(split, SHUFFLE_SEED), late])))
    yield "gamma map", (baselines.GammaMap.of(brain), here)
    for seed in range(1, permutations + 1):
        yield f"permuted {seed}", (baselines.with_permuted_regions(brain, seed), here)


def _score(
    condition: str,
    name: str,
    lead: LeadField,
    explanations: dict[str, tuple[AbstractResponse, Entry]],
    whole: Task,
    sites: list[tuple[Task, View]],
    split: float,
    steps: int,
    bar: Any,
) -> EntryScore:
    fits: dict[str, Fitted] = {}
    judged: dict[str, Score] = {}
    for rival, (model, entry) in explanations.items():
        fits[rival] = fit_entry(model, whole.view, entry, steps=steps)
        judged[rival] = judge(rival, _method(model, entry, steps), whole, sites, split, bar)
    ours, regions = fits["network"], explanations["network"][1].regions
    moments, view = ours.moments(whole.duration), whole.view
    return EntryScore(
        condition=condition,
        entry=name,
        regions=tuple(lead.labels[i] for i in regions),
        log_evidence=ours.log_evidence - silence(view),
        fitted=ours,
        explained=share(view.errors(moments), view.totals, view.noise),
        moment=float(np.abs(moments).max()),
        judged=judged["network"],
        margins=_margins(fits, judged),
    )


def _method(model: AbstractResponse, entry: Entry, steps: int) -> Method:
    few = sum(
        np.size(place.where(model)) for place in (NETWORK if isinstance(model, StruckNetwork) else GAMMA).values()
    )

    def predict(task: Task, duration: float) -> np.ndarray:
        return fit_entry(model, task.view, entry, steps=steps).moments(duration)

    return Method(len(entry.regions) + few, predict)


def _margins(fits: dict[str, Fitted], judged: dict[str, Score]) -> dict[str, Margin]:
    """The network's lead over each rival, the permuted connectomes as one."""
    permuted = [rival for rival in fits if rival.startswith("permuted ")]
    rivals = {**{rival: [rival] for rival in fits if rival not in ("network", *permuted)}, "permuted": permuted}
    ours, later = judged["network"], judged["network"].later
    assert later is not None

    def margin(names: list[str]) -> Margin:
        nats = fits["network"].log_evidence - float(np.mean([fits[name].log_evidence for name in names]))
        others = [judged[name] for name in names]
        held = (
            Contrast.of(ours.unseen, [other.unseen for other in others]),
            Contrast.of(later, [other.later for other in others if other.later is not None]),
        )
        return Margin(nats, dict(zip(HELD, held, strict=True)))

    return {rival: margin(names) for rival, names in rivals.items()}


def _notes(recordings: list[EvokedData], lead: LeadField, connectome: Connectome, folds: int) -> Iterator[str]:
    kept = np.asarray(lead.share_kept) if lead.share_kept is not None else None
    trials = ", ".join(f"{data.condition} ({data.averages} trials)" for data in recordings)
    yield (
        f"Conditions: {trials}. Whitened baselines: "
        + ", ".join(f"{data.noise_variance:.2f}" for data in recordings)
        + "."
    )
    yield f"Regions: {len(lead.labels)}" + ("." if kept is None else f"; sums over their sources keep {kept.min():.0%} to "
           f"{kept.max():.0%} (median {np.median(kept):.0%}) of the mean gain of a source.")  # fmt: skip
    yield f"Connectome: {connectome.source or 'given'}. Sites in {folds} draws (seed {SITES_SEED})."
