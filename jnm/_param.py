"""Parameters: a default, a unit, a domain, a sentence and a source, kept beside the field and outside the trace.

A parameter is an ordinary array field of an `equinox.Module`; everything a reader wants to know about it is metadata of
that field. Domains are smooth bijections from the real line, so that an optimiser may step freely while the model never
leaves the values it is defined for.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import logit
from jaxtyping import Array, Float

Status = Literal["paper", "code of the authors", "literature", "chosen"]
Tree = TypeVar("Tree")


class Domain(eqx.Module):
    """A set of real numbers and a smooth bijection onto it from the whole line: `Real`, `Positive` or `Interval`."""

    def constrain(self, free: Float[Array, "..."]) -> Float[Array, "..."]:
        """From the real line into the domain."""
        raise NotImplementedError

    def unconstrain(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """From the domain to the real line: the inverse of `constrain`."""
        raise NotImplementedError

    def contains(self, value: np.ndarray) -> bool:
        """Whether every element of a concrete array lies in the domain."""
        raise NotImplementedError


class Real(Domain):
    """Every finite number; the bijection is the identity."""

    def constrain(self, free):
        return free

    def unconstrain(self, value):
        return value

    def contains(self, value):
        return bool(np.all(np.isfinite(value)))

    def __str__(self):
        return "real"


class Positive(Domain):
    """Numbers above zero, by the exponential: an optimiser's step is then a relative one."""

    def constrain(self, free):
        return jnp.exp(free)

    def unconstrain(self, value):
        return jnp.log(value)

    def contains(self, value):
        return bool(np.all(np.isfinite(value)) and np.all(np.asarray(value) > 0))

    def __str__(self):
        return "positive"


class Interval(Domain):
    """Numbers strictly between `low` and `high`, by the logistic function.

    Raises `ValueError` unless low < high, both finite.
    """

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def __check_init__(self):
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Interval wants finite low < high, got low={self.low}, high={self.high}.")

    def constrain(self, free):
        return self.low + (self.high - self.low) * jax.nn.sigmoid(free)

    def unconstrain(self, value):
        return logit((value - self.low) / (self.high - self.low))

    def contains(self, value):
        return bool(np.all(np.asarray(value) > self.low) and np.all(np.asarray(value) < self.high))

    def __str__(self):
        return f"({self.low:g}, {self.high:g})"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What is known of a parameter besides its value: kept as field metadata, never traced."""

    unit: str
    domain: Domain
    doc: str
    source: str
    status: Status


class Default(NamedTuple):
    """A value a field has unless the user says otherwise, and where that value comes from."""

    value: Any
    source: str
    status: Status


def as_parameter(value: Any) -> Float[Array, "..."]:
    """An array of the default float type; a Python float field would recompile for every value."""
    try:
        return jnp.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A parameter is a number or an array of real numbers; got {value!r}.") from error


def param(
    default: Any = dataclasses.MISSING,
    *,
    unit: str = "",
    domain: Domain | None = None,
    doc: str = "",
    source: str = "",
    status: Status = "chosen",
    optional: bool = False,
) -> Any:
    """A parameter field of a model: `tau_m: Array = param(10.0, unit="ms", domain=Positive(), doc=..., source=...)`.

    `unit` is written as in a paper; `domain` is checked at construction and taken up by `jnm.free`; `source` says where
    the default comes from and `status` of what kind that source is. `optional` allows None (the term is then absent).
    """
    knowledge = Parameter(unit, domain if domain is not None else Real(), doc, source, status)

    def convert(value):
        return None if optional and value is None else as_parameter(value)

    extra = {} if default is dataclasses.MISSING else {"default": default}
    return eqx.field(converter=convert, metadata={"parameter": knowledge}, **extra)


def parameters(module: eqx.Module | type[eqx.Module]) -> dict[str, Parameter]:
    """The parameters of a module by field name, without those of its sub-modules."""
    return {f.name: f.metadata["parameter"] for f in dataclasses.fields(module) if "parameter" in f.metadata}


def unit_of(field: dataclasses.Field) -> str:
    """The unit of a parameter, or of another field that names one in its metadata; "" if there is none."""
    known = field.metadata.get("parameter")
    return known.unit if known else field.metadata.get("unit", "")


def domain_of(module: eqx.Module, name: str) -> Domain:
    """The domain of one field: the module's own for this instance (`own_domains`), else the field's, else `Real`."""
    own = getattr(module, "own_domains", {})
    known = parameters(module).get(name)
    return own.get(name, known.domain if known else Real())


def check_domains(module: eqx.Module) -> None:
    """Raise `ValueError` for the first parameter of which a concrete value lies outside its domain."""
    for name, known in parameters(module).items():
        value, domain = getattr(module, name), domain_of(module, name)
        if value is None or isinstance(value, Tracer) or domain.contains(np.asarray(value)):
            continue
        elements = np.ravel(np.asarray(value))
        outside = [f"{x:g}" for x in elements if not domain.contains(x)]
        among = f" ({len(outside)} of {elements.size} elements)" if elements.size > 1 else ""
        raise ValueError(
            f"{type(module).__name__}: {name} = {', '.join(outside[:3])}{among} is outside its domain ({domain}). "
            f"{name} is: {known.doc}{f', in {known.unit}' if known.unit else ''}."
        )


def check_names(cls: type, given: Iterable[str]) -> None:
    """Raise `ValueError` for keywords that the constructor of a class does not take, listing those it does."""
    _, *takes = inspect.signature(cls.__init__).parameters.values()
    known = [parameter.name for parameter in takes]
    unknown = sorted(set(given) - set(known))
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        raise ValueError(f"{cls.__name__}: unknown parameter {', '.join(unknown)}; known are {', '.join(known)}.")


def region_shape(module: eqx.Module, lead: tuple[int, ...] = (), **leads: tuple[int, ...]) -> tuple[int, ...]:
    """The region axis that the parameters of a module agree on: () if none of them has one, else (n,).

    Each parameter has shape [], `lead` (its axes before the region, such as population) or `lead` + [region]; `leads`
    says otherwise for single fields. Raises `ValueError` for another shape, or for two numbers of regions.
    """
    counts = {}
    for name in parameters(module):
        shape = getattr(getattr(module, name), "shape", ())
        own = leads.get(name, lead)
        if shape and (shape[: len(own)] != own or len(shape) > len(own) + 1):
            axes = [str(n) for n in own]
            wanted = " or ".join(dict.fromkeys(("[]", f"[{', '.join(axes)}]", f"[{', '.join([*axes, 'region'])}]")))
            raise ValueError(f"{type(module).__name__}: {name} has shape {list(shape)}; it must be {wanted}.")
        if len(shape) > len(own):
            counts[name] = shape[len(own)]
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} for {n}" for name, n in counts.items())
        raise ValueError(f"{type(module).__name__}: parameters are given for different numbers of regions: {told}.")
    return tuple(set(counts.values()))


@dataclasses.dataclass(frozen=True)
class At:
    """Elements of a selected parameter; made by `jnm.at`."""

    where: Callable[[Any], Any]
    index: Any

    def __call__(self, model):
        return self.where(model)[self.index]


def at(where: Callable[[Any], Any], index: Any) -> At:
    """Select elements of a parameter wherever jnm takes a `where`: `jnm.at(lambda m: m.I, 0)`.

    `index` is anything that indexes an array: an integer, a slice, a tuple, an integer or boolean array.
    """
    return At(where, index)


def lift(parameter: Float[Array, "..."], rank: int) -> Float[Array, "..."]:
    """Append axes of length one until a parameter over populations, [P], lines up with a state over [P, region].

    Broadcasting aligns trailing axes, where regions are; populations lead. Scalars need no lifting.
    """
    missing = rank - parameter.ndim
    return parameter if parameter.ndim == 0 or missing <= 0 else parameter.reshape(parameter.shape + (1,) * missing)


def fill(parameter: Float[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """A parameter at the full shape of a state."""
    return jnp.broadcast_to(lift(parameter, len(shape)), shape)


def cast(tree: Tree, dtype: Any) -> Tree:
    """A model, state or drive with its floating-point arrays in another precision; float64 needs `jax.enable_x64`."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)


def share(x: Array | float, rank: int) -> Array | float:
    """Prepend axes of length one until an input over regions lines up with a state over [P, region]: all P share it."""
    missing = rank - jnp.ndim(x)
    return x if jnp.ndim(x) == 0 or missing <= 0 else jnp.reshape(x, (1,) * missing + jnp.shape(x))
