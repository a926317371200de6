"""save and load: a model as a JSON file that a person can read, with units, and that gives every bit back.

The file names classes only by what jnm itself calls them (`jnm.NMM2`), or by the names of classes the reader hands in.
Nothing is imported, evaluated or unpickled on the strength of a file.
"""

import dataclasses
import inspect
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jnm._param import unit_of

FORMAT = "jnm model"
FORMAT_VERSION = 1

Model = TypeVar("Model", bound=eqx.Module)


def save(model: eqx.Module, path: str | Path) -> None:
    """Write a model, with everything inside it, to a JSON file.

    Each array keeps its numbers, dtype, shape and unit; a number is written as the shortest decimal that gives the same
    bits back, and "nan", "inf", "-inf" as words, which JSON has no numbers for. A file appears whole or not at all.

        >>> jnm.save(net, "network.json")
        >>> net = jnm.load("network.json")

    Raises `ValueError` for a directory that does not exist or cannot be written, for fields that JSON cannot hold (a
    function, a random key), and for a model whose shapes do not fit, such as a batch made by `jnm.grid`: save its
    members.
    """
    import jnm

    path = Path(path)
    _check_writable(path)
    if not isinstance(model, eqx.Module):
        raise ValueError(f"save() wants a model, a network or a part of one; got {type(model).__name__}.")
    names = {cls: name for name, cls in _public_classes().items()}
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "jnm": jnm.__version__}
    _write_whole(path, _text(content | {"model": _Writer(names).module(model, "model")}) + "\n")


def load(path: str | Path, *, classes: Iterable[type[eqx.Module]] = (), cast: bool = False) -> Any:
    """Read a model written by `jnm.save`.

    **Arguments**

    - `classes`: your own classes that the file may name; jnm's are known.
    - `cast`: whether float64 numbers may be rounded to the default float type when x64 is not enabled.

    Raises `ValueError` for a file that is no jnm model or was written in another format, that names an unknown class,
    lacks a field or has one too many, or whose values the class refuses; `FileNotFoundError` if there is no file.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a whole JSON file ({error}): cut short, edited, or no jnm model.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or "model" not in content:
        raise ValueError(f"{path} is JSON but no jnm model; jnm.load reads what jnm.save wrote.")
    if content.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {content.get('format_version')} (written by jnm {content.get('jnm')}); this jnm reads "
            f"format {FORMAT_VERSION}. Read it with that version of jnm, or write it anew with this one."
        )
    known = _public_classes() | {cls.__name__: cls for cls in classes}
    try:
        return _Reader(known, cast).value(content["model"], "model")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _public_classes() -> dict[str, type[eqx.Module]]:
    """jnm's concrete classes, each by its shortest public name: "jnm.Name", or "jnm.room.Name" for those of a room."""
    import jnm

    rooms = [room for name, room in vars(jnm).items() if isinstance(room, ModuleType) and not name.startswith("_")]
    names: dict[type[eqx.Module], str] = {}
    for space in (jnm, *(room for room in rooms if room.__name__.startswith("jnm."))):
        for name, cls in vars(space).items():
            if isinstance(cls, type) and issubclass(cls, eqx.Module) and not inspect.isabstract(cls):
                names.setdefault(cls, f"{space.__name__}.{name}")
    return {name: cls for cls, name in names.items() if cls.__module__.startswith("jnm.")}


@dataclasses.dataclass(frozen=True)
class _Writer:
    """From a model to what JSON holds. Numbers, words and None stand for themselves; the rest is a tagged object."""

    names: dict[type[eqx.Module], str]

    def value(self, value: Any, where: str, unit: str = "") -> Any:
        if isinstance(value, eqx.Module):
            return self.module(value, where)
        if isinstance(value, jax.Array | np.ndarray):
            return self.array(value, where, unit)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if value is None or isinstance(value, bool | int | str):
            return value
        if getattr(value, "_fields", ())[:2] == ("large", "small"):
            return float(value.large) + float(value.small)  # a stimulus's Time: exact, and its constructor splits it
        if type(value) in (tuple, list):
            return {type(value).__name__: [self.value(v, f"{where}[{i}]") for i, v in enumerate(value)]}
        raise ValueError(f"{where} is a {type(value).__name__}, which a JSON file cannot hold; nothing was saved.")

    def module(self, module: eqx.Module, where: str) -> dict[str, Any]:
        units = {field.name: unit_of(field) for field in dataclasses.fields(module)}
        values = {name: getattr(module, name) for name in _constructor_fields(type(module))}
        try:
            _rebuild(type(module), values)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{where} cannot be saved, because it could not be built again: {error}") from error
        fields = {name: self.value(value, f"{where}.{name}", units[name]) for name, value in values.items()}
        return {"class": self.names.get(type(module), type(module).__name__), "fields": fields}

    def array(self, value: jax.Array | np.ndarray, where: str, unit: str) -> dict[str, Any]:
        if not any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
            raise ValueError(f"{where} has dtype {value.dtype}; only real numbers and booleans are saved.")
        kept = {"numbers": _decimals(np.asarray(value)), "dtype": str(value.dtype), "shape": list(value.shape)}
        return kept | ({"unit": unit} if unit else {}) | ({"numpy": True} if isinstance(value, np.ndarray) else {})


@dataclasses.dataclass(frozen=True)
class _Reader:
    """From what JSON holds to a model: the inverse of `_Writer`, and the place where a file is mistrusted."""

    known: dict[str, type[eqx.Module]]
    cast: bool

    def value(self, stored: Any, where: str) -> Any:
        match stored:
            case None | bool() | int() | float() | str():
                return stored
            case {"float": str(word)}:
                return float(word)
            case {"tuple": list(items)}:
                return tuple(self.value(item, f"{where}[{i}]") for i, item in enumerate(items))
            case {"list": list(items)}:
                return [self.value(item, f"{where}[{i}]") for i, item in enumerate(items)]
            case {"numbers": numbers, "dtype": str(dtype), "shape": list(shape)}:
                return self.array(numbers, dtype, shape, "numpy" in stored, where)
            case {"class": str(name), "fields": dict(fields)}:
                return self.module(name, fields, where)
        raise ValueError(f"{where} holds {str(stored)[:60]!r}, which jnm.save does not write.")

    def module(self, name: str, fields: dict[str, Any], where: str) -> eqx.Module:
        if name not in self.known:
            raise ValueError(
                f"{where} is of class {name}, which is not known here. If it is your own, give it: jnm.load(path, "
                f"classes=[{name.rpartition('.')[2]}]). Known are {', '.join(self.known)}."
            )
        cls = self.known[name]
        wanted = _constructor_fields(cls)
        missing, surplus = [n for n in wanted if n not in fields], [n for n in fields if n not in wanted]
        if missing or surplus:
            told = f"missing are {missing}, not known are {surplus}"
            raise ValueError(f"{where}: {name} has fields {', '.join(wanted)}; {told}.")
        self.check_units(cls, fields, where)
        values = {field: self.value(fields[field], f"{where}.{field}") for field in wanted}
        try:
            return _rebuild(cls, values)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{where} is refused: {error}") from error

    def check_units(self, cls: type[eqx.Module], fields: dict[str, Any], where: str) -> None:
        for field in dataclasses.fields(cls):
            stored, wanted = fields.get(field.name), unit_of(field)
            if isinstance(stored, dict) and "numbers" in stored and stored.get("unit", "") != wanted:
                told = stored.get("unit", "")
                raise ValueError(f"{where}.{field.name} is in {told!r} in the file; {cls.__name__} wants {wanted!r}.")

    def array(self, numbers: Any, dtype: str, shape: list[int], is_numpy: bool, where: str) -> jax.Array | np.ndarray:
        try:
            array = np.asarray(_from_decimals(numbers), dtype=jnp.dtype(dtype)).reshape(shape)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}: the numbers do not make a {dtype} array of shape {shape}.") from error
        if is_numpy:
            return array
        narrow = jax.dtypes.canonicalize_dtype(array.dtype)
        if narrow != array.dtype and not self.cast:
            raise ValueError(
                f"{where} was saved in {dtype}, which JAX would round: enable x64 (jax.config.update('jax_enable_x64', "
                "True)) before loading, or accept the rounding with jnm.load(path, cast=True)."
            )
        return jnp.asarray(array, dtype=narrow)


def _constructor_fields(cls: type[eqx.Module]) -> list[str]:
    """The fields a constructor takes; what it derives from them is not stored but derived again."""
    fields = {field.name for field in dataclasses.fields(cls)}
    return [name for name in inspect.signature(cls.__init__).parameters if name in fields]


def _rebuild(cls: type[eqx.Module], values: dict[str, Any]) -> eqx.Module:
    """By the constructor, for its checks; then with the very arrays, whose dtype its converters may have changed."""
    module = cls(**values)
    for name, value in values.items():
        if isinstance(value, jax.Array | np.ndarray):
            object.__setattr__(module, name, value)
    return module


def _decimals(values: np.ndarray) -> Any:
    """Nested lists of numbers; words for the values JSON has none for."""
    if values.ndim:
        return [_decimals(v) for v in values]
    number = values.item()
    if isinstance(number, bool | int):
        return number
    short = float(str(values))
    exact = number if values.dtype.type(short) != values else short  # 0.1 rather than 0.10000000149 in float32
    return exact if math.isfinite(exact) else str(exact)


def _from_decimals(numbers: Any) -> Any:
    if isinstance(numbers, list):
        return [_from_decimals(n) for n in numbers]
    return float(numbers) if isinstance(numbers, str) else numbers


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a directory; give the name of a file.")
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: the directory {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ValueError(f"{path} cannot be written: no permission.")


def _write_whole(path: Path, text: str) -> None:
    """Beside the target first and then renamed, so that a full disk or an interrupt leaves the old file as it was."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _text(value: Any, indent: str = "") -> str:
    """JSON with a line for each parameter and for each row of a matrix, which `json.dumps` alone does not write."""
    if _is_flat(value):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + _text(v, inner) for v in value) + f"\n{indent}]"
    return "{\n" + ",\n".join(f"{inner}{json.dumps(k)}: {_text(v, inner)}" for k, v in value.items()) + f"\n{indent}}}"


def _is_flat(value: Any) -> bool:
    """Whether it fits one line: numbers and words, a list of them, or an object of these."""
    if isinstance(value, dict):
        return all(_is_flat(v) and not isinstance(v, dict) for v in value.values())
    return not isinstance(value, list) or not any(isinstance(v, list | dict) for v in value)
