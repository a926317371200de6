"""In which unit each model of jnm gives its source, which decides by what scale it becomes a dipole moment."""

from typing import Any, Literal, NamedTuple

from jaxtyping import Array

from jnm.models.coloured import ColouredNoise
from jnm.models.epileptor import Epileptor
from jnm.models.freeman import AbstractFreeman
from jnm.models.freeman_loop import FreemanLoop
from jnm.models.gaussian_shot_noise import GaussianShotNoise
from jnm.models.hopf import StuartLandau
from jnm.models.jansen_rit import JansenRit
from jnm.models.kuramoto import Kuramoto
from jnm.models.nmm1 import NMM1, Sigmoid
from jnm.models.nmm2 import NMM2
from jnm.models.wilson_cowan import WilsonCowan
from jnm.models.wong_wang import WongWang, WongWangEI
from jnm.network.heterogeneity import Heterogeneous
from jnm.network.network import Network
from jnm.spiking.lif import LIFNetwork
from jnm.spiking.nested_shot_noise import NestedShotNoise
from jnm.spiking.qif import QIFNetwork

Unit = Literal["mV", "pA", "nA", "I", "1"]


class Source(NamedTuple):
    """Of whom, in which unit, and for "I" the membrane time constant (ms) of the cells that make it."""

    name: str
    unit: Unit
    tau_m: Array | None = None


def unit_of_source(model: Any) -> Source:
    """What `model.source` is given in. Raises `ValueError` for a model that does not say."""
    if isinstance(model, Network | Heterogeneous):
        return unit_of_source(model.node)
    if isinstance(model, ColouredNoise | GaussianShotNoise | NestedShotNoise):
        return unit_of_source(model.model)
    if isinstance(model, QIFNetwork):
        return unit_of_source(model.mass)
    name, said = type(model).__name__, getattr(model, "source_unit", None)
    if said is None:
        said = _of_jnm(model)
    if said not in ("mV", "pA", "nA", "I", "1"):
        raise ValueError(
            f"Dipole.of: {name} does not say in which unit its source is (source_unit = {said!r}); wanted the class "
            'variable source_unit = "mV", "pA", "nA", "I" or "1", or a scale by hand: Dipole(nA_m_per_unit).'
        )
    return Source(getattr(model, "preset", "") or name, said, _tau(model) if said == "I" else None)


def _of_jnm(model: Any) -> Unit | None:
    if isinstance(model, NMM2):
        return "I"
    if isinstance(model, NMM1):
        return "mV" if isinstance(model.transfer, Sigmoid) else "I"
    if isinstance(model, JansenRit):
        return "mV"
    if isinstance(model, WongWang | WongWangEI):
        return "nA"
    if isinstance(model, WilsonCowan | StuartLandau | Kuramoto | Epileptor):
        return "1"
    return "pA" if isinstance(model, AbstractFreeman | FreemanLoop | LIFNetwork) else None


def _tau(model: Any) -> Array:
    """tau_m of the population that sends, [] or [region]."""
    populations = getattr(model, "n_populations", 1)
    return model.tau_m if model.tau_m.ndim == 0 or populations == 1 else model.tau_m[model.send]
