"""A progress bar by tqdm: in a terminal a line of text, in a notebook its widget, in a log file nothing."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any


class NoBar:
    """Stands in for a bar where none is shown."""

    def update(self, n: int = 1) -> None:
        """Nothing moves."""

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:
        """Nothing is told."""


@contextlib.contextmanager
def progress_bar(total: int, shown: bool = True, **options: Any) -> Iterator[Any]:
    """A bar of `total` steps with tqdm's `update` and `set_postfix_str`; tqdm is imported only if it is `shown`.

    >>> with progress_bar(300, someone_watches()) as bar:
    ...     bar.update()
    """
    if not shown:
        yield NoBar()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets ("IProgress not found") gets the line of text
        from tqdm.auto import tqdm

    with tqdm(total=total, **options) as bar:
        yield bar


def someone_watches() -> bool:
    """Whether progress would be seen: on a terminal or in a notebook, whose streams do not call themselves terminals."""
    return sys.stderr.isatty() or "ipykernel.zmqshell" in sys.modules
