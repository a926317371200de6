r"""What can the spectrum of a finite population's rate tell of the population, and how long must one record?

The spectrum of `jnm.studies.FinitePopulation` is fitted to measured ones by maximum likelihood (`jnm.fitting.whittle`), in
the parameters that it sees best, X = eta + C R, C, delta and n. X sets the place of the peak and is known to parts of a
percent from a second of data, when C, and with it eta = X - C R, which shape the slow end of the spectrum, are not known
at all. The scatter of many estimates is compared with the Cramer-Rao bound at the same length of record T; errors fall
as T^(-1/2).
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jnm import observe
from jnm._optional import require
from jnm._param import cast
from jnm.fitting.whittle import cramer_rao, fisher_information
from jnm.spiking import QIFNetwork
from jnm.studies.batched_scoring import Scores, batched_scoring
from jnm.studies.finite_population import NAMES, FinitePopulation

BAND = (0.1, 6.0)  # cycles per tau_m: below, S is a millionth of its peak and what tapers leak; above, Poisson noise
RESOLUTION = 0.05  # cycles per tau_m, of the segments
OFF = (1.005, 0.8, 1.2, 0.85)  # chosen: how far from the truth a fit begins
_STEPS = 60  # of a fit; `SpectrumFits.arrived` says where they were too few
_TAU_STEPS = 200  # time steps of a network in one tau_m
_SETTLE = 20.0  # tau_m


class SpectrumBound(NamedTuple):
    """The least standard deviations of unbiased estimates, relative to the values, at a length of record."""

    record_ms: float
    sd: dict[str, float]
    """Of X, C, delta, n and eta."""
    directions: list[tuple[float, dict[str, float]]]
    """Standard deviation along each axis of the ellipsoid of relative errors, the longest first, and what it is made of."""

    def __str__(self) -> str:
        told = ", ".join(f"{name} {100 * sd:.3g} %" for name, sd in self.sd.items())
        lines = [f"Cramer-Rao, {self.record_ms / 1000:.3g} s: {told}"]
        for sd, parts in self.directions:
            mixed = " ".join(f"{weight:+.2f} {name}" for name, weight in parts.items() if abs(weight) > 0.1)
            word = "not told" if sd > 0.5 else "hardly told" if sd > 0.1 else "told"  # half, a tenth of the value
            lines.append(f"  {word}: {mixed} (relative), to {100 * sd:.2g} %")
        return "\n".join(lines)


def spectrum_bound(
    population: FinitePopulation, record_ms: float, band: tuple[float, float] = BAND, resolution: float = RESOLUTION
) -> SpectrumBound:
    """What a record of the rate can tell of a population at best, in numbers and words.

        >>> print(jnm.studies.spectrum_bound(jnm.studies.FinitePopulation.of(jnm.Pyramidal(), 1000), record_ms=1500.0))

    `band` and `resolution` are the frequencies that are looked at, in cycles per tau_m. The lowest matters: the weight C
    speaks at the slow end of the spectrum, which few records resolve. Raises `ValueError` for a record shorter than a
    cycle of the resolution.
    """
    with jax.enable_x64(True):
        return _bound(cast(population, jnp.float64), record_ms, band, resolution)


def _bound(
    population: FinitePopulation, record_ms: float, band: tuple[float, float], resolution: float
) -> SpectrumBound:
    f_tau, averages = _grid(population, record_ms, band, resolution)
    theta = population.free()
    covariance = np.asarray(cramer_rao(_information(population, theta, f_tau, jnp.asarray(averages))))
    scale = np.array([float(population.X), float(population.C), 1.0, 1.0])  # relative; the others are logarithms
    relative = covariance / np.abs(np.outer(scale, scale))
    slope = np.asarray(jax.grad(lambda x: population.at(x).eta)(theta))
    eta = np.sqrt(slope @ covariance @ slope) / abs(float(population.eta))
    variances, axes = np.linalg.eigh(relative)
    directions = [
        (float(np.sqrt(variances[k])), dict(zip(map(str, NAMES), axes[:, k].tolist(), strict=True)))
        for k in (3, 2, 1, 0)
    ]
    sd = dict(zip(NAMES, np.sqrt(np.diag(relative)).tolist(), strict=True)) | {"eta": float(eta)}
    return SpectrumBound(float(record_ms), sd, directions)


@dataclasses.dataclass(frozen=True)
class SpectrumFits:
    """Estimates from many records of a population, and the bound at their length; made by `fit_finite_size`."""

    truth: dict[str, float]
    estimates: dict[str, Float[np.ndarray, " replicate"]]
    """Of X, C, delta, n and eta."""
    bound: SpectrumBound
    f_hz: Float[np.ndarray, " frequency"]
    observed: Float[np.ndarray, "replicate frequency"]
    expected: Float[np.ndarray, " frequency"]
    """The spectrum of the truth, one-sided per Hz."""
    arrived: Bool[np.ndarray, " replicate"]
    """Whether each fit came to its end."""

    @property
    def scatter(self) -> dict[str, float]:
        """Standard deviations of the estimates relative to the truth."""
        return {name: float(np.std(x, ddof=1) / abs(self.truth[name])) for name, x in self.estimates.items()}

    @property
    def bias(self) -> dict[str, float]:
        """Mean of the estimates over the truth, less one."""
        return {name: float(np.mean(x) / self.truth[name] - 1) for name, x in self.estimates.items()}

    def __str__(self) -> str:
        rows = [f"{'':<8}{'truth':>10}{'mean':>10}{'scatter':>10}{'bound':>10}"]
        for name, x in self.estimates.items():
            spread, least = 100 * self.scatter[name], 100 * self.bound.sd[name]
            rows.append(f"{name:<8}{self.truth[name]:>10.4g}{np.mean(x):>10.4g}{spread:>8.2g} %{least:>8.2g} %")
        lost = int(np.sum(~self.arrived))
        rows += [f"{lost} of {len(self.arrived)} fits did not come to their end"] if lost else []
        return "\n".join([*rows, str(self.bound)])

    def to_xarray(self):
        """Estimates, bound and spectra as a labelled Dataset."""
        xarray = require("xarray", extra="io")
        names = list(self.estimates)
        return xarray.Dataset(
            {
                "estimate": (("parameter", "replicate"), np.stack(list(self.estimates.values()))),
                "truth": ("parameter", [self.truth[name] for name in names]),
                "least_sd": ("parameter", [self.bound.sd[name] for name in names], {"relative_to": "truth"}),
                "observed": (("replicate", "frequency"), self.observed),
                "expected": ("frequency", self.expected),
            },
            {"parameter": names, "frequency": ("frequency", self.f_hz, {"units": "Hz"})},
            {"record_ms": self.bound.record_ms},
        )

    def plot(self) -> Any:
        """One measured spectrum beside the true one, and the scatter of the estimates beside its bound; the Figure."""
        from jnm.plot import finite_size_fit

        return finite_size_fit.figure(self)


def fit_finite_size(
    population: FinitePopulation,
    record_ms: float,
    key: PRNGKeyArray,
    *,
    replicates: int = 100,
    source: Literal["theory", "network"] = "theory",
    band: tuple[float, float] = BAND,
    resolution: float = RESOLUTION,
    off: tuple[float, ...] = OFF,
) -> SpectrumFits:
    """Record the rate of a population many times, fit X, C, delta and n to each spectrum, and look at their scatter.

        >>> population = jnm.studies.FinitePopulation.of(jnm.Pyramidal(), n=4000)
        >>> print(jnm.studies.fit_finite_size(population, record_ms=15_000.0, key=jax.random.key(0)))

    **Arguments**

    - `record_ms`: length of each record. `replicates`: how many.
    - `source`: "theory" draws spectra that scatter around the exact one as periodograms do; "network" simulates a
      `jnm.spiking.QIFNetwork` of n cells for each.
    - `band`, `resolution`: frequencies looked at and their distance, cycles per tau_m. Each cell of a network has a
      drive of its own that stays, and so lines of its own; the theory is for many of them at each frequency, which at
      the slow end a network does not have: begin the band higher there, such as band=(1.0, 6.0).
    - `off`: where each fit begins, the true X, C, delta, n times these.

    Raises `ValueError` for a record shorter than a segment, fewer than two replicates, an unknown source, and a network
    of which less than one cell has a line at the lowest frequency, saying from where on it has.
    """
    if replicates < 2:
        raise ValueError(f"fit_finite_size: replicates = {replicates}; a scatter takes two or more.")
    if source not in ("theory", "network"):
        raise ValueError(f"fit_finite_size: source = {source!r}; records come from 'theory' or from a 'network'.")
    with jax.enable_x64(True):
        population = cast(population, jnp.float64)
        f_tau, averages = _grid(population, record_ms, band, resolution)
        f_hz = jnp.asarray(1000 * f_tau) / population.tau_m
        expected = population.psd(f_hz)
        if source == "theory":
            observed = expected[None] * _periodograms(key, averages, (replicates, len(f_tau)))
        else:
            _check_lines(population, f_tau, resolution)
            each = jax.random.split(key, replicates)
            observed = jnp.stack([_recorded(population, record_ms, f_tau, resolution, one) for one in each])
        start = population.free() * jnp.array([*off[:2], 1.0, 1.0]) + jnp.log(jnp.array([1.0, 1.0, *off[2:]]))
        theta, arrived = _fits(population, start, f_hz, observed, jnp.asarray(averages))
        values = _values(population, theta)
        truth = {name: float(getattr(population, name)) for name in (*NAMES, "eta")}
    estimates = {name: np.asarray(values[name]) for name in truth}
    least = spectrum_bound(population, record_ms, band, resolution)
    return SpectrumFits(truth, estimates, least, *map(np.asarray, (f_hz, observed, expected, arrived)))


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0))
def _values(population: FinitePopulation, theta: Array) -> dict[str, Array]:
    found = population.at(theta)
    return {name: getattr(found, name) for name in (*NAMES, "eta")}


def _periodograms(key: PRNGKeyArray, averages: float, shape: tuple[int, ...]) -> Float[Array, "replicate frequency"]:
    """Means of independent periodograms of a spectrum that is 1."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))  # JAX's own Gamma variables compile for seconds
    return jnp.asarray(rng.gamma(averages, 1 / averages, shape))


def _grid(population: FinitePopulation, record_ms: float, band: tuple, resolution: float) -> tuple[np.ndarray, float]:
    """Frequencies in cycles per tau_m, and how many independent periodograms a record is worth at each."""
    averages = record_ms / float(population.tau_m) * resolution
    if not averages >= 1:
        raise ValueError(
            f"finite size: a record of {record_ms:g} ms does not resolve {resolution:g} cycles per tau_m; record "
            f"{float(population.tau_m) / resolution:g} ms or longer, or look less closely."
        )
    if not 0 < band[0] < band[1]:
        raise ValueError(f"finite size: band = {band}; wanted 0 < lowest < highest, in cycles per tau_m.")
    first, last = np.ceil(band[0] / resolution - 1e-9), np.floor(band[1] / resolution + 1e-9)
    return resolution * np.arange(max(first, 1.0), last + 1), averages


def _check_lines(population: FinitePopulation, f_tau: np.ndarray, resolution: float) -> None:
    cells = population.cells_at(f_tau) * resolution
    if cells[0] < 1:
        enough = f_tau[np.argmax(cells >= 1)] if np.any(cells >= 1) else np.inf
        raise ValueError(
            f"fit_finite_size: at {f_tau[0]:g} cycles per tau_m {cells[0]:.2g} cells of the network have a line, which is "
            f"no spectrum. Begin the band at {enough:.3g}, or take more neurons."
        )


@eqx.filter_jit
def _information(population: FinitePopulation, theta: Array, f_tau: np.ndarray, averages: Array) -> Array:
    f_hz = jnp.asarray(1000 * f_tau) / population.tau_m
    return fisher_information(lambda x: jnp.log(population.at(x).psd(f_hz)), theta, averages)


@eqx.filter_jit
def _fits(
    population: FinitePopulation, start: Array, f_hz: Array, observed: Array, averages: Array
) -> tuple[Array, Array]:
    """Maximum likelihood for each record; and whether it came to its end."""

    def log_psd(theta):
        log_S = jnp.log(population.at(theta).psd(f_hz))
        return log_S, log_S

    def one(seen):
        def at(theta):
            slope, log_S = jax.jacfwd(log_psd, has_aux=True)(theta)
            ratio = seen * jnp.exp(-log_S)
            return Scores(
                averages * slope.T @ (ratio - 1), averages * slope.T @ slope, averages * jnp.sum(log_S + ratio)
            )

        fit = batched_scoring(at, start, steps=_STEPS)
        return fit.theta, fit.arrived

    return jax.vmap(one)(observed)


def _recorded(population: FinitePopulation, record_ms: float, f_tau: np.ndarray, resolution: float, key: Any) -> Array:
    """The spectrum of the rate of a network, at frequencies f_tau, from Hann segments that half overlap."""
    tau = float(population.tau_m)
    dt = tau / _TAU_STEPS
    network = QIFNetwork.of(population.model, n=round(float(population.n)))
    settled = network.run(_SETTLE * tau, dt, key=key, save_every=_SETTLE * tau).final
    steps = round(record_ms / dt)
    run = network.run(steps * dt, dt, start=settled)
    _, S = observe.psd(run.rate, dt, tau / resolution)
    return S[np.rint(f_tau / resolution).astype(int)]
