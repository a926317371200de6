"""Several processes of one `jax.distributed` program: each computes its share of the chunks on its own devices."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np

T = TypeVar("T")


def several() -> bool:
    """Whether this process is one of several."""
    return jax.process_count() > 1


def first_then_others(action: Callable[[], T]) -> T:
    """Process 0 does it before the others do: it may make what they find."""
    result = action() if jax.process_index() == 0 else None
    meet("first")
    return action() if result is None else result


def own_share(pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The pieces of this process; every process must come with the same list, and none goes on before all have it."""
    meet("share")
    return list(pieces[jax.process_index() :: jax.process_count()])


def gathered(own: Sequence[np.ndarray], values: np.ndarray) -> np.ndarray:
    """An array [member, ...] of which every process has its own pieces, whole."""
    from jax.experimental.multihost_utils import process_allgather

    mine = np.zeros(len(values), bool)
    mine[np.concatenate([*own, np.zeros(0, int)])] = True
    owner = np.argmax(np.asarray(process_allgather(mine)), axis=0)
    return np.asarray(process_allgather(values))[owner, np.arange(len(values))]


def meet(where: str) -> None:
    """Wait until all processes are here; nothing where there is one."""
    if several():
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices(f"jnm.sweep {where}")
