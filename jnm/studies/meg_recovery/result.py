"""What came of it: estimates with intervals by view, their bias and coverage, what sensors lose, what a sphere bends."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jnm._optional import require
from jnm.studies.meg_recovery.brain import NAMES

SOURCE, BEM, SPHERE = VIEWS = ("source", "sensors, BEM", "sensors, sphere")
"""The moments themselves; a helmet, and the fit knows the head; the same, and the fit takes it for a sphere."""

_WIDE = 35  # of a column of the table


@dataclasses.dataclass(frozen=True)
class Found:
    """Estimates of one view, in logarithms."""

    log_estimate: Float[np.ndarray, "subject parameter"]
    sd: Float[np.ndarray, "subject parameter"]
    """Standard deviations by the likelihood, relative."""
    arrived: Bool[np.ndarray, " subject"]
    """Whether each fit came to its end."""
    noise: Float[np.ndarray, " subject"] | None
    """Estimated level of the sensors' noise over the one that is there; None for the moments."""


@dataclasses.dataclass(frozen=True)
class MegRecovery:
    """Parameters of simulated subjects beside their estimates; made by `recover_from_meg`. Print it, plot it."""

    log_truth: Float[np.ndarray, "subject parameter"]
    found: dict[str, Found]
    seconds: float
    """Length of a record."""
    level: float
    """Of the intervals."""

    @property
    def truth(self) -> Float[np.ndarray, "subject parameter"]:
        """The parameters of each subject, in the order of `NAMES`."""
        return np.exp(self.log_truth)

    def error(self, view: str) -> Float[np.ndarray, "subject parameter"]:
        """log(estimate / truth): for small ones the relative error."""
        return self.found[view].log_estimate - self.log_truth

    def half_width(self, view: str) -> Float[np.ndarray, "subject parameter"]:
        """Half of the intervals, in logarithms."""
        from scipy.special import ndtri

        return float(ndtri((1 + self.level) / 2)) * self.found[view].sd

    def covered(self, view: str) -> Bool[np.ndarray, "subject parameter"]:
        """Whether each interval holds the truth."""
        return np.abs(self.error(view)) <= self.half_width(view)

    def coverage(self, view: str) -> tuple[float, float]:
        """The share of all intervals of a view that hold the truth, and its standard error over subjects."""
        each = self.covered(view).mean(axis=1)
        return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))

    def bias(self, view: str) -> tuple[Float[np.ndarray, " parameter"], Float[np.ndarray, " parameter"]]:
        """Estimate / truth - 1 by parameter, of their geometric mean, and its standard error."""
        error = self.error(view)
        mean = np.exp(error.mean(axis=0))
        return mean - 1, mean * error.std(axis=0, ddof=1) / np.sqrt(len(error))

    def lost(self, view: str = BEM) -> Float[np.ndarray, " parameter"]:
        """How many times wider intervals are than those of the moments, a median over subjects, by parameter."""
        return np.median(self.half_width(view) / self.half_width(SOURCE), axis=0)

    def bent(self, view: str = SPHERE) -> Float[np.ndarray, " parameter"]:
        """Root mean square of error / sd by parameter: one where intervals are right."""
        return np.sqrt(np.mean((self.error(view) / self.found[view].sd) ** 2, axis=0))

    def __str__(self) -> str:
        subjects = len(self.log_truth)
        lines = [
            f"{subjects} subjects, {self.seconds:g} s each. Bias ± its standard error; ± half of the {self.level:.0%} "
            "interval; how many of these hold the truth.",
            f"{'':<14}" + "".join(f"{view:>{_WIDE}}" for view in self.found),
        ]
        for k, name in enumerate(NAMES):
            lines.append(f"{name:<14}" + "".join(f"{self._cell(view, k):>{_WIDE}}" for view in self.found))
        shares = (self.coverage(view) for view in self.found)
        lines.append(
            f"{'all intervals':<14}" + "".join(f"{f'{100 * c:.0f} ± {100 * e:.0f} %':>{_WIDE}}" for c, e in shares)
        )
        rows = [("intervals are wider by", self.lost), ("error / sd, rms", self.bent)]
        for what, method in rows:
            cells = (f"{view}: " + ", ".join(f"{x:.2g}" for x in method(view)) for view in self.found)
            lines.append(f"{what}: " + "; ".join(cells))
        levels = (f"{view}: {np.median(one.noise):.2f}" for view, one in self.found.items() if one.noise is not None)
        lines.append("level of the sensors' noise, estimate / truth, median: " + "; ".join(levels))
        lost = {view: int(np.sum(~one.arrived)) for view, one in self.found.items() if not one.arrived.all()}
        lines += [f"{n} fits of {view} did not come to their end" for view, n in lost.items()]
        return "\n".join(lines)

    def _cell(self, view: str, k: int) -> str:
        (bias, error), wide = self.bias(view), np.median(self.half_width(view)[:, k])
        held = f"{np.sum(self.covered(view)[:, k])}/{len(self.log_truth)}"
        return f"{100 * bias[k]:+.2f} ± {100 * error[k]:.2f} %; ± {100 * wide:.2g} %; {held}"

    def to_xarray(self) -> Any:
        """Truth, estimates and intervals as a labelled Dataset."""
        xarray = require("xarray", extra="io")
        middle = np.stack([one.log_estimate for one in self.found.values()])
        half = np.stack([self.half_width(view) for view in self.found])
        axes = ("view", "subject", "parameter")
        return xarray.Dataset(
            {
                "truth": (axes[1:], self.truth),
                "estimate": (axes, np.exp(middle)),
                "low": (axes, np.exp(middle - half)),
                "high": (axes, np.exp(middle + half)),
            },
            {"view": list(self.found), "parameter": list(NAMES)},
            {"record_s": self.seconds, "level": self.level},
        )

    def plot(self) -> Any:
        """Estimates against the truth, and their errors with intervals, a column for each parameter; the Figure."""
        from jnm.plot import meg_recovery

        return meg_recovery.figure(self)
