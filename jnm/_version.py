"""The version of jnm, and of what it stands on, for records."""

import importlib.metadata

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Versions of jnm and of the libraries that decide its numbers."""
    return {"jnm": __version__, **{name: importlib.metadata.version(name) for name in ("jax", "diffrax", "equinox")}}
