"""cite(): whom to cite for a model and its data, as BibTeX, and a paragraph for the methods section."""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import numpy as np

from jnm._describe import describe
from jnm._version import versions

_LIBRARIES = {
    "jnm": "jnm: JAX neural mass models",
    "jax": "JAX: composable transformations of Python+NumPy programs",
    "diffrax": "Diffrax: numerical differential equation solvers in JAX",
    "equinox": "Equinox: neural networks in JAX via callable PyTrees and filtered transformations",
}


@dataclasses.dataclass(frozen=True)
class Citation:
    """What `jnm.cite` returns: `methods`, a paragraph, and `bibtex`; print it for both."""

    methods: str
    bibtex: str

    def __str__(self) -> str:
        return f"{self.methods}\n\n{self.bibtex}"


def cite(model: eqx.Module, *data: Any) -> Citation:
    """A methods paragraph (equations, solver, dt, seeds, versions) and BibTeX for a model and what was made with it.

        >>> sol = jnm.simulate(net, 1_000.0, dt=0.1, key=jax.random.key(0))
        >>> print(jnm.cite(net, sol))

    `data` are solutions, results of sweeps, connectomes, or anything else with a `citation` or a `record`. What a record
    does not hold is not said. Raises `TypeError` for something that is not a model.
    """
    records = [record for thing in data if (record := _record(thing))]
    papers = [paper for thing in data for paper in getattr(thing, "citation", "").splitlines()]
    sources = list(dict.fromkeys(filter(None, [*describe(model).citations, *papers])))
    known = records[0] if records else {}
    libraries = {name: str(known.get(name, version)) for name, version in versions().items()}
    paragraph = " ".join(filter(None, [_model(model, sources), *map(_run, records), _software(libraries)]))
    entries = [_entry(source) for source in sources] + [_library(name, version) for name, version in libraries.items()]
    return Citation(paragraph + _equations(model), "\n\n".join(_unique(entries)))


def _record(thing: Any) -> dict[str, Any]:
    """What is known of how a result was made: of a solution its record, of a Dataset its attributes."""
    record = getattr(thing, "record", None)
    if record is not None:
        return dict(record.entries)
    attributes = getattr(thing, "attrs", None)
    return dict(attributes) if isinstance(attributes, Mapping) else {}


def _model(model: eqx.Module, sources: list[str]) -> str:
    node = getattr(model, "node", model)
    name = getattr(node, "preset", "") or type(node).__name__
    regions = getattr(model, "n_regions", None)
    coupling = type(getattr(model, "coupling", None)).__name__.lower()
    network = (
        f"a network of {regions} regions with {coupling} coupling, each one a node of " if regions else "the model "
    )
    delayed = _delayed(getattr(model, "speed", None))
    return f"We simulated {network}{name} ({'; '.join(sources) or 'no source given'}){delayed}."


def _delayed(speed: Any) -> str:
    if speed is None:
        return ""
    slowest, fastest = float(np.min(speed)), float(np.max(speed))
    return f"; activity travelled at {slowest:g}{f' to {fastest:g}' if fastest > slowest else ''} mm/ms"


def _run(record: dict[str, Any]) -> str:
    facts = {
        "solver": "with {}",
        "dt_ms": "in steps of {:g} ms",
        "steps": "for {} steps",
        "precision": "in {}",
        "device": "on a {}",
        "key": "the random key was {}",
    }
    told = [
        text.format(record[name]) for name, text in facts.items() if record.get(name) not in (None, "none", "traced")
    ]
    return f"Equations were integrated {', '.join(told)}." if told else ""


def _software(libraries: Mapping[str, str]) -> str:
    return f"Software: {', '.join(f'{name} {version}' for name, version in libraries.items())}."


def _equations(model: eqx.Module) -> str:
    """The equations that stand at the head of the model's file."""
    head = inspect.getdoc(inspect.getmodule(type(getattr(model, "node", model)))) or ""
    lines = [line for line in head.splitlines() if line.startswith("    ")]
    return "\n\n" + "\n".join(lines) if lines else ""


def _entry(source: str) -> str:
    """A free text as BibTeX: named after the first author and the year."""
    year = re.search(r"(?<!\d)(19|20)\d\d(?!\d)", source)
    author = re.match(r"\W*(\w+)", source)
    name = (author.group(1).lower() if author else "source") + (year.group(0) if year else "")
    date = f",\n  year = {{{year.group(0)}}}" if year else ""
    return f"@misc{{{name},\n  note = {{{source}}}{date}\n}}"


def _library(name: str, version: str) -> str:
    return f"@software{{{name},\n  title = {{{_LIBRARIES[name]}}},\n  version = {{{version}}}\n}}"


def _unique(entries: Iterable[str]) -> list[str]:
    """Entries of one name get letters, as people do: montbrio2015, montbrio2015b."""
    seen: dict[str, int] = {}
    unique = []
    for entry in dict.fromkeys(entries):
        name = entry[entry.index("{") + 1 : entry.index(",")]
        seen[name] = seen.get(name, 0) + 1
        letter = "" if seen[name] == 1 else chr(ord("a") + seen[name] - 1)
        unique.append(entry.replace(f"{{{name},", f"{{{name}{letter},", 1))
    return unique
