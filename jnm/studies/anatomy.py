r"""What of a network's rhythms is owed to its anatomy? The connectome against surrogates of every kind.

All networks have the same homogeneous state, for their rows sum to one; what differs is the patterns that grow out of it
(`jnm.stability.dispersion`), and what they make of it: how much each region's rhythm waxes and wanes (coefficient of
variation of its envelope), how slowly (share of the envelope's power from 1 to 12 Hz), and how a slow phase shapes it
(Tort's modulation index). The control is a single region, seen in the same band, whose rhythm no pattern can touch. The
activity that emerges is projected on the eigenvectors of the weights: are the patterns that grow those that stay?
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm import observe, stability
from jnm._model import State
from jnm._optional import require
from jnm._param import cast
from jnm.integration import simulate
from jnm.network import Connectome, Network, neighbourly, relabelled, rewired, shuffled
from jnm.stability.field import shaped
from jnm.stability.lyapunov import regions_apart

Signal = Callable[[Array, State], Array]

SURROGATES: dict[str, Callable[[Connectome, int], Connectome]] = {
    "shuffled": shuffled, "rewired": rewired, "neighbourly": neighbourly, "relabelled": relabelled,
}  # fmt: skip
ITSELF, ALONE = "itself", "one region"
SLOW, THETA = (1.0, 12.0), (4.0, 9.0)  # Hz: slow share of an envelope, and the phase of the modulation index
HALF_BAND = 20.0  # Hz either side of the rhythm's peak
SETTLING, EDGE, SEGMENT = 2000.0, 250.0, 2000.0  # ms: transient, ends of the record where a band rings, spectra
UNITS = {"growth": "1/ms", "unstable": "modes", "second eigenvalue": "", "rhythm": "Hz", "envelope variation": "",
         "slow share": "", "modulation index": ""}  # fmt: skip


class Waxing(NamedTuple):
    """How rhythms wax and wane; medians over regions."""

    rhythm: float
    variation: float
    slow: float
    modulation: float


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Measures of the network itself, of its surrogates and of one region alone."""

    measures: dict[str, dict[str, np.ndarray]]
    """measures[kind][name]: one number a member; one for "itself" and "one region"."""
    eigenvalues: np.ndarray
    """Of the connectivity, falling; those of the network itself."""
    growth_rates: np.ndarray
    """Of its modes, per ms."""
    pattern: np.ndarray
    """Share of the activity's variance in each of its modes; empty without a run."""
    seed: int

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
        """A panel a measure: every surrogate a dot, the network itself a line; and its patterns. Returns the Figure."""
        from jnm.plot import anatomy

        return anatomy.figure(self)

    def to_xarray(self) -> Any:
        """All numbers as one labelled Dataset; kinds with fewer members are filled with NaN."""
        xarray = require("xarray", extra="io")
        kinds, names = list(self.measures), list(self.measures[ITSELF])
        most = max(len(self.measures[kind]["growth"]) for kind in kinds if kind != ALONE)
        table = np.full((len(names), len(kinds), most), np.nan)
        for i, name in enumerate(names):
            for j, kind in enumerate(kinds):
                values = self.measures[kind].get(name, np.zeros(0))
                table[i, j, : len(values)] = values
        data: dict[str, Any] = {
            name.replace(" ", "_"): (("kind", "member"), x, {"units": UNITS[name]})
            for name, x in zip(names, table, strict=True)
        }
        data["growth_rate"] = ("mode", self.growth_rates, {"units": "1/ms"})
        if len(self.pattern):
            data["pattern"] = ("mode", self.pattern)
        return xarray.Dataset(data, {"kind": kinds, "eigenvalue": ("mode", self.eigenvalues)}, {"seed": self.seed})


def anatomy(
    network: Network,
    *,
    seed: int,
    members: int = 20,
    kinds: tuple[str, ...] | None = None,
    about: str = "cycle",
    seconds: float = 0.0,
    dt: float = 0.05,
    signal: Signal | None = None,
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
    - `seconds`, `dt` (ms), `signal`: run each network for so long after two seconds, and look at a function of (t, y), one
      number a region, by default the output. Without a run only the dispersion relations are told.

    Raises `ValueError` as `dispersion` and the surrogates do, and for runs of less than two seconds.
    """
    if 0 < seconds < 2:
        raise ValueError(
            f"anatomy: seconds = {seconds:g}; envelopes of slow rhythms want two seconds or more, or none."
        )
    kinds = tuple(_possible(network.connectome)) if kinds is None else kinds
    if unknown := sorted(set(kinds) - set(SURROGATES)):
        raise ValueError(f"anatomy: unknown kind {', '.join(unknown)}; known are {', '.join(SURROGATES)}.")
    state = stability.limit_cycle(network) if about == "cycle" else stability.dispersion(network).about
    total = float(np.mean(np.sum(np.asarray(network.connectome.weights, float), axis=1)))
    look = _Look(state, seconds, dt, signal, seed)
    own, found, x = look(network)
    measures = {ITSELF: {name: np.array([value]) for name, value in own.items()}}
    for kind in kinds:
        drawn = [SURROGATES[kind](network.connectome, seed + k) for k in range(members)]
        rows = [look(_on(network, connectome, total))[0] for connectome in drawn]
        measures[kind] = {name: np.array([row[name] for row in rows]) for name in own}
    if seconds:
        alone = look.waxing(look.run(stability.homogeneous(network)), own["rhythm"])
        measures[ALONE] = {name: np.array([value]) for name, value in alone.items()}
    pattern = pattern_shares(network.connectome, x) if seconds else np.zeros(0)
    eigenvalues, growth = (np.asarray(part) for part in (found.connectivity_eigenvalues, found.growth_rates))
    return Anatomy(measures, eigenvalues, growth, pattern, seed)


def pattern_shares(connectome: Connectome, x: Float[np.ndarray, "time region"]) -> Float[np.ndarray, " mode"]:
    """Share of the variance in time of x [time, region] that lies in each eigenvector of the weights; they sum to one.

    Under detailed balance, A = diag(c) S, eigenvectors are orthogonal once each region is weighted by 1 / c, and so is
    the variance. Elsewhere they are not, and shares are those of the squared projections on the left eigenvectors.
    """
    modes, c = connectome.modes(), connectome.balance()
    length = 1.0 if c is None else np.linalg.norm(modes.right / np.sqrt(c)[:, None], axis=0)
    amounts = (np.asarray(x, float) - np.mean(x, axis=0)) @ modes.left.T * length
    power = np.mean(np.abs(amounts) ** 2, axis=0)
    return power / power.sum()


class _Look:
    """What is measured of each network."""

    def __init__(self, state: Any, seconds: float, dt: float, signal: Signal | None, seed: int):
        self.state, self.seconds, self.dt, self.signal = state, seconds, dt, signal
        self.key = jax.random.key(seed)

    def __call__(self, network: Network) -> tuple[dict[str, float], Any, np.ndarray]:
        """Measures by name, the dispersion relation and the activity."""
        found = stability.dispersion(network, self.state)
        growth = np.asarray(found.growth_rates)
        row = {
            "growth": float(growth[found.fastest]),
            "unstable": float(found.unstable),
            "second eigenvalue": float(np.real(found.connectivity_eigenvalues[1])),
        }
        if not self.seconds:
            return row, found, np.zeros((0, 0))
        x = self.run(network)
        return row | self.waxing(x), found, x

    def run(self, network: Network) -> np.ndarray:
        """The signal of a run, one sample a ms, [time, region], from regions at moments of their own."""
        with jax.enable_x64(True):
            wide = cast(network, float)
            start = shaped(wide, regions_apart(wide, "random", self.key, self.dt))
            run = simulate(
                wide, SETTLING + 1000 * self.seconds, self.dt, y0=start, save_every=1.0, discard=SETTLING,
                save=network.output if self.signal is None else self.signal,
            )  # fmt: skip
            return np.asarray(run.ys)

    def waxing(self, x: np.ndarray, rhythm: float | None = None) -> dict[str, float]:
        with jax.enable_x64(True):
            told = waxing_and_waning(x, rhythm)
        return {"rhythm": told.rhythm, "envelope variation": told.variation, "slow share": told.slow,
                "modulation index": told.modulation}  # fmt: skip


def waxing_and_waning(x: Float[np.ndarray, "time region"], rhythm: float | None = None) -> Waxing:
    """Of signals with one sample a ms: the peak of their mean spectrum above 12 Hz, and how that rhythm waxes and wanes.

    With a `rhythm` (Hz) it is that one. Its band reaches 20 Hz to either side, or as far as the band of the slow phase.
    """
    signal = jnp.asarray(x - np.mean(x, axis=0))
    f_hz, density = observe.psd(signal, 1.0, SEGMENT)
    fast = f_hz > SLOW[1]
    peak = float(f_hz[fast][np.argmax(np.mean(density, axis=1)[fast])]) if rhythm is None else rhythm
    half, inside = min(HALF_BAND, peak - THETA[1]), slice(int(EDGE), -int(EDGE))
    amplitude = observe.envelope(signal, 1.0, (peak - half, peak + half))[inside]
    slow_hz, power = observe.psd(amplitude, 1.0, min(SEGMENT, len(amplitude)))
    slow = (slow_hz >= SLOW[0]) & (slow_hz <= SLOW[1])
    phases = observe.phase(signal, 1.0, THETA)[inside]
    numbers = (
        observe.coefficient_of_variation(amplitude),
        jnp.sum(power[slow], axis=0) / jnp.sum(power, axis=0),
        observe.modulation_index(phases, amplitude),
    )
    return Waxing(peak, *(float(np.median(np.asarray(values))) for values in numbers))


def _possible(connectome: Connectome) -> list[str]:
    """The kinds of surrogates that a connectome allows."""
    near = connectome.lengths is not None or connectome.centres is not None
    kept = connectome.balance() is not None and bool(np.all(np.asarray(connectome.weights) >= 0))
    return [kind for kind in SURROGATES if (kind != "neighbourly" or near) and (kind != "rewired" or kept)]


def _on(network: Network, connectome: Connectome, total: float) -> Network:
    """The network on another connectome whose rows sum to the same number."""
    scaled = connectome.normalised("rows").weights * total
    return eqx.tree_at(lambda n: n.connectome.weights, network, scaled.astype(network.connectome.weights.dtype))
