"""What circuits of P populations have in common: weights C[to, from], who is heard by other regions, and who hears them.

A scalar C, or [region], is one population without a population axis; [P, P] or [P, P, region] are P of them.
"""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._param import lift, region_shape, share


def as_populations(populations: int | Iterable[int] | None) -> tuple[int, ...] | None:
    """Numbers of populations as a tuple; None, which stands for all of them, as it is."""
    return populations if populations is None else tuple(np.ravel(np.asarray(populations)).tolist())


def count(C: Float[Array, "..."]) -> int:
    """P, the number of populations."""
    return C.shape[0] if C.ndim > 1 else 1


def state_shape(circuit: Any) -> tuple[int, ...]:
    """[], [region], [P] or [P, region]. Raises `ValueError` where the shapes of the parameters disagree."""
    lead = circuit.C.shape[:1] if circuit.C.ndim > 1 else ()
    return lead + region_shape(circuit, lead, C=lead + lead)


def check(circuit: Any) -> None:
    """Raise `ValueError` for weights that are not square, for populations that do not exist, and for shapes that disagree."""
    name, C, send, receive = type(circuit).__name__, circuit.C, circuit.send, circuit.receive
    if C.ndim > 3 or (C.ndim > 1 and C.shape[0] != C.shape[1]):
        raise ValueError(
            f"{name}: C has shape {list(C.shape)}; give a scalar (or [region]) for one population, or C[to, from] of "
            "shape [P, P] (or [P, P, region]) for P of them."
        )
    if receive is not None and list(receive) != sorted(set(receive)):
        raise ValueError(f"{name}: receive = {receive}; name each population that receives once, in order.")
    if not all(0 <= population < count(C) for population in (send, *(receive or ()))):
        raise ValueError(
            f"{name}: send = {send}, receive = {receive}, but populations are numbered 0 to {count(C) - 1}."
        )
    state_shape(circuit)


def sending(circuit: Any, x: Array) -> Array:
    """The row of the population that other regions hear."""
    return x if circuit.C.ndim < 2 else x[circuit.send]


def synaptic(circuit: Any, s: Array, afferent: Array | float) -> Array:
    """sum_b C_ab s_b + afferents, for every population."""
    if circuit.C.ndim < 2:
        return circuit.C * s + afferent
    # A sum over two or three senders fuses with what surrounds it; a matrix product would be a call of its own.
    return jnp.sum(lift(circuit.C, s.ndim + 1) * s[None], axis=1) + _heard(circuit, s, afferent)


def _heard(circuit: Any, s: Array, afferent: Array | float) -> Array | float:
    """Afferents as the populations hear them: those of each, or zero in those that do not receive."""
    rows = share(afferent, s.ndim)
    if circuit.receive is None or jnp.shape(rows)[:1] == s.shape[:1]:
        return rows
    if jnp.shape(rows)[:1] in ((), (1,)):
        receives = jnp.array([i in circuit.receive for i in range(count(circuit.C))], s.dtype)
        return lift(receives, s.ndim) * rows
    return jnp.zeros_like(s).at[np.array(circuit.receive)].set(rows)
