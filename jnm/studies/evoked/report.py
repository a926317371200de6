"""What `jnm fit` found, in numbers and in words: tables, verdicts from the numbers, a netCDF file, a figure."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jnm._optional import require
from jnm.fitting import Fit, Report
from jnm.integration.record import Record
from jnm.meg.leadfield import LeadField
from jnm.meg.recording import EvokedData
from jnm.studies.evoked.model import StruckNetwork
from jnm.studies.evoked.scores import Contrast, Held, Score

LITTLE = 0.02
"""Shares below this are next to nothing, however sure (chosen)."""


@dataclasses.dataclass(frozen=True)
class EvokedFit:
    """The result of `jnm.studies.fit_evoked`: print it, `plot()` it, `save(folder)` it."""

    evoked: EvokedData
    lead: LeadField
    connectome: Any
    fit: Fit
    """Of all channels and the whole window."""
    estimates: Report
    times: Float[np.ndarray, " time"]
    moments: Float[np.ndarray, "time region"]
    """What the fitted network does, nA m beyond rest."""
    explained: float
    """Share of the explainable variance of the whole window, fitted."""
    scores: tuple[Score, ...]
    contrasts: dict[str, Contrast]
    """True against permuted connectomes: "later", "unseen"."""
    facts: dict[str, float]
    """Shares of the data that any model has to live with; see `words`."""
    notes: tuple[str, ...]
    """What was read, chosen and left out."""
    split: float
    record: Record

    @property
    def model(self) -> StruckNetwork:
        """The fitted network and its input."""
        return self.fit.model

    def score(self, method: str) -> Score:
        """The row of a method; `KeyError` lists the known ones."""
        known = {score.method: score for score in self.scores}
        if method not in known:
            raise KeyError(f"no method {method!r}; there are {', '.join(known)}.")
        return known[method]

    def table(self) -> str:
        """All methods beside each other."""
        end = self.times[-1]
        head = ("method", "free numbers", f"0-{self.split:g} fitted", f"{self.split:g}-{end:g} predicted",
                "sites fitted", "other sites predicted")  # fmt: skip
        return aligned([head, *(_cells(score) for score in self.scores)])

    def words(self) -> list[str]:
        """What the numbers say, and what they do not."""
        return [*_on_the_data(self), *_on_the_network(self), *_on_the_coupling(self)]

    def physiology(self) -> str:
        """The report of the fit without the strengths, which the figure shows."""
        rows = tuple(row for row in self.estimates.rows if not row.name.startswith("strength"))
        return str(dataclasses.replace(self.estimates, rows=rows))

    def __str__(self) -> str:
        parts = [
            f"{self.evoked}",
            *self.notes,
            "",
            f"Explained share of the explainable variance (total minus noise), 0-{self.times[-1]:g} ms; +- one standard error",
            self.table(),
            "",
            f"Fitted to all channels and 0-{self.times[-1]:g} ms, the network explains {self.explained:.3f}.",
            self.physiology(),
            "",
            *self.words(),
        ]
        return "\n".join(parts)

    def plot(self) -> Any:
        """Data and model at the sensors, two topographies, strengths on the regions, held-out scores, as one Figure."""
        from jnm.plot.evoked import figure

        return figure(self)

    def to_xarray(self) -> Any:
        """Data, model, moments, estimates and scores as one labelled Dataset; the record is in its attributes."""
        xarray = require("xarray", extra="io")
        measured = self.evoked.data[self.evoked.times > 0]
        rows, methods = self.estimates.rows, [s.method for s in self.scores]
        nothing = (np.nan, np.nan)
        return xarray.Dataset(
            {
                "measured": (("sample", "channel"), measured),
                "modelled": (("time", "channel"), self.modelled()),
                "moment": (("time", "region"), self.moments, {"units": "nA m"}),
                "strength": ("region", np.asarray(self.model.strength), {"units": "1/ms"}),
                "estimate": ("parameter", [row.estimate for row in rows]),
                "interval": (("parameter", "end"), [row.interval or nothing for row in rows]),
                "score": (("method", "what"), [_numbers(s) for s in self.scores]),
                "loss": ("step", self.fit.losses),
            },
            {
                "sample": ("sample", self.evoked.times[self.evoked.times > 0], {"units": "ms"}),
                "time": ("time", self.times, {"units": "ms"}),
                "channel": list(self.evoked.ch_names),
                "unit": ("channel", list(self.evoked.units)),
                "region": list(self.lead.labels),
                "parameter": [row.name for row in rows],
                "end": ["low", "high"],
                "method": methods,
                "what": ["free numbers", "early", "later", "later error", "seen", "unseen", "unseen error"],
            },
            {**{name: str(self.record[name]) for name in self.record.keys()}, "report": str(self)},
        )

    def modelled(self) -> Float[np.ndarray, "time channel"]:
        """The fitted network at the sensors, in their units, projectors applied as to the data."""
        lead = self.lead.pick(self.evoked.ch_names)
        return self.evoked.project(self.moments @ np.asarray(lead.gain, dtype=float).T)

    def save(self, folder: str | Path) -> tuple[Path, Path, Path]:
        """Write `evoked-fit.png`, `.nc` and `.txt` into a folder that exists; the three paths."""
        paths = tuple(Path(folder) / f"evoked-fit.{suffix}" for suffix in ("png", "nc", "txt"))
        self.plot().savefig(paths[0], dpi=130)
        self.to_xarray().to_netcdf(paths[1], engine="h5netcdf")
        paths[2].write_text(f"{self}\n\n{self.estimates}\n\n{self.record}\n", encoding="utf-8")
        return paths  # pyright: ignore[reportReturnType]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A table of rows of equally many cells."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(score: Score) -> tuple[str, ...]:
    later = "cannot" if score.later is None else with_error(score.later)
    return (
        score.method,
        str(score.numbers),
        f"{score.early:.3f}",
        later,
        f"{score.seen:.3f}",
        with_error(score.unseen),
    )


def with_error(held: Held) -> str:
    """A held-out share, +- its standard error."""
    return f"{held.share:.3f} +- {held.error:.3f}"


def _numbers(score: Score) -> tuple[float, ...]:
    later = (np.nan, np.nan) if score.later is None else (score.later.share, score.later.error)
    return (score.numbers, score.early, *later, score.seen, score.unseen.share, score.unseen.error)


def _on_the_data(result: EvokedFit) -> list[str]:
    facts = result.facts
    return [
        f"The data: {facts['noise']:.0%} of the variance is noise. Of the rest, {facts['reach']:.0%} lies within reach of "
        f"these regions' lead field on all sensors together, whatever their moments, and {facts['drift']:.0%} is one "
        f"straight drift of each channel from the baseline on, which no brief input makes. With any time course, the first "
        f"three field patterns of 0-{result.split:g} ms would explain {facts['courses']:.3f} of what follows.",
    ]


def _on_the_network(result: EvokedFit) -> list[str]:
    ours, norm = result.score("network"), result.score("minimum norm")
    gamma, later = result.score("gamma map"), ours.later
    assert later is not None
    lines = []
    if later.predicts:
        little = "next to nothing of it, " if later.share < LITTLE else ""
        lines.append(f"Later time: the network predicts {little}{later.share:.3f} +- {later.error:.3f}.")
    else:
        lines.append(f"Later time: the network does NOT predict it ({later.share:.3f} +- {later.error:.3f}).")
    if ours.unseen.predicts:
        verb = "more" if ours.unseen.share > norm.unseen.share else "less"
        lines.append(
            f"Unseen sites: the network predicts {ours.unseen.share:.3f} with {ours.numbers} numbers, {verb} than the "
            f"minimum norm ({norm.unseen.share:.3f} with {norm.numbers})."
        )
    else:
        lines.append(
            f"Unseen sites: the network does NOT predict them ({ours.unseen.share:.3f} +- {ours.unseen.error:.3f})."
        )
    better = [what for what, a, b in (("later time", later, gamma.later), ("unseen sites", ours.unseen, gamma.unseen))
              if b is not None and Contrast.of(a, [b]).beats]  # fmt: skip
    lines.append(
        f"Neurons: on {' and '.join(better)} the network beats a map of gamma functions with as many numbers."
        if better
        else "Neurons: a map of gamma functions with as many numbers, and no neurons, does as well."
    )
    return lines


def _on_the_coupling(result: EvokedFit) -> list[str]:
    found = "; ".join(f"{name}: {c.difference:+.3f} +- {c.error:.3f}" for name, c in result.contrasts.items())
    ours = result.score("network")
    held = {"later time": ours.later, "unseen sites": ours.unseen}
    # to fail less badly than another is no success
    beats = any(contrast.beats and held[name].predicts for name, contrast in result.contrasts.items())
    verdict = (
        "Coupling: the connectome beats the permuted ones on held-out data"
        if beats
        else "Coupling: the connectome does NOT beat permuted ones on held-out data, so its estimates must not be interpreted"
    )
    lines = [f"{verdict} ({found})."]
    if beats and result.connectome.source.startswith("synthetic"):
        lines.append(
            "It is synthetic, though, from positions alone: this speaks for short connections, not for anatomy."
        )
    return lines
