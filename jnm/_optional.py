"""Optional dependencies: imported by the function that needs them; a missing one names the pip line that cures it."""

import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import a module that comes with an extra of jnm.

        >>> xarray = require("xarray", extra="io")

    Raises `ImportError` with the pip line when the module is not installed. A module that is installed but fails while
    it is imported raises what it raises: another installation would not cure it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ImportError(
            f'{package} is not installed; it comes with the extra "{extra}" of jnm: pip install "jnm[{extra}]"',
            name=package,
        ) from error
