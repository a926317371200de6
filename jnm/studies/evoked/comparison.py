"""Hypotheses of where the input enters, side by side: tables, a verdict from the numbers, a Dataset, a picture."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jnm._optional import require
from jnm.studies.evoked.evidence import Fitted
from jnm.studies.evoked.report import LITTLE, aligned, with_error
from jnm.studies.evoked.scores import Contrast, Score

SURE = 3.0
"""Nats (odds of 20:1) by which an evidence must be larger to count: strong, as Kass & Raftery (1995, JASA 90:773) call it."""

PER_CELL = 0.2e-3
"""nA m of a pyramidal cell under strong input (Murakami & Okada 2006)."""

CEILING = 1.0
"""nA m a mm2 of cortex, the most there is (Murakami & Okada 2015: 0.5 to 1)."""

HELD = ("other sites", "later time")


class Margin(NamedTuple):
    """What an entry has over a rival on the same data."""

    nats: float
    """Of log evidence."""
    held: dict[str, Contrast]
    """Of the held-out shares, by `HELD`."""


class EntryScore(NamedTuple):
    """One hypothesis of where the input enters, on one average response."""

    condition: str
    entry: str
    regions: tuple[str, ...]
    log_evidence: float
    """Nats above silence."""
    fitted: Fitted
    """To all sites and the whole window."""
    explained: float
    """Share of the explainable variance there."""
    moment: float
    """Largest of any region, nA m."""
    judged: Score
    """On what the fit did not see."""
    margins: dict[str, Margin]
    """Over each rival, with the same entry."""

    @property
    def beats_silence(self) -> bool:
        """Whether its evidence is larger than that of no response by more than `SURE`."""
        return self.log_evidence > SURE

    @property
    def predicts(self) -> tuple[str, ...]:
        """Which of `HELD` it predicts, beyond chance and by more than next to nothing."""
        held = zip(HELD, (self.judged.unseen, self.judged.later), strict=True)
        return tuple(what for what, h in held if h is not None and h.predicts and h.share > LITTLE)

    def beats(self, rival: str) -> bool:
        """Whether it predicts something, and clearly more of it than the rival."""
        contrasts = self.margins[rival].held
        return any(contrasts[what].beats and contrasts[what].difference > LITTLE for what in self.predicts)


@dataclasses.dataclass(frozen=True)
class EntryComparison:
    """The result of `jnm.studies.compare_entries`: print it, `plot()` it."""

    scores: tuple[EntryScore, ...]
    norms: dict[str, Score]
    """The minimum norm of each condition, carried on by decay: no dynamics, and no entry."""
    independent: float
    """Independent samples a channel that the evidence counts."""
    notes: tuple[str, ...]
    split: float
    stop: float

    @property
    def conditions(self) -> tuple[str, ...]:
        """In the order they were asked for."""
        return tuple(dict.fromkeys(score.condition for score in self.scores))

    def of(self, condition: str) -> tuple[EntryScore, ...]:
        """All hypotheses of a condition, the most probable first."""
        return tuple(sorted((s for s in self.scores if s.condition == condition), key=lambda s: -s.log_evidence))

    def table(self) -> str:
        """Every hypothesis of every condition: evidence over silence, held-out shares, amplitude, speed."""
        head = (
            "condition",
            "input enters",
            "regions",
            "log evidence",
            "fitted",
            *HELD,
            "largest moment",
            "speed (90 %)",
        )
        lines: list[tuple[str, ...]] = [head]
        for condition in self.conditions:
            lines += [_cells(score) for score in self.of(condition)]
            norm = self.norms[condition]
            lines.append((condition, "minimum norm", "all", "", "", *_held(norm), "", ""))
        return aligned(lines)

    def margins(self) -> str:
        """What each hypothesis has over its rivals: nats of evidence, and held-out share by sites and by later time."""
        lines: list[tuple[str, ...]] = [("condition", "input enters", "against", "nats", *HELD)]
        for score in self.scores:
            for rival, margin in score.margins.items():
                held = (f"{c.difference:+.4f} +- {c.error:.4f}" for c in margin.held.values())
                lines.append((score.condition, score.entry, rival, f"{margin.nats:+.1f}", *held))
        return aligned(lines)

    def words(self) -> list[str]:
        """What the numbers say, condition by condition."""
        return [_verdict(self.of(condition)) for condition in self.conditions]

    def __str__(self) -> str:
        return "\n".join([
            *self.notes,
            f"Log evidence (Laplace, {self.independent:.0f} independent samples a channel) is in nats over that of no "
            "response; shares are of the explainable variance, +- one standard error.",
            self.table(), "", "The same network and entry against its rivals:", self.margins(), "", *self.words(),
        ])  # fmt: skip

    def to_xarray(self) -> Any:
        """Everything in the tables as a labelled Dataset, [condition, entry] and [.., rival, ..held]."""
        xarray = require("xarray", extra="io")
        conditions, entries = self.conditions, tuple(dict.fromkeys(s.entry for s in self.scores))
        rivals = tuple(self.scores[0].margins)
        grid = {(s.condition, s.entry): s for s in self.scores}
        rows = [[grid[c, e] for e in entries] for c in conditions]

        def each(what: Any) -> np.ndarray:
            return np.array([[what(score) for score in row] for row in rows], float)

        two, axes = ("condition", "entry"), ("condition", "entry", "rival", "held")
        return xarray.Dataset(
            {
                "log_evidence": (two, each(lambda s: s.log_evidence), {"units": "nats", "relative_to": "silence"}),
                "explained": (two, each(lambda s: s.explained)),
                "moment": (two, each(lambda s: s.moment), {"units": "nA m"}),
                "speed": (two, each(lambda s: s.fitted.value("speed")), {"units": "mm/ms"}),
                "speed_interval": ((*two, "end"), each(lambda s: s.fitted.interval("speed"))),
                "share": ((*two, "held"), each(lambda s: [h.share for h in (s.judged.unseen, s.judged.later)])),
                "share_error": ((*two, "held"), each(lambda s: [h.error for h in (s.judged.unseen, s.judged.later)])),
                "margin": (axes, each(lambda s: [[m.held[h].difference for h in HELD] for m in s.margins.values()])),
                "margin_error": (axes, each(lambda s: [[m.held[h].error for h in HELD] for m in s.margins.values()])),
                "margin_nats": (axes[:3], each(lambda s: [m.nats for m in s.margins.values()])),
            },
            {"condition": list(conditions), "entry": list(entries), "rival": list(rivals), "held": list(HELD),
             "end": ["low", "high"]},
            {"split_ms": self.split, "stop_ms": self.stop, "independent_samples": self.independent},
        )  # fmt: skip

    def plot(self) -> Any:
        """Evidence over silence, and what is predicted of unseen sites and later time, by condition; the Figure."""
        import matplotlib.pyplot as plt

        from jnm import plot

        whole, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", sharey=True)
        entries = tuple(dict.fromkeys(s.entry for s in self.scores))
        colours = dict(zip(entries, (plot.BLUE, plot.ORANGE, plot.GREEN, plot.RED, plot.GREY) * 9, strict=False))
        rows = {condition: row for row, condition in enumerate(self.conditions)}
        for score in self.scores:
            place = rows[score.condition] + 0.7 * ((entries.index(score.entry) + 0.5) / len(entries) - 0.5)
            looks: dict[str, Any] = {"fmt": "o", "ms": 5, "color": colours[score.entry]}
            named = score.entry if score.condition == self.conditions[0] else None
            panels[0].errorbar(score.log_evidence, place, **looks, label=named)
            for ax, held in zip(panels[1:], (score.judged.unseen, score.judged.later), strict=True):
                assert held is not None
                ax.errorbar(held.share, place, xerr=2 * held.error, **looks)
        labels = (
            "log evidence over silence (nats)",
            "share of unseen sites (± 2 s.e.)",
            f"share after {self.split:g} ms (± 2 s.e.)",
        )
        for ax, label in zip(panels, labels, strict=True):
            plot.axes(ax).axvline(0.0, color="black", lw=0.8)
            ax.locator_params(axis="x", nbins=4)
            ax.set(xlabel=label, yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))
        panels[0].axvspan(-SURE, SURE, color=plot.GREY, alpha=0.2, lw=0)
        panels[0].legend(frameon=False, fontsize=8)
        return whole


def _cells(score: EntryScore) -> tuple[str, ...]:
    speed, (low, high) = score.fitted.value("speed"), score.fitted.interval("speed")
    return (
        score.condition, score.entry, str(len(score.regions)), f"{score.log_evidence:+.1f}", f"{score.explained:.3f}",
        *_held(score.judged), f"{score.moment:.0f} nA m", f"{speed:.1f} ({low:.1f} to {high:.1f}) mm/ms",
    )  # fmt: skip


def _held(score: Score) -> tuple[str, str]:
    return with_error(score.unseen), "cannot" if score.later is None else with_error(score.later)


def _verdict(scores: tuple[EntryScore, ...]) -> str:
    best = scores[0]
    lead = best.log_evidence - scores[1].log_evidence
    found = f"input at {best.entry!r} is the most probable, {best.log_evidence:+.1f} nats to silence"
    if not best.beats_silence:
        said = f"NO entry is more probable than no response (best: {found})"
    elif lead < SURE:
        said = f"{found}, but only {lead:.1f} before {scores[1].entry!r}: not told apart"
    else:
        said = f"{found} and {lead:.1f} before {scores[1].entry!r}"
    as_good = [rival for rival, margin in best.margins.items() if margin.nats < SURE]
    beaten = [rival for rival in best.margins if best.beats(rival)]
    parts = [
        said,
        f"as probable or more: {', '.join(as_good)}" if as_good else "all its rivals are less probable",
        f"it predicts {' and '.join(best.predicts) or 'neither unseen sites nor later time'}",
        f"there it beats {', '.join(beaten)}" if beaten else "on held-out data it beats none of its rivals",
        f"{best.moment:.0f} nA m are {best.moment / PER_CELL:.1g} cells in step, {best.moment / CEILING:.0f} mm2 of cortex "
        "or more",
    ]
    return f"{best.condition}: {'; '.join(parts)}."
