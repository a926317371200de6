"""What `where` selects, each beside what was given for it, and under the name it will have in the result."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from jnm._selection import Spot, Where, select
from jnm.network import Network

SEED = "seed"


class Selected(NamedTuple):
    """A part of the model (None: the seed of its noise), its name, and the values or the domain given for it."""

    name: str
    spot: Spot | None
    given: Any


def pairs(model: Any, where: Where, given: Any, what: str) -> list[Selected]:
    """The selected parts with what was given for each; `what` ("values", "domains") is told in errors.

    Raises `ValueError` where `given` has another structure than `where`, and as `jnm._selection.select`.
    """
    found = list(_walk(model, where, given, what, ""))
    if not found:
        raise ValueError("where selects nothing: give a function of the model, such as lambda m: m.coupling.gain.")
    spots = tuple(one.spot for one in found if one.spot is not None)
    labels = [label for spot in spots for label in spot.labels]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"where selects {', '.join(twice)} twice; an element of a parameter can have one value only.")
    return _named(found)


def check_base(model: Any) -> Any:
    """The model, if all its arrays lie in modules; raises `ValueError` otherwise."""
    if isinstance(model, eqx.Module):
        return model
    parts = (
        list(model.values()) if isinstance(model, Mapping) else list(model) if isinstance(model, tuple | list) else []
    )
    if not parts or not all(isinstance(part, eqx.Module) for part in parts):
        raise ValueError(
            f"grid: the model is a {type(model).__name__}; wanted a model, or a tuple or dict of models and other "
            "modules, such as (network, stimulus)."
        )
    return model


def check_edges(model: Any, spot: Spot | None, values: np.ndarray) -> None:
    """Raise `ValueError` for weights that would open a connection a network with delays was not built for."""
    if spot is None or not spot.name.rpartition(".")[2].startswith("weights"):
        return
    networks = [x for x in jax.tree.leaves(model, is_leaf=_is_network) if _is_network(x)]
    delayed = any(net.edges is not None and net.connectome.weights is spot.value for net in networks)
    absent = np.asarray(spot.value) == 0
    absent = absent if spot.index is None else absent[spot.index]
    if delayed and np.any((values != 0) & absent if values.ndim > 1 else absent.any() and np.any(values != 0)):
        raise ValueError(
            f"grid: {spot.name} gets a weight where the network has no connection, and its delays were laid out without "
            "it. Build the network with a small weight there."
        )


def _is_network(x: Any) -> bool:
    return isinstance(x, Network)


def _walk(model: Any, where: Any, given: Any, what: str, name: str) -> Iterator[Selected]:
    if isinstance(where, str) and where == SEED:
        yield Selected(name or SEED, None, given)
    elif isinstance(where, Spot):
        yield Selected(name, where, given)
    elif isinstance(where, Mapping):
        if not (given is None or (isinstance(given, Mapping) and set(given) == set(where))):
            raise ValueError(f"grid: {what} must be a dict with the keys of where, {', '.join(where)}; got {given!r}.")
        for key, part in where.items():
            yield from _walk(model, part, None if given is None else given[key], what, str(key))
    elif isinstance(where, tuple | list):
        if given is not None and (not isinstance(given, tuple | list) or len(given) != len(where)):
            told = f"{len(given)} of them" if isinstance(given, tuple | list) else repr(given)
            raise ValueError(
                f"grid: where selects {len(where)} parts, so {what} is a tuple of {len(where)}, one for each; got {told}."
            )
        for i, part in enumerate(where):
            yield from _walk(model, part, None if given is None else given[i], what, f"{name}_{i}" if name else "")
    else:
        yield from _walk(model, select(model, where), given, what, name)


def _named(found: list[Selected]) -> list[Selected]:
    """Under the name given by a dict, else the field's, or its whole path where two fields have one name."""
    short = [one.name or _field(one) for one in found]
    twice = {name for name in short if short.count(name) > 1}
    return [
        one._replace(name=one.spot.name if one.spot and not one.name and name in twice else name)
        for one, name in zip(found, short, strict=True)
    ]


def _field(one: Selected) -> str:
    assert one.spot is not None
    return one.spot.name.rpartition(".")[2]
