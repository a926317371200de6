"""Sweeps from files: run what a TOML file describes, and compute a stored result again from its record."""

from pathlib import Path
from typing import Any

from jnm.sweeps.config import configured
from jnm.sweeps.store import read_record
from jnm.sweeps.sweep import sweep
from jnm.sweeps.verify import Verification, verify

_CONFIG = Path(".sweep") / "config.toml"


def sweep_file(config: str | Path, store: str | Path | None = None, **options: Any) -> tuple[Path, Any]:
    """Run the sweep of a TOML file (see `jnm.sweeps.config`); the store and the result.

    The store is `store`, or what the file names, or the file's name with the ending .zarr; the file is kept in it.
    `options` are those of `jnm.sweep`. Raises `ValueError` with the line for what is wrong in the file, and as `sweep`.
    """
    config = Path(config)
    text = config.read_text(encoding="utf-8")
    found = configured(text, str(config))
    path = Path(store or found.store or config.with_suffix(".zarr"))
    result = sweep(found.fn, found.grid, key=found.key, dims=found.dims, store=path, **options)
    (path / _CONFIG).write_text(text, encoding="utf-8")
    return path, result


def verify_file(store: str | Path, members: int = 64) -> Verification:
    """Compute members of a store made by `jnm sweep CONFIG.toml` again, from the file that is kept in it.

    Raises `ValueError` for a store made from Python, of which the function is not kept, and as `verify`.
    """
    read_record(store)
    config = Path(store) / _CONFIG
    if not config.is_file():
        raise ValueError(
            f"verify: {store} was made from Python, and functions are not stored; in Python, "
            "jnm.sweeps.verify(store, fn, grid, key=key) compares it."
        )
    found = configured(config.read_text(encoding="utf-8"), str(config))
    return verify(store, found.fn, found.grid, key=found.key, members=members, dims=found.dims)
