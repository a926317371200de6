"""What models of finitely many neurons have in common: an NMM2 `model`, `n` neurons a population, synapses that hear chi."""

from typing import Any

import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from jnm._param import lift, region_shape
from jnm.models import circuit
from jnm.models.nmm2 import NMM2, NMM2State


def check_finite(finite: Any) -> None:
    """Raise `ValueError` for what is no quiet NMM2, fewer than one neuron, and parameters that disagree on regions."""
    name, model, n = type(finite).__name__, finite.model, finite.n
    if not isinstance(model, NMM2):
        raise ValueError(f"{name}: wanted a jnm.NMM2, whose neurons are known; got {type(model).__name__}.")
    if model.sigma is not None or model.sigma_r is not None:
        raise ValueError(f"{name}: the model has white noise of its own; make it with sigma=None and sigma_r=None.")
    if not isinstance(n, Tracer) and not np.all(np.asarray(n) >= 1):
        raise ValueError(f"{name}: n = {np.min(np.asarray(n)):g} neurons; wanted at least one in each population.")
    state_shape(finite)


def state_shape(finite: Any) -> tuple[int, ...]:
    """Of the rates: the model's, and the regions that parameters beside the model are given for."""
    shape, rank = circuit.state_shape(finite.model), finite.model.rank
    lead, regions = shape[:rank], shape[rank:]
    own = region_shape(finite, lead)
    if own and regions not in ((), own):
        raise ValueError(
            f"{type(finite).__name__}: parameters are given for {own[0]} regions, those of its model for {regions[0]}."
        )
    return lead + (regions or own)


def shaken(model: NMM2, slope: NMM2State, chi: Array) -> NMM2State:
    """A drift of the model, if its synapses hear chi (1/ms) beside the rate."""
    if slope.s is None:  # order 0
        return slope._replace(v=slope.v + circuit.synaptic(model, chi, 0.0))
    if slope.z is None:  # order 1
        return slope._replace(s=slope.s + chi / lift(model.tau_s, chi.ndim))
    return slope._replace(z=slope.z + chi / lift(model.tau_s, chi.ndim))
