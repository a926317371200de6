"""Where studies put their figures and files."""

from pathlib import Path


def writable(folder: str | Path) -> Path:
    """The folder, made if need be. Raises `OSError` before hours of work if it cannot be written."""
    folder = Path(folder)
    probe = folder / ".jnm-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"the output folder {folder} cannot be written ({error}); choose another (--out, out=)."
        ) from error
    return folder
