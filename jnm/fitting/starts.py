"""multi_start(): the same fit from several places, since a gradient finds the nearest valley, not the deepest."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, PyTree

from jnm.fitting.fit import Fit, fit
from jnm.fitting.free import Build
from jnm.fitting.loss import LossFunction
from jnm.fitting.step import losses


def multi_start(
    loss: LossFunction,
    theta: PyTree,
    build: Build,
    optimiser: optax.GradientTransformation,
    steps: int,
    key: PRNGKeyArray,
    *,
    starts: int = 8,
    spread: float = 0.5,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> Fit:
    """The best of several fits, by `jnm.fit`; its `starts` are all of them, and its report shows how far they agree.

        >>> fit = jnm.fitting.multi_start(loss, theta, build, optax.adam(0.03), 300, jax.random.key(0), starts=8)

    The first starts from `theta`, the others from `theta` plus `spread` times standard normal numbers (for a positive
    parameter 0.5 is a factor of 1.6 up or down); places where the loss is not finite are passed over. All use the
    same noise, so that their losses compare. `checkpoint="fit.ckpt"` becomes fit-0.ckpt, fit-1.ckpt, ...; `options`
    are those of `fit`.

    Raises `ValueError` if fewer than `starts` of ten times as many places have a finite loss, and as `fit`.
    """
    places = _places(loss, theta, build, key, starts, spread)
    path = None if checkpoint is None else Path(checkpoint)
    files = [None if path is None else path.with_stem(f"{path.stem}-{i}") for i in range(starts)]
    fits = [
        fit(loss, place, build, optimiser, steps, key, checkpoint=file, **options)
        for place, file in zip(places, files, strict=True)
    ]
    best = min(fits, key=lambda one: one.best_loss)
    return dataclasses.replace(best, starts=tuple(fits))


def _places(
    loss: LossFunction, theta: PyTree, build: Build, key: PRNGKeyArray, starts: int, spread: float
) -> list[PyTree]:
    judge = jax.random.split(key, 1)
    candidates = itertools.chain([theta], _scattered(theta, key, 10 * starts, spread))
    finite = (place for place in candidates if np.isfinite(losses(loss, build, place, judge)).all())
    places = list(itertools.islice(finite, starts))
    if len(places) < starts:
        raise ValueError(
            f"multi_start: only {len(places)} of {10 * starts} places within {spread} of theta have a finite loss; "
            f"wanted {starts}. Take a smaller spread, or a smaller dt."
        )
    return places


def _scattered(theta: PyTree, key: PRNGKeyArray, number: int, spread: float) -> Iterator[PyTree]:
    flat, unravel = ravel_pytree(theta)
    for i in range(number):
        yield unravel(flat + spread * jax.random.normal(jax.random.fold_in(key, 1_000_000 + i), flat.shape, flat.dtype))
