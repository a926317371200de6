"""The record of a run: enough to make its result again."""

import hashlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jnm._version import versions


class Record(eqx.Module):
    """How a result was made: `record["dt_ms"]`, `record.keys()`, `print(record)`."""

    entries: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __getitem__(self, name: str) -> Any:
        return dict(self.entries)[name]

    def keys(self) -> tuple[str, ...]:
        """The names of what is recorded."""
        return tuple(name for name, _ in self.entries)

    def __str__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self.entries)


def make_record(model: eqx.Module, key: Any, inputs: Any, y0: Any, **numbers: Any) -> Record:
    """Versions, device, precision, hashes of the model and of its `inputs` (data), the key, and the run's `numbers`."""
    entries = {
        **versions(),
        "device": jax.default_backend(),
        "precision": str(jnp.result_type(*jax.tree.leaves(y0))),
        **numbers,
        "key": _seed(key),
        "model": f"{type(model).__name__} {fingerprint(model)}",
        "data": fingerprint((inputs, y0)),
    }
    return Record(tuple(entries.items()))


def fingerprint(tree: Any) -> str:
    """A short hash of the arrays of a PyTree and of its structure; "traced" inside jit, vmap and grad."""
    leaves, structure = jax.tree.flatten(eqx.filter(tree, eqx.is_array))
    if any(is_traced(leaf) for leaf in leaves):
        return "traced"
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def is_traced(x: Any) -> bool:
    """Whether a value is only known to a transformation: jit, vmap or grad."""
    return isinstance(x, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]


def _seed(key: Any) -> str:
    if key is None or is_traced(key):
        return "none" if key is None else "traced"
    with jax.ensure_compile_time_eval():  # under jit even a known key would come back traced
        return str(np.asarray(jax.random.key_data(key)).tolist())
