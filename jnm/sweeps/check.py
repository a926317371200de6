"""check(): do the conclusions of a simulation survive what should not matter? A table of those that move.

Half the time step, twice the number of neurons, the other precision, other seeds: none of these is physiology, and a
conclusion that depends on them is one of numerics or of chance.
"""

import dataclasses
import html
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np


class Row(NamedTuple):
    """One conclusion: its value, for each variation the other value and the relative change, and which of them move it."""

    name: str
    value: Any
    others: dict[str, Any]
    changes: dict[str, float]
    moved: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Check:
    """What `jnm.check` returns: print it, or show it in Jupyter; `moved` names the conclusions that do not hold."""

    rows: tuple[Row, ...]
    tolerance: float

    @property
    def moved(self) -> tuple[str, ...]:
        """The conclusions that some variation moves."""
        return tuple(row.name for row in self.rows if row.moved)

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name!r} is no conclusion of this check; it has {', '.join(row.name for row in self.rows)}.")

    def __str__(self) -> str:
        """Aligned text; a star marks what moves."""
        lines = self._cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        told = ", ".join(self.moved) or "none"
        return "\n".join(
            [*table, f"* moves by more than {self.tolerance:.0%} and, seeds apart, than chance. Moved: {told}."]
        )

    def _repr_html_(self) -> str:
        head, *body = [[html.escape(cell) for cell in line] for line in self._cells()]
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body)
        return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{rows}</table>"

    def _cells(self) -> list[list[str]]:
        variations = list(self.rows[0].others) if self.rows else []
        head = ["conclusion", "value", *variations]
        return [head] + [
            [row.name, _show(row.value), *(_cell(row, variation) for variation in variations)] for row in self.rows
        ]


def check(simulation: Callable[..., Any], *, tolerance: float = 0.05, seeds: int = 3) -> Check:
    """Repeat a simulation with dt halved, n doubled, in the other precision and with new seeds; see what moves.

        >>> def simulation(dt=0.1, seed=0):
        ...     key = jax.random.key(seed)
        ...     sol = jnm.simulate(jnm.ING(sigma=0.02), 2_000.0, dt, key=key, save_every=1.0, discard=500.0)
        ...     return {"rate": sol.ys.r.mean(), "swing": sol.ys.r.std()}
        >>> print(jnm.check(simulation))

    **Arguments**

    - `simulation`: a function with defaults for what it takes of `dt` (ms), `n` (a whole number), `key` or `seed`; it
      builds its model inside, so that it can be built in either precision, and returns its conclusions: a dict (or any
      PyTree) of numbers, truth values or words.
    - `tolerance`: the relative change that counts. With seeds, a change must also exceed twice their standard deviation,
      because another dt is another path of the noise as well; among the seeds, the standard deviation itself counts.
    - `seeds`: how many new ones.

    **Returns** a `Check`. Raises `ValueError` for a function that takes none of these, or takes one without a default,
    and where a repetition returns other names.
    """
    given = {name: p.default for name, p in inspect.signature(simulation).parameters.items()}
    known = {name: value for name, value in given.items() if name in ("dt", "n", "key", "seed")}
    missing = [name for name, value in given.items() if value is inspect.Parameter.empty]
    if not known or missing:
        told = f"{', '.join(missing)} without a default" if missing else f"only {', '.join(given) or 'nothing'}"
        raise ValueError(f"check: the simulation takes {told}; wanted such as def simulation(dt=0.1, seed=0).")
    _check_numbers(known)
    base = _conclusions(simulation())
    others = {name: _conclusions(run()) for name, run in _variations(simulation, known)}
    chance = [_conclusions(simulation(**change)) for change in _new_seeds(known, seeds)]
    for name, conclusions in [*others.items(), *(("new seeds", c) for c in chance)]:
        if set(conclusions) != set(base):
            raise ValueError(
                f"check: {name}: the simulation returned {', '.join(conclusions)}; at first {', '.join(base)}."
            )
        other = [each for each, value in base.items() if np.shape(conclusions[each]) != np.shape(value)]
        if other:
            raise ValueError(
                f"check: {name}: {other[0]} has shape {list(np.shape(conclusions[other[0]]))}, at first "
                f"{list(np.shape(base[other[0]]))}; return what can be compared, such as a mean, or samples every ms."
            )
    return Check(tuple(_row(name, base[name], others, chance, tolerance) for name in base), tolerance)


def _check_numbers(known: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a step or a number of neurons that is none."""
    for name in {"dt", "n"} & set(known):
        value = known[name]
        if isinstance(value, bool) or np.ndim(value) or not isinstance(value, int | float | np.number) or value <= 0:
            raise ValueError(f"check: the default of {name} is {value!r}; wanted a positive number.")


def _variations(simulation: Callable[..., Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if "dt" in known:
        yield "dt / 2", lambda: simulation(dt=known["dt"] / 2)
    if "n" in known:
        yield "2 n", lambda: simulation(n=2 * known["n"])
    double = jnp.result_type(float) == jnp.float64

    def other_precision():
        with jax.enable_x64(not double):
            return jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, simulation())

    yield "float32" if double else "float64", other_precision


def _new_seeds(known: Mapping[str, Any], seeds: int) -> Iterator[dict[str, Any]]:
    for i in range(1, seeds + 1):
        if "key" in known:
            yield {"key": jax.random.fold_in(known["key"], i)}
        elif "seed" in known:
            yield {"seed": known["seed"] + i}


def _conclusions(tree: Any) -> dict[str, Any]:
    leaves = jtu.tree_flatten_with_path(tree)[0]
    return {jtu.keystr(path, simple=True, separator=".") or "value": _plain(leaf) for path, leaf in leaves}


def _plain(value: Any) -> Any:
    """Numbers in double precision; truth values and words as they are."""
    if isinstance(value, str | bool):
        return value
    array = np.asarray(value)
    return bool(array) if array.dtype == bool and not array.ndim else array.astype(np.result_type(array, float))


def _row(
    name: str, value: Any, others: Mapping[str, Mapping[str, Any]], chance: list[dict[str, Any]], tolerance: float
) -> Row:
    values = {variation: conclusions[name] for variation, conclusions in others.items()}
    changes = {variation: _change(other, value) for variation, other in values.items()}
    scatter = _scatter(value, [c[name] for c in chance])
    moved = [variation for variation, change in changes.items() if not change <= max(tolerance, 2 * scatter)]
    if chance:
        values["new seeds"], changes["new seeds"] = chance[0][name], scatter
        moved += ["new seeds"] if not scatter <= tolerance else []
    return Row(name, value, values, changes, tuple(moved))


def _change(other: Any, value: Any) -> float:
    """Relative to the value; 0 or infinite for truth values and words. Not a number where a value is none."""
    if isinstance(value, str | bool):
        return 0.0 if other == value else np.inf
    difference, size = np.linalg.norm(np.ravel(other - value)), np.linalg.norm(np.ravel(value))
    return float(difference / size) if size else (0.0 if difference == 0 else np.inf)


def _scatter(value: Any, others: list[Any]) -> float:
    """The standard deviation over seeds, relative to the value."""
    if not others:
        return 0.0
    changes = [_change(other, value) for other in others]
    if isinstance(value, str | bool):
        return max(changes)
    deviation = np.linalg.norm(np.std(np.stack([value, *others]), axis=0, ddof=1))
    return float(deviation / np.linalg.norm(value)) if np.any(value) else max(changes)


def _show(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.item():.4g}" if not value.ndim else f"{len(np.ravel(value))} numbers"
    return str(value)


def _cell(row: Row, variation: str) -> str:
    star = " *" if variation in row.moved else ""
    change = row.changes[variation]
    if isinstance(row.value, str | bool):
        return ("the same" if change == 0 else str(row.others[variation])) + star
    if variation == "new seeds":
        return f"± {change:.2%}{star}"
    shown = f"{_show(row.others[variation])} " if not np.ndim(row.value) else ""
    return f"{shown}({change:.2%}){star}"
