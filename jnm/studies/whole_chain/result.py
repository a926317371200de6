"""What came of the fits: estimates with intervals for each way of looking, their bias, and a table side by side."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from jnm._optional import require
from jnm.fitting.identifiability import Information
from jnm.studies.batched_scoring import Found
from jnm.studies.whole_chain.fits import Likelihood
from jnm.studies.whole_chain.places import NAMES

LEVEL = 0.9
_QUANTILE = 1.6448536269514722  # of a normal distribution: 5 % lie above
_OF_MEDIAN = 1.2533141373155003  # sqrt(pi / 2): its standard error over that of a mean, of normal numbers
_LINEAR = 3  # the first of the names have intervals that are symmetric, the others in the logarithm


@dataclasses.dataclass(frozen=True)
class Seen:
    """Estimates of one way of looking, by parameter; what it does not tell is not among them."""

    estimates: dict[str, Float[np.ndarray, " record"]]
    low: dict[str, Float[np.ndarray, " record"]]
    high: dict[str, Float[np.ndarray, " record"]]
    """Ends of the 90 % intervals."""
    bound: dict[str, float]
    """Cramer-Rao: the least standard deviation at the truth, relative to it."""
    words: str
    """What is told at the truth, and what is not."""
    arrived: Bool[np.ndarray, " record"]
    """Whether each fit came to its end."""
    f_hz: Float[np.ndarray, " frequency"]
    measured: Complex[np.ndarray, "record frequency row row"]
    expected: Complex[np.ndarray, "frequency row row"]
    """Of the truth."""

    @classmethod
    def of(cls, likelihood: Likelihood, found: Found, theta: Array, S: Array) -> "Seen":
        """The estimates of fits to the cross-spectra S; `theta` is the truth."""
        names = told(likelihood)
        centre, sd = (np.asarray(x) for x in _spreads(likelihood, found.theta, found.covariance))
        low, high = centre - _QUANTILE * sd, centre + _QUANTILE * sd
        expected, information = likelihood.bound(theta)
        truth, least = (np.asarray(x)[0] for x in _spreads(likelihood, theta[None], jnp.linalg.inv(information)[None]))
        estimates, low, high = (_by_name(names, x.T) for x in (centre, low, high))
        relative = np.where(np.arange(len(truth)) < _LINEAR, np.abs(truth), 1.0)
        return cls(
            estimates,
            low,
            high,
            dict(zip(names, (least / relative).tolist(), strict=True)),
            _words(likelihood, information),
            np.asarray(found.arrived),
            likelihood.taper.f_hz,
            np.asarray(S),
            np.asarray(expected),
        )


@dataclasses.dataclass(frozen=True)
class WholeChain:
    """Estimates side by side, by way of looking; made by `whole_chain`."""

    truth: dict[str, float]
    seen: dict[str, Seen]
    """By way: "spikes", "mean V", "source", "sensors", and the sensors with a mass that knows of no shot noise."""
    record_s: float
    """Length of a record."""

    def bias(self, way: str, name: str) -> tuple[float, float]:
        """Median of the estimates, relative to the truth, and its standard error.

        Not the mean: where one record tells nothing of n, its estimate is any large number, and the mean is that.
        """
        error = (self.seen[way].estimates[name] - self.truth[name]) / abs(self.truth[name])
        low, middle, high = np.quantile(error, (0.1587, 0.5, 0.8413))  # one standard deviation to each side
        return float(middle), float(_OF_MEDIAN * (high - low) / 2 / np.sqrt(len(error)))

    def width(self, way: str, name: str) -> float:
        """Median half width of the 90 % intervals, relative to the truth."""
        one = self.seen[way]
        return float(np.median(one.high[name] - one.low[name]) / 2 / abs(self.truth[name]))

    def covered(self, way: str, name: str) -> int:
        """In how many records the interval holds the truth."""
        one = self.seen[way]
        return int(np.sum((one.low[name] <= self.truth[name]) & (self.truth[name] <= one.high[name])))

    def coverage(self, way: str) -> float:
        """Of all intervals of a way of looking, the share that hold the truth."""
        one = self.seen[way]
        return float(np.mean([self.covered(way, name) / len(one.arrived) for name in one.estimates]))

    def __str__(self) -> str:
        wide, ways = max(map(len, NAMES)) + 2, list(self.seen)
        count = len(self.seen[ways[0]].arrived)
        lines = [
            f"{count} records of {self.record_s:g} s. Median bias ± its standard error; ± half of the {LEVEL:.0%} interval; "
            "how many of these hold the truth.",
            f"{'':<{wide}}{'truth':>8}" + "".join(f"{way:>29}" for way in ways),
        ]
        for name in NAMES:
            cells = "".join(f" {self._cell(way, name):>28}" for way in ways)
            lines.append(f"{name:<{wide}}{self.truth[name]:>8.4g}{cells}")
        lines.append(f"{'all intervals':<{wide}}{'':>8}" + "".join(f"{self.coverage(way):>29.0%}" for way in ways))
        lost = {way: int(np.sum(~one.arrived)) for way, one in self.seen.items() if not one.arrived.all()}
        lines += [f"{n} fits of {way} did not come to their end" for way, n in lost.items()]
        return "\n".join(lines)

    def _cell(self, way: str, name: str) -> str:
        one = self.seen[way]
        if name not in one.estimates:
            return "not told"
        (bias, error), wide = self.bias(way, name), self.width(way, name)
        held = f"{self.covered(way, name)}/{len(one.arrived)}"
        return f"{100 * bias:+.1f} ± {100 * error:.1f} %; ± {100 * wide:.0f} %; {held}"

    def to_xarray(self) -> Any:
        """Truth, estimates and intervals as a labelled Dataset; NaN where a way of looking does not tell."""
        xarray = require("xarray", extra="io")
        count = len(next(iter(self.seen.values())).arrived)
        silent = np.full(count, np.nan)

        def table(part: str) -> np.ndarray:
            return np.array([[getattr(one, part).get(name, silent) for name in NAMES] for one in self.seen.values()])

        dims = ("way", "parameter", "record")
        return xarray.Dataset(
            {part: (dims, table(name)) for part, name in (("estimate", "estimates"), ("low", "low"), ("high", "high"))}
            | {"truth": ("parameter", [self.truth[name] for name in NAMES])},
            {"way": list(self.seen), "parameter": list(NAMES)},
            {"record_s": self.record_s, "level": LEVEL},
        )

    def plot(self) -> Any:
        """Bias and intervals of every parameter, a row for each way of looking; the Figure."""
        from jnm.plot import whole_chain

        return whole_chain.forest(self)


def told(likelihood: Likelihood) -> tuple[str, ...]:
    """The parameters that a way of looking is asked for."""
    if not likelihood.shots:
        return NAMES[:4]
    return (*NAMES[:5], NAMES[5] if likelihood.way in ("spikes", "mean V") else NAMES[6])


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0, 0))
def _spreads(likelihood: Likelihood, theta: Array, covariance: Array) -> tuple[Array, Array]:
    """Parameters, the last ones in logarithms, and their standard deviations; infinite where a record does not tell."""
    names = told(likelihood)

    def values(moving):
        given = likelihood.places.at(theta.at[likelihood.moving].set(moving), likelihood.way).values()
        each = jnp.stack([given[name] for name in names])
        return jnp.concatenate([each[:_LINEAR], jnp.log(each[_LINEAR:])])

    here = theta[likelihood.moving]
    slope = jax.jacfwd(values)(here)
    variance = jnp.einsum("ij,jk,ik->i", slope, covariance, slope)
    known = variance >= 0  # that of a flat likelihood is negative or NaN
    return values(here), jnp.sqrt(jnp.where(known, variance, jnp.inf))


def _by_name(names: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    """Out of the logarithm, by name."""
    with np.errstate(over="ignore"):  # of an interval that is open above
        return {name: x if k < _LINEAR else np.exp(x) for k, (name, x) in enumerate(zip(names, values, strict=True))}


def _words(likelihood: Likelihood, information: Array) -> str:
    """What `Information` says of the coordinates that are fitted."""
    level = "n" if likelihood.way in ("spikes", "mean V") else "gain / sqrt(n)"
    labels = np.array(["X", "C", "K", "log delta", "log sigma sqrt(n)", f"log {level}"])[likelihood.moving]
    return Information(np.asarray(information), tuple(labels.tolist())).words()
