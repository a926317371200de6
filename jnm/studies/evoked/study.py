"""`jnm fit`: explain a real average response by a network of mass models, and say honestly how far that goes.

Two claims are tested on data the fit has not seen. Dynamics: fitted to the first half of the window, does the network
predict the second? Space: fitted to most sensor sites, does it predict the others? (Channels of one site measure the same,
so whole sites are left out.) Beside it stand explanations without dynamics and with wrong networks (`baselines`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnm._version import versions
from jnm.integration.record import Record, fingerprint
from jnm.meg.leadfield import LeadField
from jnm.meg.recording import EvokedData
from jnm.network.connectome import Connectome
from jnm.studies.evoked import baselines
from jnm.studies.evoked.fit import Task, View, fit_response, predicted, share, split_sites
from jnm.studies.evoked.model import INTERVAL, STEP, AbstractResponse, StruckNetwork
from jnm.studies.evoked.report import Contrast, EvokedFit, Held, Score
from jnm.studies.output import writable

REGIONS = 90
"""Parcels made where none are given."""

SITES_SEED, CONNECTOME_SEED, PARCELS_SEED = 0, 0, 0
BLOCK = 25.0
"""ms: one independent sample below 40 Hz is 12.5 ms; standard errors of later time are over blocks of two."""

Predict = Callable[[Task, float], Float[np.ndarray, "time region"] | None]
"""From what a task sees to moments for so many ms; None where the method has nothing to say beyond what it saw."""


def fit_evoked(
    evoked: Any,
    forward: Any,
    cov: Any,
    *,
    condition: str | None = None,
    connectome: Connectome | str | Path | None = None,
    parcels: Any = None,
    out: str | Path | None = None,
    lowpass: float | None = 40.0,
    split: float = 150.0,
    stop: float = 300.0,
    folds: int = 5,
    permutations: int = 3,
    steps: int = 120,
    short: bool = False,
    progress: bool = True,
) -> EvokedFit:
    """Fit a network at rest, struck by a brief input, to an average MEG response; judge it on later time and unseen sites.

        result = jnm.studies.fit_evoked("s-ave.fif", "s-fwd.fif", "s-cov.fif", condition="Left Auditory", parcels="s.json")
        print(result); result.plot()

    **Arguments**

    - `evoked`, `forward`, `cov`: MNE objects or paths; see `jnm.meg.EvokedData.from_mne` for what is done to them.
    - `condition`: which average, by its comment; by default the first.
    - `connectome`: weights whose labels are those of the parcels, in any order; by default they are made from the parcels'
      positions (`Connectome.from_centres`, seed 0). `parcels`: see `LeadField.from_mne`; by default 90 by k-means.
    - `out`: a folder for `evoked-fit.png`, `.nc` and `.txt`; tested before anything is computed.
    - `lowpass`: Hz. `stop`: end of the window, ms. `split`: where later time begins, ms.
    - `folds`: draws of sites. `permutations`: of the connectome. `steps`: of each gradient descent.
    - `short`: two folds, one permutation, 30 steps: for tests and notebooks.

    Raises `ValueError` for input that does not fit together, and `OSError` for a folder that cannot be written.
    """
    folder = None if out is None else writable(out)
    if short:
        folds, permutations, steps = 2, 1, 30
    if not 0 < split < stop or round(split / BLOCK) * BLOCK != split or round(stop / BLOCK) * BLOCK != stop:
        raise ValueError(f"split = {split}, stop = {stop} ms; wanted 0 < split < stop, both multiples of {BLOCK:g} ms.")
    if folds < 2 or permutations < 1:
        raise ValueError(f"folds = {folds}, permutations = {permutations}; wanted at least 2 and 1.")
    data = EvokedData.from_mne(evoked, cov, forward, condition=condition, lowpass=lowpass, stop=stop)
    lead = LeadField.from_mne(forward, parcels if parcels is not None else _parcels(forward))
    connectome, lead = _matched(connectome, lead)
    result = _study(data, lead, connectome, split, stop, folds, permutations, steps, progress)
    if folder is not None:
        result.save(folder)
    return result


# --------------------------------------------------------------------------------------------------------------- input


def _parcels(forward: Any) -> dict[str, Any] | None:
    """k-means of the sources of each hemisphere, where there are more than `REGIONS`."""
    from scipy.cluster.vq import kmeans2

    positions = np.asarray(LeadField.from_mne(forward).region_positions, dtype=float)
    if len(positions) <= REGIONS:
        return None
    of_source = np.zeros(len(positions), dtype=int)
    made = 0
    for side in (positions[:, 0] < 0, positions[:, 0] >= 0):
        if side.any():
            _, nearest = kmeans2(positions[side], min(REGIONS // 2, int(side.sum())), minit="++", seed=PARCELS_SEED)
            names, of_source[side] = np.unique(nearest, return_inverse=True)
            of_source[side] += made
            made += len(names)
    return {"parcel_of_source": of_source}


def _matched(connectome: Connectome | str | Path | None, lead: LeadField) -> tuple[Connectome, LeadField]:
    """A connectome and a lead field of the same regions in the same order: by label, never by index."""
    if connectome is None:
        made = Connectome.from_centres(lead.region_positions, seed=CONNECTOME_SEED, labels=lead.labels)
        return made.without_self_connections().normalised("rows"), lead
    if not isinstance(connectome, Connectome):
        connectome = Connectome.read(connectome)
    if not connectome.labelled:
        raise ValueError(
            "the connectome has no labels, and regions are matched to parcels by label, never by index. Give "
            "Connectome(weights, labels=[...]) the names of the parcels, or leave it out to build one from their positions."
        )
    if strangers := set(connectome.labels) ^ set(lead.labels):
        raise ValueError(
            f"lead field and network of different regions: {len(strangers)} labels are not in both, such as "
            f"{', '.join(sorted(strangers)[:4])}. The parcels are {lead.labels[0]} ... {lead.labels[-1]} ({len(lead.labels)}), "
            f"the connectome's regions {connectome.labels[0]} ... ({connectome.n_regions}); connectome.subset(labels) takes "
            "some."
        )
    lead = lead.select(connectome.labels)
    # positions in the head of this subject, whatever frame the connectome's own are in
    placed = eqx.tree_at(lambda c: c.centres, connectome, lead.region_positions, is_leaf=lambda x: x is None)
    return placed.without_self_connections().normalised("rows"), lead


# --------------------------------------------------------------------------------------------------------------- study


def _study(data, lead, connectome, split, stop, folds, permutations, steps, progress) -> EvokedFit:
    from tqdm.auto import tqdm

    times = np.arange(1, round(stop / INTERVAL) + 1) * INTERVAL
    whole = Task.of(data, lead, times)
    sites = [
        (Task.of(seen, lead, times), View.of(unseen, lead, times))
        for seen, unseen in split_sites(data, folds, SITES_SEED)
    ]
    network = StruckNetwork.of(connectome)
    methods = _methods(network, permutations, steps, data.effective_samples(stop))
    with tqdm(total=1 + len(methods) * (1 + folds), unit="fit", disable=None if progress else True) as bar:
        fit, _ = fit_response(network, whole, steps)
        bar.update()
        scores = [
            _score(name, numbers, predict, whole, sites, split, bar) for name, (numbers, predict) in methods.items()
        ]
    moments = np.asarray(predicted(fit.model, stop), dtype=float)
    view = whole.view
    scores = [_nothing(scores[0]), *scores]
    return EvokedFit(
        evoked=data,
        lead=lead,
        connectome=connectome,
        fit=fit,
        estimates=fit.report(keys=2),
        times=times,
        moments=moments,
        explained=share(view.errors(moments), view.totals, view.noise),
        scores=tuple(s for s in scores if not s.method.startswith("permuted ")) + (_mean_permuted(scores),),
        contrasts=_contrasts(scores),
        facts=_facts(data, whole, times, split),
        notes=tuple(_notes(data, lead, connectome, folds, permutations)),
        split=split,
        record=_record(data, lead, fit.model, folds, permutations, steps),
    )


def _methods(
    network: StruckNetwork, permutations: int, steps: int, independent: float
) -> dict[str, tuple[int, Predict]]:
    """By name: how many free numbers, and how it predicts."""
    regions, few = len(network.strength), sum(np.size(place.where(network)) for place in network.free.values())

    def fitted(model: AbstractResponse) -> Predict:
        return lambda task, duration: np.asarray(
            predicted(fit_response(model, task, steps)[0].model, duration), dtype=float
        )

    def norm(task: Task, duration: float) -> np.ndarray | None:
        return baselines.minimum_norm(task)[0] if duration <= task.duration else None

    def decaying(task: Task, duration: float) -> np.ndarray:
        moments, _ = baselines.minimum_norm(task)
        more = round((duration - task.duration) / INTERVAL)
        return np.concatenate([moments, baselines.carried_on(moments, more, baselines.best_decay(task, moments))])

    start = baselines.unfitted(network)
    one_each = regions * round(independent)
    return {
        "unfitted network": (0, lambda task, duration: np.asarray(predicted(start, duration), dtype=float)),
        "minimum norm": (one_each, norm),
        "minimum norm, decaying": (one_each + 1, decaying),
        "gamma map": (regions + few, fitted(baselines.GammaMap.of(network))),
        "network": (regions + few, fitted(network)),
        "network, no coupling": (regions + few - 1, fitted(baselines.without_coupling(network))),
        **{
            f"permuted {seed}": (regions + few, fitted(baselines.with_permuted_regions(network, seed)))
            for seed in range(1, permutations + 1)
        },
    }


def _score(name: str, numbers: int, predict: Predict, whole: Task, sites: list, split: float, bar: Any) -> Score:
    bar.set_postfix_str(name, refresh=False)
    stop, seen = whole.duration, round(split / INTERVAL)
    ahead = predict(whole.until(split), stop)
    bar.update()
    moments = predict(whole.until(split), split) if ahead is None else ahead[:seen]
    early = whole.view.until(seen)
    later = None if ahead is None else _blocks(whole.view, ahead, seen)
    fitted, held = [], []
    for task, unseen in sites:
        moments_of_fold = predict(task, stop)
        fitted.append(_sums(task.view, moments_of_fold))
        held.append(_sums(unseen, moments_of_fold))
        bar.update()
    return Score(
        name, numbers, share(early.errors(moments), early.totals, early.noise), later,
        Held(*np.transpose(fitted)).share, Held(*np.transpose(held)),
    )  # fmt: skip


def _blocks(view: View, moments: np.ndarray, seen: int) -> Held:
    """What comes after the samples seen, in blocks of `BLOCK` ms."""
    size = round(BLOCK / INTERVAL)
    errors, totals = (x[seen:].reshape(-1, size).sum(axis=1) for x in (view.errors(moments), view.totals))
    return Held(errors, totals, np.full(len(totals), view.noise * size))


def _sums(view: View, moments: np.ndarray) -> tuple[float, float, float]:
    return float(view.errors(moments).sum()), float(view.totals.sum()), view.noise * len(view.data)


def _nothing(like: Score) -> Score:
    """No model: explains nothing, by definition."""
    later, unseen = (None if held is None else held._replace(errors=held.totals) for held in (like.later, like.unseen))
    assert unseen is not None
    return Score("nothing", 0, 0.0, later, 0.0, unseen)


def _permuted(scores: list[Score]) -> list[Score]:
    return [score for score in scores if score.method.startswith("permuted ")]


def _mean_permuted(scores: list[Score]) -> Score:
    """One row for all permuted connectomes: sums of squares averaged."""
    all_of = _permuted(scores)

    def mean(held: list[Held]) -> Held:
        return Held(*(np.mean([getattr(h, name) for h in held], axis=0) for name in Held._fields))

    return Score(
        f"network, permuted ({len(all_of)})", all_of[0].numbers, float(np.mean([s.early for s in all_of])),
        mean([s.later for s in all_of if s.later is not None]), float(np.mean([s.seen for s in all_of])),
        mean([s.unseen for s in all_of]),
    )  # fmt: skip


def _contrasts(scores: list[Score]) -> dict[str, Contrast]:
    ours = next(score for score in scores if score.method == "network")
    assert ours.later is not None
    return {
        "later time": Contrast.of(ours.later, [s.later for s in _permuted(scores) if s.later is not None]),
        "unseen sites": Contrast.of(ours.unseen, [s.unseen for s in _permuted(scores)]),
    }


def _facts(data: EvokedData, whole: Task, times: np.ndarray, split: float) -> dict[str, float]:
    view, seen = whole.view, round(split / INTERVAL)
    rest = view._replace(data=view.data[seen:], outside=view.outside[seen:])
    early, _ = baselines.minimum_norm(whole.until(split))
    return {
        "noise": float(view.noise * len(times) / np.sum(view.totals)),
        "reach": baselines.reach(view),
        "drift": baselines.drift(data, times),
        "courses": baselines.best_courses(rest, early),
    }


def _notes(data: EvokedData, lead: LeadField, connectome: Connectome, folds: int, permutations: int) -> list[str]:
    kept = np.asarray(lead.share_kept) if lead.share_kept is not None else None
    size = np.linalg.norm(data.whiten_lead_field(lead), axis=0)
    loud = [label for label, gain in zip(lead.labels, size, strict=True) if gain > 10 * np.median(size)]
    notes = [
        f"Whitened baseline: variance {data.noise_variance:.2f} (1 is noise as the covariance says). Independent samples a "
        f"channel: {data.effective_samples(float(data.times[-1])):.0f}.",
        *([f"Left out: {', '.join(f'{n} ({why})' for n, why in data.excluded.items())}."] if data.excluded else []),
        *([f"Other conditions in the file: {', '.join(data.others)}."] if data.others else []),
        f"Regions: {len(lead.labels)}" + (f"; within them fixed orientations keep {kept.min():.0%} to {kept.max():.0%} (median "
        f"{np.median(kept):.0%}) of the mean gain of their sources." if kept is not None else "."),
        *([f"CAUTION: the gain of {', '.join(loud)} is over ten times the median; is a source at the skull?"] if loud else []),
        f"Connectome: {connectome.source or 'given'}, matched by label; rows normalised.",
        f"Nodes: Jansen-Rit, which explained unseen sites at least as well as PING and pyramidal NMM2 nodes. Sites in "
        f"{folds} draws (seed {SITES_SEED}), permutations of seeds 1 to {permutations}.",
    ]  # fmt: skip
    return notes


def _record(
    data: EvokedData, lead: LeadField, model: StruckNetwork, folds: int, permutations: int, steps: int
) -> Record:
    entries = {
        **versions(),
        "device": jax.default_backend(),
        "precision": str(model.strength.dtype),
        "solver": "Heun",
        "dt_ms": STEP,
        "condition": data.condition,
        "lowpass_hz": data.lowpass,
        "steps": steps,
        "folds": folds,
        "permutations": permutations,
        "seeds": f"sites {SITES_SEED}, connectome {CONNECTOME_SEED}, parcels {PARCELS_SEED}",
        "model": f"{type(model).__name__} {fingerprint(eqx.filter(model, eqx.is_array))}",
        "data": fingerprint([jnp.asarray(x) for x in (data.data, data.covariance, lead.gain)]),
    }
    return Record(tuple(entries.items()))
