"""A sweep as a TOML file: a model, perhaps a network of it, what is swept, how it runs and what is kept.

    [model]                          [sweep]
    name = "PING"                    "coupling.gain" = { from = 0.0, to = 20.0, number = 21 }
    parameters = { IE = 2.0 }        "node.I[0]" = [2.0, 4.0]
                                     seed = [0, 1, 2]
    [network]
    connectome = "synthetic"         [run]
    normalise = "rows"               t1 = 2000.0
    gain = 10.0                      dt = 0.1
    speed = 5.0                      measures = ["mean", "peak_hz"]

What is wrong is told with the line it stands in.
"""

import contextlib
import dataclasses
import functools
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jnm import models
from jnm._model import AbstractModel
from jnm._param import at
from jnm.integration import simulate
from jnm.network import Connectome, Linear, Network
from jnm.observe import psd
from jnm.sweeps.grid import Grid, grid
from jnm.sweeps.selected import SEED

_NUMBER = (int, float)
_KNOWN: dict[str, dict[str, Any]] = {
    "model": {"name": str, "parameters": dict},
    "network": {"connectome": str, "normalise": str, "gain": _NUMBER, "speed": _NUMBER},
    "run": {
        **dict.fromkeys(("t1", "dt", "discard", "save_every"), _NUMBER), "seed": int, "measures": list, "store": str,
    },
}  # fmt: skip
_NEEDED = {"model": ("name",), "network": ("connectome",), "run": ("t1", "dt")}
_MEASURES: dict[str, Callable[[Any, float], Any]] = {
    "mean": lambda x, _: jnp.mean(x, axis=0),
    "sd": lambda x, _: jnp.std(x, axis=0),
    "low": lambda x, _: jnp.min(x, axis=0),
    "high": lambda x, _: jnp.max(x, axis=0),
    "peak_hz": lambda x, dt: _peak(x, dt),
    "series": lambda x, _: x,
}


class Configured(NamedTuple):
    """What a file describes, ready for `jnm.sweep`."""

    fn: Callable[..., Any]
    grid: Grid
    key: PRNGKeyArray
    dims: dict[str, tuple[str, ...]]
    store: str | None


def configured(text: str, name: str) -> Configured:
    """A sweep from the text of a TOML file; `name` is told in errors.

    Raises `ValueError` with the line for what is no TOML, for unknown or missing entries, values of the wrong kind, and
    whatever the model, the network or the grid refuses.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: {error}") from error
    file = _File(name, text, content)
    file.check()
    run = content["run"]
    with file.blaming("model"):
        model = _model(content["model"])
    if "network" in content:
        with file.blaming("network"):
            model = _network(model, content["network"])
    members = _grid(file, model, content["sweep"])
    with file.blaming("run"):
        measured = _measures(run.get("measures", ["mean", "sd"]))
        fn = _Run(run["t1"], run["dt"], run.get("discard", 0.0), run.get("save_every", run["dt"]), measured)
        key = jax.random.key(run.get("seed", 0))
        shapes = eqx.filter_eval_shape(fn, members[0], key)  # what a run refuses is told here, with its line
    dims = {m: (("time",) * (m == "series") + ("region",))[: shapes[m].ndim] for m in measured}
    return Configured(fn, members, key, dims, run.get("store"))


class _Run(eqx.Module):
    """The swept function: a run, and the measures of the node's output."""

    t1: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    discard: float = eqx.field(static=True)
    save_every: float = eqx.field(static=True)
    measures: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, model: Any, key: PRNGKeyArray) -> dict[str, Any]:
        kept, late = self.save_every, self.discard
        x = simulate(model, self.t1, self.dt, key=key, save_every=kept, discard=late, save=model.output).ys
        return {measure: _MEASURES[measure](x, self.save_every) for measure in self.measures}


@dataclasses.dataclass(frozen=True)
class _File:
    """The text, and where in it things stand."""

    name: str
    text: str
    content: dict[str, Any]

    def check(self) -> None:
        for section in self.content:
            if section not in (*_KNOWN, "sweep"):
                self.refuse(
                    section, None, f"there is no section [{section}]; known are {', '.join((*_KNOWN, 'sweep'))}"
                )
        for section in ("model", "sweep", "run"):
            if not isinstance(self.content.get(section), dict) or not self.content[section]:
                raise ValueError(f"{self.name}: the section [{section}] is missing, or empty.")
        for section, known in _KNOWN.items():
            self._check_section(section, known, self.content.get(section, {}))

    def _check_section(self, section: str, known: dict[str, Any], given: dict[str, Any]) -> None:
        for key, value in given.items():
            if key not in known:
                self.refuse(section, key, f"[{section}] has no {key}; known are {', '.join(known)}")
            if not isinstance(value, known[key]) or isinstance(value, bool):
                wanted = "a number" if known[key] == _NUMBER else f"a {known[key].__name__}"
                self.refuse(section, key, f"{key} = {value!r}; wanted {wanted}")
        for key in _NEEDED[section] if section in self.content else ():
            if key not in given:
                self.refuse(section, None, f"[{section}] needs {key}")

    def refuse(self, section: str, key: str | None, told: str) -> None:
        raise ValueError(f"{self.name}, line {self.line(section, key)}: {told}.")

    def line(self, section: str, key: str | None) -> int:
        """Where a section begins, or a key in it stands."""
        lines = self.text.splitlines()
        head = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]")
        begin = next((i for i, line in enumerate(lines) if head.match(line)), 0)
        if key is not None:
            entry = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
            return next((i for i in range(begin, len(lines)) if entry.match(lines[i])), begin) + 1
        return begin + 1

    @contextlib.contextmanager
    def blaming(self, section: str, key: str | None = None) -> Iterator[None]:
        """What is refused inside is told with the line."""
        try:
            yield
        except (ValueError, TypeError, OSError, KeyError, OverflowError) as error:
            raise ValueError(f"{self.name}, line {self.line(section, key)}: {error}") from error


def _model(given: dict[str, Any]) -> Any:
    known = [name for name, made in vars(models).items() if name[0].isupper() and _makes_model(made)]
    if given["name"] not in known:
        raise ValueError(f"there is no model {given['name']!r}; known are {', '.join(known)}.")
    return getattr(models, given["name"])(**given.get("parameters", {}))


def _makes_model(made: Any) -> bool:
    """Whether it is a class of models or a preset, and no state or transfer function."""
    return issubclass(made, AbstractModel) if isinstance(made, type) else callable(made)


def _network(node: Any, given: dict[str, Any]) -> Network:
    from jnm.datasets import connectome

    name = given["connectome"]
    brain = connectome(name) if name in ("synthetic", "sc2017") else Connectome.read(name)
    if "normalise" in given:
        brain = brain.normalised(given["normalise"])
    return Network(node, brain, Linear(gain=given.get("gain", 1.0)), speed=given.get("speed"))


def _grid(file: _File, model: Any, swept: dict[str, Any]) -> Grid:
    where, values = {}, {}
    for path, given in swept.items():
        with file.blaming("sweep", path):
            name = path.rpartition(".")[2]
            name = path if name in where else name
            where[name], values[name] = _where(path), _values(given)
            grid(model, where[name], values[name])
    with file.blaming("sweep"):
        return grid(model, where, values)


def _where(path: str) -> Any:
    """A path such as "node.I[0]" as jnm's `where`."""
    match = re.fullmatch(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\[(\d+(?:\s*,\s*\d+)*)\])?", path)
    if match is None:
        raise ValueError(f'{path!r} names no parameter; write such as "coupling.gain" or "node.I[0]".')
    if path == SEED:
        return SEED
    names, index = match.group(1).split("."), match.group(2)

    def parameter(model: Any) -> Any:
        return functools.reduce(getattr, names, model)

    return parameter if index is None else at(parameter, tuple(int(i) for i in index.split(",")))


def _values(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    if not {"from", "to", "number"} <= set(given) <= {"from", "to", "number", "scale"}:
        raise ValueError(
            f"{given}: wanted a list, or {{ from = 0.0, to = 1.0, number = 11, scale = 'linear' or 'log' }}."
        )
    scale = given.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise ValueError(f"scale = {scale!r}; known are 'linear' and 'log'.")
    ends, number = (given["from"], given["to"]), given["number"]
    real = all(isinstance(end, _NUMBER) and not isinstance(end, bool) for end in ends)
    if not real or (scale == "log" and min(ends) <= 0) or not isinstance(number, int) or number < 1:
        raise ValueError(
            f"{given}: wanted numbers from and to (above zero where scale = 'log'), and how many values, one or more."
        )
    return (np.linspace if scale == "linear" else np.geomspace)(*ends, number)


def _measures(given: list[Any]) -> tuple[str, ...]:
    unknown = [measure for measure in given if measure not in _MEASURES]
    if unknown or not given:
        raise ValueError(f"measures = {given}; known are {', '.join(_MEASURES)}.")
    return tuple(given)


def _peak(x: Any, dt: float) -> Any:
    """The frequency in Hz of the largest density, the lowest one left out."""
    f_hz, density = psd(x, dt)
    return jnp.asarray(f_hz, density.dtype)[1:][jnp.argmax(density[1:], axis=0)]
