"""validity: where in the plane of connection probability and excitatory fraction a Freeman mass stands for LIF neurons.

At each grid point networks are drawn anew, run, and their mean potential compared with what the conventional and the
modified Freeman mass make of the network's own spikes: a reconstruction, not a prediction. Beside it stand a twin (what
any model could reach), the cost of each assumption, and the closed loop, which must make its spikes itself.

Deschle, Ignacio Gossn, Tewarie, Schelter & Daffertshofer, Front. Comput. Neurosci. 14:581040 (2021).
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from numpy.typing import ArrayLike

from jnm._optional import require
from jnm._progress import progress_bar, someone_watches
from jnm._version import __version__
from jnm.observe import chi_square, median_frequency
from jnm.spiking.lif import LIFNetwork
from jnm.studies.freeman.budget import TERMS
from jnm.studies.freeman.loop import closed_loop, run_loop
from jnm.studies.freeman.point import KINDS, SERIES, Repeat, run_repeat
from jnm.studies.freeman.significance import distinguished_by_correlation, distinguished_by_spectrum, floor
from jnm.studies.output import writable

_HIGHEST = 300.0  # Hz: spectra are kept up to here; everything is reckoned from whole ones

_AXES = {
    "rate": ("repeat", "population"),
    "mean": ("repeat", "series"),
    "sd": ("repeat", "series"),
    "contrast": ("repeat",),
    "correlation": ("repeat", "model"),
    "lag": ("repeat", "model"),
    "samples": ("repeat", "model"),
    "euler_radius": ("repeat",),
    "budget_mean": ("repeat", "term"),
    "budget_sd": ("repeat", "term"),
    "chi_square_repeat": ("repeat", "model"),
    "chi_square": ("model",),
    "median_frequency": ("series",),
    "peak_frequency": ("series",),
    "spectrum": ("series", "frequency"),
    "distinguished_by_correlation": ("mass",),
    "distinguished_by_spectrum": ("mass",),
    "floor_correlation": (),
    "floor_chi_square": (),
    "loop_rate": ("population",),
    "loop_mean": (),
    "loop_sd": (),
    "loop_peak_frequency": (),
}
_UNITS = {
    "rate": "Hz", "loop_rate": "Hz", "mean": "mV", "sd": "mV", "loop_mean": "mV", "loop_sd": "mV", "lag": "ms",
    "budget_mean": "mV", "budget_sd": "mV", "median_frequency": "Hz", "peak_frequency": "Hz",
    "loop_peak_frequency": "Hz", "spectrum": "mV^2/Hz", "frequency": "Hz",
}  # fmt: skip


def validity(
    preset: Literal["A", "B"] = "A",
    *,
    p: Iterable[float] = (0.05, 0.25, 0.5, 0.75, 1.0),
    fraction_excitatory: Iterable[float] = (0.2, 0.4, 0.6, 0.8, 0.95),
    key: PRNGKeyArray,
    n: int = 2000,
    t1: float = 3_000.0,
    discard: float = 500.0,
    dt: float = 0.1,
    repeats: int = 3,
    tau_syn: float = 5.0,
    twins: bool = True,
    store: str | Path | None = None,
    progress: bool | None = None,
) -> Any:
    """The whole protocol over a grid of `p` and `fraction_excitatory`; an xarray Dataset with every observable.

        >>> found = jnm.studies.validity("A", key=jax.random.key(0), store="validity-A")
        >>> from jnm.plot import validity as pictures
        >>> pictures.maps(found)

    The paper's size is n=10_000, t1=30_000.0, discard=3_000.0, repeats=10. A study with a `store` (a folder) keeps each
    grid point as it is done, and goes on where it stopped.

    **Arguments**

    - `preset`: parameters A or B of `jnm.spiking.LIFNetwork.preset`; `n` neurons.
    - `p`, `fraction_excitatory`: the grid.
    - `t1`, `discard`, `dt`: length of a run, of its transient, and step, ms.
    - `repeats`: networks a grid point; three and more allow a test of spectra.
    - `tau_syn`: the one synaptic time constant of the masses, ms.
    - `twins`: whether to run twins, which doubles the work, for the ceiling.
    - `progress`: shows a bar (default: if someone watches).

    **Result.** Along `series` (network, twin, CFM, MFM), `model` (all but the network), `mass`, `term` of the error
    budget, `repeat`, `population`, `frequency`: see `long_name` and `units` of each variable. What diverged is NaN,
    and so are spectral numbers of what stands still.

    Raises `ValueError` for what `LIFNetwork.preset` refuses, impossible times, and a store of another study.
    """
    xr = require("xarray", "io")
    ps, fractions = (_axis(name, x) for name, x in (("p", p), ("fraction_excitatory", fraction_excitatory)))
    if not 0 <= discard < t1 or not dt > 0 or repeats < 1:
        raise ValueError(
            f"validity: discard = {discard}, t1 = {t1}, dt = {dt} ms, repeats = {repeats}; wanted 0 <= discard < t1, a "
            "positive dt, and one repeat or more."
        )
    settings = dict(n=n, t1=t1, discard=discard, dt=dt, repeats=repeats, tau_syn=tau_syn, twins=twins)
    record = dict(study="validity", jnm=__version__, preset=preset, key=_words(key), **settings)
    folder = None if store is None else _opened(Path(store), record)
    found = {}
    shown = someone_watches() if progress is None else progress
    with progress_bar(len(ps) * len(fractions), shown, unit="point") as bar:
        for i, fraction in enumerate(fractions):
            for j, probability in enumerate(ps):
                own = _point_key(key, probability, fraction)
                file = folder and folder / f"p{probability:.6g}-lambda{fraction:.6g}.npz"
                found[i, j] = _kept(file) or _point(preset, probability, fraction, own, **settings)
                _keep(file, found[i, j])
                bar.update()
    return _dataset(xr, found, ps, fractions, record)


def _point(preset: Any, p: float, fraction: float, key: PRNGKeyArray, **settings: Any) -> dict[str, np.ndarray]:
    """All observables of a grid point, by the names of _AXES; and the frequencies."""
    n, t1, discard, dt, tau_syn = (settings[name] for name in ("n", "t1", "discard", "dt", "tau_syn"))
    runs, net = [], None
    for own in jax.random.split(key, settings["repeats"]):
        drawn, run_key = jax.random.split(own)
        net = LIFNetwork.preset(preset, p=p, fraction_excitatory=fraction, n=n, key=drawn)
        runs.append(run_repeat(net, run_key, t1=t1, discard=discard, dt=dt, tau_syn=tau_syn, twin=settings["twins"]))
    assert net is not None
    loop = run_loop(closed_loop(net, p, fraction), fraction, t1, discard, dt)
    predicted = {
        "loop_rate": loop.rate,
        "loop_mean": loop.mean,
        "loop_sd": loop.sd,
        "loop_peak_frequency": loop.peak_hz,
    }
    return {name: np.asarray(x) for name, x in {**_together(runs, dt), **predicted}.items()}


def _together(runs: list[Repeat], dt: float) -> dict[str, Any]:
    """Observables over the repeats of a grid point."""
    spectra, f_hz = np.stack([run.spectrum for run in runs]), runs[0].frequency
    average = spectra.mean(axis=0)
    each = {name: np.stack([getattr(run, name) for run in runs]) for name in _AXES if name in Repeat._fields}
    chi_each = np.array([[_chi(S[0], other) for other in S[1:]] for S in spectra])
    rho, worth = each["correlation"], each["samples"]
    by_correlation = [distinguished_by_correlation(rho[:, k], rho[:, 0], worth[:, [k, 0]].T) for k in (1, 2)]
    low = f_hz <= _HIGHEST
    V = np.stack([run.V - run.V.mean() for run in runs], axis=1)
    floor_rho, floor_chi = floor(V, spectra[:, 0].T, dt)
    return each | {
        "chi_square_repeat": chi_each,
        "chi_square": [_chi(average[0], other) for other in average[1:]],
        "median_frequency": [_median(f_hz, S) for S in average],
        "peak_frequency": [f_hz[np.argmax(S)] if _moves(S) else np.nan for S in average],
        "distinguished_by_correlation": by_correlation,
        "distinguished_by_spectrum": [distinguished_by_spectrum(chi_each[:, k], chi_each[:, 0]) for k in (1, 2)],
        "floor_correlation": floor_rho,
        "floor_chi_square": floor_chi,
        "spectrum": average[:, low],
        "frequency": f_hz[low],
    }


def _chi(P: np.ndarray, Q: np.ndarray) -> float:
    return float(chi_square(jnp.asarray(P), jnp.asarray(Q))) if _moves(P) and _moves(Q) else np.nan


def _median(f_hz: np.ndarray, S: np.ndarray) -> float:
    return float(median_frequency(f_hz, jnp.asarray(S))) if _moves(S) else np.nan


def _moves(S: np.ndarray) -> bool:
    """Whether a spectrum is that of something: of a mass that diverged it is not, nor of one that stands still."""
    return bool(np.all(np.isfinite(S)) and np.sum(S) > 0)


def _dataset(xr: Any, found: dict, ps: np.ndarray, fractions: np.ndarray, record: dict) -> Any:
    shape = (len(fractions), len(ps))
    grid = ("fraction_excitatory", "p")

    def over(name):
        points = [found[i, j][name] for i in range(shape[0]) for j in range(shape[1])]
        return np.stack(points).reshape(*shape, *points[0].shape)

    variables = {name: ((*grid, *axes), over(name), _told(name)) for name, axes in _AXES.items()}
    coordinates = {
        "fraction_excitatory": fractions,
        "p": ps,
        "series": list(SERIES),
        "model": list(SERIES[1:]),
        "mass": list(KINDS),
        "term": list(TERMS),
        "population": ["E", "I"],
        "frequency": ("frequency", found[0, 0]["frequency"], _told("frequency")),
    }
    told = {name: json.dumps(x) if isinstance(x, list | bool) else x for name, x in record.items()}
    return xr.Dataset(variables, coordinates, told | {"open loop": "reconstruction, not prediction"})


def _told(name: str) -> dict[str, str]:
    return {"long_name": name.replace("_", " ")} | ({"units": _UNITS[name]} if name in _UNITS else {})


def _axis(name: str, values: Iterable[float] | ArrayLike) -> np.ndarray:
    axis = np.asarray(list(np.atleast_1d(values)), float)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if axis.size == 0 or not np.all((axis >= 0) & (axis <= 1)) or len(set(axis)) < axis.size:
        raise ValueError(f"validity: {name} = {axis}; wanted different values in [0, 1].")
    return axis


def _words(key: PRNGKeyArray) -> list[int]:
    return np.asarray(jax.random.key_data(key)).ravel().tolist()


def _point_key(key: PRNGKeyArray, p: float, fraction: float) -> PRNGKeyArray:
    """A key for each grid point that does not depend on the others: a larger grid has the same points."""
    for value in (p, fraction):
        key = jax.random.fold_in(key, np.float32(value).view(np.uint32))
    return key


def _opened(folder: Path, record: dict) -> Path:
    """The folder of a study, with its record; another study's is refused."""
    file = writable(folder) / "study.json"
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        differ = sorted(name for name in {*before, *record} if before.get(name) != record.get(name))
        if differ:
            told = ", ".join(f"{name}: {before.get(name)} there, {record.get(name)} here" for name in differ)
            raise ValueError(f"validity: {folder} holds another study ({told}). Choose another store.")
    file.write_text(json.dumps(record), encoding="utf-8")
    return folder


def _kept(file: Path | None) -> dict[str, np.ndarray] | None:
    if not file or not file.exists():
        return None
    with np.load(file, allow_pickle=False) as kept:
        return dict(kept)


def _keep(file: Path | None, point: dict[str, np.ndarray]) -> None:
    """A point is wholly there or not at all: written beside its place, then moved there."""
    if not file or file.exists():
        return
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        np.savez(out, allow_pickle=False, **point)
    os.replace(part, file)
