"""Whose a stored sweep is: the model, the axes, the seed, and the function by what it computes.

A function is known by the program that JAX lowers it to for one member, with all constants in it: a hash of its source
would miss what it closes over, and change with a comment.
"""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from jnm._version import versions
from jnm.integration.record import fingerprint
from jnm.sweeps.output import Layout
from jnm.sweeps.task import Task

_WORDS = {
    "function": "the function, or something it holds",
    "model": "the model",
    "key": "the key",
    "device": "the kind of device",
    "microbatch": "the width of the microbatch",
    "variables": "what the function returns",
    "coordinates": "the axes of what the function returns",
}


def identity(task: Task, layout: Layout, device: str, microbatch: int) -> dict[str, Any]:
    """All that decides the numbers of a sweep, except the values of its axes, as JSON holds it."""
    key = None if task.key is None else np.asarray(jax.random.key_data(task.key)).tolist()
    return {
        **versions(),
        "device": device,
        "microbatch": microbatch,
        "function": program_hash(layout.program),
        "model": fingerprint(_without_swept(task)),
        "key": key,
        "variables": [[v.name, list(v.dims), list(v.shape), str(v.dtype)] for v in layout.variables],
        "coordinates": hashlib.sha256(repr(sorted(map(_as_text, layout.coordinates.values()))).encode()).hexdigest()[
            :16
        ],
    }


def axes(task: Task) -> list[dict[str, Any]]:
    """The axes as JSON holds them; values that are arrays by their hashes."""
    return [
        {
            "name": axis.name or axis.dim,
            "dim": axis.dim,
            "parameter": axis.path,
            "unit": axis.unit,
            "values": list(axis.labels or map(_as_json, values)),
        }
        for axis, values in zip(task.grid.axes, task.grid.values, strict=True)
    ]


def program_hash(program: Any) -> str:
    """A hash of a traced program, lowered, with its constants."""
    digest = hashlib.sha256(program.lower().as_text().encode())
    for constant in program.jaxpr.consts:
        key = jnp.issubdtype(constant.dtype, jax.dtypes.prng_key)
        digest.update(np.asarray(jax.random.key_data(constant) if key else constant).tobytes())
    return digest.hexdigest()[:16]


def differences(stored: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """In what two identities differ, in words."""
    return [
        _WORDS.get(name, f"{name} ({stored.get(name)}, here {here[name]})")
        for name in here
        if stored.get(name) != here[name]
    ]


def growth(stored: list[dict[str, Any]], here: list[dict[str, Any]]) -> str:
    """ "" if the axes are the stored ones, or begin with them and go on; else in what they differ, in words."""
    names, wanted = ([(a["name"], a["dim"], a["parameter"]) for a in axes] for axes in (stored, here))
    if names != wanted:
        return f"its axes are {', '.join(n for n, _, _ in names)}, here {', '.join(n for n, _, _ in wanted)}"
    for old, new in zip(stored, here, strict=True):
        if new["values"][: len(old["values"])] != old["values"]:
            fewer = len(new["values"]) < len(old["values"]) and old["values"][: len(new["values"])] == new["values"]
            told = f"{len(old['values'])} values, here {len(new['values'])}" if fewer else "other values"
            return f"the axis {old['name']} has {told} (an axis may only grow at its end)"
    return ""


def _without_swept(task: Task) -> Any:
    """The model without the arrays that are swept: their base values do not matter where an axis sets all of them."""
    leaves, structure = jtu.tree_flatten(task.grid.model)
    for axis in task.grid.axes:
        if axis.place is not None and axis.place.elements is None:
            leaves[axis.place.leaf] = None
    return jtu.tree_unflatten(structure, leaves)


def _as_json(value: Any) -> Any:
    return value.item() if np.ndim(value) == 0 else hashlib.sha256(value.tobytes()).hexdigest()[:16]


def _as_text(coordinate: tuple[str, Any, dict[str, str]]) -> str:
    dim, values, _ = coordinate
    return f"{dim} {np.asarray(values).tolist()}"
