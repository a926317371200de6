"""Independent runs side by side on the cores of a processor.

XLA does what one thread asks for in turn, on a processor mostly on a single core; what several threads ask for it does
at once. Each call is the same compiled function with the same arguments as by itself, so that numbers do not depend on
the number of cores.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax


def on_all_cores(work: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
    """`list(map(work, *arguments))`, several at a time; what one of them raises is raised here."""
    members = list(zip(*arguments, strict=True))
    if len(members) == 1:
        return [work(*members[0])]
    precise: bool = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]

    def one(member):
        with jax.enable_x64(precise):  # which a thread does not take over from the one that started it
            return work(*member)

    with ThreadPoolExecutor(min(len(members), os.cpu_count() or 1)) as pool:
        return list(pool.map(one, members))
