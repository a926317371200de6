r"""What of a network's rhythms is owed to its anatomy? The connectome against surrogates of every kind.

All networks have the same homogeneous state, for their rows sum to one; what differs is the patterns that grow out of it
(`jnm.stability.dispersion`), and what they make of it: how much each region's rhythm waxes and wanes, how slowly, and how
a slow phase shapes it (`waxing_and_waning`). The control is a single region, seen in the same band, whose rhythm no
pattern can touch. What emerges is projected on the eigenvectors of the weights: are the patterns that grow those that stay?

Relabelled networks are the network itself, run from other starts: how they scatter is what a single run leaves open.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from jnm import stability
from jnm._optional import require
from jnm.network import Connectome, Network, neighbourly, relabelled, rewired, shuffled
from jnm.studies.anatomy_rhythms import waxing_and_waning
from jnm.studies.anatomy_runs import Protocol, Signal, looked_at, named, runs

SURROGATES: dict[str, Callable[[Connectome, int], Connectome]] = {
    "shuffled": shuffled, "rewired": rewired, "neighbourly": neighbourly, "relabelled": relabelled,
}  # fmt: skip
ITSELF, ALONE = "itself", "one region"
UNITS = {"growth": "1/ms", "unstable": "modes", "second eigenvalue": "", "rhythm": "Hz", "envelope variation": "",
         "envelope peak": "Hz", "slow share": "", "modulation index": "", "unison": "share of the variance",
         "agreement": "rank correlation"}  # fmt: skip


def _none() -> np.ndarray:
    return np.zeros(0)


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Measures of the network itself, of its surrogates and of one region alone; those of runs only where there were any."""

    measures: dict[str, dict[str, np.ndarray]]
    """measures[kind][name]: one number a member; one for "itself" and "one region"."""
    eigenvalues: np.ndarray
    """Of the connectivity, falling; those of the network itself."""
    growth_rates: np.ndarray
    """Of its modes, per ms."""
    seed: int
    pattern: np.ndarray = dataclasses.field(default_factory=_none)
    """Share of the activity's variance in each of its modes."""
    envelope_pattern: np.ndarray = dataclasses.field(default_factory=_none)
    """The same of the envelopes of its rhythm."""
    slow_hz: np.ndarray = dataclasses.field(default_factory=_none)
    spectra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """spectra[kind]: of envelopes relative to their means, per Hz, [member, frequency]."""

    def interval(self, kind: str, name: str, share: float = 0.9) -> tuple[float, float]:
        """The middle `share` of a kind's members."""
        tail = (1 - share) / 2
        low, high = np.quantile(self.measures[kind][name], [tail, 1 - tail])
        return float(low), float(high)

    def p(self, kind: str, name: str) -> float:
        """How often a surrogate lies as far from the median of its kind as the network itself: (1 + n) / (1 + members)."""
        members, own = self.measures[kind][name], self.measures[ITSELF][name][0]
        middle = np.median(members)
        return float((1 + np.sum(np.abs(members - middle) >= abs(own - middle) - 1e-12)) / (1 + len(members)))

    def plot(self) -> Any:
        """Every surrogate a dot, the network itself a line; spectra of envelopes, and patterns. Returns the Figure."""
        from jnm.plot import anatomy

        return anatomy.figure(self)

    def to_xarray(self) -> Any:
        """All numbers as one labelled Dataset; kinds with fewer members are filled with NaN."""
        xarray = require("xarray", extra="io")
        kinds, names = list(self.measures), list(self.measures[ITSELF])
        most = max(len(next(iter(rows.values()))) for rows in self.measures.values())

        def table(kind: str, name: str) -> np.ndarray:
            values = self.measures[kind].get(name, np.zeros(0))
            return np.pad(values, (0, most - len(values)), constant_values=np.nan)

        data: dict[str, Any] = {
            name.replace(" ", "_"): (("kind", "member"), [table(kind, name) for kind in kinds], {"units": UNITS[name]})
            for name in names
        }
        data["growth_rate"] = ("mode", self.growth_rates, {"units": "1/ms"})
        coordinates: dict[str, Any] = {"kind": kinds, "eigenvalue": ("mode", self.eigenvalues)}
        if self.spectra:
            data |= {"pattern": ("mode", self.pattern), "envelope_pattern": ("mode", self.envelope_pattern)}
            padded = [np.pad(s, ((0, most - len(s)), (0, 0)), constant_values=np.nan) for s in self.spectra.values()]
            data["envelope_spectrum"] = (("kind", "member", "frequency"), np.array(padded), {"units": "1/Hz"})
            coordinates["frequency"] = ("frequency", self.slow_hz, {"units": "Hz"})
        return xarray.Dataset(data, coordinates, {"seed": self.seed})


def anatomy(
    network: Network,
    *,
    seed: int,
    members: int = 20,
    kinds: tuple[str, ...] | None = None,
    about: str = "cycle",
    seconds: float = 0.0,
    settling: float = 2.0,
    dt: float = 0.05,
    signal: Signal | None = None,
    chunk: int = 4,
) -> Anatomy:
    """A network against surrogates of its connectome.

        >>> net = jnm.Network(jnm.PING(IE=11.0), brain, jnm.Linear(12.5))
        >>> found = jnm.studies.anatomy(net, seed=0, seconds=8.0, signal=lambda t, y: y.v[0])
        >>> found.interval("shuffled", "envelope variation"), found.p("shuffled", "growth")

    **Arguments**

    - `network`: of like regions, its rows summing to the same number, without a conduction speed.
    - `seed`, `members`: surrogates of each kind have the seeds seed, seed + 1, ...
    - `kinds`: "shuffled", "rewired" (strengths kept), "neighbourly" (weight against distance kept) and "relabelled",
      whose spectra must be those of the network itself; by default all that the connectome allows.
    - `about`: the homogeneous state, "cycle" or "rest".
    - `seconds`, `settling`, `dt` (ms), `signal`: run each network for so long, after `settling` seconds that are left
      out, from regions at random moments of the rhythm of one, and look at a function of (t, y), one number a region, by
      default the output. Without a run only the dispersion relations are told.
    - `chunk`: runs side by side (`vmap`); a few on a processor, all on a GPU.

    **Measures:** of the dispersion the largest "growth" of a transverse mode, the number of "unstable" ones and the
    "second eigenvalue"; of runs "rhythm", "envelope variation", "envelope peak", "slow share" and "modulation index" (see
    `waxing_and_waning`), "unison" (share of the activity's variance in the pattern common to all regions), and "agreement"
    (rank correlation, over transverse modes, of growth rates with shares of the envelopes' variance).

    Raises `ValueError` as `dispersion` and the surrogates do, and for runs of less than two seconds; `RuntimeError` for
    activity that leaves all bounds.
    """
    if 0 < seconds < 2:
        raise ValueError(
            f"anatomy: seconds = {seconds:g}; envelopes of slow rhythms want two seconds or more, or none."
        )
    if about not in ("cycle", "rest"):
        raise ValueError(f'anatomy: about = {about!r}; the homogeneous state is a "cycle" or at "rest".')
    kinds = tuple(_possible(network.connectome)) if kinds is None else kinds
    if unknown := sorted(set(kinds) - set(SURROGATES)):
        raise ValueError(f"anatomy: unknown kind {', '.join(unknown)}; known are {', '.join(SURROGATES)}.")
    owners = [ITSELF, *(kind for kind in kinds for _ in range(members))]
    with jax.enable_x64(True):
        networks = [network, *_surrogates(network, kinds, [seed + k for k in range(members)])]
    eigenvalues, growth = _dispersions(network, networks, about)
    rows = [_of_dispersion(*pair) for pair in zip(eigenvalues, growth, strict=True)]
    if not seconds:
        return Anatomy(_by_kind(owners, rows), eigenvalues[0], growth[0], seed)
    protocol = Protocol(1000 * seconds, 1000 * settling, dt, signal)
    first, *keys = jax.random.split(jax.random.key(seed), len(networks) + 1)
    activity = runs(networks, protocol, keys, chunk)
    looks = [looked_at(n.connectome, g, x) for n, g, x in zip(networks, growth, activity, strict=True)]
    (x,) = runs([stability.homogeneous(network)], protocol, [first], 1)
    with jax.enable_x64(True):
        alone = waxing_and_waning(x, looks[0].row["rhythm"])
    measures = _by_kind(owners, [row | look.row for row, look in zip(rows, looks, strict=True)])
    spectra = _by_kind([*owners, ALONE], [{"": look.spectrum} for look in looks] + [{"": alone.spectrum}])
    return Anatomy(
        measures | {ALONE: {name: np.array([value]) for name, value in named(alone).items()}},
        eigenvalues[0], growth[0], seed, looks[0].pattern, looks[0].envelope_pattern, looks[0].slow_hz,
        {kind: columns[""] for kind, columns in spectra.items()},
    )  # fmt: skip


def _possible(connectome: Connectome) -> list[str]:
    """The kinds of surrogates that a connectome allows."""
    near = connectome.lengths is not None or connectome.centres is not None
    kept = connectome.balance() is not None and bool(np.all(np.asarray(connectome.weights) >= 0))
    return [kind for kind in SURROGATES if (kind != "neighbourly" or near) and (kind != "rewired" or kept)]


def _surrogates(network: Network, kinds: tuple[str, ...], seeds: list[int]) -> list[Network]:
    """The network on surrogates of its connectome whose rows sum to the same number; call it in double precision."""
    total = float(np.mean(np.sum(np.asarray(network.connectome.weights, float), axis=1)))
    made = []
    for kind in kinds:
        for seed in seeds:
            weights = SURROGATES[kind](network.connectome, seed).normalised("rows").weights * total
            weights = weights.astype(network.connectome.weights.dtype)
            made.append(eqx.tree_at(lambda n: n.connectome.weights, network, weights))
    return made


def _dispersions(network: Network, networks: list[Network], about: str) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the connectivities and growth rates of their modes, [network, mode]: one state, one call for all."""
    state = stability.limit_cycle(network) if about == "cycle" else stability.dispersion(network).about
    eigenvalues = np.array([each.connectome.eigenvalues() for each in networks])
    found = stability.master_stability(network, eigenvalues.ravel(), state)
    return eigenvalues, np.asarray(found.growth_rates).reshape(eigenvalues.shape)


def _of_dispersion(eigenvalues: np.ndarray, growth: Float[np.ndarray, " mode"]) -> dict[str, float]:
    return {
        "growth": float(growth[1:].max()),
        "unstable": float(np.sum(growth[1:] > 0)),
        "second eigenvalue": float(np.real(eigenvalues[1])),
    }


def _by_kind(owners: list[str], rows: list[dict[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """The rows of each kind as one array a name."""
    owned = {kind: [row for row, owner in zip(rows, owners, strict=True) if owner == kind] for kind in owners}
    return {kind: {name: np.array([row[name] for row in own]) for name in own[0]} for kind, own in owned.items()}
