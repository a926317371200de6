"""check_model: the contract of `jnm.AbstractModel` as tests, for jnm's own models and for yours.

    def test_my_model():
        jnm.testing.check_model(MyModel(tau=12.0))

Each check ends in an `AssertionError` that says what the model did, what the contract wants, and what usually helps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jnm._model import AbstractModel, Drive, State
from jnm._param import cast, fill, parameters


class _Case(NamedTuple):
    """A model and where it is looked at."""

    model: AbstractModel
    t: Array
    y: State
    drive: Drive


def check_model(
    model: AbstractModel,
    *,
    t: float = 0.0,
    y: State | None = None,
    drive: Drive | None = None,
    rtol: float = 1e-6,
) -> None:
    """Hold a model against the contract of `jnm.AbstractModel`; returns nothing, or raises `AssertionError`.

    - `init` gives a NamedTuple of floating-point arrays which `constrain` leaves alone; constraining twice is once.
    - `drift` keeps the state's tree, shapes and dtypes, in float32 and in float64, and is finite.
    - `output` and `source` give one number a region, `diffusion` a state whose noiseless fields are None; noise that
      depends on the state names its `calculus`.
    - The same answer with and without `jax.jit`, and when asked twice; one compilation for ten parameter values.
    - A node (its output is a single number) gives on n regions what it gives on each of them, alone or under
      `jax.vmap`, also when parameters and drive differ between regions. A model that has its regions already, as a
      network, is not asked.
    - Gradients of drift, output and source with respect to every parameter, the state and the drive agree in float64
      with central finite differences to `rtol`.

    **Arguments**

    - `t`: time in ms at which to look.
    - `y`: state at which to look; by default near `model.init()`, off its zeros and other special values.
    - `drive`: input at which to look; by default 0.01 /ms of afferent activity and a current of 0.1.
    """
    _check_start(model)
    y = model.constrain(_away(model.init(), 0.1)) if y is None else y
    drive = Drive(0.01, 0.1) if drive is None else drive
    case = _Case(model, jnp.asarray(t, dtype=float), y, jax.tree.map(jnp.asarray, drive))
    _check_shapes(case)
    with jax.enable_x64(True):
        wide = cast(case, jnp.float64)
        for check in (_check_shapes, _check_diffusion, _check_jit, _check_compilations, _check_regions):
            check(wide)
        _check_gradients(wide, rtol)


def _check_start(model: AbstractModel) -> None:
    name, start = type(model).__name__, model.init()
    if not hasattr(start, "_asdict"):
        raise AssertionError(f"{name}.init returned a {type(start).__name__}; a state is a NamedTuple of arrays.")
    for field, value in start._asdict().items():
        if value is not None and not (isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)):
            raise AssertionError(f"{name}.init: {field} = {value!r}; want a floating-point jax array, or None.")
    for y in (start, _away(start, 0.1), _away(start, 10.0)):
        once = model.constrain(y)
        _check_state(f"{name}.constrain", once, y)
        if not _close(model.constrain(once), once, 0.0):
            raise AssertionError(f"{name}.constrain applied twice is not constrain applied once, at {y}.")
    if not _close(model.constrain(start), start, 0.0):
        raise AssertionError(f"{name}.constrain changes init(), {start}: start inside the constraint.")


def _check_shapes(case: _Case) -> None:
    name, answers = type(case.model).__name__, _answers(*case)
    _check_state(f"{name}.drift", answers["drift"], case.y)
    for field, value in answers["drift"]._asdict().items():
        if value is not None and not np.all(np.isfinite(value)):
            raise AssertionError(f"{name}.drift: {field} is not finite at {case.y}, {case.drive}.")
    output, source = jnp.shape(answers["output"]), jnp.shape(answers["source"])
    if output != source or len(output) > 1:
        raise AssertionError(
            f"{name}: output has shape {output}, source {source}; both are one number a region: () for a node, (n,) "
            "for n regions, without an axis of populations."
        )
    ranks, rank = {value.ndim for value in case.y if value is not None}, case.model.rank
    if max(ranks) not in ((rank, rank + 1) if output else (rank,)):
        raise AssertionError(
            f"{name}: rank = {rank}, but the fields of the state have {sorted(ranks)} axes. A node's rank is its "
            "number of axes before the region axis: 1 where populations lead, 0 without them."
        )
    for field, value in case.y._asdict().items():
        if value is not None and output and value.shape[-1:] != output:
            raise AssertionError(
                f"{name}: output has {output[0]} regions, but {field} has shape {value.shape}; region is the last axis "
                "of every field. A node of several populations sends the output of one of them, or a mixture."
            )


def _check_state(what: str, got: Any, y: State) -> None:
    if type(got) is not type(y):
        raise AssertionError(f"{what} returned a {type(got).__name__}; want a {type(y).__name__}, the state of init().")
    for field, value, wanted in zip(y._fields, got, y, strict=True):
        described = [None if x is None else f"{jnp.result_type(x)}{list(jnp.shape(x))}" for x in (value, wanted)]
        if described[0] != described[1]:
            raise AssertionError(
                f"{what}: {field} is {described[0]}, the state has {described[1]}. Tree, shapes and dtypes are those "
                "of init(): give every field, and make no constants of a fixed dtype."
            )


def _check_diffusion(case: _Case) -> None:
    name, amplitude = type(case.model).__name__, case.model.diffusion(case.t, case.y)
    if case.model.calculus not in (None, "ito", "stratonovich"):
        raise AssertionError(f"{name}.calculus = {case.model.calculus!r}; want 'ito', 'stratonovich' or None.")
    if amplitude is None:
        return
    noisy = tuple(amplitude) if type(amplitude) is type(case.y) else case.y
    wanted = type(case.y)(*(None if a is None else x for a, x in zip(noisy, case.y, strict=True)))
    _check_state(f"{name}.diffusion", amplitude, wanted)
    elsewhere = case.model.diffusion(case.t, _away(case.y, 0.1))
    if case.model.calculus is None and not _close(elsewhere, amplitude, 1e-12):
        raise AssertionError(f"{name}.diffusion depends on the state: set calculus = 'ito' or 'stratonovich'.")


def _check_jit(case: _Case) -> None:
    name, plain = type(case.model).__name__, _answers(*case)
    try:
        compiled = eqx.filter_jit(_answers)(*case)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise AssertionError(
            f"{name} cannot be compiled: {error}\nUse jax.numpy instead of numpy, jnp.where instead of if, and no "
            "float() or int() of a parameter or of the state."
        ) from error
    if not (_close(_answers(*case), plain, 0.0) and _close(compiled, plain, 1e-9)):
        raise AssertionError(
            f"{name} gives another answer when asked again, or under jax.jit. A model is a pure function of its fields "
            "and arguments: no random numbers, no counters, no switch on being compiled. "
            f"Plain: {plain}; compiled: {compiled}."
        )


def _check_compilations(case: _Case) -> None:
    compilations = 0

    @eqx.filter_jit
    def drift(model):
        nonlocal compilations
        compilations += 1
        return model.drift(*case[1:])

    for factor in np.linspace(1.0, 1.1, 10):
        drift(jax.tree.map(lambda x, by=float(factor): x * by if eqx.is_inexact_array_like(x) else x, case.model))
    if compilations > 1:
        leaves, _ = jax.tree_util.tree_flatten_with_path(case.model)
        numbers = [jax.tree_util.keystr(path) for path, leaf in leaves if isinstance(leaf, float)]
        raise AssertionError(
            f"{type(case.model).__name__}: ten parameter values were compiled {compilations} times. Fields that hold "
            f"Python numbers: {', '.join(numbers) or 'none found'}. Declare them with jnm.param(), which makes arrays."
        )


def _check_regions(case: _Case) -> None:
    """One code for a node and for all regions: with parameters in common, and with values for each region."""
    model, t, y, drive = case
    if jnp.ndim(model.output(t, y)):
        return
    shape = max((value.shape for value in y if value is not None), key=len)  # the populations
    n = 1 + max((size for leaf in jax.tree.leaves((model, y)) for size in jnp.shape(leaf)), default=1)
    states, drives = jax.tree.map(lambda x: _spread(x, n), (y, drive))
    regional = _map_parameters(lambda p: _spread(p if p.ndim > len(shape) else fill(p, shape), n), model)

    def on_one(models, i):
        node = _map_parameters(lambda p: p[..., i], models) if models is regional else models
        return _answers(node, t, *jax.tree.map(lambda x: x[..., i], (states, drives)))

    for what, models in (("parameters in common", model), ("a value of every parameter for each region", regional)):
        node = jax.jit(lambda i, models=models: on_one(models, i))
        alone = jax.tree.map(lambda *each: jnp.stack(each, axis=-1), *map(node, range(n)))
        at_once = jax.jit(lambda models=models: _answers(models, t, states, drives))
        mapped = jax.jit(lambda node=node: jax.vmap(node, out_axes=-1)(jnp.arange(n)))
        _compare_regions(model, f"on {n} regions at once, with {what}", at_once, alone)
        _compare_regions(model, f"under jax.vmap, with {what}", mapped, alone)


def _compare_regions(model: AbstractModel, how: str, answer: Callable[[], dict], alone: dict) -> None:
    name = type(model).__name__
    cure = (
        "Region is the last axis of everything: a parameter over populations, [P], needs one more where the state has "
        "it (p[..., None]), a drive over regions one before it, and no region may see another but through the drive."
    )
    try:
        together = answer()
    except (TypeError, ValueError, IndexError) as error:
        raise AssertionError(f"{name} works on one region but fails {how}: {error}\n{cure}") from error
    for method, wanted in alone.items():
        if not _close(together[method], wanted, 1e-9):
            raise AssertionError(
                f"{name}.{method} {how} is not what it is region by region: {together[method]} against {wanted}. {cure}"
            )


def _check_gradients(case: _Case, rtol: float) -> None:
    """Each answer along a random direction of each leaf: reverse mode against a central difference of fourth order."""
    values, rest = eqx.partition(case, eqx.is_inexact_array)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=value.shape) for name, value in _smooth_answers(case).items()}

    @jax.jit
    def project(values):
        answers = _smooth_answers(eqx.combine(values, rest))
        return jnp.stack([jnp.sum(weights[name] * answers[name]) for name in weights])

    leaves, tree = jax.tree_util.tree_flatten_with_path(values)
    slopes = jax.tree.leaves(jax.jit(jax.jacrev(project))(values))
    for k, ((path, leaf), slope) in enumerate(zip(leaves, slopes, strict=True)):
        if path[0].name == "t":
            continue
        step = 1e-3 * np.where(leaf == 0, 1.0, np.abs(leaf)) * rng.uniform(0.5, 1.0, leaf.shape)

        def moved(by, k=k, step=step):
            changed = [x + by * step if i == k else x for i, (_, x) in enumerate(leaves)]
            return np.asarray(project(tree.unflatten(changed)))

        difference = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / 12
        gradient = np.asarray(jnp.tensordot(slope, step, axes=step.ndim))
        roundoff = 1e-13 * (1 + np.abs(moved(0)))
        for i in np.flatnonzero(~(np.abs(gradient - difference) <= rtol * np.abs(difference) + roundoff)):
            raise AssertionError(
                f"{type(case.model).__name__}: the gradient of {list(weights)[i]} with respect to "
                f"{jax.tree_util.keystr(path).lstrip('.')}, along one direction, is {gradient[i]:.9g} by jax.grad and "
                f"{difference[i]:.9g} by finite differences. Usual causes: stop_gradient, a rounding or a cast to int, "
                "a kink at this state, jnp.where around a NaN."
            )


def _answers(model: AbstractModel, t: Array, y: State, drive: Drive) -> dict[str, Any]:
    """Everything the contract asks of a model at one place."""
    return {
        "drift": model.drift(t, y, drive),
        "output": model.output(t, y),
        "source": model.source(t, y, drive),
        "diffusion": model.diffusion(t, y),
        "constrain": model.constrain(y),
    }


def _smooth_answers(case: _Case) -> dict[str, Array]:
    """The answers through which gradients flow, by name."""
    answers = _answers(*case)
    drift = {f"drift.{field}": value for field, value in answers["drift"]._asdict().items() if value is not None}
    sent = answers["output"]
    parts = {"output.real": sent.real, "output.imag": sent.imag} if jnp.iscomplexobj(sent) else {"output": sent}
    return drift | parts | {"source": answers["source"]}


def _away(y: State, by: float) -> State:
    """A state a little off, relative to its size, so that zeros and other special values are left."""
    rng = np.random.default_rng(0)

    def move(x):
        return x + (by * np.where(x == 0, 0.1, np.abs(x)) * rng.uniform(-1.0, 1.0, x.shape)).astype(x.dtype)

    return jax.tree.map(move, y)


def _spread(x: Array, n: int) -> Array:
    """One more axis, of n regions with a different value each."""
    return x[..., None] * jnp.linspace(1.0, 1.1, n).reshape((1,) * x.ndim + (n,))


def _map_parameters(change: Callable[[Array], Array], module: eqx.Module) -> Any:
    """A module with every declared parameter changed, through all sub-modules."""
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        if isinstance(value, eqx.Module):
            changed = _map_parameters(change, value)
        elif field.name in parameters(module) and value is not None:
            changed = change(value)
        else:
            continue
        module = eqx.tree_at(lambda m, name=field.name: getattr(m, name), module, changed)
    return module


def _close(got: Any, wanted: Any, rtol: float) -> bool:
    """Whether two trees agree, each array to `rtol` of its largest element."""

    def near(a, b):
        largest = np.max(np.abs(b), initial=0.0)
        return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=0, atol=rtol * largest, equal_nan=True)

    return all(near(a, b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True))
