"""`jnm fit`: explain a real average response by a network of mass models, and say honestly how far that goes.

Two claims are tested on data the fit has not seen. Dynamics: fitted to the first half of the window, does the network
predict the second? Space: fitted to most sensor sites, does it predict the others? (Channels of one site measure the same,
so whole sites are left out.) Beside it stand explanations without dynamics and with wrong networks (`baselines`).
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jnm._progress import progress_bar, someone_watches
from jnm._version import versions
from jnm.integration.record import Record, fingerprint
from jnm.meg.leadfield import LeadField
from jnm.meg.recording import EvokedData
from jnm.network.connectome import Connectome
from jnm.studies.evoked import baselines
from jnm.studies.evoked.fit import Task, View, fit_response, predicted, share, split_sites
from jnm.studies.evoked.model import INTERVAL, STEP, AbstractResponse, StruckNetwork
from jnm.studies.evoked.regions import CONNECTOME_SEED, PARCELS_SEED, made_parcels, matched
from jnm.studies.evoked.report import EvokedFit
from jnm.studies.evoked.scores import BLOCK, Method, contrasts, judge, mean_permuted, nothing
from jnm.studies.output import writable

SITES_SEED = 0


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
    steps: int = 60,
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
    - `short`: two folds, one permutation, 20 steps: for tests and notebooks.

    Raises `ValueError` for input that does not fit together, and `OSError` for a folder that cannot be written.
    """
    folder = None if out is None else writable(out)
    if short:
        folds, permutations, steps = 2, 1, 20
    check_plan(split, stop, folds, permutations)
    data = EvokedData.from_mne(evoked, cov, forward, condition=condition, lowpass=lowpass, stop=stop)
    lead = LeadField.from_mne(forward, parcels if parcels is not None else made_parcels(forward))
    connectome, lead = matched(connectome, lead)
    result = _study(data, lead, connectome, split, stop, folds, permutations, steps, progress)
    if folder is not None:
        result.save(folder)
    return result


def check_plan(split: float, stop: float, folds: int, permutations: int) -> None:
    """Refuse what cannot be held out."""
    if not 0 < split < stop or round(split / BLOCK) * BLOCK != split or round(stop / BLOCK) * BLOCK != stop:
        raise ValueError(f"split = {split}, stop = {stop} ms; wanted 0 < split < stop, both multiples of {BLOCK:g} ms.")
    if folds < 2 or permutations < 1:
        raise ValueError(f"folds = {folds}, permutations = {permutations}; wanted at least 2 and 1.")


def views(data: EvokedData, lead: LeadField, stop: float, folds: int) -> tuple[Task, list[tuple[Task, View]]]:
    """The whole recording, and pairs of most sites and the others, up to `stop` ms."""
    times = np.arange(1, round(stop / INTERVAL) + 1) * INTERVAL
    lead = jax.tree.map(np.asarray, lead)  # JAX would compile the choice of channels for each number of them
    parts = split_sites(data, folds, SITES_SEED)
    sites = [(Task.of(seen, lead, times), View.of(unseen, lead, times)) for seen, unseen in parts]
    return Task.of(data, lead, times), sites


def _study(data, lead, connectome, split, stop, folds, permutations, steps, progress) -> EvokedFit:
    whole, sites = views(data, lead, stop, folds)
    times = np.arange(1, round(stop / INTERVAL) + 1) * INTERVAL
    network = StruckNetwork.of(connectome)
    methods = _methods(network, permutations, steps, data.effective_samples(stop))
    with progress_bar(1 + len(methods) * (1 + folds), progress and someone_watches(), unit="fit") as bar:
        fit = fit_response(network, whole, steps)
        bar.update()
        scores = [judge(name, method, whole, sites, split, bar) for name, method in methods.items()]
    moments = np.asarray(predicted(fit.model, stop), dtype=float)
    view = whole.view
    scores = [nothing(scores[0]), *scores]
    return EvokedFit(
        evoked=data,
        lead=lead,
        connectome=connectome,
        fit=fit,
        estimates=fit.report(keys=2),
        times=times,
        moments=moments,
        explained=share(view.errors(moments), view.totals, view.noise),
        scores=tuple(s for s in scores if not s.method.startswith("permuted ")) + (mean_permuted(scores),),
        contrasts=contrasts(scores),
        facts=_facts(data, whole, times, split),
        notes=tuple(_notes(data, lead, connectome, folds, permutations)),
        split=split,
        record=_record(data, lead, fit.model, folds, permutations, steps),
    )


def _methods(network: StruckNetwork, permutations: int, steps: int, independent: float) -> dict[str, Method]:
    regions, few = len(network.strength), sum(np.size(place.where(network)) for place in network.free.values())
    one_each = regions * round(independent)

    def moments(model: AbstractResponse, duration: float) -> np.ndarray:
        return np.asarray(predicted(model, duration), dtype=float)

    def fitted(model: AbstractResponse, numbers: int = regions + few) -> Method:
        return Method(numbers, lambda task, duration: moments(fit_response(model, task, steps).model, duration))

    permuted = {
        f"permuted {n}": fitted(baselines.with_permuted_regions(network, n)) for n in range(1, permutations + 1)
    }
    return {
        "unfitted network": Method(0, lambda task, duration: moments(baselines.unfitted(network), duration)),
        "minimum norm": Method(one_each, lambda task, _: baselines.minimum_norm(task)[0], looks_ahead=False),
        "minimum norm, decaying": Method(one_each + 1, baselines.decaying),
        "gamma map": fitted(baselines.GammaMap.of(network)),
        "network": fitted(network),
        "network, no coupling": fitted(baselines.without_coupling(network), regions + few - 1),
        **permuted,
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
        f"Nodes: Jansen-Rit. Sites in "
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
