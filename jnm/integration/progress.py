"""A progress bar that compiled code moves."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jnm._progress import progress_bar

_open_bars: list[Any] = []


@contextlib.contextmanager
def moved_bar(steps: int, shown: bool) -> Iterator[Callable[[Any], None] | None]:
    """A bar of so many steps, and the function that moves it; None where none is wanted.

    That function is always the same one, so that a bar does not compile a run anew. It moves the bar opened last, and
    none once that is closed: in a backward pass, or when a function that jit has compiled before is called again.
    """
    if not shown:
        yield None
        return
    with progress_bar(steps, unit="step", unit_scale=True) as bar:
        _open_bars.append(bar)
        try:
            yield _advance
            jax.effects_barrier()  # callbacks run beside the program and may lag behind it
        finally:
            _open_bars.remove(bar)


def _advance(steps: Any) -> None:
    if _open_bars:
        _open_bars[-1].update(int(steps))
