"""describe(model): every parameter with value, unit, domain, meaning and source, as the table a methods section needs.

The table is read from the fields themselves (see `jnm.param`), through all sub-modules, so it cannot disagree with the
model that ran. A value that is not the default, or not the preset's, is marked "set by you".
"""

import csv
import dataclasses
import html
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jnm._param import Default, domain_of, parameters, unit_of

_SET_BY_YOU = "set by you"


class Row(NamedTuple):
    """One line of a description; `value` is what the field holds, the rest is text."""

    name: str
    value: Any
    unit: str
    domain: str
    meaning: str
    source: str
    status: str


@dataclasses.dataclass(frozen=True)
class Description:
    """What `jnm.describe` returns: print it, show it in Jupyter, or export it with `to_csv` and `to_latex`."""

    title: str
    rows: tuple[Row, ...]
    citations: tuple[str, ...]
    """Papers, each once."""

    def __getitem__(self, name: str) -> Row:
        """The row of one parameter by its path: `describe(net)["node.eta"]`."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r} is no field of this {self.title}; it has {', '.join(row.name for row in self.rows)}.")

    def __str__(self) -> str:
        """Aligned text; sources are numbered and listed below the table."""
        sources = list(dict.fromkeys(row.source for row in self.rows if row.source))
        head = ("parameter", "value", "unit", "domain", "status", "meaning")
        lines = [head] + [(r.name, _show(r.value), r.unit, r.domain, _status(r, sources), r.meaning) for r in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        notes = [f"[{i}] {source}" for i, source in enumerate(sources, 1)]
        cite = [textwrap.fill(f"Cite: {text}", width=120, subsequent_indent="  ") for text in self.citations]
        return "\n".join([self.title, *table, *notes, *cite])

    def _repr_html_(self) -> str:
        def line(tag, cells):
            return "<tr>" + "".join(f'<{tag} style="text-align:left">{html.escape(c)}</{tag}>' for c in cells) + "</tr>"

        body = "".join(line("td", cells) for cells in self._cells())
        notes = "".join(f"<p>Cite: {html.escape(citation)}</p>" for citation in self.citations)
        return f"<table><caption>{html.escape(self.title)}</caption>{line('th', Row._fields)}{body}</table>{notes}"

    def to_csv(self, path: str | Path | None = None) -> str:
        """The table as comma-separated text with numbers to nine digits, written to `path` too if one is given."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(self._cells(digits=9))
        if path is not None:
            Path(path).write_text(text.getvalue(), encoding="utf-8")
        return text.getvalue()

    def to_latex(self) -> str:
        r"""The table as a LaTeX `tabular` with the rules of booktabs."""
        cells = [[_latex(cell) for cell in line] for line in [Row._fields, *self._cells()]]
        head, *body = [" & ".join(line) + r" \\" for line in cells]
        rule = r"\begin{tabular}{" + "l" * len(Row._fields) + "}"
        return "\n".join([rule, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""])

    def _cells(self, digits: int = 6) -> list[list[str]]:
        return [[row.name, _show(row.value, digits), *row[2:]] for row in self.rows]


def describe(model: eqx.Module) -> Description:
    """Every field of a model and of the modules inside it, with its unit, domain, meaning, source and status.

    The status says of what kind the source is: "paper", "code of the authors", "literature" or "chosen"; "set by you"
    marks a value that differs from the default or the preset. Fields that are fixed when the model is built (an order,
    the number of a population) have the domain "fixed".

        >>> print(jnm.describe(jnm.ING(eta=31.0)))
        >>> jnm.describe(net).to_csv("parameters.csv")

    Raises `TypeError` for something that is not a model or a part of one.
    """
    if not isinstance(model, eqx.Module):
        raise TypeError(f"describe() wants a model, a network or a part of one; got {type(model).__name__}.")
    named = getattr(model, "preset", "")
    title = type(model).__name__ + (f" (preset {named})" if named else "")
    papers = [paper for _, part in _parts(model) for paper in getattr(part, "citation", "").splitlines()]
    return Description(title, tuple(_rows(model)), tuple(dict.fromkeys(filter(None, papers))))


def _parts(module: eqx.Module, path: str = "") -> Iterator[tuple[str, eqx.Module]]:
    """A module and all modules inside it, each with the dotted path before its fields."""
    yield path, module
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        several = isinstance(value, tuple | list)
        for i, part in enumerate(value if several else (value,)):
            if isinstance(part, eqx.Module):
                yield from _parts(part, f"{path}{field.name}{f'[{i}]' if several else ''}.")


def _rows(model: eqx.Module) -> Iterator[Row]:
    for path, module in _parts(model):
        known = parameters(module)
        for field in dataclasses.fields(module):
            name, value = path + field.name, getattr(module, field.name)
            if field.name in known:
                p, domain = known[field.name], str(domain_of(module, field.name))
                yield Row(name, value, unit_of(field), domain, p.doc, *_provenance(module, field, value))
            elif field.repr and not _holds_modules(value):  # repr=False marks workings that are no physiology
                domain = "fixed" if field.metadata.get("static") else ""
                yield Row(name, value, unit_of(field), domain, field.metadata.get("doc", ""), "", "")


def _holds_modules(value: Any) -> bool:
    inside = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(part, eqx.Module) for part in inside)


def _provenance(module: eqx.Module, field: dataclasses.Field, value: Any) -> tuple[str, str]:
    """Source and status of a value: the preset's (`own_defaults`), else the field's, unless the value is another."""
    known = parameters(module)[field.name]
    standard = Default(field.default, known.source, known.status)
    default = getattr(module, "own_defaults", {}).get(field.name, standard)
    same = default.value is not dataclasses.MISSING and _equal(value, default.value)
    return (default.source, default.status) if same else ("", _SET_BY_YOU)


def _equal(value: Any, default: Any) -> bool:
    if value is None or default is None:
        return value is default
    return np.array_equal(np.asarray(value), np.asarray(default, dtype=value.dtype))


def _show(value: Any, digits: int = 6) -> str:
    """A value in one line: numbers while they are few, else the shape and the range; a long list by its ends."""
    if isinstance(value, jax.Array | np.ndarray) and jnp.isdtype(value.dtype, ("numeric", "bool")):
        return _show_numbers(np.asarray(value), digits)
    if isinstance(value, tuple | list) and len(value) > 4:
        return f"{len(value)}: {value[0]}, ... {value[-1]}"
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _show_numbers(values: np.ndarray, digits: int) -> str:
    if values.ndim <= 2 and values.size <= 9:
        return np.array2string(
            values, separator=", ", formatter={"all": lambda x: f"{x:.{digits}g}"}, max_line_width=10**6
        ).replace("\n", "")
    span = f"{values.min():.{digits}g} to {values.max():.{digits}g}" if values.size else "empty"
    return " x ".join(map(str, values.shape)) + ": " + span


def _status(row: Row, sources: list[str]) -> str:
    return f"{row.status} [{sources.index(row.source) + 1}]" if row.source else row.status


_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
)


def _latex(text: str) -> str:
    return text.translate(_LATEX)
