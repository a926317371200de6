"""free(): which parameters move, as unconstrained arrays, and the way back to a model.

A fit steps over the whole real line; a parameter lives in its domain (see `jnm._param`). With phi the domain's
bijection,

    theta = phi^-1(parameter),        build(theta) = the model with phi(theta) in its place.

The model never meets a wrapper, and theta, a plain PyTree of arrays, goes to optax, optimistix or blackjax unchanged.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PyTree

from jnm._param import Domain
from jnm._selection import Place, Spot, Where, put, select, take


class Build(eqx.Module):
    """From `theta` to a model; made by `jnm.free`, works under jit, vmap and grad."""

    model: Any
    names: tuple[str, ...] = eqx.field(static=True)
    """The free parameters: "node.eta", "node.I[0]"."""
    labels: tuple[str, ...] = eqx.field(static=True)
    """Their elements, in the order of the flattened theta: "node.eta[0]", "node.eta[1]"."""
    domains: dict[str, Domain]
    """Where each parameter lives, by name."""
    _units: tuple[str, ...] = eqx.field(static=True)
    places: tuple[Place, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)

    @property
    def units(self) -> dict[str, str]:
        """The unit of each parameter, by name."""
        return dict(zip(self.names, self._units, strict=True))

    def __call__(self, theta: PyTree) -> Any:
        """The model with the parameters that `theta` stands for. Raises `ValueError` for another structure or shape."""
        leaves, structure = jtu.tree_flatten(self.model)
        for place, value in zip(self.places, self.values(theta).values(), strict=True):
            leaves[place.leaf] = put(leaves[place.leaf], value, place)
        return jtu.tree_unflatten(structure, leaves)

    def values(self, theta: PyTree) -> dict[str, Array]:
        """The parameters that `theta` stands for, in their own units, by name."""
        if jtu.tree_structure(theta) != self.structure:
            raise ValueError(
                f"build: theta is {jtu.tree_structure(theta)}; wanted {self.structure}, as jnm.free returned it."
            )
        free = dict(zip(self.names, jtu.tree_leaves(theta), strict=True))
        for (name, value), place in zip(free.items(), self.places, strict=True):
            if jnp.shape(value) != place.shape:
                raise ValueError(f"build: theta of {name} has shape {jnp.shape(value)}; wanted {place.shape}.")
        return {name: self.domains[name].constrain(value) for name, value in free.items()}

    def start(self) -> PyTree:
        """The `theta` of the model as it was given. Raises `ValueError` for a value outside its domain."""
        leaves = jtu.tree_leaves(self.model)
        given = {name: take(leaves[place.leaf], place) for name, place in zip(self.names, self.places, strict=True)}
        for name, value in given.items():
            traced = isinstance(value, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]
            if not traced and not self.domains[name].contains(np.asarray(value)):
                raise ValueError(
                    f"free: {name} = {np.asarray(value)} does not lie in its domain ({self.domains[name]}). Start from "
                    f"a value inside it, or give another domain: domains={{{name!r}: jnm.Interval(low, high)}}."
                )
        return jtu.tree_unflatten(
            self.structure, [self.domains[name].unconstrain(value) for name, value in given.items()]
        )


def free(model: eqx.Module, where: Where, domains: Any = None) -> tuple[PyTree, Build]:
    """Free parameters of a model: `theta`, their unconstrained values, and `build(theta)`, the model that has them.

        >>> theta, build = jnm.free(net, where=lambda m: (m.node.eta, m.coupling.gain))
        >>> theta, build = jnm.free(net, jnm.at(lambda m: m.node.I, 0), domains=jnm.Interval(0.0, 10.0))

    **Arguments**

    - `where`: a function of the model that returns a parameter, or a tuple, list or dict of parameters; `jnm.at(...)`
      for some elements of one; or a tuple, list or dict of these. `theta` has the same structure.
    - `domains`: in that structure, or a dict by name ("coupling.gain"), the domains to use instead of the parameters'
      own; None keeps a parameter's own.

    **Returns** `theta` and a `Build`.

    Raises `ValueError` where `where` selects something else than parameters (None, a field that is fixed when the
    model is built, a whole sub-module) or the same element twice, for domains of another structure or of unknown
    names, and for values outside their domain.
    """
    spots, structure = jtu.tree_flatten(select(model, where))
    names = tuple(spot.name for spot in spots)
    build = Build(
        model=model,
        names=names,
        labels=tuple(label for spot in spots for label in spot.labels),
        domains=_domains(spots, domains, structure, names),
        _units=tuple(spot.unit for spot in spots),
        places=tuple(spot.place for spot in spots),
        structure=structure,
    )
    return build.start(), build


def _domains(spots: list[Spot], given: Any, structure: Any, names: tuple[str, ...]) -> dict[str, Domain]:
    """Each parameter's own domain, unless one is given for it by structure or by name."""
    chosen: list[Any] = [None] * len(names)
    if given is not None:
        chosen, given_structure = jtu.tree_flatten(given, is_leaf=lambda x: x is None or isinstance(x, Domain))
        if given_structure != structure:
            if not isinstance(given, dict) or not set(given) <= set(names):
                raise ValueError(
                    f"free: domains has the structure {given_structure}; wanted that of where, {structure}, or a dict "
                    f"by name of some of {', '.join(names)}."
                )
            chosen = [given.get(name) for name in names]
    if not all(x is None or isinstance(x, Domain) for x in chosen):
        raise ValueError(
            "free: domains wants jnm.Real(), jnm.Positive(), jnm.Interval(low, high), or None: the parameter's own."
        )
    return {spot.name: spot.domain if x is None else x for spot, x in zip(spots, chosen, strict=True)}
