"""fit_sweep(): a fit for every member of a grid: of many starts, conditions or subjects, stored, resumed, side by side.

A start is a value of a free parameter, a condition one of a parameter that is not free, a subject a loss with data of its
own. All are axes of one grid, and each member of it is a fit (`jnm.fitting.descent`); the rest is `jnm.sweep`.
"""

from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray

from jnm._selection import Place
from jnm.fitting.descent import Case, Descent, is_solver
from jnm.fitting.free import Build
from jnm.fitting.loss import AbstractLikelihood, AbstractLoss, AbstractResidualLoss

if TYPE_CHECKING:  # fits do not need sweeps: these are imported where they are used
    from jnm.sweeps.grid import Axis, Grid


def fit_sweep(
    loss: Any,
    grid: Any,
    build: Build,
    optimiser: Any,
    steps: int,
    key: PRNGKeyArray,
    *,
    keys_per_step: int = 1,
    redraw_every: int | None = 1,
    clip: float | None = 1.0,
    judge_every: int = 10,
    judge_keys: int = 4,
    errors: bool = False,
    dim: str = "subject",
    **options: Any,
) -> Any:
    """Fit the free parameters of every model of a grid; the result is an `xarray.Dataset` with an axis for each swept one.

        >>> theta, build = jnm.free(net, lambda m: (m.node.eta, m.coupling.gain))
        >>> starts = jnm.sample(net, lambda m: (m.node.eta, m.coupling.gain), domains, 64)
        >>> fits = jnm.fit_sweep(loss, starts, build, optax.adam(0.03), 300, jax.random.key(0), store="fits.zarr")
        >>> fits["coupling.gain"].where(fits.ok).isel(sample=fits.loss.argmin())
        >>> people = {"sub-01": jnm.LogSpectralLoss(...), "sub-02": jnm.LogSpectralLoss(...)}
        >>> fits = jnm.fit_sweep(people, net, build, optax.adam(0.03), 300, jax.random.key(0), errors=True)

    **What is fitted.** Each fit starts from a member of the `grid` (of `jnm.grid`, `zipped`, `sample`; or one model). A
    swept parameter that `build` has free gives starts, and its axis is called "start_..."; any other is held at each of
    its values. A dict of losses makes an axis `dim` of its keys: a fit for every subject (or recording, or session).

    **How.** As `jnm.fit` would, on the same noise: `fit(loss, theta, build, optimiser, steps, key)` ends where the member
    does, up to rounding. All fits share the noise of `key`, so that their losses compare, but for an axis "seed". The
    options up to `judge_keys` are those of `jnm.fit`. With a solver of optimistix (`LevenbergMarquardt(rtol, atol)`) in
    place of an optimiser of optax, as `jnm.fitting.least_squares` would: for losses with residuals.

    **The result** has for each member the free parameters by their names ("node.eta"), in their units; `loss` and
    `start_loss` as judged on keys of their own; `step`, how many were taken, `best_step`, `skipped` and the last
    `gradient_norm` (`arrived` with a solver); `ok` and `message`. With `errors`, for losses with residuals and
    likelihoods, "node.eta_se" is the standard error; NaN where the loss tells nothing of the parameter. A fit whose steps
    stop being finite neither stops nor touches the others.

    **Many, long, interrupted.** `options` are those of `jnm.sweep`: with `store=` fits are written as they finish, a chunk
    at a time, and the same line run again does only those that are missing, also when an axis, or the subjects, have grown
    at the end; with other data, another model, loss, optimiser or key the store is refused.

    Raises `ValueError` for a grid of another model than that of `build`, starts outside the domain of their parameter,
    losses that differ in more than the numbers in their arrays, impossible counts, and as `jnm.sweep`.
    """
    from jnm.sweeps.grid import Grid
    from jnm.sweeps.sweep import sweep

    _check_counts(
        steps=steps, keys_per_step=keys_per_step, redraw_every=redraw_every, judge_every=judge_every, judge_keys=judge_keys
    )  # fmt: skip
    if clip is not None and not clip > 0:
        raise ValueError(f"fit_sweep: clip = {clip}; wanted a positive number, or None for no limit.")
    grid = grid if isinstance(grid, Grid) else Grid(grid, (), ())
    _check_model(grid, build)
    losses = loss if isinstance(loss, Mapping) else {"": loss}
    _check_losses(losses, optimiser, errors)
    own = _own_arrays(losses) if len(losses) > 1 else {}
    first = next(iter(losses.values()))
    cases = _cases(grid, build, own, tuple(losses) if isinstance(loss, Mapping) else (), dim)
    _check_starts(cases, build)
    descent = Descent(
        first, tuple(own), eqx.tree_at(lambda b: b.model, build, None), optimiser, int(steps), key,
        int(keys_per_step), redraw_every, clip, int(judge_every), int(judge_keys), errors,
    )  # fmt: skip
    return sweep(descent, cases, dims=_regions(build), **options)


def _cases(grid: "Grid", build: Build, own: Mapping[int, Any], subjects: tuple[str, ...], dim: str) -> "Grid":
    """The grid of what is fitted: the subjects before the axes of the grid; those of free parameters hold starts."""
    from jnm.sweeps.grid import Axis, Grid
    from jnm.sweeps.selected import SEED

    models = len(jtu.tree_leaves(grid.model))
    seed = jnp.zeros((), jnp.int32) if any(axis.path == SEED for axis in grid.axes) else None
    case = Case(grid.model, tuple(jnp.asarray(values[0]) for values in own.values()), seed)
    people = [Axis(dim, dim, "loss", "", None, subjects)] if subjects else []
    people += [Axis("", dim, "loss", "", Place(models + i, None, v.shape[1:])) for i, v in enumerate(own.values())]
    values = [np.arange(len(subjects))] * bool(subjects) + list(own.values())
    starts = {axis.name for axis in grid.axes if _is_start(axis, build)}
    axes = [axis._replace(name=_named(axis.name, starts), dim=_named(axis.dim, starts)) for axis in grid.axes]
    axes = [a._replace(place=Place(models + len(own), None, ())) if a.path == SEED else a for a in axes]
    twice = {dim} & {name for axis in axes for name in (axis.name, axis.dim)} if subjects else ()
    if twice:
        raise ValueError(f"fit_sweep: the grid has an axis {dim!r} already; name that of the losses by dim=.")
    return Grid(case, (*values, *grid.values), (*people, *axes))


def _is_start(axis: "Axis", build: Build) -> bool:
    """Whether an axis sets what is free."""
    place = axis.place
    if place is None:
        return False
    free = [p.elements for p in build.places if p.leaf == place.leaf]
    return any(a is None or place.elements is None or set(a) & set(place.elements) for a in free)


def _named(name: str, starts: set[str]) -> str:
    return f"start_{name}" if name in starts else name


def _own_arrays(losses: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Those leaves of the losses, [subject, ...], in which they differ, by number.

    Raises `ValueError` for losses that differ in anything but the numbers in their arrays.
    """
    (name, first), *others = losses.items()
    leaves, structure = jtu.tree_flatten_with_path(first)
    for other, loss in others:
        if jtu.tree_structure(loss) != structure:
            raise ValueError(
                f"fit_sweep: the losses of {name} and {other} are of different kinds, or differ in what is fixed when "
                "they are made: recordings of one length, one band and one segment, and one function that simulates."
            )
    stacked = {}
    for i, (path, leaf) in enumerate(leaves):
        values = [leaf, *(jtu.tree_leaves(loss)[i] for _, loss in others)]
        where = jtu.keystr(path, simple=True, separator=".") or "itself"
        if not eqx.is_array(leaf):
            if any(value != leaf for value in values):
                raise ValueError(f"fit_sweep: the losses differ in {where}, which is no array; use the same for all.")
        elif len({np.shape(value) for value in values}) > 1:
            told = ", ".join(str(list(np.shape(value))) for value in values)
            raise ValueError(
                f"fit_sweep: the arrays {where} of the losses have shapes {told}; wanted one shape for all."
            )
        elif not all(np.array_equal(value, leaf) for value in values):
            stacked[i] = np.stack([np.asarray(value) for value in values])
    return stacked


def _regions(build: Build) -> dict[str, tuple[str, ...]]:
    """The names of the axes of free parameters that have a value for every region."""
    connectome = getattr(build.model, "connectome", None)
    count = 0 if connectome is None else len(connectome.labels)
    whole = [name for name, p in zip(build.names, build.places, strict=True) if p.shape == (count,) and not p.elements]
    return {name: ("region",) for name in whole}


def _check_model(grid: "Grid", build: Build) -> None:
    if not hasattr(build, "places"):
        raise ValueError(f"fit_sweep: build = {build!r}; wanted that of theta, build = jnm.free(model, where).")
    here, wanted = (jax.tree.map(jnp.shape, eqx.filter(model, eqx.is_array)) for model in (grid.model, build.model))
    if not eqx.tree_equal(here, wanted):
        raise ValueError(
            f"fit_sweep: the grid is of another model ({type(grid.model).__name__}) than the free parameters "
            f"({type(build.model).__name__}), or of one otherwise built; make both from one: jnm.free(model, ...), "
            "jnm.grid(model, ...)."
        )


def _check_losses(losses: Mapping[str, Any], optimiser: Any, errors: bool) -> None:
    if not losses or not all(callable(loss) for loss in losses.values()):
        raise ValueError(f"fit_sweep: loss = {losses!r}; wanted a function (model, key), or a dict of some by name.")
    loss = next(iter(losses.values()))
    terms = loss.terms() if isinstance(loss, AbstractLoss) else ((1.0, loss),)
    squares = all(isinstance(term, AbstractResidualLoss) for _, term in terms)
    if is_solver(optimiser) and not squares:
        raise ValueError(
            "fit_sweep: a least-squares solver wants losses with residuals (sums of TimeCourseLoss, LogSpectralLoss); "
            "the loss has a term without. Give an optimiser of optax."
        )
    if not is_solver(optimiser) and not hasattr(optimiser, "update"):
        raise ValueError(f"fit_sweep: optimiser = {optimiser!r}; wanted such as optax.adam(0.03).")
    if errors and not squares and not isinstance(loss, AbstractLikelihood):
        raise ValueError(
            "fit_sweep: there are standard errors for losses with residuals (TimeCourseLoss, LogSpectralLoss) and for "
            "likelihoods (WhittleLoss); the loss has a term that is neither. Leave out errors."
        )


def _check_starts(cases: "Grid", build: Build) -> None:
    """Raise `ValueError` for starts at which some parameter lies outside the domain that it is fitted in."""

    def start(i):
        return ravel_pytree(eqx.tree_at(lambda b: b.model, build, cases[i].model).start())[0]

    thetas = np.asarray(jax.vmap(start)(jnp.arange(len(cases))))
    outside = np.flatnonzero(~np.isfinite(thetas).all(axis=1))
    if len(outside):
        label = build.labels[int(np.flatnonzero(~np.isfinite(thetas[outside[0]]))[0])]
        domain = next(build.domains[name] for name in build.names if label.startswith(name.partition("[")[0]))
        where = cases.where(int(outside[0])) or "the model as it is"
        raise ValueError(
            f"fit_sweep: {len(outside)} of {len(thetas)} fits start outside a domain; the first at {where}: {label} does "
            f"not lie in its domain ({domain})."
        )


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        optional = name == "redraw_every"
        if not (count is None and optional) and not (isinstance(count, Integral) and count >= 1):
            raise ValueError(
                f"fit_sweep: {name} = {count!r}; wanted a whole number, at least 1{', or None' if optional else ''}."
            )
