"""Checkpoints: a line of JSON that says whose they are, then the arrays as Equinox serialises them. No pickle.

A fit resumed from a checkpoint equals one that never stopped bit for bit, which holds only for the same model, data,
start, key, settings and version of jnm. All of these are in the first line, and a checkpoint of another is refused.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jnm._version import __version__

State = TypeVar("State")

_FORMAT = {"format": "jnm fit checkpoint", "format_version": 1}


def identity(**parts: Any) -> dict[str, Any]:
    """What a checkpoint belongs to: a fingerprint of each part under its name, and the version of jnm."""
    return _FORMAT | {"jnm": __version__} | {name: fingerprint(part) for name, part in parts.items()}


def write(path: Path, whose: Mapping[str, Any], steps: int, state: Any) -> None:
    """Write beside the target first and rename, so that an interrupt leaves the old checkpoint whole."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(json.dumps({**whose, "steps": steps}).encode() + b"\n")
        eqx.tree_serialise_leaves(file, state)
    os.replace(part, path)


def read(path: Path, whose: Mapping[str, Any], like: Callable[[int], State]) -> State:
    """The state in a checkpoint; `like(steps)` is a state of that many steps, for structure, shapes and dtypes.

    Raises `ValueError` if the file is no checkpoint, is damaged, or belongs to another fit; says in what it differs.
    """
    with path.open("rb") as file:
        header = _header(file.readline(), path)
        differs = [name for name in whose if header.get(name) != whose[name]]
        if differs:
            told = ", ".join(_difference(name, header, whose) for name in differs)
            raise ValueError(
                f"{path} is the checkpoint of another fit: it differs in {told}. Repeat that fit to go on with it, or "
                "give another path (or delete the file) to start anew."
            )
        try:
            return eqx.tree_deserialise_leaves(file, like(int(header["steps"])))
        except (EOFError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it to start anew.") from error


def check_writable(path: Path) -> None:
    """Raise `ValueError` now, not after hours, if a file cannot be written at `path`."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory; give the name of a file.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror} ({path.parent}).") from error


def fingerprint(tree: Any) -> str:
    """A hash of everything inside a model, a loss or settings: classes, arrays bit for bit, numbers and words.

    A function counts by its name, its code and what it holds: closed-over values, defaults, arguments of a partial.
    """
    digest = hashlib.sha256()
    _absorb(tree, digest.update)
    return digest.hexdigest()[:16]


def _absorb(value: Any, take: Callable[[bytes], Any], within: tuple[int, ...] = ()) -> None:
    """`within` are the functions on the way here: one that holds itself would never end."""
    take(type(value).__qualname__.encode())
    if isinstance(value, jax.Array | np.ndarray):
        array = np.asarray(jax.random.key_data(value) if _is_key(value) else value)
        take(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    elif isinstance(value, eqx.Module):
        for field in dataclasses.fields(value):
            take(field.name.encode())
            _absorb(getattr(value, field.name), take, within)
    elif isinstance(value, Mapping):
        _absorb(tuple(value.items()), take, within)
    elif isinstance(value, tuple | list):
        for item in value:
            _absorb(item, take, within)
    elif value is None or isinstance(value, bool | int | float | str):
        take(repr(value).encode())
    else:
        take(getattr(value, "__qualname__", "").encode())
        if callable(value) and id(value) not in within:
            _absorb(_held(inspect.unwrap(value)), take, (*within, id(value)))


def _held(function: Any) -> tuple[Any, ...]:
    """What a function is made of: its code, and the values it brings along."""
    if isinstance(function, functools.partial):
        return function.func, function.args, function.keywords
    if inspect.ismethod(function):
        return function.__func__, function.__self__
    if inspect.isfunction(function):
        code, cells = function.__code__, [cell.cell_contents for cell in function.__closure__ or ()]
        return code.co_code.hex(), code.co_consts, cells, function.__defaults__, function.__kwdefaults__
    return ()


def _is_key(value: PRNGKeyArray | np.ndarray) -> bool:
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _header(line: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != _FORMAT["format"]:
        raise ValueError(f"{path} is no checkpoint of jnm.fit; give another path, or delete the file to start anew.")
    return header


def _difference(name: str, header: dict[str, Any], whose: Mapping[str, Any]) -> str:
    readable = name in ("jnm", "format_version")
    return f"{name} ({header.get(name)}, here {whose[name]})" if readable else f"the {name}"
